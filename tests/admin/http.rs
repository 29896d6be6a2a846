use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::Value;

use super::server::server;
use crate::support::decode;
use crate::support::intake::{Answer, Intake};
use crate::support::program::get;

#[test]
fn probes_answer_in_the_shape_of_the_agent() {
    let program = server(&[("health_port", "__random__")]);
    let health = program.log_word("health ");
    for path in ["/live", "/ready", "/startup"] {
        for address in [&program.admin(), &health] {
            let (status, body) = get(address, path);
            let verdict: Value = serde_json::from_str(&body).unwrap();
            assert_eq!((status, &verdict["Unhealthy"]), (200, &serde_json::json!([])), "{path}");
            assert!(!verdict["Healthy"].as_array().unwrap().is_empty(), "{path}");
        }
    }
    assert_eq!(get(&health, "/status").0, 404);
}

#[test]
fn readiness_depends_on_a_key_that_is_accepted() {
    let intake = Intake::start();
    intake.validate_with(Answer::status(403));
    let program = server(&[
        ("output", "datadog"),
        ("dd_url", &intake.url()),
        ("api_key", "0123456789abcdef0123456789abcdef"),
        ("forwarder_apikey_validation_interval", "60"),
    ]);
    program.log_line(|line| line.contains("is refused (403)"));
    let (status, body) = program.get("/ready");
    assert_eq!(status, 500, "{body}");
    assert!(body.contains(r#""Unhealthy":["forwarder"]"#), "{body}");
    assert_eq!(program.get("/live").0, 200);
    let refused = format!("whippet_api_key_refused{{endpoint=\"{}\"}} 1\n", intake.address());
    let metrics = program.get("/metrics").1;
    assert!(metrics.contains(&refused), "{refused}{metrics}");
}

#[test]
fn the_line_counts_balance_and_name_every_reason() {
    let program = server(&[]);
    program.udp("a:1|c\nb:2|g|#x:y\n_e{1,1}:t|u\n_sc|check|0\nbad\nn:1|c|@x\nh:1|h|T1\ng:nan|g");
    let status = program.wait_lines(8);
    let lines = &status["lines"];
    assert_eq!(lines["received"], 8);
    assert_eq!(
        lines["recorded"],
        serde_json::json!({"total": 4, "metrics": 2, "events": 1, "service_checks": 1})
    );
    assert_eq!(
        lines["refused"],
        serde_json::json!({"total": 2, "reasons": {"missing_type": 1, "bad_rate": 1}})
    );
    assert_eq!(
        lines["dropped"],
        serde_json::json!({"total": 2, "reasons": {"non_finite": 1, "timestamp_unsupported": 1}})
    );
    assert_eq!(lines["balances"], true);
    assert_eq!(status["identity"]["hostname"], "test-host");
    assert_eq!(status["identity"]["hostname_origin"], "hostname");
    assert_eq!(status["listeners"][0]["datagrams"], 1);
    assert_eq!(status["contexts"]["by_kind"]["counter"], 1);
    assert_eq!(status["contexts"]["by_kind"]["gauge"], 1);
}

#[test]
fn metrics_carry_the_names_of_the_agent_and_limits_beside_their_usage() {
    let program = server(&[("contexts_max", "500"), ("metric_filterlist", "gone")]);
    program.udp("a:1|c\nb:2|g\nbad\ngone:1|c\nh:1|h|T1");
    program.wait_lines(5);
    assert!(program.json("/debug/vars")["aggregator"]["SeriesFlushed"].as_u64() >= Some(2));
    let (status, page) = program.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        "dogstatsd__udp_packets{state=\"ok\"} 1",
        "dogstatsd__udp_packets_bytes 33",
        "dogstatsd__processed{message_type=\"metrics\",state=\"ok\",origin=\"\"} 2",
        "dogstatsd__processed{message_type=\"metrics\",state=\"error\",origin=\"\"} 1",
        "dogstatsd__listener_filtered_points 1",
        "no_aggregation__processed{state=\"unsupported_type\"} 1",
        "aggregator__dogstatsd_contexts{shard=\"\"} 2",
        "aggregator__dogstatsd_contexts_by_mtype{shard=\"\",metric_type=\"gauge\"} 1",
        "aggregator__flush{data_type=\"events\",state=\"ok\"} 0",
        "whippet_lines_received_total 5",
        "whippet_lines_refused_total{reason=\"missing_type\"} 1",
        "whippet_limit_used{limit=\"contexts_max\"} 2",
        "whippet_limit_max{limit=\"contexts_max\"} 500",
    ] {
        assert!(page.lines().any(|found| found == line), "no {line} in\n{page}");
    }
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    let families: Vec<&str> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let unique: std::collections::HashSet<&&str> = families.iter().collect();
    assert_eq!(families.len(), unique.len(), "a family appears twice");
    assert_eq!(program.json("/debug/vars")["dogstatsd"]["MetricPackets"], 4);
}

#[test]
fn payload_counts_show_per_endpoint_what_waits_and_how_long_there_is_room() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let program = server(&[
        ("output", "datadog"),
        ("dd_url", &intake.url()),
        ("api_key", "0123456789abcdef0123456789abcdef"),
        ("self_telemetry", "false"),
    ]);
    program.udp("a:1|c");
    let status = program.wait_json("/status", |status| {
        status["payloads"]["endpoints"][0]["routes"]["series_v2"]["statuses"]["503"].as_u64()
            > Some(0)
    });
    let agent = &status["agent"]["forwarder"];
    assert_eq!(agent["Transactions"]["RetryQueueSize"], 1);
    assert!(agent["Transactions"]["Errors"].as_u64() > Some(0), "{agent}");
    assert!(agent["APIKeyStatus"]["API key ending with bcdef"].is_string(), "{agent}");
    let shown = program.says(&["status"]);
    assert!(shown.contains("  Transactions\n  ============\n    Dropped: 0\n"), "{shown}");
    let endpoint = &status["payloads"]["endpoints"][0];
    assert_eq!(endpoint["key"], "*****bcdef", "{endpoint:#}");
    assert!(endpoint["waiting"]["payloads"].as_u64() >= Some(1), "{endpoint:#}");
    assert!(endpoint["queue_full_in_seconds"].as_u64() > Some(0), "{endpoint:#}");
    assert!(endpoint["queue_bytes_max"].as_u64() > Some(0));
    assert_eq!(status["payloads"]["balances"], true);
    intake.respond(Answer::status(202));
    let (_, page) = program.get("/metrics");
    assert!(page.contains("state=\"waiting\""), "{page}");
    for name in ["whippet_flush_duration_seconds", "whippet_request_duration_seconds"] {
        let sample = |suffix: &str| {
            let start = format!("{name}{suffix}");
            let line = page.lines().find(|line| line.starts_with(&start));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        };
        assert!(page.contains(&format!("# TYPE {name} summary\n")), "{page}");
        assert!(sample("_count") >= Some(1.0), "{page}");
        assert!(
            sample("{").is_some_and(|median| median <= sample("_sum").unwrap() * 1.02),
            "{page}"
        );
    }
    assert!(status["flush_seconds"]["max"].as_f64() > Some(0.0), "{status:#}");
    assert!(!page.contains("0123456789abcdef"));
    assert!(!status.to_string().contains("0123456789abcdef"));
}

#[test]
fn the_contexts_dump_is_what_the_agent_reads() {
    let program = server(&[("dogstatsd_tags", "team:x")]);
    program.udp("a:1|c|#k:v,bare\nb:2|d|#host:other");
    program.wait_lines(2);
    let (status, dump) = program.get("/contexts");
    assert_eq!(status, 200);
    let mut rows: Vec<Value> =
        dump.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    rows.sort_by_key(|row| row["Name"].to_string());
    assert_eq!(
        rows,
        [
            serde_json::json!({"Name":"a","Host":"test-host","Type":"Counter","TaggerTags":[],"MetricTags":["k:v","bare","team:x"],"NoIndex":false,"Source":1}),
            serde_json::json!({"Name":"b","Host":"other","Type":"Distribution","TaggerTags":[],"MetricTags":["team:x"],"NoIndex":false,"Source":1}),
        ]
    );
    let mut stream = TcpStream::connect(program.admin()).unwrap();
    write!(stream, "GET /contexts.zstd HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let plain = decode::decompress("zstd", &answer[body..]).unwrap();
    let line_count = plain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    assert_eq!(line_count, 2);
}

#[test]
fn an_address_in_use_is_logged_and_the_server_continues() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let program = server(&[("health_port", &taken.local_addr().unwrap().port().to_string())]);
    let line = program.log_line(|line| line.contains("health off"));
    assert!(line.contains(&address) && line.contains("set health_port"), "{line}");
    program.udp("a:1|c");
    program.wait_lines(1);
}

#[test]
fn skipped_entries_show_as_a_degraded_state() {
    let program = server(&[("histogram_percentiles", "0.95 nonsense")]);
    let status = program.json("/status");
    assert_eq!(status["config"]["degraded"], true, "{:#}", status["config"]);
    assert!(status["config"]["warnings"].to_string().contains("nonsense"));
}

#[test]
fn a_unix_socket_serves_the_same_and_is_gone_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let program = server(&[("admin_address", path.to_str().unwrap())]);
    assert_eq!(program.admin(), path.to_str().unwrap());
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    write!(stream, "GET /live HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(program.says(&["health"]).starts_with("healthy: "));
    program.end();
    assert!(!path.exists());
}

fn metrics_in(rules: &str) -> std::collections::BTreeSet<&str> {
    let words = rules.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("whippet_")).collect()
}

/// A rule about a metric that does not exist never fires, and nobody notices.
#[test]
fn the_alert_rules_name_metrics_and_labels_that_exist() {
    let intake = Intake::start();
    let program = server(&[
        ("output", "datadog"),
        ("dd_url", &intake.url()),
        ("api_key", "0123456789abcdef0123456789abcdef"),
    ]);
    program.udp("a:1|c");
    program.wait_lines(1);
    intake.wait_until(|state| !state.requests.is_empty());
    let (_, page) = program.get("/metrics");
    let prometheus = include_str!("../../dist/prometheus/whippet.rules.yaml");
    let names = metrics_in(prometheus);
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("# TYPE {name} ")), "no {name} in\n{page}");
    }
    // Those of the global tier appear only where it is on: in the table that the page is made of.
    let names = metrics_in(include_str!("../../dist/prometheus/whippet-global.rules.yaml"));
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let table = include_str!("../../src/admin/global_metrics.rs");
        assert!(table.contains(&format!("\"{name}\"")), "no {name} in the table");
    }
    for label in ["whippet_limit_max{limit=\"contexts_max\"}", "state=\"waiting\""] {
        assert!(
            prometheus.contains(label.split('{').next().unwrap()) && page.contains(label),
            "{label}"
        );
    }
}
