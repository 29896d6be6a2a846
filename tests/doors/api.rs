//! The metrics API through the real program: totals to the last value, times to the second.

use super::post::{self, Socket};
use crate::support::intake::Intake;
use crate::support::program::{Program, Setup};
use serde_json::json;
use std::io::Write;

/// The second of every point in the recorded bodies.
const RECORDED: i64 = 1_795_715_261;
const ACCEPTED: &str = r#"{"status":"ok"}"#;

fn started() -> (Intake, Program, Socket) {
    let intake = Intake::start();
    let setup = post::open(Setup::posting_to(&intake));
    let program = setup.start();
    let socket = Socket::of(&setup);
    socket.wait();
    (intake, program, socket)
}

/// Sends a request as it was recorded.
#[track_caller]
fn sends(socket: &Socket, path: &str, name: &str) {
    let (headers, body) = post::as_sent(name);
    assert_eq!(socket.send("POST", path, &headers, &body), (202, ACCEPTED.to_owned()), "{name}");
}

/// ThreadStats once sends its series plain and once deflated; both hold 20 increments at a second.
#[test]
fn what_datadogpy_sends_arrives_whole() {
    let (intake, program, socket) = started();
    for name in [
        "dd/series-ts.count",
        "dd/series-api.rate",
        "dd/series-api.count",
        "dd/series-api.gauge",
        "dd/series-api.untyped",
    ] {
        sends(&socket, "/api/v1/series", name);
    }
    sends(&socket, "/api/v1/series", "dd/series-ts.packed");
    sends(&socket, "/api/v1/distribution_points", "dd/distribution-points-ts.dist");
    sends(&socket, "/api/v1/distribution_points", "dd/distribution-points-api.dist");
    sends(&socket, "/api/v1/events", "dd/events");
    sends(&socket, "/api/v1/check_run", "dd/check-run");
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    intake.read(|state| {
        let one = |name: &str, tags: &[&str]| {
            let found = state.series(name, tags);
            assert_eq!(found.len(), 1, "{name}: {found:?}");
            (found[0].host.clone(), found[0].points[0].0, state.sum_of_counter(name, tags))
        };
        let at = |host: &str, value: f64| (host.to_owned(), RECORDED, value);
        assert_eq!(one("ts.count", &["a:b", "const:yes"]), at("web-1", 20.0));
        assert_eq!(one("ts.histogram.count", &["const:yes"]), at("web-1", 4.0));
        assert_eq!(one("api.rate", &["a:b"]), at("vm", 20.0));
        assert_eq!(one("api.count", &[]), at("vm", 5.0));
        let value =
            |name: &str| (state.series(name, &[])[0].host.clone(), state.last_value(name, &[]));
        assert_eq!(value("ts.gauge"), ("web-1".to_owned(), Some(8.0)));
        assert_eq!(value("api.gauge"), ("vm".to_owned(), Some(3.5)));
        assert_eq!(value("api.untyped"), ("db-1".to_owned(), Some(9.0)));
        assert_eq!(state.count_of_sketches("ts.dist", &["const:yes"]), 2);
        assert_eq!(state.count_of_sketches("api.dist", &[]), 3);
        assert_eq!(state.events[0]["msg_title"], "deployed");
        assert_eq!(
            (&state.events[0]["host"], &state.events[0]["tags"]),
            (&json!("vm"), &json!(["const:yes"]))
        );
        assert_eq!(
            (&state.checks[0]["check"], &state.checks[0]["host_name"]),
            (&json!("app.ok"), &json!("web-1"))
        );
        assert_eq!((state.overwritten, state.undecodable.len()), (0, 0), "{:?}", state.undecodable);
    });
}

/// Two processes that do not know of each other report the same series of the same seconds.
#[test]
fn sums_of_several_clients_add_up_and_of_gauges_the_latest_wins() {
    let (intake, program, socket) = started();
    let second = post::now();
    let body = |value: i64, at: i64| {
        json!({"series": [
            {"metric": "hits", "points": [[at, value]], "type": "count", "host": null},
            {"metric": "load", "points": [[at, value]], "type": "gauge", "host": ""},
            {"metric": "rate", "points": [[at as f64 + 0.75, value]], "type": "rate", "interval": 2},
            {"metric": "other", "points": [[at, value]], "type": "count", "host": "db"},
        ]})
        .to_string()
    };
    for (value, at) in [(1, second), (2, second), (30, second - 1), (4, second)] {
        let sent = socket.post("/api/v1/series", &[], body(value, at).as_bytes());
        assert_eq!(sent, (202, ACCEPTED.to_owned()));
    }
    let version_2 = json!({"series": [
        {"metric": "hits", "points": [{"timestamp": second, "value": 100}], "type": 1},
        {"metric": "rate", "points": [{"timestamp": second, "value": 100}], "type": 2},
    ]});
    let sent = socket.post("/api/v2/series", &[], version_2.to_string().as_bytes());
    assert_eq!(sent, (202, r#"{"errors":[]}"#.to_owned()));
    assert_eq!(program.terminate().code(), Some(0));
    intake.read(|state| {
        assert_eq!(state.sum_of_counter("hits", &[]), 137.0);
        assert_eq!(state.sum_of_counter("rate", &[]), 2.0 * 37.0 + 1000.0);
        assert_eq!(state.sum_of_counter("other", &[]), 37.0);
        assert_eq!(state.last_value("load", &[]), Some(4.0));
        assert_eq!(state.series("other", &[])[0].host, "db");
        assert_eq!(state.series("hits", &[])[0].host, "web-1");
        assert_eq!(state.overwritten, 0);
    });
}

#[test]
fn every_answer_is_json_and_a_bad_part_harms_no_other() {
    let (intake, program, socket) = started();
    /// Method, path, headers, body; status and body of the answer.
    type Row = (
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static str,
        u16,
        &'static str,
    );
    let rows: [Row; 11] = [
        ("GET", "/api/v1/validate", &[], "", 200, r#"{"valid":true}"#),
        ("GET", "/api/v1/validate/?api_key=any", &[], "", 200, r#"{"valid":true}"#),
        ("POST", "/api/v2/logs", &[], "[]", 404, r#"{"errors":["Not found"]}"#),
        ("GET", "/api/v1/query", &[], "", 404, r#"{"errors":["Not found"]}"#),
        (
            "POST",
            "/api/v1/series",
            &[],
            "{",
            400,
            r#"{"errors":["the JSON ends too early, line 1 column 1"]}"#,
        ),
        (
            "POST",
            "/api/v1/series",
            &[],
            "not json",
            400,
            r#"{"errors":["expected one JSON object"]}"#,
        ),
        (
            "POST",
            "/api/v1/series?api_key=any",
            &[],
            r#"{"series":[{"metric":"m","points":[[1,2]],"type":"odd"}]}"#,
            400,
            r#"{"errors":["series[0].type: expected gauge, rate or count"]}"#,
        ),
        (
            "POST",
            "/api/v2/series",
            &[("Content-Type", "application/x-protobuf")],
            "x",
            415,
            r#"{"errors":["Content-Type: expected application/json"]}"#,
        ),
        (
            "POST",
            "/api/v1/series",
            &[("Content-Type", "text/plain"), ("DD-API-KEY", "of-the-client")],
            r#"{"series":[{"metric":"","points":[[1,2]]},{"metric":"good","points":[[1795715261,2]],"type":"count"}]}"#,
            202,
            ACCEPTED,
        ),
        (
            "POST",
            "/api/v1/events",
            &[],
            r#"{"text":"x"}"#,
            400,
            r#"{"errors":["title: expected a text"]}"#,
        ),
        (
            "POST",
            "/api/v1/check_run",
            &[],
            r#"{"check":"c","status":9}"#,
            400,
            r#"{"errors":["status: expected 0 to 3"]}"#,
        ),
    ];
    for (method, path, headers, body, status, answer) in rows {
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let got = socket.send(method, path, &headers, body.as_bytes());
        assert_eq!(got, (status, answer.to_owned()), "{method} {path} {body}");
    }
    let (status, answer) = socket.send("GET", "/api/v1/series", &[], b"");
    assert_eq!(status, 405);
    assert!(answer.starts_with(r#"{"errors":["#), "{answer}");
    let ended = program.terminate();
    assert!(!ended.stderr.contains("of-the-client"));
    intake.read(|state| {
        assert_eq!(state.sum_of_counter("good", &[]), 2.0);
        assert!(
            state.series("m", &[]).is_empty() && state.events.is_empty() && state.checks.is_empty()
        );
    });
}

#[test]
fn packed_bodies_of_every_encoding_are_read() {
    let (intake, program, socket) = started();
    let body =
        format!(r#"{{"series":[{{"metric":"packed","points":[[{RECORDED},1]],"type":"count"}}]}}"#);
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(body.as_bytes()).expect("memory");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes()).expect("memory");
    for (encoding, sent) in [
        ("deflate", zlib.finish().expect("memory")),
        ("gzip", gzip.finish().expect("memory")),
        ("zstd", zstd::encode_all(body.as_bytes(), 1).expect("memory")),
        ("identity", body.clone().into_bytes()),
    ] {
        let got = socket.post("/api/v1/series", &[("Content-Encoding", encoding)], &sent);
        assert_eq!(got.0, 202, "{encoding}: {}", got.1);
    }
    assert_eq!(program.terminate().code(), Some(0));
    intake.read(|state| assert_eq!(state.sum_of_counter("packed", &[]), 4.0));
}
