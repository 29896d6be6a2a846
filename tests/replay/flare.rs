//! The archive for support: whole, bounded, and without a secret.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::support::intake::{Answer, Intake};
use crate::support::program::{KEY, Setup, whippet};

/// The files of an archive, by name.
fn unpacked(path: &Path) -> BTreeMap<String, String> {
    let file = flate2::read::GzDecoder::new(fs::File::open(path).unwrap());
    let mut archive = tar::Archive::new(file);
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(name, text);
    }
    files
}

const OF_THE_SERVER: [&str; 7] = [
    "config-running.json",
    "log.txt",
    "metrics.txt",
    "senders.json",
    "status.json",
    "top.json",
    "verdict.json",
];

#[test]
fn a_flare_holds_what_support_asks_for_and_no_key() {
    let intake = Intake::start();
    // It quotes the key, as a proxy might do.
    intake.respond(Answer::status(403));
    let password = "hunter22-and-more";
    let setup = Setup::posting_to(&intake)
        .set("admin_address", "127.0.0.1:0")
        .set("interval", 1)
        .set("bind_host", "127.0.0.1")
        .set("log_level", "trace")
        .set("proxy.http", format!("http://user:{password}@{}", intake.address()))
        .set("proxy.no_proxy", "127.0.0.1")
        .waits_for("admin ");
    let program = setup.start();
    program.udp("page.views:1|c|#env:prod\nbad line");
    // A metric that is named like a key: only this command knows better.
    program.udp(format!("leak.{KEY}:1|c|#password:{password}"));
    program.wait_lines(3);
    program.logs("refused line");
    let path = program.path("flare.tar.gz");
    let proxy = format!("proxy.http=http://user:{password}@127.0.0.1:1");
    let key = format!("api_key={KEY}");
    let output =
        program.run(&["flare", "-o", &path.display().to_string(), "--set", &key, "--set", &proxy]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\n", path.display()));
    assert_eq!(said, "");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let files = unpacked(&path);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let mut expect = [&["about.txt", "config.txt"], &OF_THE_SERVER[..]].concat();
    expect.sort_unstable();
    assert_eq!(names, expect);
    for (name, text) in &files {
        assert!(!text.contains(KEY) && !text.contains(password), "{name} holds a secret");
        assert!(text.len() > 2, "{name} is empty");
    }
    let json = |name: &str| serde_json::from_str::<Value>(&files[name]).unwrap();
    assert_eq!(json("status.json")["lines"]["received"], 3);
    assert!(files["senders.json"].contains("bad line"), "{}", files["senders.json"]);
    assert!(files["top.json"].contains("page.views"), "{}", files["top.json"]);
    assert!(files["log.txt"].contains("refused line"), "{}", files["log.txt"]);
    assert!(files["config.txt"].contains("api_key") && files["config.txt"].contains("*****"));
    assert!(files["config-running.json"].contains("dogstatsd_port"));
    assert!(files["metrics.txt"].contains("whippet_build_info"));
    assert!(files["about.txt"].contains(env!("CARGO_PKG_VERSION")), "{}", files["about.txt"]);
    assert!(!files["about.txt"].contains("missing"), "{}", files["about.txt"]);

    // Nothing is overwritten.
    let again = program.run(&["flare", "-o", &path.display().to_string()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8(again.stderr).unwrap().contains("the file exists"));
}

#[test]
fn a_dry_run_lists_the_entries_with_their_sizes_and_writes_nothing() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake)
        .set("admin_address", "127.0.0.1:0")
        .set("bind_host", "127.0.0.1")
        .waits_for("admin ")
        .start();
    let folder = tempfile::tempdir().unwrap();
    let address = format!("admin_address={}", program.admin());
    let output = whippet()
        .args(["flare", "--dry-run", "--set", &address])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for name in OF_THE_SERVER.iter().chain(&["about.txt", "config.txt"]) {
        let row = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        assert!(row.contains("bytes") || row.contains("KiB"), "{name}: {text}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn without_a_server_the_rest_is_there_and_what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.tar.gz");
    let output = whippet()
        .args(["flare", "-o", &path.display().to_string()])
        .args(["--set", "admin_address=127.0.0.1:1", "--set", "dogstatsd_port=70000"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let files = unpacked(&path);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["about.txt", "config.txt"]);
    // Also a configuration that is invalid.
    assert!(files["config.txt"].contains("70000"), "{}", files["config.txt"]);
    assert!(files["about.txt"].contains("does not answer"), "{}", files["about.txt"]);
    assert!(files["about.txt"].contains("missing all of the server"), "{}", files["about.txt"]);
    assert!(said.contains("missing all of the server"), "{said}");
}
