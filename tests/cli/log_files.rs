//! Log files: format, rolling, no key.

use serde_json::Value;

use super::command::run;
use super::server::Server;

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_log_file_holds_json_is_rolled_and_never_shows_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("whippet.log");
    let file = format!("log_file={}", log.display());
    let settings = [
        &*file,
        "log_format_json=true",
        "log_level=trace",
        "log_file_max_size=100",
        "log_file_max_rolls=50",
    ];
    // Nobody listens there: delivery fails, which is when keys have been known to slip out.
    let env = [
        ("DD_API_KEY", KEY),
        ("DD_DD_URL", "http://127.0.0.1:1"),
        ("DD_FORWARDER_STOP_TIMEOUT", "1"),
    ];
    let server = Server::start(&settings, &env);
    let to = format!("udp://127.0.0.1:{}", server.port);
    assert_eq!(run(&["send", "--to", &to, "metric", "x", "1"]).code, 0);
    let (code, stdout, stderr) = server.stop();
    assert_eq!(code, 0, "{stderr}");

    let mut all = String::new();
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        all.push_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 2, "{files} files");
    assert!(log.exists());
    for line in all.lines() {
        let json: Value = serde_json::from_str(line).expect(line);
        assert!(json["timestamp"].is_string() && json["fields"]["message"].is_string(), "{line}");
    }
    assert!(all.contains("cdef"), "the key's last characters are named:\n{all}");
    for text in [&all, &stdout, &stderr] {
        assert!(!text.contains(KEY), "{text}");
    }
}

#[test]
fn a_plain_log_file_has_time_and_level_and_the_console_can_be_silent() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("whippet.log");
    let server = Server::start(&[&format!("log_file={}", log.display())], &[]);
    assert_eq!(server.stop().0, 0);
    let text = std::fs::read_to_string(&log).unwrap();
    let first = text.lines().next().unwrap();
    let (time, rest) = first.split_once(' ').unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{first}");
    assert!(rest.starts_with(" INFO whippet ") || rest.starts_with("INFO  whippet "), "{first}");
}
