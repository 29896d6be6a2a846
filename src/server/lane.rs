//! A lane at work: the receiver that its poll loop calls, and the thread that keeps it alive.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver as Channel;
use std::time::Duration;

use ahash::RandomState;

use super::health::Health;
use super::refusals::Refusals;
use super::senders::Senders;
use super::watch::{Findings, Watch, Watcher};
use crate::aggregate::{self, Bucket, Fate, Shard};
use crate::clock::Clock;
use crate::context::Rules;
use crate::flush::Closed;
use crate::net::{Arrival, Incident, Lane, LaneEnd, ListenerCounts, ListenerId, Receiver, Sender};
use crate::output::{clock_time, printable};
use crate::protocol::lines;

/// Contexts announced by name as they are born, over the life of the process.
const ANNOUNCED_MAX: usize = 20;

/// What a lane tells the flusher.
pub(super) enum FromLane {
    /// A bucket was passed.
    Closed { closed: Closed, listeners: Vec<ListenerCounts> },
    /// The lane panicked and begins anew; the books of what was open come with the next bucket.
    Restarted { lane: usize },
    /// The lane has stopped; its last bucket came before.
    Stopped,
}

/// What every lane is made from.
#[derive(Clone)]
pub(super) struct Parts {
    pub settings: aggregate::Settings,
    pub rules: Arc<Rules>,
    pub state: RandomState,
    pub clock: Clock,
    /// Listeners whose last line needs a newline (`dogstatsd_eol_required`), by listener id.
    pub eol_required: Vec<bool>,
    pub listener_names: Vec<String>,
    /// Refused lines are worth a warning (else debug).
    pub verbose: bool,
    pub oversize_shown: bool,
    /// Contexts announced so far; none are when the console is off.
    pub announced: Option<Arc<AtomicUsize>>,
    pub health: Arc<Health>,
    pub watch: Arc<Watch>,
}

pub(super) struct Worker {
    lane: usize,
    parts: Parts,
    shard: Shard,
    refusals: Refusals,
    watcher: Watcher,
    senders: Senders,
    /// Arrivals and, of them, lines past a cap that a sender was charged with.
    arrivals: (u64, u64),
    births_seen: usize,
    tell: Tell,
    spares: Channel<Bucket>,
    new_rules: Channel<Arc<Rules>>,
}

/// Tells the flusher; false when it is gone.
pub(super) type Tell = Box<dyn Fn(FromLane) -> bool + Send>;

impl Worker {
    pub fn new(
        lane: usize,
        parts: Parts,
        tell: Tell,
        spares: Channel<Bucket>,
        new_rules: Channel<Arc<Rules>>,
    ) -> Self {
        let shard = fresh_shard(&parts);
        let refusals = Refusals::new(parts.verbose);
        let watcher = Watcher::new(Arc::clone(&parts.watch), parts.settings.options);
        Worker {
            lane,
            parts,
            shard,
            refusals,
            watcher,
            senders: Senders::new(),
            arrivals: (0, 0),
            births_seen: 0,
            tell,
            spares,
            new_rules,
        }
    }

    /// Runs the lane until it is told to stop; a panic costs the open bucket and nothing else.
    pub fn run(mut self, mut net: Lane) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| net.run(&mut self))) {
                Ok(LaneEnd::Stopped { drained }) => {
                    if !drained {
                        tracing::warn!(target: "net", "stopped before every socket was read to its end");
                    }
                    break;
                }
                Ok(LaneEnd::Failed(error)) => {
                    tracing::error!(target: "net", "lane {}: poll failed: {error}", self.lane);
                    break;
                }
                Err(_) => self.begin_anew(),
            }
        }
        net.refresh_kernel_drops();
        self.close(net.counts());
        // The flusher outlives the lanes; if it is gone there is nobody to tell.
        (self.tell)(FromLane::Stopped);
    }

    /// After a panic: the shard cannot be trusted. What it had recorded is counted as lost.
    fn begin_anew(&mut self) {
        let mut counts = *self.shard.counts();
        let recorded = counts.recorded();
        (counts.metrics, counts.events, counts.checks) = (0, 0, 0);
        counts.lost +=
            counts.received.saturating_sub(counts.refused_total() + counts.dropped_total());
        tracing::error!(
            target: "server",
            "lane {} failed and starts again; {recorded} recorded lines of its open bucket are lost",
            self.lane
        );
        self.shard = fresh_shard(&self.parts);
        *self.shard.counts() = counts;
        self.births_seen = 0;
        self.arrivals = (0, 0);
        (self.tell)(FromLane::Restarted { lane: self.lane });
    }

    fn close(&mut self, listeners: &[ListenerCounts]) {
        let now = self.parts.clock.unix();
        self.parts.health.lane(self.lane);
        self.announce();
        let spare = self.spares.try_recv().unwrap_or_default();
        let bucket = self.shard.close(now, spare);
        self.births_seen = 0;
        self.refusals.close(self.parts.settings.interval);
        self.hand_over();
        let passed = self.shard.bucket_end().saturating_sub(self.parts.settings.interval).as_secs();
        let closed = Closed { lane: self.lane, bucket, passed };
        let listeners = listeners.to_vec();
        (self.tell)(FromLane::Closed { closed, listeners });
    }

    /// The sender of this datagram named new contexts.
    #[cold]
    fn charge(&mut self, from: &Sender<'_>, listener: u16) {
        let contexts = self.shard.contexts();
        let now = (contexts.arrivals(), contexts.past_cap_count());
        let before = std::mem::replace(&mut self.arrivals, now);
        let past_cap = now.1 - before.1;
        self.senders.named(from, listener, now.0 - before.0 - past_cap, past_cap);
    }

    /// Gives whoever asks what was found.
    fn hand_over(&mut self) {
        let senders = self.senders.publish(self.parts.clock.unix().as_secs());
        let heavy = self.shard.take_heavy_hitters();
        self.watcher.hand_over(Findings { lane: self.lane, senders, heavy });
    }

    /// Somebody wants to know more than totals.
    #[cold]
    fn look_closer(&mut self, bytes: &[u8], listener: usize, from: &Sender<'_>) {
        let now = self.parts.clock.unix().as_secs();
        let name = self.parts.listener_names.get(listener).map_or("", String::as_str);
        self.watcher.look(bytes, now, name, || sender_name(from));
    }

    /// Tells of the first contexts at once, so that a newcomer sees the first line arrive.
    fn announce(&mut self) {
        let births = self.shard.births();
        let Some(announced) = &self.parts.announced else { return };
        for birth in births.get(self.births_seen..).unwrap_or_default() {
            if announced.fetch_add(1, Ordering::Relaxed) >= ANNOUNCED_MAX {
                announced.store(ANNOUNCED_MAX, Ordering::Relaxed);
                break;
            }
            let name = printable(birth.context.name(), 80);
            let kind = birth.context.kind().word();
            let end = clock_time(self.shard.bucket_end().as_secs());
            tracing::info!(target: "context", "new  {name} {kind}, first flush {end}");
        }
        self.births_seen = births.len();
    }
}

/// Who sent it, as far as the kernel tells.
pub(super) fn sender_name(from: &Sender<'_>) -> String {
    match (from.address(), from.credentials()) {
        (Some(address), _) => address.to_string(),
        (None, Some(process)) => format!("pid {} uid {}", process.pid, process.uid),
        (None, None) => String::new(),
    }
}

fn fresh_shard(parts: &Parts) -> Shard {
    let rules = Arc::clone(&parts.rules);
    Shard::new(parts.settings.clone(), rules, parts.state.clone(), parts.clock.unix())
}

impl Receiver for Worker {
    fn begin_batch(&mut self) {
        self.shard.begin_batch(self.parts.clock.unix());
    }

    fn datagram(&mut self, bytes: &[u8], from: &Sender<'_>, arrival: Arrival) {
        let listener = usize::from(arrival.listener.0);
        let eol_required = self.parts.eol_required.get(listener).copied().unwrap_or(false);
        let mut number = 0_u64;
        for line in lines(bytes) {
            number += 1;
            // Before anything else, so that the books balance even if the line brings us down.
            self.shard.counts().received += 1;
            if eol_required && !line.terminated {
                self.shard.counts().unterminated += 1;
                continue;
            }
            if let Fate::Refused(error) = self.shard.line(line.bytes, b"") {
                let name = self.parts.listener_names.get(listener).map_or("", String::as_str);
                self.refusals.refused(error, line.bytes, number, name, from);
                self.senders.refused(from, arrival.listener.0, error, line.bytes);
            }
            if Senders::is_telling(line.bytes) {
                let options = self.parts.settings.options;
                self.senders.told(from, arrival.listener.0, line.bytes, options);
            }
        }
        self.senders.see(from, arrival.listener.0, bytes.len(), number);
        if self.shard.contexts().arrivals() != self.arrivals.0 {
            self.charge(from, arrival.listener.0);
        }
        if self.parts.watch.is_on() {
            self.look_closer(bytes, listener, from);
        }
        if arrival.cut_bytes > 0 {
            // The tail of the datagram is a line that nobody can read.
            let counts = self.shard.counts();
            counts.received += 1;
            counts.truncated += 1;
        }
    }

    fn end_batch(&mut self) {
        self.shard.sweep_some();
        if self.shard.births().len() > self.births_seen {
            self.announce();
        }
    }

    fn deadline(&self) -> Duration {
        self.shard.bucket_end().saturating_sub(self.parts.clock.unix())
    }

    fn tick(&mut self, counts: &[ListenerCounts]) {
        self.close(counts);
    }

    fn woken(&mut self) {
        self.hand_over();
        while let Ok(rules) = self.new_rules.try_recv() {
            self.parts.rules = Arc::clone(&rules);
            self.shard.set_rules(rules);
        }
    }

    fn incident(&mut self, listener: ListenerId, incident: &Incident<'_>) {
        let name =
            self.parts.listener_names.get(usize::from(listener.0)).map_or("", String::as_str);
        self.refusals.incident(name, incident, self.parts.oversize_shown);
    }
}
