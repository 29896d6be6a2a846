//! When a bucket is complete, and what it continues.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use super::complete::{Flush, gather_late};
use super::conflicts;
use super::global::GlobalCells;
use super::grouped;
use super::handover::HandOver;
use super::merge;
use super::overrides::PostingOverrides;
use super::posting::Postings;
use super::registry::{Continued, Registry};
use super::rollup::HistogramSettings;
use super::walk::FlushView;
use crate::aggregate::{Bucket, HistogramCell, SetCell};
use crate::context::{Context, Kind, Rules};

/// How buckets become series.
#[derive(Clone, Debug)]
pub struct FlushSettings {
    /// Length of a bucket in seconds.
    pub interval: u64,
    /// How long a counter is continued with zeros (`dogstatsd_expiry_seconds`).
    pub counter_expiry: Duration,
    /// Distinct set members counted exactly when lanes are merged.
    pub set_members_max: usize,
    /// What is posted of histograms.
    pub histograms: HistogramSettings,
}

/// A bucket that a lane has passed.
#[derive(Debug)]
pub struct Closed {
    /// Which lane.
    pub lane: usize,
    /// Its cells.
    pub bucket: Bucket,
    /// Start of the bucket that the lane has open now; everything before has been passed.
    pub passed: u64,
}

/// Gathers what lanes close and gives complete buckets back, each once and in order.
#[derive(Debug)]
pub struct Flusher {
    settings: FlushSettings,
    rules: Arc<Rules>,
    overrides: PostingOverrides,
    registry: Registry,
    passed: Vec<u64>,
    waiting: BTreeMap<u64, Vec<(usize, Bucket)>>,
    /// Start of the next bucket to post, none before the first.
    next: Option<u64>,
    /// What was posted of partial buckets; none when nobody is to take it over.
    handover: Option<HandOver>,
    /// The buckets come from doors.
    of_doors: bool,
}

impl Flusher {
    /// A flusher for so many lanes; `state` as in their shards.
    #[must_use]
    pub fn new(
        settings: FlushSettings,
        rules: Arc<Rules>,
        lanes: usize,
        state: RandomState,
    ) -> Self {
        let overrides = PostingOverrides::new(Arc::clone(&rules), settings.histograms.clone());
        Flusher {
            settings,
            rules,
            overrides,
            registry: Registry::new(lanes, state),
            passed: vec![0; lanes],
            waiting: BTreeMap::new(),
            next: None,
            handover: None,
            of_doors: false,
        }
    }

    /// A flusher for buckets of values that say their second: nothing is continued, and samples with a
    /// time of their own are posted at that second.
    #[must_use]
    pub fn of_doors(settings: FlushSettings, rules: Arc<Rules>, state: RandomState) -> Self {
        let settings = FlushSettings { counter_expiry: Duration::ZERO, ..settings };
        Flusher { of_doors: true, ..Flusher::new(settings, rules, 1, state) }
    }

    /// Takes over what runs before posted of partial buckets, and keeps in mind what this one posts.
    pub fn take_over(&mut self, handover: HandOver) {
        self.handover = Some(handover);
    }

    /// What the next run has to know; none without a [`Flusher::take_over`].
    #[must_use]
    pub fn handover(&self) -> Option<&HandOver> {
        self.handover.as_ref()
    }

    /// New rules for hosts, common tags and the posting overrides of contexts; they hold for
    /// every bucket that is posted from now on.
    pub fn set_rules(&mut self, rules: Arc<Rules>, histograms: HistogramSettings) {
        self.overrides = PostingOverrides::new(Arc::clone(&rules), histograms.clone());
        self.rules = rules;
        self.settings.histograms = histograms;
        let moved: HashMap<u32, u32> =
            self.registry.set_overrides(&mut self.overrides).into_iter().collect();
        if !moved.is_empty() {
            let waiting = self.waiting.values_mut().flatten();
            waiting.for_each(|(_, bucket)| merge::rename(bucket, &moved));
        }
    }

    /// A lane lost its shard: its contexts are born anew.
    pub fn restart_lane(&mut self, lane: usize) {
        self.registry.reset(lane);
    }

    /// Takes what a lane closed.
    pub fn take(&mut self, closed: Closed) {
        let Closed { lane, mut bucket, passed } = closed;
        self.registry.apply(lane, &bucket.deaths, &bucket.births, &mut self.overrides);
        merge::renumber(&mut bucket, lane, &self.registry);
        // A lane that steps back with its clock never reopens what was posted: what it recorded
        // goes out with the next bucket.
        bucket.start = bucket.start.max(self.next.unwrap_or(bucket.start));
        self.passed[lane] = self.passed[lane].max(passed);
        self.next.get_or_insert(bucket.start);
        self.waiting.entry(bucket.start).or_default().push((lane, bucket));
    }

    /// The next bucket that every lane has passed.
    pub fn complete(&mut self) -> Option<Flush> {
        let passed = self.passed.iter().copied().min()?;
        let next = self.next?;
        if let Some((start, _)) = self.waiting.first_key_value() {
            let start = *start;
            if start < passed && (start == next || !self.continues(next)) {
                return self.post(start, None);
            }
        }
        // Nothing was recorded in this one, but counters and held gauges go on.
        (next < passed && self.continues(next)).then(|| self.post(next, None)).flatten()
    }

    /// The oldest bucket, with `stamp` for the second of what it posts: what comes after a restart for
    /// the same bucket is posted at its start and must not overwrite this.
    pub fn complete_as(&mut self, stamp: u64) -> Option<Flush> {
        let start = *self.waiting.first_key_value()?.0;
        self.post(start, Some(stamp))
    }

    /// True when some series has to be continued in the bucket at `start`.
    fn continues(&self, start: u64) -> bool {
        self.registry.continued_until(self.settings.counter_expiry.as_secs()) > Some(start)
    }

    /// What is left at shutdown, oldest first: complete buckets as usual; the last, partial one
    /// carries `now`, so that a successor that posts the same bucket does not overwrite it.
    pub fn finish(&mut self, now: u64) -> Option<Flush> {
        if let Some(flush) = self.complete() {
            return Some(flush);
        }
        let start = *self.waiting.first_key_value()?.0;
        let partial = start + self.settings.interval > now;
        self.post(start, partial.then(|| now.max(start + 1)))
    }

    fn post(&mut self, start: u64, partial: Option<u64>) -> Option<Flush> {
        let mut buckets = self.waiting.remove(&start).unwrap_or_default();
        buckets.sort_by_key(|(lane, _)| *lane);
        let mut buckets = buckets.into_iter();
        let (lane, mut merged) = buckets.next().unwrap_or_default();
        let mut emptied = Vec::new();
        let end = self.registry.numbers_end();
        for (lane, mut bucket) in buckets {
            merge::merge(&mut merged, &mut bucket, end, self.settings.set_members_max);
            emptied.push((lane, bucket));
        }
        if self.registry.has_united() {
            merge::fold(&mut merged, end, self.settings.set_members_max);
        }
        let stamp = partial.unwrap_or(start);
        if let Some(handover) = &self.handover {
            let max = self.settings.set_members_max;
            handover.add_to(&mut merged, (stamp, start), &self.registry, max);
        }
        grouped::by_number(&mut merged);
        merged.histograms.iter_mut().for_each(HistogramCell::sort);
        merged.distributions.iter_mut().for_each(|cell| cell.sketch.finish());
        let second = if self.of_doors { 1 } else { self.settings.interval };
        let late_sketches = gather_late(&mut merged, second);
        let mut flush = Flush {
            start,
            of_doors: self.of_doors,
            timestamp: i64::try_from(stamp).unwrap_or(i64::MAX),
            counts: merged.counts,
            kernel_drops: 0,
            idle: Vec::new(),
            held: Vec::new(),
            outdone: HashSet::new(),
            type_conflicts: 0,
            sets_estimated: count(merged.sets.iter().map(SetCell::is_estimated)),
            histograms_folded: count(merged.histograms.iter().map(HistogramCell::is_folded)),
            cells_coarse: cells_coarse(&merged),
            conflict_example: None,
            contexts: self.registry.len(),
            merged,
            emptied,
            lane,
            late_sketches,
            global: GlobalCells::default(),
        };
        if self.registry.has_global() {
            flush.global = GlobalCells::take_from(&mut flush.merged, &self.registry);
            flush.counts.cells_unsendable += flush.global.unsendable;
        }
        // A counter that another kind displaces was seen all the same.
        for counter in &flush.merged.counters {
            self.registry.counted(counter.context, start);
        }
        if self.overrides.hold_gauges() {
            for gauge in &flush.merged.gauges {
                self.registry.hold(gauge.context, start, gauge.value);
            }
        }
        conflicts::settle(self.postings(), &mut flush);
        if partial.is_none() {
            self.continue_series(&mut flush);
        } else if let Some(handover) = &mut self.handover {
            handover.note(&flush.merged, (stamp, start), &self.registry);
        }
        self.next = Some(start + self.settings.interval);
        Some(flush)
    }

    fn continue_series(&mut self, flush: &mut Flush) {
        let expiry = self.settings.counter_expiry.as_secs();
        let (mut idle, mut held) = (Vec::new(), Vec::new());
        self.registry.continue_all(flush.start, expiry, &mut |number, continued| match continued {
            Continued::Zero => idle.push(number),
            Continued::Held(value) => held.push((number, value)),
        });
        conflicts::yield_to_values(self.postings(), &flush.merged, &mut idle, &mut held);
        grouped::sort(&mut idle, |number| *number);
        (flush.idle, flush.held) = (idle, held);
    }

    fn postings(&self) -> Postings<'_> {
        Postings {
            registry: &self.registry,
            rules: &self.rules,
            usual: self.overrides.usual(),
            usual_styles: self.overrides.usual_styles(),
            interval: self.settings.interval,
        }
    }

    /// A flush with everything that is needed to post it.
    #[must_use]
    pub fn view<'a>(&'a self, flush: &'a Flush) -> FlushView<'a> {
        FlushView {
            postings: self.postings(),
            flush,
            interval: self.settings.interval,
            continued_until: self.registry.counters_until(self.settings.counter_expiry.as_secs()),
        }
    }

    /// Emptied buckets, to be given back to their lanes.
    pub fn recycle(&self, flush: Flush) -> impl Iterator<Item = (usize, Bucket)> {
        let mut merged = flush.merged;
        flush.global.give_back(&mut merged);
        let first = (flush.lane, merged);
        std::iter::once(first).chain(flush.emptied).map(|(lane, mut bucket)| {
            bucket.recycle();
            (lane, bucket)
        })
    }

    /// Contexts known, counters that are only continued included.
    #[must_use]
    pub fn contexts(&self) -> usize {
        self.registry.len()
    }

    /// As [`Flusher::contexts`], by kind in the order of [`Kind::ALL`].
    #[must_use]
    pub fn contexts_by_kind(&self) -> [usize; Kind::ALL.len()] {
        self.registry.by_kind()
    }

    /// Every context known.
    pub fn known(&self) -> impl Iterator<Item = &Context> {
        self.registry.contexts()
    }

    /// The rules in force, for hosts and common tags.
    #[must_use]
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Length of a bucket in seconds.
    #[must_use]
    pub fn interval(&self) -> u64 {
        self.settings.interval
    }
}

fn cells_coarse(bucket: &Bucket) -> u64 {
    count(bucket.sets.iter().map(SetCell::is_coarse))
        + count(bucket.histograms.iter().map(HistogramCell::is_coarse))
        + count(bucket.distributions.iter().map(|cell| cell.sketch.is_coarse()))
}

fn count(which: impl Iterator<Item = bool>) -> u64 {
    which.filter(|is| *is).count() as u64
}
