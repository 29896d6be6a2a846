//! The doors in `/status`: requests and parts by route, what goes on to the vendor, traces by language.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::ReasonsStatus;
use crate::doors::{DoorsAccounting, ForwardCounts, ForwardDrop, Reason, RouteCounts, TraceCounts};

/// What came through the doors since the start; empty while they are closed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DoorsStatus {
    pub open: bool,
    /// By the word of the route; those that are on, and those that were asked for all the same.
    pub routes: BTreeMap<String, DoorStatus>,
    pub forwards: Vec<DoorForwardStatus>,
    /// By language of the client.
    pub traces: BTreeMap<String, DoorTracesStatus>,
    /// Telemetry messages; a batch holds several.
    pub telemetry_messages: u64,
    /// Of those, messages of a type that is not known.
    pub telemetry_messages_unknown: u64,
    /// Connections past `apm_config.max_connections`.
    pub connections_refused: u64,
    /// Contexts when the last bucket was posted.
    pub contexts: usize,
}

/// One route. `requests = recorded + refused`, and so for parts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DoorStatus {
    pub requests: u64,
    pub recorded: u64,
    pub refused: ReasonsStatus<u64>,
    pub parts: DoorPartsStatus,
}

/// The values, events and checks in the requests of a route.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DoorPartsStatus {
    pub total: u64,
    pub recorded: u64,
    pub refused: ReasonsStatus<u64>,
    /// Of those recorded: not in the bucket of their second.
    pub late: u64,
}

/// What a route sends on to one endpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DoorForwardStatus {
    pub route: String,
    pub endpoint: String,
    pub forwarded: u64,
    pub dropped: ReasonsStatus<u64>,
}

/// Traces that were counted and not kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DoorTracesStatus {
    pub requests: u64,
    pub traces: u64,
    pub bytes: u64,
    /// Requests since the last one of a client that computes stats; 0 when that was the latest.
    pub without_stats: u64,
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Reasons without a number are left out.
fn by_reason<const N: usize>(words: [&str; N], counts: &[AtomicU64; N]) -> ReasonsStatus<u64> {
    let named = words.into_iter().zip(counts.iter().map(count));
    let reasons: BTreeMap<String, u64> = named
        .filter(|(_, count)| *count > 0)
        .map(|(word, count)| (word.to_owned(), count))
        .collect();
    ReasonsStatus { total: reasons.values().sum(), reasons }
}

impl DoorsStatus {
    /// The state now.
    pub fn of(doors: &DoorsAccounting, contexts: usize) -> Self {
        DoorsStatus {
            open: doors.is_open(),
            routes: doors
                .shown()
                .map(|(route, counts)| (route.word().to_owned(), DoorStatus::of(counts)))
                .collect(),
            forwards: doors.forwards().iter().map(|counts| forward(counts)).collect(),
            traces: doors
                .traces_by_language()
                .into_iter()
                .map(|(language, counts)| (language, traces(counts)))
                .collect(),
            telemetry_messages: count(&doors.telemetry_messages),
            telemetry_messages_unknown: count(&doors.telemetry_messages_unknown),
            connections_refused: count(&doors.connections_refused),
            contexts,
        }
    }

    /// All routes together.
    pub fn total(&self) -> DoorStatus {
        let mut sum = DoorStatus::default();
        for route in self.routes.values() {
            sum.requests += route.requests;
            sum.recorded += route.recorded;
            add(&mut sum.refused, &route.refused);
            sum.parts.total += route.parts.total;
            sum.parts.recorded += route.parts.recorded;
            add(&mut sum.parts.refused, &route.parts.refused);
            sum.parts.late += route.parts.late;
        }
        sum
    }
}

fn add(sum: &mut ReasonsStatus<u64>, more: &ReasonsStatus<u64>) {
    sum.total += more.total;
    for (reason, count) in &more.reasons {
        *sum.reasons.entry(reason.clone()).or_default() += count;
    }
}

impl DoorStatus {
    fn of(counts: &RouteCounts) -> Self {
        let words = Reason::ALL.map(Reason::word);
        let refused = by_reason(words, &counts.refused);
        let parts_refused = by_reason(words, &counts.parts_refused);
        let (recorded, parts) = (count(&counts.recorded), count(&counts.parts_recorded));
        DoorStatus {
            requests: recorded + refused.total,
            recorded,
            refused,
            parts: DoorPartsStatus {
                total: parts + parts_refused.total,
                recorded: parts,
                refused: parts_refused,
                late: count(&counts.late),
            },
        }
    }
}

fn forward(counts: &ForwardCounts) -> DoorForwardStatus {
    DoorForwardStatus {
        route: counts.route.word().to_owned(),
        endpoint: counts.endpoint.clone(),
        forwarded: count(&counts.forwarded),
        dropped: by_reason(ForwardDrop::ALL.map(ForwardDrop::word), &counts.dropped),
    }
}

fn traces(counts: TraceCounts) -> DoorTracesStatus {
    let TraceCounts { requests, traces, bytes, without_stats } = counts;
    DoorTracesStatus { requests, traces, bytes, without_stats }
}
