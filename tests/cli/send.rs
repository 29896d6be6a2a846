//! `whippet send`: what is written, what is refused, every transport.

use std::io::{self, Read};
use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixListener};

use super::command::{PATIENCE, ran, received, run, run_with_stdin, udp, whippet};

/// Runs `send` to a socket of the test; what arrives must be `wire`, what is printed the same.
#[track_caller]
fn sends(args: &[&str], wire: &str) {
    let (socket, url) = udp();
    let got = run(&[&["send", "--to", &url], args].concat());
    assert_eq!((got.stderr.as_str(), got.code), ("", 0), "{args:?}");
    let mut bytes = [0; 9_000];
    let length = received(|| socket.recv(&mut bytes)).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes[..length]), wire, "{args:?}");
    let (count, to) = (wire.lines().count(), url.replace("://", " "));
    let word = if count == 1 { "line" } else { "lines" };
    let report = format!("{wire}sent {count} {word}, {} bytes, to {to}\n", wire.len());
    assert_eq!(got.stdout, report, "{args:?}");
}

/// Runs `send`; nothing may arrive, and the message must hold `expect`.
#[track_caller]
fn refuses(args: &[&str], code: i32, expect: &str) {
    let (socket, url) = udp();
    let got = run(&[&["send", "--to", &url], args].concat());
    assert!(got.stderr.contains(expect), "{args:?}: {}", got.stderr);
    assert_eq!((got.stdout.as_str(), got.code), ("", code), "{args:?}");
    socket.set_nonblocking(true).unwrap();
    let heard = received(|| socket.recv(&mut [0; 100])).map_err(|error| error.kind());
    assert_eq!(heard, Err(io::ErrorKind::WouldBlock), "{args:?}: something was sent");
}

#[test]
fn send_writes_every_kind_of_metric() {
    sends(&["metric", "x", "1"], "x:1|c\n");
    sends(&["metric", "x", "-5", "2.5", "--type", "g"], "x:-5:2.5|g\n");
    sends(&["metric", "x", "1", "2", "-t", "ms", "--rate", "0.5"], "x:1:2|ms|@0.5\n");
    sends(&["metric", "x", "1", "--type", "h", "--tag", "a:1", "--tag", "b"], "x:1|h|#a:1,b\n");
    sends(&["metric", "x", "1", "--type", "distribution"], "x:1|d\n");
    sends(&["metric", "x", "alice", "b:c", "--type", "s"], "x:alice|s\nx:b:c|s\n");
    sends(&["metric", "x", "1", "--timestamp", "1656581400"], "x:1|c|T1656581400\n");
}

#[test]
fn send_writes_events_with_lengths_in_bytes_and_newlines_escaped() {
    sends(&["event", "title", "text"], "_e{5,4}:title|text\n");
    sends(&["event", "é", "a\nb"], "_e{2,4}:é|a\\nb\n");
    sends(&["event", "t", ""], "_e{1,0}:t|\n");
    let all = "event t x --timestamp 5 --host h --key k --priority low --source s --alert-type error --tag a --tag b";
    let args: Vec<&str> = all.split(' ').collect();
    sends(&args, "_e{1,1}:t|x|d:5|h:h|k:k|p:low|s:s|t:error|#a,b\n");
}

#[test]
fn send_writes_checks() {
    sends(&["check", "db.up", "0"], "_sc|db.up|0\n");
    sends(&["check", "db.up", "Critical", "--message", "a\nb"], "_sc|db.up|2|m:a\\nb\n");
    let all = "check x 3 --timestamp 5 --host h --tag a --message m";
    let args: Vec<&str> = all.split(' ').collect();
    sends(&args, "_sc|x|3|d:5|h:h|#a|m:m\n");
}

#[test]
fn send_takes_lines_as_they_are() {
    sends(&["raw", "a:1|c", "b:2|g|#x"], "a:1|c\nb:2|g|#x\n");
    sends(&["raw", "a:1|c\n\nb:2|g\n"], "a:1|c\nb:2|g\n");
    sends(&["raw", "--force", "junk"], "junk\n");
}

#[test]
fn send_refuses_what_would_be_read_differently() {
    refuses(&["metric", "a|b", "1"], 1, "name \"a|b\" contains '|'");
    refuses(&["metric", "a:b", "1"], 1, "name \"a:b\" contains ':'");
    refuses(&["metric", "x", "1", "--tag", "a\nb"], 1, "tag \"a\\nb\" contains '\\n'");
    refuses(&["check", "x", "0", "--message", "a|b"], 1, "m \"a|b\" contains '|'");
    refuses(&["metric", "x", "1", "--type", "d", "--timestamp", "5"], 1, "counters and gauges");
    let long = "n".repeat(9_000);
    refuses(&["metric", &long, "1"], 1, "servers read at most 8192");
}

#[test]
fn send_shows_the_place_of_what_no_server_reads() {
    refuses(
        &["metric", "x", "one"],
        1,
        "the value must be a number\n    x:one|c\n      ^\nuse --force",
    );
    refuses(&["metric", "x", "1", "--rate", "half"], 1, "sample rate must be a number");
    refuses(&["raw", "x:1|q"], 1, "x:1|q\n        ^");
    refuses(&["event", "", "text"], 1, "the event title must not be empty");
}

#[test]
fn words_that_are_no_command_line_exit_with_2() {
    refuses(&["check", "x", "4"], 2, "use 0 (ok), 1 (warning), 2 (critical) or 3 (unknown)");
    refuses(&["metric", "x", "1", "--type", "m"], 2, "use c, g, h, ms, s or d");
    refuses(&["metric", "x"], 2, "<VALUE>");
    refuses(&["event", "t", "x", "--priority", "high"], 2, "normal, low");
    let got = run(&["send", "--to", "http://x", "metric", "x", "1"]);
    assert!(got.stderr.contains("use udp, tcp, unix, unixgram or unixstream"), "{}", got.stderr);
    assert_eq!(got.code, 2);
}

#[test]
fn a_bad_line_does_not_hold_up_its_neighbours() {
    let (socket, url) = udp();
    let got = run_with_stdin(&["send", "--to", &url, "raw", "-"], b"a:1|c\njunk\r\n\nb:2|c");
    let mut bytes = [0; 100];
    let length = received(|| socket.recv(&mut bytes)).unwrap();
    assert_eq!(&bytes[..length], b"a:1|c\nb:2|c\n");
    assert!(got.stderr.starts_with("whippet: not sent: a metric reads"), "{}", got.stderr);
    assert!(
        got.stdout.ends_with(&format!("sent 2 lines, 12 bytes, to {}\n", url.replace("://", " ")))
    );
    assert_eq!(got.code, 1);
}

#[test]
fn many_lines_are_packed_into_datagrams_that_need_no_fragments() {
    let (socket, url) = udp();
    let lines: String =
        (0..500).map(|number| format!("metric.{number}:1|c|#tag:value\n")).collect();
    let got = run_with_stdin(&["send", "--to", &url, "raw", "-"], lines.as_bytes());
    assert_eq!(got.code, 0, "{}", got.stderr);
    let (mut all, mut bytes, mut datagrams) = (String::new(), [0; 9_000], 0);
    while all.len() < lines.len() {
        let length = received(|| socket.recv(&mut bytes)).unwrap();
        assert!(length <= 1_432, "{length}");
        all.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        datagrams += 1;
    }
    assert_eq!(all, lines);
    assert_eq!(datagrams, lines.len().div_ceil(1_432));
}

#[test]
fn send_speaks_over_every_transport() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let send = |scheme: &str, place: &str| {
        run(&["send", "--to", &format!("{scheme}://{place}"), "raw", "x:1|c"])
    };

    let datagrams = UnixDatagram::bind(path("d")).unwrap();
    datagrams.set_read_timeout(Some(PATIENCE)).unwrap();
    for scheme in ["unix", "unixgram"] {
        assert_eq!(send(scheme, path("d").to_str().unwrap()).code, 0);
        let mut bytes = [0; 100];
        let length = received(|| datagrams.recv(&mut bytes)).unwrap();
        assert_eq!(&bytes[..length], b"x:1|c\n");
    }

    let streams = UnixListener::bind(path("s")).unwrap();
    for scheme in ["unix", "unixstream"] {
        assert_eq!(send(scheme, path("s").to_str().unwrap()).code, 0);
        let mut bytes = Vec::new();
        streams.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"\x06\0\0\0x:1|c\n");
    }
    let other = send("unixgram", path("s").to_str().unwrap());
    assert!(other.stderr.contains("of the other type; use unix://"), "{}", other.stderr);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(send("tcp", &listener.local_addr().unwrap().to_string()).code, 0);
    let mut bytes = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"x:1|c\n");
}

#[test]
fn send_reads_the_environment_of_clients() {
    let (socket, url) = udp();
    let port = socket.local_addr().unwrap().port().to_string();
    let cases: [&[(&str, &str)]; 3] = [
        &[("DD_DOGSTATSD_URL", &url), ("DD_AGENT_HOST", "nowhere.invalid")],
        &[("DD_DOGSTATSD_PORT", &port)],
        &[("DD_AGENT_HOST", "localhost"), ("DD_DOGSTATSD_PORT", &port)],
    ];
    for env in cases {
        let got =
            ran(whippet(&["send", "metric", "x", "1"]).envs(env.iter().copied()).output().unwrap());
        assert_eq!((got.stderr.as_str(), got.code), ("", 0), "{env:?}");
        let mut bytes = [0; 100];
        assert_eq!(received(|| socket.recv(&mut bytes)).unwrap(), 6, "{env:?}");
    }
}

/// The whole network 127/8 is local on Linux: a port held on one address of it is free on another,
/// and no other process can take it meanwhile.
#[cfg(target_os = "linux")]
#[test]
fn send_says_when_nothing_is_listening() {
    let (socket, _) = udp();
    let port = socket.local_addr().unwrap().port();
    let got = run(&["send", "--to", &format!("udp://127.77.0.1:{port}"), "metric", "x", "1"]);
    let expect = format!(
        "whippet: nothing is listening on 127.77.0.1:{port}; start a server with `whippet --set dogstatsd_port={port}`\n"
    );
    assert_eq!((got.stdout.as_str(), got.stderr.as_str(), got.code), ("", expect.as_str(), 1));
    let got = run(&["send", "--to", "unix:///nonexistent/s", "metric", "x", "1"]);
    assert!(got.stderr.contains("nothing is listening on /nonexistent/s"), "{}", got.stderr);
    assert_eq!(got.code, 1);
}
