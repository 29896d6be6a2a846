//! DogStatsD lines over HTTP through the real program: read like the lines of any listener.

use super::post::{self, Socket};
use crate::support::intake::Intake;
use crate::support::program::{Program, Setup};
use std::time::Duration;

const PATH: &str = "/dogstatsd/v2/proxy";

/// Only the doors are open: no UDP, no DogStatsD sockets.
fn only_doors(intake: &Intake) -> Setup {
    post::open(Setup::posting_to(intake))
        .set("dogstatsd_port", 0)
        .set("dogstatsd_socket", "")
        .set("dogstatsd_stream_socket", "")
        .set("admin_address", "127.0.0.1:0")
}

fn started(setup: &Setup) -> (Program, Socket) {
    let program = setup.spawn();
    program.logs("http ");
    let socket = Socket::of(setup);
    socket.wait();
    (program, socket)
}

#[test]
fn lines_of_a_body_are_lines_of_a_listener_without_any_socket() {
    let intake = Intake::start();
    let setup = only_doors(&intake)
        .set("statsd_metric_namespace", "team")
        .set("metric_filterlist", "team.unwanted");
    let (program, socket) = started(&setup);
    let many: String =
        (0..2_000).map(|n| format!("js.count:{n}|c|#service:shop,n:{}\n", n % 7)).collect();
    assert_eq!(socket.post(PATH, &[], many.as_bytes()), (200, String::new()));
    let mixed = "a:1|c\r\nbad line\n\nunwanted:1|c\n_e{1,1}:t|x\n_sc|c|0\nlast:2:3|d";
    assert_eq!(socket.post("/dogstatsd/v1/proxy", &[], mixed.as_bytes()).0, 200);
    assert_eq!(socket.post(PATH, &[], b"").0, 200);
    let status = program.wait_lines(2_006);
    let listeners = status["listeners"].as_array().expect("listeners");
    assert_eq!(listeners.len(), 1, "{listeners:?}");
    assert_eq!(listeners[0]["transport"], "http");
    assert_eq!(listeners[0]["lines"]["received"], 2_006);
    let (_, metrics) = program.get("/metrics");
    let bytes = format!(" {}", many.len() + mixed.len());
    let wanted = |line: &&str| line.starts_with("whippet_bytes_total{transport=\"http\"");
    let line = metrics.lines().find(wanted);
    assert!(line.is_some_and(|line| line.ends_with(&bytes)), "{line:?}");
    let ended = program.terminate();
    let (lines, _) = ended.balances();
    assert_eq!(
        (lines.received, lines.recorded, lines.refused, lines.dropped),
        (2_006, 2_004, 1, 1)
    );
    intake.read(|state| {
        let sum: f64 = (0..2_000).map(f64::from).sum();
        assert_eq!(state.sum_of_counter("team.js.count", &["service:shop"]), sum);
        assert_eq!(state.sum_of_counter("team.a", &[]), 1.0);
        assert_eq!(state.count_of_sketches("team.last", &[]), 2);
        assert_eq!((state.events.len(), state.checks.len()), (1, 1));
    });
}

#[test]
fn a_body_far_above_a_datagram_counts_to_the_last_line() {
    let intake = Intake::start();
    let setup = only_doors(&intake);
    let (program, socket) = started(&setup);
    // More than is read in one turn.
    let body = "big:1|c|#a:0123456789012345678901234567890123456789\n".repeat(20_000);
    for _ in 0..3 {
        assert_eq!(socket.post(PATH, &[], body.as_bytes()).0, 200);
    }
    // At once, so that some of it is read while it stops.
    let ended = program.terminate();
    assert_eq!(ended.balances().0.recorded, 60_000);
    intake.read(|state| assert_eq!(state.sum_of_counter("big", &[]), 60_000.0));
}

#[test]
fn lines_over_http_and_over_udp_meet_in_one_series() {
    let intake = Intake::start();
    let setup = post::open(Setup::posting_to(&intake)).set("lanes", 2);
    let program = setup.start();
    let socket = Socket::of(&setup);
    socket.wait();
    for _ in 0..50 {
        program.udp("both:1|c");
        assert_eq!(socket.post(PATH, &[], b"both:2|c\n").0, 200);
    }
    let ended = program.terminate();
    assert_eq!(ended.balances().0.recorded, 100);
    assert!(ended.stderr.contains("of http"), "{}", ended.stderr);
    intake.read(|state| {
        assert_eq!(state.sum_of_counter("both", &[]), 150.0);
        assert_eq!(state.overwritten, 0);
    });
}

#[test]
fn switched_off_it_is_not_there() {
    let intake = Intake::start();
    let setup = post::open(Setup::posting_to(&intake)).set("doors_dogstatsd", "off");
    let program = setup.start();
    let socket = Socket::of(&setup);
    socket.wait();
    assert_eq!(socket.post(PATH, &[], b"a:1|c").0, 404);
    let ended = program.terminate();
    assert_eq!(ended.lines().received, 0);
    assert!(!ended.stderr.contains("of http"));
    assert!(ended.took < Duration::from_secs(20));
}
