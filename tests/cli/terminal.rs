//! What reaches a terminal: no character of a client changes what others look like, and no secret.

use super::command::{run, whippet};
use crate::support::program::Setup;

/// A right-to-left override, an isolate, a mark, a C1 control sequence, a separator, a space without
/// width.
const MISLEADING: [char; 6] = ['\u{202e}', '\u{2066}', '\u{61c}', '\u{9b}', '\u{2028}', '\u{200b}'];

#[track_caller]
fn is_plain(what: &str, text: &str) {
    let found: Vec<char> = text.chars().filter(|c| MISLEADING.contains(c)).collect();
    assert!(found.is_empty(), "{what}: {found:?} in\n{text:?}");
}

fn line(beginning: &str) -> String {
    let odd: String = MISLEADING.iter().collect();
    format!("{beginning}{odd}name:1|c|#tag:{odd}x")
}

#[test]
fn nothing_that_a_client_sends_misleads_a_terminal() {
    let setup = Setup::bare().set("admin_address", "127.0.0.1:0").set("log_level", "debug");
    let program = setup.set("interval", 1).set("output", "console").waits_for("admin ").start();
    for args in [&["tap", "--limit", "1"][..], &["tap", "--limit", "1", "--json"]] {
        let shown = std::thread::scope(|scope| {
            let asked = scope.spawn(|| program.says(args));
            // The tap may open after a line, so lines go on until it has one.
            while !asked.is_finished() {
                program.udp(line("a"));
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            asked.join().unwrap()
        });
        is_plain("tap", &shown);
        assert!(shown.contains("202e"), "{shown}");
    }
    program.udp(format!("{}|c|@x", line("bad")));
    for args in [&["top", "--once", "--every", "0.1"][..], &["status"], &["status", "--json"]] {
        is_plain(args[0], &program.says(args));
    }
    program.prints_until(|printed| printed.contains("name"));
    let ended = program.terminate();
    is_plain("the table", &ended.stdout);
    is_plain("the log", &ended.stderr);
    let explained = run(&["explain", &line("e")]);
    is_plain("explain", &explained.stdout);
    assert!(explained.stdout.contains("\\u{202e}"), "{}", explained.stdout);
    let check = run(&["check-config", "--set", &format!("tags={}", line("t"))]);
    is_plain("check-config", &check.stdout);
    is_plain("an error", &run(&["run", "--set", &format!("lanes={}", line("l"))]).stderr);
    is_plain(
        "an error",
        &run(&["status", "--set", &format!("admin_address={}", line("l"))]).stderr,
    );
}

#[test]
fn a_secret_in_a_url_is_not_shown() {
    const SECRET: &str = "s3cr3t-t0ken";
    for url in [
        format!("https://host/?api_key={SECRET}"),
        format!("https://user:{SECRET}@host/"),
        format!("https://{SECRET}@host/"),
        format!("host/?api_key={SECRET}"),
        format!("https://host/#{SECRET}"),
    ] {
        for command in ["check-config", "run"] {
            let mut command =
                whippet(&[command, "--set", "dogstatsd_port=0", "--set", "dogstatsd_socket="]);
            command.env("DD_API_KEY", "0123456789abcdef0123456789abcdef").env("DD_DD_URL", &url);
            command.env("DD_ADDITIONAL_ENDPOINTS", format!("{{\"{url}\": [\"x\"]}}"));
            let ended = command.output().unwrap();
            let all = [ended.stdout, ended.stderr].concat();
            let all = String::from_utf8_lossy(&all);
            assert!(!all.contains(SECRET) && all.contains("host"), "{url}: {all}");
        }
    }
}
