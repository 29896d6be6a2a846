//! The last lines of a run: what became of every line and payload.

use super::forward_raw::RawForwarder;
use crate::admin::{DoorsStatus, ReasonsStatus};
use crate::output::Discarded;
use crate::text::grouped;
use crate::watch::Totals;

/// The balance of lines, in all and per listener, and what the kernel dropped.
pub(super) fn lines(totals: &Totals, listeners: &[String]) {
    let lines = &totals.lines;
    tracing::info!(target: "flush", "lines    {lines}");
    let heard = listeners.iter().zip(&totals.listener_lines).filter(|(_, of)| of.received > 0);
    if heard.clone().count() > 1 {
        for (listener, of) in heard {
            tracing::info!(target: "flush", "  of {listener}: {of}");
        }
    }
    if lines.values != lines.metrics {
        tracing::info!(target: "flush", "values   {} in {} metric lines", lines.values, lines.metrics);
    }
    tracing::debug!(
        target: "server",
        "lanes    closed {} buckets, at most {:.3} ms away from their sockets",
        totals.closes,
        totals.close_max.as_secs_f64() * 1e3
    );
    let (kernel, read) = (totals.kernel_drops(), totals.listeners.iter());
    let cut: u64 = read.map(|listener| listener.datagrams_truncated).sum();
    if kernel + cut > 0 {
        tracing::info!(
            target: "net",
            "kernel   dropped {} datagrams before they could be read; {} were longer than dogstatsd_buffer_size",
            grouped(kernel),
            grouped(cut)
        );
    }
}

/// The balances of requests to the doors and of the parts in them, and what did not go on.
pub(super) fn doors(doors: &DoorsStatus) {
    let total = doors.total();
    tracing::info!(
        target: "doors",
        "requests {} received = {} recorded + {} refused{}",
        total.requests,
        total.recorded,
        total.refused.total,
        named(&total.refused)
    );
    let parts = &total.parts;
    tracing::info!(
        target: "doors",
        "parts    {} received = {} recorded + {} refused{}; {} late",
        parts.total,
        parts.recorded,
        parts.refused.total,
        named(&parts.refused),
        parts.late
    );
    for forward in &doors.forwards {
        let (route, endpoint) = (&forward.route, &forward.endpoint);
        tracing::info!(
            target: "doors",
            "  {route} to {endpoint}: {} forwarded, {} dropped{}",
            forward.forwarded,
            forward.dropped.total,
            named(&forward.dropped)
        );
    }
}

/// ` (decode 1, method 2)`, nothing without a reason.
fn named(reasons: &ReasonsStatus<u64>) -> String {
    let named: Vec<String> = reasons
        .reasons
        .iter()
        .map(|(reason, count)| format!("{reason} {}", grouped(*count)))
        .collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
}

/// Packets sent a second time (`statsd_forward_host`).
pub(super) fn raw_copies(forwarder: &RawForwarder) {
    let (sent, failed) = forwarder.counts();
    let (sent, failed) = (grouped(sent), grouped(failed));
    tracing::info!(target: "net", "copies   {sent} sent to {}, {failed} failed", forwarder.target());
}

/// Payloads built for an output that delivers nothing.
pub(super) fn discarded(built: &Discarded, output: &str) {
    tracing::info!(
        target: "forward",
        "payloads {} built ({} points, {} bytes), none delivered (output {output})",
        grouped(built.payloads),
        grouped(built.points),
        grouped(built.bytes),
    );
}

/// No output builds payloads.
pub(super) fn nothing_built(console: bool) {
    let why = if console { "console only" } else { "no intake" };
    tracing::info!(target: "forward", "payloads none built ({why})");
}
