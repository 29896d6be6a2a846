//! The real program as a child process: started in a folder of its own with nothing of our
//! environment, spoken to over its sockets and by signals, killed when dropped.
//!
//! ```ignore
//! let intake = Intake::start();
//! let program = Setup::posting_to(&intake).set("interval", 1).start();
//! program.udp("x:1|c");
//! let ended = program.terminate();
//! ended.balances();
//! ```

use super::intake::Intake;
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take that should happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// The API key of every test; no output may show it.
pub const KEY: &str = "4f1c2a9b7d3e5f60718293a4b5c6d7e8";

/// What to start, and how.
pub struct Setup {
    folder: Arc<TempDir>,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl Setup {
    /// No key, no hint of a deployment: random port, both Unix sockets in the own folder.
    pub fn bare() -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let setup = Setup { folder, environment: Vec::new(), arguments: Vec::new() };
        let (datagram, stream) = (setup.path("d.sock"), setup.path("s.sock"));
        setup
            .set("dogstatsd_port", "__random__")
            .set("dogstatsd_socket", datagram.display())
            .set("dogstatsd_stream_socket", stream.display())
            .set("hostname", "web-1")
            // Tests count what they sent; and many servers run side by side.
            .set("self_telemetry", "false")
            .set("admin_address", "")
    }

    /// Posts to that intake.
    pub fn posting_to(intake: &Intake) -> Self {
        Setup::bare().env("DD_API_KEY", KEY).env("DD_DD_URL", intake.url())
    }

    /// Sets a key on the command line, the strongest layer; the last of a key wins.
    pub fn set(mut self, key: &str, value: impl Display) -> Self {
        let start = format!("{key}=");
        if let Some(at) = self.arguments.iter().position(|pair| pair.starts_with(&start)) {
            self.arguments.drain(at - 1..=at);
        }
        self.arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        self
    }

    /// Takes back what [`Setup::bare`] set, so that other layers can set it.
    pub fn unset(mut self, key: &str) -> Self {
        let start = format!("{key}=");
        if let Some(at) = self.arguments.iter().position(|pair| pair.starts_with(&start)) {
            self.arguments.drain(at - 1..=at);
        }
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl Display) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds an argument.
    pub fn argument(mut self, argument: impl Display) -> Self {
        self.arguments.push(argument.to_string());
        self
    }

    /// Lives in the folder of another, as a restarted program does.
    pub fn in_folder_of(mut self, other: &Setup) -> Self {
        let (old, new) = (self.folder.path().to_owned(), other.folder.path().to_owned());
        for argument in &mut self.arguments {
            *argument = argument.replace(&*old.to_string_lossy(), &new.to_string_lossy());
        }
        self.folder = Arc::clone(&other.folder);
        self
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `whippet.yaml` into its folder and points at it.
    pub fn yaml(self, text: &str) -> Self {
        let path = self.path("whippet.yaml");
        std::fs::write(&path, text).expect("a writable folder");
        self.argument("--config").argument(path.display())
    }

    /// Starts it and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Program {
        let mut program = self.spawn();
        program.wait_for_banner();
        program
    }

    /// Starts it and waits for nothing.
    pub fn start_unheard(self) -> Program {
        self.spawn()
    }

    /// Starts it and waits until it ends by itself.
    #[track_caller]
    pub fn run(self) -> Ended {
        self.spawn().wait()
    }

    fn spawn(self) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_whippet"))
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program that cargo built");
        let stdout = Heard::listen(child.stdout.take().expect("piped"));
        let stderr = Heard::listen(child.stderr.take().expect("piped"));
        Program { child, folder: self.folder, stdout, stderr, udp: None }
    }
}

/// The program at work.
pub struct Program {
    child: Child,
    folder: Arc<TempDir>,
    stdout: Heard,
    stderr: Heard,
    udp: Option<SocketAddr>,
}

impl Program {
    #[track_caller]
    fn wait_for_banner(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(address) = udp_of(&self.stderr.text()) {
                self.udp = Some(address);
                return;
            }
            let ended = self.child.try_wait().expect("a child");
            assert!(
                ended.is_none() && Instant::now() < until,
                "it does not listen ({ended:?}):\n{}",
                self.stderr.text()
            );
            self.stderr.changed_within(Duration::from_millis(20));
        }
    }

    /// Where it listens for UDP.
    pub fn udp_address(&self) -> SocketAddr {
        self.udp.expect("it listens on UDP")
    }

    /// Sends one datagram.
    pub fn udp(&self, datagram: impl AsRef<[u8]>) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        socket.send_to(datagram.as_ref(), self.udp_address()).expect("sent");
    }

    /// Sends one datagram to the Unix socket.
    pub fn unix_datagram(&self, datagram: impl AsRef<[u8]>) {
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.send_to(datagram.as_ref(), self.folder.path().join("d.sock")).expect("sent");
    }

    /// Sends one frame on a connection of its own.
    pub fn unix_stream(&self, payload: impl AsRef<[u8]>) {
        let payload = payload.as_ref();
        let mut stream =
            UnixStream::connect(self.folder.path().join("s.sock")).expect("a listener");
        let length = u32::try_from(payload.len()).expect("a short payload");
        stream.write_all(&[&length.to_le_bytes(), payload].concat()).expect("sent");
    }

    /// Sends a signal, as `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("/bin/sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    /// Waits until its logs satisfy the condition.
    #[track_caller]
    pub fn logs_until(&self, condition: impl Fn(&str) -> bool) -> String {
        self.stderr.until(condition)
    }

    /// Waits until what it printed satisfies the condition.
    #[track_caller]
    pub fn prints_until(&self, condition: impl Fn(&str) -> bool) -> String {
        self.stdout.until(condition)
    }

    /// SIGTERM, then waits for its end.
    #[track_caller]
    pub fn terminate(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(since.elapsed() < PATIENCE, "it does not end:\n{}", self.stderr.text());
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

/// What is left of a program.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// From the call that waited for the end.
    pub took: Duration,
    pub stdout: String,
    pub stderr: String,
    /// Its files stay until they were looked at.
    _folder: Arc<TempDir>,
}

/// `received = recorded + refused + dropped`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineBooks {
    pub received: u64,
    pub recorded: u64,
    pub refused: u64,
    pub dropped: u64,
}

/// `built = delivered + waiting + dropped`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadBooks {
    pub built: u64,
    pub delivered: u64,
    pub waiting: u64,
    pub dropped: u64,
}

impl Ended {
    /// The exit code; none when a signal killed it.
    pub fn code(&self) -> Option<i32> {
        assert_eq!(self.status.signal(), None, "killed:\n{}", self.stderr);
        self.status.code()
    }

    /// The equation of lines, as printed at the end.
    #[track_caller]
    pub fn lines(&self) -> LineBooks {
        let [received, recorded, refused, dropped] = self.figures("lines ", "=+");
        LineBooks { received, recorded, refused, dropped }
    }

    /// The equation of payloads, as printed at the end.
    #[track_caller]
    pub fn payloads(&self) -> PayloadBooks {
        let [built, delivered, waiting, dropped] = self.figures("payloads ", "=+");
        PayloadBooks { built, delivered, waiting, dropped }
    }

    /// It ended well, and both equations hold.
    #[track_caller]
    pub fn balances(&self) {
        assert_eq!(self.code(), Some(0), "{}", self.stderr);
        let (lines, payloads) = (self.lines(), self.payloads());
        let sum = lines.recorded + lines.refused + lines.dropped;
        assert_eq!(lines.received, sum, "{}", self.stderr);
        let sum = payloads.delivered + payloads.waiting + payloads.dropped;
        assert_eq!(payloads.built, sum, "{}", self.stderr);
    }

    /// The first numbers of the last line with that beginning, one per sign and one before.
    #[track_caller]
    fn figures(&self, beginning: &str, signs: &str) -> [u64; 4] {
        let line = self.stderr.lines().rev().find(|line| line.starts_with(beginning));
        let line = line.unwrap_or_else(|| panic!("no line {beginning:?}:\n{}", self.stderr));
        let equation = line.split([';', '(']).next().unwrap_or_default();
        let first = line[beginning.len()..].trim_start().chars().next();
        assert!(first.is_some_and(|c| c.is_ascii_digit()), "no number first: {line:?}");
        let figures: Vec<u64> = equation
            .split(|c| signs.contains(c))
            .map(|term| {
                let digits: String = term.chars().filter(char::is_ascii_digit).collect();
                digits.parse().unwrap_or_else(|_| panic!("no number in {term:?} of {line:?}"))
            })
            .collect();
        figures.try_into().unwrap_or_else(|_| panic!("not four numbers: {line:?}"))
    }
}

fn udp_of(log: &str) -> Option<SocketAddr> {
    let complete = &log[..=log.rfind('\n')?];
    let line = complete.lines().find(|line| line.starts_with("udp "))?;
    line.split_whitespace().find_map(|word| word.parse().ok())
}

/// Everything a pipe has carried so far.
struct Heard {
    shared: Arc<(Mutex<String>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Heard {
    fn listen(mut pipe: impl Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let target = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            let mut bytes = [0; 16 << 10];
            let mut all = Vec::new();
            while let Ok(count @ 1..) = pipe.read(&mut bytes) {
                all.extend_from_slice(&bytes[..count]);
                *target.0.lock().expect("no panic inside") = String::from_utf8_lossy(&all).into();
                target.1.notify_all();
            }
        });
        Heard { shared, reader: Some(reader) }
    }

    fn text(&self) -> String {
        self.shared.0.lock().expect("no panic inside").clone()
    }

    fn changed_within(&self, time: Duration) {
        let text = self.shared.0.lock().expect("no panic inside");
        drop(self.shared.1.wait_timeout(text, time).expect("no panic inside"));
    }

    #[track_caller]
    fn until(&self, condition: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if condition(&text) {
                return text;
            }
            assert!(Instant::now() < until, "not within {PATIENCE:?}; so far:\n{text}");
            self.changed_within(Duration::from_millis(20));
        }
    }

    fn rest(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no panic inside");
        }
        self.text()
    }
}
