//! The systemd units in `dist/`, as systemd itself reads them. Where it is not installed there is
//! nothing to ask, and the tests say so.

use std::path::{Path, PathBuf};
use std::process::Command;

fn dist(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The units in a folder of their own, with the program that was just built.
fn units() -> (tempfile::TempDir, [PathBuf; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["whippet.service", "whippet.socket"].map(|name| {
        let text = dist(name).replace("/usr/bin/whippet", env!("CARGO_BIN_EXE_whippet"));
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    (folder, paths)
}

/// What `systemd-analyze` says and whether it is content; none where it is not installed.
fn analyze(arguments: &[&str], paths: &[PathBuf]) -> Option<(bool, String)> {
    let ran = Command::new("systemd-analyze").args(arguments).args(paths).output();
    let Ok(output) = ran else {
        println!("systemd-analyze is not installed: nothing was checked");
        return None;
    };
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let (_folder, paths) = units();
    let Some((good, text)) = analyze(&["verify"], &paths) else { return };
    // It also reads units of the machine, which may have faults of their own.
    let ours: Vec<&str> = text.lines().filter(|line| line.contains("whippet")).collect();
    assert!(good && ours.is_empty(), "{text}");
}

#[test]
fn the_service_is_well_confined() {
    let (_folder, [service, _]) = units();
    // In tenths: 0 is perfect, 10.0 is a service without any restriction.
    let arguments = ["security", "--offline=true", "--no-pager", "--threshold=30"];
    let Some((good, text)) = analyze(&arguments, &[service]) else { return };
    if text.contains("unrecognized option") {
        println!("this systemd-analyze has no --offline: nothing was checked");
        return;
    }
    assert!(good, "{text}");
}

#[test]
fn every_user_reaches_the_socket_and_old_versions_know_every_setting() {
    let service = dist("whippet.service");
    let setting = |name: &str| {
        let lines = service.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        lines.collect::<Vec<_>>()
    };
    assert!(setting("DynamicUser").is_empty() && setting("RuntimeDirectory").is_empty());
    assert_eq!(setting("User"), ["whippet"]);
    assert!(dist("whippet.sysusers").contains("\nu whippet "));
    assert!(dist("whippet.tmpfiles").contains("\nd /run/datadog 0755 whippet whippet"));
    // `notify-reload` came with 253, Debian 12 has 252.
    assert_eq!(setting("Type"), ["notify"]);
    assert_eq!(setting("ExecReload"), ["/bin/kill -HUP $MAINPID"]);
    assert_eq!(setting("RestartPreventExitStatus"), ["78"]);
}
