//! What arrived a second ago is in every answer, long before it is flushed.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::server;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a number"))
}

/// Regression: lines were in no answer before their bucket was flushed, up to 10 s later.
#[test]
fn lines_count_before_the_first_flush() {
    // A bucket that the test never sees the end of, unless it begins within seconds of it.
    let program = server(&[("interval", "3600")]);
    program.udp("a:1|c\nb:2|g\nbad");
    let status = program.wait_json("/status", |status| number(&status["lines"]["received"]) > 0);
    assert_eq!(status["lines"]["received"], 3, "{status:#}");
    assert_eq!(status["lines"]["recorded"]["total"], 2);
    assert_eq!(status["lines"]["refused"]["total"], 1);
    assert_eq!((&status["lines_open"], &status["flushes"]), (&3.into(), &0.into()));
    assert_eq!(status["contexts"]["new"], 2);
    assert_eq!(status["last_flush_seconds"], Value::Null);
    assert!(status["lines_per_second"].as_f64() > Some(0.0), "{status:#}");
    let udp = status["listeners"].as_array().unwrap();
    let udp = udp.iter().find(|listener| number(&listener["datagrams"]) > 0).unwrap();
    assert_eq!((&udp["datagrams"], &udp["lines"]["received"]), (&1.into(), &3.into()));
    // What whippet flushed is what it was before: nothing.
    assert_eq!(status["agent"]["aggregator"]["NumberOfFlush"], 0);
    let (_, page) = program.get("/metrics");
    for line in ["whippet_lines_received_total 3", "whippet_lines_recorded_total 2"] {
        assert!(page.lines().any(|found| found == line), "{line:?} is missing:\n{page}");
    }
    let shown = program.says(&["status"]);
    let lines = "  3 received = 2 recorded + 1 refused (missing_type 1) + 0 dropped\n";
    for text in [lines, "  3 of them since the last flush\n", ", no flush yet, memory "] {
        assert!(shown.contains(text), "{text:?} is missing:\n{shown}");
    }
}

#[test]
fn the_balance_holds_and_no_counter_falls_while_buckets_close() {
    let program = server(&[]);
    let (mut sent, mut last) = (0, 0);
    let until = Instant::now() + Duration::from_millis(2_500);
    while Instant::now() < until {
        program.udp("a:1|c\nbad\nc:1|c");
        sent += 3;
        let status = program.json("/status");
        let received = number(&status["lines"]["received"]);
        assert_eq!(status["lines"]["balances"], true, "{status:#}");
        assert!((last..=sent).contains(&received), "{received} after {last}, {sent} sent");
        let of_listeners = status["listeners"].as_array().unwrap().iter();
        let of_listeners: u64 = of_listeners.map(|of| number(&of["lines"]["received"])).sum();
        assert_eq!(of_listeners, received, "{status:#}");
        last = received;
    }
    let status = program.wait_lines(sent);
    assert_eq!((&status["lines"]["received"], &status["lines_open"]), (&sent.into(), &0.into()));
    assert!(status["last_flush_seconds"].as_f64() < Some(5.0), "{status:#}");
    let ended = program.terminate();
    assert_eq!(ended.lines().received, sent);
}

#[test]
fn the_process_and_the_build_are_in_the_metrics() {
    let program = server(&[]);
    let (_, page) = program.get("/metrics");
    let value = |name: &str| -> f64 {
        let line = page.lines().find(|line| line.split(' ').next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("{name} is missing:\n{page}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    assert!(value("process_cpu_seconds_total") > 0.0);
    assert!(value("process_open_fds") > 3.0);
    assert!(value("process_open_fds") < value("process_max_fds"));
    assert!(value("process_start_time_seconds") > 1.7e9);
    let build = page.lines().find(|line| line.starts_with("whippet_build_info{")).unwrap();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(build.contains(&version) && build.ends_with(" 1"), "{build}");
}
