//! Peers that misbehave: intakes below HTTP, clients of streams.

use super::setup::{Spooled, to_intake, to_url};
use super::wall::{Manner, Wall};
use crate::support::intake::{Answer, Intake};
use crate::support::program::{eventually, frame};
use std::io::Write;
use std::time::{Duration, Instant};

fn sum(intake: &Intake) -> f64 {
    intake.read(|state| state.sum_of_counter("c", &[]))
}

/// Nothing arrives while the intake behaves like that, the log has the word, and everything
/// arrives when it behaves again.
#[track_caller]
fn recovers(manner: Manner, word: &str) {
    let intake = Intake::start();
    let wall = Wall::before(&intake.address(), manner);
    let setup = to_url(&wall.url());
    let process = setup.start();
    process.unix_datagram("c:3|c\nd:1:2|d");
    process.logs_until(|log| log.contains("WARN") && log.contains(word));
    process.unix_datagram("c:4|c");
    assert_eq!(sum(&intake), 0.0);
    wall.now(Manner::Pass);
    eventually(Duration::from_secs(20), "every line", || sum(&intake) == 7.0);
    eventually(Duration::from_secs(20), "both values", || {
        intake.read(|state| state.count_of_sketches("d", &[])) == 2
    });
    let (lines, payloads) = process.terminate().balances();
    assert_eq!((lines.recorded, payloads.dropped), (3, 0));
}

#[test]
fn an_intake_that_slams_the_door_is_tried_again() {
    recovers(Manner::Slam, "disconnect");
}

#[test]
fn an_intake_that_closes_its_half_is_tried_again() {
    recovers(Manner::HalfClose, "disconnect");
}

#[test]
fn an_intake_that_answers_byte_by_byte_is_given_up_in_time_and_tried_again() {
    recovers(Manner::Trickle, "timeout");
}

#[test]
fn an_intake_that_speaks_no_http_is_tried_again() {
    recovers(Manner::Garbage, "other");
}

#[test]
fn an_intake_whose_proxy_fails_is_tried_again() {
    recovers(Manner::Echo(502), "502");
}

#[test]
fn an_intake_that_asks_for_patience_gets_it() {
    let intake = Intake::start();
    intake.script([Answer::status(429).header("Retry-After", "2")]);
    let setup = to_intake(&intake);
    let process = setup.start();
    process.unix_datagram("c:3|c");
    eventually(Duration::from_secs(20), "every line", || sum(&intake) == 3.0);
    let waits = intake.read(|state| {
        let series = state.requests_to("/api/v2/series");
        series[1].at.duration_since(series[0].at)
    });
    assert!(waits >= Duration::from_millis(1900), "{waits:?}");
    process.terminate().balances();
}

#[test]
fn a_name_that_does_not_resolve_is_logged_and_the_payloads_wait() {
    // A label longer than DNS can carry fails in the resolver; no question leaves the machine.
    let host = "x".repeat(64);
    let setup = to_url(&format!("http://{host}.example:80")).spooling(1 << 20);
    let process = setup.start();
    process.unix_datagram("c:3|c");
    process.logs_until(|log| {
        log.lines().any(|line| line.contains("dns") && line.contains("check dd_url or site"))
    });
    let (_, payloads) = process.terminate().balances();
    assert_eq!((payloads.delivered, payloads.dropped), (0, 0));
    assert!(setup.records() > 0);
}

#[test]
fn one_endpoint_out_of_order_delays_no_other() {
    let (good, bad) = (Intake::start(), Intake::start());
    bad.respond(Answer::hang());
    let endpoints = format!("{{\"{}\": [other]}}", bad.url());
    let setup = to_intake(&good).set("additional_endpoints", endpoints);
    let process = setup.start();
    for n in 1..=3 {
        process.unix_datagram("c:1|c");
        let started = Instant::now();
        eventually(Duration::from_secs(20), "the line", || sum(&good) == f64::from(n));
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
    bad.respond(Answer::status(202));
    eventually(Duration::from_secs(20), "the line", || sum(&bad) == 3.0);
}

#[test]
fn slow_and_idle_stream_clients_starve_no_other() {
    const SLOW: usize = 200;
    let intake = Intake::start();
    let setup = to_intake(&intake).set("stream_connections_max", SLOW + 2);
    let process = setup.start();
    let slow_frame = frame("c:1|c");
    let mut slow: Vec<_> = (0..SLOW).map(|_| process.stream()).collect();
    // Each holds half a header or half a payload, except every fourth, which says nothing.
    let halves: Vec<usize> = (0..SLOW).map(|n| [0, 2, 6, 8][n % 4]).collect();
    for (stream, half) in slow.iter_mut().zip(&halves) {
        stream.write_all(&slow_frame[..*half]).expect("sent");
    }
    let mut quick = process.stream();
    for _ in 0..1000 {
        quick.write_all(&slow_frame).expect("sent");
    }
    eventually(Duration::from_secs(20), "the quick client", || sum(&intake) == 1000.0);
    for (stream, half) in slow.iter_mut().zip(&halves) {
        stream.write_all(&slow_frame[*half..]).expect("sent");
    }
    eventually(Duration::from_secs(20), "the slow ones", || sum(&intake) == 1000.0 + SLOW as f64);
    let (lines, _) = process.terminate().balances();
    assert_eq!(lines.recorded, 1000 + SLOW as u64);
}

#[test]
fn more_connections_than_allowed_are_closed_and_logged() {
    let intake = Intake::start();
    let setup = to_intake(&intake).set("stream_connections_max", 3);
    let process = setup.start();
    let mut first: Vec<_> = (0..3).map(|_| process.stream()).collect();
    for stream in &mut first {
        stream.write_all(&frame("c:1|c")).expect("sent");
    }
    eventually(Duration::from_secs(20), "the first three", || sum(&intake) == 3.0);
    let refused = process.stream();
    process.logs_until(|log| log.contains("more than 3 connections"));
    drop((first.pop(), refused));
    // The freed place is found as soon as its end was read.
    eventually(Duration::from_secs(20), "the newcomer", || {
        let mut newcomer = process.stream();
        // A connection that is refused may be gone before the write.
        let _ = newcomer.write_all(&frame("c:1|c"));
        std::thread::sleep(Duration::from_millis(100));
        drop(newcomer);
        sum(&intake) >= 4.0
    });
    process.terminate().balances();
}

/// Clients that take every descriptor they can get leave the ones that delivery needs.
#[test]
fn stream_clients_cannot_take_the_descriptors_of_delivery() {
    let intake = Intake::start();
    let setup = to_intake(&intake).open_files(64);
    let process = setup.start();
    process.logs_until(|log| log.contains("stream_connections_max is 32 instead of 1024"));
    let greedy: Vec<_> = (0..100).map(|_| process.stream()).collect();
    process.logs_until(|log| log.contains("more than 32 connections"));
    process.unix_datagram("c:3|c");
    eventually(Duration::from_secs(20), "the line", || sum(&intake) == 3.0);
    drop(greedy);
    process.terminate().balances();
}
