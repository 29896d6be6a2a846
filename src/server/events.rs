//! Turns what the rooms report into events on the hub, and writes the debug log from them.

use std::any::Any;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::aggregate::LineCounts;
use crate::clock::Clock;
use crate::config::Loaded;
use crate::context::DropReason;
use crate::flush::{Flush, FlushTotals, Flusher};
use crate::forward::{Forwarder, ShutdownReport};
use crate::net::{self, Arrival, Sender};
use crate::protocol::ParseError;
use crate::telemetry::{Event, EventKind, Hub, Subscription, Transport};

/// Bytes shown of a refused line.
const LINE_SHOWN: usize = 256;

/// What the debug log shows: everything but the facts of each packet and line, which would drown it
/// (refused lines are logged once per reason and interval elsewhere).
const LOGGED: [EventKind; 12] = [
    EventKind::ContextLimitReached,
    EventKind::FlushStarted,
    EventKind::FlushCompleted,
    EventKind::PayloadBuilt,
    EventKind::PayloadSent,
    EventKind::PayloadRetried,
    EventKind::PayloadDropped,
    EventKind::ConfigReloaded,
    EventKind::ListenerStateChanged,
    EventKind::ComponentFailed,
    EventKind::ShutdownStarted,
    EventKind::ShutdownCompleted,
];

/// Writes facts to the debug log as long as the subscriptions live. There are none unless the debug
/// level is on, so that otherwise there is no subscriber and no fact is built.
pub(super) fn debug_log(hub: &Hub) -> Vec<Subscription> {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return Vec::new();
    }
    LOGGED.iter().map(|kind| hub.subscribe(*kind, Some("debug_log"), log)).collect()
}

fn log(event: &Event<'_>) {
    match event {
        Event::ContextLimitReached { limit, refused } => {
            tracing::debug!(target: "context", "limit of {limit} contexts: {refused} lines refused or folded");
        }
        Event::FlushStarted { bucket_start, contexts } => {
            tracing::debug!(target: "flush", "{bucket_start}: flush of {contexts} contexts begins");
        }
        Event::FlushCompleted { duration, series, sketches, events, checks, points } => {
            tracing::debug!(
                target: "flush",
                "{series} series with {points} points, {sketches} sketches, {events} events, {checks} checks flushed in {duration:?}"
            );
        }
        Event::PayloadBuilt { route, items, raw_bytes, compressed_bytes } => {
            tracing::debug!(target: "encode", "built {route} of {items} items, {compressed_bytes} bytes ({raw_bytes} before compression)");
        }
        Event::PayloadSent { destination, bytes, status, duration, attempt } => {
            tracing::debug!(target: "forward", "{destination}: {bytes} bytes, status {status} after {duration:?}, attempt {attempt}");
        }
        Event::PayloadRetried { destination, cause, delay } => {
            tracing::debug!(target: "forward", "{destination}: {cause:?}, again after {delay:?}");
        }
        Event::PayloadDropped { destination, reason, items, bytes } => {
            tracing::debug!(target: "forward", "{destination}: dropped {items} items, {bytes} bytes ({reason})");
        }
        other => tracing::debug!(target: "server", "{other:?}"),
    }
}

/// Only for a listener: out of the way of the loop that calls it.
#[cold]
#[inline(never)]
pub(super) fn packet_received(hub: &Hub, bytes: &[u8], from: &Sender<'_>, how: net::Transport) {
    hub.emit(EventKind::PacketReceived, || Event::PacketReceived {
        transport: word_of(how),
        bytes,
        pid: from.credentials().map(|credentials| credentials.pid),
    });
}

pub(super) fn packet_truncated(hub: &Hub, buffer_bytes: usize, arrival: Arrival) {
    hub.emit(EventKind::PacketTruncated, || Event::PacketTruncated {
        transport: word_of(arrival.transport),
        buffer_bytes,
    });
}

#[cold]
pub(super) fn parse_failed(
    hub: &Hub,
    error: ParseError,
    line: &[u8],
    transport: Option<&net::Transport>,
) {
    hub.emit(EventKind::ParseFailed, || Event::ParseFailed {
        transport: transport.map_or(Transport::Embedded, |transport| word_of(*transport)),
        reason: error.kind.reason(),
        line: &line[..line.len().min(LINE_SHOWN)],
    });
}

/// A lane is called as its thread.
pub(super) fn lane_failed(hub: &Hub, error: &str, restarts: u32) {
    component_failed(hub, thread::current().name().unwrap_or("lane"), error, restarts);
}

pub(super) fn component_failed(hub: &Hub, component: &str, error: &str, restarts: u32) {
    hub.emit(EventKind::ComponentFailed, || Event::ComponentFailed { component, error, restarts });
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panic without a text")
}

/// A fact only where the flush met the limit.
pub(super) fn context_limit(hub: &Hub, limit: usize, counts: &LineCounts) {
    let refused = counts.lines_folded + counts.dropped[DropReason::ContextLimit as usize];
    if refused > 0 {
        hub.emit(EventKind::ContextLimitReached, || Event::ContextLimitReached { limit, refused });
    }
}

pub(super) fn flush_started(hub: &Hub, flush: &Flush) {
    hub.emit(EventKind::FlushStarted, || Event::FlushStarted {
        bucket_start: i64::try_from(flush.start).unwrap_or(i64::MAX),
        contexts: flush.contexts,
    });
}

/// Counting what was posted takes one more walk over the flush, made only for a listener.
pub(super) fn flush_completed(
    hub: &Hub,
    flusher: &Flusher,
    flush: &Flush,
    (clock, began): (&Clock, Duration),
) {
    hub.emit(EventKind::FlushCompleted, || {
        let duration = clock.monotonic().saturating_sub(began);
        let FlushTotals { series, sketches, points } = flusher.view(flush).totals();
        let (events, checks) = (flush.events().len(), flush.checks().len());
        Event::FlushCompleted { duration, series, sketches, events, checks, points }
    });
}

pub(super) fn listeners_changed(hub: &Hub, listeners: &[String], state: &'static str) {
    for listener in listeners {
        hub.emit(EventKind::ListenerStateChanged, || Event::ListenerStateChanged {
            listener,
            state,
        });
    }
}

/// Every honoured key with its value as text, to find out later what a reload changed. Secrets show
/// their last characters, so two that end alike count as the same.
pub(super) fn effective(loaded: &Loaded) -> Vec<(&'static str, String)> {
    loaded.effective().into_iter().map(|(key, value, _)| (key, value)).collect()
}

/// Tells which values differ from those in `effective`, and keeps the new ones there.
pub(super) fn config_reloaded(
    hub: &Hub,
    effective: &Mutex<Vec<(&'static str, String)>>,
    loaded: &Loaded,
) {
    let after = self::effective(loaded);
    let mut kept = effective.lock().unwrap_or_else(PoisonError::into_inner);
    let before = std::mem::replace(&mut *kept, after.clone());
    drop(kept); // a listener may reload
    let new = after.iter().filter(|entry| !before.contains(entry));
    let gone = before.iter().filter(|(key, _)| !after.iter().any(|(other, _)| other == key));
    let changed: Vec<&str> = new.chain(gone).map(|(key, _)| *key).collect();
    hub.emit(EventKind::ConfigReloaded, || Event::ConfigReloaded { keys: &changed });
}

fn word_of(transport: net::Transport) -> Transport {
    match transport {
        net::Transport::Udp => Transport::Udp,
        net::Transport::UnixDatagram => Transport::UnixDatagram,
        net::Transport::UnixStream => Transport::UnixStream,
        net::Transport::Tcp => Transport::Tcp,
        net::Transport::Http => Transport::Http,
    }
}

pub(super) fn shutdown_started(hub: &Hub, deadline: Duration, forwarder: Option<&Forwarder>) {
    hub.emit(EventKind::ShutdownStarted, || {
        let waiting =
            forwarder.map(|forwarder| forwarder.accounting().total(|route| route.waiting));
        let pending = waiting.unwrap_or_default().points;
        Event::ShutdownStarted { deadline, pending: usize::try_from(pending).unwrap_or(usize::MAX) }
    });
}

/// Without a report there was no delivery, and nothing to lose.
pub(super) fn shutdown_completed(hub: &Hub, report: Option<&ShutdownReport>) {
    hub.emit(EventKind::ShutdownCompleted, || {
        let lost =
            report.map_or(0, |report| report.endpoints.iter().map(|one| one.lost.points).sum());
        Event::ShutdownCompleted { lost: usize::try_from(lost).unwrap_or(usize::MAX) }
    });
}
