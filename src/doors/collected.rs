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
    door.take(&Request { path, headers: &map, body, now }, sink)
}
