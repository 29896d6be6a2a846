//! The state of the server as JSON: identity, books, kernel drops, listeners, contexts, limits.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::health::Health;
use super::state::{AdminState, Snapshot};
use crate::aggregate::LineCounts;
use crate::context::{DropReason as LineDrop, Kind};
use crate::encode::Route;
use crate::forward::{DropReason, EndpointCounts, RouteCounts, Tally};
use crate::net::{ListenerCounts, ListenerDescription, Transport};
use crate::protocol::{ErrorKind, MessageType};
use crate::watch::Totals;

/// Senders in the status, the busiest first; `/senders` has them all.
const SENDERS_SHOWN: usize = 10;

/// Everything.
pub(crate) fn status(state: &AdminState, snapshot: &Snapshot) -> Value {
    let totals = &snapshot.totals;
    let config = state.config();
    json!({
        "identity": {
            "version": env!("CARGO_PKG_VERSION"),
            "hostname": state.hostname,
            "hostname_origin": state.hostname_origin,
            "pid": std::process::id(),
            "uptime_seconds": state.liveness.uptime().as_secs(),
            "interval_seconds": state.interval.as_secs(),
            "output": state.output,
        },
        "lines": lines(&totals.lines),
        "type_conflicts": totals.type_conflicts,
        "sets_estimated": totals.sets_estimated,
        "histograms_folded": totals.histograms_hdr,
        "payloads": payloads(snapshot),
        "kernel": kernel(state, totals),
        "listeners": listeners(state, totals),
        "contexts": contexts(state, totals),
        "senders": state.watch.senders().rows(&state.listeners, SENDERS_SHOWN),
        "limits": limits(state, snapshot),
        "config": { "degraded": config.degraded, "warnings": config.warnings },
        "health": Health::ready(&state.liveness, snapshot.books.as_ref()),
        "agent": agent(state, snapshot),
    })
}

/// `received = recorded + refused(reason) + dropped(reason)`.
fn lines(counts: &LineCounts) -> Value {
    let mut refused = Map::new();
    for kind in ErrorKind::ALL {
        entry(&mut refused, kind.reason(), counts.refused[kind as usize]);
    }
    entry(&mut refused, "unterminated", counts.unterminated);
    entry(&mut refused, "truncated", counts.truncated);
    let mut dropped = Map::new();
    for reason in LineDrop::ALL {
        entry(&mut dropped, reason.word(), counts.dropped[reason as usize]);
    }
    entry(&mut dropped, "lane_failed", counts.lost);
    entry(&mut dropped, "bucket_abandoned", counts.abandoned);
    let accounted = counts.recorded() + counts.refused_total() + counts.dropped_total();
    json!({
        "received": counts.received,
        "recorded": {
            "total": counts.recorded(),
            "metrics": counts.metrics,
            "events": counts.events,
            "service_checks": counts.checks,
        },
        "refused": { "total": counts.refused_total(), "reasons": refused },
        "dropped": { "total": counts.dropped_total(), "reasons": dropped },
        "balances": accounted == counts.received,
        "values": {
            "recorded": counts.values,
            "not_finite": counts.values_non_finite,
        },
        "folded": counts.lines_folded,
        "rates_invalid": counts.rates_invalid,
        "fields_ignored": counts.fields_ignored,
    })
}

fn entry(map: &mut Map<String, Value>, name: &str, count: u64) {
    if count > 0 {
        map.insert(name.to_owned(), count.into());
    }
}

fn tally(tally: Tally) -> Value {
    json!({ "payloads": tally.payloads, "points": tally.points, "bytes": tally.bytes })
}

fn dropped(routes: &[RouteCounts]) -> Value {
    let mut total = Tally::default();
    let mut reasons = Map::new();
    for reason in DropReason::ALL {
        let mut of_reason = Tally::default();
        routes.iter().for_each(|route| of_reason.add(route.dropped_for(reason)));
        if of_reason != Tally::default() {
            reasons.insert(reason.label().to_owned(), tally(of_reason));
        }
        total.add(of_reason);
    }
    json!({ "total": tally(total), "reasons": reasons })
}

/// `built = delivered + waiting + dropped(reason)`, in all and per endpoint.
fn payloads(snapshot: &Snapshot) -> Value {
    if let (Some(discarded), None) = (snapshot.discarded, &snapshot.books) {
        let built = Tally {
            payloads: discarded.payloads,
            points: discarded.points,
            bytes: discarded.bytes,
        };
        return json!({ "built": tally(built), "discarded": tally(built), "endpoints": [] });
    }
    let Some(books) = &snapshot.books else { return json!({ "endpoints": [] }) };
    let routes: Vec<RouteCounts> =
        books.endpoints.iter().flat_map(|endpoint| endpoint.routes.iter().cloned()).collect();
    json!({
        "built": tally(books.total(|route| route.built)),
        "delivered": tally(books.total(|route| route.delivered)),
        "waiting": tally(books.total(|route| route.waiting)),
        "dropped": dropped(&routes),
        "balances": books.balances(),
        "endpoints": books.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

fn endpoint(books: &EndpointCounts) -> Value {
    let mut routes = Map::new();
    for route in Route::ALL {
        let of_route = books.route(route);
        if of_route.built == Tally::default() {
            continue;
        }
        let statuses: BTreeMap<String, u64> =
            of_route.statuses.iter().map(|(code, count)| (code.to_string(), *count)).collect();
        let mut errors = Map::new();
        for kind in crate::forward::ErrorKind::ALL {
            entry(&mut errors, kind.label(), of_route.errors[kind as usize]);
        }
        let account = json!({
            "built": tally(of_route.built),
            "delivered": tally(of_route.delivered),
            "waiting": tally(of_route.waiting),
            "dropped": dropped(std::slice::from_ref(of_route)),
            "in_doubt": tally(of_route.in_doubt),
            "requests": of_route.requests,
            "retries": of_route.retries,
            "splits": of_route.splits,
            "statuses": statuses,
            "errors": errors,
            "breaker_errors": books.breaker_errors[route as usize],
        });
        routes.insert(route.label().to_owned(), account);
    }
    json!({
        "name": books.name,
        "key": books.key_shown,
        "key_status": books.key_status.to_string(),
        "built": tally(books.total(|route| route.built)),
        "delivered": tally(books.total(|route| route.delivered)),
        "waiting": tally(books.total(|route| route.waiting)),
        "dropped": dropped(&books.routes),
        "routes": routes,
        "queue_bytes": books.queue_bytes,
        "queue_bytes_max": books.queue_bytes_max,
        "queue_full_in_seconds": books.queue_full_in.map(|time| time.as_secs()),
        "spool_bytes": books.spool_bytes,
        "spool_records": books.spool_records,
    })
}

fn kernel(state: &AdminState, totals: &Totals) -> Value {
    let rows: Vec<Value> = of_listeners(state, totals)
        .filter(|(_, counts)| counts.kernel_drops > 0)
        .map(|(listener, counts)| {
            json!({
                "listener": name(listener),
                "dropped": counts.kernel_drops,
                "remedy": listener.drop_remedy(state.receive_buffer_bytes),
            })
        })
        .collect();
    json!({ "dropped": totals.kernel_drops(), "listeners": rows })
}

fn name(listener: &ListenerDescription) -> String {
    format!("{} {}", listener.transport, listener.address)
}

/// Listeners with their counts; before the first flush there are none.
pub(crate) fn of_listeners<'a>(
    state: &'a AdminState,
    totals: &'a Totals,
) -> impl Iterator<Item = (&'a ListenerDescription, &'a ListenerCounts)> {
    state.listeners.iter().zip(&totals.listeners)
}

fn listeners(state: &AdminState, totals: &Totals) -> Value {
    let row = |(at, listener): (usize, &ListenerDescription)| {
        let mut row = json!({
            "transport": listener.transport.label(),
            "address": listener.address.to_string(),
            "sockets": listener.sockets,
            "inherited": listener.inherited,
            "receive_buffer_bytes": listener.receive_buffer_bytes,
            "receive_buffer_bytes_asked": state.receive_buffer_bytes,
        });
        if let (Some(counts), Value::Object(row)) = (totals.listeners.get(at), &mut row) {
            for (name, count) in [
                ("datagrams", counts.datagrams),
                ("frames", counts.frames),
                ("bytes", counts.bytes),
                ("datagrams_truncated", counts.datagrams_truncated),
                ("bytes_truncated", counts.bytes_truncated),
                ("read_errors", counts.read_errors),
                ("credentials_missing", counts.credentials_missing),
                ("connections_open", counts.connections_open),
                ("connections_accepted", counts.connections_accepted),
                ("connections_refused", counts.connections_refused),
                ("frames_oversize", counts.frames_oversize),
                ("frames_cut", counts.frames_cut),
                ("kernel_drops", counts.kernel_drops),
            ] {
                row.insert(name.to_owned(), count.into());
            }
            let of_listener = totals.listener_lines.get(at).copied().unwrap_or_default();
            row.insert("lines".to_owned(), lines(&of_listener));
        }
        row
    };
    state.listeners.iter().enumerate().map(row).collect()
}

fn contexts(state: &AdminState, totals: &Totals) -> Value {
    let by_kind: BTreeMap<&str, usize> = Kind::ALL
        .iter()
        .map(|kind| (kind.word(), totals.contexts_by_kind[*kind as usize]))
        .collect();
    json!({
        "live": totals.contexts,
        "max": state.limits.contexts,
        "by_kind": by_kind,
        "overflow": state.watch.overflow().map(|overflow| overflow.json()),
    })
}

/// Every bound that is shared by all clients, with what is used of it.
pub(crate) fn limit_rows(state: &AdminState, snapshot: &Snapshot) -> Vec<(String, u64, u64)> {
    let totals = &snapshot.totals;
    let count = |number: usize| number as u64;
    let connections: u64 = totals.listeners.iter().map(|counts| counts.connections_open).sum();
    let notices = totals.last.events.max(totals.last.checks);
    let mut rows = vec![
        ("contexts_max".to_owned(), count(totals.contexts), count(state.limits.contexts)),
        ("stream_connections_max".to_owned(), connections, count(state.limits.connections)),
        ("events_per_interval_max".to_owned(), notices, count(state.limits.events)),
    ];
    for endpoint in snapshot.books.iter().flat_map(|books| &books.endpoints) {
        let queue = format!("forwarder_retry_queue_payloads_max_size {}", endpoint.name);
        rows.push((queue, count(endpoint.queue_bytes), count(endpoint.queue_bytes_max)));
        if state.limits.spool_bytes > 0 {
            let spool = format!("forwarder_storage_max_size_in_bytes {}", endpoint.name);
            rows.push((spool, endpoint.spool_bytes, state.limits.spool_bytes));
        }
    }
    if let (Some(used), Some(max)) = (snapshot.memory_bytes, state.limits.memory_bytes) {
        rows.push(("cgroup memory".to_owned(), used, max));
    }
    rows
}

fn limits(state: &AdminState, snapshot: &Snapshot) -> Value {
    let row =
        |(name, used, max): (String, u64, u64)| json!({ "name": name, "used": used, "max": max });
    limit_rows(state, snapshot).into_iter().map(row).collect()
}

/// The Agent's expvar maps, under the Agent's names.
pub(crate) fn agent(state: &AdminState, snapshot: &Snapshot) -> Value {
    let totals = &snapshot.totals;
    let counts = &totals.lines;
    let refused = |wanted: MessageType| -> u64 {
        let of_type = ErrorKind::ALL.iter().filter(|kind| kind.message_type() == wanted);
        of_type.map(|kind| counts.refused[*kind as usize]).sum()
    };
    let parse_errors = refused(MessageType::Metric);
    let (mut udp, mut uds) = (Transports::default(), Transports::default());
    for (listener, counts) in of_listeners(state, totals) {
        match listener.transport {
            Transport::Udp => udp.add(counts),
            Transport::UnixDatagram | Transport::UnixStream => uds.add(counts),
            Transport::Tcp => {}
        }
    }
    let [(_, series), (_, sketches), (_, events), (_, checks)] = flushed(snapshot);
    json!({
        "dogstatsd": {
            "MetricPackets": counts.metrics + counts.dropped_total(),
            "MetricParseErrors": parse_errors,
            "EventPackets": counts.events,
            "EventParseErrors": refused(MessageType::Event),
            "ServiceCheckPackets": counts.checks,
            "ServiceCheckParseErrors": refused(MessageType::ServiceCheck),
            "UnterminatedMetricErrors": counts.unterminated,
        },
        "dogstatsd-udp": {
            "Packets": udp.packets, "Bytes": udp.bytes, "PacketReadingErrors": udp.errors,
        },
        "dogstatsd-uds": {
            "Packets": uds.packets, "Bytes": uds.bytes, "PacketReadingErrors": uds.errors,
            "OriginDetectionErrors": uds.origin_errors,
        },
        "aggregator": {
            "DogstatsdContexts": totals.contexts,
            "DogstatsdMetricSample": counts.values,
            "SeriesFlushed": series,
            "SketchesFlushed": sketches,
            "EventsFlushed": events,
            "ServiceCheckFlushed": checks,
            "NumberOfFlush": totals.flushes,
        },
        "forwarder": agent_forwarder(snapshot),
    })
}

/// Items handed over for posting, by the Agent's data types. Without an intake, events and checks
/// are those that were recorded.
pub(crate) fn flushed(snapshot: &Snapshot) -> [(&'static str, u64); 4] {
    let first = snapshot.books.as_ref().and_then(|books| books.endpoints.first());
    let discarded =
        |route: Route| snapshot.discarded.map_or(0, |sums| sums.points_of[route as usize]);
    let built = |route: Route| {
        first.map_or_else(|| discarded(route), |endpoint| endpoint.route(route).built.points)
    };
    [
        ("series", built(Route::SeriesV2) + built(Route::SeriesV1)),
        ("sketches", built(Route::Sketches)),
        ("events", snapshot.totals.lines.events),
        ("service_checks", snapshot.totals.lines.checks),
    ]
}

/// The Agent's map of transactions, which are our payloads, and of keys.
fn agent_forwarder(snapshot: &Snapshot) -> Value {
    let endpoints = snapshot.books.iter().flat_map(|books| &books.endpoints);
    let (mut sums, mut by_route, mut keys) = ([0_u64; 5], Map::new(), Map::new());
    for endpoint in endpoints {
        for route in Route::ALL {
            let books = endpoint.route(route);
            let refused = books.statuses.iter().filter(|(status, _)| !(200..300).contains(*status));
            let errors =
                books.errors.iter().sum::<u64>() + refused.map(|(_, count)| count).sum::<u64>();
            let figures = [
                books.dropped_total().payloads,
                errors,
                books.retries,
                books.waiting.payloads,
                books.delivered.payloads,
            ];
            sums.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
            if books.delivered.payloads > 0 {
                let count = by_route.entry(route.label()).or_insert_with(|| 0.into());
                *count = (count.as_u64().unwrap_or_default() + books.delivered.payloads).into();
            }
        }
        let key = format!("API key ending with {}", endpoint.key_shown.trim_start_matches('*'));
        keys.insert(key, format!("API Key {}", endpoint.key_status).into());
    }
    let [dropped, errors, retried, waiting, delivered] = sums;
    json!({
        "Transactions": {
            "Dropped": dropped,
            "Errors": errors,
            "Requeued": retried,
            "Retried": retried,
            "RetryQueueSize": waiting,
            "Success": delivered,
            "SuccessByEndpoint": by_route,
        },
        "APIKeyStatus": keys,
    })
}

/// Sums of one family of listeners, as the Agent counts: failed reads are packets too.
#[derive(Default)]
struct Transports {
    packets: u64,
    bytes: u64,
    errors: u64,
    origin_errors: u64,
}

impl Transports {
    fn add(&mut self, counts: &ListenerCounts) {
        self.packets += counts.datagrams + counts.frames + counts.read_errors;
        self.bytes += counts.bytes;
        self.errors += counts.read_errors;
        self.origin_errors += counts.credentials_missing;
    }
}
