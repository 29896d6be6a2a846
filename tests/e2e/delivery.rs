//! Splitting, retries, refusals: nothing is lost that could be kept, and what is lost is counted.

use crate::support::decode::Kind;
use crate::support::intake::{Answer, Intake, Request};
use crate::support::program::{KEY, Setup};
use std::time::Duration;

const SERIES: &str = "/api/v2/series";

/// Short intervals and a backoff that tests can wait for.
fn quick(intake: &Intake) -> Setup {
    Setup::posting_to(intake)
        .set("interval", 1)
        .set("forwarder_backoff_base", 0.05)
        .set("forwarder_backoff_max", 0.2)
}

fn gauges(count: usize) -> String {
    let gauge = |number: usize| {
        // Tags that no compressor makes vanish.
        let noise = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("g{number}:{number}|g|#id:{noise:x}\n")
    };
    (0..count).map(gauge).collect()
}

#[track_caller]
fn splits(setup: impl Fn(Setup) -> Setup, each: impl Fn(&Request) -> bool) {
    let intake = Intake::start();
    let program = setup(Setup::posting_to(&intake)).start();
    program.unix_datagram(gauges(135));
    let ended = program.terminate();
    ended.balances();
    intake.read(|state| {
        let requests = state.requests_to(SERIES);
        assert!(requests.len() > 1, "not split");
        assert!(requests.iter().all(|request| each(request)), "{} requests", requests.len());
        assert_eq!(state.all_series().count(), 135);
        for series in state.all_series() {
            let number: f64 = series.metric[1..].parse().expect("a number");
            assert_eq!((series.kind, series.points[0].1), (Kind::Gauge, number));
        }
        assert_eq!(state.overwritten, 0, "a point was posted twice");
        assert_eq!(ended.payloads().delivered, requests.len() as u64);
    });
}

#[test]
fn payloads_split_by_points() {
    let few = |request: &Request| {
        let series = crate::support::decode::series_v2(&request.plain).expect("decodes");
        series.iter().map(|one| one.points.len()).sum::<usize>() <= 50
    };
    splits(|setup| setup.set("serializer_max_series_points_per_payload", 50), few);
}

#[test]
fn payloads_split_by_bytes_before_compression() {
    splits(
        |setup| setup.set("serializer_max_series_uncompressed_payload_size", 2_000),
        |request| request.plain.len() <= 2_000,
    );
}

#[test]
fn payloads_split_by_bytes_after_compression() {
    for kind in ["zstd", "zlib", "none"] {
        splits(
            |setup| {
                let setup = setup.set("serializer_compressor_kind", kind);
                setup.set("serializer_max_series_payload_size", 1_024)
            },
            |request| request.body.len() <= 1_024,
        );
    }
}

#[test]
fn an_item_too_big_for_any_payload_is_dropped_alone() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake)
        .set("serializer_max_series_uncompressed_payload_size", 1_024)
        .start();
    program.unix_datagram(format!("big:1|c|#{}\nsmall:1|c", "t".repeat(2_000)));
    let ended = program.terminate();
    ended.balances();
    intake.read(|state| {
        assert_eq!(state.sum_of_counter("small", &[]), 1.0);
        assert!(state.series("big", &[]).is_empty());
    });
    assert!(ended.stderr.contains("dropped 1 items too big"), "{}", ended.stderr);
}

#[test]
fn failures_of_the_intake_are_retried_until_it_takes_the_payload() {
    for failure in [
        Answer::status(503),
        Answer::status(429),
        Answer::status(408),
        Answer::status(404),
        Answer::status(302).header("Location", "http://127.0.0.1:9/"),
        Answer::cut(),
    ] {
        let intake = Intake::start();
        intake.script([failure.clone(), failure.clone()]);
        let program = quick(&intake).start();
        program.udp("c:3|c");
        intake.wait_until(|state| state.sum_of_counter("c", &[]) == 3.0);
        let ended = program.terminate();
        ended.balances();
        assert_eq!(ended.payloads().dropped, 0, "{failure:?}: {}", ended.stderr);
    }
}

#[test]
fn a_request_without_an_answer_is_given_up_and_retried() {
    let intake = Intake::start();
    intake.script([Answer::hang()]);
    let program = quick(&intake).set("forwarder_timeout", 1).start();
    program.udp("c:3|c");
    intake.wait_until(|state| state.sum_of_counter("c", &[]) == 3.0);
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.payloads().dropped, 0, "{}", ended.stderr);
}

#[test]
fn an_intake_that_comes_back_gets_what_it_missed() {
    let gone = Intake::start();
    let address = gone.address();
    let program = quick(&gone).start();
    drop(gone);
    program.udp("c:3|c");
    let log = program.logs_until(|log| log.contains("WARN"));
    assert!(log.contains(&address), "{log}");
    let back = Intake::start_at(&address);
    back.wait_until(|state| state.sum_of_counter("c", &[]) == 3.0);
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.payloads().dropped, 0, "{}", ended.stderr);
}

#[test]
fn a_payload_too_large_for_the_intake_is_split_and_arrives() {
    let intake = Intake::start();
    intake.script([Answer::status(413), Answer::status(413)]);
    let program = quick(&intake).start();
    program.udp(gauges(8));
    intake.wait_until(|state| state.all_series().count() == 8);
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.payloads().dropped, 0, "{}", ended.stderr);
    intake.read(|state| assert_eq!(state.overwritten, 0));
}

#[test]
fn a_refused_key_keeps_payloads_until_it_is_accepted() {
    let intake = Intake::start();
    intake.validate_with(Answer::status(403));
    intake.respond(Answer::status(403));
    let program = quick(&intake).start();
    program.udp("c:3|c");
    intake.wait_until(|state| state.requests_to(SERIES).len() >= 2);
    let shown = &KEY[KEY.len() - 4..];
    let log = program.logs_until(|log| log.contains("403"));
    assert!(log.contains(shown) && log.contains("API key"), "{log}");
    intake.respond(Answer::status(202));
    intake.validate_with(Answer::status(200));
    program.udp("c:4|c");
    intake.wait_until(|state| state.sum_of_counter("c", &[]) == 7.0);
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.payloads().dropped, 0, "{}", ended.stderr);
}

#[test]
fn a_payload_that_the_intake_cannot_read_is_dropped_and_counted() {
    let intake = Intake::start();
    intake.script([Answer::status(400)]);
    let program = quick(&intake).set("dogstatsd_expiry_seconds", 0).start();
    program.udp("c:3|c");
    intake.wait_until(|state| state.requests_to(SERIES).len() == 1);
    program.udp("d:4|c");
    intake.wait_until(|state| state.sum_of_counter("d", &[]) == 4.0);
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.payloads().dropped, 1, "{}", ended.stderr);
    intake.read(|state| assert!(state.series("c", &[]).is_empty()));
    assert!(ended.stderr.contains("400"), "{}", ended.stderr);
}

#[test]
fn a_slow_intake_never_slows_the_sockets() {
    let intake = Intake::start();
    intake.respond(Answer::status(202).after(Duration::from_millis(700)));
    let program = quick(&intake).start();
    for round in 0..20 {
        program.unix_datagram(format!("c{round}:1|c\nc:1|c\nd:1|d"));
        std::thread::sleep(Duration::from_millis(60));
    }
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.lines().recorded, 60);
    assert_eq!(ended.payloads().dropped, 0, "{}", ended.stderr);
    intake.read(|state| {
        assert_eq!(state.sum_of_counter("c", &[]), 20.0);
        assert_eq!(state.count_of_sketches("d", &[]), 20);
    });
}

#[test]
fn every_endpoint_gets_everything() {
    let (main, other) = (Intake::start(), Intake::start());
    let more = format!(r#"{{"{}": ["0123456789abcdef0123456789abcdef"]}}"#, other.url());
    let program = quick(&main).env("DD_ADDITIONAL_ENDPOINTS", more).start();
    program.udp("c:3|c\n_sc|x|0");
    program.terminate().balances();
    for intake in [&main, &other] {
        intake.read(|state| {
            assert_eq!(state.sum_of_counter("c", &[]), 3.0);
            assert_eq!(state.checks.len(), 1);
        });
    }
    other.read(|state| {
        let key = state.requests[0].header("dd-api-key");
        assert_eq!(key, "0123456789abcdef0123456789abcdef");
    });
}
