//! The queue of parts: in memory, on disk, on their way.
//!
//! With a spool a part is on disk before it is handed to the log and until the log has it, so that a
//! process killed at any moment loses none; in memory it waits as long as there is room. The oldest
//! interval goes first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::accounting::{DropReason, SenderCounts};
use super::log::{AppendError, Log, Outcome, Report};
use super::outgoing::{Described, OutgoingPart, PartKey};
use super::part_spool::{PartSpool, SpoolSettings};
use crate::clock::Clock;
use crate::forward::LogLimiter;
use crate::text::grouped;

/// Bytes handed to the log and not answered, at most; less with a small queue.
const WINDOW_BYTES: usize = 8 << 20;
/// Failures of one part after which the log is started afresh.
const FAILURES_MAX: u32 = 3;
/// Nothing is handed over so long after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// The end of a shorter outage is not worth a line.
const OUTAGE_MIN: Duration = Duration::from_secs(2);

/// Bounds of a sender.
#[derive(Clone, Debug)]
pub struct SenderSettings {
    /// Bytes in memory (`global_queue_max`).
    pub queue_bytes_max: usize,
    /// Where parts wait on disk, if anywhere.
    pub spool: Option<SpoolSettings>,
    /// Age of an interval, from its end, past which its parts are dropped (`global_late_max`).
    pub late_max: Duration,
}

/// What a sender does, for pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderStatus {
    /// Cells.
    pub counts: SenderCounts,
    /// Bytes of parts in memory.
    pub queue_bytes: usize,
    /// Bytes of parts on disk.
    pub spool_bytes: u64,
    /// Start of the oldest interval that waits, Unix seconds.
    pub oldest: Option<u64>,
    /// How long the log has taken nothing.
    pub failing_for: Option<Duration>,
    /// No broker can be reached since then (monotonic).
    pub away_since: Option<Duration>,
    /// The last error of the connection.
    pub error: Option<String>,
    /// What looks wrong about the topics, a sentence each.
    pub doubts: Vec<String>,
}

struct Pending {
    described: Described,
    memory: Option<(Arc<str>, Bytes)>,
    on_disk: bool,
    ticket: Option<u64>,
    failures: u32,
}

/// Hands parts to the log until each is acknowledged.
pub struct Sender<L> {
    log: L,
    clock: Clock,
    settings: SenderSettings,
    spool: Option<PartSpool>,
    parts: BTreeMap<PartKey, Pending>,
    /// Not on their way.
    ready: BTreeSet<PartKey>,
    /// In memory and not on their way.
    idle_in_memory: BTreeSet<PartKey>,
    tickets: HashMap<u64, PartKey>,
    next_number: u64,
    next_ticket: u64,
    memory_bytes: usize,
    window_bytes: usize,
    not_before: Duration,
    counts: SenderCounts,
    reports: Vec<Report>,
    limiter: LogLimiter,
    /// The first failure since the log last took a part.
    failing_since: Option<Duration>,
}

impl<L: Log> Sender<L> {
    /// Opens the spool and takes in what earlier runs left.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn new(log: L, settings: SenderSettings, clock: Clock) -> io::Result<Self> {
        let opened = settings.spool.as_ref().map(PartSpool::open).transpose()?;
        let (spool, found) =
            opened.map_or((None, Vec::new()), |(spool, found)| (Some(spool), found));
        let mut sender = Sender {
            log,
            clock,
            settings,
            spool,
            parts: BTreeMap::new(),
            ready: BTreeSet::new(),
            idle_in_memory: BTreeSet::new(),
            tickets: HashMap::new(),
            next_number: 0,
            next_ticket: 0,
            memory_bytes: 0,
            window_bytes: 0,
            not_before: Duration::ZERO,
            counts: SenderCounts::default(),
            reports: Vec::new(),
            limiter: LogLimiter::default(),
            failing_since: None,
        };
        for (key, described) in found {
            sender.next_number = sender.next_number.max(key.number.saturating_add(1));
            sender.counts.encoded += described.cells;
            sender.counts.restored += described.cells;
            sender.counts.spooled += described.cells;
            sender.ready.insert(key);
            let pending =
                Pending { described, memory: None, on_disk: true, ticket: None, failures: 0 };
            sender.parts.insert(key, pending);
        }
        if let (Some(spool), 1..) = (&sender.spool, sender.parts.len()) {
            tracing::info!(
                target: "global",
                "spool {}: {} parts with {} cells from an earlier run",
                spool.path(),
                sender.parts.len(),
                grouped(sender.counts.spooled)
            );
        }
        Ok(sender)
    }

    /// What became of every cell so far.
    pub fn counts(&self) -> SenderCounts {
        self.counts
    }

    /// How it stands; the connection is for others to tell.
    pub fn status(&self) -> SenderStatus {
        let (queue_bytes, spool_bytes) = self.bytes();
        SenderStatus {
            counts: self.counts,
            queue_bytes,
            spool_bytes,
            oldest: self.oldest(),
            failing_for: self.failing_for(),
            away_since: None,
            error: None,
            doubts: Vec::new(),
        }
    }

    /// Bytes in memory and on disk.
    pub fn bytes(&self) -> (usize, u64) {
        (self.memory_bytes, self.spool.as_ref().map_or(0, PartSpool::bytes))
    }

    /// Start of the oldest interval that is not acknowledged.
    pub fn oldest(&self) -> Option<u64> {
        self.parts.first_key_value().map(|(key, _)| key.start)
    }

    /// How long the log has taken nothing; `None` while it takes parts.
    pub fn failing_for(&self) -> Option<Duration> {
        self.failing_since.map(|since| self.clock.monotonic().saturating_sub(since))
    }

    /// True when parts are on their way.
    pub fn has_in_flight(&self) -> bool {
        !self.tickets.is_empty()
    }

    /// Nothing is left to do.
    pub fn is_done(&self) -> bool {
        self.parts.is_empty()
    }

    /// Counts cells that no part can hold.
    pub fn note_unforwardable(&mut self, cells: u64) {
        self.counts.unforwardable += cells;
    }

    /// Takes a part. Without room, the oldest ones give way.
    pub fn take(&mut self, part: OutgoingPart) {
        let key = PartKey { start: part.start, number: self.next_number };
        self.next_number += 1;
        let described = Described::of(&part);
        self.counts.encoded += described.cells;
        self.counts.waiting += described.cells;
        let on_disk = self.write(key, &part, &described);
        self.memory_bytes += part.record.len();
        let memory = Some((part.topic, part.record));
        self.parts.insert(key, Pending { described, memory, on_disk, ticket: None, failures: 0 });
        self.ready.insert(key);
        self.idle_in_memory.insert(key);
        self.keep_queue_bound();
    }

    /// Drops what is too old, hands over what is due, and waits for reports, at most so long.
    pub fn turn(&mut self, wait: Duration) {
        self.expire();
        self.hand_over();
        let mut reports = std::mem::take(&mut self.reports);
        self.log.reports(wait, &mut reports);
        let mut renew = None;
        for report in reports.drain(..) {
            self.settle(report, &mut renew);
        }
        self.reports = reports;
        if let Some(why) = renew {
            self.renew(&why);
        }
        self.hand_over();
    }

    /// Hands over what it can until the deadline (monotonic); the rest stays in the spool, or is
    /// dropped. The final counts.
    pub fn stop(mut self, deadline: Duration) -> SenderCounts {
        while !self.parts.is_empty() && self.clock.monotonic() < deadline {
            let left = deadline.saturating_sub(self.clock.monotonic());
            self.turn(left.min(Duration::from_millis(50)));
        }
        let keys: Vec<PartKey> = self.parts.keys().copied().collect();
        for key in keys {
            // The disk may have had no room when it came.
            let again =
                self.parts.get(&key).filter(|pending| !pending.on_disk).and_then(|pending| {
                    let (topic, record) = pending.memory.clone()?;
                    let Described { partition, start, interval, cells, .. } = pending.described;
                    let part = OutgoingPart { topic, partition, start, interval, cells, record };
                    Some((part, pending.described))
                });
            if let Some((part, described)) = again {
                let on_disk = self.write(key, &part, &described);
                if let Some(pending) = self.parts.get_mut(&key) {
                    pending.on_disk = on_disk;
                }
            }
            // It goes out of memory: what is on disk stays there.
            self.release(key, DropReason::Shutdown);
        }
        self.counts
    }

    /// Writes a part to the spool, whose oldest files give way. False without a spool, or without
    /// room for even this one.
    fn write(&mut self, key: PartKey, part: &OutgoingPart, described: &Described) -> bool {
        if self.spool.is_none() {
            return false;
        }
        if let Err(error) = self.find_removed() {
            self.warn_of_spool(&error);
            return false;
        }
        while let Some(spool) = &mut self.spool {
            if spool.has_room_for(described) {
                break;
            }
            let oldest = self.parts.iter().find(|(_, pending)| pending.on_disk);
            let Some(oldest) = oldest.map(|(key, _)| *key) else { return false };
            self.leave_disk(oldest);
        }
        let written = self.spool.as_mut().map(|spool| spool.write(key, part));
        match written {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                self.warn_of_spool(&error);
                false
            }
            None => false,
        }
    }

    fn warn_of_spool(&mut self, error: &io::Error) {
        let now = self.clock.monotonic();
        if let (Some(more), Some(spool)) = (self.limiter.permit("spool", 0, now), &self.spool) {
            tracing::warn!(
                target: "global",
                "spool {}: {error}; parts stay in memory only and are lost when the process ends ({more} more since the last such line)",
                spool.path()
            );
        }
    }

    /// The file of a part gives way to a newer one.
    fn leave_disk(&mut self, key: PartKey) {
        let (Some(pending), Some(spool)) = (self.parts.get_mut(&key), &mut self.spool) else {
            return;
        };
        spool.remove(key, &pending.described);
        pending.on_disk = false;
        if pending.memory.is_none() {
            self.drop_part(key, DropReason::SpoolFull);
        }
    }

    /// Notices when another program removed the folder.
    fn find_removed(&mut self) -> io::Result<()> {
        let Some(spool) = &mut self.spool else { return Ok(()) };
        if !spool.was_removed()? {
            return Ok(());
        }
        let on_disk = |(key, pending): (&PartKey, &Pending)| pending.on_disk.then_some(*key);
        let gone: Vec<PartKey> = self.parts.iter().filter_map(on_disk).collect();
        tracing::warn!(
            target: "global",
            "spool {}: the folder was removed by another program; what was only there is lost",
            spool.path()
        );
        gone.into_iter().for_each(|key| self.lose_file(key));
        Ok(())
    }

    /// The file of a part is gone.
    fn lose_file(&mut self, key: PartKey) {
        let (Some(pending), Some(spool)) = (self.parts.get_mut(&key), &mut self.spool) else {
            return;
        };
        pending.on_disk = false;
        spool.forget(&pending.described);
        if pending.memory.is_none() {
            self.drop_part(key, DropReason::SpoolDamaged);
        }
    }

    /// The oldest parts leave memory until it is within its bound.
    fn keep_queue_bound(&mut self) {
        while self.memory_bytes > self.settings.queue_bytes_max {
            let Some(oldest) = self.idle_in_memory.first().copied() else { return };
            let reason =
                if self.spool.is_some() { DropReason::SpoolFull } else { DropReason::QueueFull };
            self.release(oldest, reason);
        }
    }

    /// A part leaves memory; one that is not on disk is lost for that reason.
    fn release(&mut self, key: PartKey, reason: DropReason) {
        let Some(pending) = self.parts.get_mut(&key) else { return };
        if !pending.on_disk {
            self.drop_part(key, reason);
        } else if let Some((_, record)) = pending.memory.take() {
            self.memory_bytes -= record.len();
            self.counts.waiting -= pending.described.cells;
            self.counts.spooled += pending.described.cells;
            self.idle_in_memory.remove(&key);
        }
    }

    fn drop_part(&mut self, key: PartKey, reason: DropReason) {
        let Some(pending) = self.forget(key) else { return };
        let cells = pending.described.cells;
        self.counts.dropped[reason as usize] += cells;
        let now = self.clock.monotonic();
        if let Some(more) = self.limiter.permit(reason.word(), 0, now) {
            let way_out = match reason {
                DropReason::QueueFull => "raise global_queue_max or set global_spool_path",
                DropReason::SpoolFull => "raise global_spool_max",
                DropReason::TooOld => "it is older than global_late_max",
                DropReason::Shutdown => "set global_spool_path to keep such parts",
                DropReason::SpoolDamaged => "see the lines above",
            };
            tracing::warn!(
                target: "global",
                "a part of {} cells was dropped ({}): {way_out} ({more} more parts since the last such line)",
                grouped(cells),
                reason.word()
            );
        }
    }

    /// Takes a part out of everything and out of `waiting` or `spooled`.
    fn forget(&mut self, key: PartKey) -> Option<Pending> {
        let pending = self.parts.remove(&key)?;
        self.ready.remove(&key);
        self.idle_in_memory.remove(&key);
        if let Some(ticket) = pending.ticket {
            self.tickets.remove(&ticket);
            self.window_bytes -= pending.described.record_bytes as usize;
        }
        let place = match &pending.memory {
            Some((_, record)) => {
                self.memory_bytes -= record.len();
                &mut self.counts.waiting
            }
            None => &mut self.counts.spooled,
        };
        *place -= pending.described.cells;
        if let (true, Some(spool)) = (pending.on_disk, &mut self.spool) {
            spool.remove(key, &pending.described);
        }
        Some(pending)
    }

    fn expire(&mut self) {
        let Some(limit) = self.clock.unix().checked_sub(self.settings.late_max) else { return };
        let limit = limit.as_secs();
        let end = |pending: &Pending| {
            pending.described.start.saturating_add(u64::from(pending.described.interval))
        };
        while let Some(key) = self.ready.first().copied() {
            // Later ones start later.
            if self.parts.get(&key).is_none_or(|pending| end(pending) >= limit) {
                return;
            }
            self.drop_part(key, DropReason::TooOld);
        }
    }

    /// The oldest parts, as many as may be on their way.
    fn hand_over(&mut self) {
        if self.clock.monotonic() < self.not_before {
            return;
        }
        let window_max = WINDOW_BYTES.min(self.settings.queue_bytes_max / 2);
        let mut after = PartKey { start: 0, number: 0 };
        while self.window_bytes < window_max {
            let Some(key) = self.ready.range(after..).next().copied() else { return };
            // One that is refused does not hold up the others.
            after = PartKey { number: key.number + 1, ..key };
            if !self.load(key) {
                continue;
            }
            let Some(pending) = self.parts.get_mut(&key) else { return };
            let Some((topic, record)) = &pending.memory else { return };
            let ticket = self.next_ticket;
            let partition = pending.described.partition;
            match self.log.append(topic, partition, record, ticket) {
                Ok(()) => {
                    self.next_ticket += 1;
                    pending.ticket = Some(ticket);
                    self.window_bytes += record.len();
                    self.tickets.insert(ticket, key);
                    self.ready.remove(&key);
                    self.idle_in_memory.remove(&key);
                    self.keep_queue_bound();
                }
                Err(AppendError::Full) => return self.keep_queue_bound(),
                Err(AppendError::Refused(why)) => {
                    self.failed(key, &why);
                    self.keep_queue_bound();
                }
                Err(AppendError::Fatal(why)) => return self.renew(&why),
            }
        }
    }

    /// Into memory, from disk if need be. False when it is gone.
    fn load(&mut self, key: PartKey) -> bool {
        let Some(pending) = self.parts.get_mut(&key) else { return false };
        if pending.memory.is_some() {
            return true;
        }
        let Some(spool) = &mut self.spool else { return false };
        match spool.read(key) {
            Ok((topic, record)) => {
                self.memory_bytes += record.len();
                self.counts.spooled -= pending.described.cells;
                self.counts.waiting += pending.described.cells;
                pending.memory = Some((topic, record));
                self.idle_in_memory.insert(key);
                true
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::NotFound {
                    tracing::warn!(target: "global", "spool {}: a file was removed by another program", spool.path());
                }
                self.lose_file(key);
                false
            }
        }
    }

    fn settle(&mut self, report: Report, renew: &mut Option<String>) {
        let Some(key) = self.tickets.get(&report.ticket).copied() else { return };
        match report.outcome {
            Outcome::Acknowledged => {
                if let Some(pending) = self.forget(key) {
                    self.counts.acked += pending.described.cells;
                    self.counts.parts_acked += 1;
                    self.counts.bytes_acked += pending.described.record_bytes;
                }
                let since = self.failing_since.take();
                let lasted = since.map(|since| self.clock.monotonic().saturating_sub(since));
                if let Some(lasted) = lasted.filter(|lasted| *lasted > OUTAGE_MIN) {
                    tracing::info!(
                        target: "global",
                        "the brokers take parts again after {} s; {} cells wait",
                        lasted.as_secs(),
                        grouped(self.counts.waiting + self.counts.spooled)
                    );
                }
            }
            Outcome::Failed(why) => {
                self.failed(key, &why);
                let failures = self.parts.get(&key).map_or(0, |pending| pending.failures);
                if failures >= FAILURES_MAX {
                    *renew = Some(why);
                }
            }
            Outcome::Fatal(why) => {
                self.failed(key, &why);
                *renew = Some(why);
            }
        }
    }

    /// The part waits for another attempt.
    fn failed(&mut self, key: PartKey, why: &str) {
        let now = self.clock.monotonic();
        self.not_before = now + PAUSE;
        self.failing_since.get_or_insert(now);
        if let Some(pending) = self.parts.get_mut(&key) {
            pending.failures += 1;
        }
        self.counts.retries += 1;
        self.take_back(key);
        if let Some(more) = self.limiter.permit("failed", 0, now) {
            tracing::warn!(
                target: "global",
                "the brokers took no part: {why}; it is tried again, {} cells wait ({more} more failures since the last such line)",
                grouped(self.counts.waiting + self.counts.spooled)
            );
        }
    }

    fn take_back(&mut self, key: PartKey) {
        let Some(pending) = self.parts.get_mut(&key) else { return };
        if let Some(ticket) = pending.ticket.take() {
            self.tickets.remove(&ticket);
            self.window_bytes -= pending.described.record_bytes as usize;
        }
        self.ready.insert(key);
        if pending.memory.is_some() {
            self.idle_in_memory.insert(key);
        }
    }

    /// A new producer; what was on its way may have arrived and is handed over once more.
    fn renew(&mut self, why: &str) {
        let now = self.clock.monotonic();
        self.not_before = now + PAUSE;
        self.failing_since.get_or_insert(now);
        let on_their_way: Vec<PartKey> = self.tickets.values().copied().collect();
        on_their_way.into_iter().for_each(|key| self.take_back(key));
        self.parts.values_mut().for_each(|pending| pending.failures = 0);
        self.counts.renewals += 1;
        let renewed = self.log.renew();
        if let Some(more) = self.limiter.permit("renewed", 0, now) {
            let outcome =
                renewed.err().map_or_else(String::new, |error| format!("; it failed: {error}"));
            tracing::warn!(
                target: "global",
                "starting a new connection to the brokers after: {why}{outcome} ({more} more since the last such line)"
            );
        }
    }

    /// Counts everything anew, for tests.
    #[cfg(test)]
    pub(super) fn recounted(&self) -> (u64, u64, usize) {
        let mut sums = (0, 0, 0);
        for pending in self.parts.values() {
            match &pending.memory {
                Some((_, record)) => {
                    sums.0 += pending.described.cells;
                    sums.2 += record.len();
                }
                None => sums.1 += pending.described.cells,
            }
        }
        sums
    }
}
