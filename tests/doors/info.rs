//! `/info`: what is on, and nothing else; its hash on every route of an Agent.

use super::client::{Client, open, opened};
use crate::support::program::{Setup, until};
use serde_json::json;

const LISTED: [&str; 8] = [
    "/v0.3/traces",
    "/v0.4/traces",
    "/v0.5/traces",
    "/v0.6/stats",
    "/v0.1/pipeline_stats",
    "/telemetry/proxy/",
    "/dogstatsd/v1/proxy",
    "/dogstatsd/v2/proxy",
];

#[test]
fn it_lists_what_is_on_with_the_real_ports() {
    let program = open().set("env", "prod").set("apm_config.max_payload_size", 12_345).start();
    let mut client = Client::of(&program);
    let answer = client.get("/info");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let page = answer.json();
    let port: u16 = super::client::address(&program).rsplit_once(':').unwrap().1.parse().unwrap();
    let expect = json!({
        "version": env!("CARGO_PKG_VERSION"), "git_commit": "", "endpoints": LISTED,
        "client_drop_p0s": true, "span_meta_structs": false, "long_running_spans": false,
        "span_events": false, "evp_proxy_allowed_headers": [], "peer_tags": [],
        "config": {"default_env": "prod", "receiver_port": port, "max_request_bytes": 12_345,
            "statsd_port": program.udp_address().port()},
    });
    assert_eq!(page, expect);
    assert_eq!(client.get("/info?x=1").body, answer.body);
    assert_eq!(client.get("/info/").body, answer.body);
    assert_eq!(client.request("PUT", "/info", "", "").status, 405);
    let state = answer.header("datadog-agent-state").unwrap();
    assert_eq!(answer.header("datadog-agent-version"), Some(env!("CARGO_PKG_VERSION")));
    assert!(state.len() == 64 && state.bytes().all(|digit| b"0123456789abcdef".contains(&digit)));
    // The same on every route of an Agent, also in trouble, and on none of the API.
    for (path, status) in [("/v0.4/traces", 200), ("/v0.4/nothing", 404), ("/info", 405)] {
        let answer = client.post(path, "[]");
        assert_eq!((answer.status, answer.header("datadog-agent-state")), (status, Some(state)));
    }
    let answer = client.post("/api/v2/nothing", "[]");
    assert_eq!((answer.status, answer.header("datadog-agent-state")), (404, None));
}

#[test]
fn what_is_off_is_neither_listed_nor_there() {
    for (key, listed, path) in [
        ("doors_traces", &["/v0.3/traces", "/v0.4/traces", "/v0.5/traces"][..], "/v0.4/traces"),
        ("doors_stats", &["/v0.6/stats"], "/v0.6/stats"),
        ("doors_data_streams", &["/v0.1/pipeline_stats"], "/v0.1/pipeline_stats"),
        ("doors_telemetry", &["/telemetry/proxy/"], "/telemetry/proxy/api/v2/apmtelemetry"),
        ("doors_dogstatsd", &["/dogstatsd/v1/proxy", "/dogstatsd/v2/proxy"], "/dogstatsd/v2/proxy"),
        ("doors_api", &[], "/api/v1/series"),
    ] {
        let program = open().set(key, "off").start();
        let mut client = Client::of(&program);
        let page = client.get("/info").json();
        let left: Vec<&str> = LISTED.into_iter().filter(|path| !listed.contains(path)).collect();
        assert_eq!(page["endpoints"], json!(left), "{key}");
        assert_eq!(page["client_drop_p0s"], key != "doors_stats", "{key}");
        // Off is off for every method.
        for method in ["POST", "GET"] {
            let answer = client.request(method, path, "", "[]");
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (404, r#"{"errors":["Not found"]}"#),
                "{key}"
            );
        }
    }
    let program = open().set("apm_config.telemetry.enabled", "false").start();
    let page = Client::of(&program).get("/info").json();
    assert!(!page["endpoints"].as_array().unwrap().contains(&json!("/telemetry/proxy/")));
}

#[test]
fn a_reload_that_changes_it_changes_the_state() {
    let mut setup = opened(Setup::bare().set("output", "none")).env("WHIPPET_DOORS", "true");
    setup.change("env", "before");
    let setup = setup.in_file();
    let program = setup.start();
    let mut client = Client::of(&program);
    let before = client.get("/info");
    assert_eq!(before.json()["config"]["default_env"], "before");
    let mut setup = setup;
    setup.change("env", "after");
    setup.write();
    program.signal("HUP");
    let after = until("the new environment", || {
        let answer = client.get("/info");
        (answer.json()["config"]["default_env"] == "after").then_some(answer)
    });
    let state =
        |answer: &super::client::Answer| answer.header("datadog-agent-state").unwrap().to_owned();
    assert_ne!(state(&before), state(&after));
    assert_eq!(state(&client.post("/v0.4/traces", "[]")), state(&after));
}
