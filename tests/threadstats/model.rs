//! Facts of the model that need more than a script.

use whippet::ThreadStats;
use whippet::threadstats::{
    ClientLimits, EventOpts, Loss, MemoryReporter, Number, Opts, PointValue, StartError,
    StartOptions,
};

/// A client with a memory behind it, started without a thread.
fn client() -> (ThreadStats, MemoryReporter) {
    let memory = MemoryReporter::default();
    let stats =
        ThreadStats::builder().env(|_| None).reporter(memory.clone()).flush_on_drop(false).build();
    stats.start(&StartOptions::manual()).unwrap();
    (stats, memory)
}

fn everything(stats: &ThreadStats) {
    stats.flush(Some(f64::INFINITY)).unwrap();
}

#[test]
fn an_interval_keeps_the_spelling_of_its_first_caller_across_all_keys() {
    for (first, second, expect) in [
        (Number::Int(40), Number::Float(45.5), Number::Int(40)),
        (Number::Float(45.5), Number::Int(40), Number::Float(40.0)),
    ] {
        let (stats, memory) = client();
        let names: Vec<String> = (0..100).map(|name| format!("n{name}")).collect();
        for (index, name) in names.iter().enumerate() {
            stats.gauge(name, 1, Opts::default().at(if index == 0 { first } else { second }));
        }
        everything(&stats);
        let metrics = memory.take().metrics;
        assert!(metrics.iter().all(|series| series.timestamp == expect));
        let order: Vec<&str> = metrics.iter().map(|series| series.metric.as_str()).collect();
        assert_eq!(order, names, "first touched, first reported");
    }
}

#[test]
fn percentiles_of_2000_samples_stay_close_to_the_truth() {
    let (stats, memory) = client();
    for round in 0..20 {
        for step in 0..100 {
            stats.histogram("h", (step * 37 + round * 11) % 100, Opts::default().at(100));
        }
    }
    everything(&stats);
    let metrics = memory.take().metrics;
    assert_eq!(metrics.len(), 8);
    for (index, percent) in [(4, 75.0), (5, 85.0), (6, 95.0), (7, 99.0)] {
        let PointValue::Number(value) = metrics[index].value else { panic!("no number") };
        assert!((value.as_f64() - percent).abs() <= 8.0, "p{percent} is {value}");
    }
    assert_eq!(metrics[3].value, PointValue::Number(Number::Float(49.5)), "the average is exact");
}

#[test]
fn the_injected_randomness_picks_the_slot() {
    let memory = MemoryReporter::default();
    let stats = ThreadStats::builder()
        .env(|_| None)
        .reporter(memory.clone())
        .random(|below| below - 1)
        .build();
    stats.start(&StartOptions::manual()).unwrap();
    (0..1000).for_each(|_| stats.histogram("h", 0, Opts::default().at(1)));
    (0..1000).for_each(|_| stats.histogram("h", 9, Opts::default().at(1)));
    everything(&stats);
    let metrics = memory.take().metrics;
    let p99 = &metrics[7];
    assert_eq!(p99.value, PointValue::Number(Number::Int(0)), "one slot of a thousand holds a 9");
    assert_eq!(metrics[1].value, PointValue::Number(Number::Int(9)), "the maximum is exact");
}

#[test]
fn constant_tags_and_hosts_reach_timed_calls() {
    let memory = MemoryReporter::default();
    let stats = ThreadStats::builder()
        .env(|_| None)
        .constant_tags(["type:constant"])
        .reporter(memory.clone())
        .build();
    stats.start(&StartOptions::manual().roll_up(3600)).unwrap();
    assert_eq!(stats.timed("t", &["version:1"], || 7), 7);
    stats.timed("t", Opts::tags(&["db", "version:2"]).on("test"), || ());
    everything(&stats);
    let metrics = memory.take().metrics;
    assert_eq!(metrics.len(), 16);
    let tags = |index: usize| metrics[index].tags.as_deref().unwrap().join(",");
    assert_eq!(
        (tags(0), tags(7)),
        ("version:1,type:constant".into(), "version:1,type:constant".into())
    );
    assert_eq!(tags(8), "db,version:2,type:constant");
    assert!(metrics[..8].iter().all(|series| series.host.is_none()));
    assert!(metrics[8..].iter().all(|series| series.host.as_deref() == Some("test")));
}

#[test]
fn a_timer_records_seconds_also_when_its_scope_panics() {
    let clock = whippet::clock::Clock::manual(std::time::Duration::from_secs(100));
    let memory = MemoryReporter::default();
    let stats =
        ThreadStats::builder().env(|_| None).clock(clock.clone()).reporter(memory.clone()).build();
    stats.start(&StartOptions::manual()).unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _timer = stats.timer("t", ());
        clock.advance(std::time::Duration::from_millis(1500));
        panic!("the scope's panic is part of this test");
    }));
    assert!(caught.is_err());
    everything(&stats);
    let metrics = memory.take().metrics;
    assert_eq!(metrics[0].value, PointValue::Number(Number::Float(1.5)));
    assert_eq!(metrics[0].timestamp, Number::Float(100.0));
}

#[test]
fn bad_input_is_counted_and_nothing_of_it_reported() {
    let (stats, memory) = client();
    stats.gauge("g", f64::NAN, ());
    stats.increment("c", f64::INFINITY, ());
    stats.set("s", f64::NEG_INFINITY, ());
    stats.histogram("h", 1, Opts::default().at(f64::NAN));
    stats.event(
        "t",
        "m",
        &EventOpts { date_happened: Some(f64::NAN.into()), ..EventOpts::default() },
    );
    stats.distribution("", 1, ());
    stats.counter("", &[]).add(1);
    stats.bound_gauge("g", &[]).set(f64::NAN);
    stats.flush(Some(f64::NAN)).unwrap();
    stats.flush(Some(f64::NEG_INFINITY)).unwrap();
    everything(&stats);
    assert_eq!(memory.take(), Default::default());
    let losses = stats.losses();
    assert_eq!((losses.of(Loss::NonFinite), losses.of(Loss::EmptyName)), (6, 2));
    assert_eq!(losses.total(), 8);
}

#[test]
fn extreme_numbers_and_times_pass() {
    let (stats, memory) = client();
    stats.gauge("g", i64::MIN, Opts::default().at(i64::MAX));
    stats.decrement("c", i64::MIN, Opts::default().at(i64::MIN));
    stats.increment("c", f64::MAX, Opts::default().at(f64::MAX));
    stats.histogram("h", f64::MIN_POSITIVE, Opts::default().at(f64::MIN));
    everything(&stats);
    assert_eq!(memory.take().metrics.len(), 11);
    assert_eq!(stats.losses().total(), 0);
}

#[test]
fn before_start_and_disabled_everything_is_counted_by_its_reason() {
    let stats = ThreadStats::builder().env(|_| None).reporter(MemoryReporter::default()).build();
    stats.stop();
    let counter = stats.counter("c", &[]);
    stats.gauge("g", 1, ());
    counter.add(1);
    stats.event("t", "m", &EventOpts::default());
    assert_eq!(stats.losses().of(Loss::NotStarted), 3);
    stats.start(&StartOptions { disabled: true, ..StartOptions::default() }).unwrap();
    stats.gauge("g", 1, ());
    counter.add(1);
    stats.event("t", "m", &EventOpts::default());
    assert_eq!(stats.losses().of(Loss::Disabled), 3);
    assert_eq!(stats.losses().total(), 6);
}

#[test]
fn intervals_that_are_no_intervals_are_refused_and_change_nothing() {
    let (stats, memory) = client();
    stats.gauge("g", 1, Opts::default().at(5));
    for roll_up in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = stats.start(&StartOptions::manual().roll_up(roll_up));
        assert!(matches!(refused, Err(StartError::RollUpInterval(_))), "{roll_up}");
    }
    for flush_interval in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = stats.start(&StartOptions { flush_interval, ..StartOptions::default() });
        assert!(matches!(refused, Err(StartError::FlushInterval(_))), "{flush_interval}");
    }
    everything(&stats);
    assert_eq!(memory.take().metrics.len(), 1);
}

#[test]
fn limits_refuse_and_count_and_a_flush_makes_room_again() {
    let memory = MemoryReporter::default();
    let limits = ClientLimits { series_max: 3, values_max: 5, events_max: 2 };
    let stats =
        ThreadStats::builder().env(|_| None).reporter(memory.clone()).limits(limits).build();
    stats.start(&StartOptions::manual()).unwrap();
    for _ in 0..3 {
        (0..5).for_each(|name| stats.gauge(&format!("g{name}"), 1, Opts::default().at(5)));
        (0..3).for_each(|_| stats.event("t", "m", &EventOpts::default()));
        everything(&stats);
        let reported = memory.take();
        assert_eq!((reported.metrics.len(), reported.events.len()), (3, 2));
        (0..4).for_each(|member| stats.set("s", member, Opts::default().at(5)));
        (0..4).for_each(|member| stats.set("s", member, Opts::default().at(5)));
        (0..4).for_each(|value| stats.distribution("s2", value, Opts::default().at(5)));
        everything(&stats);
        let reported = memory.take();
        let values: usize = reported
            .distributions
            .iter()
            .map(|series| match &series.value {
                PointValue::List(values) => values.len(),
                PointValue::Number(_) => 0,
            })
            .sum();
        assert!(values < 4, "the members took some of the room");
    }
    assert_eq!(stats.losses().of(Loss::EventsFull), 3);
    assert!(stats.losses().of(Loss::Full) >= 9);
}

#[test]
fn first_kind_wins_between_sets_distributions_and_numbers() {
    let (stats, memory) = client();
    let at = || Opts::default().at(5);
    stats.set("s", "a", at());
    stats.gauge("s", 1, at());
    stats.decrement("s", -1, at());
    stats.distribution("d", 1, at());
    stats.timing("d", 2.5, at());
    stats.set("d", true, at());
    stats.set("d", "text", at());
    everything(&stats);
    let reported = memory.take();
    assert_eq!(reported.metrics[0].value, PointValue::Number(Number::Int(2)));
    let list = [Number::Int(1), Number::Float(2.5), Number::Int(1)];
    assert_eq!(reported.distributions[0].value, PointValue::List(list.to_vec()));
    assert_eq!(stats.losses().of(Loss::NotANumber), 1);
}
