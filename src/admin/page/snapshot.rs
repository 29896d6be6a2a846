//! The one answer that the page asks for every second, and the row of history that each look leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::observed::lock;
use super::verdict::Verdict;
use crate::admin::state::{AdminState, Snapshot};
use crate::admin::status::Status;
use crate::admin::{loopback, senders};
use crate::http::{Request, Response};
use crate::protocol::ErrorKind;
use crate::watch::{HISTORY_AGE, HistoryRow};

/// Senders on the page; `/senders` has them all.
const SENDERS_SHOWN: usize = 50;
/// An answer this young is given to the next browser too: many of them cost as much as one.
const SHARED_FOR: Duration = Duration::from_millis(400);

/// Takes note of what was counted, without asking the lanes: called after each flush, so that a page
/// that is opened later shows the past. Lanes hand over when they close a bucket.
pub(crate) fn observe(state: &AdminState) {
    let snapshot = state.as_handed_over();
    record(state, &snapshot);
    let status = Status::of(state, &snapshot);
    Verdict::of(state, &status, &status.senders);
}

fn record(state: &AdminState, snapshot: &Snapshot) {
    lock(&state.observed.history).record(row(snapshot, state.clock.unix()));
}

fn row(snapshot: &Snapshot, at: Duration) -> HistoryRow {
    let totals = &snapshot.totals;
    let lines = &totals.lines;
    let refused = ErrorKind::ALL.iter().map(|kind| (kind.reason(), lines.refused[*kind as usize]));
    let tails = [("unterminated", lines.unterminated), ("truncated", lines.truncated)];
    let mut row = HistoryRow {
        at,
        lines: lines.received,
        bytes: totals.listeners.iter().map(|listener| listener.bytes).sum(),
        kernel_drops: totals.kernel_drops(),
        refused: refused.chain(tails).filter(|(_, count)| *count > 0).collect(),
        dropped: lines.dropped_total(),
        contexts: totals.contexts as u64,
        births: snapshot.births,
        ..HistoryRow::default()
    };
    for endpoint in snapshot.accounting.iter().flat_map(|accounting| &accounting.endpoints) {
        row.queue_bytes += endpoint.queue_bytes as u64;
        row.waiting += endpoint.total(|route| route.waiting).payloads;
        row.delivered += endpoint.total(|route| route.delivered).payloads;
        row.payloads_dropped += endpoint.total(|route| route.dropped_total()).payloads;
    }
    row
}

/// `/page/snapshot.json?since=N&log=N&config=N`: rows of history and lines of the log from those
/// numbers on, the configuration unless it is of that version, and the state now.
pub(super) fn answer(state: &AdminState, request: &Request) -> Response {
    let number = |name: &str| request.query(name).and_then(|text| text.parse().ok());
    let shared = shared(state);
    let (rows, next) = lock(&state.observed.history).since(number("since").unwrap_or_default());
    let (log, log_next) = state.log.since(number("log").unwrap_or_default());
    let in_force = state.observed.in_force();
    let entries = (number("config") != Some(in_force.version)).then_some(&in_force.entries[..]);
    let own = json!({
        "history": { "rows": rows.iter().map(columns).collect::<Vec<_>>(), "next": next },
        "log": { "lines": log, "next": log_next },
        "config": { "version": in_force.version, "entries": entries },
    });
    // Both are objects that are not empty: one inside of the other's braces.
    let own = own.to_string();
    let body = format!("{},{}\n", &own[..own.len() - 1], &shared[1..]);
    Response::json(200, body)
}

/// One row as the page reads it: seconds, then sums, then a map of the refused.
fn columns(row: &HistoryRow) -> Value {
    let refused: Map<String, Value> =
        row.refused.iter().map(|(reason, count)| ((*reason).to_owned(), (*count).into())).collect();
    json!([
        row.at.as_secs_f64(),
        row.lines,
        row.bytes,
        row.kernel_drops,
        row.dropped,
        row.contexts,
        row.births,
        row.queue_bytes,
        row.waiting,
        row.delivered,
        row.payloads_dropped,
        refused,
    ])
}

/// What is the same for everybody.
#[derive(Serialize)]
struct Shared {
    /// Tells one process from the next: a page begins anew when it changes.
    boot: String,
    /// Unix seconds.
    now: f64,
    history_seconds: u64,
    verdict: Verdict,
    senders: Vec<senders::SenderStatus>,
    status: Status,
}

fn shared(state: &AdminState) -> Arc<str> {
    let mut kept = lock(&state.observed.shared);
    if let Some((_, shared)) = kept.as_ref().filter(|(made, _)| made.elapsed() < SHARED_FOR) {
        return Arc::clone(shared);
    }
    let snapshot = state.snapshot();
    record(state, &snapshot);
    let mut senders = senders::rows(&state.watch.senders(), &state.listeners, SENDERS_SHOWN);
    loopback::name_processes(&mut senders, &state.listeners);
    senders::name_pods(&mut senders, state.tagger.as_deref());
    let status = Status::of(state, &snapshot);
    let shared = Shared {
        boot: format!("{}-{}", std::process::id(), state.started_at.as_millis()),
        now: state.clock.unix().as_secs_f64(),
        history_seconds: HISTORY_AGE.as_secs(),
        verdict: Verdict::of(state, &status, &senders),
        senders,
        status,
    };
    let shared: Arc<str> = json!(shared).to_string().into();
    *kept = Some((Instant::now(), Arc::clone(&shared)));
    shared
}
