//! What every body must keep, whatever its bytes; the targets `door_…` of `fuzz/` call this, and a test
//! gives it their seeds.
//!
//! The first byte of an input chooses the client, the rest is the body.

use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::HeaderMap;

use super::msgpack::Reader;
use super::stats::SendStats;
use super::{
    Agent, Answer, Api, DataStreams, Door, Naming, Outcome, Part, Reason, Refusal, Request, Sink,
    Stats, StatsForward, Telemetry, Value,
};
use crate::aggregate::{CheckRecord, EventRecord};
use crate::clock::Clock;

const NOW: Duration = Duration::from_secs(1_795_188_630);

/// One body of `POST /telemetry/proxy/api/v2/apmtelemetry`, then the end of an interval.
pub fn telemetry(input: &[u8]) {
    let Some((first, body)) = input.split_first() else { return };
    let mut headers = HeaderMap::new();
    if first & 1 == 1 {
        headers.insert("user-agent", axum::http::HeaderValue::from_static("telemetry/7.0.0"));
    }
    if first & 2 == 2 {
        headers
            .insert("dd-client-library-language", axum::http::HeaderValue::from_static("nodejs"));
    }
    let clock = Clock::manual(NOW);
    let door = Telemetry::new(naming(first & 4 == 4), clock.clone(), Default::default());
    let mut sink = Checked::new(&["dd.instrumentation_telemetry_data.", "whippet.telemetry."]);
    take(&door, &headers, body, &mut sink);
    for (seconds, most) in [(10, 1), (200, 1), (600, 0)] {
        clock.set(NOW + Duration::from_secs(seconds));
        let before = sink.parts;
        door.interval_ended(NOW.as_secs(), &mut sink);
        assert!(sink.parts - before <= most, "one process, or none");
    }
}

/// One body of a route of the metrics API.
pub fn api(input: &[u8]) {
    const PATHS: [&str; 5] = [
        "/api/v1/series",
        "/api/v1/distribution_points",
        "/api/v1/events",
        "/api/v1/check_run",
        "/api/v2/series",
    ];
    let Some((first, body)) = input.split_first() else { return };
    let path = PATHS[usize::from(*first) % PATHS.len()];
    let headers = &HeaderMap::new();
    let mut sink = Checked::new(&[""]);
    match Api.take(&Request { path, headers, body, now: NOW, container: b"" }, &mut sink) {
        Ok(answer) => assert_eq!(answer.status, 202),
        Err(Refusal { status, message, .. }) => {
            assert_eq!((status, sink.parts), (400, 0), "parts of a refused body");
            assert!(!message.is_empty() && message.len() < 200, "{message}");
        }
    }
    assert!(sink.parts + sink.refused <= body.len() as u64);
}

/// One body of `POST /v0.1/pipeline_stats`, then the end of its bucket.
pub fn pipeline_stats(input: &[u8]) {
    let Some((first, body)) = input.split_first() else { return };
    let mut headers = HeaderMap::new();
    if first & 2 == 2 {
        headers.insert("datadog-meta-lang", axum::http::HeaderValue::from_static("javascript"));
    }
    let door = DataStreams::new(naming(first & 4 == 4), if first & 1 == 1 { 1 } else { 10 });
    let mut sink = Checked::new(&["data_streams."]);
    take(&door, &headers, body, &mut sink);
    let offsets = sink.parts;
    for seconds in [600, 10, 0] {
        let before = sink.parts;
        door.closing(NOW.as_secs() - seconds, None, &mut sink);
        // Of each group at most two.
        assert!(sink.parts - before <= 2 * offsets, "{} lags", sink.parts - before);
    }
}

/// One body of `/v0.6/stats`, made into metrics and sent on.
pub fn stats(input: &[u8]) {
    let Some((first, body)) = input.split_first() else { return };
    let mut headers = HeaderMap::new();
    if first & 2 == 2 {
        headers.insert("datadog-meta-lang", axum::http::HeaderValue::from_static("javascript"));
    }
    if first & 8 == 8 {
        headers.insert("datadog-obfuscation-version", axum::http::HeaderValue::from_static("1"));
    }
    let sent = Arc::new(Bodies::default());
    let interval = if first & 1 == 1 { 1 } else { 10 };
    let forward = StatsForward::new(Agent::default(), interval, Arc::clone(&sent) as _);
    let door = Stats::forwarding(naming(first & 4 == 4), true, forward);
    let mut sink = Checked::new(&["trace."]);
    // Twice: what goes on is added up.
    for _ in 0..2 {
        take(&door, &headers, body, &mut sink);
        sink.sent();
    }
    for seconds in [600, 10, 0] {
        door.closing(NOW.as_secs() - seconds, None, &mut sink);
    }
    for body in sent.0.lock().expect("not poisoned").iter() {
        let mut reader = Reader::new(body);
        reader.skip().expect("msgpack");
        reader.end().expect("nothing behind");
    }
}

/// Bodies that went on, without their compression.
#[derive(Default)]
struct Bodies(Mutex<Vec<Vec<u8>>>);

impl SendStats for Bodies {
    fn send(&self, _: &[(&'static str, &str)], body: bytes::Bytes) {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).expect("gzip");
        self.0.lock().expect("not poisoned").push(plain);
    }
}

fn naming(is_set: bool) -> Naming {
    if is_set { Naming { prefix: "own.".into(), env: "staging".into() } } else { Naming::default() }
}

/// A body is taken, or refused as a whole with a short reason and nothing recorded.
fn take(door: &dyn Door, headers: &HeaderMap, body: &[u8], sink: &mut Checked) {
    let taken = door.take(&Request { path: "/", headers, body, now: NOW, container: b"" }, sink);
    match taken {
        Ok(answer) => assert_eq!(answer, Answer::ok()),
        Err(Refusal { reason, status, message }) => {
            assert_eq!((reason, status), (Reason::Decode, 400));
            assert_eq!((sink.parts, sink.refused), (0, 0), "parts of a refused body");
            assert!(!message.is_empty() && message.len() < 200, "{message}");
        }
    }
    // A part takes at least a byte of the body.
    assert!(sink.parts + sink.refused <= body.len() as u64 * 2 + 1);
}

/// A sink that asks of every part what the aggregation relies on.
struct Checked {
    names: &'static [&'static str],
    parts: u64,
    refused: u64,
}

impl Checked {
    fn new(names: &'static [&'static str]) -> Self {
        Checked { names, parts: 0, refused: 0 }
    }
}

impl Checked {
    /// Forgets what it counted.
    fn sent(&mut self) {
        (self.parts, self.refused) = (0, 0);
    }
}

impl Sink for Checked {
    fn put(&mut self, part: &Part<'_>) -> Outcome {
        self.parts += 1;
        let name = part.name.strip_prefix(b"own.").unwrap_or(part.name);
        let known = |start: &&&str| name.starts_with(start.as_bytes());
        let start = self.names.iter().find(known).expect("a name of this door");
        assert!(name.len() > start.len());
        assert!(part.tags.iter().all(|tag| !tag.is_empty()));
        match part.value {
            Value::Count(value) | Value::Gauge(value) | Value::Highest(value) => {
                assert!(value.is_finite());
            }
            Value::Samples(values) => {
                assert!(!values.is_empty() && values.iter().all(|value| value.is_finite()));
            }
            Value::Sketch(sketch) => {
                let bins: u64 = sketch.bins().map(|(_, count)| u64::from(count)).sum();
                assert_eq!(bins, sketch.count());
                let (min, avg, max) = (sketch.min(), sketch.avg(), sketch.max());
                assert!(bins > 0 && sketch.sum().is_finite() && min <= avg && avg <= max);
            }
        }
        Outcome::Recorded
    }

    fn event(&mut self, event: EventRecord) -> Outcome {
        assert!(self.names == [""] && !event.title.is_empty());
        self.parts += 1;
        Outcome::Recorded
    }

    fn check(&mut self, check: CheckRecord) -> Outcome {
        assert!(self.names == [""] && !check.name.is_empty());
        self.parts += 1;
        Outcome::Recorded
    }

    fn refuse(&mut self, _: Reason) {
        self.refused += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Gives every seed of a target to `run`; a failure names the seed.
    #[track_caller]
    fn each_seed(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let mut seeds = 0;
        for entry in std::fs::read_dir(&folder).expect("a folder of seeds") {
            let path = entry.expect("a seed").path();
            let seed = std::fs::read(&path).expect("a seed");
            let ran = std::panic::catch_unwind(|| run(&seed));
            assert!(ran.is_ok(), "{} breaks a promise", path.display());
            seeds += 1;
        }
        assert!(seeds > 3, "no seeds in {}", folder.display());
    }

    #[test]
    fn seeds_of_telemetry() {
        each_seed("door_telemetry", super::telemetry);
    }

    #[test]
    fn seeds_of_the_api_keep_what_every_body_must() {
        each_seed("door_api", super::api);
    }

    #[test]
    fn seeds_of_data_streams() {
        each_seed("door_pipeline_stats", super::pipeline_stats);
    }

    #[test]
    fn seeds_of_stats() {
        each_seed("door_stats", super::stats);
    }
}
