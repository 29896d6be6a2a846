//! Every row of the response table.

use crate::support::intake::{Answer, Intake};
use std::time::Duration;
use whippet::clock::Clock;
use whippet::encode::{ContentEncoding, Route};
use whippet::forward::{DropReason, ErrorKind, ForwardAccounting, KeyStatus};

use super::forwarder::{
    KEY, counter, counters, delivered, dropped, packed, quick, series_counts, slow_to_forgive,
    start, start_with, submit, unix_now, wait_accounting, waiting,
};

/// One payload meets these answers; then it is delivered, or dropped for that reason, after that
/// many requests.
#[track_caller]
fn meets(answers: &[Answer], lost: Option<DropReason>, requests: u64) -> ForwardAccounting {
    let intake = Intake::start();
    intake.script(answers.iter().cloned());
    let mut config = quick();
    config.http.timeout = Duration::from_millis(400);
    let forwarder = start(&[intake.url()], config);
    submit(&forwarder, &counter("page.views"));
    let accounting = wait_accounting(&forwarder, |accounting| waiting(accounting) == 0);
    match lost {
        None => assert_eq!(delivered(&accounting), 1),
        Some(reason) => assert_eq!(dropped(&accounting, reason), 1),
    }
    let route = series_counts(&accounting);
    assert_eq!(route.requests, requests, "{route:?}");
    assert_eq!(route.retries, requests - 1, "{route:?}");
    assert_eq!(intake.read(|state| state.requests.len() as u64), requests);
    accounting
}

#[test]
fn success_is_2xx_only() {
    meets(&[Answer::status(202)], None, 1);
    meets(&[Answer::status(200)], None, 1);
    let elsewhere = Answer::status(302).header("Location", "http://127.0.0.1:9/");
    let accounting = meets(&[elsewhere], None, 2);
    assert_eq!(
        series_counts(&accounting).statuses.iter().collect::<Vec<_>>(),
        [(&202, &1), (&302, &1)]
    );
}

#[test]
fn a_400_is_dropped() {
    meets(&[Answer::status(400)], Some(DropReason::BadRequest), 1);
}

#[test]
fn temporary_answers_are_retried_until_success() {
    for status in [401, 404, 408, 429, 500, 503] {
        meets(&[Answer::status(status), Answer::status(status)], None, 3);
    }
}

#[test]
fn requests_without_an_answer_are_retried() {
    for (answer, kind) in [
        (Answer::cut(), ErrorKind::Disconnect),
        (Answer::cut_within(), ErrorKind::Disconnect),
        (Answer::hang(), ErrorKind::Timeout),
        (Answer::status(202).after(Duration::from_secs(1)), ErrorKind::Timeout),
    ] {
        let accounting = meets(&[answer], None, 2);
        assert_eq!(series_counts(&accounting).errors[kind as usize], 1, "{kind:?}");
    }
}

#[test]
fn a_payload_is_sent_again_when_its_answer_was_lost_and_series_do_not_double() {
    let intake = Intake::start();
    intake.script([Answer::cut().but_stored()]);
    let forwarder = start(&[intake.url()], quick());
    submit(&forwarder, &counter("page.views"));
    wait_accounting(&forwarder, |accounting| delivered(accounting) == 1);
    intake.wait_until(|state| state.overwritten == 1);
    assert_eq!(intake.read(|state| state.sum_of_counter("page.views", &["env:prod"])), 10.0);
}

#[test]
fn an_intake_that_is_down_gets_everything_when_it_comes_back() {
    let gone = Intake::start();
    let (url, address) = (gone.url(), gone.address());
    drop(gone);
    let forwarder = start(&[url], quick());
    submit(&forwarder, &counter("page.views"));
    wait_accounting(&forwarder, |accounting| {
        series_counts(accounting).errors[ErrorKind::Connect as usize]
            + series_counts(accounting).errors[ErrorKind::Disconnect as usize]
            >= 2
    });
    let back = Intake::start_at(&address);
    back.wait_until(|state| state.last_value("page.views", &[]) == Some(1.0));
    wait_accounting(&forwarder, |accounting| delivered(accounting) == 1);
}

#[test]
fn retry_after_is_honoured() {
    let intake = Intake::start();
    intake.script([Answer::status(429).header("Retry-After", "1")]);
    let forwarder = start(&[intake.url()], quick());
    submit(&forwarder, &counter("page.views"));
    intake.wait_until(|state| state.requests.len() == 2);
    let gap = intake.read(|state| state.requests[1].at - state.requests[0].at);
    assert!(gap >= Duration::from_millis(900), "{gap:?}");
}

#[test]
fn a_403_is_kept_and_sent_when_the_same_key_is_accepted_again() {
    let intake = Intake::start();
    intake.script([Answer::status(403)]);
    let forwarder = start(&[intake.url()], slow_to_forgive());
    submit(&forwarder, &counter("first"));
    let accounting =
        wait_accounting(&forwarder, |accounting| series_counts(accounting).requests == 1);
    assert_eq!(
        (waiting(&accounting), &accounting.endpoints[0].key_status),
        (1, &KeyStatus::Invalid)
    );
    assert_eq!(accounting.endpoints[0].breaker_errors, [0; 5]);
    submit(&forwarder, &counter("second"));
    let accounting = wait_accounting(&forwarder, |accounting| delivered(accounting) == 2);
    assert_eq!(accounting.endpoints[0].key_status, KeyStatus::Valid);
}

#[test]
fn a_403_is_sent_with_the_new_key_when_it_changes() {
    const NEW: &str = "ffffffffffffffffffffffffffffff99";
    let intake = Intake::start();
    intake.script([Answer::status(403)]);
    let forwarder = start(&[intake.url()], slow_to_forgive());
    submit(&forwarder, &counter("first"));
    wait_accounting(&forwarder, |accounting| series_counts(accounting).requests == 1);
    assert!(!forwarder.set_api_key(0, KEY), "the same key is no change");
    assert!(!forwarder.set_api_key(1, NEW), "there is no second endpoint");
    assert!(forwarder.set_api_key(0, NEW));
    wait_accounting(&forwarder, |accounting| delivered(accounting) == 1);
    let keys = intake.read(|state| {
        state.requests.iter().map(|r| r.header("dd-api-key").to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(keys, [KEY, NEW]);
}

/// Events are rare: nothing new on their own route may come before they are too old.
#[test]
fn a_403_on_one_route_is_tried_again_when_another_route_delivers() {
    let intake = Intake::start();
    intake.script([Answer::status(403)]);
    let forwarder = start(&[intake.url()], quick());
    let event = packed(Route::Events, ContentEncoding::Identity, b"{\"events\":{}}", 1);
    submit(&forwarder, &event);
    wait_accounting(&forwarder, |accounting| {
        waiting(accounting) == 1 && accounting.endpoints[0].route(Route::Events).requests == 1
    });
    submit(&forwarder, &counter("first"));
    let accounting = wait_accounting(&forwarder, |accounting| delivered(accounting) == 2);
    assert_eq!(accounting.endpoints[0].route(Route::Events).requests, 2);
}

/// The pause after a second refusal is longer than the test: only the clock ends it.
#[test]
fn a_payload_refused_twice_waits_for_its_pause_and_not_for_another_payload() {
    let intake = Intake::start();
    intake.script([Answer::status(403), Answer::status(202), Answer::status(403)]);
    let clock = Clock::manual(Duration::from_secs(unix_now()));
    let forwarder = start_with(&[intake.url()], slow_to_forgive(), clock.clone());
    submit(&forwarder, &counter("refused"));
    wait_accounting(&forwarder, |accounting| series_counts(accounting).requests == 1);
    submit(&forwarder, &counter("accepted"));
    wait_accounting(&forwarder, |accounting| series_counts(accounting).requests == 3);
    submit(&forwarder, &counter("accepted too"));
    let accounting = wait_accounting(&forwarder, |accounting| delivered(accounting) == 2);
    assert_eq!((waiting(&accounting), series_counts(&accounting).requests), (1, 4));
    clock.advance(Duration::from_secs(601));
    forwarder.recheck_clock();
    wait_accounting(&forwarder, |accounting| delivered(accounting) == 3);
}

#[test]
fn a_413_is_split_until_it_fits_and_nothing_is_lost() {
    let intake = Intake::start();
    let too_large = || Answer::status(413);
    intake.script([too_large(), too_large()]);
    let forwarder = start(&[intake.url()], quick());
    let names: Vec<String> = (0..5).map(|n| format!("m{n}")).collect();
    submit(&forwarder, &counters(&names));
    let accounting =
        wait_accounting(&forwarder, |accounting| accounting.total(|r| r.delivered).points == 5);
    let route = series_counts(&accounting);
    // Five -> two and three; two -> one and one.
    assert_eq!((route.built.payloads, route.built.points, route.splits), (3, 5, 2));
    assert_eq!(accounting.endpoints[0].breaker_errors, [0; 5]);
    for name in names {
        assert_eq!(intake.read(|state| state.sum_of_counter(&name, &[])), 10.0);
    }
}

#[test]
fn a_single_item_that_is_too_large_is_dropped_alone() {
    let intake = Intake::start();
    let too_large = || Answer::status(413);
    intake.script([too_large(), too_large()]);
    let forwarder = start(&[intake.url()], quick());
    submit(&forwarder, &counters(&["a".to_owned(), "b".to_owned()]));
    let accounting = wait_accounting(&forwarder, |accounting| waiting(accounting) == 0);
    assert_eq!((delivered(&accounting), dropped(&accounting, DropReason::TooLarge)), (1, 1));
}
