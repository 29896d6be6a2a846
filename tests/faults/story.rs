//! What an operator reads afterwards: when it was, how long it took, what it cost.

use serde_json::Value;

use super::setup::to_intake;
use crate::support::intake::{Answer, Intake};
use crate::support::program::{Setup, whippet};

/// Regression: the log said "delivering again", and not for how long and at what loss.
#[test]
fn the_end_of_an_outage_says_how_long_it_was_and_what_it_cost() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let program = to_intake(&intake).start();
    program.udp("c:1|c");
    program.logs("status 503");
    intake.respond(Answer::status(202));
    let line = program.logs("intake back after ");
    let (_, cost) = line.split_once(" s: ").expect("seconds");
    let (payloads, cost) = cost.split_once(" payloads (").expect("payloads");
    assert!(payloads.parse::<u64>().unwrap() >= 1, "{line}");
    assert!(cost.contains(" points) delivered, 0 lost"), "{line}");
    program.terminate().balances();
}

/// Regression: after a 403 nothing said that the key works again.
#[test]
fn a_key_that_is_accepted_again_is_reported_once() {
    let intake = Intake::start();
    intake.respond(Answer::status(403));
    let program = to_intake(&intake).start();
    program.udp("c:1|c");
    program.logs("status 403");
    intake.respond(Answer::status(202));
    program.logs("key accepted again");
    let log = program.end();
    assert_eq!(log.matches("key accepted again").count(), 1, "{log}");
}

/// Regression: a refused line was one string of several lines in a JSON log.
#[test]
fn a_json_log_has_fields_and_escapes_once() {
    let program = Setup::bare().set("log_format_json", true).set("output", "none").start();
    program.udp("x:1|c|@7\x1b");
    let line = program.log_line(|line| line.contains("bad_rate"));
    let json: Value = serde_json::from_str(&line).unwrap();
    let fields = &json["fields"];
    assert_eq!(fields["message"], "refused line: sample rate must be a number");
    assert_eq!(fields["reason"], "bad_rate");
    assert_eq!(fields["line"], "x:1|c|@7\\u{1b}", "escaped once");
    assert_eq!(fields["listener"], format!("udp {}", program.udp_address()));
    assert!(fields["sender"].as_str().unwrap().starts_with("127.0.0.1:"), "{fields}");
    assert_eq!(fields["offset"], 7);
    assert!(fields.get("plain").is_none(), "{fields}");
    for line in program.end().lines() {
        let json: Value = serde_json::from_str(line).expect(line);
        assert!(!json["fields"]["message"].as_str().unwrap().contains('\n'), "{line}");
    }
}

/// Regression: without the journal, no line of the log said when it was.
#[test]
fn a_log_that_no_journal_dates_has_the_time() {
    let wrong = ["run", "--set", "output=none", "--set", "dogstatsd_port=0"];
    let sockets = ["--set", "dogstatsd_socket=", "--set", "admin_address=127.0.0.1:0"];
    let mut command = whippet();
    // Nothing to listen on ends it at once, after its first lines.
    command.args(wrong).args(sockets).stderr(std::process::Stdio::piped());
    let ended = command.output().unwrap();
    let log = String::from_utf8(ended.stderr).unwrap();
    let first = log.lines().find(|line| line.contains("output none")).expect("a headline");
    let (date, said) = first.split_once(' ').unwrap();
    assert!(date.ends_with('Z') && date[..4].parse::<u16>().is_ok(), "{first}");
    assert!(said.starts_with("whippet "), "{first}");
}
