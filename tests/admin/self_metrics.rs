use std::collections::BTreeSet;

use super::server::server;
use crate::support::decode;
use crate::support::intake::Intake;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn is_own(name: &str) -> bool {
    name.starts_with("whippet.") || name.starts_with("datadog.dogstatsd.")
}

#[test]
fn own_numbers_are_posted_with_host_and_tags_and_counted_for_no_client() {
    let intake = Intake::start();
    let program = server(&[
        ("output", "datadog"),
        ("dd_url", &intake.url()),
        ("api_key", KEY),
        ("tags", "team:x"),
        ("statsd_metric_namespace", "ns"),
    ]);
    for _ in 0..3 {
        program.udp("a:1|c\nb:2|g\nbad");
    }
    program.wait_lines(9);
    // The bucket they were in is flushed; its payload is on its way.
    intake.wait_until(|state| {
        state.sum_of_counter("datadog.dogstatsd.processed", &["state:ok", "team:x"]) == 6.0
            && state.sum_of_counter("datadog.dogstatsd.processed", &["state:error", "team:x"])
                == 3.0
            && state.sum_of_counter("datadog.dogstatsd.udp_packets", &["team:x"]) == 3.0
            && state.sum_of_counter("datadog.dogstatsd.udp_packets_bytes", &["team:x"]) == 45.0
            && state.sum_of_counter("whippet.payloads_delivered", &["team:x"]) > 0.0
    });
    let status = program.json("/status");
    assert_eq!(status["lines"]["received"], 9, "own lines are no client's");
    program.end();
    let posted: Vec<decode::Series> = intake.read(|state| {
        let bodies = state.requests_to("/api/v2/series").into_iter();
        bodies.flat_map(|request| decode::series_v2(&request.plain).unwrap()).collect()
    });
    let own: Vec<&decode::Series> = posted.iter().filter(|series| is_own(&series.metric)).collect();
    let distinct: BTreeSet<String> =
        own.iter().map(|series| format!("{} {:?}", series.metric, series.tags)).collect();
    assert_eq!(distinct.len(), 15, "{distinct:#?}");
    assert!(own.iter().all(|series| series.host == "test-host"));
    assert!(posted.iter().any(|series| series.metric == "ns.a"));
}

#[test]
fn without_an_intake_there_are_none_unless_asked_for() {
    for (asked, expect) in [("auto", 1), ("true", 13)] {
        let program = server(&[("self_telemetry", asked)]);
        program.udp("a:1|c");
        program.wait_lines(1);
        let status = program
            .wait_json("/status", |status| status["contexts"]["live"].as_u64() >= Some(expect));
        assert_eq!(status["contexts"]["live"], expect, "{asked}");
    }
}

#[test]
fn a_service_check_reports_a_running_server_when_enabled() {
    for (asked, expect) in [("true", true), ("false", false)] {
        let intake = Intake::start();
        let program = server(&[
            ("output", "datadog"),
            ("dd_url", &intake.url()),
            ("api_key", KEY),
            ("tags", "team:x"),
            ("self_service_check", asked),
        ]);
        program.udp("a:1|c");
        let status = program.wait_lines(1);
        assert_eq!(status["lines"]["recorded"]["service_checks"], 0, "no client sent it");
        program.end();
        intake.read(|state| {
            let own: Vec<_> = state.checks.iter().filter(|c| c["check"] == "whippet.up").collect();
            assert_eq!(!own.is_empty(), expect, "{:?}", state.checks);
            for check in own {
                assert_eq!(
                    (&check["status"], &check["host_name"]),
                    (&0.into(), &"test-host".into())
                );
                assert_eq!(check["tags"], serde_json::json!(["team:x"]));
                assert!(check["timestamp"].as_u64() > Some(1_700_000_000));
            }
        });
    }
}
