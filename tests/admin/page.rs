//! The live page without a browser: who gets it, with which headers, and what its answers hold.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::server;
use crate::support::intake::{Answer, Intake};
use crate::support::program::Program;

/// Head and body of an answer.
fn asked(program: &Program, path: &str, headers: &str) -> (String, String) {
    let mut stream = TcpStream::connect(program.admin()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

const BROWSER: &str = "Host: localhost\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";

#[test]
fn a_browser_gets_the_page_and_a_terminal_the_index() {
    let program = server(&[]);
    for accept in ["Accept: */*\r\n", "", "Accept: text/plain\r\n"] {
        let (head, body) = asked(&program, "/", &format!("Host: localhost\r\n{accept}"));
        assert!(head.contains("content-type: text/plain; charset=utf-8"), "{head}");
        assert!(head.contains("vary: accept"), "{head}");
        assert!(body.starts_with("whippet answers here, read only:\n  /live /ready"), "{body}");
    }
    let (head, body) = asked(&program, "/", BROWSER);
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    assert!(body.starts_with("<!doctype html>"), "{body}");
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; \
         img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "vary: accept",
    ] {
        assert!(head.contains(header), "no {header} in\n{head}");
    }
    for path in body.split('"').filter(|part| part.starts_with("/page/")) {
        let (head, file) = asked(&program, path, BROWSER);
        assert!(head.starts_with("http/1.1 200") && !file.is_empty(), "{path}: {head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{path}: {head}");
    }
}

#[test]
fn another_host_name_and_a_write_get_nothing() {
    let program = server(&[]);
    let (head, _) = asked(&program, "/", "Host: evil.example\r\nAccept: text/html\r\n");
    assert!(head.starts_with("http/1.1 403"), "{head}");
    let (head, _) = asked(&program, "/page/snapshot.json", "Host: evil.example\r\n");
    assert!(head.starts_with("http/1.1 403"), "{head}");
    let mut stream = TcpStream::connect(program.admin()).unwrap();
    stream
        .write_all(
            b"POST /page/snapshot.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        )
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

#[test]
fn one_answer_holds_the_past_the_verdict_and_what_is_new_since() {
    let program = server(&[]);
    program.udp("a:1|c\nb:1|g\nbad");
    program.wait_lines(3);
    // No page was open: the rows come from the flushes.
    let answer = program.wait_json("/page/snapshot.json", |answer| {
        answer["history"]["rows"].as_array().unwrap().len() > 2
    });
    let rows = answer["history"]["rows"].as_array().unwrap();
    let last = rows.last().unwrap();
    assert_eq!(
        (&last[1], &last[2], &last[11]),
        (&json!(3), &json!(15), &json!({"missing_type": 1}))
    );
    assert_eq!((&last[5], &last[6]), (&json!(2), &json!(2)), "contexts and births: {last}");
    assert!(rows.windows(2).all(|pair| pair[0][0].as_f64() < pair[1][0].as_f64()), "{rows:?}");
    assert_eq!(answer["verdict"]["level"], "warning", "{}", answer["verdict"]);
    assert_eq!(answer["verdict"]["losses"][0]["count"], 1);
    assert_eq!(answer["senders"][0]["bad_lines"][0]["line"], "bad");
    assert_eq!(answer["status"]["lines"]["received"], 3);
    let entries = answer["config"]["entries"].as_array().unwrap();
    let host = entries.iter().find(|entry| entry["key"] == "hostname").unwrap();
    assert_eq!((&host["value"], &host["origin"]), (&json!("test-host"), &json!("--set hostname")));
    let log = answer["log"]["lines"].as_array().unwrap();
    assert!(log.iter().any(|line| line.as_str().unwrap().contains("admin ")), "{log:?}");

    let next = |part: &str, field: &str| answer[part][field].as_u64().unwrap();
    let path = format!(
        "/page/snapshot.json?since={}&log={}&config={}",
        next("history", "next"),
        next("log", "next"),
        next("config", "version")
    );
    let later = program.json(&path);
    assert!(later["history"]["rows"].as_array().unwrap().len() < rows.len());
    assert_eq!((&later["config"]["entries"], &later["boot"]), (&Value::Null, &answer["boot"]));
}

#[test]
fn a_metric_shows_what_was_posted_before_it_was_opened() {
    let program = server(&[]);
    program.udp("shop.orders:2|c|#region:eu\nshop.orders:3|c|#region:us");
    program.wait_lines(2);
    let metric = program.wait_json("/page/metric.json?name=shop.orders", |metric| {
        metric["posted"]["sums"][0]["rows"].as_array().is_some_and(|rows| rows.len() > 1)
    });
    assert_eq!((&metric["contexts"], &metric["kinds"]), (&json!(2), &json!(["counter"])));
    assert_eq!(metric["tag_keys"], json!([{"key": "region", "values": 2}]));
    let first = &metric["posted"]["sums"][0]["rows"][0];
    assert_eq!((&first[1], &first[2]), (&json!(2), &json!(5.0)), "{metric:#}");
    assert_eq!(metric["posted"]["series"][0]["points"][0][1], 2.0);
    assert_eq!(program.get("/page/metric.json").0, 400);
}

#[test]
fn lines_are_tapped_by_their_whole_name_and_explained_with_the_rules_in_force() {
    let program = server(&[("statsd_metric_namespace", "shop")]);
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| program.json("/page/tap.json?name=a.b"));
        while !asked.is_finished() {
            program.udp("a.b:1|c\na.b.c:1|c\naxb:1|c");
            std::thread::sleep(Duration::from_millis(5));
        }
        asked.join().unwrap()
    });
    let lines = answer["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 20);
    assert!(lines.iter().all(|line| line["line"] == "a.b:1|c"), "{lines:?}");
    let sender = answer["senders"][0]["sender"].as_str().unwrap();
    assert!(sender.starts_with("127.0.0.1"), "{sender}");
    let page = program.json("/page/explain.json?line=a.b%3A1%7Cc%7C%23x");
    let text = page["page"].as_str().unwrap();
    assert_eq!(page["readable"], true);
    assert!(text.contains("shop.a.b") && text.contains("statsd_metric_namespace"), "{text}");
    let refused = program.json("/page/explain.json?line=nothing");
    assert_eq!(refused["readable"], false);
    assert_eq!(program.get("/page/explain.json").0, 400);
}

#[test]
fn a_filter_ranks_only_metrics_that_fit() {
    let program = server(&[]);
    program.udp("shop.orders:1|c\ncache.hits:1|c\nCACHE.misses:1|c");
    program.wait_lines(3);
    let top = program.json("/top?seconds=0.1&like=Cache");
    let names: Vec<&str> = top["by_contexts"]["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["CACHE.misses", "cache.hits"]);
}

#[test]
fn an_intake_that_fails_is_a_risk_with_the_time_that_is_left() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let program = server(&[
        ("output", "datadog"),
        ("dd_url", &intake.url()),
        ("api_key", "0123456789abcdef0123456789abcdef"),
    ]);
    program.udp("a:1|c");
    let answer = program.wait_json("/page/snapshot.json", |answer| {
        answer["verdict"]["risks"].as_array().is_some_and(|risks| !risks.is_empty())
            && answer["history"]["rows"].as_array().unwrap().last().unwrap()[7] != json!(0)
    });
    assert_eq!(answer["verdict"]["level"], "warning");
    let risk = answer["verdict"]["risks"][0]["what"].as_str().unwrap();
    assert!(risk.contains("wait"), "{risk}");
}
