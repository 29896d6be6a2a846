//! A context table with several open buckets, for values that say which second they are of.
//!
//! What comes through a door is some time old, so a bucket stays open for a grace after its end. The
//! owner closes buckets, oldest first; what is left when a bucket is closed has missed it for good, because the
//! intake keeps the last write of a series and second: a bucket is posted once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use super::bucket::{Bucket, TimestampedPoint, TimestampedSample};
use super::event_record::{CheckRecord, EventRecord};
use super::shard::AGGREGATION_BYTES_MAX;
use super::timed_bucket::TimedBucket;
use super::timed_part::{TimedPart, Value};
use crate::context::heavy_hitters::HeavyHitters;
use crate::context::{Contexts, Decision, DropReason, Kind, PartRules, RawKey};
use crate::memory::MemoryLimit;
use crate::protocol::MetricType;

/// How a [`TimedShard`] aggregates.
#[derive(Clone, Debug)]
pub struct TimedSettings {
    /// Length of a bucket in seconds, at least one.
    pub interval: u64,
    /// How long a bucket is open after its end, in seconds.
    pub grace: u64,
    /// A context not seen for so long is forgotten.
    pub context_expiry: Duration,
    /// Events and checks of one interval; points that keep their own time may be 100 times as many.
    pub events_max: usize,
    /// What sketches of all shards together may take. Past it they become less precise.
    pub memory: Arc<MemoryLimit>,
}

impl Default for TimedSettings {
    fn default() -> Self {
        TimedSettings {
            interval: 10,
            grace: 30,
            context_expiry: Duration::from_secs(20),
            events_max: 10_000,
            memory: Arc::new(MemoryLimit::new(AGGREGATION_BYTES_MAX)),
        }
    }
}

/// What becomes of a value whose bucket is closed, that is very old, or ahead of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// It counts in the nearest open bucket.
    Shift,
    /// It keeps its second and is posted alone, refused when it is far ahead of the clock.
    KeepTime,
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// In the bucket of its second.
    InTime,
    /// Recorded, but not in the bucket of its second.
    Late,
    /// Not recorded.
    Dropped(DropReason),
    /// Not recorded: too far ahead of the clock.
    TooFarAhead,
}

/// Older is late even where the bucket is open; farther ahead of the clock is no time.
const FAR_SECONDS: i64 = 600;
/// Points that keep their own time, per event that an interval may hold.
const KEPT_PER_EVENT: usize = 100;

/// One context table and its open buckets.
#[derive(Debug)]
pub struct TimedShard {
    settings: TimedSettings,
    rules: Arc<PartRules>,
    contexts: Contexts,
    state: RandomState,
    open: BTreeMap<u64, TimedBucket>,
    /// Start of the oldest open bucket; all before are closed.
    first_open: u64,
    /// What goes out with the next bucket that is closed: points with a time of their own, events, checks.
    with_next: Bucket,
    /// Where each of the points stands, so that those of one second are one.
    kept: BTreeMap<(u32, i64), usize>,
    /// Where a part of a raw key is written; kept for its memory.
    key: Vec<u8>,
}

impl TimedShard {
    /// A shard whose oldest open bucket is the one whose grace ends next. `state` must be that of the
    /// flusher, `now` is the time since the epoch.
    #[must_use]
    pub fn new(
        settings: TimedSettings,
        rules: Arc<PartRules>,
        state: RandomState,
        now: Duration,
    ) -> Self {
        let settings = TimedSettings { interval: settings.interval.max(1), ..settings };
        let oldest = now.as_secs().saturating_sub(settings.grace);
        TimedShard {
            first_open: oldest - oldest % settings.interval,
            contexts: Contexts::new(Arc::clone(&rules.rules), state.clone()),
            settings,
            rules,
            state,
            open: BTreeMap::new(),
            with_next: Bucket::default(),
            kept: BTreeMap::new(),
            key: Vec::new(),
        }
    }

    /// New rules; known series are decided again at their next value, cells stay.
    pub fn set_rules(&mut self, rules: Arc<PartRules>) {
        self.contexts.set_rules(Arc::clone(&rules.rules));
        self.rules = rules;
    }

    /// The tags of senders may have changed; known series are decided again at their next value.
    pub fn decide_again(&mut self) {
        self.contexts.decide_again();
    }

    /// Start of the oldest open bucket.
    #[must_use]
    pub fn first_open(&self) -> u64 {
        self.first_open
    }

    /// Start of the oldest bucket that holds something.
    #[must_use]
    pub fn first_filled(&self) -> Option<u64> {
        self.open.first_key_value().map(|(start, _)| *start)
    }

    /// Contexts alive.
    #[must_use]
    pub fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// Which names asked for contexts past a cap since the last call.
    pub fn take_heavy_hitters(&mut self) -> HeavyHitters {
        self.contexts.take_heavy_hitters()
    }

    fn start_of(&self, second: i64) -> u64 {
        let second = u64::try_from(second).unwrap_or(0);
        second - second % self.settings.interval
    }

    /// The number of a bucket: none is 0, and neighbours differ until 2^32 of them are open.
    fn epoch(&self, start: u64) -> u32 {
        ((start / self.settings.interval) as u32).wrapping_add(1).max(1)
    }

    /// Records a value. `now` is the time since the epoch.
    pub fn put(&mut self, part: &TimedPart<'_>, now: Duration, misplaced: Misplaced) -> Placed {
        if !part.value.is_finite() {
            return Placed::Dropped(DropReason::NonFinite);
        }
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let start = self.start_of(part.second);
        let current = self.start_of(now).max(self.first_open);
        let too_old = part.second < now.saturating_sub(FAR_SECONDS);
        let in_place = start >= self.first_open && start <= current && !too_old;
        if part.value.is_empty() {
            return if in_place { Placed::InTime } else { Placed::Late };
        }
        let (start, second) = if in_place {
            (start, part.second)
        } else if misplaced == Misplaced::KeepTime {
            return self.keep_time(part, now);
        } else if start > current {
            // A second that is yet to come would win over all that do come.
            (current, part.second.min(now))
        } else {
            (self.first_open, part.second)
        };
        match self.record(part, start, second) {
            Err(reason) => Placed::Dropped(reason),
            Ok(()) if in_place => Placed::InTime,
            Ok(()) => Placed::Late,
        }
    }

    fn record(&mut self, part: &TimedPart<'_>, start: u64, second: i64) -> Result<(), DropReason> {
        let epoch = self.epoch(start);
        let kind = part.value.kind();
        let mut key = std::mem::take(&mut self.key);
        part.write_key(&mut key);
        let raw = RawKey { kind, name: part.name, tags: part.tags, origin: &key };
        let hash = self.contexts.hash(&raw);
        let known = self.contexts.alias(hash, &raw).map(|alias| *alias);
        let cell = match known {
            Some(alias) if alias.epoch == epoch => Ok(alias.cell),
            known => self.locate(part, &raw, hash, known.map(|alias| alias.decision), start),
        };
        self.key = key;
        let cell = cell?;
        let taken = self.bucket(start).record(cell, part.value, second);
        if taken { Ok(()) } else { Err(DropReason::NonFinite) }
    }

    fn bucket(&mut self, start: u64) -> &mut TimedBucket {
        let (memory, state) = (&self.settings.memory, &self.state);
        self.open.entry(start).or_insert_with(|| TimedBucket::new(start, memory, state))
    }

    /// The first touch of a series in another bucket than the last one, or first sight ever.
    fn locate(
        &mut self,
        part: &TimedPart<'_>,
        raw: &RawKey<'_>,
        hash: u64,
        known: Option<u32>,
        start: u64,
    ) -> Result<u32, DropReason> {
        let epoch = self.epoch(start);
        let context = self.context_of(part, raw, hash, known, epoch)?;
        self.contexts.entry(context).see_latest(epoch);
        let state = self.state.clone();
        let cell = self.bucket(start).cell_of(context, Kind::from(raw.kind), &state);
        if let Some(alias) = self.contexts.alias(hash, raw) {
            (alias.epoch, alias.cell) = (epoch, cell);
        }
        Ok(cell)
    }

    fn context_of(
        &mut self,
        part: &TimedPart<'_>,
        raw: &RawKey<'_>,
        hash: u64,
        known: Option<u32>,
        epoch: u32,
    ) -> Result<u32, DropReason> {
        let decision = match known {
            Some(number) => Decision::from_number(number),
            None => {
                let rules = Arc::clone(&self.rules);
                let claims = crate::context::Claims::read_key(part.origin);
                let rewritten = rules.rewrite(part.name, part.tags(), part.host, &claims);
                self.contexts.resolve_as(hash, raw, rewritten, epoch)
            }
        };
        match decision {
            Decision::Context(id) => Ok(id),
            Decision::Drop(reason) => Err(reason),
        }
    }

    /// A value at its own second, which goes out with the next bucket. Those of one second are one, by the
    /// law of their kind.
    #[cold]
    fn keep_time(&mut self, part: &TimedPart<'_>, now: i64) -> Placed {
        if part.second > now.saturating_add(FAR_SECONDS) {
            return Placed::TooFarAhead;
        }
        let held = self.with_next.timestamped.len() + self.with_next.timestamped_samples.len();
        if held >= self.settings.events_max.saturating_mul(KEPT_PER_EVENT) {
            return Placed::Dropped(DropReason::IntervalFull);
        }
        let mut key = std::mem::take(&mut self.key);
        part.write_key(&mut key);
        let kind = part.value.kind();
        let raw = RawKey { kind, name: part.name, tags: part.tags, origin: &key };
        let hash = self.contexts.hash(&raw);
        let known = self.contexts.alias(hash, &raw).map(|alias| alias.decision);
        // It lives as long as what is recorded now.
        let epoch = self.epoch(self.start_of(now).max(self.first_open));
        let context = self.context_of(part, &raw, hash, known, epoch);
        self.key = key;
        let context = match context {
            Ok(context) => context,
            Err(reason) => return Placed::Dropped(reason),
        };
        self.contexts.entry(context).see_latest(epoch);
        if self.keep(context, part) { Placed::Late } else { Placed::Dropped(DropReason::NonFinite) }
    }

    fn keep(&mut self, context: u32, part: &TimedPart<'_>) -> bool {
        let timestamp = part.second;
        let points = &mut self.with_next.timestamped;
        match part.value {
            Value::Count(value) | Value::Gauge(value) => {
                let at = *self.kept.entry((context, timestamp)).or_insert_with(|| {
                    points.push(TimestampedPoint { context, timestamp, value: 0.0 });
                    points.len() - 1
                });
                let adds = part.value.kind() == MetricType::Counter;
                let sum = if adds { points[at].value + value } else { value };
                if sum.is_finite() {
                    points[at].value = sum;
                }
                sum.is_finite()
            }
            Value::Samples(values) => {
                let sample = |value| TimestampedSample { context, timestamp, value, rate: 1.0 };
                self.with_next.timestamped_samples.extend(values.iter().copied().map(sample));
                true
            }
            // No door that keeps times has these.
            Value::Sketch(_) | Value::Highest(_) => false,
        }
    }

    /// Keeps an event for the next bucket that is closed.
    ///
    /// # Errors
    /// [`DropReason::IntervalFull`].
    pub fn event(&mut self, event: EventRecord) -> Result<(), DropReason> {
        if self.with_next.events.len() >= self.settings.events_max {
            return Err(DropReason::IntervalFull);
        }
        self.with_next.events.push(event);
        Ok(())
    }

    /// Keeps a service check for the next bucket that is closed.
    ///
    /// # Errors
    /// [`DropReason::IntervalFull`].
    pub fn check(&mut self, check: CheckRecord) -> Result<(), DropReason> {
        if self.with_next.checks.len() >= self.settings.events_max {
            return Err(DropReason::IntervalFull);
        }
        self.with_next.checks.push(check);
        Ok(())
    }

    /// Closes the oldest open bucket. It also carries what keeps its own time, the contexts born and gone,
    /// and what was counted at first sight.
    pub fn close(&mut self) -> Bucket {
        let start = self.first_open;
        let mut closed = match self.open.remove(&start) {
            Some(open) => open.bucket,
            None => Bucket::default(),
        };
        closed.start = start;
        let mut extra = std::mem::take(&mut self.with_next);
        self.kept.clear();
        closed.timestamped = std::mem::take(&mut extra.timestamped);
        closed.timestamped_samples = std::mem::take(&mut extra.timestamped_samples);
        closed.events = std::mem::take(&mut extra.events);
        closed.checks = std::mem::take(&mut extra.checks);
        (closed.births, closed.deaths) = self.contexts.take_changes();
        let first_sights = self.contexts.take_counts();
        closed.counts.lines_folded = first_sights.folded;
        closed.counts.texts_repaired = first_sights.repaired;
        closed.counts.tags_left_out = first_sights.tags_left_out;
        self.first_open = start + self.settings.interval;
        self.start_sweep();
        closed
    }

    /// Goes on to the bucket at `start` without closing those before, which hold nothing.
    pub fn skip_to(&mut self, start: u64) {
        let start = self.first_filled().map_or(start, |filled| filled.min(start));
        self.first_open = self.first_open.max(start);
    }

    /// No open bucket has a cell of what is forgotten: its number is that of an older one.
    fn start_sweep(&mut self) {
        let buckets = self.settings.context_expiry.as_secs().div_ceil(self.settings.interval);
        let buckets = u32::try_from(buckets).unwrap_or(u32::MAX);
        self.contexts.start_sweep(self.epoch(self.first_open).saturating_sub(buckets));
    }

    /// One bounded step of forgetting what was not seen for long; true while there is more to do.
    pub fn sweep_some(&mut self) -> bool {
        self.contexts.sweep_step()
    }
}

#[cfg(test)]
#[path = "timed_tests.rs"]
mod tests;
