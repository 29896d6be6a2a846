//! What people and scripts read: the console, JSON lines, logs.

use crate::support::intake::{Answer, Intake};
use crate::support::program::Setup;

#[test]
fn the_first_minute_reads_as_promised() {
    let program = Setup::bare().set("interval", 2).set("dogstatsd_expiry_seconds", 5).start();
    let port = program.udp_address().port();
    program.udp("x:1|c");
    program.logs_until(|log| log.contains("new  x counter, first flush "));
    // Through a pipe, without waiting for the end.
    program.prints_until(|table| table.contains("idle counter"));
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0));
    let mut tables = ended.stdout.lines();
    let (time, first) = tables.next().expect("a table").split_once("  ").expect("a time");
    assert!(time.len() == 8 && time.bytes().all(|b| b.is_ascii_digit() || b == b':'), "{time}");
    assert_eq!(first, "1 line = 1 recorded + 0 refused + 0 dropped; kernel drops 0");
    assert_eq!(tables.next(), Some("KIND     NAME  TAGS  IN 2 s  POSTED"));
    assert_eq!(tables.next(), Some("counter  x     -     1       rate 0.5/s"));
    let idle = tables.next().expect("another table");
    assert!(idle.contains("  nothing new (1 idle counter posts 0 until "), "{idle}");
    let logs: Vec<&str> = ended.stderr.lines().collect();
    let version = env!("CARGO_PKG_VERSION");
    let head = format!(
        "whippet {version}: no API key, printing to the console, posting nothing (set DD_API_KEY to post)"
    );
    assert_eq!(logs[0], head);
    let udp = format!("udp  127.0.0.1:{port} [::1]:{port}   receive buffer ");
    let try_it = format!("try  echo \"x:1|c\" | nc -u -w1 127.0.0.1 {port}");
    for start in
        [&*udp, &try_it, "uds  ", "new  x counter, first flush ", "SIGTERM stopping, at most 8 s"]
    {
        assert!(logs.iter().any(|line| line.starts_with(start)), "{start}: {}", ended.stderr);
    }
    let end = [
        "lines    1 received = 1 recorded + 0 refused + 0 dropped",
        "payloads none built (console only)",
    ];
    assert_eq!(logs[logs.len() - 2..], end);
}

#[test]
fn a_table_has_at_most_forty_rows_and_events_stand_in_it() {
    let program = Setup::bare().start();
    let gauges: Vec<String> = (0..50).map(|number| format!("g{number}:1|g")).collect();
    program.udp(gauges.join("\n"));
    program.udp("_e{5,4}:title|text\n_sc|up|2|m:bad\nd:1|d\nh:1|h");
    let ended = program.terminate();
    let rows = ended.stdout.lines().filter(|line| line.contains("  gauge 1")).count();
    assert!(rows <= 40, "{}", ended.stdout);
    assert!(ended.stdout.lines().any(|line| line.starts_with("… and ")), "{}", ended.stdout);
    let births = ended.stderr.lines().filter(|line| line.starts_with("new  ")).count();
    assert_eq!(births, 20);
}

#[test]
fn control_characters_never_reach_the_terminal() {
    let program = Setup::bare().start();
    program.udp(b"evil\x1b[2J:1|g|#\x07\nevil\x1b[2Jx|c\n_e{4,4}:a\x1b[b|te\x9bt");
    let ended = program.terminate();
    let all = ended.stdout + &ended.stderr;
    assert!(!all.contains(['\x1b', '\x07', '\u{9b}']), "{all:?}");
    assert!(all.contains("evil"), "{all}");
}

#[test]
fn json_lines_hold_everything_that_is_posted() {
    let setup = Setup::bare().env("WHIPPET_OUTPUT", "jsonl");
    let program = setup.start();
    program.udp("c:5|c|#a:b\nd:1|d\nd:2|d\n_e{5,4}:title|text\n_sc|up|2|m:bad");
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0));
    let lines: Vec<serde_json::Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let of = |kind: &str| {
        let found = lines.iter().find(|line| line["kind"] == kind);
        found.unwrap_or_else(|| panic!("no {kind}: {}", ended.stdout))
    };
    let series = of("series");
    assert_eq!((&series["metric"], &series["type"]), (&"c".into(), &"rate".into()));
    assert_eq!(series["points"][0][1], 0.5);
    assert_eq!((&series["tags"][0], &series["host"]), (&"a:b".into(), &"web-1".into()));
    let sketch = of("sketch");
    assert_eq!((&sketch["count"], &sketch["sum"]), (&2.into(), &3.0.into()));
    assert_eq!(of("event")["title"], "title");
    assert_eq!((&of("check")["status"], &of("check")["message"]), (&2.into(), &"bad".into()));
    assert_eq!(lines.len(), 4);
}

#[test]
fn json_lines_go_to_a_file_and_outputs_work_side_by_side() {
    let intake = Intake::start();
    let setup = Setup::posting_to(&intake);
    let path = setup.path("out.jsonl");
    let list = format!("console, jsonl:{}, datadog", path.display());
    let program = setup.env("WHIPPET_OUTPUT", list).start();
    program.udp("c:5|c");
    let ended = program.terminate();
    ended.balances();
    let file = std::fs::read_to_string(path).expect("written");
    assert!(file.contains(r#""metric":"c""#), "{file}");
    assert!(ended.stdout.contains("rate 0.5/s"), "{}", ended.stdout);
    intake.read(|state| assert_eq!(state.sum_of_counter("c", &[]), 5.0));
}

#[test]
fn without_an_output_payloads_are_built_and_not_sent() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).env("WHIPPET_OUTPUT", "none").start();
    program.udp("c:5|c\nd:1|d");
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0));
    assert!(ended.stderr.contains("payloads 2 built (2 points, "), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    intake.read(|state| assert!(state.requests.is_empty() && state.validations.is_empty()));
}

/// Every ended program is searched for its key; here it talks as much as it can.
#[test]
fn secrets_are_in_no_output() {
    let intake = Intake::start();
    intake.validate_with(Answer::status(403));
    intake.script([Answer::status(403), Answer::status(500), Answer::cut(), Answer::status(413)]);
    let program = Setup::posting_to(&intake)
        .set("interval", 1)
        .set("log_level", "trace")
        .set("log_payloads", true)
        .set("forwarder_backoff_base", 0.05)
        .set("forwarder_backoff_max", 0.1)
        .start();
    program.udp("c:5|c\nd:1|d\n_e{1,1}:a|b\n_sc|x|0");
    intake.wait_until(|state| state.sum_of_counter("c", &[]) == 5.0);
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0));
    assert!(ended.stderr.contains("DEBUG"), "{}", ended.stderr);
    let with_password = Setup::posting_to(&intake)
        .env("DD_PROXY_HTTP", "http://user:hunter2@127.0.0.1:9")
        .set("log_level", "trace")
        .set("aggregator_stop_timeout", 1)
        .set("forwarder_stop_timeout", 1);
    let program = with_password.start();
    program.udp("c:5|c");
    let ended = program.terminate();
    assert!(!(ended.stdout + &ended.stderr).contains("hunter2"));
}

#[test]
fn logs_for_machines_are_one_json_object_per_line() {
    let program = Setup::bare().set("log_format_json", true).spawn();
    program.logs_until(|log| log.contains("nc -u"));
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0));
    assert!(ended.stderr.lines().count() > 4);
    for line in ended.stderr.lines() {
        let json: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(json.is_object(), "{line}");
    }
}

#[test]
fn every_flush_is_logged_with_its_accounting_at_debug_level() {
    let program = Setup::bare().set("log_level", "debug").start();
    program.udp("a:1:2|c\njunk\na:nan|c");
    let ended = program.terminate();
    let counts = "3 lines = 1 recorded + 1 refused + 1 dropped [missing_type 1, non_finite 1], 2 values, 1 contexts, kernel drops 0";
    assert!(ended.stderr.contains(counts), "{}", ended.stderr);
}
