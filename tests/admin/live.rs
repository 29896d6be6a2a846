//! `top`, `tap` and `diagnose`.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::process::Stdio;

use serde_json::Value;

use super::server::server;
use crate::support::front::ConnectProxy;
use crate::support::intake::{Answer, Intake};
use crate::support::program::{Program, whippet};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Runs a command while datagrams arrive all the time.
fn under_load(program: &Program, datagrams: &[(&UdpSocket, &str)], arguments: &[&str]) -> String {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| program.says(arguments));
        while !asked.is_finished() {
            for (socket, datagram) in datagrams {
                program.udp_from(socket, datagram);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        asked.join().unwrap()
    })
}

#[test]
fn top_ranks_metrics_by_contexts_samples_and_bytes_and_names_senders() {
    let program = server(&[]);
    let (quiet, busy) =
        (UdpSocket::bind("127.0.0.2:0").unwrap(), UdpSocket::bind("127.0.0.3:0").unwrap());
    for user in 0..30 {
        program.udp_from(&quiet, format!("logins:1|c|#env:prod,user_id:{user}"));
    }
    program.wait_lines(30);
    let long = format!("long:1|c|#{}", "x".repeat(300));
    let datagrams: [(&UdpSocket, &str); 2] =
        [(&busy, "many:1|c\nmany:1|c\nmany:1|c"), (&busy, &long)];
    let arguments = ["top", "--once", "--json", "--every", "0.5"];
    let top: Value = serde_json::from_str(&under_load(&program, &datagrams, &arguments)).unwrap();
    let worst = &top["by_contexts"]["names"][0];
    assert_eq!((&worst["name"], &worst["contexts"]), (&"logins".into(), &30.into()));
    assert_eq!(worst["tag_keys"][0], serde_json::json!({"key": "user_id", "values": 30}));
    assert_eq!(worst["tag_keys"][1], serde_json::json!({"key": "env", "values": 1}));
    assert_eq!(top["by_samples"][0]["name"], "many", "{top:#}");
    assert!(top["by_samples"][0]["samples_per_second"].as_f64() > Some(0.0));
    assert_eq!(top["by_bytes"][0]["name"], "long", "{top:#}");
    assert_eq!(top["senders"][0]["sender"], "127.0.0.3");
    assert!(top["senders"][0]["packets_per_second"].as_f64() > Some(0.0));
    let makers = top["senders"].as_array().unwrap();
    let maker = makers.iter().max_by_key(|row| row["contexts_new"].as_u64()).unwrap();
    assert_eq!((&maker["sender"], &maker["contexts_new"]), (&"127.0.0.2".into(), &30.into()));
    let shown = program.says(&["top", "--once", "--every", "0.1"]);
    assert!(shown.contains("         30\tlogins\t(30 user_id, 1 env)\n"), "{shown}");
}

#[test]
fn tap_shows_matching_lines_and_ends_at_its_limit() {
    let program = server(&[]);
    let socket = UdpSocket::bind("127.0.0.4:0").unwrap();
    let sender = socket.local_addr().unwrap().to_string();
    let datagrams: [(&UdpSocket, &str); 1] =
        [(&socket, "other:1|c\npage.views:1|c|#env:prod\nbad")];
    let arguments = ["tap", "--match", "^page\\..*env:prod", "--limit", "3"];
    let shown = under_load(&program, &datagrams, &arguments);
    assert_eq!(shown.lines().count(), 3, "{shown}");
    for line in shown.lines() {
        assert_eq!(
            line,
            format!("udp {} {sender}  page.views:1|c|#env:prod", program.udp_address())
        );
    }
    let shown =
        under_load(&program, &datagrams, &["tap", "--match", "bad", "--limit", "1", "--json"]);
    let tapped: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&tapped["line"], &tapped["sender"]), (&"bad".into(), &sender.into()));
}

#[test]
fn a_pattern_that_is_none_is_explained() {
    let program = server(&[]);
    let output = program.run(&["tap", "--match", "(", "--limit", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("unclosed group"), "{errors}");
}

#[test]
fn a_tap_whose_reader_left_is_closed() {
    let program = server(&[]);
    for _ in 0..6 {
        // More than may be open at once.
        let mut child = whippet()
            .args(["tap", "--set", &format!("admin_address={}", program.admin())])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let first = std::thread::spawn(move || lines.next().map(Result::unwrap));
        while !first.is_finished() {
            program.udp_from(&socket, "a:1|c");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(first.join().unwrap().is_some(), "a tap was refused");
        child.kill().unwrap();
        child.wait().unwrap();
        // The server notices at the next line.
        program.udp_from(&socket, "a:1|c");
        program.udp_from(&socket, "a:1|c");
    }
}

fn diagnose(set: &[&str]) -> (Option<i32>, String) {
    let mut command = whippet();
    command.arg("diagnose");
    set.iter().for_each(|pair| {
        command.args(["--set", pair]);
    });
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn diagnose_asks_for_every_key_and_says_what_to_do() {
    let intake = Intake::start();
    let url = format!("dd_url={}", intake.url());
    let key = format!("api_key={KEY}");
    let (code, text) = diagnose(&[&url, &key]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("good ") && text.contains("ending with bcdef: valid"), "{text}");
    intake.validate_with(Answer::status(403));
    let (code, text) = diagnose(&[&url, &key]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("refused ") && text.contains("check api_key"), "{text}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, text) = diagnose(&[&format!("dd_url=http://{free}"), &key]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("no answer") && text.contains("proxy"), "{text}");
    assert!(!text.contains(KEY), "{text}");
    let (code, text) = diagnose(&[&url]);
    assert!(code == Some(1) && text.contains("DD_API_KEY"), "{text}");
}

#[test]
fn diagnose_goes_through_the_proxy() {
    let (intake, proxy) = (Intake::start(), ConnectProxy::start());
    let url = format!("dd_url={}", intake.url());
    let proxied = format!("proxy.http=http://{}", proxy.address());
    let (code, text) = diagnose(&[&url, &format!("api_key={KEY}"), &proxied]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!proxy.heads().is_empty(), "the proxy was not asked: {text}");
}
