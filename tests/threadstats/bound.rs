//! Bound handles report exactly what calls by name report.

use std::time::Duration;

use whippet::ThreadStats;
use whippet::clock::Clock;
use whippet::threadstats::{Loss, MemoryReporter, Number, Opts, PointValue, StartOptions};

fn client(start: u64) -> (ThreadStats, MemoryReporter, Clock) {
    let memory = MemoryReporter::default();
    let clock = Clock::manual(Duration::from_secs(start));
    let stats = ThreadStats::builder()
        .env(|_| None)
        .clock(clock.clone())
        .reporter(memory.clone())
        .flush_on_drop(false)
        .build();
    stats.start(&StartOptions::manual()).unwrap();
    (stats, memory, clock)
}

/// What was reported as metrics, `name=value@start`.
fn printed(memory: &MemoryReporter) -> Vec<String> {
    let value = |value: &PointValue| match value {
        PointValue::Number(number) => format!("{number:?}"),
        PointValue::List(list) => format!("{list:?}"),
    };
    let metrics = memory.take().metrics;
    let line = |series: &whippet::threadstats::Series| {
        format!("{}={}@{}", series.metric, value(&series.value), series.timestamp)
    };
    metrics.iter().map(line).collect()
}

#[test]
fn a_counter_shares_its_series_with_calls_by_name_in_any_tag_order() {
    let (stats, memory, _) = client(105);
    let counter = stats.counter("c", &["b", "a"]);
    let twin = stats.counter("c", &["a", "b"]);
    stats.increment("c", 1, &["a", "b"]);
    counter.add(2);
    counter.clone().increment();
    twin.add(3);
    counter.add_number(0.5);
    stats.flush(Some(110.0)).unwrap();
    let metrics = memory.take().metrics;
    assert_eq!(metrics.len(), 1);
    assert_eq!(metrics[0].value, PointValue::Number(Number::Float(0.75)));
    assert_eq!(metrics[0].tags.as_deref().unwrap(), ["a", "b"], "the first caller's order");
}

#[test]
fn additions_fall_into_the_interval_of_their_time() {
    let (stats, memory, clock) = client(105);
    let counter = stats.counter("c", &[]);
    for step in 1..=5 {
        counter.add(step);
        counter.add(step);
        clock.advance(Duration::from_secs(10));
    }
    clock.set(Duration::from_secs(101)); // back in time
    counter.add(100);
    stats.flush(Some(1000.0)).unwrap();
    assert_eq!(
        printed(&memory),
        [
            "c=Float(10.2)@100",
            "c=Float(0.4)@110",
            "c=Float(0.6)@120",
            "c=Float(0.8)@130",
            "c=Float(1.0)@140"
        ]
    );
}

#[test]
fn the_open_interval_is_held_back_and_flushed_once() {
    let (stats, memory, clock) = client(105);
    let counter = stats.counter("c", &[]);
    counter.add(1);
    stats.flush(None).unwrap();
    counter.add(2);
    clock.advance(Duration::from_secs(5));
    counter.add(40);
    stats.flush(None).unwrap();
    assert_eq!(printed(&memory), ["c=Float(0.3)@100"]);
    stats.flush(Some(f64::INFINITY)).unwrap();
    counter.add(5); // late for an interval that was flushed while open
    stats.flush(Some(f64::INFINITY)).unwrap();
    stats.flush(Some(f64::INFINITY)).unwrap();
    assert_eq!(printed(&memory), ["c=Float(4.0)@110", "c=Float(0.5)@110"]);
}

#[test]
fn order_is_that_of_the_first_touch_and_a_sum_of_zero_is_reported() {
    let (stats, memory, _) = client(105);
    let (second, first) = (stats.counter("second", &[]), stats.counter("first", &[]));
    first.add(1);
    second.add(1);
    stats.gauge("third", 1, ());
    first.add(-1);
    stats.flush(Some(110.0)).unwrap();
    assert_eq!(
        printed(&memory),
        ["first=Float(0.0)@100", "second=Float(0.1)@100", "third=Int(1)@100"]
    );
}

#[test]
fn the_first_kind_of_the_interval_wins_for_handles_too() {
    let (stats, memory, clock) = client(105);
    let (counter, gauge) = (stats.counter("x", &[]), stats.bound_gauge("x", &[]));
    gauge.set(5);
    counter.add(2);
    counter.add(3);
    clock.advance(Duration::from_secs(10));
    counter.add(1);
    counter.add(1);
    gauge.set(5);
    stats.flush(Some(1000.0)).unwrap();
    assert_eq!(printed(&memory), ["x=Int(3)@100", "x=Float(0.7)@110"]);
}

#[test]
fn large_steps_and_many_of_them_stay_exact() {
    let (stats, memory, _) = client(105);
    let counter = stats.counter("c", &[]);
    counter.add(1);
    for _ in 0..10 {
        counter.add(i64::MAX);
        counter.add(i64::MIN);
    }
    counter.add((1 << 24) - 1);
    stats.flush(Some(110.0)).unwrap();
    let expect = (1 - 10 + (1 << 24) - 1) as f64 / 10.0;
    assert_eq!(printed(&memory), [format!("c=Float({expect:?})@100")]);
}

#[test]
fn histograms_and_distributions_bind_too() {
    let (stats, memory, _) = client(105);
    let (histogram, distribution) =
        (stats.bound_histogram("h", &["x"]), stats.bound_distribution("d", &["x"]));
    for value in [3, 1, 2] {
        histogram.record(value);
        distribution.record(value);
    }
    stats.distribution("d", 9, &["x"]);
    stats.flush(Some(110.0)).unwrap();
    let reported = memory.take();
    assert_eq!(reported.metrics.len(), 8);
    assert_eq!(reported.metrics[0].value, PointValue::Number(Number::Int(1)));
    let list = [3, 1, 2, 9].map(Number::Int).to_vec();
    assert_eq!(reported.distributions[0].value, PointValue::List(list));
}

#[test]
fn a_dropped_handle_leaves_its_sum_and_a_restart_discards_it() {
    let (stats, memory, _) = client(105);
    let counter = stats.counter("c", &[]);
    (0..5).for_each(|_| counter.add(1));
    drop(counter);
    stats.flush(Some(110.0)).unwrap();
    assert_eq!(printed(&memory), ["c=Float(0.5)@100"]);
    let counter = stats.counter("c", &[]);
    (0..5).for_each(|_| counter.add(1));
    stats.start(&StartOptions::manual().roll_up(1)).unwrap();
    counter.add(7);
    stats.flush(Some(110.0)).unwrap();
    assert_eq!(printed(&memory), ["c=Float(7.0)@105"]);
    assert_eq!(stats.losses().of(Loss::Discarded), 1);
}

#[test]
fn no_addition_is_lost_while_intervals_close_and_flushes_run() {
    let (stats, memory, clock) = client(100);
    let counter = stats.counter("c", &[]);
    let threads = 4;
    let additions = 50_000;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| (0..additions).for_each(|_| counter.add(1))))
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            clock.advance(Duration::from_secs(3));
            stats.flush(None).unwrap();
            std::thread::yield_now();
        }
    });
    stats.flush(Some(f64::INFINITY)).unwrap();
    let total: f64 = memory
        .take()
        .metrics
        .iter()
        .map(|series| match series.value {
            PointValue::Number(rate) => rate.as_f64() * 10.0,
            PointValue::List(_) => 0.0,
        })
        .sum();
    assert_eq!(total.round() as u64, threads * additions);
    assert_eq!(stats.losses().total(), 0);
}

/// With the machine's clock and a thread, the interval is published and calls read no clock.
#[test]
fn a_published_interval_moves_on_by_itself() {
    let memory = MemoryReporter::default();
    let stats = ThreadStats::builder().env(|_| None).reporter(memory.clone()).build();
    let options = StartOptions { flush_interval: 0.05, ..StartOptions::default() }.roll_up(0.05);
    stats.start(&options).unwrap();
    let counter = stats.counter("c", &[]);
    let (mut added, mut starts) = (0.0, std::collections::BTreeSet::new());
    let mut reported = 0.0;
    let mut take = |memory: &MemoryReporter| {
        for series in memory.take().metrics {
            starts.insert(series.timestamp.as_f64().to_bits());
            if let PointValue::Number(rate) = series.value {
                reported += rate.as_f64() * 0.05;
            }
        }
        starts.len()
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while take(&memory) < 3 {
        assert!(std::time::Instant::now() < deadline, "three intervals take 150 ms");
        counter.add(1);
        added += 1.0;
        std::thread::yield_now();
    }
    drop((stats, counter)); // the last of them flushes
    take(&memory);
    assert!((reported - added).abs() < 0.001, "{reported} of {added}");
}

#[test]
fn explicit_times_and_bound_calls_meet_in_one_interval() {
    let (stats, memory, _) = client(105);
    stats.increment("c", 1, Opts::default().at(101));
    stats.counter("c", &[]).add(1);
    stats.flush(Some(110.0)).unwrap();
    let metrics = memory.take().metrics;
    assert_eq!((metrics.len(), metrics[0].timestamp), (1, Number::Int(100)));
}
