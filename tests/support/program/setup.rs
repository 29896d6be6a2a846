//! What to start, and how: settings, environment, a folder that outlives restarts.

use super::Program;
use super::captured::Captured;
use crate::support::intake::Intake;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// The API key of every test; no output and no file may show it.
pub const KEY: &str = "4f1c2a9b7d3e5f60718293a4b5c6d7e8";

/// The program with nothing of our environment: the one that cargo built beside the tests, or the
/// one that the variable `WHIPPET` names.
pub fn whippet() -> Command {
    let named = std::env::var_os("WHIPPET").map(PathBuf::from);
    let mut command =
        Command::new(named.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_whippet"))));
    command.env_clear().stdin(Stdio::null());
    command
}

/// What to start, and how. It can be started more than once, as a service is.
pub struct Setup {
    folder: Arc<TempDir>,
    settings: BTreeMap<String, String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    settings_in_file: bool,
    /// Arguments of `ulimit`.
    limits: Vec<String>,
    reads_stdout: bool,
    waits_for: Vec<String>,
}

impl Setup {
    /// No key, no hint of a deployment: random port, both Unix sockets in the own folder.
    pub fn bare() -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let setup = Setup {
            folder,
            settings: BTreeMap::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            settings_in_file: false,
            limits: Vec::new(),
            reads_stdout: true,
            waits_for: Vec::new(),
        };
        let (datagram, stream) = (setup.path("d.sock"), setup.path("s.sock"));
        let run_path = setup.path("run");
        setup
            .set("dogstatsd_port", "__random__")
            .set("dogstatsd_socket", datagram.display())
            .set("dogstatsd_stream_socket", stream.display())
            .set("hostname", "web-1")
            .set("run_path", run_path.display())
            // Tests count what they sent; and many servers run side by side.
            .set("self_telemetry", "false")
            .set("admin_address", "")
    }

    /// Posts to that intake.
    pub fn posting_to(intake: &Intake) -> Self {
        Setup::bare().env("DD_API_KEY", KEY).env("DD_DD_URL", intake.url())
    }

    /// Sets a key, on the command line unless [`Setup::in_file`].
    pub fn set(mut self, key: &str, value: impl Display) -> Self {
        self.change(key, value);
        self
    }

    /// As [`Setup::set`], for the next start or [`Setup::write`].
    pub fn change(&mut self, key: &str, value: impl Display) {
        self.settings.insert(key.to_owned(), value.to_string());
    }

    /// Takes back what was set, so that other layers can set it.
    pub fn unset(mut self, key: &str) -> Self {
        self.settings.remove(key);
        self
    }

    /// Settings go to `whippet.yaml`, where a reload finds them.
    pub fn in_file(mut self) -> Self {
        self.settings_in_file = true;
        self
    }

    /// Writes `whippet.yaml` into its folder and points at it; settings stay on the command line,
    /// the stronger layer.
    pub fn yaml(self, text: &str) -> Self {
        self.rewrite(text);
        let path = self.path("whippet.yaml");
        self.argument("--config").argument(path.display())
    }

    /// Writes another `whippet.yaml`, as an operator does before a reload.
    pub fn rewrite(&self, text: &str) {
        std::fs::write(self.path("whippet.yaml"), text).expect("a writable folder");
    }

    /// As [`Setup::rewrite`], with the settings of [`Setup::in_file`].
    pub fn write(&self) {
        let text = |value: &str| if value.is_empty() { "''".to_owned() } else { value.to_owned() };
        let lines = self.settings.iter().map(|(key, value)| format!("{key}: {}\n", text(value)));
        self.rewrite(&lines.collect::<String>());
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

    /// Lets it open so many files at most, and not raise that.
    pub fn open_files(mut self, count: u64) -> Self {
        self.limits.push(format!("-n {count}"));
        self
    }

    /// Lets no file grow beyond so many blocks of 512 bytes.
    pub fn file_blocks(mut self, count: u64) -> Self {
        self.limits.push(format!("-f {count}"));
        self
    }

    /// Its standard output is a pipe that no one reads.
    pub fn stdout_unread(mut self) -> Self {
        self.reads_stdout = false;
        self
    }

    /// A start waits until the log says this, too.
    pub fn waits_for(mut self, text: &str) -> Self {
        self.waits_for.push(text.to_owned());
        self
    }

    /// Lives in the folder of another, as a restarted program does.
    pub fn in_folder_of(mut self, other: &Setup) -> Self {
        let (old, new) = (self.folder.path().to_owned(), other.folder.path().to_owned());
        for text in self.settings.values_mut().chain(&mut self.arguments) {
            *text = text.replace(&*old.to_string_lossy(), &new.to_string_lossy());
        }
        self.folder = Arc::clone(&other.folder);
        self
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Every file in its folder, spool included, with its bytes.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut folders = vec![self.folder.path().to_owned()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
                match entry.file_type().expect("a type") {
                    kind if kind.is_dir() => folders.push(entry.path()),
                    // A record may go while we look.
                    kind if kind.is_file() => {
                        files
                            .extend(std::fs::read(entry.path()).map(|bytes| (entry.path(), bytes)));
                    }
                    _ => {}
                }
            }
        }
        files
    }

    /// Starts it and waits until it listens.
    #[track_caller]
    pub fn start(&self) -> Program {
        let mut program = self.spawn();
        program.wait_for_banner();
        for text in &self.waits_for {
            program.logs(text);
        }
        program
    }

    /// The same with `check-config`: what that prints, and how it ends.
    #[track_caller]
    pub fn checked(&self) -> super::Ended {
        self.spawn_command(Some("check-config")).wait()
    }

    /// Starts it and waits for nothing.
    pub fn spawn(&self) -> Program {
        self.spawn_command(None)
    }

    fn spawn_command(&self, name: Option<&str>) -> Program {
        let mut command = whippet();
        if !self.limits.is_empty() {
            // The shell sets the limits and becomes the program.
            let limits = self.limits.iter().map(|limit| format!("ulimit {limit} && "));
            let script = format!("{}exec \"$0\" \"$@\"", limits.collect::<String>());
            let program = command.get_program().to_owned();
            command = Command::new("/bin/sh");
            command.args(["-c", &script]).arg(program);
            command.env_clear().stdin(Stdio::null());
        }
        if self.settings_in_file {
            self.write();
            command.arg("--config").arg(self.path("whippet.yaml"));
        } else {
            for (key, value) in &self.settings {
                command.arg("--set").arg(format!("{key}={value}"));
            }
        }
        command.args(name).args(&self.arguments);
        let mut child = command
            .envs(self.environment.iter().cloned())
            .current_dir(self.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program that cargo built");
        let stdout = if self.reads_stdout { child.stdout.take().map(Captured::of) } else { None };
        Program {
            stdout: stdout.unwrap_or_default(),
            stderr: Captured::of(child.stderr.take().expect("piped")),
            child,
            folder: Arc::clone(&self.folder),
            udp: None,
            rss_max: 0,
        }
    }

    /// Starts it and waits until it ends by itself.
    #[track_caller]
    pub fn run(&self) -> super::Ended {
        self.spawn().wait()
    }
}
