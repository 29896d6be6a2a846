use std::net::TcpListener;

use serde_json::Value;

use super::server::server;
use crate::support::program::whippet;

#[test]
fn status_reads_as_in_the_agent_and_shows_the_accounting() {
    let program = server(&[]);
    program.udp("a:1|c\nb:2|g\nbad\n_e{1,1}:t|u");
    program.wait_lines(4);
    let shown = program.says(&["status"]);
    for line in [
        "=========\nDogStatsD\n=========",
        "  Event Packets: 1",
        "  Metric Packets: 2",
        "  Metric Parse Errors: 1",
        "  Udp Bytes: 27",
        "  Udp Packets: 1",
        "  Uds Origin Detection Errors: 0",
        "  Dogstatsd Metric Sample: 2",
        "  4 received = 3 recorded + 1 refused (missing_type 1) + 0 dropped",
        "  2 contexts: counter 1, gauge 1",
        "  kernel drops: 0",
    ] {
        assert!(shown.contains(&format!("{line}\n")), "no {line:?} in\n{shown}");
    }
    assert!(shown.contains("  Number Of Flushes: "), "{shown}");
    assert!(shown.contains("host test-host (from hostname)"), "{shown}");
    let json: Value = serde_json::from_str(&program.says(&["status", "--json"])).unwrap();
    assert_eq!(json["lines"]["received"], 4);
}

#[test]
fn without_a_server_the_commands_say_so_and_fail() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for command in ["status", "stats", "top", "tap"] {
        let output =
            whippet().args([command, "--set", &format!("admin_address={free}")]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(&format!("no whippet answers at {free}")), "{errors}");
    }
}

#[test]
fn stats_count_what_was_sent_per_metric_and_tags() {
    let program = server(&[("dogstatsd_metrics_stats_enable", "true")]);
    program.udp("a:1|c|#x:1,y:2\na:1|c|#x:1,y:2\nb:1:2:3|g\nbad");
    program.wait_lines(4);
    let stats = program.json("/stats");
    let row = &stats["a|x:1,y:2"];
    assert_eq!(
        (&row["name"], &row["tags"], &row["count"]),
        (&"a".into(), &"x:1 y:2".into(), &2.into())
    );
    assert!(row["last_seen"].as_str().unwrap().ends_with('Z'), "{row}");
    assert_eq!(stats.as_object().unwrap().len(), 2, "{stats:#}");
    let table = program.says(&["stats"]);
    let lines: Vec<Vec<&str>> =
        table.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    assert_eq!(lines[0], ["Metric", "Tags", "Count", "Last Seen"]);
    assert_eq!(lines[2][..3], ["a", "x:1 y:2", "2"]);
    assert_eq!(lines[3][..3], ["b", "", "1"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    program.says(&["stats", "-j", "-o", file.path().to_str().unwrap()]);
    let json: Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
    assert_eq!(json, stats);
}

#[test]
fn stats_count_for_a_while_where_they_are_not_kept() {
    let program = server(&[]);
    program.udp("before:1|c");
    program.wait_lines(1);
    let refused = program.run(&["stats"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("dogstatsd_metrics_stats_enable"));
    let counted = std::thread::scope(|scope| {
        let asked = scope.spawn(|| program.says(&["stats", "--for", "1", "--json"]));
        while !asked.is_finished() {
            program.udp("during:1|c");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        asked.join().unwrap()
    });
    let json: Value = serde_json::from_str(&counted).unwrap();
    assert!(json["during|"]["count"].as_u64() > Some(0), "{json}");
    assert!(json.get("before|").is_none(), "{json}");
}

#[test]
fn a_dump_of_the_contexts_can_be_ranked() {
    let program = server(&[]);
    program.udp(
        "request.count:1|c|#env:prod,service:web\nrequest.count:1|c|#env:dev,service:web\ng:1|g",
    );
    program.wait_lines(3);
    let folder = tempfile::tempdir().unwrap();
    let run_path = format!("run_path={}", folder.path().display());
    let path = program.says(&["dump-contexts", "--set", &run_path]);
    let path = path.trim_end();
    assert_eq!(path, folder.path().join("whippet/dogstatsd_contexts.json.zstd").to_str().unwrap());
    assert!(std::fs::read(path).unwrap().starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    assert_eq!(
        program.says(&["top", "-p", path, "-m", "1"]),
        "   Contexts\tMetric name\t(number of unique values for each tag)\n\
         \u{20}         2\trequest.count\t(2 env, 1 service)\n\
         \u{20}         1\t(other 1 metrics)\n"
    );
}

#[test]
fn health_is_an_exit_code() {
    let program = server(&[]);
    assert!(program.says(&["health"]).starts_with("healthy: lane-0, "));
    let intake = crate::support::intake::Intake::start();
    intake.validate_with(crate::support::intake::Answer::status(403));
    let program = server(&[
        ("output", "datadog"),
        ("dd_url", &intake.url()),
        ("api_key", "0123456789abcdef0123456789abcdef"),
        ("forwarder_apikey_validation_interval", "60"),
    ]);
    program.log_line(|line| line.contains("is refused (403)"));
    let output = program.run(&["health"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "whippet: unhealthy: forwarder\n");
}
