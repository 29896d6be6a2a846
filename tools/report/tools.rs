//! The programs a session drives, and what their output says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Any failure, as text.
pub type Error = Box<dyn std::error::Error>;

/// Settings of every measured server: output is encoded and discarded, no admin server.
pub const SERVER_ENVIRONMENT: [(&str, &str); 3] =
    [("WHIPPET_OUTPUT", "none"), ("WHIPPET_ADMIN_ADDRESS", ""), ("DD_HOSTNAME", "bench")];

pub struct Tools {
    pub rounds: usize,
    pub seconds: u64,
    pub whippet: PathBuf,
    floor: PathBuf,
    ingest: Option<PathBuf>,
}

impl Tools {
    pub fn new(rounds: usize, seconds: u64, ingest: Option<PathBuf>) -> Self {
        // What was built beside this program: target/dist/examples/report measures target/dist/whippet.
        let beside = std::env::current_exe().ok();
        let built = beside.as_deref().and_then(Path::parent).and_then(Path::parent);
        let built = built.unwrap_or(Path::new("target/dist"));
        Tools {
            rounds,
            seconds,
            whippet: built.join("whippet"),
            floor: built.join("examples/floor"),
            ingest: ingest.or_else(|| newest(Path::new("target/release/deps"), "ingest-")),
        }
    }

    /// The command line of the server, for the bench tool to fill in: on UDP, or on a Unix socket.
    pub fn server(&self, transport: &str) -> String {
        let environment: Vec<String> =
            SERVER_ENVIRONMENT.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!(
            "env {} {} {} run",
            environment.join(" "),
            match transport {
                "udp" => "DD_DOGSTATSD_PORT={port} DD_DOGSTATSD_SOCKET=",
                _ => "DD_DOGSTATSD_PORT=0 DD_DOGSTATSD_SOCKET={path}",
            },
            self.whippet.display()
        )
    }

    /// The command line of the floor.
    pub fn floor(&self, more: &str) -> String {
        format!("{} --target {{target}} {more}", self.floor.display())
    }

    /// Runs the bench tool and reads its report.
    pub fn bench(&self, args: &[&str]) -> Result<Value, Error> {
        let output = Command::new(&self.whippet)
            .arg("bench")
            .args(args)
            .args(["--json", "--no-check"])
            .stderr(Stdio::null())
            .output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Runs the ingest bench with these settings; its output.
    pub fn ingest(&self, settings: &[(&str, &str)], under: &[&str]) -> Result<String, Error> {
        let bench = self.ingest.as_ref().ok_or("the ingest bench is not built")?;
        let mut command = match under {
            [program, args @ ..] => {
                let mut command = Command::new(program);
                command.args(args).arg(bench);
                command
            }
            [] => Command::new(bench),
        };
        let output = command.envs(settings.iter().copied()).arg("--quiet").output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The youngest program in a folder whose name begins so.
fn newest(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let named = entries.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with(prefix) && !name.contains('.')
    });
    named
        .max_by_key(|entry| entry.metadata().and_then(|found| found.modified()).ok())
        .map(|entry| entry.path())
}

/// The number that follows `word` in a text, skipping what is between.
pub fn number_after(text: &str, word: &str) -> Option<f64> {
    let rest = &text[text.find(word)? + word.len()..];
    let from = rest.find(|byte: char| byte.is_ascii_digit())?;
    let digits: String = rest[from..]
        .chars()
        .take_while(|byte| byte.is_ascii_digit() || matches!(byte, '.' | ','))
        .filter(|byte| *byte != ',')
        .collect();
    digits.trim_end_matches('.').parse().ok()
}

/// The middle of some numbers; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[length / 2],
        length => (sorted[length / 2 - 1] + sorted[length / 2]) / 2.0,
    }
}
