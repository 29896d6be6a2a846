//! The last lines of a run: what became of every line and payload.

use super::forward_raw::RawForwarder;
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
