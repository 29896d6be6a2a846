//! The real program, flushing every second as JSON lines on its standard output.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::kubelet::Kubelet;

/// How long anything may take that should happen. Sources are read again after 1, 2, 4, 8 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to start.
pub struct Setup {
    folder: TempDir,
    arguments: Vec<String>,
    /// Its first pods are waited for.
    waits: bool,
}

impl Setup {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let setup = Setup { folder, arguments: vec!["run".to_owned()], waits: false };
        let (socket, groups) = (setup.path("d.sock"), setup.path("cgroup"));
        std::fs::create_dir_all(&groups).expect("a writable folder");
        setup
            .set("output", "jsonl")
            .set("interval", 1)
            .set("hostname", "node-1")
            .set("dogstatsd_port", "__random__")
            .set("dogstatsd_socket", socket.display())
            .set("container_cgroup_root", groups.display())
    }

    pub fn set(mut self, key: &str, value: impl Display) -> Self {
        self.arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        self
    }

    /// Reads the pods of that kubelet, trusting it.
    pub fn with(mut self, kubelet: &Kubelet) -> Self {
        self.waits = true;
        let settings = kubelet.settings(self.folder.path());
        let (token, ca) = (settings.token_path.expect("set"), settings.ca_path.expect("set"));
        self.set("kubernetes_kubelet_host", "localhost")
            .set("kubernetes_https_kubelet_port", kubelet.port)
            .set("kubelet_auth_token_path", token.display())
            .set("kubelet_client_ca", ca.display())
    }

    /// Looks up senders in a process file system where this test runs in that control group.
    pub fn detecting(self, cgroup: &str) -> Self {
        let root = self.path("proc");
        let own = root.join(std::process::id().to_string());
        std::fs::create_dir_all(&own).expect("a writable folder");
        std::fs::write(own.join("cgroup"), cgroup).expect("a writable folder");
        self.set("dogstatsd_origin_detection", true).set("container_proc_root", root.display())
    }

    /// Does not wait for that kubelet.
    pub fn impatient(mut self) -> Self {
        self.waits = false;
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Reads this file, too.
    pub fn config(mut self, file: &Path) -> Self {
        self.arguments.extend(["--config".to_owned(), file.display().to_string()]);
        self
    }

    /// Starts it and waits until it listens.
    pub fn start(self) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_whippet"))
            .args(&self.arguments)
            .env_clear()
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program that cargo built");
        let heard = [child.stdout.take().map(listen), child.stderr.take().map(listen)];
        let [stdout, stderr] = heard.map(|heard| heard.expect("piped"));
        let program = Program { child, folder: self.folder, stdout, stderr };
        program.logs("receive buffer");
        if self.waits {
            program.logs("pods known");
        }
        // The socket file is there before the lanes read it; what is sent waits.
        until("the socket", || program.path("d.sock").exists().then_some(()));
        program
    }
}

/// The program at work; killed when dropped.
pub struct Program {
    child: Child,
    folder: TempDir,
    stdout: Heard,
    stderr: Heard,
}

type Heard = Arc<(Mutex<Vec<String>>, Condvar)>;

fn listen(stream: impl Read + Send + 'static) -> Heard {
    let heard = Heard::default();
    let lines = Arc::clone(&heard);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            lines.1.notify_all();
        }
    });
    heard
}

/// Waits for the first line in which `find` finds something.
#[track_caller]
fn first<T>(heard: &Heard, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    let mut lines = heard.0.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(found) = lines.iter().find_map(|line| find(line)) {
            return found;
        }
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "no {what} in:\n{}", lines.join("\n"));
        lines = heard.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Asks again until there is an answer.
#[track_caller]
pub fn until<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

impl Program {
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends a datagram over the Unix socket, as this process.
    pub fn uds(&self, datagram: &str) {
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.send_to(datagram.as_bytes(), self.path("d.sock")).expect("a listening server");
    }

    /// Sends a datagram over UDP.
    pub fn udp(&self, datagram: &str) {
        let port = first(&self.stderr, "UDP port", |line| {
            let at = line.find("udp  127.0.0.1:")? + "udp  127.0.0.1:".len();
            line[at..].split(|c: char| !c.is_ascii_digit()).next()?.parse::<u16>().ok()
        });
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.send_to(datagram.as_bytes(), ("127.0.0.1", port)).expect("loopback");
    }

    /// Waits until its log says this.
    #[track_caller]
    pub fn logs(&self, text: &str) -> String {
        first(&self.stderr, text, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        self.stderr.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Waits for a series, event or check of this name and gives its tags, sorted.
    #[track_caller]
    pub fn tags(&self, name: &str) -> Tags {
        let value = first(&self.stdout, name, |line| posted(line, name));
        tags_of(&value)
    }

    /// Every series of this name so far: its second, value and tags.
    pub fn series(&self, name: &str) -> Vec<(u64, f64, Tags)> {
        let lines = self.stdout.0.lock().unwrap_or_else(PoisonError::into_inner);
        let point = |value: &Value| {
            let point = &value["points"][0];
            (point[0].as_u64().expect("a second"), point[1].as_f64().expect("a value"))
        };
        let of = |value: Value| (point(&value).0, point(&value).1, tags_of(&value));
        lines.iter().filter_map(|line| posted(line, name)).map(of).collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("every system has kill").success());
    }

    /// Ends it with SIGTERM and gives its whole log.
    pub fn end(mut self) -> String {
        self.signal("TERM");
        assert!(self.child.wait().expect("our child").success());
        self.logs("payloads");
        self.log()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn posted(line: &str, name: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    ["metric", "title", "name"].iter().any(|field| value[field] == name).then_some(value)
}

fn tags_of(value: &Value) -> Tags {
    let tags = value["tags"].as_array().expect("a list of tags");
    Tags(tags.iter().map(|tag| tag.as_str().expect("text").to_owned()).collect())
}

/// A set of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags(BTreeSet<String>);

impl Tags {
    pub fn has(&self, tag: &str) -> bool {
        self.0.contains(tag)
    }

    #[track_caller]
    pub fn have(&self, tags: &[&str]) -> &Self {
        for tag in tags {
            assert!(self.0.contains(*tag), "{tag} in {:?}", self.0);
        }
        self
    }

    /// No tag has one of these keys.
    #[track_caller]
    pub fn lack(&self, keys: &[&str]) -> &Self {
        for tag in &self.0 {
            let key = tag.split(':').next().unwrap_or_default();
            assert!(!keys.contains(&key), "{tag} in {:?}", self.0);
        }
        self
    }

    #[track_caller]
    pub fn are(&self, tags: &[&str]) {
        let tags: BTreeSet<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        assert_eq!(self.0, tags);
    }
}
