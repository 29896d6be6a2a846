//! A limit on the size of files (`ulimit -f`, `LimitFSIZE=`): writes fail, the process lives.

use super::setup::{Spooled, to_intake};
use crate::support::intake::{Answer, Intake};
use crate::support::program::{Setup, until, whippet};
use std::process::Stdio;

/// Far more names than 512 bytes can hold compressed.
fn many_names() -> Vec<String> {
    let names = (0..30_u64).map(|datagram| {
        let line = |n: u64| {
            let name = (datagram * 10 + n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            format!("m{name:016x}:1|c")
        };
        (0..10).map(line).collect::<Vec<_>>().join("\n")
    });
    names.collect()
}

#[test]
fn a_spool_at_the_limit_drops_and_counts() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let program =
        to_intake(&intake).spooling(1).file_blocks(1).set("forwarder_stop_timeout", 1).start();
    many_names().iter().for_each(|datagram| program.udp(datagram));
    program.logs("File too large");
    let ended = program.terminate();
    let (lines, payloads) = ended.balances();
    assert_eq!(lines.recorded, 300, "{}", ended.stderr);
    assert!(payloads.dropped > 0, "{}", ended.stderr);
}

#[test]
fn json_lines_at_the_limit_are_reported() {
    let setup = Setup::bare().set("interval", 1).file_blocks(1);
    let out = setup.path("out.jsonl");
    let setup = setup.set("output", format!("jsonl:{}", out.display()));
    let program = setup.start();
    many_names().iter().for_each(|datagram| program.udp(datagram));
    program.logs("File too large");
    assert_eq!(program.terminate().code(), Some(0));
    assert!(std::fs::metadata(out).unwrap().len() <= 512);
}

#[test]
fn a_log_file_at_the_limit_is_rolled() {
    let setup = Setup::bare().file_blocks(1);
    let log = setup.path("whippet.log");
    let setup = setup.set("log_file", log.display()).set("log_level", "debug");
    setup.start().end();
    let rolled = log.with_extension("log.1");
    let text = std::fs::read_to_string(&rolled).unwrap();
    assert!((1..=512).contains(&text.len()), "{text}");
    assert!(std::fs::metadata(&log).unwrap().len() <= 512);
}

/// `/dev/full` fails every write as a full disk does.
#[test]
fn a_standard_error_that_cannot_be_written_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("d.sock");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut child = whippet()
        .args(["--set", "dogstatsd_port=0", "--set", "admin_address=", "--set"])
        .arg(format!("dogstatsd_socket={}", socket.display()))
        .stderr(Stdio::from(full))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ended = until("its socket", || {
        let ended = child.try_wait().unwrap();
        (ended.is_some() || socket.exists()).then_some(ended)
    });
    assert_eq!(ended, None, "it ended");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
