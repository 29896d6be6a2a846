//! Log files: format, rolling, no key.

use serde_json::Value;

use super::command::{run, url_of};
use crate::support::program::{KEY, Setup};

#[test]
fn a_log_file_holds_json_is_rolled_and_never_shows_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("whippet.log");
    // Nothing listens there: delivery fails, which is when keys have been known to slip out.
    let setup = Setup::bare().env("DD_API_KEY", KEY).env("DD_DD_URL", "http://127.0.0.1:1");
    let server = setup
        .env("DD_FORWARDER_STOP_TIMEOUT", 1)
        .set("log_file", log.display())
        .set("log_format_json", true)
        .set("log_level", "trace")
        .set("log_file_max_size", 100)
        .set("log_file_max_rolls", 50)
        .start();
    assert_eq!(run(&["send", "--to", &url_of(&server), "metric", "x", "1"]).code, 0);
    let ended = server.terminate();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);

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
    assert!(all.contains(&KEY[28..]), "the key's last characters are named:\n{all}");
    for text in [&all, &ended.stdout, &ended.stderr] {
        assert!(!text.contains(KEY), "{text}");
    }
}

#[test]
fn a_plain_log_file_has_time_and_level_and_the_console_can_be_silent() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("whippet.log");
    Setup::bare().set("log_file", log.display()).start().end();
    let text = std::fs::read_to_string(&log).unwrap();
    let first = text.lines().next().unwrap();
    let (time, rest) = first.split_once(' ').unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{first}");
    assert!(rest.starts_with(" INFO whippet ") || rest.starts_with("INFO  whippet "), "{first}");
}
