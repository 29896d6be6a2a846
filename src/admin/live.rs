//! Questions that make the lanes look closer: counts per metric, rankings, live lines.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use regex::bytes::RegexBuilder;
use serde_json::{Value, json};

use super::state::AdminState;
use super::status::{DoorStatus, DoorsStatus};
use super::{loopback, ranking, senders};
use crate::http::{Request, Response};
use crate::watch::{Samples, Sent};

/// Longest time one request may watch for.
const WATCH_MAX: Duration = Duration::from_secs(60);

/// Memory that the pattern of a tap may take when compiled.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// How long a request wants to watch; none when it does not say.
pub(crate) fn watch_time(request: &Request) -> Option<Duration> {
    let seconds = request.query("seconds")?.parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok().map(|time| time.min(WATCH_MAX))
}

/// What was sent in the next `time`.
pub(crate) fn watched(state: &AdminState, time: Duration) -> Samples {
    let _counting = state.watch.count();
    let before = state.watch.samples(&state.lanes);
    std::thread::sleep(time);
    state.watch.samples(&state.lanes).since(&before)
}

/// `/stats`: count and last time per metric and tags, in the Agent's shape.
pub(crate) fn stats(state: &AdminState, request: &Request) -> Response {
    let samples = match watch_time(request) {
        Some(time) => watched(state, time),
        None if state.stats_kept => state.watch.samples(&state.lanes),
        None => {
            return Response::text(
                409,
                "counts per metric are not kept: set dogstatsd_metrics_stats_enable to true \
                 (DD_DOGSTATSD_METRICS_STATS_ENABLE=true), or count for a while with --for 10\n",
            );
        }
    };
    let mut rows: BTreeMap<String, Value> = BTreeMap::new();
    for (name, tags, sent) in samples.iter() {
        let (name, tags) = (String::from_utf8_lossy(name), String::from_utf8_lossy(tags));
        rows.insert(format!("{name}|{tags}"), row(&name, &tags.replace(',', " "), sent));
    }
    if samples.others().count > 0 {
        rows.insert("(others)".to_owned(), row("(others)", "", samples.others()));
    }
    Response::json(200, format!("{}\n", json!(rows)))
}

fn row(name: &str, tags: &str, sent: Sent) -> Value {
    let last_seen = i64::try_from(sent.last_seen).ok();
    let last_seen = last_seen.and_then(|second| chrono::DateTime::from_timestamp(second, 0));
    json!({
        "name": name,
        "tags": tags,
        "count": sent.count,
        "bytes": sent.bytes,
        "last_seen": last_seen.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
    })
}

/// Names and tag keys in a ranking when the request does not say.
const NAMES: usize = 10;
const KEYS: usize = 5;
/// At most so many.
const RANKED_MAX: usize = 1_000;

fn number(request: &Request, name: &str, default: usize) -> usize {
    let asked = request.query(name).and_then(|text| text.parse().ok());
    asked.unwrap_or(default).min(RANKED_MAX)
}

/// `/top`: what costs most now, by contexts, samples, bytes and senders. With `like`, metrics whose
/// name contains that text, in whatever case.
pub(crate) fn top(state: &AdminState, request: &Request) -> Response {
    let time = watch_time(request).unwrap_or(Duration::from_secs(1));
    let (names, keys) = (number(request, "names", NAMES), number(request, "keys", KEYS));
    let like = request.query("like").unwrap_or_default().to_lowercase();
    let fits = |name: &[u8]| {
        like.is_empty() || String::from_utf8_lossy(name).to_lowercase().contains(&like)
    };
    let counting = state.watch.count();
    let before = state.watch.samples(&state.lanes);
    let refused_before = state.snapshot().totals.lines.refused_total();
    let senders_before = state.watch.senders();
    let doors_before = DoorsStatus::of(&state.doors, 0).total();
    std::thread::sleep(time);
    let samples = state.watch.samples(&state.lanes).since(&before);
    let senders_now = state.watch.senders();
    drop(counting);
    let Some(mut known) = (state.known_contexts)() else { return super::busy() };
    if !like.is_empty() {
        known.contexts.retain(|context| fits(context.name()));
    }
    let snapshot = state.snapshot();
    let totals = &snapshot.totals;
    let seconds = time.as_secs_f64().max(f64::MIN_POSITIVE);
    let mut senders =
        senders::rates((&senders_now, &senders_before), seconds, &state.listeners, names);
    loopback::name_processes(&mut senders, &state.listeners);
    let endpoints = snapshot.accounting.iter().flat_map(|accounting| &accounting.endpoints);
    let queue = endpoints.fold((0, 0, 0), |(payloads, bytes, max), endpoint| {
        let waiting = endpoint.total(|route| route.waiting);
        (payloads + waiting.payloads, bytes + waiting.bytes, max + endpoint.queue_bytes_max)
    });
    let sent = by_name(&samples);
    let sum = sent.iter().fold((0, 0), |sum, (_, lines, bytes)| (sum.0 + lines, sum.1 + bytes));
    let ranked = |by: fn(&(&[u8], u64, u64)) -> u64| -> Vec<Value> {
        let mut rows = sent.clone();
        rows.retain(|row| fits(row.0));
        rows.sort_by(|a, b| by(b).cmp(&by(a)).then_with(|| a.0.cmp(b.0)));
        rows.iter().take(names).map(|row| rates(row, seconds)).collect()
    };
    let answer = json!({
        "seconds": time.as_secs_f64(),
        "contexts": { "live": totals.contexts, "max": state.limits.contexts },
        "lines_per_second": sum.0 as f64 / seconds,
        "bytes_per_second": sum.1 as f64 / seconds,
        "refused_per_second": totals.lines.refused_total().saturating_sub(refused_before) as f64 / seconds,
        "queue": { "payloads": queue.0, "bytes": queue.1, "max": queue.2 },
        "uncounted_lines": samples.others().count,
        "kernel_drops": totals.kernel_drops(),
        "doors": doors(&DoorsStatus::of(&state.doors, totals.door_contexts), &doors_before, seconds),
        "by_contexts": ranking::by_contexts(&known, names, keys),
        "by_samples": ranked(|row| row.1),
        "by_bytes": ranked(|row| row.2),
        "senders": senders,
        "overflow": state.watch.overflow(),
    });
    Response::json(200, format!("{answer}\n"))
}

/// What comes through the doors; null while they are closed.
fn doors(doors: &DoorsStatus, before: &DoorStatus, seconds: f64) -> Value {
    if !doors.open {
        return Value::Null;
    }
    let now = doors.total();
    let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
    json!({
        "contexts": doors.contexts,
        "requests_per_second": rate(now.requests, before.requests),
        "refused_per_second": rate(now.refused.total, before.refused.total),
        "parts_per_second": rate(now.parts.total, before.parts.total),
        "parts_refused_per_second": rate(now.parts.refused.total, before.parts.refused.total),
        "late_per_second": rate(now.parts.late, before.parts.late),
    })
}

/// Name, lines and bytes.
fn by_name(samples: &Samples) -> Vec<(&[u8], u64, u64)> {
    let mut sums: HashMap<&[u8], (u64, u64)> = HashMap::new();
    for (name, _, sent) in samples.iter() {
        let sum = sums.entry(name).or_default();
        sum.0 += sent.count;
        sum.1 += sent.bytes;
    }
    sums.into_iter().map(|(name, (lines, bytes))| (name, lines, bytes)).collect()
}

fn rates((name, lines, bytes): &(&[u8], u64, u64), seconds: f64) -> Value {
    json!({
        "name": String::from_utf8_lossy(name),
        "samples": lines,
        "bytes": bytes,
        "samples_per_second": *lines as f64 / seconds,
        "bytes_per_second": *bytes as f64 / seconds,
    })
}

/// `/tap`: lines that match, as they come, one JSON object per line; an empty line each second of
/// silence shows that the connection is alive.
pub(crate) fn tap(state: &AdminState, request: &Request) -> Response {
    let wanted = match request.query("match").filter(|pattern| !pattern.is_empty()) {
        None => None,
        Some(pattern) => match RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build() {
            Ok(wanted) => Some(wanted),
            Err(error) => return Response::text(400, format!("match: {error}\n")),
        },
    };
    let limit = request.query("limit").and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    let Some(tapping) = state.watch.tap(wanted) else {
        return Response::text(503, "too many taps are open\n");
    };
    Response::stream(
        "application/x-ndjson",
        Box::new(move |out| {
            for _ in 0..limit {
                let tapped = loop {
                    match tapping.lines.recv_timeout(Duration::from_secs(1)) {
                        Ok(tapped) => break tapped,
                        Err(RecvTimeoutError::Timeout) => out.write_all(b"\n")?,
                        // The tap itself holds the other end.
                        Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    }
                };
                let missed = tapping.missed();
                if missed > 0 {
                    writeln!(out, "{}", json!({ "missed": missed }))?;
                }
                let line = json!({
                    "listener": tapped.listener,
                    "sender": tapped.sender,
                    "line": String::from_utf8_lossy(&tapped.line),
                });
                writeln!(out, "{line}")?;
            }
            Ok(())
        }),
    )
}
