//! What was posted of each metric in the last ten minutes, for plots.
//!
//! Bounded: while few contexts are alive, every metric is followed; past [`FOLLOWED_MAX`] contexts only
//! those that somebody opened, so that a flush of a million contexts is not walked for nobody. Points
//! are held up to [`POINTS_MAX`]; what finds no room is counted.

use std::collections::{HashMap, VecDeque};

use ahash::RandomState;

use crate::flush::{FlushView, Row, SeriesKind};
use crate::text::printable;

/// Contexts up to which every metric is followed.
const FOLLOWED_MAX: usize = 1_000;
/// Points held over all metrics, of 16 bytes each in lists that grow by doubling: at most 8 MiB.
const POINTS_MAX: usize = 1 << 18;
/// Series of one metric held one by one; all of them are in its sums.
const SERIES_MAX: usize = 12;
/// Seconds that points are held for.
const AGE_MAX: i64 = 600;
/// Metrics followed because they were opened, and for how many seconds after they were last asked for.
const OPENED_MAX: usize = 16;
const OPENED_SECONDS: u64 = 660;
/// Characters shown of the tags of a series.
const TAGS_WIDTH: usize = 400;

/// The metrics that are followed.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    metrics: HashMap<Box<[u8]>, PostedMetric, RandomState>,
    /// Name, and the Unix second at which it was last asked for.
    opened: VecDeque<(Box<[u8]>, u64)>,
    points: usize,
    /// Points of the last flush that found no room.
    left_out: u64,
    /// The last flush was too large for every metric to be followed.
    only_opened: bool,
    state: RandomState,
}

/// One metric: a few of its series one by one, and the sums of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct PostedMetric {
    pub series: Vec<PostedSeries>,
    pub sums: Vec<PostedSums>,
}

/// The values of one series.
#[derive(Clone, Debug)]
pub(crate) struct PostedSeries {
    hash: u64,
    /// Tags and host, printable.
    pub label: String,
    /// What the name ends with (`.max`); of a distribution, which figure of its sketch.
    pub suffix: String,
    pub kind: SeriesKind,
    /// Unix seconds and values, in order of arrival.
    pub points: VecDeque<(i64, f64)>,
}

/// One flush of all series with one suffix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sum {
    /// Unix seconds.
    pub at: i64,
    pub series: u64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
}

/// The sums of all series of a metric with one suffix.
#[derive(Clone, Debug)]
pub(crate) struct PostedSums {
    pub suffix: String,
    pub kind: SeriesKind,
    pub flushes: VecDeque<Sum>,
}

/// How a metric is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Following {
    /// Too many contexts to follow those that were not opened.
    pub only_opened: bool,
    /// Points of the last flush, of whatever metric, that found no room.
    pub left_out: u64,
}

impl Posted {
    /// Somebody looks at a metric at `now` (Unix seconds): it is followed from here on. Returns what
    /// is held of it.
    pub fn open(&mut self, name: &[u8], now: u64) -> (PostedMetric, Following) {
        self.opened.retain(|(known, at)| **known != *name && *at + OPENED_SECONDS > now);
        if self.opened.len() == OPENED_MAX {
            self.opened.pop_front();
        }
        self.opened.push_back((name.into(), now));
        let following = Following { only_opened: self.only_opened, left_out: self.left_out };
        (self.metrics.get(name).cloned().unwrap_or_default(), following)
    }

    /// Takes what a flush posts.
    pub fn take(&mut self, flush: &FlushView<'_>) {
        let now = flush.start + flush.interval;
        self.opened.retain(|(_, at)| *at + OPENED_SECONDS > now);
        self.left_out = 0;
        self.only_opened = flush.contexts > FOLLOWED_MAX;
        if !self.only_opened || !self.opened.is_empty() {
            flush.visit(&mut |row| self.row(row, flush.timestamp));
        }
        self.forget(flush.timestamp - AGE_MAX);
    }

    fn row(&mut self, row: &Row<'_>, at: i64) {
        let opened = self.opened.iter().any(|(name, _)| **name == *row.name);
        if self.only_opened && !opened {
            return;
        }
        // What somebody looks at has room beside all others.
        if self.points >= POINTS_MAX && !opened {
            self.left_out += 1;
            return;
        }
        let hash = |suffix: &str| {
            let tags: Vec<&[u8]> = row.tags.iter().collect();
            self.state.hash_one((tags, row.host, suffix))
        };
        let mut values: Vec<(u64, &str, SeriesKind, i64, f64)> = Vec::new();
        for series in row.series {
            let points = series.points.iter();
            let hash = hash(series.suffix);
            values.extend(
                points
                    .map(|point| (hash, series.suffix, series.kind, point.timestamp, point.value)),
            );
        }
        if let Some(sketch) = row.sketch.map(|series| series.sketch) {
            let p95 = sketch.quantile(0.95).unwrap_or_default();
            for (word, value) in [(" avg", sketch.avg()), (" p95", p95), (" max", sketch.max())] {
                values.push((hash(word), word, SeriesKind::Gauge, at, value));
            }
        }
        let metric = self.metrics.entry(row.name.into()).or_default();
        for (hash, suffix, kind, timestamp, value) in values {
            self.points += metric.add_sum(suffix, kind, at, value);
            let label = || label(row);
            self.points += metric.add_point(hash, label, (suffix, kind), (timestamp, value));
        }
    }

    /// Lets go of what is older than that second.
    fn forget(&mut self, oldest: i64) {
        let mut points = 0;
        self.metrics.retain(|_, metric| {
            for series in &mut metric.series {
                series.points.retain(|(at, _)| *at >= oldest);
                points += series.points.len();
            }
            for sums in &mut metric.sums {
                sums.flushes.retain(|sum| sum.at >= oldest);
                points += sums.flushes.len() * POINTS_PER_SUM;
            }
            metric.series.retain(|series| !series.points.is_empty());
            metric.sums.retain(|sums| !sums.flushes.is_empty());
            !metric.sums.is_empty()
        });
        self.points = points;
    }
}

/// A sum takes as much memory as so many points.
const POINTS_PER_SUM: usize = std::mem::size_of::<Sum>().div_ceil(16);

impl PostedMetric {
    fn add_sum(&mut self, suffix: &str, kind: SeriesKind, at: i64, value: f64) -> usize {
        let found = self.sums.iter().position(|sums| sums.suffix == suffix && sums.kind == kind);
        let found = found.unwrap_or_else(|| {
            let flushes = VecDeque::new();
            self.sums.push(PostedSums { suffix: suffix.to_owned(), kind, flushes });
            self.sums.len() - 1
        });
        let flushes = &mut self.sums[found].flushes;
        match flushes.back_mut().filter(|last| last.at == at) {
            Some(last) => {
                last.series += 1;
                last.sum += value;
                last.min = last.min.min(value);
                last.max = last.max.max(value);
                0
            }
            None => {
                flushes.push_back(Sum { at, series: 1, sum: value, min: value, max: value });
                POINTS_PER_SUM
            }
        }
    }

    fn add_point(
        &mut self,
        hash: u64,
        label: impl FnOnce() -> String,
        (suffix, kind): (&str, SeriesKind),
        point: (i64, f64),
    ) -> usize {
        let known = self.series.iter().position(|series| series.hash == hash);
        let at = match known {
            Some(at) => at,
            None if self.series.len() < SERIES_MAX => {
                let (label, suffix) = (label(), suffix.to_owned());
                self.series.push(PostedSeries {
                    hash,
                    label,
                    suffix,
                    kind,
                    points: VecDeque::new(),
                });
                self.series.len() - 1
            }
            None => return 0,
        };
        self.series[at].points.push_back(point);
        1
    }
}

fn label(row: &Row<'_>) -> String {
    let tags: Vec<&[u8]> = row.tags.iter().collect();
    printable(&tags.join(&b", "[..]), TAGS_WIDTH)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::aggregate::{Bucket, Shard, ShardSettings};
    use crate::context::Rules;
    use crate::flush::{Closed, FlushSettings, Flusher, HistogramSettings};

    /// Flushes of ten seconds each.
    struct Run {
        shard: Shard,
        flusher: Flusher,
        end: u64,
    }

    impl Run {
        fn new() -> Self {
            let (rules, state) = (Arc::new(Rules::default()), RandomState::new());
            let start = Duration::from_secs(1_000);
            let settings = ShardSettings::default();
            let settings_of_flusher = FlushSettings {
                interval: 10,
                counter_expiry: Duration::from_secs(300),
                set_members_max: 1_000,
                histograms: HistogramSettings::default(),
            };
            let shard = Shard::new(settings, Arc::clone(&rules), state.clone(), start);
            let flusher = Flusher::new(settings_of_flusher, rules, 1, state);
            Run { shard, flusher, end: 1_000 }
        }

        fn flush(&mut self, lines: &[String], posted: &mut Posted) {
            self.shard.begin_batch(Duration::from_secs(self.end));
            for line in lines {
                self.shard.counts().received += 1;
                self.shard.line(line.as_bytes(), b"");
            }
            self.end += 10;
            let bucket = self.shard.close(Duration::from_secs(self.end), Bucket::default());
            self.flusher.take(Closed { lane: 0, bucket, passed: self.end });
            let flush = self.flusher.complete().expect("its only lane has passed it");
            posted.take(&self.flusher.view(&flush));
            drop(self.flusher.recycle(flush));
        }
    }

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// `label suffix: values` of each series, then `suffix: series sum min max` of each sum.
    fn shown(metric: &PostedMetric) -> Vec<String> {
        let series = metric.series.iter().map(|series| {
            let values: Vec<f64> = series.points.iter().map(|(_, value)| *value).collect();
            format!("{}{}: {values:?}", series.label, series.suffix)
        });
        let sums = metric.sums.iter().map(|sums| {
            let last = sums.flushes.back().unwrap();
            format!("{}: {} {} {} {}", sums.suffix, last.series, last.sum, last.min, last.max)
        });
        series.chain(sums).collect()
    }

    #[test]
    fn a_metric_has_its_past_before_anybody_opens_it() {
        let (mut run, mut posted) = (Run::new(), Posted::default());
        run.flush(&lines(&["hits:20|c|#a", "hits:40|c|#b", "t:1|g"]), &mut posted);
        run.flush(&lines(&["hits:30|c|#a", "t:3|g"]), &mut posted);
        let (hits, following) = posted.open(b"hits", 1_020);
        assert_eq!(shown(&hits), ["a: [2.0, 3.0]", "b: [4.0, 0.0]", ": 2 3 0 3"]);
        assert_eq!(hits.series[0].points[1].0, 1_010);
        assert_eq!(following, Following::default());
        assert_eq!(shown(&posted.open(b"t", 1_020).0), [": [1.0, 3.0]", ": 1 3 3 3"]);
        assert_eq!(shown(&posted.open(b"none", 1_020).0), [""; 0]);
    }

    #[test]
    fn a_distribution_shows_figures_of_its_sketch() {
        let (mut run, mut posted) = (Run::new(), Posted::default());
        run.flush(&lines(&["d:1:3|d"]), &mut posted);
        let shown = shown(&posted.open(b"d", 1_010).0);
        assert_eq!((&*shown[0], &*shown[2]), (" avg: [2.0]", " max: [3.0]"));
    }

    #[test]
    fn many_series_are_summed_up_and_too_many_contexts_wait_until_somebody_looks() {
        let (mut run, mut posted) = (Run::new(), Posted::default());
        let many: Vec<String> = (0..=FOLLOWED_MAX).map(|id| format!("m:{id}|g|#id:{id}")).collect();
        run.flush(&many, &mut posted);
        let (metric, following) = posted.open(b"m", 1_010);
        assert!(metric.sums.is_empty() && following.only_opened);
        run.flush(&many, &mut posted);
        let (metric, _) = posted.open(b"m", 1_020);
        assert_eq!(metric.series.len(), SERIES_MAX);
        let sum = metric.sums[0].flushes[0];
        assert_eq!((sum.series, sum.min, sum.max), (1_001, 0.0, 1_000.0));
        assert_eq!(posted.points, SERIES_MAX + POINTS_PER_SUM);
    }

    #[test]
    fn ten_minutes_are_kept_and_metrics_that_are_gone_are_let_go() {
        let (mut run, mut posted) = (Run::new(), Posted::default());
        run.flush(&lines(&["gone:1|g"]), &mut posted);
        for _ in 0..100 {
            run.flush(&lines(&["kept:1|g"]), &mut posted);
        }
        assert_eq!(posted.metrics.len(), 1);
        assert_eq!(posted.open(b"kept", 2_010).0.series[0].points.len(), 61);
        for name in 0..OPENED_MAX * 2 {
            posted.open(name.to_string().as_bytes(), 2_010);
        }
        assert_eq!(posted.opened.len(), OPENED_MAX);
    }
}
