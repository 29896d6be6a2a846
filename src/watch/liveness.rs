//! Signs of life of the lanes and the flusher: each thread stores the time, probes and the watchdog
//! compare. The one mechanism behind `/live`, `/ready` and systemd's watchdog.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Intervals without a sign after which a thread counts as stuck.
const INTERVALS_MISSED_MAX: u32 = 2;
/// Added to them: what a busy machine may delay a thread by.
const GRACE: Duration = Duration::from_secs(5);

/// When each thread gave its last sign. Every thread gives one per interval, whatever the wall
/// clock does: time here is monotonic.
#[derive(Debug)]
pub(crate) struct Liveness {
    started: Instant,
    /// Milliseconds since `started`, per lane.
    lanes: Box<[AtomicU64]>,
    flusher: AtomicU64,
    stopping: AtomicBool,
    patience: Duration,
}

/// One thread and whether it gave a sign recently.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ThreadLife {
    /// `lane-0` or `flusher`, as the thread is named.
    pub name: String,
    pub alive: bool,
}

impl Liveness {
    pub fn new(lanes: usize, interval: Duration) -> Self {
        Liveness {
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

    /// A sign of a lane.
    pub fn lane(&self, lane: usize) {
        if let Some(sign) = self.lanes.get(lane) {
            sign.store(self.now(), Ordering::Relaxed);
        }
    }

    /// A sign of the flusher.
    pub fn flusher(&self) {
        self.flusher.store(self.now(), Ordering::Relaxed);
    }

    /// The shutdown has begun: still alive, no longer ready.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn is_recent(&self, sign: &AtomicU64) -> bool {
        let silence = self.now().saturating_sub(sign.load(Ordering::Relaxed));
        Duration::from_millis(silence) <= self.patience
    }

    /// Every thread that must run for the process to be worth keeping.
    pub fn threads(&self) -> Vec<ThreadLife> {
        let lanes = self.lanes.iter().enumerate().map(|(lane, sign)| ThreadLife {
            name: format!("lane-{lane}"),
            alive: self.is_recent(sign),
        });
        let flusher =
            ThreadLife { name: "flusher".to_owned(), alive: self.is_recent(&self.flusher) };
        lanes.chain([flusher]).collect()
    }

    /// True when every thread is alive.
    pub fn is_alive(&self) -> bool {
        self.threads().iter().all(|thread| thread.alive)
    }
}

#[cfg(test)]
impl Liveness {
    /// As if the process had been silent for a minute, with a patience of two seconds.
    pub fn silent_for_a_minute(lanes: usize) -> Self {
        let fresh = Liveness::new(lanes, Duration::ZERO);
        let started = fresh.started.checked_sub(Duration::from_secs(60)).unwrap();
        Liveness { patience: Duration::from_secs(2), started, ..fresh }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_thread_is_not_alive() {
        let liveness = Liveness::silent_for_a_minute(2);
        liveness.lane(1);
        liveness.flusher();
        let alive: Vec<bool> = liveness.threads().iter().map(|thread| thread.alive).collect();
        assert_eq!(alive, [false, true, true]);
        assert!(!liveness.is_alive());
        liveness.lane(0);
        assert!(liveness.is_alive());
    }
}
