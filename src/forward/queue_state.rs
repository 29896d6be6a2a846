//! What the lock of an endpoint queue guards, and the moves on it. No waiting, no logging.

use super::ForwarderConfig;
use super::accounting::{RouteCounts, Tally};
use super::build_rate::BuildRate;
use super::key_status::KeyStatus;
use super::outage::{Outage, Recovery};
use super::outcome::{Attempt, DropReason, Outcome};
use super::retry::{Breaker, BreakerState};
use super::retry_queue::{Item, RetryQueue};
use super::spool::{LostRecord, Record, Spool};
use crate::config::Secret;
use crate::encode::{Payload, Route};
use crate::telemetry::Durations;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Payloads in the channel between flusher and worker.
const FRESH_PAYLOADS_MAX: usize = 16;

/// Bytes in that channel, unless a single payload is larger.
const FRESH_BYTES_MAX: usize = 8 << 20;

/// A worker whose request runs longer makes no progress that would be worth waiting for.
const STALLED_AFTER: Duration = Duration::from_secs(2);

/// By the index of the reason in [`DropReason::ALL`].
pub(super) type Unreported = [Tally; DropReason::ALL.len()];

/// One request to make.
#[derive(Debug)]
pub(super) struct Job {
    pub item: Item,
    pub key: Secret,
    pub timeout: Duration,
    pub key_generation: u64,
    pub is_last_attempt: bool,
}

/// What is worth a log line and is not the answer to one request, since the last report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct QueueNews {
    pub queue_full: Tally,
    pub spool_full: Tally,
    pub too_old: Tally,
    /// Why the last write to the spool failed.
    pub spool_error: Option<String>,
    pub recovery: Option<Recovery>,
    /// A key was accepted after it, or the one before it, had been refused.
    pub key_accepted: bool,
}

/// What became of a job, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Delivered,
    Split,
    HeldForKey,
    /// In the queue; the wait until the next try and how long the queue lasts.
    Waits {
        delay: Duration,
        full_in: Option<Duration>,
    },
    /// On disk, for the next run.
    Spooled,
    Dropped(DropReason),
}

#[derive(Debug)]
pub(super) struct QueueState {
    pub fresh: VecDeque<Item>,
    pub fresh_bytes: usize,
    pub retry_queue: RetryQueue,
    /// For an owner: payloads whose lease has run out and may be renewed.
    pub fenced: Vec<Item>,
    /// The queue of an owner: see [`ForwarderConfig::waits_for_room`].
    pub waits_for_room: bool,
    /// At shutdown: everything that waits, newest last.
    pub last_round: Vec<Item>,
    pub breakers: [Breaker; Route::ALL.len()],
    pub refusals: [Refusals; Route::ALL.len()],
    pub counts: [RouteCounts; Route::ALL.len()],
    pub answered_in: Durations,
    pub rate: BuildRate,
    pub spool: Option<Spool>,
    pub spool_left: (u64, usize),
    pub news: QueueNews,
    /// Dropped and not yet reported to the hub, which must not be called under the lock.
    pub unreported: Unreported,
    pub key: Secret,
    pub key_generation: u64,
    pub key_status: KeyStatus,
    /// A key was refused, and none was accepted since.
    pub key_refused: bool,
    pub outage: Option<Outage>,
    pub in_flight: Option<InFlight>,
    pub sequence: u64,
    pub stop_at: Option<Instant>,
    /// Routes that failed in the last round: what they have on disk is safe there.
    pub given_up: [bool; Route::ALL.len()],
    pub stopped: bool,
}

/// Answers with 403 on one route since something was delivered there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refusals {
    count: u32,
    /// Nothing is read back from disk before.
    pub until: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub since: Instant,
    pub item: Item,
}

impl QueueState {
    pub fn breaker(&self, route: Route) -> &Breaker {
        &self.breakers[route as usize]
    }

    pub fn channel_has_room(&self, bytes: usize) -> bool {
        self.fresh.is_empty()
            || (self.fresh.len() < FRESH_PAYLOADS_MAX
                && self.fresh_bytes + bytes <= FRESH_BYTES_MAX)
    }

    pub fn is_stalled(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|flight| flight.since.elapsed() > STALLED_AFTER)
    }

    /// Fresh before old, old newest first; nothing of a blocked route.
    pub fn pick(&mut self, now: Duration) -> Option<Item> {
        if self.waits_for_room {
            return self.pick_oldest(now);
        }
        while let Some(item) = self.fresh.pop_front() {
            self.fresh_bytes -= item.payload.body.len();
            if self.breaker(item.payload.route).state(now) == BreakerState::Unblocked {
                return Some(item);
            }
            self.enqueue(item, false);
        }
        if self.key_works() {
            self.retry_queue.release(now, false);
        }
        let (breakers, refusals) = (self.breakers, self.refusals);
        let may_try =
            |route| !matches!(breakers[route as usize].state(now), BreakerState::Blocked(_));
        if let Some(item) = self.retry_queue.pop_newest(may_try) {
            return Some(item);
        }
        // With a refused key too, after a pause: where memory holds nothing, all that is new comes
        // this way while the breaker is not closed.
        self.read_back(|route| refusals[route as usize].until <= now && may_try(route))
    }

    /// The newest record of the spool among the routes that may be tried.
    pub fn read_back(&mut self, may_try: impl Fn(Route) -> bool) -> Option<Item> {
        loop {
            match self.spool.as_mut()?.read_newest(&may_try)? {
                Ok((id, payload)) => {
                    let mut item = Item::new(self.sequence, payload);
                    self.sequence += 1;
                    item.record = Some(id);
                    return Some(item);
                }
                Err(lost) => self.drop_records(lost),
            }
        }
    }

    /// In the last round: something is on disk and its route has not failed.
    pub fn tries_disk(&self) -> bool {
        let waits = |route: &Route| {
            let on_disk = self.spool.as_ref().is_some_and(|spool| spool.has_waiting(*route));
            on_disk && !self.given_up[*route as usize]
        };
        Route::ALL.iter().any(waits)
    }

    /// Unless it was refused and nothing was accepted since. An unknown status counts as
    /// working, so that an intake without a key check gets its payloads too.
    pub fn key_works(&self) -> bool {
        self.key_status != KeyStatus::Invalid
    }

    /// How long until something that waits may be tried.
    pub fn next_try(&self, now: Duration) -> Option<Duration> {
        let key_works = self.key_works();
        let times = Route::ALL.iter().filter_map(|route| {
            let ready = self.retry_queue.has_ready(*route).then_some(now);
            let held = self.retry_queue.held_until(*route).filter(|_| key_works);
            let on_disk = self.spool.as_ref().is_some_and(|spool| spool.has_waiting(*route));
            let on_disk = on_disk.then(|| self.refusals[*route as usize].until.max(now));
            let first = [ready, held, on_disk].into_iter().flatten().min()?;
            Some(self.waits_until(*route, now).map_or(first, |until| until.max(first)))
        });
        times.chain(self.next_look_at_leases(now)).min().map(|at| at.saturating_sub(now))
    }

    pub fn start(&mut self, item: Item, timeout: Duration, is_last_attempt: bool) -> Job {
        self.in_flight = Some(InFlight { since: Instant::now(), item: item.clone() });
        Job {
            item,
            key: self.key.clone(),
            timeout,
            key_generation: self.key_generation,
            is_last_attempt,
        }
    }

    /// Counts the request and moves the breaker.
    pub fn settle_request(
        &mut self,
        job: &Job,
        attempt: &Attempt,
        was_stale: bool,
        now: Duration,
        config: &ForwarderConfig,
    ) {
        self.in_flight = None;
        let route = job.item.payload.route as usize;
        let counts = &mut self.counts[route];
        counts.attempted(attempt, job.item.attempts > 0);
        counts.requests += u64::from(was_stale);
        counts.stale_connections += u64::from(was_stale);
        let breaker = &mut self.breakers[route];
        match attempt.outcome() {
            Outcome::Retry(wait) => {
                breaker.failed(&config.retry, now, (config.jitter)(), wait);
                let so_far = self.settled();
                self.outage.get_or_insert_with(|| Outage::new(now, so_far)).failed(route);
            }
            _ => {
                breaker.succeeded(&config.retry, now, (config.jitter)());
                self.outage.iter_mut().for_each(|outage| outage.answered(route, now));
            }
        }
    }

    /// Delivered and lost so far, on all routes.
    fn settled(&self) -> (Tally, Tally) {
        let (mut delivered, mut lost) = (Tally::default(), Tally::default());
        for route in &self.counts {
            delivered.add(route.delivered);
            lost.add(route.dropped_total());
        }
        (delivered, lost)
    }

    /// The end of an outage, once nothing waits any more.
    fn take_recovery(&mut self) -> Option<Recovery> {
        let back = self.outage.as_ref()?.back?;
        let on_disk =
            |route: &Route| self.spool.as_ref().is_some_and(|spool| spool.has_waiting(*route));
        // A shutdown reports for itself.
        let waiting = self.stop_at.is_some() || self.retry_queue.bytes() > 0;
        if waiting || Route::ALL.iter().any(on_disk) {
            return None;
        }
        let outage = self.outage.take()?;
        let (delivered, lost) = self.settled();
        Some(Recovery {
            lasted: back.saturating_sub(outage.since),
            delivered: delivered.since(outage.settled_before.0),
            lost: lost.since(outage.settled_before.1),
        })
    }

    /// Something was delivered: the key works, for every route.
    pub fn key_accepted(&mut self, route: Route) {
        self.refusals[route as usize] = Refusals::default();
        self.note_key_accepted();
        if !self.key_works() {
            self.key_status = KeyStatus::Valid;
        }
    }

    /// To be reported if a key was refused before.
    pub fn note_key_accepted(&mut self) {
        self.news.key_accepted |= std::mem::take(&mut self.key_refused);
    }

    /// The key in use was refused. New payloads are tried all the same; what is on disk waits
    /// longer each time, or it would be read back and refused without a pause.
    pub fn key_refused(&mut self, route: Route, now: Duration, config: &ForwarderConfig) {
        self.key_status = KeyStatus::Invalid;
        self.key_refused = true;
        let refusals = &mut self.refusals[route as usize];
        refusals.count = refusals.count.saturating_add(1);
        refusals.until = now + config.retry.delay(refusals.count, (config.jitter)());
    }

    /// Another key: whatever was refused is tried again.
    pub fn exchange_key(&mut self, key: Secret, now: Duration) {
        self.key = key;
        self.key_generation += 1;
        self.key_status = KeyStatus::not_checked();
        self.refusals = Default::default();
        self.retry_queue.release(now, true);
    }

    /// Into the retry queue; what no longer fits there goes to disk, or is lost.
    pub fn enqueue(&mut self, item: Item, held: bool) {
        for lost in self.retry_queue.push_drop_oldest(item, held) {
            self.spill(&lost, DropReason::QueueFull, false);
        }
    }

    /// Moves an item out of memory: to disk if there is a spool, else it is lost for that reason.
    pub fn spill(&mut self, item: &Item, reason: DropReason, in_doubt: bool) -> Settled {
        // What an owner could not deliver before its end is not lost: its successor posts it.
        let withdrawn = item.ticket.is_some() && reason == DropReason::Shutdown;
        let reason = if withdrawn { DropReason::Withdrawn } else { reason };
        if in_doubt {
            self.counts[item.payload.route as usize].in_doubt.add(Tally::of(&item.payload));
        }
        let Some(spool) = &mut self.spool else { return self.drop_item(item, reason) };
        if item.record.is_some_and(|id| spool.put_back(id)) {
            return Settled::Spooled;
        }
        let (written, lost) = spool.write_drop_oldest(&item.payload, in_doubt);
        self.drop_records(lost);
        match written {
            Ok(_) => Settled::Spooled,
            Err(error) => {
                self.news.spool_error = Some(error.to_string());
                self.drop_item(item, reason)
            }
        }
    }

    pub fn expire(&mut self, limit: u64) {
        let old: Vec<Item> =
            self.fenced.extract_if(.., |item| item.payload.built_at < limit).collect();
        for old in old {
            self.drop_item(&old, DropReason::TooOld);
        }
        for old in self.retry_queue.expire(limit) {
            self.drop_item(&old, DropReason::TooOld);
        }
        let old = self.spool.as_mut().map(|spool| spool.expire(limit));
        old.into_iter().flatten().for_each(|record| self.drop_record(record, DropReason::TooOld));
    }

    /// Gives an item up, with its record.
    pub fn drop_item(&mut self, item: &Item, reason: DropReason) -> Settled {
        self.note_drop(Tally::of(&item.payload), reason);
        self.counts[item.payload.route as usize].dropped(&item.payload, reason);
        if let Some(ticket) = &item.ticket {
            ticket.lost(reason);
        }
        self.remove_record(item);
        Settled::Dropped(reason)
    }

    fn drop_records(&mut self, lost: Vec<LostRecord>) {
        lost.into_iter().for_each(|(record, reason)| self.drop_record(record, reason));
    }

    fn drop_record(&mut self, record: Record, reason: DropReason) {
        self.note_drop(record.tally, reason);
        self.counts[record.route as usize].dropped_from_disk(record.tally, reason);
    }

    /// Drops that no answer caused are summed for the next log line.
    fn note_drop(&mut self, tally: Tally, reason: DropReason) {
        self.unreported[reason as usize].add(tally);
        match reason {
            DropReason::QueueFull => self.news.queue_full.add(tally),
            DropReason::SpoolFull => self.news.spool_full.add(tally),
            DropReason::TooOld => self.news.too_old.add(tally),
            _ => {}
        }
    }

    /// The item is settled: nothing on disk stands for it any more.
    pub fn remove_record(&mut self, item: &Item) {
        if let (Some(spool), Some(id)) = (&mut self.spool, item.record) {
            spool.remove(id);
        }
    }

    pub fn take_news(&mut self) -> Option<QueueNews> {
        self.news.recovery = self.take_recovery();
        (self.news != QueueNews::default()).then(|| std::mem::take(&mut self.news))
    }

    /// Halves go first, before everything else. Depth first, so at most one more waits per level.
    /// Where the whole stood on disk, its halves do before it goes.
    pub fn put_parts(&mut self, whole: &Item, first: Payload, second: Payload) {
        self.counts[whole.payload.route as usize].split(&whole.payload, [&first, &second]);
        if self.waits_for_room {
            return self.put_halves(whole, first, second);
        }
        for part in [second, first] {
            let mut item = Item::new(self.sequence, part);
            self.sequence += 1;
            if let (Some(spool), Some(_)) = (&mut self.spool, whole.record) {
                let (written, lost) = spool.write_drop_oldest(&item.payload, false);
                item.record = written.ok();
                item.record.iter().for_each(|id| spool.take_out(*id));
                self.drop_records(lost);
            }
            if self.stop_at.is_some() {
                self.last_round.push(item);
            } else {
                self.fresh_bytes += item.payload.body.len();
                self.fresh.push_front(item);
            }
        }
        self.remove_record(whole);
    }

    /// How long memory and disk take what is built at the present rate.
    pub fn queue_full_in(&self, now: Duration) -> Option<Duration> {
        if self.waits_for_room {
            return None; // it is the owner that waits
        }
        let on_disk = self.spool.as_ref().map_or(0, Spool::room);
        let on_disk = usize::try_from(on_disk).unwrap_or(usize::MAX);
        self.rate.lasts(now, self.retry_queue.room().saturating_add(on_disk))
    }

    /// Counts the records of an earlier run.
    pub fn take_over_spool(&mut self) {
        for record in self.spool.iter().flat_map(Spool::records) {
            self.counts[record.route as usize].found(record.tally);
        }
    }

    /// Ends; everything that still waits in memory is spooled or lost.
    pub fn finish(&mut self) {
        for item in std::mem::take(&mut self.last_round) {
            self.spill(&item, DropReason::Shutdown, false);
        }
        // Gives the directory free for a successor, also one in this process.
        self.spool_left = self.spool_figures();
        self.spool = None;
        self.stopped = true;
    }

    /// Bytes and records of the spool, after the end those left behind.
    pub fn spool_figures(&self) -> (u64, usize) {
        match &self.spool {
            Some(spool) => (spool.bytes(), spool.records().count()),
            None => self.spool_left,
        }
    }
}
