//! From the state of the server to a [`Status`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    AdminRefusals, AgentStatus, ContextsStatus, DoorsStatus, IdentityStatus, KernelListenerStatus,
    KernelStatus, LimitStatus, LinesStatus, ListenerStatus, PayloadsStatus, ReasonsStatus,
    RecordedStatus, Status, ValuesStatus,
};
use crate::admin::health::Health;
use crate::admin::senders;
use crate::admin::state::{AdminState, Snapshot};
use crate::aggregate::LineCounts;
use crate::context::{DropReason, Kind};
use crate::http::Refusals;
use crate::net::{ListenerCounts, ListenerDescription};
use crate::protocol::ErrorKind;
use crate::watch::Totals;

/// Senders in the status; `/senders` has them all.
const SENDERS_SHOWN: usize = 10;

impl Status {
    /// The state at the moment of the snapshot.
    pub fn of(state: &AdminState, snapshot: &Snapshot) -> Self {
        let totals = &snapshot.totals;
        Status {
            identity: IdentityStatus {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                hostname: state.hostname.clone(),
                hostname_origin: state.hostname_origin.to_owned(),
                pid: std::process::id(),
                uptime_seconds: state.liveness.uptime().as_secs(),
                interval_seconds: state.interval.as_secs(),
                output: state.output.clone(),
            },
            lines: LinesStatus::of(&totals.lines),
            lines_open: snapshot.open.received,
            lines_per_second: snapshot.lines_per_second,
            type_conflicts: totals.type_conflicts,
            sets_estimated: totals.sets_estimated,
            histograms_folded: totals.histograms_folded,
            cells_coarse: totals.cells_coarse,
            flushes: totals.flushes,
            flush_seconds: totals.flush_durations.summary().into(),
            last_flush_seconds: snapshot.flushed_ago.map(|age| age.as_secs_f64()),
            payloads: PayloadsStatus::of(snapshot.accounting.as_ref(), snapshot.discarded),
            kernel: kernel(state, totals),
            listeners: listeners(state, totals),
            listeners_off: state.listeners_off(),
            contexts: contexts(state, snapshot),
            doors: DoorsStatus::of(&state.doors, totals.door_contexts),
            global: state.global(),
            senders: senders::rows(&state.watch.senders(), &state.listeners, SENDERS_SHOWN),
            limits: limits(state, snapshot),
            process: snapshot.process,
            admin: AdminRefusals::of(&state.refusals),
            config: state.config(),
            health: Health {
                off: state.listeners_off(),
                ..Health::ready(&state.liveness, snapshot.accounting.as_ref(), &state.global())
            },
            agent: AgentStatus::of(state, snapshot),
        }
    }
}

impl AdminRefusals {
    fn of(refusals: &Refusals) -> Self {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        AdminRefusals {
            connections_evicted: count(&refusals.evicted),
            connections_late: count(&refusals.late),
            pages_refused: count(&refusals.busy),
        }
    }
}

impl LinesStatus {
    fn of(counts: &LineCounts) -> Self {
        let refused = ErrorKind::ALL.map(|kind| (kind.reason(), counts.refused[kind as usize]));
        let tails = [("unterminated", counts.unterminated), ("truncated", counts.truncated)];
        let dropped =
            DropReason::ALL.map(|reason| (reason.word(), counts.dropped[reason as usize]));
        let lost = [("lane_failed", counts.lost), ("bucket_abandoned", counts.abandoned)];
        let accounted = counts.recorded() + counts.refused_total() + counts.dropped_total();
        LinesStatus {
            received: counts.received,
            recorded: RecordedStatus {
                total: counts.recorded(),
                metrics: counts.metrics,
                events: counts.events,
                service_checks: counts.checks,
            },
            refused: ReasonsStatus {
                total: counts.refused_total(),
                reasons: nonzero(refused.into_iter().chain(tails)),
            },
            dropped: ReasonsStatus {
                total: counts.dropped_total(),
                reasons: nonzero(dropped.into_iter().chain(lost)),
            },
            balances: accounted == counts.received,
            values: ValuesStatus { recorded: counts.values, not_finite: counts.values_non_finite },
            folded: counts.lines_folded,
            rates_invalid: counts.rates_invalid,
            fields_ignored: counts.fields_ignored,
            texts_repaired: counts.texts_repaired,
            tags_left_out: counts.tags_left_out,
            origins_unreadable: counts.origins_unreadable,
            timestamped_local: counts.timestamped_local,
            cells_unsendable: counts.cells_unsendable,
        }
    }
}

fn nonzero(reasons: impl Iterator<Item = (&'static str, u64)>) -> BTreeMap<String, u64> {
    let counted = reasons.filter(|(_, count)| *count > 0);
    counted.map(|(reason, count)| (reason.to_owned(), count)).collect()
}

fn kernel(state: &AdminState, totals: &Totals) -> KernelStatus {
    let dropping = state.of_listeners(totals).filter(|(_, counts)| counts.kernel_drops > 0);
    let row = |(listener, counts): (&ListenerDescription, &ListenerCounts)| KernelListenerStatus {
        listener: format!("{} {}", listener.transport, listener.address),
        dropped: counts.kernel_drops,
        remedy: listener.drop_remedy(state.receive_buffer_bytes),
    };
    KernelStatus { dropped: totals.kernel_drops(), listeners: dropping.map(row).collect() }
}

fn listeners(state: &AdminState, totals: &Totals) -> Vec<ListenerStatus> {
    let row = |(at, listener): (usize, &ListenerDescription)| {
        let described = ListenerStatus {
            transport: listener.transport.label().to_owned(),
            address: listener.address.to_string(),
            sockets: listener.sockets,
            inherited: listener.inherited,
            receive_buffer_bytes: listener.receive_buffer_bytes,
            receive_buffer_bytes_asked: state.receive_buffer_bytes,
            lines: LinesStatus::of(&totals.listener_lines.get(at).copied().unwrap_or_default()),
            ..ListenerStatus::default()
        };
        let Some(counts) = totals.listeners.get(at) else { return described };
        ListenerStatus {
            datagrams: counts.datagrams,
            frames: counts.frames,
            bytes: counts.bytes,
            datagrams_truncated: counts.datagrams_truncated,
            bytes_truncated: counts.bytes_truncated,
            read_errors: counts.read_errors,
            credentials_missing: counts.credentials_missing,
            connections_open: counts.connections_open,
            connections_accepted: counts.connections_accepted,
            connections_refused: counts.connections_refused,
            frames_oversize: counts.frames_oversize,
            frames_cut: counts.frames_cut,
            kernel_drops: counts.kernel_drops,
            bound_again: counts.bound_again,
            socket_lost: counts.socket_lost,
            ..described
        }
    };
    state.listeners.iter().enumerate().map(row).collect()
}

fn contexts(state: &AdminState, snapshot: &Snapshot) -> ContextsStatus {
    let totals = &snapshot.totals;
    let by_kind = Kind::ALL.iter().zip(totals.contexts_by_kind);
    ContextsStatus {
        live: totals.contexts,
        new: snapshot.contexts_new,
        max: state.limits.contexts,
        by_kind: by_kind.map(|(kind, count)| (kind.word().to_owned(), count)).collect(),
        overflow: state.watch.overflow(),
    }
}

/// Every limit that is shared by all clients, with what is used of it.
fn limits(state: &AdminState, snapshot: &Snapshot) -> Vec<LimitStatus> {
    let totals = &snapshot.totals;
    let count = |number: usize| number as u64;
    let row = |name: &str, used, max| LimitStatus { name: name.to_owned(), used, max };
    let connections: u64 = totals.listeners.iter().map(|counts| counts.connections_open).sum();
    let records = totals.last.events.max(totals.last.checks);
    let memory = &state.aggregation_memory;
    let mut rows = vec![
        row("contexts_max", count(totals.contexts), count(state.limits.contexts)),
        row("aggregation_bytes_max", count(memory.bytes_used()), count(memory.bytes_max())),
        row("stream_connections_max", connections, count(state.limits.connections)),
        row("events_per_interval_max", records, count(state.limits.events)),
    ];
    for endpoint in snapshot.accounting.iter().flat_map(|accounting| &accounting.endpoints) {
        let queue = format!("forwarder_retry_queue_payloads_max_size {}", endpoint.name);
        rows.push(row(&queue, count(endpoint.queue_bytes), count(endpoint.queue_bytes_max)));
        if state.limits.spool_bytes > 0 {
            let spool = format!("forwarder_storage_max_size_in_bytes {}", endpoint.name);
            rows.push(row(&spool, endpoint.spool_bytes, state.limits.spool_bytes));
        }
    }
    rows.push(row("open files", snapshot.process.open_files, snapshot.process.open_files_max));
    if let Some(max) = state.limits.memory_bytes {
        rows.push(row("cgroup memory", snapshot.process.resident_bytes, max));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shutdown summary prints [`LineCounts`] itself: it names the same sums and reasons.
    #[test]
    fn the_status_has_every_reason_of_the_shutdown_summary() {
        let mut counts = LineCounts::default();
        let mut next = 0;
        let mut number = || {
            next += 1;
            next
        };
        counts.refused.iter_mut().for_each(|count| *count = number());
        counts.dropped.iter_mut().for_each(|count| *count = number());
        (counts.unterminated, counts.truncated) = (number(), number());
        (counts.lost, counts.abandoned) = (number(), number());
        (counts.metrics, counts.events, counts.checks) = (number(), number(), number());
        counts.received = counts.recorded() + counts.refused_total() + counts.dropped_total();

        let status = LinesStatus::of(&counts);
        assert!(status.balances);
        let reasons = status.refused.reasons.iter().chain(&status.dropped.reasons);
        let shown: BTreeMap<&str, u64> =
            reasons.map(|(reason, count)| (reason.as_str(), *count)).collect();
        assert_eq!(shown, counts.reasons().collect());
        let summary = counts.to_string();
        let sums = format!(
            "{} received = {} recorded + {} refused + {} dropped (",
            status.received, status.recorded.total, status.refused.total, status.dropped.total
        );
        assert!(summary.starts_with(&sums), "{summary}");
    }
}
