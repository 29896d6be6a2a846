//! What comes through a door is posted once per bucket, after a grace, and is accounted for.
//!
//! Time rules are tested in a server of this process, whose clock the test holds.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use whippet::clock::Clock;
use whippet::config::{self, Mode, Outputs, Sources};
use whippet::server::{Server, ServerSettings};
use whippet::telemetry::Hub;

use crate::support::intake::{Intake, State};
use crate::support::program::{Program, Setup};

/// A start of a bucket.
const START: u64 = 1_700_000_000;

/// Sends one request and returns the status.
fn post(socket: &Path, path: &str, body: &str) -> u16 {
    let mut stream = UnixStream::connect(socket).expect("an open door");
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("a request");
    stream.write_all(body.as_bytes()).expect("a body");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

fn series(name: &str, kind: &str, tags: &[&str], points: &[(u64, f64)]) -> Value {
    let points: Vec<Value> = points.iter().map(|(time, value)| json!([time, value])).collect();
    json!({ "metric": name, "type": kind, "tags": tags, "points": points })
}

/// A server whose time stands still until the test moves it.
struct Held {
    server: Server,
    clock: Clock,
    socket: PathBuf,
    intake: Intake,
    flags: Vec<(String, String)>,
    _folder: tempfile::TempDir,
}

fn load(socket: &Path, flags: &[(String, String)]) -> config::Loaded {
    let name = "DD_APM_RECEIVER_SOCKET".to_owned();
    let env = vec![(name, socket.to_string_lossy().into_owned())];
    let sources = Sources { file: None, env, flags: flags.to_vec(), mode: Mode::Run };
    config::load(sources).expect("valid settings")
}

impl Held {
    fn start(more: &[(&str, &str)]) -> Self {
        let intake = Intake::start();
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("apm.socket");
        let url = intake.url();
        let all = [
            ("api_key", "4f1c2a9b7d3e5f60718293a4b5c6d7e8"),
            ("dd_url", url.as_str()),
            ("dogstatsd_port", "0"),
            ("dogstatsd_socket", ""),
            ("admin_address", ""),
            ("self_telemetry", "off"),
            ("lanes", "1"),
        ];
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let mut flags: Vec<(String, String)> = all.iter().chain(more).map(pair).collect();
        // A lane needs something to listen to.
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        flags.push(("dogstatsd_stream_socket".to_owned(), path("lines.socket")));
        flags.push(("run_path".to_owned(), path("")));
        let loaded = load(&socket, &flags);
        let outputs = Outputs::choose(&loaded).expect("there is a key");
        let clock = Clock::manual(Duration::from_secs(START + 5));
        let server = Server::start(ServerSettings {
            loaded,
            outputs,
            hostname: Some("here".to_owned()),
            hostname_origin: "test",
            clock: clock.clone(),
            hub: Hub::default(),
            log: Default::default(),
        });
        let server = server.expect("a socket of our own");
        Held { server, clock, socket, intake, flags, _folder: folder }
    }

    #[track_caller]
    fn post(&self, series: &[Value]) {
        let body = json!({ "series": series }).to_string();
        assert_eq!(post(&self.socket, "/api/v1/series", &body), 202);
    }

    /// Reloads with one more setting than at the start.
    fn reload(&self, key: &str, value: &str) {
        let mut flags = self.flags.clone();
        flags.push((key.to_owned(), value.to_owned()));
        self.server.reload(&load(&self.socket, &flags));
    }

    fn at(&self, second: u64) {
        self.clock.set(Duration::from_secs(START + second));
    }

    fn wait_for(&self, name: &str, expect: &[(i64, f64)]) {
        let relative = |state: &State| -> Vec<(i64, f64)> {
            let points = state.points(name, &[]);
            points.iter().map(|(time, value)| (time - START as i64, *value)).collect()
        };
        self.intake.wait_until(|state| relative(state).len() >= expect.len());
        assert_eq!(self.intake.read(relative), expect);
    }
}

#[test]
fn a_bucket_is_posted_once_after_its_grace_and_nothing_is_continued() {
    let held = Held::start(&[]);
    held.post(&[series("hits", "count", &[], &[(START + 1, 20.0)])]);
    held.at(39);
    held.post(&[series("hits", "count", &[], &[(START + 2, 30.0)])]);
    held.post(&[series("load", "gauge", &[], &[(START + 2, 1.0), (START + 1, 2.0)])]);
    assert_eq!(held.intake.read(|state| state.all_series().count()), 0);
    held.at(40);
    // 50 hits in 10 s; of a gauge the latest second counts, not the latest request.
    held.wait_for("hits", &[(0, 5.0)]);
    held.wait_for("load", &[(0, 1.0)]);
    held.at(200);
    held.post(&[series("other", "count", &[], &[(START + 199, 10.0)])]);
    held.at(230);
    held.wait_for("other", &[(190, 1.0)]);
    assert_eq!(held.intake.read(|state| state.points("hits", &[]).len()), 1);
    assert!(held.server.stop());
}

#[test]
fn a_point_of_the_api_that_is_late_is_posted_alone_at_its_own_second() {
    let held = Held::start(&[]);
    held.post(&[series("marker", "count", &[], &[(START + 1, 10.0)])]);
    held.at(60);
    held.wait_for("marker", &[(0, 1.0)]);
    let early = START - 1_000 + 7;
    held.post(&[series("late", "count", &[], &[(START + 7, 20.0), (START + 7, 10.0)])]);
    held.post(&[series("late", "count", &[], &[(early, 10.0)])]);
    held.post(&[series("far", "count", &[], &[(START + 661, 1.0)])]);
    held.at(70);
    held.intake.wait_until(|state| state.points("late", &[]).len() == 2);
    let mut points = held.intake.read(|state| state.points("late", &[]));
    points.sort_by_key(|(time, _)| *time);
    assert_eq!(points, [(early as i64, 1.0), (START as i64 + 7, 3.0)]);
    assert!(held.server.stop());
    assert!(held.intake.read(|state| state.points("far", &[])).is_empty());
}

#[test]
fn filters_limits_and_common_tags_hold_but_neither_namespace_nor_mapper() {
    let held = Held::start(&[
        ("statsd_metric_namespace", "ns"),
        ("metric_filterlist", "gone"),
        ("env", "ours"),
        ("tags", "team:x"),
        ("contexts_max", "3"),
    ]);
    let one = |name, tags| series(name, "count", tags, &[(START + 1, 10.0)]);
    held.post(&[
        one("gone", &[]),
        one("plain", &["a:b"]),
        one("own", &["env:theirs"]),
        one("comma", &["a,b"]),
        one("plain", &["fourth"]),
    ]);
    held.at(40);
    held.intake.wait_until(|state| state.points("comma", &[]).len() == 1);
    held.intake.read(|state| {
        let mut shown: Vec<String> = state
            .all_series()
            .map(|series| {
                let mut tags: Vec<&str> = series.tags.iter().map(String::as_str).collect();
                tags.sort_unstable();
                format!("{} {}", series.metric, tags.join(" "))
            })
            .collect();
        shown.sort();
        let expect = [
            "comma a,b env:ours team:x",
            "own env:theirs team:x",
            "plain a:b env:ours team:x",
            "plain whippet.overflow:true",
        ];
        assert_eq!(shown, expect);
    });
    assert!(held.server.stop());
}

#[test]
fn what_is_open_at_a_stop_is_posted_inside_its_bucket_but_not_at_its_start() {
    let held = Held::start(&[]);
    held.post(&[series("hits", "count", &[], &[(START + 1, 20.0)])]);
    held.at(12);
    held.post(&[series("hits", "count", &[], &[(START + 11, 30.0)])]);
    let (intake, second) = (held.intake, (START + 12) % 9);
    assert!(held.server.stop());
    let mut points = intake.read(|state| state.points("hits", &[]));
    points.sort_by_key(|(time, _)| *time);
    let stamp = |start: u64| (START + start + 1 + second) as i64;
    assert_eq!(points, [(stamp(0), 2.0), (stamp(10), 3.0)]);
}

#[test]
fn a_reload_counts_from_the_next_part_on() {
    let held = Held::start(&[]);
    let hits = || [series("hits", "count", &[], &[(START + 1, 10.0)])];
    held.post(&hits());
    held.reload("metric_filterlist", "hits");
    held.post(&[
        series("hits", "count", &[], &[(START + 1, 50.0)]),
        series("other", "count", &[], &[(START + 1, 10.0)]),
    ]);
    held.reload("tags", "team:x");
    held.post(&hits());
    held.at(40);
    held.intake.wait_until(|state| state.points("hits", &["team:x"]).len() == 1);
    held.intake.read(|state| {
        assert_eq!(state.points("hits", &[]).len(), 2, "with the tag and without");
        assert_eq!(state.sum_of_counter("hits", &[]), 20.0);
        assert_eq!(state.sum_of_counter("other", &[]), 10.0);
    });
    assert!(held.server.stop());
}

#[test]
fn a_reload_changes_the_environment_of_what_comes_without_one() {
    let held = Held::start(&[("apm_config.env", "before"), ("doors_prefix", "own.")]);
    let message = |env: &str| {
        let lines = json!({ "logs": [{ "level": "ERROR", "count": 10 }] });
        let body = json!({
            "request_type": "logs", "tracer_time": START + 5, "payload": lines,
            "application": { "service_name": "shop", "env": env },
        });
        let route = "/telemetry/proxy/api/v2/apmtelemetry";
        assert_eq!(post(&held.socket, route, &body.to_string()), 200);
    };
    message("");
    held.reload("apm_config.env", "after");
    message("");
    message("prod");
    held.at(100);
    let name = "own.whippet.telemetry.logs";
    held.intake.wait_until(|state| state.points(name, &[]).len() == 3);
    held.intake.read(|state| {
        for env in ["env:before", "env:after", "env:prod"] {
            assert_eq!(state.points(name, &[env]).len(), 1, "{env}");
        }
    });
    assert!(held.server.stop());
}

#[test]
fn telemetry_waits_for_ninety_seconds() {
    let held = Held::start(&[]);
    let body = json!({
        "api_version": "v2",
        "request_type": "generate-metrics",
        "tracer_time": START + 5,
        "runtime_id": "5d9c",
        "seq_id": 1,
        "application": {
            "service_name": "shop", "language_name": "python", "language_version": "3.13",
            "tracer_version": "3.10.2", "env": "prod", "service_version": "1.2",
        },
        "host": { "hostname": "web-1" },
        "payload": { "namespace": "tracers", "series": [{
            "metric": "spans_created", "type": "count", "common": true, "tags": [],
            "points": [[START + 3, 20.0]], "interval": 10,
        }]},
    });
    let route = "/telemetry/proxy/api/v2/apmtelemetry";
    assert_eq!(post(&held.socket, route, &body.to_string()), 200);
    held.post(&[series("marker", "count", &[], &[(START + 3, 10.0)])]);
    let name = "dd.instrumentation_telemetry_data.tracers.spans_created";
    held.at(99);
    held.wait_for("marker", &[(0, 1.0)]);
    assert!(held.intake.read(|state| state.points(name, &[]).is_empty()));
    held.at(100);
    held.wait_for(name, &[(0, 2.0)]);
    assert_eq!(held.intake.read(|state| state.series(name, &["service:shop"]).len()), 1);
    assert!(held.server.stop());
}

/// The program with an open door.
fn open(setup: Setup, socket: &Path) -> Program {
    setup.env("DD_APM_RECEIVER_SOCKET", socket.display()).start()
}

fn now() -> u64 {
    Clock::wall().unix().as_secs()
}

#[test]
fn a_restart_overwrites_nothing_that_was_posted() {
    let (intake, folder) = (Intake::start(), tempfile::tempdir().expect("a folder"));
    let socket = folder.path().join("apm.socket");
    // One bucket for all runs; the seconds of their stops differ.
    let bucket = now();
    for run in 0..3 {
        let program = open(Setup::posting_to(&intake), &socket);
        let body = json!({ "series": [series("hits", "count", &[], &[(bucket, 10.0)])] });
        assert_eq!(post(&socket, "/api/v1/series", &body.to_string()), 202);
        program.terminate();
        intake.wait_until(|state| state.points("hits", &[]).len() > run);
        let stopped = now();
        crate::support::program::eventually(Duration::from_secs(5), "the next second", || {
            now() > stopped
        });
    }
    let points = intake.read(|state| state.points("hits", &[]));
    let mut seconds: Vec<i64> = points.iter().map(|(time, _)| *time).collect();
    seconds.sort_unstable();
    seconds.dedup();
    assert_eq!(seconds.len(), 3, "{points:?}");
    assert!(!seconds.contains(&((bucket - bucket % 10) as i64)), "{points:?}");
}

/// The number of a sample in `/metrics`.
fn sample(page: &str, name: &str) -> Option<u64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn every_page_and_the_last_lines_balance_requests_and_parts() {
    let (intake, folder) = (Intake::start(), tempfile::tempdir().expect("a folder"));
    let socket = folder.path().join("apm.socket");
    let setup = Setup::posting_to(&intake).set("admin_address", "127.0.0.1:0");
    let program = open(setup, &socket);
    let good = json!({ "series": [
        series("hits", "count", &[], &[(now(), 10.0)]),
        series("far", "count", &[], &[(now() + 5_000, 1.0)]),
        series("late", "count", &[], &[(now() - 2_000, 1.0)]),
    ]});
    let tap = std::thread::scope(|scope| {
        let tap = scope.spawn(|| program.says(&["tap", "--limit", "1", "--match", "^hits"]));
        // The tap shows what comes while it is on; until then this is one request after the other.
        let mut posted = 0;
        while !tap.is_finished() {
            assert_eq!(post(&socket, "/api/v1/series", &good.to_string()), 202);
            posted += 1;
            std::thread::yield_now();
        }
        (tap.join().expect("a tap"), posted)
    });
    let (shown, posted) = tap;
    assert!(shown.contains("http") && shown.contains("hits:10|c|T"), "{shown}");
    assert_eq!(post(&socket, "/api/v1/series", "{"), 400);

    let (_, page) = program.get("/metrics");
    for (name, expect) in [
        ("whippet_doors_requests_total{route=\"api\"}", posted + 1),
        ("whippet_doors_recorded_total{route=\"api\"}", posted),
        ("whippet_doors_refused_total{route=\"api\",reason=\"decode\"}", 1),
        ("whippet_doors_parts_total{route=\"api\"}", 3 * posted),
        ("whippet_doors_parts_recorded_total{route=\"api\"}", 2 * posted),
        ("whippet_doors_parts_refused_total{route=\"api\",reason=\"time\"}", posted),
        ("whippet_doors_late_total{route=\"api\"}", posted),
        ("whippet_doors_requests_total{route=\"stats\"}", 0),
    ] {
        assert_eq!(sample(&page, name), Some(expect), "{name}\n{page}");
    }
    let status = program.json("/status");
    let api = &status["doors"]["routes"]["api"];
    assert_eq!((&api["requests"], &api["recorded"]), (&json!(posted + 1), &json!(posted)), "{api}");
    assert_eq!(api["refused"], json!({ "total": 1, "reasons": { "decode": 1 } }));
    assert_eq!(api["parts"]["late"], json!(posted));
    // Numbers may be grouped by commas.
    let text = program.says(&["status"]).replace(',', "");
    let requests = format!("{} requests = {posted} recorded + 1 refused (decode 1)", posted + 1);
    assert!(text.contains(&format!("api: {requests}")), "{text}");

    let log = program.terminate().stderr.replace(',', "");
    let requests = requests.replace(" =", " received =");
    assert!(log.contains(&requests.replace(" requests", "")), "{requests}\n{log}");
    let parts = format!(
        "{} received = {} recorded + {posted} refused (time {posted}); {posted} late",
        3 * posted,
        2 * posted
    );
    assert!(log.contains(&parts), "{parts}\n{log}");
}

#[test]
fn without_a_door_no_page_has_a_word_of_it() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).set("admin_address", "127.0.0.1:0").start();
    let (_, page) = program.get("/metrics");
    assert!(!page.contains("route=\"stats\""), "{page}");
    assert_eq!(program.json("/status")["doors"]["open"], json!(false));
    let ended = program.terminate();
    assert!(!ended.stderr.contains("doors"), "{}", ended.stderr);
}
