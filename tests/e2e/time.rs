//! Seconds of points: buckets, zero-fill, timestamps of clients, restarts.

use crate::support::intake::Intake;
use crate::support::program::Setup;
use std::time::{SystemTime, UNIX_EPOCH};

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the end of time")
}

#[test]
fn whole_buckets_carry_their_start_and_their_interval() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).env("WHIPPET_INTERVAL", 2).start();
    let before = unix_now();
    program.udp("c:3|c\ng:7|g\nd:1|d");
    intake.wait_until(|state| state.count_of_sketches("d", &[]) == 1);
    intake.wait_until(|state| !state.series("c", &[]).is_empty());
    let after = unix_now();
    intake.read(|state| {
        let counter = state.series("c", &[])[0];
        assert_eq!(counter.interval, 2);
        let (second, value) = counter.points[0];
        assert_eq!((second % 2, value), (0, 1.5));
        assert!((before - 1..=after).contains(&second), "{before} {second} {after}");
        assert_eq!(state.points("g", &[]), [(second, 7.0)], "gauges are not repeated");
        assert_eq!(state.sketches[0].dogsketches[0].ts, second);
    });
    program.terminate().balances();
}

#[test]
fn counters_go_on_with_zeros_until_they_expire() {
    let intake = Intake::start();
    let program =
        Setup::posting_to(&intake).set("interval", 1).set("dogstatsd_expiry_seconds", 3).start();
    program.udp("c:5|c\ng:5|g\ns:a|s\nh:1|h");
    intake.wait_until(|state| state.points("c", &[]).len() == 3);
    // Time goes on: two more intervals are posted.
    for name in ["later", "latest"] {
        program.udp(format!("{name}:1|g"));
        intake.wait_until(|state| !state.points(name, &[]).is_empty());
    }
    let ended = program.terminate();
    ended.balances();
    intake.read(|state| {
        let points = state.points("c", &[]);
        let start = points[0].0;
        assert_eq!(points, [(start, 5.0), (start + 1, 0.0), (start + 2, 0.0)]);
        for only_once in ["g", "s", "h.count", "h.max"] {
            assert_eq!(state.points(only_once, &[]).len(), 1, "{only_once}");
        }
        assert_eq!(state.overwritten, 0);
    });
}

#[test]
fn a_counter_that_returns_takes_the_place_of_its_zero() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).set("interval", 1).start();
    program.udp("c:5|c");
    intake.wait_until(|state| state.points("c", &[]).len() >= 2);
    program.udp("c:6|c");
    intake.wait_until(|state| state.sum_of_counter("c", &[]) == 11.0);
    intake.read(|state| {
        let seconds: Vec<i64> = state.points("c", &[]).iter().map(|point| point.0).collect();
        let expect: Vec<i64> = (seconds[0]..).take(seconds.len()).collect();
        assert_eq!(seconds, expect, "each second once, none missing");
        assert_eq!(state.overwritten, 0);
    });
    program.terminate().balances();
}

#[test]
fn timestamps_of_clients_are_kept() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).start();
    program.udp(
        "c:1|c|T1656581400\nc:4|c|@0.5|#x|T1656581401\ng:7:8|g|T1656581402\nh:1|h|T1656581400\n\
         n:nan|g|T1656581400",
    );
    let ended = program.terminate();
    ended.balances();
    assert_eq!((ended.lines().recorded, ended.lines().dropped), (3, 2), "{}", ended.stderr);
    intake.read(|state| {
        assert_eq!(state.points("c", &["x"]), [(1_656_581_401, 0.4)]);
        let plain = state.series("c", &[]).into_iter().find(|series| series.tags.is_empty());
        assert_eq!(plain.expect("posted").points, [(1_656_581_400, 0.1)]);
        assert_eq!(state.last_value("g", &[]), Some(8.0));
        assert!(state.series("h.max", &[]).is_empty() && state.series("n", &[]).is_empty());
    });
}

#[test]
fn timestamps_are_ignored_where_configured() {
    let intake = Intake::start();
    let setup = Setup::posting_to(&intake).set("dogstatsd_no_aggregation_pipeline", false);
    let program = setup.start();
    let before = unix_now();
    program.udp("c:1|c|T1656581400\nc:1|c|Tabc\nh:1|h|T1656581400");
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.lines().recorded, 3, "{}", ended.stderr);
    intake.read(|state| {
        assert_eq!(state.sum_of_counter("c", &[]), 2.0);
        assert!(state.points("c", &[]).iter().all(|point| point.0 > before - 10));
        assert_eq!(state.last_value("h.max", &[]), Some(1.0));
    });
}

#[test]
fn events_and_checks_without_time_get_that_of_their_receipt() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).start();
    let before = unix_now();
    program.udp("_e{1,1}:a|b\n_sc|x|0|d:0\n_e{1,1}:a|b|d:bad");
    program.terminate().balances();
    let after = unix_now();
    intake.read(|state| {
        for item in state.events.iter().chain(&state.checks) {
            let second = item["timestamp"].as_i64().expect("a number");
            assert!((before..=after).contains(&second), "{item}");
        }
        assert_eq!((state.events.len(), state.checks.len()), (2, 1));
    });
}

/// The intake keeps the last write of each second, so a successor that posts the same bucket must
/// not hit the second that its predecessor has posted.
#[test]
fn a_restart_in_the_middle_of_a_bucket_conserves_totals() {
    for round in 0..3 {
        let intake = Intake::start();
        let setup = || Setup::posting_to(&intake).set("interval", 2);
        let (first, second) = (setup(), setup());
        let second = second.in_folder_of(&first);
        let first = first.start();
        first.udp("c:3|c\nd:1|d\nd:2|d");
        first.terminate().balances();
        let second = second.start();
        second.udp("c:4|c\nd:3|d");
        intake.wait_until(|state| state.sum_of_counter("c", &[]) == 7.0);
        second.terminate().balances();
        intake.read(|state| {
            assert_eq!(state.overwritten, 0, "round {round}");
            assert_eq!(state.sum_of_counter("c", &[]), 7.0);
            assert_eq!(state.count_of_sketches("d", &[]), 3);
            let interval = |series: &crate::support::decode::Series| series.interval == 2;
            assert!(state.all_series().all(interval));
        });
    }
}
