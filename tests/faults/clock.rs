//! An outage of ten minutes in less than a second: the forwarder alone, its clock in our hands.

use crate::support::decode::{MetricPayload, MetricPoint, MetricSeries};
use crate::support::intake::{Answer, Intake};
use crate::support::program::KEY;
use bytes::Bytes;
use prost::Message;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use whippet::clock::Clock;
use whippet::encode::{ContentEncoding, Payload, Route};
use whippet::forward::{
    DropReason, Endpoint, ForwardAccounting, Forwarder, ForwarderConfig, RouteCounts, SpoolSettings,
};

/// The agents' interval between two flushes, and how many of them ten minutes hold.
const INTERVAL: Duration = Duration::from_secs(10);
const FLUSHES: u64 = 60;

/// A count of 1 in the second of the clock.
fn count(clock: &Clock) -> Payload {
    let built_at = clock.unix().as_secs();
    let timestamp = i64::try_from(built_at).expect("a time of today");
    let series = MetricSeries {
        metric: "c".to_owned(),
        points: vec![MetricPoint { value: 1.0, timestamp }],
        kind: 1,
        ..MetricSeries::default()
    };
    let plain = MetricPayload { series: vec![series] }.encode_to_vec();
    Payload {
        route: Route::SeriesV2,
        uncompressed_bytes: plain.len(),
        body: Bytes::from(plain),
        encoding: ContentEncoding::Identity,
        items: 1,
        points: 1,
        built_at,
    }
}

/// The Agent's constants for retries; chance always says the longest wait.
fn start(intake: &Intake, clock: &Clock, memory: usize, spool: Option<&Path>) -> Forwarder {
    let mut config = ForwarderConfig::new(Arc::new(|_: &Payload| Ok(None)));
    config.jitter = Arc::new(|| 1.0);
    config.validation_interval = None;
    config.queue_bytes_max = memory;
    config.spool = spool.map(|path| SpoolSettings {
        path: path.to_owned(),
        bytes_max: 64 << 20,
        disk_ratio_max: 1.0,
    });
    let endpoint = Endpoint::at(&intake.url(), KEY).expect("a URL");
    Forwarder::start(vec![endpoint], config, clock.clone()).expect("valid settings")
}

#[track_caller]
fn until(forwarder: &Forwarder, condition: impl Fn(&RouteCounts) -> bool) -> ForwardAccounting {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let accounting = forwarder.accounting();
        assert!(accounting.balances(), "{accounting:?}");
        if condition(series(&accounting)) {
            return accounting;
        }
        assert!(Instant::now() < end, "not within 20 s: {accounting}; {accounting:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn series(accounting: &ForwardAccounting) -> &RouteCounts {
    &accounting.endpoints[0].routes[Route::SeriesV2 as usize]
}

/// Flushes through the given number of intervals.
fn pass(forwarder: &Forwarder, clock: &Clock, flushes: u64) {
    for _ in 0..flushes {
        let built = series(&forwarder.accounting()).built.payloads;
        forwarder.submit(&count(clock), Instant::now() + Duration::from_secs(5));
        until(forwarder, |accounting| accounting.built.payloads == built + 1);
        clock.advance(INTERVAL);
        forwarder.recheck_clock();
    }
}

/// The intake is back: the clock goes on until nothing waits.
fn drain(forwarder: &Forwarder, clock: &Clock) -> ForwardAccounting {
    for _ in 0..2000 {
        let accounting = forwarder.accounting();
        if series(&accounting).waiting.payloads == 0 {
            return accounting;
        }
        clock.advance(Duration::from_secs(1));
        forwarder.recheck_clock();
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("it still waits: {}", forwarder.accounting());
}

fn sum(intake: &Intake) -> f64 {
    intake.read(|state| state.sum_of_counter("c", &[]))
}

#[test]
fn ten_minutes_without_an_intake_and_a_restart_between_lose_nothing_with_the_spool() {
    let (intake, folder) = (Intake::start(), tempfile::tempdir().expect("a folder"));
    intake.respond(Answer::status(503));
    let clock = Clock::manual(Duration::from_secs(1_700_000_000));
    let forwarder = start(&intake, &clock, 1000, Some(folder.path()));
    pass(&forwarder, &clock, FLUSHES / 2);
    let report = forwarder.shutdown(Instant::now() + Duration::from_secs(5));
    assert_eq!(report.endpoints[0].spooled.payloads, FLUSHES / 2, "{report}");
    drop(forwarder);
    let forwarder = start(&intake, &clock, 1000, Some(folder.path()));
    pass(&forwarder, &clock, FLUSHES / 2);
    assert_eq!(sum(&intake), 0.0);
    // 2, 4, … 64 s: the breaker lets few requests through.
    let requests = intake.read(|state| state.requests.len());
    assert!(requests < 90, "{requests}");
    intake.respond(Answer::status(202));
    let accounting = drain(&forwarder, &clock);
    assert_eq!(series(&accounting).dropped_total().payloads, 0, "{accounting}");
    assert_eq!(sum(&intake), FLUSHES as f64);
    forwarder.shutdown(Instant::now());
}

#[test]
fn ten_minutes_past_the_bounds_of_memory_lose_what_is_counted() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let clock = Clock::manual(Duration::from_secs(1_700_000_000));
    let forwarder = start(&intake, &clock, 5000, None);
    pass(&forwarder, &clock, FLUSHES);
    intake.respond(Answer::status(202));
    let accounting = drain(&forwarder, &clock);
    let lost = series(&accounting).dropped_for(DropReason::QueueFull).payloads;
    assert_eq!(series(&accounting).dropped_total().payloads, lost, "{accounting}");
    assert!((30..FLUSHES).contains(&lost), "{lost}");
    assert_eq!(sum(&intake), (FLUSHES - lost) as f64);
    forwarder.shutdown(Instant::now());
}
