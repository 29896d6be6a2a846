//! A sink that keeps what it is given, as text: for tests of single doors.

use axum::http::HeaderMap;
use std::time::Duration;

use super::{Answer, Door, Outcome, Part, Reason, Refusal, Request, Sink, Value};
use crate::aggregate::{CheckRecord, EventRecord};

/// Every part in a line: `name kind value @second tag,tag host=…`.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub lines: Vec<String>,
}

impl Collected {
    /// The lines in the order of their text, and forgets them.
    pub fn sorted(&mut self) -> Vec<String> {
        self.lines.sort();
        std::mem::take(&mut self.lines)
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn value(value: Value<'_>) -> String {
    match value {
        Value::Count(sum) => format!("count {sum}"),
        Value::Gauge(value) => format!("gauge {value}"),
        Value::Highest(value) => format!("highest {value}"),
        Value::Samples(values) => format!("samples {values:?}"),
        Value::Sketch(sketch) => {
            let bins: Vec<String> =
                sketch.bins().map(|(key, count)| format!("{key}:{count}")).collect();
            format!("sketch {} [{}]", sketch.count(), bins.join(" "))
        }
    }
}

impl Sink for Collected {
    fn put(&mut self, part: &Part<'_>) -> Outcome {
        let tags: Vec<String> = part.tags.iter().map(text).collect();
        let host = match part.host {
            b"" => String::new(),
            host => format!(" host={}", text(host)),
        };
        let (name, tags) = (text(part.name), tags.join(","));
        let line = format!("{name} {} @{} {tags}{host}", value(part.value), part.second);
        self.lines.push(line);
        Outcome::Recorded
    }

    fn event(&mut self, event: EventRecord) -> Outcome {
        self.lines.push(format!("event {event:?}"));
        Outcome::Recorded
    }

    fn check(&mut self, check: CheckRecord) -> Outcome {
        self.lines.push(format!("check {check:?}"));
        Outcome::Recorded
    }

    fn refuse(&mut self, reason: Reason) {
        self.lines.push(format!("refused {}", reason.word()));
    }
}

/// Gives `body` to a door, with `headers` of names in lower case.
pub(crate) fn take(
    door: &dyn Door,
    path: &str,
    headers: &[(&'static str, &'static str)],
    body: &[u8],
    now: Duration,
    sink: &mut dyn Sink,
) -> Result<Answer, Refusal> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, axum::http::HeaderValue::from_static(value));
    }
    door.take(&Request { path, headers: &map, body, now, container: b"" }, sink)
}

/// A request that a client sent, from `tests/doors/bodies`: its headers, and its body without gzip.
#[cfg(test)]
pub(crate) fn recorded(name: &str) -> (HeaderMap, Vec<u8>) {
    use axum::http::{HeaderName, HeaderValue};
    use std::io::Read as _;
    let path = format!("{}/tests/doors/bodies/{name}", env!("CARGO_MANIFEST_DIR"));
    let head = std::fs::read_to_string(format!("{path}.headers")).expect("recorded headers");
    let headers: HeaderMap = (head.lines().skip(1).filter_map(|line| line.split_once(": ")))
        .map(|(name, value)| {
            let name: HeaderName = name.parse().expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        })
        .collect();
    let mut body = std::fs::read(format!("{path}.body")).expect("a recorded body");
    if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let packed = std::mem::take(&mut body);
        flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut body).expect("gzip");
    }
    (headers, body)
}

/// Gives a request that a client sent to a door.
#[cfg(test)]
pub(crate) fn take_recorded(
    door: &dyn Door,
    name: &str,
    now: Duration,
    sink: &mut dyn Sink,
) -> Result<Answer, Refusal> {
    let (headers, body) = recorded(name);
    door.take(&Request { path: "", headers: &headers, body: &body, now, container: b"" }, sink)
}
