//! When a bucket is complete, what it continues, and the walk over what it posts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use super::merge;
use super::overrides::PostingOverrides;
use super::registry::{Continued, Known, Registry};
use super::rollup::{HistogramSettings, Posting};
use super::series::{Point, Series, SeriesKind, SketchSeries};
use crate::aggregate::{
    Bucket, CheckRecord, EventRecord, HistogramCell, LineCounts, SetCell, WriteOrder,
};
use crate::context::{Context, Kind, Rules, Tags};
use crate::sketch::Sketch;

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
    named_conflicts: u64,
}

/// One complete bucket, merged over lanes.
#[derive(Debug)]
pub struct Flush {
    /// Start of the bucket, unix seconds.
    pub start: u64,
    /// The second its points carry: the start, or the second of the shutdown.
    pub timestamp: i64,
    /// Lines and values, over all lanes.
    pub counts: LineCounts,
    /// Datagrams the kernel dropped in this interval; filled in by whoever reads the sockets.
    pub kernel_drops: u64,
    /// Counters continued with 0.
    pub idle: Vec<u32>,
    /// Values not posted because another kind of the same series was written later.
    pub type_conflicts: u64,
    /// Sets of more members than are counted exactly.
    pub sets_estimated: u64,
    /// Histograms of more samples than are kept as they are.
    pub histograms_hdr: u64,
    /// The name and host of one such series, to be shown once.
    pub conflict_example: Option<Context>,
    /// Contexts the flusher knows, continued counters included.
    pub contexts: usize,
    /// Values of histograms, by context and position, that another kind displaced.
    outdone: HashSet<(u32, usize)>,
    /// Gauges posted again with their last value (`gauge_ttl`).
    held: Vec<(u32, f64)>,
    merged: Bucket,
    emptied: Vec<(usize, Bucket)>,
    lane: usize,
    late_sketches: Vec<(u32, i64, Sketch)>,
}

/// What one context posts in one flush.
#[derive(Debug)]
pub struct Row<'a> {
    /// Its kind.
    pub kind: Kind,
    /// The final name.
    pub name: &'a [u8],
    /// All tags.
    pub tags: Tags<'a>,
    /// The resolved host.
    pub host: &'a [u8],
    /// What came in: the sum of a counter, the last value of a gauge, the members of a set, the
    /// samples of a histogram or distribution.
    pub input: f64,
    /// A counter continued with 0.
    pub idle: bool,
    /// A point at a second of the client's choosing.
    pub timestamped: bool,
    /// One series per aggregate; none for a distribution.
    pub series: &'a [Series<'a>],
    /// The sketch of a distribution.
    pub sketch: Option<SketchSeries<'a>>,
}

impl Flush {
    /// True when no line came and nothing is posted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.merged.is_empty()
            && self.idle.is_empty()
            && self.held.is_empty()
            && self.late_sketches.is_empty()
            && self.counts.received == 0
    }
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
            named_conflicts: 0,
        }
    }

    /// New rules for hosts, common tags and the posting overrides of contexts; they hold for
    /// every bucket that is posted from now on.
    pub fn set_rules(&mut self, rules: Arc<Rules>, histograms: HistogramSettings) {
        self.overrides = PostingOverrides::new(Arc::clone(&rules), histograms.clone());
        self.rules = rules;
        self.settings.histograms = histograms;
        self.registry.set_overrides(&mut self.overrides);
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
        // Nobody recorded anything in this one, but counters and held gauges go on.
        (next < passed && self.continues(next)).then(|| self.post(next, None)).flatten()
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
        merged.histograms.iter_mut().for_each(HistogramCell::sort);
        merged.distributions.iter_mut().for_each(|cell| cell.sketch.finish());
        let late_sketches = gather_late(&mut merged, self.settings.interval);
        let mut flush = Flush {
            start,
            timestamp: i64::try_from(partial.unwrap_or(start)).unwrap_or(i64::MAX),
            counts: merged.counts,
            kernel_drops: 0,
            idle: Vec::new(),
            held: Vec::new(),
            outdone: HashSet::new(),
            type_conflicts: 0,
            sets_estimated: count(merged.sets.iter().map(SetCell::is_estimated)),
            histograms_hdr: count(merged.histograms.iter().map(HistogramCell::is_hdr)),
            conflict_example: None,
            contexts: self.registry.len(),
            merged,
            emptied,
            lane,
            late_sketches,
        };
        // A counter that another kind displaces was seen all the same.
        for counter in &flush.merged.counters {
            self.registry.counted(counter.context, start);
        }
        if self.overrides.hold_gauges() {
            for gauge in &flush.merged.gauges {
                self.registry.hold(gauge.context, start, gauge.value);
            }
        }
        self.settle_conflicts(&mut flush);
        if partial.is_none() {
            self.continue_series(&mut flush);
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
        let contested =
            |number: &u32| self.registry.get(*number).is_some_and(|known| known.contested);
        if idle.iter().chain(held.iter().map(|(number, _)| number)).any(contested) {
            // What is continued never displaces a value of another kind, nor a zero a held gauge.
            let key = |number: u32| self.registry.series_key(number);
            let mut values = self.contested_values(flush);
            self.shadowed_values(flush, &mut |_, _, key, write_order| {
                values.insert(key, write_order);
            });
            held.retain(|(number, _)| !values.contains_key(&key(*number)));
            values.extend(held.iter().map(|(number, _)| (key(*number), 0)));
            idle.retain(|number| !values.contains_key(&key(*number)));
        }
        (flush.idle, flush.held) = (idle, held);
    }

    /// The latest write order of each contested series that has a value in this bucket.
    fn contested_values(&self, flush: &Flush) -> HashMap<u64, WriteOrder> {
        let bucket = &flush.merged;
        let counters = bucket.counters.iter().map(|cell| (cell.context, cell.write_order));
        let gauges = bucket.gauges.iter().map(|cell| (cell.context, cell.write_order));
        let sets = bucket.sets.iter().map(|cell| (cell.context, cell.write_order));
        let mut values: HashMap<u64, WriteOrder> = HashMap::new();
        if !self.registry.has_contested() {
            return values;
        }
        for (number, write_order) in counters.chain(gauges).chain(sets) {
            if self.registry.get(number).is_some_and(|known| known.contested) {
                let latest = values.entry(self.registry.series_key(number)).or_insert(0);
                *latest = write_order.max(*latest);
            }
        }
        values
    }

    /// Calls `visit` with context, position, series and write order of each value that a shadowed histogram
    /// posts.
    fn shadowed_values(&self, flush: &Flush, visit: &mut dyn FnMut(u32, usize, u64, WriteOrder)) {
        for cell in &flush.merged.histograms {
            let shadowed = self.posting(cell.context).filter(|(known, _)| known.shadowed);
            let Some((known, posting)) = shadowed else { continue };
            let suffixes = posting.histograms(self.overrides.usual()).suffixes().enumerate();
            for (position, suffix) in suffixes.filter(|(position, _)| posting.posts(*position)) {
                let key = self.registry.aggregate_key(&known.context, suffix);
                visit(cell.context, position, key, cell.write_order);
            }
        }
    }

    fn posting(&self, number: u32) -> Option<(&Known, Posting<'_>)> {
        let known = self.registry.get(number)?;
        let (rules, interval) = (&*self.rules, self.settings.interval);
        let posting_override = self.registry.override_of(number);
        Some((known, Posting { context: &known.context, rules, interval, posting_override }))
    }

    /// Of the kinds that would post one series at one second, the one written last is posted.
    fn settle_conflicts(&mut self, flush: &mut Flush) {
        let mut latest = self.contested_values(flush);
        if latest.is_empty() {
            return;
        }
        let mut outdone = HashSet::new();
        self.shadowed_values(flush, &mut |number, position, key, write_order| {
            if let Some(best) = latest.get_mut(&key) {
                if write_order > *best {
                    *best = write_order;
                } else {
                    outdone.insert((number, position));
                }
            }
        });
        let (registry, mut lost, mut example) = (&self.registry, 0, None);
        let mut wins = |number: u32, write_order: WriteOrder| {
            let Some(known) = registry.get(number).filter(|known| known.contested) else {
                return true;
            };
            let won =
                latest.get(&registry.series_key(number)).is_none_or(|best| write_order >= *best);
            if !won {
                lost += 1;
                example.get_or_insert_with(|| known.context.clone());
            }
            won
        };
        let bucket = &mut flush.merged;
        bucket.counters.retain(|cell| wins(cell.context, cell.write_order));
        bucket.gauges.retain(|cell| wins(cell.context, cell.write_order));
        bucket.sets.retain(|cell| wins(cell.context, cell.write_order));
        for (number, _) in &outdone {
            lost += 1;
            example = example.or_else(|| registry.get(*number).map(|known| known.context.clone()));
        }
        flush.outdone = outdone;
        (flush.type_conflicts, flush.conflict_example) = (lost, example);
        self.named_conflicts += lost;
    }

    /// Calls `visit` once per context: touched ones first, then held gauges and continued counters.
    pub fn visit(&self, flush: &Flush, visit: &mut dyn FnMut(&Row<'_>)) {
        Walk { flusher: self, flush }.all(visit);
    }

    /// Events of a flush, in order of arrival per lane.
    #[must_use]
    pub fn events<'a>(&self, flush: &'a Flush) -> &'a [EventRecord] {
        &flush.merged.events
    }

    /// Service checks of a flush, in order of arrival per lane.
    #[must_use]
    pub fn checks<'a>(&self, flush: &'a Flush) -> &'a [CheckRecord] {
        &flush.merged.checks
    }

    /// Emptied buckets, to be given back to their lanes.
    pub fn recycle(&self, flush: Flush) -> impl Iterator<Item = (usize, Bucket)> {
        let first = (flush.lane, flush.merged);
        std::iter::once(first).chain(flush.emptied).map(|(lane, mut bucket)| {
            bucket.recycle();
            (lane, bucket)
        })
    }

    /// The latest second until which some counter is continued, for telling people.
    #[must_use]
    pub fn continued_until(&self) -> Option<u64> {
        self.registry.counters_until(self.settings.counter_expiry.as_secs())
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

fn count(which: impl Iterator<Item = bool>) -> u64 {
    which.filter(|is| *is).count() as u64
}

/// Sketches of samples that carry their own time, each in the bucket of that time.
fn gather_late(bucket: &mut Bucket, interval: u64) -> Vec<(u32, i64, Sketch)> {
    let mut sketches: BTreeMap<(u32, i64), Sketch> = BTreeMap::new();
    let interval = i64::try_from(interval).unwrap_or(i64::MAX).max(1);
    for sample in bucket.timestamped_samples.drain(..) {
        let start = sample.timestamp - sample.timestamp.rem_euclid(interval);
        let sketch = sketches.entry((sample.context, start)).or_default();
        let taken = sketch.insert(sample.value, sample.rate);
        bucket.counts.values_non_finite += u64::from(!taken);
    }
    // One whose only value was too large holds nothing to post.
    sketches.retain(|_, sketch| !sketch.is_empty());
    sketches.into_iter().map(|((context, start), sketch)| (context, start, sketch)).collect()
}

struct Walk<'a> {
    flusher: &'a Flusher,
    flush: &'a Flush,
}

impl<'a> Walk<'a> {
    fn all(&self, visit: &mut dyn FnMut(&Row<'_>)) {
        let bucket = &self.flush.merged;
        for cell in &bucket.counters {
            self.counter(cell.context, cell.sum, false, visit);
        }
        for cell in &bucket.gauges {
            self.gauge(cell.context, cell.value, visit);
        }
        for cell in &bucket.sets {
            self.gauge(cell.context, cell.count() as f64, visit);
        }
        self.histograms(visit);
        for cell in &bucket.distributions {
            self.sketch(cell.context, self.flush.timestamp, &cell.sketch, false, visit);
        }
        for (context, start, sketch) in &self.flush.late_sketches {
            self.sketch(*context, *start, sketch, true, visit);
        }
        self.timestamped(visit);
        for (number, value) in &self.flush.held {
            self.gauge(*number, *value, visit);
        }
        for number in &self.flush.idle {
            self.counter(*number, 0.0, true, visit);
        }
    }

    fn posting(&self, number: u32) -> Option<Posting<'a>> {
        self.flusher.posting(number).map(|(_, posting)| posting)
    }

    fn counter(&self, number: u32, sum: f64, idle: bool, visit: &mut dyn FnMut(&Row<'_>)) {
        let Some(posting) = self.posting(number) else { return };
        let (kind, divisor) = posting.counter();
        let points = [Point { timestamp: self.flush.timestamp, value: sum / divisor }];
        let series = [posting.series("", kind, &points)];
        visit(&Row { idle, ..row(&posting, sum, &series) });
    }

    fn gauge(&self, number: u32, value: f64, visit: &mut dyn FnMut(&Row<'_>)) {
        let Some(posting) = self.posting(number) else { return };
        let points = [Point { timestamp: self.flush.timestamp, value }];
        let series = [posting.series("", SeriesKind::Gauge, &points)];
        visit(&row(&posting, value, &series));
    }

    fn histograms(&self, visit: &mut dyn FnMut(&Row<'_>)) {
        let (usual, interval) = (self.flusher.overrides.usual(), self.flusher.settings.interval);
        let timestamp = self.flush.timestamp;
        let mut values: Vec<(&str, [Point; 1], SeriesKind)> = Vec::new();
        for cell in &self.flush.merged.histograms {
            let Some(posting) = self.posting(cell.context) else { continue };
            let summary = cell.summary();
            values.clear();
            let all = posting.histograms(usual).values(cell, summary, interval).enumerate();
            let posted = all.filter(|(position, _)| {
                posting.posts(*position) && !self.flush.outdone.contains(&(cell.context, *position))
            });
            values
                .extend(posted.map(|(_, (suffix, value, kind))| {
                    (suffix, [Point { timestamp, value }], kind)
                }));
            let series: Vec<Series<'_>> = values
                .iter()
                .map(|(suffix, points, kind)| posting.series(suffix, *kind, points))
                .collect();
            visit(&row(&posting, summary.count as f64, &series));
        }
    }

    fn sketch(
        &self,
        number: u32,
        timestamp: i64,
        sketch: &Sketch,
        timestamped: bool,
        visit: &mut dyn FnMut(&Row<'_>),
    ) {
        let Some(posting) = self.posting(number).filter(|_| !sketch.is_empty()) else { return };
        let name = posting.context.name();
        let (host, tags) = (posting.host(), posting.tags());
        let sketch = SketchSeries { name, host, tags, timestamp, sketch };
        let input = sketch.sketch.count() as f64;
        visit(&Row { sketch: Some(sketch), timestamped, ..row(&posting, input, &[]) });
    }

    /// Points with their own time: one series per context, its points in order of arrival.
    fn timestamped(&self, visit: &mut dyn FnMut(&Row<'_>)) {
        let mut points: Vec<_> = self.flush.merged.timestamped.iter().collect();
        points.sort_by_key(|point| point.context);
        for group in points.chunk_by(|a, b| a.context == b.context) {
            let Some(posting) = group.first().and_then(|point| self.posting(point.context)) else {
                continue;
            };
            let counter = posting.context.kind() == Kind::Counter;
            let (kind, divisor) =
                if counter { posting.counter() } else { (SeriesKind::Gauge, 1.0) };
            let of_group: Vec<Point> = group
                .iter()
                .map(|point| Point { timestamp: point.timestamp, value: point.value / divisor })
                .collect();
            let input = match group.last() {
                Some(last) if !counter => last.value,
                _ => group.iter().map(|point| point.value).sum(),
            };
            let series = [posting.series("", kind, &of_group)];
            visit(&Row { timestamped: true, ..row(&posting, input, &series) });
        }
    }
}

fn row<'a>(posting: &Posting<'a>, input: f64, series: &'a [Series<'a>]) -> Row<'a> {
    Row {
        kind: posting.context.kind(),
        name: posting.context.name(),
        tags: posting.tags(),
        host: posting.host(),
        input,
        idle: false,
        timestamped: false,
        series,
        sketch: None,
    }
}
