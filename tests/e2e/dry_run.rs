//! What would be posted is printed instead, to the byte.

use serde_json::Value;

use crate::support::decode;
use crate::support::intake::Intake;
use crate::support::program::{KEY, Program, Setup};

/// Some of everything that is posted.
fn send_everything(program: &Program) {
    program.udp("c:5|c|#a:b\ng:1.5|g\nt:1:2:3|ms\nd:1|d\nd:2|d\nu:x|s");
    program.udp("_e{5,4}:title|text|#a:b\n_sc|up|2|m:bad");
}

#[track_caller]
fn requests(stdout: &str) -> Vec<Value> {
    let read =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    stdout.lines().map(read).collect()
}

fn from_base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|c| *c != b'=').map(digit).collect();
    let bits: Vec<u8> = digits.iter().flat_map(|d| (0..6).rev().map(move |b| d >> b & 1)).collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit)).collect()
}

#[test]
fn what_is_printed_is_what_the_intake_gets() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).set("output", "datadog,dry-run:bytes").start();
    send_everything(&program);
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0));
    assert!(!ended.stdout.contains(KEY));
    let mut printed = requests(&ended.stdout);
    intake.read(|state| {
        assert!(state.requests.len() >= 4, "series, sketches, an event, a check");
        for got in &state.requests {
            let url = format!("{}{}", intake.url(), got.target);
            let is_it = |shown: &Value| {
                shown["url"] == url
                    && from_base64(shown["body_base64"].as_str().unwrap()) == got.body
            };
            let at = printed.iter().position(is_it).unwrap_or_else(|| panic!("no {url}"));
            let shown = printed.remove(at);
            assert_eq!(shown["method"], got.method);
            for (name, value) in shown["headers"].as_object().unwrap() {
                if name == "DD-API-KEY" {
                    let end = value.as_str().unwrap().strip_prefix("*****").unwrap();
                    assert!(!end.is_empty() && got.header(name).ends_with(end));
                } else {
                    assert_eq!(value, got.header(name), "{name}");
                }
            }
            let sent: Vec<&str> = got.headers.iter().map(|(name, _)| name.as_str()).collect();
            for name in sent.iter().filter(|name| name.starts_with("dd-")) {
                let shown = shown["headers"].as_object().unwrap();
                assert!(shown.keys().any(|key| key.eq_ignore_ascii_case(name)), "no {name}");
            }
            readable_body_agrees(&shown, &got.plain);
        }
    });
    assert!(printed.is_empty(), "printed, but not posted: {printed:?}");
}

/// The readable body holds what another reader finds in the bytes.
#[track_caller]
fn readable_body_agrees(shown: &Value, plain: &[u8]) {
    let body = &shown["body"];
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["metric"].as_str().unwrap().into()).collect()
    };
    match shown["route"].as_str().unwrap() {
        "series_v2" => {
            let series = decode::series_v2(plain).unwrap();
            let expect: Vec<String> = series.iter().map(|one| one.metric.clone()).collect();
            assert_eq!(names(&body["series"]), expect);
            for (shown, one) in body["series"].as_array().unwrap().iter().zip(&series) {
                assert_eq!(shown["points"][0]["timestamp"], one.points[0].0);
                assert_eq!(shown["points"][0]["value"].as_f64(), Some(one.points[0].1));
            }
        }
        "sketches" => {
            let sketches = decode::sketches(plain).unwrap();
            assert_eq!(names(&body["sketches"]), [sketches[0].metric.clone()]);
            assert_eq!(body["sketches"][0]["dogsketches"][0]["cnt"], 2);
        }
        _ => assert_eq!(*body, serde_json::from_slice::<Value>(plain).unwrap()),
    }
}

#[test]
fn a_dry_run_makes_no_connection() {
    let intake = Intake::start();
    let setup = Setup::posting_to(&intake).set("self_telemetry", "auto");
    let program = setup.argument("run").argument("--dry-run").start();
    send_everything(&program);
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0));
    let printed = requests(&ended.stdout);
    let routes: Vec<&str> = printed.iter().map(|one| one["route"].as_str().unwrap()).collect();
    for route in ["series_v2", "sketches", "events", "service_checks"] {
        assert!(routes.contains(&route), "no {route} in {routes:?}");
    }
    assert!(printed.iter().all(|one| one.get("body_base64").is_none()));
    assert!(ended.stdout.contains("\"whippet.running\""), "own metrics would be posted, too");
    assert!(!(ended.stdout + &ended.stderr).contains(KEY));
    intake.read(|state| {
        assert_eq!((state.requests.len(), state.validations.len(), state.connections), (0, 0, 0));
    });
}

#[test]
fn a_dry_run_needs_no_key_and_shows_every_endpoint() {
    let second = "0123456789abcdef0123456789abcdef";
    let program = Setup::bare()
        .set("site", "datadoghq.eu")
        .set("additional_endpoints", format!("{{\"https://b.example\":[\"{second}\"]}}"))
        .argument("run")
        .argument("--dry-run")
        .start();
    program.udp("c:5|c");
    let ended = program.terminate();
    let printed = requests(&ended.stdout);
    let rows: Vec<(&str, &str)> = printed
        .iter()
        .map(|one| (one["url"].as_str().unwrap(), one["headers"]["DD-API-KEY"].as_str().unwrap()))
        .collect();
    assert_eq!(
        rows,
        [
            ("https://api.datadoghq.eu/api/v2/series", "(no API key)"),
            ("https://b.example/api/v2/series", "*****bcdef"),
        ]
    );
    let said = "payloads 1 built (1 points, ";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert!(ended.stderr.contains("none delivered (output dry-run)"), "{}", ended.stderr);
}
