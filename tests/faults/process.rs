//! The program as a child that is watched from outside: its memory, its log, its last words.
//!
//! A [`Setup`] is a folder with a configuration file; it can be started many times, as a service
//! is. Logs go to files, so that a flood of them can be measured.

use crate::support::intake::Intake;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take that should happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The API key of every test; no output and no file may show it.
pub const KEY: &str = "4f1c2a9b7d3e5f60718293a4b5c6d7e8";

/// A folder with a configuration.
pub struct Setup {
    folder: TempDir,
    settings: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
    open_files: Option<u64>,
    starts: AtomicUsize,
}

impl Setup {
    /// Posts there, once a second, and retries quickly.
    pub fn posting_to(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let settings = [
            ("api_key_file", path("key")),
            ("dd_url", url.to_owned()),
            ("hostname", "web-1".to_owned()),
            ("dogstatsd_port", "__random__".to_owned()),
            ("dogstatsd_socket", path("d.sock")),
            ("dogstatsd_stream_socket", path("s.sock")),
            ("interval", "1s".to_owned()),
            ("forwarder_backoff_base", "0.05".to_owned()),
            ("forwarder_backoff_max", "0.4".to_owned()),
            ("forwarder_timeout", "1".to_owned()),
            ("forwarder_storage_path", path("spool")),
            // The disk of whoever runs the tests may be rather full.
            ("forwarder_storage_max_disk_ratio", "1.0".to_owned()),
        ];
        fs::write(folder.path().join("key"), KEY).expect("a writable folder");
        let settings = settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Setup {
            folder,
            settings,
            environment: Vec::new(),
            open_files: None,
            starts: AtomicUsize::new(0),
        }
    }

    /// Posts to that intake.
    pub fn to(intake: &Intake) -> Self {
        // Tests count what they sent; and many servers run side by side.
        Self::posting_to(&intake.url()).set("self_telemetry", "false").set("admin_address", "''")
    }

    /// Sets a key of the configuration file.
    pub fn set(mut self, key: &str, value: impl Display) -> Self {
        self.change(key, value);
        self
    }

    /// Keeps what memory cannot hold on disk; memory holds `memory_bytes`.
    pub fn spooling(self, memory_bytes: u64) -> Self {
        self.set("forwarder_storage_max_size_in_bytes", 64 << 20)
            .set("forwarder_retry_queue_payloads_max_size", memory_bytes)
    }

    /// As [`Setup::set`], for the next start or reload.
    pub fn change(&mut self, key: &str, value: impl Display) {
        self.settings.insert(key.to_owned(), value.to_string());
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: impl Display) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Lets it open so many files at most, and not raise that.
    pub fn open_files(mut self, count: u64) -> Self {
        self.open_files = Some(count);
        self
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration file, as an operator does before a reload.
    pub fn write(&self) {
        let lines = self.settings.iter().map(|(key, value)| format!("{key}: {value}\n"));
        let text: String = lines.collect();
        fs::write(self.path("whippet.yaml"), text).expect("a writable folder");
    }

    /// Starts the program and waits until it listens: the one that cargo built beside the tests,
    /// or the one that the variable `WHIPPET` names.
    #[track_caller]
    pub fn start(&self) -> Process {
        let named = std::env::var_os("WHIPPET").map(PathBuf::from);
        let binary = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_whippet")));
        self.write();
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let log = self.path(&format!("log-{number}"));
        let file = File::create(&log).expect("a writable folder");
        let output = file.try_clone().expect("a descriptor");
        // The shell sets the limit and becomes the program.
        let limit = self.open_files.map(|count| format!("ulimit -n {count} && "));
        let run = format!("{}exec \"$0\" \"$@\"", limit.unwrap_or_default());
        let child = Command::new("/bin/sh")
            .args(["-c", &run])
            .arg(binary)
            .arg("run")
            .arg("--config")
            .arg(self.path("whippet.yaml"))
            .env_clear()
            .envs(self.environment.iter().cloned())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(file)
            .spawn()
            .expect("the program");
        let mut process =
            Process { child, folder: self.folder.path().to_owned(), log, udp: None, rss_max: 0 };
        let text = process.logs_until(|text| text.contains("receive buffer"));
        process.udp = text
            .lines()
            .find(|line| line.starts_with("udp "))
            .and_then(|line| line.split_whitespace().find_map(|word| word.parse().ok()));
        process
    }

    /// Every file in the folder, logs and spool included, with its bytes.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut folders = vec![self.folder.path().to_owned()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                match entry.file_type().expect("a type") {
                    kind if kind.is_dir() => folders.push(entry.path()),
                    // A record may go while we look.
                    kind if kind.is_file() => {
                        files.extend(fs::read(entry.path()).map(|bytes| (entry.path(), bytes)));
                    }
                    _ => {}
                }
            }
        }
        files
    }

    /// How many payloads wait on disk.
    pub fn records(&self) -> usize {
        let is_record = |(path, _): &&(PathBuf, Vec<u8>)| {
            path.extension().is_some_and(|extension| extension == "record")
        };
        self.files().iter().filter(is_record).count()
    }
}

/// The program at work; killed when dropped.
pub struct Process {
    child: Child,
    folder: PathBuf,
    log: PathBuf,
    udp: Option<SocketAddr>,
    rss_max: u64,
}

impl Process {
    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens for UDP.
    pub fn udp_address(&self) -> SocketAddr {
        self.udp.expect("it listens on UDP")
    }

    /// Sends one datagram to its Unix socket; waits while that is full, so nothing is lost.
    pub fn send(&self, datagram: impl AsRef<[u8]>) {
        self.unix().send(datagram.as_ref()).expect("sent");
    }

    /// A socket connected to its Unix datagram socket.
    pub fn unix(&self) -> UnixDatagram {
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.connect(self.folder.join("d.sock")).expect("a listener");
        socket
    }

    /// A connection to its Unix stream socket.
    pub fn stream(&self) -> UnixStream {
        UnixStream::connect(self.folder.join("s.sock")).expect("a listener")
    }

    /// A socket connected to its UDP port.
    pub fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        socket.connect(self.udp_address()).expect("an address");
        socket
    }

    /// Sends a signal, as `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        let status = Command::new("/bin/sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    /// What it has logged and printed.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("the log")).into_owned()
    }

    /// Waits until the log satisfies the condition.
    #[track_caller]
    pub fn logs_until(&mut self, condition: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.log();
            if condition(&text) {
                return text;
            }
            let ended = self.child.try_wait().expect("a child");
            assert!(
                ended.is_none() && Instant::now() < until,
                "the log does not say it ({ended:?}):\n{text}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Resident memory now, in bytes.
    pub fn rss(&mut self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        let rss = kilobytes.unwrap_or(0) << 10;
        self.rss_max = self.rss_max.max(rss);
        rss
    }

    /// The most that [`Process::rss`] has seen.
    pub fn rss_max(&self) -> u64 {
        self.rss_max
    }

    /// Processor time so far, all threads.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
        let ticks: u64 = fields.take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// SIGTERM, then its end.
    #[track_caller]
    pub fn terminate(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        };
        Ended { status, log: self.log() }
    }
}

impl Drop for Process {
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
    pub log: String,
}

/// `whole = kept + others`: lines or payloads as the last words give them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Books {
    /// Received, or built.
    pub whole: u64,
    /// The terms: recorded, refused, dropped; or delivered, waiting, dropped.
    pub parts: [u64; 3],
}

impl Books {
    /// Recorded, or delivered.
    pub fn kept(&self) -> u64 {
        self.parts[0]
    }

    /// Dropped.
    pub fn dropped(&self) -> u64 {
        self.parts[2]
    }
}

impl Ended {
    /// The equation of lines.
    #[track_caller]
    pub fn lines(&self) -> Books {
        self.equation("lines ", "lines ")
    }

    /// The equation of payloads.
    #[track_caller]
    pub fn payloads(&self) -> Books {
        self.equation("payloads ", "payloads ")
    }

    /// The equation of the points in the payloads.
    #[track_caller]
    pub fn points(&self) -> Books {
        self.equation("payloads ", "points ")
    }

    /// It ended well, and every equation holds.
    #[track_caller]
    pub fn balances(&self) -> (Books, Books) {
        assert_eq!(self.status.code(), Some(0), "{}", self.log);
        for books in [self.lines(), self.payloads(), self.points()] {
            assert_eq!(books.whole, books.parts.iter().sum::<u64>(), "{}", self.log);
        }
        (self.lines(), self.payloads())
    }

    /// The four numbers of `noun a b = c d + e f + g h` in the last line with that beginning.
    #[track_caller]
    fn equation(&self, beginning: &str, noun: &str) -> Books {
        let line = self.log.lines().rev().find(|line| line.starts_with(beginning));
        let equation = line.and_then(|line| Some(&line[line.find(noun)?..]));
        let equation = equation.and_then(|text| text.split(['(', ';']).next()).unwrap_or_default();
        let terms = equation.split(['=', '+']).map(|term| {
            let digits: String = term.chars().filter(char::is_ascii_digit).collect();
            digits.parse::<u64>().ok()
        });
        match terms.collect::<Option<Vec<u64>>>().as_deref() {
            Some(&[whole, first, second, third]) => Books { whole, parts: [first, second, third] },
            _ => panic!("no equation of {noun:?}:\n{}", self.log),
        }
    }
}

/// Length and payload, as a stream client writes them.
pub fn frame(payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).expect("a short payload");
    [&length.to_le_bytes(), payload].concat()
}

/// Looks again and again until the condition holds.
#[track_caller]
pub fn eventually(within: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + within;
    loop {
        let looked = Instant::now();
        if condition() {
            return;
        }
        assert!(Instant::now() < until, "not within {within:?}: {what}");
        // A long look holds the intake up.
        thread::sleep((looked.elapsed() * 10).max(Duration::from_millis(20)));
    }
}

/// Writes a row of `docs/reliability.md` where a long run can be read afterwards.
pub fn figure(scenario: &str, text: impl Display) {
    let row = format!("{scenario} | {text}");
    println!("{row}");
    if let Some(path) = std::env::var_os("FIGURES") {
        let file = File::options().create(true).append(true).open(path);
        writeln!(file.expect("a writable file"), "{row}").expect("written");
    }
}
