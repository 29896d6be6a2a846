//! `whippet … | head -1`: without a reader of its output a command ends quietly.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::command::{PATIENCE, ran, udp, whippet};
use crate::support::intake::Intake;
use crate::support::program::{KEY, Setup, eventually};

/// Runs it with a standard output that no one reads: it has to end, with code 0 and without a word.
#[track_caller]
fn ends_quietly(mut command: Command) {
    let name = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
    drop(child.stdout.take());
    eventually(PATIENCE, &name, || child.try_wait().expect("a child").is_some());
    let ended = ran(child.wait_with_output().unwrap());
    assert_eq!((ended.code, &*ended.stderr), (0, ""), "{name}");
}

#[test]
fn commands_without_a_server_end() {
    let (_socket, to) = udp();
    for args in [
        &["version"][..],
        &["--help"],
        &["config"],
        &["config", "--sample"],
        &["config", "tags"],
        &["generate", "bash"],
        &["check-config"],
        &["explain", "x:1|c"],
        &["send", "metric", "x", "1", "--to", &to],
    ] {
        ends_quietly(whippet(args));
    }
}

#[test]
fn commands_that_ask_a_server_end_also_while_nothing_comes() {
    let intake = Intake::start();
    let setup = Setup::posting_to(&intake).set("admin_address", "127.0.0.1:0").waits_for("admin ");
    let program = setup.start();
    let address = program.log_word("admin ");
    let folder = tempfile::tempdir().unwrap();
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["health"],
        &["top", "--once", "--every", "0.1"],
        &["top", "--json", "--every", "0.1"],
        &["top", "--every", "60"],
        &["tap"],
        &["tap", "--json"],
        &["stats", "--for", "60"],
        &["dump-contexts"],
        &["diagnose"],
    ] {
        let mut command = whippet(args);
        command
            .arg("--set")
            .arg(format!("admin_address={}", address.trim_start_matches("http://")));
        command.arg("--set").arg(format!("run_path={}", folder.path().display()));
        command.env("DD_API_KEY", KEY).env("DD_DD_URL", intake.url());
        ends_quietly(command);
    }
    program.terminate();
}

#[test]
fn lines_are_sent_even_if_no_one_reads_what_is_printed() {
    let (socket, to) = udp();
    let lines: String = (0..2_000).map(|number| format!("metric.{number}:1|c\n")).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    std::fs::write(&file, lines).unwrap();
    let mut command = whippet(&["send", "--to", &to, "raw", "-"]);
    command.stdin(std::fs::File::open(file).unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let read = std::thread::spawn(move || {
        let mut bytes = [0; 65_536];
        loop {
            let length = socket.recv(&mut bytes).expect("the last line arrives");
            if String::from_utf8_lossy(&bytes[..length]).contains("metric.1999:") {
                return;
            }
        }
    });
    ends_quietly(command);
    read.join().unwrap();
}
