//! The last attempts, and when they end.

use crate::support::intake::{Answer, Intake};
use std::time::{Duration, Instant};
use whippet::forward::DropReason;

use super::forwarder::{counter, dropped, quick, slow_to_forgive, start, submit, wait_accounting};

#[test]
fn a_shutdown_ignores_the_breaker_and_delivers_what_waits() {
    let intake = Intake::start();
    intake.script([Answer::status(503)]);
    let forwarder = start(&[intake.url()], slow_to_forgive());
    submit(&forwarder, &counter("m0"));
    wait_accounting(&forwarder, |accounting| accounting.endpoints[0].breaker_errors[0] == 1);
    submit(&forwarder, &counter("m1"));
    let report = forwarder.shutdown(Instant::now() + Duration::from_secs(3));
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.endpoints[0].delivered.payloads, 2);
    assert_eq!(intake.read(|state| state.sum_of_counter("m0", &[])), 10.0);
    submit(&forwarder, &counter("late"));
    let accounting = forwarder.accounting();
    assert!(accounting.balances());
    assert_eq!(dropped(&accounting, DropReason::Shutdown), 1);
}

#[test]
fn a_shutdown_gives_each_payload_one_attempt_and_counts_the_rest() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let forwarder = start(&[intake.url()], slow_to_forgive());
    for n in 0..3 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    wait_accounting(&forwarder, |accounting| accounting.endpoints[0].breaker_errors[0] == 1);
    let report = forwarder.shutdown(Instant::now() + Duration::from_secs(3));
    assert_eq!((report.endpoints[0].lost.payloads, report.endpoints[0].in_doubt.payloads), (3, 0));
    assert_eq!(intake.read(|state| state.requests.len()), 1 + 3);
    assert!(report.accounting.balances());
}

#[test]
fn a_shutdown_ends_at_its_deadline_whatever_the_intake_does() {
    let intake = Intake::start();
    intake.respond(Answer::hang());
    let forwarder = start(&[intake.url()], quick());
    for n in 0..4 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    intake.wait_until(|state| state.requests.len() == 1);
    let began = Instant::now();
    let report = forwarder.shutdown(began + Duration::from_millis(800));
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1300), "{took:?}");
    assert!(report.accounting.balances());
    let endpoint = &report.endpoints[0];
    assert_eq!((endpoint.lost.payloads, endpoint.delivered.payloads), (4, 0));
    assert!(endpoint.in_doubt.payloads >= 2, "the one on the way and at least one more: {report}");
    assert!(report.to_string().contains("4 payloads (4 points) not delivered"), "{report}");
}

#[test]
fn a_stuck_request_leaves_time_for_the_others_at_shutdown() {
    let intake = Intake::start();
    intake.script([Answer::hang()]);
    let forwarder = start(&[intake.url()], quick());
    for n in 0..4 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    intake.wait_until(|state| state.requests.len() == 1);
    let report = forwarder.shutdown(Instant::now() + Duration::from_secs(2));
    let endpoint = &report.endpoints[0];
    assert_eq!((endpoint.delivered.payloads, endpoint.in_doubt.payloads), (3, 1), "{report}");
}
