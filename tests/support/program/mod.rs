//! The real program as a child process: started in a folder of its own with nothing of our
//! environment, spoken to over its sockets, its admin pages and by signals, killed when dropped.
//!
//! ```ignore
//! let intake = Intake::start();
//! let program = Setup::posting_to(&intake).set("interval", 1).start();
//! program.udp("x:1|c");
//! program.terminate().balances();
//! ```

mod admin;
mod captured;
mod ended;
mod measures;
mod setup;

pub use admin::get;
pub use ended::{Ended, LineCounts};
pub use setup::{KEY, Setup, whippet};

use captured::Captured;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take that should happen, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program at work.
pub struct Program {
    child: Child,
    folder: Arc<TempDir>,
    stdout: Captured,
    stderr: Captured,
    udp: Option<SocketAddr>,
    rss_max: u64,
}

impl Program {
    #[track_caller]
    fn wait_for_banner(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            // Every listener is named with its buffer, UDP first; plain or as JSON.
            if let Some((banner, _)) = log.rsplit_once("receive buffer") {
                let udp = banner.split_once("udp ").map(|(_, after)| after.split_whitespace());
                self.udp = udp.into_iter().flatten().find_map(|word| word.parse().ok());
                return;
            }
            let ended = self.child.try_wait().expect("a child");
            let waits = ended.is_none() && Instant::now() < until;
            assert!(waits, "it does not listen ({ended:?}):\n{log}");
            self.stderr.changed_within(Duration::from_millis(20));
        }
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where it listens for UDP.
    pub fn udp_address(&self) -> SocketAddr {
        self.udp.expect("it listens on UDP")
    }

    /// Sends one datagram.
    pub fn udp(&self, datagram: impl AsRef<[u8]>) {
        self.udp_from(&UdpSocket::bind("127.0.0.1:0").expect("loopback"), datagram);
    }

    /// Sends one datagram from that socket.
    pub fn udp_from(&self, socket: &UdpSocket, datagram: impl AsRef<[u8]>) {
        socket.send_to(datagram.as_ref(), self.udp_address()).expect("sent");
    }

    /// A socket connected to its Unix datagram socket. While that is full, a sender waits.
    pub fn unix(&self) -> UnixDatagram {
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.connect(self.path("d.sock")).expect("a listener");
        socket
    }

    /// Sends one datagram to the Unix socket.
    pub fn unix_datagram(&self, datagram: impl AsRef<[u8]>) {
        self.unix().send(datagram.as_ref()).expect("sent");
    }

    /// A connection to its Unix stream socket.
    pub fn stream(&self) -> UnixStream {
        UnixStream::connect(self.path("s.sock")).expect("a listener")
    }

    /// Sends one frame on a connection of its own.
    pub fn unix_stream(&self, payload: impl AsRef<[u8]>) {
        self.stream().write_all(&frame(payload)).expect("sent");
    }

    /// Sends a signal, as `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("/bin/sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.stderr.text()
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        self.stdout.text()
    }

    /// Waits until its logs satisfy the condition.
    #[track_caller]
    pub fn logs_until(&self, condition: impl Fn(&str) -> bool) -> String {
        self.stderr.until(|log| condition(log).then(|| log.to_owned()))
    }

    /// Waits until its log says this; the whole line.
    #[track_caller]
    pub fn logs(&self, text: &str) -> String {
        self.log_line(|line| line.contains(text))
    }

    /// The first whole line of its log that is wanted, once it is there.
    #[track_caller]
    pub fn log_line(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.stderr.until(|log| {
            let mut lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines.find(|line| wanted(line)).map(|line| line.trim_end().to_owned())
        })
    }

    /// The word after that beginning in the first line of the log that begins so.
    #[track_caller]
    pub fn log_word(&self, beginning: &str) -> String {
        let line = self.log_line(|line| line.starts_with(beginning));
        line[beginning.len()..].split_whitespace().next().unwrap_or_default().to_owned()
    }

    /// Waits until what it printed satisfies the condition.
    #[track_caller]
    pub fn prints_until(&self, condition: impl Fn(&str) -> bool) -> String {
        self.stdout.until(|text| condition(text).then(|| text.to_owned()))
    }

    /// SIGTERM, then waits for its end.
    #[track_caller]
    pub fn terminate(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }

    /// SIGTERM; it must end well. Its whole log.
    #[track_caller]
    pub fn end(self) -> String {
        let ended = self.terminate();
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        ended.stderr
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(since.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        };
        let took = since.elapsed();
        let (stdout, stderr) = (self.stdout.rest(), self.stderr.rest());
        for output in [&stdout, &stderr] {
            assert!(!output.contains(KEY), "the API key is shown:\n{output}");
        }
        Ended { status, took, stdout, stderr, _folder: Arc::clone(&self.folder) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Length and payload, as a stream client writes them.
pub fn frame(payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).expect("a short payload");
    [&length.to_le_bytes(), payload].concat()
}

/// Looks again and again until there is an answer.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Looks again and again until the condition holds.
#[track_caller]
pub fn eventually(time: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    within(time, what, || condition().then_some(()));
}

#[track_caller]
fn within<T>(time: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + time;
    loop {
        let looked = Instant::now();
        if let Some(answer) = look() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {time:?}: {what}");
        // A long look holds up what is looked at.
        thread::sleep((looked.elapsed() * 2).max(Duration::from_millis(10)));
    }
}
