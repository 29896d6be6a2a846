//! What the page asks when somebody opens a metric: its tag keys and values, lines as they come, and
//! what becomes of one.

use std::collections::HashMap;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use regex::bytes::RegexBuilder;
use serde_json::{Value, json};

use crate::admin::state::AdminState;
use crate::admin::{busy, ranking};
use crate::flush::SeriesKind;
use crate::http::{Request, Response};
use crate::protocol;
use crate::text::printable;

/// Tag keys shown.
const KEYS: usize = 20;
/// Lines shown.
const LINES: usize = 20;
/// Lines looked at for who sends them.
const LINES_COUNTED: u64 = 2_000;
/// How long they are waited for.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Characters shown of a line.
const LINE_WIDTH: usize = 2_000;
/// Senders remembered of these lines.
const SENDERS_MAX: usize = 256;

fn name(request: &Request) -> Result<&str, Response> {
    request
        .query("name")
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Response::text(400, "name: missing; give the name of a metric\n"))
}

/// `/page/metric.json?name=NAME`: contexts, tag keys, values as posted in the last ten minutes.
pub(super) fn answer(state: &AdminState, request: &Request) -> Response {
    let name = match name(request) {
        Ok(name) => name,
        Err(response) => return response,
    };
    let Some(mut known) = (state.known_contexts)() else { return busy() };
    known.contexts.retain(|context| context.name() == name.as_bytes());
    let ranked = ranking::by_contexts(&known, 1, KEYS);
    let mut kinds: Vec<&str> = known.contexts.iter().map(|context| context.kind().word()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let (posted, following) = state.watch.posted(name.as_bytes(), state.clock.unix().as_secs());
    let series = posted.series.iter().map(|series| {
        let points: Vec<(i64, f64)> = series.points.iter().copied().collect();
        json!({ "tags": series.label, "suffix": series.suffix, "unit": unit(series.kind), "points": points })
    });
    let sums = posted.sums.iter().map(|sums| {
        let rows = sums.flushes.iter();
        let rows: Vec<Value> =
            rows.map(|sum| json!([sum.at, sum.series, sum.sum, sum.min, sum.max])).collect();
        json!({ "suffix": sums.suffix, "unit": unit(sums.kind), "rows": rows })
    });
    let answer = json!({
        "name": name,
        "kinds": kinds,
        "contexts": known.contexts.len(),
        "tag_keys": ranked["names"][0]["tag_keys"],
        "other_keys": ranked["names"][0]["other_keys"],
        "interval_seconds": state.interval.as_secs(),
        "posted": { "series": series.collect::<Vec<_>>(), "sums": sums.collect::<Vec<_>>() },
        "only_opened": following.only_opened,
        "left_out": following.left_out,
    });
    Response::json(200, format!("{answer}\n"))
}

fn unit(kind: SeriesKind) -> &'static str {
    match kind {
        SeriesKind::Rate => "per second",
        SeriesKind::Count => "count",
        SeriesKind::Gauge => "value",
    }
}

/// `/page/tap.json?name=NAME`: at most 20 lines that come within 1.5 s, and who sends the metric.
pub(super) fn tap(state: &AdminState, request: &Request) -> Response {
    let name = match name(request) {
        Ok(name) => name,
        Err(response) => return response,
    };
    // The pattern is the name itself, so it is as large as a request may be.
    let Ok(wanted) = RegexBuilder::new(&format!("^{}:", regex::escape(name))).build() else {
        return Response::text(400, "name: too long\n");
    };
    let Some(tapping) = state.watch.tap(Some(wanted)) else {
        return Response::text(503, "too many taps are open\n");
    };
    let until = Instant::now() + PATIENCE;
    let (mut lines, mut senders, mut seen) = (Vec::new(), HashMap::<String, u64>::new(), 0);
    while seen < LINES_COUNTED {
        let left = until.saturating_duration_since(Instant::now());
        match tapping.lines.recv_timeout(left) {
            Ok(tapped) => {
                seen += 1;
                if lines.len() < LINES {
                    lines.push(json!({
                        "listener": tapped.listener,
                        "sender": tapped.sender,
                        "line": printable(&tapped.line, LINE_WIDTH),
                        "raw": String::from_utf8_lossy(&tapped.line),
                    }));
                }
                if senders.len() < SENDERS_MAX || senders.contains_key(&tapped.sender) {
                    *senders.entry(tapped.sender).or_default() += 1;
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    let mut senders: Vec<(String, u64)> = senders.into_iter().collect();
    senders.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let senders: Vec<Value> =
        senders.iter().map(|(sender, lines)| json!({ "sender": sender, "lines": lines })).collect();
    let answer = json!({ "lines": lines, "senders": senders, "seen": seen });
    Response::json(200, format!("{answer}\n"))
}

/// `/page/explain.json?line=LINE`: what `whippet explain` prints, with the rules in force.
pub(super) fn explain(state: &AdminState, request: &Request) -> Response {
    let Some(line) = request.query("line").filter(|line| !line.is_empty()) else {
        return Response::text(400, "line: missing; give a line of the protocol\n");
    };
    let explainer = state.observed.in_force().explainer;
    let line = protocol::lines(line.as_bytes()).next().map_or(&b""[..], |line| line.bytes);
    let (page, readable) = explainer.explain(line, state.clock.unix());
    Response::json(200, format!("{}\n", json!({ "page": page, "readable": readable })))
}
