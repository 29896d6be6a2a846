//! The walk over what one bucket posts, row by row.

use std::ops::Deref;

use super::complete::Flush;
use super::posting::{Posting, Postings};
use super::series::{Point, Series, SeriesKind, SketchSeries};
use crate::context::{Kind, Tags};
use crate::sketch::Sketch;

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

/// One flush with everything that is needed to post it; reads as the [`Flush`] itself.
#[derive(Clone, Copy)]
pub struct FlushView<'a> {
    pub(super) postings: Postings<'a>,
    pub(super) flush: &'a Flush,
    /// Length of a bucket in seconds.
    pub interval: u64,
    /// The latest second until which some counter is continued, for messages.
    pub continued_until: Option<u64>,
}

impl Deref for FlushView<'_> {
    type Target = Flush;

    fn deref(&self) -> &Flush {
        self.flush
    }
}

impl<'a> FlushView<'a> {
    /// Calls `visit` once per context: touched ones first, then held gauges and continued counters.
    pub fn visit(&self, visit: &mut dyn FnMut(&Row<'_>)) {
        let bucket = &self.flush.merged;
        let registry = self.postings.registry;
        for cell in registry.ahead(&bucket.counters, |cell| cell.context) {
            self.counter(cell.context, cell.sum, false, visit);
        }
        for cell in registry.ahead(&bucket.gauges, |cell| cell.context) {
            self.gauge(cell.context, cell.value, visit);
        }
        for cell in registry.ahead(&bucket.sets, |cell| cell.context) {
            self.gauge(cell.context, cell.count() as f64, visit);
        }
        self.histograms(visit);
        for cell in registry.ahead(&bucket.distributions, |cell| cell.context) {
            self.sketch(cell.context, self.flush.timestamp, &cell.sketch, false, visit);
        }
        for (context, start, sketch) in &self.flush.late_sketches {
            self.sketch(*context, *start, sketch, true, visit);
        }
        self.timestamped(visit);
        for (number, value) in &self.flush.held {
            self.gauge(*number, *value, visit);
        }
        for number in registry.ahead(&self.flush.idle, |number| *number) {
            self.counter(*number, 0.0, true, visit);
        }
    }

    fn counter(&self, number: u32, sum: f64, idle: bool, visit: &mut dyn FnMut(&Row<'_>)) {
        let Some(posting) = self.postings.of(number) else { return };
        let (kind, divisor) = posting.counter();
        let points = [Point { timestamp: self.flush.timestamp, value: sum / divisor }];
        let series = [posting.series("", kind, &points)];
        visit(&Row { idle, ..row(&posting, sum, &series) });
    }

    fn gauge(&self, number: u32, value: f64, visit: &mut dyn FnMut(&Row<'_>)) {
        let Some(posting) = self.postings.of(number) else { return };
        let points = [Point { timestamp: self.flush.timestamp, value }];
        let series = [posting.series("", SeriesKind::Gauge, &points)];
        visit(&row(&posting, value, &series));
    }

    fn histograms(&self, visit: &mut dyn FnMut(&Row<'_>)) {
        let (usual, interval) = (self.postings.usual, self.postings.interval);
        let timestamp = self.flush.timestamp;
        let mut values: Vec<(&str, [Point; 1], SeriesKind)> = Vec::new();
        let cells = &self.flush.merged.histograms;
        for cell in self.postings.registry.ahead(cells, |cell| cell.context) {
            let Some(posting) = self.postings.of(cell.context) else { continue };
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
        let Some(posting) = self.postings.of(number).filter(|_| !sketch.is_empty()) else { return };
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
            let Some(posting) = group.first().and_then(|point| self.postings.of(point.context))
            else {
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
