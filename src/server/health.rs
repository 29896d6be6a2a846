//! Whether the threads are alive, for probes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::forward::{ForwardBooks, KeyStatus};

/// Intervals without a sign after which a thread counts as stuck.
const INTERVALS_MISSED_MAX: u32 = 3;
/// Added to them: what a busy machine may delay a thread by.
const GRACE: Duration = Duration::from_secs(5);

/// Signs of life: each thread stores the time, whoever asks compares.
#[derive(Debug)]
pub(super) struct Health {
    started: Instant,
    /// Milliseconds since `started`, per lane.
    lanes: Box<[AtomicU64]>,
    flusher: AtomicU64,
    stopping: AtomicBool,
    patience: Duration,
}

/// Names of what is well and of what is not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub healthy: Vec<String>,
    pub unhealthy: Vec<String>,
}

impl Verdict {
    fn say(&mut self, name: &str, well: bool) {
        let list = if well { &mut self.healthy } else { &mut self.unhealthy };
        list.push(name.to_owned());
    }

    /// The Agent's shape.
    pub fn json(&self) -> Value {
        json!({ "Healthy": self.healthy, "Unhealthy": self.unhealthy })
    }

    pub fn status(&self) -> u16 {
        if self.unhealthy.is_empty() { 200 } else { 500 }
    }
}

impl Health {
    pub fn new(lanes: usize, interval: Duration) -> Self {
        Health {
            started: Instant::now(),
            lanes: (0..lanes).map(|_| AtomicU64::new(0)).collect(),
            flusher: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            patience: interval * INTERVALS_MISSED_MAX + GRACE,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The lane closed a bucket.
    pub fn lane(&self, lane: usize) {
        if let Some(beat) = self.lanes.get(lane) {
            beat.store(self.now(), Ordering::Relaxed);
        }
    }

    /// The flusher took a message.
    pub fn flusher(&self) {
        self.flusher.store(self.now(), Ordering::Relaxed);
    }

    /// The end has begun: still alive, not ready any more.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn beats(&self, beat: &AtomicU64) -> bool {
        let silence = self.now().saturating_sub(beat.load(Ordering::Relaxed));
        Duration::from_millis(silence) <= self.patience
    }

    /// Threads that must run for the process to be worth keeping.
    pub fn live(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for (lane, beat) in self.lanes.iter().enumerate() {
            verdict.say(&format!("lane-{lane}"), self.beats(beat));
        }
        verdict.say("flusher", self.beats(&self.flusher));
        verdict
    }

    /// Alive, not about to end, and with a key that some intake takes.
    pub fn ready(&self, books: Option<&ForwardBooks>) -> Verdict {
        let mut verdict = self.live();
        verdict.say("server", !self.stopping.load(Ordering::Acquire));
        if let Some(books) = books {
            let refused = |endpoint: &crate::forward::EndpointBooks| {
                endpoint.key_status == KeyStatus::Invalid
            };
            verdict.say("forwarder", !books.endpoints.iter().all(refused));
        }
        verdict
    }

    /// Listeners are bound before anybody can ask.
    pub fn startup(&self) -> Verdict {
        Verdict { healthy: vec!["server".to_owned()], unhealthy: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_thread_is_named() {
        let health = Health { patience: Duration::from_secs(2), ..Health::new(2, Duration::ZERO) };
        let late = health.started.checked_sub(Duration::from_secs(60)).unwrap();
        let health = Health { started: late, ..health };
        health.lane(1);
        health.flusher();
        let verdict = health.live();
        assert_eq!(verdict.unhealthy, ["lane-0"]);
        assert_eq!(verdict.healthy, ["lane-1", "flusher"]);
        assert_eq!(verdict.status(), 500);
    }

    #[test]
    fn a_stopping_server_is_alive_and_not_ready() {
        let health = Health::new(1, Duration::from_secs(10));
        assert_eq!(health.ready(None).unhealthy, [""; 0]);
        health.stopping();
        assert_eq!(health.live().status(), 200);
        assert_eq!(health.ready(None).unhealthy, ["server"]);
    }
}
