//! What the doors send on: byte for byte, with the headers of an Agent, to every endpoint, and counted.

use super::post::{self, Socket};
use crate::support::intake::{Answer, Intake, Request};
use crate::support::program::{KEY, Program, Setup};
use std::net::TcpListener;

const STREAMS: &str = "/v0.1/pipeline_stats";
const STREAMS_ON: &str = "/api/v0.1/pipeline_stats";
const TELEMETRY: &str = "/telemetry/proxy/api/v2/apmtelemetry";
const TELEMETRY_ON: &str = "/api/v2/apmtelemetry";

/// Sends both routes on to that intake, with a backoff that tests can wait for.
fn forwarding(metrics: &Intake, vendor: &str, mode: &str) -> Setup {
    post::open(Setup::posting_to(metrics))
        .set("doors_data_streams", mode)
        .set("doors_telemetry", mode)
        .set("apm_config.apm_dd_url", vendor)
        .set("apm_config.telemetry.dd_url", vendor)
        .set("forwarder_backoff_base", 0.05)
        .set("forwarder_backoff_max", 0.2)
        .set("env", "prod")
}

fn started(setup: &Setup) -> (Program, Socket) {
    let program = setup.start();
    let socket = Socket::of(setup);
    socket.wait();
    (program, socket)
}

/// Name and value of every header but the ones that HTTP itself needs, sorted.
fn headers(request: &Request) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.clone()))
        .filter(|(name, _)| !["host", "content-length"].contains(&&**name))
        .collect();
    headers.sort();
    headers
}

fn sorted(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> =
        rows.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    rows.sort();
    rows
}

#[test]
fn bodies_go_on_byte_for_byte_with_the_headers_of_an_agent() {
    let (metrics, vendor) = (Intake::start(), Intake::start());
    let setup = forwarding(&metrics, &vendor.url(), "both");
    let (program, socket) = started(&setup);
    let version = env!("CARGO_PKG_VERSION");
    let via = format!("whippet {version}");
    // Still in its gzip.
    let (_, streams) = post::as_sent("py3/data-streams");
    assert_eq!(streams[..2], [0x1f, 0x8b]);
    let sent = [
        ("Content-Type", "application/msgpack"),
        ("Content-Encoding", "gzip"),
        ("Datadog-Meta-Lang", "python"),
        ("DD-API-KEY", "of-the-client"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Connection", "x-hop"),
        ("Proxy-Authorization", "secret"),
        ("Via", "1.1 someone"),
        ("X-Custom", "kept"),
    ];
    assert_eq!(socket.post(STREAMS, &sent, &streams), (200, "{}".to_owned()));
    let telemetry = br#"{"api_version":"v2","request_type":"app-heartbeat","tracer_time":1,"runtime_id":"r","seq_id":1,"application":{"service_name":"shop","language_name":"python","tracer_version":"4"},"host":{"hostname":"h"},"payload":{}}"#;
    let sent = [
        ("User-Agent", "telemetry/7"),
        ("Datadog-Container-ID", "abc"),
        ("DD-Agent-Env", "forged"),
    ];
    assert_eq!(socket.post(TELEMETRY, &sent, telemetry), (200, "{}".to_owned()));
    vendor.wait_until(|state| state.requests.len() == 2);
    vendor.read(|state| {
        let request = state.requests_to(STREAMS_ON)[0];
        assert_eq!((request.method.as_str(), &request.body), ("POST", &streams));
        let tags = format!("host:web-1,default_env:prod,agent_version:{version}");
        let expect = [
            ("content-type", "application/msgpack"),
            ("content-encoding", "gzip"),
            ("datadog-meta-lang", "python"),
            ("dd-api-key", KEY),
            ("via", &via),
            ("x-custom", "kept"),
            ("x-datadog-additional-tags", &tags),
        ];
        assert_eq!(headers(request), sorted(&expect));
        let request = state.requests_to(TELEMETRY_ON)[0];
        assert_eq!(request.body, telemetry);
        let expect = [
            ("datadog-container-id", "abc"),
            ("dd-agent-env", "prod"),
            ("dd-agent-hostname", "web-1"),
            ("dd-api-key", KEY),
            ("user-agent", "telemetry/7"),
            ("via", &via),
        ];
        assert_eq!(headers(request), sorted(&expect));
    });
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    for secret in [KEY, "of-the-client"] {
        assert!(!ended.stderr.contains(secret));
    }
    // Both: recorded, too.
    metrics.read(|state| {
        assert!(!state.series("data_streams.throughput", &[]).is_empty());
        assert!(!state.series("whippet.telemetry.runtimes", &[]).is_empty());
    });
}

#[test]
fn forward_reads_a_body_and_records_nothing() {
    let (metrics, vendor) = (Intake::start(), Intake::start());
    let setup = forwarding(&metrics, &vendor.url(), "forward");
    let (program, socket) = started(&setup);
    let (sent, body) = post::as_sent("py3/data-streams");
    assert_eq!(socket.send("POST", STREAMS, &sent, &body).0, 200);
    assert_eq!(socket.post(STREAMS, &[], b"\xc1").0, 400);
    assert_eq!(socket.post(TELEMETRY, &[], b"no json").0, 400);
    vendor.wait_until(|state| state.requests.len() == 1);
    assert_eq!(program.terminate().code(), Some(0));
    vendor.read(|state| assert_eq!(state.requests.len(), 1));
    metrics.read(|state| assert_eq!(state.all_series().count() + state.sketches.len(), 0));
}

#[test]
fn failures_are_repeated_and_refusals_are_not() {
    let (metrics, vendor) = (Intake::start(), Intake::start());
    let setup = forwarding(&metrics, &vendor.url(), "forward").set("admin_address", "127.0.0.1:0");
    let (program, socket) = started(&setup);
    vendor.script([
        Answer::status(503),
        Answer::status(429),
        Answer::cut(),
        Answer::status(202),
        Answer::status(403),
    ]);
    let (sent, body) = post::as_sent("py3/data-streams");
    for _ in 0..3 {
        assert_eq!(socket.send("POST", STREAMS, &sent, &body).0, 200);
    }
    // One three times in vain, then accepted; one refused; one accepted.
    vendor.wait_until(|state| state.requests_to(STREAMS_ON).len() >= 6);
    let counted = |name: &str, reason: &str| {
        let (_, metrics) = program.get("/metrics");
        let wanted = |line: &&str| {
            line.starts_with(name) && line.contains("data_streams") && line.contains(reason)
        };
        let number = |line: &str| line.rsplit(' ').next().and_then(|n| n.parse::<f64>().ok());
        metrics.lines().filter(wanted).filter_map(number).sum::<f64>()
    };
    let until = std::time::Instant::now() + crate::support::program::PATIENCE;
    while counted("whippet_doors_forwarded_total", "") < 2.0 {
        assert!(std::time::Instant::now() < until, "{}", program.get("/metrics").1);
        std::thread::yield_now();
    }
    assert_eq!(counted("whippet_doors_forwarded_total", ""), 2.0);
    assert_eq!(counted("whippet_doors_dropped_total", "rejected"), 1.0);
    assert_eq!(program.terminate().code(), Some(0));
    vendor.read(|state| {
        let bodies: Vec<&Vec<u8>> = state.requests.iter().map(|request| &request.body).collect();
        assert_eq!(bodies, vec![&body; bodies.len()]);
    });
}

#[test]
fn every_endpoint_gets_a_copy_with_its_own_key() {
    let (metrics, vendor, other) = (Intake::start(), Intake::start(), Intake::start());
    let more = |intake: &Intake, keys: &str| format!(r#"{{"{}":[{keys}]}}"#, intake.url());
    let setup = forwarding(&metrics, &vendor.url(), "forward")
        .env(
            "DD_APM_ADDITIONAL_ENDPOINTS",
            more(&other, r#""first-key-of-other","second-key-of-other""#),
        )
        .env("DD_APM_TELEMETRY_ADDITIONAL_ENDPOINTS", more(&other, r#""telemetry-key-of-other""#));
    let (program, socket) = started(&setup);
    let (sent, body) = post::as_sent("py3/data-streams");
    assert_eq!(socket.send("POST", STREAMS, &sent, &body).0, 200);
    let (sent, body) = post::as_sent("py4/telemetry-app-heartbeat");
    assert_eq!(socket.send("POST", TELEMETRY, &sent, &body).0, 200);
    vendor.wait_until(|state| state.requests.len() == 2);
    other.wait_until(|state| state.requests.len() == 3);
    let keys = |intake: &Intake, path: &str| {
        intake.read(|state| {
            let requests = state.requests_to(path);
            let mut keys: Vec<String> =
                requests.iter().map(|request| request.header("dd-api-key").to_owned()).collect();
            keys.sort();
            keys
        })
    };
    assert_eq!(keys(&vendor, STREAMS_ON), [KEY]);
    assert_eq!(keys(&vendor, TELEMETRY_ON), [KEY]);
    assert_eq!(keys(&other, STREAMS_ON), ["first-key-of-other", "second-key-of-other"]);
    assert_eq!(keys(&other, TELEMETRY_ON), ["telemetry-key-of-other"]);
    let ended = program.terminate();
    assert!(!ended.stderr.contains("key-of-other"));
}

#[test]
fn an_outage_costs_no_answer_and_the_oldest_go_when_the_queue_is_full() {
    let metrics = Intake::start();
    // Nothing listens there.
    let unused = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    let setup = forwarding(&metrics, &format!("http://{unused}"), "forward")
        .set("forwarder_backoff_base", 20)
        .set("forwarder_backoff_max", 40)
        .set("admin_address", "127.0.0.1:0");
    let (program, socket) = started(&setup);
    // A body that a door takes, of 3 MiB: five fit into the queue.
    let filler = "x".repeat(3 << 20);
    let body = format!(
        r#"{{"api_version":"v2","request_type":"app-heartbeat","tracer_time":1,"runtime_id":"r","seq_id":1,"application":{{"service_name":"shop","language_name":"python","tracer_version":"4"}},"host":{{"hostname":"h"}},"payload":{{}},"filler":"{filler}"}}"#
    );
    for _ in 0..8 {
        assert_eq!(socket.post(TELEMETRY, &[], body.as_bytes()).0, 200);
    }
    let (_, pages) = program.get("/metrics");
    let full = pages.lines().find(|line| {
        line.starts_with("whippet_doors_dropped_total")
            && line.contains("queue_full")
            && line.contains("telemetry")
    });
    assert!(full.is_some_and(|line| line.ends_with(" 3")), "{full:?}");
    let ended = program.terminate();
    assert!(ended.stderr.contains("dropped the"), "{}", ended.stderr);
}

#[test]
fn what_waits_gets_one_more_attempt_at_the_end() {
    let (metrics, vendor) = (Intake::start(), Intake::start());
    let setup = forwarding(&metrics, &vendor.url(), "forward")
        .set("forwarder_backoff_base", 20)
        .set("forwarder_backoff_max", 40);
    let (program, socket) = started(&setup);
    vendor.script([Answer::status(503)]);
    let (sent, body) = post::as_sent("py3/data-streams");
    for _ in 0..2 {
        assert_eq!(socket.send("POST", STREAMS, &sent, &body).0, 200);
    }
    vendor.wait_until(|state| state.requests.len() == 1);
    assert_eq!(program.terminate().code(), Some(0));
    vendor.read(|state| {
        let statuses: Vec<u16> = state.requests.iter().map(|request| request.status).collect();
        assert_eq!(statuses, [503, 202, 202]);
    });
}

/// Clients are answered as ever, but what would leave the machine is counted and stays.
#[test]
fn nothing_is_forwarded_when_the_output_sends_nothing() {
    for output in ["none", "dry-run"] {
        let (metrics, vendor) = (Intake::start(), Intake::start());
        let setup = forwarding(&metrics, &vendor.url(), "forward")
            .set("output", output)
            .set("admin_address", "127.0.0.1:0");
        let (program, socket) = started(&setup);
        let said = format!(
            "output: {output} sends nothing to the vendor, so nothing is forwarded for \
             doors_data_streams, doors_telemetry; it is counted as dropped (output)"
        );
        program.logs(&said);
        let (sent, body) = post::as_sent("py3/data-streams");
        for _ in 0..2 {
            assert_eq!(socket.send("POST", STREAMS, &sent, &body).0, 200);
        }
        let (_, page) = program.get("/metrics");
        let counted = |metric: &str, reason: &str| {
            page.lines().any(|line| {
                line.starts_with(metric)
                    && line.contains("route=\"data_streams\"")
                    && line.contains(reason)
                    && line.ends_with(" 2")
            })
        };
        assert!(counted("whippet_doors_dropped_total", "reason=\"output\""), "{page}");
        assert!(counted("whippet_doors_recorded_total", ""), "{page}");
        let ended = program.terminate();
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches("so nothing is forwarded").count(), 1);
        assert!(vendor.read(|state| state.requests.is_empty()), "{output} sends");
        assert!(metrics.read(|state| state.requests.is_empty()), "{output} posts");
    }
}

#[test]
fn without_a_key_it_does_not_start_and_says_what_to_do() {
    for key in ["doors_data_streams", "doors_telemetry", "doors_stats"] {
        let setup = post::open(Setup::bare()).set("output", "console").set(key, "both");
        let ended = setup.run();
        assert_ne!(ended.code(), Some(0));
        assert!(
            ended.stderr.contains(key) && ended.stderr.contains("DD_API_KEY"),
            "{}",
            ended.stderr
        );
    }
}
