//! The queue of one endpoint with its counters: fresh payloads in a small channel, failed
//! ones in the retry queue, a breaker per route.
//!
//! The flusher puts payloads in, the endpoint's worker takes them out; one lock, held briefly.

use super::ForwarderConfig;
use super::accounting::EndpointCounts;
use super::build_rate::BuildRate;
use super::key_status::KeyStatus;
use super::lease::Ticket;
use super::outcome::{Attempt, DropReason, Outcome};
use super::owned::SEQUENCE_STEP;
use super::queue_state::{InFlight, Job, QueueNews, QueueState, Settled, Unreported};
use super::retry::BreakerState;
use super::retry_queue::{Item, RetryQueue};
use super::spool::Spool;
use crate::clock::Clock;
use crate::config::Secret;
use crate::encode::{Payload, Route};
use crate::telemetry::Durations;
use crate::telemetry::{Event, EventKind};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The worker looks at ages and breakers at least this often.
const RECHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Wakes waiting submitters when some endpoint made progress.
#[derive(Debug, Default)]
pub(super) struct Progress {
    steps: Mutex<u64>,
    moved: Condvar,
}

impl Progress {
    pub fn steps(&self) -> u64 {
        *self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self) {
        *self.steps.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.moved.notify_all();
    }

    /// Waits until a step was made after `seen`, or the time is over.
    pub fn wait(&self, seen: u64, timeout: Duration) {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.moved.wait_timeout_while(steps, timeout, |steps| *steps == seen));
    }
}

/// Whether an offered payload may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressure {
    /// It can wait for the channel.
    Patient,
    /// Into the retry queue if nothing is lost by it.
    IfRoom,
    /// Into the retry queue, now.
    Now,
}

/// What the worker does next.
#[derive(Debug)]
pub(super) enum Step {
    /// Make a request.
    Send(Box<Job>),
    /// Log what happened since the last report.
    Report(QueueNews),
    /// Everything is settled and no more will come.
    Stop,
}

/// Everything that waits for one endpoint, behind one lock.
#[derive(Debug)]
pub(super) struct EndpointQueue {
    name: String,
    config: Arc<ForwarderConfig>,
    clock: Clock,
    progress: Arc<Progress>,
    state: Mutex<QueueState>,
    wake: Condvar,
}

impl EndpointQueue {
    pub fn new(
        name: &str,
        key: Secret,
        config: Arc<ForwarderConfig>,
        clock: Clock,
        progress: Arc<Progress>,
        spool: Option<Spool>,
    ) -> Self {
        let mut state = QueueState {
            spool,
            spool_left: (0, 0),
            fresh: VecDeque::new(),
            fresh_bytes: 0,
            retry_queue: RetryQueue::new(config.queue_bytes_max),
            fenced: Vec::new(),
            waits_for_room: config.waits_for_room,
            last_round: Vec::new(),
            breakers: Default::default(),
            refusals: Default::default(),
            counts: Default::default(),
            answered_in: Durations::default(),
            rate: BuildRate::new(clock.monotonic()),
            news: QueueNews::default(),
            unreported: Default::default(),
            key,
            key_generation: 0,
            key_status: KeyStatus::not_checked(),
            key_refused: false,
            outage: None,
            in_flight: None,
            sequence: 0,
            stop_at: None,
            given_up: Default::default(),
            stopped: false,
        };
        state.take_over_spool();
        let (state, wake) = (Mutex::new(state), Condvar::new());
        EndpointQueue { name: name.to_owned(), config, clock, progress, state, wake }
    }

    /// Takes a payload, or returns false when the channel is full and the pressure allows waiting.
    pub fn offer(&self, payload: &Payload, pressure: Pressure) -> bool {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        if state.stop_at.is_some() {
            state.counts[payload.route as usize].accepted(payload);
            let item = Item::new(state.sequence, payload.clone());
            state.spill(&item, DropReason::Shutdown, false);
            self.release(state);
            return true;
        }
        let item = Item::new(state.sequence, payload.clone());
        let is_healthy = state.breaker(payload.route).state(now) == BreakerState::Unblocked;
        let to_channel = is_healthy && state.channel_has_room(payload.body.len());
        let may_wait = match pressure {
            Pressure::Patient => true,
            Pressure::IfRoom => !state.retry_queue.has_room(item.cost()),
            Pressure::Now => false,
        };
        if is_healthy && !to_channel && may_wait && !state.is_stalled() {
            return false;
        }
        state.sequence += 1;
        state.counts[payload.route as usize].accepted(payload);
        state.rate.built(now, payload.body.len());
        if to_channel {
            state.fresh_bytes += payload.body.len();
            state.fresh.push_back(item);
        } else {
            state.enqueue(item, false);
        }
        self.release(state);
        self.wake.notify_all();
        true
    }

    /// As [`EndpointQueue::offer`], for the payload of an owner, which waits unless the queue has room
    /// or `must_take` says that other endpoints wait for this one: then the oldest are dropped.
    pub fn offer_ticketed(&self, payload: &Payload, ticket: &Ticket, must_take: bool) -> bool {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        let item = Item::new(state.sequence, payload.clone());
        let item = Item { ticket: Some(ticket.clone()), ..item };
        let stopping = state.stop_at.is_some();
        if !stopping && !must_take && !state.has_room_for_all(item.cost()) {
            return false;
        }
        state.sequence += SEQUENCE_STEP;
        state.counts[payload.route as usize].accepted(payload);
        state.rate.built(now, payload.body.len());
        if stopping {
            state.spill(&item, DropReason::Shutdown, false);
        } else {
            state.enqueue(item, false);
        }
        self.release(state);
        self.wake.notify_all();
        true
    }

    /// Gives up what waits under a lease that was withdrawn.
    pub fn drop_withdrawn(&self) {
        let mut state = self.lock();
        state.drop_withdrawn();
        self.release(state);
        self.progress.step();
    }

    /// Takes back a job that may not be sent: the lease has run out since it was picked.
    pub fn fence(&self, job: Job) {
        let mut state = self.lock();
        if state.stopped {
            return; // abandoned: already counted
        }
        state.in_flight = None;
        if job.item.is_withdrawn() || state.stop_at.is_some() {
            state.drop_item(&job.item, DropReason::Withdrawn);
        } else {
            state.fence(job.item);
        }
        self.release(state);
    }

    /// True when the worker could send this route but has nothing to do.
    pub fn is_idle_on(&self, route: Route) -> bool {
        let now = self.clock.monotonic();
        let state = self.lock();
        let waits = state.waits_for_room
            && (state.retry_queue.has_ready(route) || !state.fenced.is_empty());
        !waits
            && state.fresh.is_empty()
            && state.in_flight.is_none()
            && state.breaker(route).state(now) == BreakerState::Unblocked
    }

    /// The worker's next step; waits for one.
    pub fn next(&self) -> Step {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return Step::Stop;
            }
            let now = self.clock.monotonic();
            state.expire(self.age_limit());
            if let Some(news) = state.take_news() {
                self.release(state);
                return Step::Report(news);
            }
            if let Some(deadline) = state.stop_at {
                return self.last_step(state, deadline);
            }
            if let Some(item) = state.pick(now) {
                if item.payload.built_at < self.age_limit() {
                    state.drop_item(&item, DropReason::TooOld);
                    continue;
                }
                let job = state.start(item, self.config.http.timeout, false);
                self.release(state);
                self.progress.step();
                return Step::Send(Box::new(job));
            }
            if state.unreported != Unreported::default() {
                self.release(state);
                state = self.lock();
                continue;
            }
            let wait = state.next_try(now).unwrap_or(RECHECK_INTERVAL).min(RECHECK_INTERVAL);
            let waited = self.wake.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The last round: newest first, each once, with half of the time left while others wait. Then
    /// what is on disk, as long as its route delivers.
    fn last_step(&self, mut state: MutexGuard<'_, QueueState>, deadline: Instant) -> Step {
        let left = deadline.saturating_duration_since(Instant::now());
        let now = self.clock.monotonic();
        let next = loop {
            match state.last_round.pop() {
                // No time is left to wait for the lease.
                Some(item) if !item.may_leave(now) => {
                    state.drop_item(&item, DropReason::Withdrawn);
                }
                next => break next,
            }
        };
        let next = match next {
            None if !left.is_zero() => {
                let given_up = state.given_up;
                state.read_back(|route| !given_up[route as usize])
            }
            next => next,
        };
        match next {
            Some(item) if !left.is_zero() => {
                let alone = state.last_round.is_empty() && !state.tries_disk();
                let share = if alone { left } else { left / 2 };
                let timeout = share.min(self.config.http.timeout);
                Step::Send(Box::new(state.start(item, timeout, true)))
            }
            item => {
                state.last_round.extend(item);
                state.finish();
                self.release(state);
                self.progress.step();
                Step::Stop
            }
        }
    }

    /// A request was answered after so long.
    pub fn answered(&self, took: Duration) {
        self.lock().answered_in.record(took);
    }

    /// Counts the result of a job and decides where its payload goes. `parts` are the halves of a
    /// payload that was too large, none when it cannot be split, or an error.
    pub fn settle(
        &self,
        job: Job,
        attempt: &Attempt,
        was_stale: bool,
        parts: Result<Option<(Payload, Payload)>, ()>,
    ) -> Settled {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        if state.stopped {
            return Settled::Dropped(DropReason::Shutdown); // abandoned: already counted
        }
        state.settle_request(&job, attempt, was_stale, now, &self.config);
        let Job { mut item, key_generation, is_last_attempt, .. } = job;
        item.attempts += 1;
        let payload = item.payload.clone();
        let route = payload.route;
        let settled = match attempt.outcome() {
            Outcome::Delivered => {
                state.counts[route as usize].delivered(&payload);
                state.remove_record(&item);
                state.key_accepted(route);
                Settled::Delivered
            }
            Outcome::Drop(reason) => state.drop_item(&item, reason),
            _ if item.is_withdrawn() => state.drop_item(&item, DropReason::Withdrawn),
            Outcome::Split => match parts {
                Ok(Some((first, second))) => {
                    state.put_parts(&item, first, second);
                    Settled::Split
                }
                Ok(None) => state.drop_item(&item, DropReason::TooLarge),
                Err(()) => state.drop_item(&item, DropReason::SplitFailed),
            },
            _ if state.stop_at.is_some() => {
                let cut_off = matches!(attempt,
                    Attempt::Failed { kind, .. } if kind.may_have_arrived());
                if is_last_attempt || cut_off {
                    state.given_up[route as usize] = true;
                    state.spill(&item, DropReason::Shutdown, cut_off)
                } else {
                    state.last_round.push(item);
                    Settled::Waits { delay: Duration::ZERO, full_in: None }
                }
            }
            Outcome::KeepForKey => {
                let same_key = key_generation == state.key_generation;
                if same_key {
                    state.key_refused(route, now, &self.config);
                }
                item.refusals += 1;
                let pause = self.config.retry.delay(item.refusals - 1, (self.config.jitter)());
                item.not_before = now + pause;
                let held = same_key && !state.waits_for_room;
                state.enqueue(item, held);
                Settled::HeldForKey
            }
            Outcome::Retry(_) => {
                state.enqueue(item, false);
                let delay = match state.breaker(route).state(now) {
                    BreakerState::Blocked(until) => until - now,
                    _ => Duration::ZERO,
                };
                Settled::Waits { delay, full_in: state.queue_full_in(now) }
            }
        };
        self.release(state);
        self.progress.step();
        settled
    }

    /// The key to use, its generation, and what is known of it.
    pub fn key(&self) -> (Secret, u64, KeyStatus) {
        let state = self.lock();
        (state.key.clone(), state.key_generation, state.key_status.clone())
    }

    /// Exchanges the key; what was refused with the old one is tried again. False when it is the
    /// same.
    pub fn set_key(&self, key: Secret) -> bool {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        if state.key == key {
            return false;
        }
        state.exchange_key(key, now);
        drop(state);
        self.wake.notify_all();
        true
    }

    /// A check of the key ended; an accepted key releases what was refused.
    pub fn key_checked(&self, generation: u64, status: KeyStatus) {
        let mut state = self.lock();
        if state.key_generation != generation {
            return;
        }
        match status {
            KeyStatus::Valid => state.note_key_accepted(),
            KeyStatus::Invalid => state.key_refused = true,
            KeyStatus::Unknown(_) => {}
        }
        state.key_status = status;
        drop(state);
        self.wake.notify_all();
    }

    /// Lets the worker look at the clock again.
    pub fn recheck_clock(&self) {
        // With the lock, so that it cannot be missed between a look at the clock and the wait.
        let _state = self.lock();
        self.wake.notify_all();
    }

    /// Starts the last round.
    pub fn stop(&self, deadline: Instant) {
        let mut state = self.lock();
        if state.stop_at.is_some() {
            return;
        }
        state.stop_at = Some(deadline);
        let mut waiting = state.retry_queue.drain();
        waiting.extend(state.fresh.drain(..));
        waiting.append(&mut state.fenced);
        state.fresh_bytes = 0;
        waiting.sort_by_key(|item| (item.payload.built_at, item.sequence));
        state.last_round = waiting;
        drop(state);
        self.wake.notify_all();
        self.progress.step();
    }

    /// True when the worker is done.
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// True when a request sent before `since` still holds back others.
    pub fn is_held_up(&self, since: Instant) -> bool {
        let state = self.lock();
        !state.last_round.is_empty()
            && state.in_flight.as_ref().is_some_and(|flight| flight.since < since)
    }

    /// The worker did not end in time: what it had is spooled or lost, the request in flight as
    /// in doubt.
    pub fn abandon(&self) {
        let mut state = self.lock();
        if state.stopped {
            return;
        }
        if let Some(InFlight { item, .. }) = state.in_flight.take() {
            state.spill(&item, DropReason::Shutdown, true);
        }
        state.finish();
        self.release(state);
    }

    /// A copy of the counters.
    pub fn counts(&self) -> EndpointCounts {
        let now = self.clock.monotonic();
        let state = self.lock();
        let (spool_bytes, spool_records) = state.spool_figures();
        EndpointCounts {
            name: self.name.clone(),
            key_shown: state.key.to_string(),
            key_status: state.key_status.clone(),
            routes: state.counts.clone(),
            breaker_errors: state.breakers.map(|breaker| breaker.errors()),
            answered_in: state.answered_in.summary(),
            queue_bytes: state.retry_queue.bytes(),
            queue_bytes_max: self.config.queue_bytes_max,
            spool_bytes,
            spool_records,
            queue_full_in: state.queue_full_in(now),
        }
    }

    /// Payloads built before this Unix second are not accepted any more.
    fn age_limit(&self) -> u64 {
        self.clock.unix().saturating_sub(self.config.age_max).as_secs()
    }

    /// Releases the lock, then reports the drops made under it to the hub: a listener may read the
    /// counters.
    fn release(&self, mut state: MutexGuard<'_, QueueState>) {
        let unreported = std::mem::take(&mut state.unreported);
        drop(state);
        for (reason, lost) in DropReason::ALL.iter().zip(unreported) {
            if lost.payloads > 0 {
                self.config.hub.emit(EventKind::PayloadDropped, || Event::PayloadDropped {
                    destination: &self.name,
                    reason: reason.label(),
                    items: usize::try_from(lost.points).unwrap_or(usize::MAX),
                    bytes: usize::try_from(lost.bytes).unwrap_or(usize::MAX),
                });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
