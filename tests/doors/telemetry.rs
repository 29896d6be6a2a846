//! Telemetry of unmodified clients through the real program: what arrives at the intake, to the second.

use super::post::{self, Socket};
use crate::support::intake::Intake;
use crate::support::program::{Setup, eventually};
use std::time::Duration;

/// A bucket is closed within 20 s.
const CLOSED: Duration = Duration::from_secs(40);

const PATH: &str = "/telemetry/proxy/api/v2/apmtelemetry";
const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];
/// Seconds between the end of a bucket and its posting.
const GRACE: i64 = 90;

/// A recorded body with all its times in the bucket at `start`.
fn at(name: &str, start: i64) -> (Vec<(String, String)>, String) {
    let (headers, body) = post::recorded(name);
    let text = String::from_utf8(body).expect("JSON");
    // All were recorded within 1795715262 and 1795715271.
    let moved = (0..10).fold(text, |text, second| {
        text.replace(&format!("179571526{second}"), &(start + second).to_string())
    });
    (headers, moved.replace("1795715271", &(start + 9).to_string()))
}

#[test]
fn metrics_of_unmodified_clients_arrive_at_their_second() {
    let intake = Intake::start();
    let setup = post::open(Setup::posting_to(&intake));
    let program = setup.start();
    let socket = Socket::of(&setup);
    socket.wait();
    let start = post::closing_soon(GRACE);
    for name in [
        "py3/telemetry-app-started",
        "py3/telemetry-app-dependencies-loaded",
        "py3/telemetry-generate-metrics",
        "py3/telemetry-distributions",
        "py3/telemetry-logs",
        "py3/telemetry-app-heartbeat",
        "py3/telemetry-app-closing",
        "py4/telemetry-app-started",
        "py4/telemetry-batch-logs",
        "py4/telemetry-batch-app-closing",
        "js/telemetry-generate-metrics",
        "js/telemetry-sketches",
        "js/telemetry-logs",
        "js/telemetry-app-heartbeat",
    ] {
        let (headers, body) = at(name, start);
        assert_eq!(
            socket.send("POST", PATH, &headers, body.as_bytes()),
            (200, "{}".into()),
            "{name}"
        );
    }
    eventually(CLOSED, "all series and sketches", || {
        intake.read(|state| {
            let distribution = "dd.instrumentation_telemetry_data.tracers.my.dist";
            state.count_of_sketches(distribution, &[]) == 6
                && state.series("whippet.telemetry.logs", &[]).len() == 3
        })
    });
    let mut expected = Vec::new();
    for (language, version, logs) in
        [("python", "3.10.2", 1.0), ("python", "4.16.0", 2.0), ("nodejs", "5.132.0", 1.0)]
    {
        let tags = format!(
            "env:prod language:{language} service:shop tracer_version:{version} version:1.2"
        );
        let metric = "dd.instrumentation_telemetry_data.tracers.my";
        expected.push(format!("{metric}.count rate/10 [({start}, 0.3)] a:b {tags} web-1"));
        expected.push(format!(
            "{metric}.dist [({start}, 2, [(1464, 1), ({}, 1)])] {tags} web-1",
            if language == "nodejs" { 1479 } else { 1480 }
        ));
        expected.push(format!("{metric}.gauge gauge [({start}, 4.5)] {tags} web-1"));
        expected.push(format!("{metric}.rate rate/10 [({start}, 1.2)] {tags} web-1"));
        let level = tags.replacen(" service", " level:error service", 1);
        expected.push(format!(
            "whippet.telemetry.logs rate/10 [({start}, {})] {level} web-1",
            logs / 10.0
        ));
    }
    expected.sort();
    let arrived = intake.read(|state| {
        post::arrived(state, |name| name.contains(".my.") || name == "whippet.telemetry.logs")
    });
    assert_eq!(arrived, expected);
    program.terminate();
}

#[test]
fn live_processes_are_counted_at_the_end_too() {
    let intake = Intake::start();
    let setup =
        post::open(Setup::posting_to(&intake)).env("DD_ENV", "staging").set("doors_prefix", "own.");
    let program = setup.start();
    let socket = Socket::of(&setup);
    socket.wait();
    let send = |id: &str, kind: &str, env: &str| {
        let body = format!(
            r#"{{"api_version":"v2","request_type":"{kind}","runtime_id":"{id}","application":{{"service_name":"shop","language_name":"go","tracer_version":"2.0"{env}}}}}"#
        );
        assert_eq!(socket.post(PATH, JSON, body.as_bytes()), (200, "{}".into()));
    };
    send("1", "app-started", "");
    send("2", "app-started", "");
    send("3", "app-started", r#","env":"prod""#);
    send("2", "app-closing", "");
    send("2", "app-heartbeat", "");
    program.terminate();
    intake.read(|state| {
        let live = |env: &str| {
            let series = state.series("own.whippet.telemetry.runtimes", &[env]);
            let [series] = series[..] else { panic!("one series of {env}: {series:?}") };
            assert_eq!(series.tags, [env, "language:go", "service:shop", "tracer_version:2.0"]);
            series.points.iter().map(|point| point.1).collect::<Vec<f64>>()
        };
        assert!(live("env:staging").iter().all(|live| *live == 1.0));
        assert!(live("env:prod").iter().all(|live| *live == 1.0));
    });
}

#[test]
fn bad_parts_and_bad_bodies_are_told_apart() {
    let intake = Intake::start();
    let setup = post::open(Setup::posting_to(&intake));
    let program = setup.start();
    let socket = Socket::of(&setup);
    socket.wait();
    let second = post::now();
    let series = format!(
        r#"{{"request_type":"generate-metrics","payload":{{"series":[{{"metric":"","type":"count","points":[[{second},1]]}},{{"metric":"good","type":"count","points":[[{second},1],[{second},"x"]]}}]}}}}"#
    );
    assert_eq!(socket.post(PATH, JSON, series.as_bytes()), (200, "{}".into()));
    let deep = format!("{{\"payload\":{}{}}}", "[".repeat(40), "]".repeat(40));
    for body in ["[]", "{", "", r#"{"application":7}"#, r#"{"request_type":"logs"} x"#, &deep] {
        let (status, answer) = socket.post(PATH, JSON, body.as_bytes());
        assert_eq!(status, 400, "{body}");
        assert!(answer.starts_with(r#"{"errors":[""#), "{answer}");
    }
    program.terminate();
    intake.read(|state| {
        let names: Vec<&str> = state.all_series().map(|series| &*series.metric).collect();
        assert_eq!(names, ["dd.instrumentation_telemetry_data.general.good"]);
        assert_eq!(state.sum_of_counter(names[0], &[]), 1.0);
    });
}
