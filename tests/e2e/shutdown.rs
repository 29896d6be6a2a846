//! The end: what was recorded is posted, in time, and what could not be is said.

use crate::support::intake::{Answer, Intake};
use crate::support::program::Setup;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the end of time")
}

#[test]
fn the_open_bucket_is_posted_with_the_second_of_the_shutdown() {
    for signal in ["TERM", "INT"] {
        let intake = Intake::start();
        let program = Setup::posting_to(&intake).set("interval", 3600).start();
        program.udp("c:36|c\nd:1|d\ng:1|g");
        let before = unix_now();
        program.signal(signal);
        let ended = program.wait();
        let after = unix_now();
        ended.balances();
        assert!(ended.took < Duration::from_secs(8), "{:?}", ended.took);
        intake.read(|state| {
            let [(second, value)] = state.points("c", &[])[..] else { panic!("not one point") };
            assert!(
                (before..=after.max(before + 1)).contains(&second),
                "{before} {second} {after}"
            );
            assert_eq!(value, 0.01, "the interval is that of whole buckets");
            assert_eq!(state.points("g", &[]), [(second, 1.0)]);
            assert_eq!(state.sketches[0].dogsketches[0].ts, second);
        });
    }
}

#[test]
fn the_open_bucket_has_no_zeros() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).set("interval", 2).start();
    program.udp("old:1|c");
    intake.wait_until(|state| !state.series("old", &[]).is_empty());
    program.udp("new:1|c");
    program.terminate().balances();
    intake.read(|state| {
        let odd = |point: &(i64, f64)| point.0 % 2 == 1;
        assert!(!state.points("old", &[]).iter().any(odd), "{:?}", state.points("old", &[]));
        assert_eq!(state.sum_of_counter("new", &[]), 1.0);
    });
}

#[test]
fn a_server_that_heard_nothing_posts_nothing() {
    let intake = Intake::start();
    let ended = Setup::posting_to(&intake).start().terminate();
    ended.balances();
    assert_eq!((ended.lines().received, ended.payloads().built), (0, 0));
    intake.read(|state| assert!(state.requests.is_empty()));
}

#[test]
fn what_is_still_in_the_sockets_is_read() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).start();
    program.signal("STOP");
    for _ in 0..500 {
        program.udp("c:1|c");
    }
    program.signal("TERM");
    program.signal("CONT");
    let ended = program.wait();
    ended.balances();
    assert_eq!(ended.lines().recorded, 500);
    intake.read(|state| assert_eq!(state.sum_of_counter("c", &[]), 500.0));
}

#[test]
fn an_intake_that_hangs_cannot_hold_the_end_up() {
    let intake = Intake::start();
    intake.respond(Answer::hang());
    let program = Setup::posting_to(&intake).start();
    program.udp("c:1|c\nd:1|d");
    let ended = program.terminate();
    ended.balances();
    assert!(ended.took < Duration::from_secs(9), "{:?}", ended.took);
    assert_eq!((ended.payloads().built, ended.payloads().dropped), (2, 2), "{}", ended.stderr);
    assert!(ended.stderr.contains("not delivered"), "{}", ended.stderr);
}

#[test]
fn an_intake_that_fails_gets_one_more_attempt() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let program = Setup::posting_to(&intake).set("interval", 1).start();
    program.udp("c:1|c");
    // The first error blocks the endpoint for seconds; the shutdown does not wait for that.
    intake.wait_until(|state| !state.requests.is_empty());
    program.logs_until(|log| log.contains("503"));
    intake.respond(Answer::status(202));
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.payloads().dropped, 0, "{}", ended.stderr);
    intake.read(|state| assert_eq!(state.sum_of_counter("c", &[]), 1.0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let intake = Intake::start();
        intake.respond(Answer::hang());
        let mut program = Setup::posting_to(&intake).start();
        program.udp("c:1|c");
        let first = Instant::now();
        program.signal("TERM");
        intake.wait_until(|state| !state.requests.is_empty());
        // Until half a second has passed it counts as the first.
        while program.is_running() {
            program.signal(signal);
        }
        let stopped = first.elapsed();
        let ended = program.wait();
        assert_eq!(ended.code(), Some(code), "{}", ended.stderr);
        let within = Duration::from_millis(500)..Duration::from_secs(4);
        assert!(within.contains(&stopped), "{stopped:?}");
        assert!(ended.stderr.contains("stopped at once"), "{}", ended.stderr);
    }
}

/// As systemd, `timeout` and other supervisors do. A stopped process finds both when it continues.
#[test]
fn two_stop_signals_at_once_are_one() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).start();
    program.udp("c:1|c");
    program.signal("STOP");
    program.signal("TERM");
    program.signal("INT");
    program.signal("CONT");
    let ended = program.wait();
    ended.balances();
    assert!(ended.stderr.contains("counts as the same one"), "{}", ended.stderr);
    intake.read(|state| assert_eq!(state.sum_of_counter("c", &[]), 1.0));
}

#[test]
fn usr1_switches_the_debug_log_and_usr2_does_nothing() {
    let program = Setup::bare().set("interval", 1).set("output", "none").start();
    let flushes = |log: &str| log.matches("DEBUG flush: ").count();
    program.udp("c:1|c");
    assert_eq!(flushes(&program.log()), 0);
    program.signal("USR1");
    program.logs("SIGUSR1: log level debug");
    // Both those of the thread itself and those written from events.
    program.logs_until(|log| flushes(log) > 0 && log.contains("contexts begins"));
    program.signal("USR2");
    program.logs("SIGUSR2 is ignored");
    program.signal("USR1");
    program.logs("SIGUSR1: log level info");
    let log = program.end();
    let after = log.split_once("log level info").unwrap().1;
    assert_eq!(flushes(after), 0, "{after}");
}

#[test]
fn an_open_bucket_that_is_not_wanted_is_counted_as_dropped() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake)
        .set("interval", 3600)
        .set("dogstatsd_flush_incomplete_buckets", false)
        .start();
    program.udp("c:1|c\njunk\nd:1|d");
    let ended = program.terminate();
    ended.balances();
    let lines = ended.lines();
    assert_eq!((lines.recorded, lines.refused, lines.dropped), (0, 1, 2), "{}", ended.stderr);
    assert!(ended.stderr.contains("bucket_abandoned 2"), "{}", ended.stderr);
    intake.read(|state| assert!(state.requests.is_empty()));
}

#[test]
fn socket_files_are_removed() {
    let setup = Setup::bare();
    let paths = [setup.path("d.sock"), setup.path("s.sock")];
    let folder = setup.path("");
    let program = setup.start();
    assert!(paths.iter().all(|path| path.exists()), "{folder:?}");
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0));
    assert!(!paths.iter().any(|path| path.exists()));
}
