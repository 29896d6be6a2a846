//! The program reports on itself: when it is asked to, what it says, and what it never says.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::program::{KEY, PATIENCE, Setup, eventually, whippet};
use crate::threadstats::server::{Request, Server};

fn json(request: &Request) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

/// Messages of all bodies, batches taken apart.
fn messages(bodies: &[Value]) -> Vec<Value> {
    let of = |body: &Value| match body["payload"].as_array() {
        Some(batch) => batch.clone(),
        None => vec![body.clone()],
    };
    bodies.iter().flat_map(of).collect()
}

/// The first payload of that type.
fn payload(bodies: &[Value], kind: &str) -> Value {
    let found = messages(bodies).into_iter().find(|message| message["request_type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}: {bodies:#?}"))["payload"].clone()
}

fn text(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn nothing_is_reported_unless_it_is_asked_for() {
    let collector = Server::start();
    let setup = Setup::bare().set("instrumentation_telemetry_url", collector.url());
    let log = setup.start().end();
    assert!(!log.contains("reporting on itself"), "{log}");
    assert!(collector.requests().is_empty());
    let state = text(&whippet().arg("telemetry").output().unwrap());
    assert!(state.starts_with("off: whippet sends nothing about itself;"), "{state}");
    let on = whippet().arg("telemetry").env("WHIPPET_INSTRUMENTATION_TELEMETRY", "true").output();
    assert_eq!(
        text(&on.unwrap()),
        "on (WHIPPET_INSTRUMENTATION_TELEMETRY): whippet reports on itself to http://localhost:8126\n\
         whippet telemetry --dry-run shows what is sent\n"
    );
}

#[test]
fn a_server_says_what_it_is_and_never_a_secret_or_a_metric() {
    let collector = Server::start();
    let intake = crate::support::intake::Intake::start();
    let setup = Setup::posting_to(&intake)
        .env("DD_ENV", "prod")
        .env("WHIPPET_INSTRUMENTATION_TELEMETRY", "true")
        .env("DD_PROXY_HTTP", "http://me:hunter2@127.0.0.1:1")
        .env("DD_PROXY_NO_PROXY", "127.0.0.1")
        .set("instrumentation_telemetry_url", collector.url());
    let program = setup.start();
    program.logs("reporting on itself (instrumentation_telemetry) to http://127.0.0.1");
    program.unix_datagram("secret.metric:1|c|#user:4711\nsecret.metric:x|c|#user:4711");
    program.logs("refused");
    // Logged as an error: its place is told.
    program.signal("USR1");
    program.logs("SIGUSR1: log level debug");
    let log = program.end();
    assert!(!log.contains("was not sent"), "{log}");
    let requests = collector.requests();
    for request in &requests {
        assert_eq!(request.line, "POST /telemetry/proxy/api/v2/apmtelemetry");
        assert!(!request.headers.contains_key("dd-api-key"), "a collector gets no key");
        let body = String::from_utf8_lossy(&request.body);
        for secret in [KEY, &KEY[KEY.len() - 5..], "hunter2", "secret.metric", "4711"] {
            assert!(!body.contains(secret), "{secret}: {body}");
        }
        assert_eq!(request.headers["dd-telemetry-request-type"], json(request)["request_type"]);
    }
    let bodies: Vec<Value> = requests.iter().map(json).collect();
    let first = &bodies[0];
    assert_eq!((&first["request_type"], &first["seq_id"]), (&"app-started".into(), &1.into()));
    let application = &first["application"];
    assert_eq!(application["service_name"], "whippet");
    assert_eq!(application["language_name"], "rust");
    assert_eq!(application["env"], "prod");
    assert!(application["language_version"].as_str().unwrap().starts_with("1."));
    assert_eq!(first["host"]["hostname"], "web-1");
    let setting = |name: &str| {
        let list = first["payload"]["configuration"].as_array().unwrap();
        let found = list.iter().find(|one| one["name"] == name);
        found.map(|one| (one["value"].clone(), one["origin"].as_str().unwrap().to_owned()))
    };
    let is = |value: &str, origin: &str| Some((Value::from(value), origin.to_owned()));
    assert_eq!(setting("env"), is("prod", "env_var"));
    assert_eq!(setting("hostname"), is("web-1", "code"));
    assert_eq!(setting("dogstatsd_buffer_size"), is("8192", "default"));
    assert_eq!(setting("proxy.http"), is("http://me:***@127.0.0.1:1", "env_var"));
    assert_eq!(setting("api_key"), None);
    let products = &first["payload"]["products"];
    assert_eq!(products["dogstatsd_udp"]["enabled"], true);
    assert_eq!(products["dogstatsd_tcp"]["enabled"], false);
    assert_eq!(products["forwarder"]["enabled"], true);
    let packages = payload(&bodies, "app-dependencies-loaded");
    assert!(packages["dependencies"].as_array().unwrap().iter().any(|one| one["name"] == "mio"));
    let sinks = payload(&bodies, "app-integrations-change");
    assert!(
        sinks["integrations"].as_array().unwrap().iter().any(|one| one["name"] == "output_datadog")
    );
    let logs = payload(&bodies, "logs");
    let place = logs["logs"][0]["message"].as_str().unwrap();
    assert!(place.starts_with("server at src/cli/run.rs:"), "{logs}");
    let last = messages(&bodies).last().cloned().unwrap();
    assert!(["app-closing", "app-heartbeat"].contains(&last["request_type"].as_str().unwrap()));
    payload(&bodies, "app-closing");
    // Deliveries of the shutdown are in it.
    let series = messages(&bodies);
    let series = series.iter().filter_map(|message| message["payload"]["series"].as_array());
    let sent = series.flatten().find(|one| one["metric"] == "forwarder.responses");
    assert_eq!(sent.expect("a delivery")["tags"][0], "endpoint:other");
}

#[test]
fn a_reload_tells_what_changed() {
    let collector = Server::start();
    let setup = Setup::bare()
        .set("output", "none")
        .set("instrumentation_telemetry", true)
        .set("instrumentation_telemetry_url", collector.url())
        .set("tags", "team:a")
        .in_file();
    let program = setup.start();
    let mut bodies = Vec::new();
    eventually(PATIENCE, "a start", || {
        bodies.extend(collector.requests().iter().map(json));
        !bodies.is_empty()
    });
    let mut setup = setup;
    setup.change("tags", "team:b");
    setup.write();
    program.signal("HUP");
    program.logs("configuration reloaded");
    program.end();
    bodies.extend(collector.requests().iter().map(json));
    let changed = payload(&bodies, "app-client-configuration-change");
    let list = changed["configuration"].as_array().unwrap();
    assert_eq!(list.len(), 1, "{changed}");
    assert_eq!((&list[0]["name"], &list[0]["value"]), (&"tags".into(), &"[team:b]".into()));
}

#[test]
fn a_collector_that_never_answers_delays_a_stop_no_longer_than_allowed() {
    let collector = Server::start();
    collector.answer(vec![crate::threadstats::server::Answer::Silence; 20]);
    let setup = Setup::bare()
        .set("instrumentation_telemetry", true)
        .set("instrumentation_telemetry_url", collector.url())
        .set("aggregator_stop_timeout", 1)
        .set("forwarder_stop_timeout", 1);
    let program = setup.start();
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(ended.took.as_secs() < 5, "{:?}", ended.took);
    assert!(
        ended.stderr.contains("the last telemetry about whippet itself was not sent"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_dry_run_shows_every_message_and_every_metric_that_the_documentation_names() {
    let output =
        whippet().args(["telemetry", "--dry-run"]).env("DD_API_KEY", KEY).output().unwrap();
    let shown = text(&output);
    assert!(!shown.contains(KEY) && !shown.contains(&KEY[KEY.len() - 5..]), "{shown}");
    let bodies: Vec<Value> =
        shown.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    assert_eq!(bodies[0]["request_type"], "app-started");
    for kind in ["app-dependencies-loaded", "app-integrations-change", "app-closing"] {
        payload(&bodies, kind);
    }
    let all = messages(&bodies);
    let series = all.iter().filter_map(|message| message["payload"]["series"].as_array()).flatten();
    let shown: BTreeSet<String> = series
        .filter(|one| one["namespace"] == "general")
        .map(|one| one["metric"].as_str().unwrap().to_owned())
        .collect();
    let page = include_str!("../../docs/telemetry.md");
    let table = page.split("| metric, namespace `general` |").nth(1).expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let documented: BTreeSet<String> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    assert_eq!(shown, documented);
}
