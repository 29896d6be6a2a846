//! Words to the service manager: ready, reloading, alive, stopping.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use super::command::{PATIENCE, received, run_with_stdin, url_of};
use crate::support::program::{Setup, until};

/// What the service manager of the test received, message by message.
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

    /// A server that this one manages.
    fn setup(&self) -> Setup {
        Setup::bare().env("NOTIFY_SOCKET", self.folder.path().join("notify").display())
    }

    fn next(&self) -> String {
        let mut bytes = [0; 500];
        let length =
            received(|| self.socket.recv(&mut bytes)).expect("the manager hears of it in time");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn next_besides_watchdog(&self) -> String {
        loop {
            let message = self.next();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }
}

#[test]
fn the_service_manager_is_notified_of_start_reload_and_end() {
    let manager = Manager::new();
    let server = manager.setup().start();
    assert_eq!(manager.next(), "READY=1\n");
    server.signal("HUP");
    let message = manager.next();
    let micros =
        message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(|text| text.trim().parse::<u64>());
    assert!(matches!(micros, Some(Ok(1..))), "{message:?}");
    assert_eq!(manager.next(), "READY=1\n");
    server.end();
    assert_eq!(manager.next(), "STOPPING=1\n");
}

#[test]
fn the_watchdog_hears_from_a_server_that_lives() {
    let manager = Manager::new();
    let server = manager.setup().env("WATCHDOG_USEC", 200_000).set("interval", 3600).start();
    assert_eq!(manager.next(), "READY=1\n");
    let started = Instant::now();
    // The third is the first that stands on answers of every thread to two questions.
    for number in 0..4 {
        assert_eq!(manager.next(), "WATCHDOG=1\n", "{number}");
    }
    assert!(started.elapsed() >= Duration::from_millis(250), "{:?}", started.elapsed());
    server.end();
    assert_eq!(manager.next_besides_watchdog(), "STOPPING=1\n");
}

/// The flusher writes into a pipe without a reader: the server is stuck, though its process lives.
#[test]
fn the_watchdog_hears_nothing_from_a_server_that_is_stuck() {
    let manager = Manager::new();
    let setup = manager.setup().env("WATCHDOG_USEC", 400_000).set("output", "jsonl");
    let server = setup.set("interval", 1).stdout_unread().start();
    let lines: String = (0..4_000).map(|number| format!("metric.{number}:1|c\n")).collect();
    let to = url_of(&server);
    assert_eq!(run_with_stdin(&["send", "--to", &to, "raw", "-"], lines.as_bytes()).code, 0);

    // The signs of life before are read, as a manager does: its queue is short, and a full one
    // would hold the watchdog's thread up.
    manager.socket.set_nonblocking(true).unwrap();
    let drain = || while manager.socket.recv(&mut [0; 100]).is_ok() {};
    let complaints = || server.log().matches("a thread does not answer").count();
    until("it says that a thread does not answer", || {
        drain();
        (complaints() > 0).then_some(())
    });
    drain();
    let before = complaints();
    until("it says so again", || (complaints() >= before + 2).then_some(()));
    let message = received(|| manager.socket.recv(&mut [0; 100])).map_err(|error| error.kind());
    assert_eq!(message, Err(io::ErrorKind::WouldBlock), "the manager got a sign of life");
}
