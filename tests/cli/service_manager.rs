//! Words to the service manager: ready, reloading, alive, stopping.

use std::io::{self, BufRead};
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::command::{PATIENCE, received, run_with_stdin};
use super::server::Server;

/// What the service manager of the test was told, message by message.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, folder }
    }

    fn path(&self) -> String {
        self.folder.path().join("notify").display().to_string()
    }

    fn next(&self) -> String {
        let mut bytes = [0; 500];
        let length =
            received(|| self.socket.recv(&mut bytes)).expect("the manager is told in time");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn next_besides_watchdog(&self) -> String {
        loop {
            let told = self.next();
            if told != "WATCHDOG=1\n" {
                return told;
            }
        }
    }
}

#[test]
fn the_service_manager_is_told_of_start_reload_and_end() {
    let manager = Manager::new();
    let server = Server::start(&[], &[("NOTIFY_SOCKET", &manager.path())]);
    assert_eq!(manager.next(), "READY=1\n");
    server.signal("-HUP");
    let told = manager.next();
    let micros =
        told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(|text| text.trim().parse::<u64>());
    assert!(matches!(micros, Some(Ok(1..))), "{told:?}");
    assert_eq!(manager.next(), "READY=1\n");
    let (code, _, stderr) = server.stop();
    assert_eq!(manager.next(), "STOPPING=1\n");
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn the_watchdog_hears_from_a_server_that_lives() {
    let manager = Manager::new();
    let env = [("NOTIFY_SOCKET", &*manager.path()), ("WATCHDOG_USEC", "200000")];
    let server = Server::start(&["interval=3600"], &env);
    assert_eq!(manager.next(), "READY=1\n");
    let started = Instant::now();
    // The third is the first that stands on answers of every thread to two questions.
    for number in 0..4 {
        assert_eq!(manager.next(), "WATCHDOG=1\n", "{number}");
    }
    assert!(started.elapsed() >= Duration::from_millis(250), "{:?}", started.elapsed());
    let (code, ..) = server.stop();
    assert_eq!(manager.next_besides_watchdog(), "STOPPING=1\n");
    assert_eq!(code, 0);
}

/// The flusher writes into a pipe that nobody reads: the server is stuck, though its process lives.
#[test]
fn the_watchdog_hears_nothing_from_a_server_that_is_stuck() {
    let manager = Manager::new();
    let env = [
        ("NOTIFY_SOCKET", &*manager.path()),
        ("WATCHDOG_USEC", "400000"),
        ("WHIPPET_OUTPUT", "jsonl"),
    ];
    let mut server = Server::start(&["interval=1"], &env);
    let to = format!("udp://127.0.0.1:{}", server.port);
    let lines: String = (0..4_000).map(|number| format!("metric.{number}:1|c\n")).collect();
    assert_eq!(run_with_stdin(&["send", "--to", &to, "raw", "-"], lines.as_bytes()).code, 0);

    let (said, heard) = mpsc::channel();
    let mut stderr = std::mem::replace(&mut server.said, Box::new(io::empty()));
    thread::spawn(move || {
        let mut line = String::new();
        while stderr.read_line(&mut line).is_ok_and(|length| length > 0) {
            let stuck = line.contains("a thread does not answer");
            line.clear();
            if stuck && said.send(()).is_err() {
                break;
            }
        }
    });
    // The signs of life before are read, as a manager does: its queue is short, and a full one
    // would hold the watchdog's thread up.
    manager.socket.set_nonblocking(true).unwrap();
    let started = Instant::now();
    while heard.recv_timeout(Duration::from_millis(50)).is_err() {
        assert!(started.elapsed() < PATIENCE, "it never says that a thread does not answer");
        while manager.socket.recv(&mut [0; 100]).is_ok() {}
    }
    while manager.socket.recv(&mut [0; 100]).is_ok() {}
    for _ in 0..2 {
        heard.recv_timeout(PATIENCE).expect("it says so again");
    }
    let told = received(|| manager.socket.recv(&mut [0; 100])).map_err(|error| error.kind());
    assert_eq!(told, Err(io::ErrorKind::WouldBlock), "the manager was told that all is well");
}
