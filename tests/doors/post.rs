//! Requests to the doors, and what the intake got of them.

use crate::support::intake::State;
use crate::support::program::Setup;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Opens the doors on a socket in the folder of the test.
pub fn open(setup: Setup) -> Setup {
    let path = setup.path("apm.socket");
    setup.set("apm_config.receiver_socket", path.display())
}

/// The socket of [`open`].
pub struct Socket(PathBuf);

impl Socket {
    pub fn of(setup: &Setup) -> Self {
        Socket(setup.path("apm.socket"))
    }

    /// Waits until it is open, which is after the log names it.
    pub fn wait(&self) {
        let until = std::time::Instant::now() + crate::support::program::PATIENCE;
        while UnixStream::connect(&self.0).is_err() {
            assert!(std::time::Instant::now() < until, "the door does not open");
            std::thread::yield_now();
        }
    }

    /// Status and body of the answer.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        self.send("POST", path, &headers, body)
    }

    /// As [`Socket::post`], with any method.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> (u16, String) {
        let mut stream = UnixStream::connect(&self.0).expect("an open door");
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: door\r\nConnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).expect("a door that reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status.unwrap_or_else(|| panic!("no answer: {answer}")), body.to_owned())
    }
}

/// A request that a client sent: the headers that say what it is, and the body without gzip.
pub fn recorded(name: &str) -> (Vec<(String, String)>, Vec<u8>) {
    let path = format!("{}/tests/doors/bodies/{name}", env!("CARGO_MANIFEST_DIR"));
    let head = std::fs::read_to_string(format!("{path}.headers")).expect("recorded headers");
    let all = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let of_connection =
        ["host", "connection", "content-length", "content-encoding", "transfer-encoding"];
    let headers = all
        .filter(|(name, _)| !of_connection.contains(&&*name.to_lowercase()))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut body = std::fs::read(format!("{path}.body")).expect("a recorded body");
    if body.starts_with(&[0x1f, 0x8b]) {
        let packed = std::mem::take(&mut body);
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut body).expect("gzip");
    }
    (headers, body)
}

/// As [`recorded`], with the body and its encoding as they were sent.
pub fn as_sent(name: &str) -> (Vec<(String, String)>, Vec<u8>) {
    let path = format!("{}/tests/doors/bodies/{name}", env!("CARGO_MANIFEST_DIR"));
    let head = std::fs::read_to_string(format!("{path}.headers")).expect("recorded headers");
    let of_connection = ["host", "connection", "content-length", "transfer-encoding"];
    let headers = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| !of_connection.contains(&&*name.to_lowercase()))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    (headers, std::fs::read(format!("{path}.body")).expect("a recorded body"))
}

/// Unix seconds.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the end of time")
}

/// Start of a bucket of 10 s that will be posted in 10 to 20 s.
pub fn closing_soon(grace: i64) -> i64 {
    (now() - grace + 10) / 10 * 10
}

/// Everything that was stored and whose name is `wanted`, a line each: `name kind points tags host`, of
/// distributions `name [(second, count, bins)] tags host`.
pub fn arrived(state: &State, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    for series in state.all_series().filter(|series| wanted(&series.metric)) {
        let kind = format!("{:?}", series.kind).to_lowercase();
        let per = if kind == "rate" { format!("/{}", series.interval) } else { String::new() };
        let points: Vec<String> =
            series.points.iter().map(|(second, value)| format!("({second}, {value})")).collect();
        let (name, tags) = (&series.metric, series.tags.join(" "));
        lines.push(format!("{name} {kind}{per} [{}] {tags} {}", points.join(", "), series.host));
    }
    for sketch in state.sketches.iter().filter(|sketch| wanted(&sketch.metric)) {
        let points: Vec<_> = (sketch.dogsketches.iter())
            .map(|part| {
                let bins: Vec<(i32, u32)> =
                    part.k.iter().copied().zip(part.n.iter().copied()).collect();
                (part.ts, part.cnt, bins)
            })
            .collect();
        let mut tags = sketch.tags.clone();
        tags.sort();
        lines.push(format!("{} {points:?} {} {}", sketch.metric, tags.join(" "), sketch.host));
    }
    lines.sort();
    lines
}
