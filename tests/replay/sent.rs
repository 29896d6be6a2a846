//! Files of an Agent sent to a socket.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::agent_file::{file, written};
use crate::support::program::{PATIENCE, whippet};

const SECOND: u64 = 1_700_000_000;

fn replay(path: &Path, arguments: &[&str]) -> Command {
    let mut command = whippet();
    command.arg("replay").arg(path).args(arguments);
    command
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    errors
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 65_536];
    let length = socket.recv(&mut buffer).expect("a datagram");
    buffer[..length].to_vec()
}

#[test]
fn every_version_of_the_file_is_sent_plain_and_compressed() {
    let folder = tempfile::tempdir().unwrap();
    for version in 0..=3 {
        let unit = if version == 3 { 1_000_000_000 } else { 1 };
        let records: [(u64, &[u8], u32); 3] = [
            (SECOND * unit, b"a:1|c\nb:2|g", 77),
            (SECOND * unit, b"", 77),
            (SECOND * unit, b"c", 0),
        ];
        let plain = file(version, &records);
        let packed = zstd::encode_all(&plain[..], 3).unwrap();
        for (bytes, what) in [(plain, "plain"), (packed, "zstd")] {
            let path = written(folder.path(), &format!("v{version}.{what}"), &bytes);
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let to = socket.local_addr().unwrap().to_string();
            let said = succeeds(&replay(&path, &["--to", &to, "-v"]).output().unwrap());
            for (_, payload, _) in records {
                assert_eq!(receive(&socket), payload, "version {version} {what}");
            }
            assert!(said.contains("sent 3 datagrams, 12 bytes, to udp 127.0.0.1:"), "{said}");
            assert_eq!(said.matches("sent 11 bytes\n").count(), 1, "{said}");
        }
    }
}

#[test]
fn datagrams_keep_their_distance_divided_by_the_speed() {
    let folder = tempfile::tempdir().unwrap();
    let nanos = SECOND * 1_000_000_000;
    let bytes = file(3, &[(nanos, b"a", 1), (nanos + 400_000_000, b"b", 1), (nanos, b"back", 1)]);
    let path = written(folder.path(), "f", &bytes);
    for (speed, least) in [("1", 400), ("2", 200)] {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = format!("udp://{}", socket.local_addr().unwrap());
        let mut child = replay(&path, &["--to", &to, "--speed", speed]).spawn().unwrap();
        receive(&socket);
        let first = Instant::now();
        receive(&socket);
        let between = first.elapsed();
        // A sleep is never too short; the first datagram may have waited to be read.
        assert!(between > Duration::from_millis(least / 2), "{speed}: {between:?}");
        receive(&socket);
        assert!(child.wait().unwrap().success());
    }
    // Years apart, and no wait.
    let bytes = file(2, &[(1, b"a", 1), (SECOND, b"b", 1)]);
    let path = written(folder.path(), "years", &bytes);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.local_addr().unwrap().to_string();
    succeeds(&replay(&path, &["--to", &to, "--speed", "max"]).output().unwrap());
    assert_eq!((receive(&socket), receive(&socket)), (b"a".to_vec(), b"b".to_vec()));
}

#[test]
fn a_file_is_sent_again_and_the_agents_flags_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "f", &file(3, &[(1, b"a", 1), (2, b"b", 1)]));
    let socket_path = folder.path().join("d.sock");
    let socket = UnixDatagram::bind(&socket_path).unwrap();
    let mut command = whippet();
    command.args(["dogstatsd-replay", "-m", "-l", "2", "-f"]).arg(&path);
    command.env("DD_DOGSTATSD_URL", format!("unix://{}", socket_path.display()));
    let said = succeeds(&command.output().unwrap());
    assert!(said.contains("sent 4 datagrams"), "{said}");
    let got: Vec<u8> = (0..4)
        .map(|_| {
            let mut byte = [0];
            socket.recv(&mut byte).unwrap();
            byte[0]
        })
        .collect();
    assert_eq!(got, b"abab");
}

#[test]
fn what_cannot_be_sent_is_said_with_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let long = vec![b'x'; 66_000];
    let path = written(folder.path(), "f", &file(3, &[(1, &long, 1), (2, b"b", 1)]));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.local_addr().unwrap().to_string();
    let output = replay(&path, &["--to", &to]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("left out 1: longer than the socket takes"), "{said}");
    assert_eq!(receive(&socket), b"b");
    drop(socket);
    let output = replay(&path, &["--to", "/nonexistent.sock"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing is listening on /nonexistent.sock"), "{said}");
}
