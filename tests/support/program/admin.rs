//! The admin pages and the commands that read them.

use super::setup::whippet;
use super::{PATIENCE, Program};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;
use std::time::{Duration, Instant};

impl Program {
    /// Where its admin pages are.
    pub fn admin(&self) -> String {
        self.log_word("admin ")
    }

    /// Status code and body of a page.
    pub fn get(&self, path: &str) -> (u16, String) {
        get(&self.admin(), path)
    }

    #[track_caller]
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
        self.wait_json("/status", |status| {
            let number = |value: &Value| value.as_u64().expect("a number");
            number(&status["lines"]["received"]) - number(&status["lines_open"]) >= count
        })
    }

    /// Runs a command against this server.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let address = format!("admin_address={}", self.admin());
        whippet().args(arguments).arg("--set").arg(address).output().expect("running whippet")
    }

    /// As [`Program::run`], its standard output; it must succeed.
    #[track_caller]
    pub fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Status code and body of a page at that address.
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
