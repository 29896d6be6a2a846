//! From lines to what is posted, through real shards.

mod doors;
mod global;
mod handover;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use super::{
    Closed, Flush, FlushSettings, FlushTotals, Flusher, HistogramSettings, Percentile, Row,
    SeriesKind,
};
use crate::aggregate::{self, Bucket, Shard};
use crate::context::{ContextLimits, Rules};
use crate::memory::MemoryLimit;

struct House {
    shards: Vec<Shard>,
    flusher: Flusher,
    now: u64,
}

fn state() -> RandomState {
    RandomState::with_seeds(1, 2, 3, 4)
}

fn flush_settings() -> FlushSettings {
    FlushSettings {
        interval: 10,
        counter_expiry: Duration::from_secs(300),
        set_members_max: 1_000,
        histograms: HistogramSettings::default(),
    }
}

impl House {
    fn new(lanes: usize, settings: &aggregate::ShardSettings, now: u64) -> Self {
        let rules = Arc::new(Rules { limits: ContextLimits::default(), ..Rules::default() });
        let shard = || {
            let now = Duration::from_secs(now);
            Shard::new(settings.clone(), Arc::clone(&rules), state(), now)
        };
        House {
            shards: (0..lanes).map(|_| shard()).collect(),
            flusher: Flusher::new(flush_settings(), Arc::clone(&rules), lanes, state()),
            now,
        }
    }

    fn plain(now: u64) -> Self {
        House::new(1, &aggregate::ShardSettings::default(), now)
    }

    fn send(&mut self, lane: usize, lines: &[&str]) {
        self.shards[lane].begin_batch(Duration::from_secs(self.now));
        for line in lines {
            self.shards[lane].line(line.as_bytes(), b"");
        }
    }

    /// Every lane passes to `now`; what that completes is printed.
    fn at(&mut self, now: u64) -> Vec<String> {
        self.now = now;
        for lane in 0..self.shards.len() {
            self.close(lane, now);
        }
        let mut posted = Vec::new();
        while let Some(flush) = self.flusher.complete() {
            posted.extend(self.print(&flush));
            self.flusher.recycle(flush).for_each(drop);
        }
        posted
    }

    fn close(&mut self, lane: usize, now: u64) {
        let now = Duration::from_secs(now);
        let shard = &mut self.shards[lane];
        if now >= shard.bucket_end() {
            let bucket = shard.close(now, Bucket::default());
            let passed = shard.bucket_end().as_secs() - 10;
            self.flusher.take(Closed { lane, bucket, passed });
        }
    }

    fn stop(&mut self, now: u64) -> Vec<String> {
        for lane in 0..self.shards.len() {
            let bucket = self.shards[lane].close(Duration::from_secs(now), Bucket::default());
            let passed = bucket.start;
            self.flusher.take(Closed { lane, bucket, passed });
        }
        let mut posted = Vec::new();
        while let Some(flush) = self.flusher.finish(now) {
            posted.extend(self.print(&flush));
        }
        posted
    }

    fn print(&self, flush: &Flush) -> Vec<String> {
        let (mut posted, mut totals) = (Vec::new(), FlushTotals::default());
        let view = self.flusher.view(flush);
        view.visit(&mut |row| {
            totals.series += row.series.len();
            totals.sketches += usize::from(row.sketch.is_some());
            totals.points += row.series.iter().map(|one| one.points.len()).sum::<usize>();
            posted.extend(lines_of(row));
        });
        assert_eq!(view.totals(), totals);
        posted.sort();
        posted
    }
}

fn lines_of(row: &Row<'_>) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut tags: Vec<String> = row.tags.iter().map(text).collect();
    tags.sort();
    let tail = if tags.is_empty() { String::new() } else { format!(" #{}", tags.join(",")) };
    let series = row.series.iter().flat_map(|series| {
        let kind = match series.kind {
            SeriesKind::Rate => "rate",
            SeriesKind::Gauge => "gauge",
            SeriesKind::Count => "count",
        };
        let (name, tail) = (text(series.name) + series.suffix, &tail);
        let unit = series.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
        let line = move |point: &super::Point| {
            format!("{} {name} {kind} {}{unit}{tail}", point.timestamp, point.value)
        };
        series.points.iter().map(line)
    });
    let sketch = row.sketch.iter().map(|sketch| {
        let (name, count) = (text(sketch.name), sketch.sketch.count());
        format!("{} {name} sketch {count} {}{tail}", sketch.timestamp, sketch.sketch.sum())
    });
    series.chain(sketch).collect()
}

#[track_caller]
fn posts(lines: &[&str], expect: &[&str]) {
    let mut house = House::plain(1000);
    house.send(0, lines);
    let posted: Vec<String> =
        house.at(1010).into_iter().map(|line| line.replace("1000 ", "")).collect();
    assert_eq!(posted, expect);
}

#[test]
fn every_kind_posts_what_the_agent_posts() {
    posts(&["hits:1|c"; 5], &["hits rate 0.5"]);
    posts(&["hits:3|c|@0.1"], &["hits rate 3"]);
    posts(&["n:1:2:3|c|@0.5|#a:b"], &["n rate 1.2 #a:b"]);
    posts(&["hits:0|c"], &["hits rate 0"]);
    posts(&["temp:20|g", "temp:22|g"], &["temp gauge 22"]);
    posts(&["u:a|s", "u:b|s", "u:a|s"], &["u gauge 2"]);
    posts(&["d:1|d", "d:2|d", "d:2|d", "d:10|d"], &["d sketch 4 15"]);
}

#[test]
fn rates_out_of_range_count_as_one() {
    for rate in ["0", "2", "-0.5", "nan", "inf"] {
        posts(&[&format!("n:5|c|@{rate}")], &["n rate 0.5"]);
    }
}

#[test]
fn rates_below_a_thousand_millionth_count_as_one() {
    let histogram = |rate: &str| {
        let mut house = House::plain(1000);
        house.send(0, &[&format!("h:1:2:3|h|@{rate}")]);
        house.at(1010)
    };
    assert_eq!(histogram("1e-20"), histogram("1"));
    let mut house = House::plain(1000);
    house.send(0, &["n:5|c|@1e-20", "n:5|c|@9e-10", "d:1|d|@1e-20", "d:2|d|@1e-9"]);
    house.close(0, 1010);
    let flush = house.flusher.complete().expect("one lane");
    assert_eq!(flush.counts.rates_invalid, 3);
    house.flusher.view(&flush).visit(&mut |row| match row.sketch {
        Some(sketch) => {
            let bins: u64 = sketch.sketch.bins().map(|(_, count)| u64::from(count)).sum();
            assert_eq!((bins, sketch.sketch.count()), (1_000_000_000, 1_000_000_000));
        }
        None => assert_eq!(row.series[0].points[0].value, 1.0),
    });
}

#[test]
fn many_lines_of_the_smallest_rate_stay_consistent() {
    let mut house = House::plain(1000);
    for _ in 0..20_000 {
        house.send(0, &["h:1:2:3|h|@1e-9", "d:1:2:3|d|@1e-9"]);
    }
    house.close(0, 1010);
    let flush = house.flusher.complete().expect("one lane");
    assert!(flush.counts.values_non_finite > 50_000, "refused, and counted");
    house.flusher.view(&flush).visit(&mut |row| {
        let value = |suffix: &str| {
            row.series.iter().find(|one| one.suffix == suffix).map(|one| one.points[0].value)
        };
        match row.sketch.map(|sketch| sketch.sketch) {
            Some(sketch) => {
                let bins: u64 = sketch.bins().map(|(_, count)| u64::from(count)).sum();
                assert_eq!(bins, sketch.count());
                assert!(sketch.avg() <= sketch.max() && sketch.count() > 15 << 40);
            }
            None => assert!(value(".avg") <= value(".max"), "{:?}", value(".avg")),
        }
    });
}

#[test]
fn one_huge_value_does_not_decide_the_percentiles() {
    let mut house = House::plain(1000);
    house.send(0, &["a:-1e308|h", "a:42:51:1:77:13|h"]);
    assert!(house.at(1010).contains(&"1000 a.median gauge 13".to_owned()));
    house.send(0, &[&format!("b{}|h", ":1e12".repeat(1_000))]);
    house.send(0, &[&format!("b{}|h", ":0.0015".repeat(2_000))]);
    let posted = house.at(1020);
    let median = posted.iter().find_map(|line| line.strip_prefix("1010 b.median gauge "));
    let median: f64 = median.expect("posted").parse().expect("a number");
    assert!((median / 0.0015 - 1.0).abs() < 0.01, "{median}");
}

#[test]
fn huge_values_of_two_lanes_stay_exact() {
    let mut house = House::new(2, &aggregate::ShardSettings::default(), 1000);
    house.send(0, &["a:1e308|h", "a:1:2|h"]);
    house.send(1, &["a:-1e308|h", "a:3:4|h|@0.5"]);
    let posted = house.at(1010);
    for line in ["1000 a.median gauge 3", "1000 a.count rate 0.8"] {
        assert!(posted.iter().any(|posted| posted == line), "{line} of {posted:?}");
    }
}

#[test]
fn short_memory_costs_precision_and_nothing_else() {
    let settings = aggregate::ShardSettings {
        memory: Arc::new(MemoryLimit::new(1 << 16)),
        ..aggregate::ShardSettings::default()
    };
    let mut house = House::new(2, &settings, 1000);
    for number in 0..4_000 {
        let lane = number % 2;
        let value = number as f64 * 1.7;
        for context in 0..20 {
            house.send(
                lane,
                &[
                    &format!("h:{value}|h|#n:{context}"),
                    &format!("d:{value}|d|#n:{context}"),
                    &format!("s:{number}|s|#n:{context}"),
                ],
            );
        }
    }
    assert!(settings.memory.bytes_used() <= 1 << 16);
    house.close(0, 1010);
    house.close(1, 1010);
    let flush = house.flusher.complete().expect("both lanes");
    assert!(flush.cells_coarse > 30, "{} of 60", flush.cells_coarse);
    assert_eq!((flush.counts.values, flush.counts.values_non_finite), (240_000, 0));
    house.flusher.view(&flush).visit(&mut |row| {
        let (count, max) = match row.sketch.map(|sketch| sketch.sketch) {
            Some(sketch) => (sketch.count() as f64, sketch.max()),
            None if row.series.len() == 1 => {
                let size = row.series[0].points[0].value;
                assert!((size / 4_000.0 - 1.0).abs() < 0.3, "{size}");
                return;
            }
            None => (row.series[3].points[0].value * 10.0, row.series[0].points[0].value),
        };
        assert_eq!((count, max), (4_000.0, 3_999.0 * 1.7));
    });
    house.flusher.recycle(flush).for_each(drop);
    assert_eq!(settings.memory.bytes_used(), 0, "given back");
}

#[test]
fn non_finite_values_leave_no_context() {
    posts(&["n:nan|g", "n:nan|c", "n:inf|c", "n:-Infinity|d", "n:nan:inf|h"], &[]);
    posts(&["n:nan:3|c"], &["n rate 0.3"]);
    let mut house = House::plain(1000);
    house.send(0, &["n:nan|c"]);
    assert_eq!(house.at(1010), [""; 0]);
    assert_eq!(house.at(1020), [""; 0]);
}

#[test]
fn the_worked_histogram() {
    let expect = [
        "h.95percentile gauge 10",
        "h.avg gauge 5",
        "h.count rate 0.5",
        "h.max gauge 10",
        "h.median gauge 2",
    ];
    posts(&["h:1|h", "h:2|h", "h:2|h", "h:10|h|@0.5"], &expect);
}

#[test]
fn timers_carry_their_unit_but_not_on_the_count() {
    let expect = [
        "t.95percentile gauge 3 millisecond",
        "t.avg gauge 3 millisecond",
        "t.count rate 0.1",
        "t.max gauge 3 millisecond",
        "t.median gauge 3 millisecond",
    ];
    posts(&["t:3|ms"], &expect);
}

#[test]
fn fine_percentiles_have_names_and_ranks_of_their_own() {
    let mut house = House::plain(1000);
    let percentiles = [0.5, 0.999].into_iter().filter_map(Percentile::new).collect();
    let settings = HistogramSettings { aggregates: Vec::new(), percentiles };
    house.flusher.set_rules(Arc::new(Rules::default()), settings);
    let lines: Vec<String> = (1..=1_000).map(|value| format!("h:{value}|h")).collect();
    house.send(0, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    let expect = ["1000 h.50percentile gauge 500", "1000 h.99.9percentile gauge 999"];
    assert_eq!(house.at(1010), expect);
}

#[test]
fn timestamped_points_are_posted_as_they_are() {
    let lines = ["n:1|c|T1656581400", "n:4|c|@0.5|T1656581400", "g:7|g|T1656581400", "h:1|h|T1"];
    let expect = ["1656581400 g gauge 7", "1656581400 n rate 0.1", "1656581400 n rate 0.4"];
    posts(&lines, &expect);
    let mut house = House::plain(1000);
    house.send(0, &lines);
    house.at(1010);
    assert_eq!(house.at(1020), [""; 0], "no zero-fill for timestamped counters");
}

#[test]
fn a_counter_is_continued_for_five_minutes_in_every_bucket() {
    let mut house = House::plain(1000);
    house.send(0, &["a:1|c"]);
    assert_eq!(house.at(1010), ["1000 a rate 0.1"]);
    for start in (1010..1300).step_by(10) {
        assert_eq!(house.at(start + 10), [format!("{start} a rate 0")]);
    }
    assert_eq!(house.at(1310), [""; 0]);
    assert_eq!(house.flusher.contexts(), 0);
}

#[test]
fn a_jump_of_the_clock_fills_only_what_zero_fill_needs() {
    let mut house = House::plain(1000);
    house.send(0, &["a:1|c"]);
    assert_eq!(house.at(1_000_000).len(), 30);
    house.send(0, &["a:1|c"]);
    assert_eq!(house.at(1_000_010), ["1000000 a rate 0.1"]);
}

#[test]
fn a_counter_that_returns_is_not_posted_twice() {
    let mut house = House::plain(1000);
    house.send(0, &["a:1|c"]);
    for now in (1010..=1100).step_by(10) {
        house.at(now);
    }
    house.send(0, &["a:2|c"]);
    assert_eq!(house.at(1110), ["1100 a rate 0.2"]);
    assert_eq!(house.flusher.contexts(), 1);
}

#[test]
fn a_bucket_waits_for_every_lane_and_lanes_merge() {
    let mut house = House::new(2, &aggregate::ShardSettings::default(), 1000);
    house.send(0, &["c:1|c", "g:1|g", "s:a|s", "s:b|s", "h:1|h", "d:1|d"]);
    house.send(1, &["c:2|c", "s:b|s", "h:3|h", "d:2|d"]);
    house.shards[1].begin_batch(Duration::from_secs(1005));
    house.shards[1].line(b"g:2|g", b"");
    house.close(0, 1010);
    assert!(house.flusher.complete().is_none());
    let expect = [
        "1000 c rate 0.3",
        "1000 d sketch 2 3",
        "1000 g gauge 2",
        "1000 h.95percentile gauge 3",
        "1000 h.avg gauge 2",
        "1000 h.count rate 0.2",
        "1000 h.max gauge 3",
        "1000 h.median gauge 1",
        "1000 s gauge 2",
    ];
    assert_eq!(house.at(1010), expect);
    assert_eq!(house.at(1020), ["1010 c rate 0"]);
}

#[test]
fn of_two_kinds_the_later_write_wins_and_a_zero_never_does() {
    posts(&["x:1|c", "x:5|g"], &["x gauge 5"]);
    posts(&["x:5|g", "x:1|c"], &["x rate 0.1"]);
    posts(&["x:5|g", "x:1|c", "x:1|d"], &["x rate 0.1", "x sketch 1 1"]);
    let mut house = House::plain(1000);
    house.send(0, &["x:1|c", "y:1|c"]);
    house.at(1010);
    house.send(0, &["x:5|g"]);
    assert_eq!(house.at(1020), ["1010 x gauge 5", "1010 y rate 0"]);
    assert_eq!(house.at(1030), ["1020 x rate 0", "1020 y rate 0"]);
}

#[test]
fn the_last_bucket_carries_the_second_of_the_shutdown_and_no_zeros() {
    let mut house = House::plain(1000);
    house.send(0, &["a:1|c", "d:1|d"]);
    house.at(1010);
    house.send(0, &["b:1|c", "d:1|d"]);
    assert_eq!(house.stop(1014), ["1014 b rate 0.1", "1014 d sketch 1 1"]);

    let mut house = House::plain(1000);
    house.send(0, &["b:1|c"]);
    assert_eq!(house.stop(1000), ["1001 b rate 0.1"], "at least one second after the start");

    let mut house = House::plain(1000);
    house.send(0, &["b:1|c"]);
    assert_eq!(house.stop(1010), ["1000 b rate 0.1"], "a whole bucket keeps its start");
}

#[test]
fn a_histogram_copy_is_a_distribution_of_the_same_samples() {
    let settings = aggregate::ShardSettings {
        histogram_copy: Some(Box::from(&b"dist."[..])),
        ..aggregate::ShardSettings::default()
    };
    let mut house = House::new(1, &settings, 1000);
    house.send(0, &["h:1:2|ms|@0.5|#a", "h:7|h|#a|T1656581401", "c:1|c"]);
    let sketches: Vec<String> =
        house.at(1010).into_iter().filter(|line| line.contains("sketch")).collect();
    assert_eq!(sketches, ["1000 dist.h sketch 4 6 #a", "1656581400 dist.h sketch 1 7 #a"]);
}

#[test]
fn the_counts_balance() {
    let mut house = House::plain(1000);
    let lines = ["a:1|c", "a:nan|c", "junk", "_e{1,1}:a|b", "_sc|x|0", "_sc|x|9", "h:1|h|T5"];
    house.send(0, &lines);
    house.shards[0].counts().received = lines.len() as u64;
    house.close(0, 1010);
    let flush = house.flusher.complete().unwrap();
    let counts = flush.counts;
    assert_eq!(counts.recorded(), 3);
    assert_eq!(counts.refused_total(), 2);
    assert_eq!(counts.dropped_total(), 2);
    let reasons: Vec<(&str, u64)> = counts.reasons().collect();
    let expect =
        [("missing_type", 1), ("bad_status", 1), ("non_finite", 1), ("timestamp_unsupported", 1)];
    assert_eq!(reasons, expect);
}
