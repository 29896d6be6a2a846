//! The real program on free ports, and ways to speak to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything is waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running `whippet`; killed when dropped.
pub struct Program {
    child: Child,
    logs: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    pub udp: String,
    pub admin: String,
}

/// The program without anything of this machine's environment.
pub fn whippet() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whippet"));
    command.env_clear();
    command
}

impl Program {
    /// Starts it with those keys on top of free ports and an interval of one second.
    pub fn start(set: &[(&str, &str)]) -> Self {
        let mut command = whippet();
        command.arg("run");
        let defaults = [
            ("dogstatsd_port", "__random__"),
            ("dogstatsd_socket", ""),
            ("bind_host", "127.0.0.1"),
            ("interval", "1"),
            ("hostname", "test-host"),
            ("admin_address", "127.0.0.1:0"),
            ("forwarder_apikey_validation_interval", "0"),
            ("output", "none"),
        ];
        for (key, value) in defaults.iter().chain(set) {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starting whippet");
        let logs = Arc::new(Mutex::new(Vec::new()));
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let into = Arc::clone(&logs);
        let reader = std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| into.lock().unwrap().push(line));
        });
        let mut program =
            Program { child, logs, reader: Some(reader), udp: String::new(), admin: String::new() };
        program.udp = program.told("udp  ");
        program.admin = program.told("admin ");
        program
    }

    /// The word after `beginning` in the first log line that begins so.
    pub fn told(&self, beginning: &str) -> String {
        let line = self.wait_log(|line| line.starts_with(beginning));
        line[beginning.len()..].split_whitespace().next().unwrap_or_default().to_owned()
    }

    /// The first log line that is wanted, once it is there.
    #[track_caller]
    pub fn wait_log(&self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let logs = self.logs.lock().unwrap();
            if let Some(line) = logs.iter().find(|line| wanted(line)) {
                return line.clone();
            }
            assert!(Instant::now() < deadline, "never logged; logs:\n{}", logs.join("\n"));
            drop(logs);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn send(&self, datagram: &str) {
        self.send_from(&UdpSocket::bind("127.0.0.1:0").unwrap(), datagram);
    }

    pub fn send_from(&self, socket: &UdpSocket, datagram: &str) {
        socket.send_to(datagram.as_bytes(), &self.udp).unwrap();
    }

    /// Status code and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        get(&self.admin, path)
    }

    pub fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// The first answer that is wanted.
    #[track_caller]
    pub fn wait_json(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.json(path);
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} stayed at {answer:#}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the status has seen so many lines in flushed buckets.
    #[track_caller]
    pub fn wait_lines(&self, count: u64) -> Value {
        self.wait_json("/status", |status| status["lines"]["received"].as_u64() >= Some(count))
    }

    /// Runs a command against this server.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let address = format!("admin_address={}", self.admin);
        let mut command = whippet();
        command.args(arguments).arg("--set").arg(address).output().expect("running whippet")
    }

    /// As [`Program::run`], its standard output; it must succeed.
    #[track_caller]
    pub fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the system says of the process: a file or folder below `/proc/PID`.
    pub fn proc(&self, name: &str) -> std::path::PathBuf {
        format!("/proc/{}/{name}", self.child.id()).into()
    }

    /// SIGTERM; all logs once it is gone.
    pub fn stop(mut self) -> Vec<String> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        self.reader.take().expect("once").join().unwrap();
        self.logs.lock().unwrap().clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // To HTTP/1.0 a stream comes without the lengths of its chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}
