//! Order and bounds of what waits.

use crate::support::decode::MetricPayload;
use crate::support::intake::{Answer, Intake};
use prost::Message;
use std::time::{Duration, Instant};
use whippet::clock::Clock;
use whippet::encode::{ContentEncoding, Route};
use whippet::forward::{DropReason, RetryPolicy};

use super::forwarder::{
    counter, delivered, dropped, packed, quick, series_counts, slow_to_forgive, start, start_with,
    submit, unix_now, wait_accounting, waiting,
};

#[test]
fn a_hanging_endpoint_delays_no_other_and_not_the_flusher() {
    let (bad, good) = (Intake::start(), Intake::start());
    bad.respond(Answer::hang());
    let forwarder = start(&[bad.url(), good.url()], quick());
    let began = Instant::now();
    for n in 0..60 {
        forwarder.submit(&counter(&format!("m{n}")), began + Duration::from_secs(60));
    }
    good.wait_until(|state| state.requests.len() == 60);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let accounting = forwarder.accounting();
    assert!(accounting.balances());
    assert_eq!(accounting.endpoints[0].total(|route| route.waiting).payloads, 60);
}

#[test]
fn the_flusher_waits_for_a_slow_endpoint_only_as_long_as_it_said() {
    let intake = Intake::start();
    intake.respond(Answer::status(202).after(Duration::from_millis(20)));
    let mut config = quick();
    config.queue_bytes_max = 1; // nothing fits: what does not wait is lost
    let forwarder = start(&[intake.url()], config);
    for n in 0..40 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    let accounting = wait_accounting(&forwarder, |accounting| waiting(accounting) == 0);
    assert_eq!(delivered(&accounting), 40);
    let began = Instant::now();
    for n in 0..40 {
        forwarder.submit(&counter(&format!("m{n}")), began);
    }
    assert!(dropped(&forwarder.accounting(), DropReason::QueueFull) >= 40 - 18);
}

#[test]
fn a_failing_route_blocks_no_other_route() {
    let intake = Intake::start();
    intake.respond_on("/intake/", Answer::status(503));
    let forwarder = start(&[intake.url()], slow_to_forgive());
    let events = br#"{"events":{"api":[{"msg_title":"x"}]}}"#;
    submit(&forwarder, &packed(Route::Events, ContentEncoding::Identity, events, 1));
    for n in 0..3 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    let accounting = wait_accounting(&forwarder, |accounting| delivered(accounting) == 3);
    let events = accounting.endpoints[0].route(Route::Events);
    assert_eq!((events.waiting.payloads, events.requests), (1, 1));
}

#[test]
fn newest_goes_first_after_an_outage() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let clock = Clock::manual(Duration::from_secs(unix_now()));
    let mut config = quick();
    config.retry = RetryPolicy { recovery_reset: true, ..RetryPolicy::default() };
    let forwarder = start_with(&[intake.url()], config, clock.clone());
    submit(&forwarder, &counter("m0"));
    intake.wait_until(|state| state.requests.len() == 1);
    wait_accounting(&forwarder, |accounting| accounting.endpoints[0].breaker_errors[0] == 1);
    for n in 1..5 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    intake.respond(Answer::status(202));
    clock.advance(Duration::from_secs(2));
    forwarder.recheck_clock();
    wait_accounting(&forwarder, |accounting| delivered(accounting) == 5);
    let sizes = intake.read(|state| {
        let name = |plain: &[u8]| MetricPayload::decode(plain).unwrap().series[0].metric.clone();
        state.requests[1..].iter().map(|request| name(&request.plain)).collect::<Vec<_>>()
    });
    assert_eq!(sizes, ["m4", "m3", "m2", "m1", "m0"]);
}

#[test]
fn past_the_bound_the_oldest_are_dropped_and_counted() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let mut config = slow_to_forgive();
    config.queue_bytes_max = 4 * (counter("m0").body.len() + 300);
    let forwarder = start(&[intake.url()], config);
    submit(&forwarder, &counter("m0"));
    wait_accounting(&forwarder, |accounting| accounting.endpoints[0].breaker_errors[0] == 1);
    for n in 1..10 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    let accounting =
        wait_accounting(&forwarder, |accounting| dropped(accounting, DropReason::QueueFull) == 6);
    assert_eq!(waiting(&accounting), 4);
    assert!(accounting.endpoints[0].queue_bytes <= accounting.endpoints[0].queue_bytes_max);
    assert!(accounting.endpoints[0].queue_full_in.is_some());
    assert_eq!(intake.read(|state| state.requests.len()), 1, "blocked: no further request");
}

#[test]
fn a_long_outage_loses_only_what_is_too_old() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let clock = Clock::manual(Duration::from_secs(unix_now()));
    let mut config = quick();
    config.retry = RetryPolicy { recovery_reset: true, ..RetryPolicy::default() };
    let forwarder = start_with(&[intake.url()], config, clock.clone());
    for n in 0..70 {
        let mut payload = counter(&format!("m{n}"));
        payload.built_at = clock.unix().as_secs();
        submit(&forwarder, &payload);
        clock.advance(Duration::from_secs(60));
        forwarder.recheck_clock();
    }
    // Minute 70: what was built before minute 10 is older than an hour.
    let accounting =
        wait_accounting(&forwarder, |accounting| dropped(accounting, DropReason::TooOld) == 10);
    assert_eq!(waiting(&accounting), 60);
    intake.respond(Answer::status(202));
    // A request that came before is answered with 503 and must not meet the new time.
    wait_accounting(&forwarder, |accounting| {
        series_counts(accounting).requests == intake.read(|state| state.requests.len() as u64)
    });
    clock.advance(Duration::from_secs(64));
    forwarder.recheck_clock();
    let accounting = wait_accounting(&forwarder, |accounting| waiting(accounting) == 0);
    let lost = dropped(&accounting, DropReason::TooOld);
    assert_eq!(delivered(&accounting) + lost, 70);
    assert!((11..=12).contains(&lost), "{lost}");
    let sum: f64 =
        intake.read(|state| (0..70).map(|n| state.sum_of_counter(&format!("m{n}"), &[])).sum());
    assert_eq!(sum, delivered(&accounting) as f64 * 10.0);
}
