//! The totals of the process, kept by the flusher.

use std::time::Duration;

use crate::aggregate::LineCounts;
use crate::context::Kind;
use crate::net::ListenerCounts;
use crate::telemetry::Durations;

/// Everything counted since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// Lines and values of all flushed buckets.
    pub lines: LineCounts,
    /// Per listener, added up over lanes.
    pub listeners: Vec<ListenerCounts>,
    /// Lines of all flushed buckets, per listener.
    pub listener_lines: Vec<LineCounts>,
    /// Buckets closed by lanes.
    pub closes: u64,
    /// The longest time that closing one kept a lane from its sockets.
    pub close_max: Duration,
    /// Flushes so far.
    pub flushes: u64,
    /// How long making and handing over the payloads of a bucket took.
    pub flush_durations: Durations,
    /// When the last one was, on the monotonic clock.
    pub flushed_at: Option<Duration>,
    /// Values not posted because another kind of the same series was written later.
    pub type_conflicts: u64,
    /// Sets that were estimates, over all flushes (`set_members_max`).
    pub sets_estimated: u64,
    /// Histograms whose percentiles were not exact, over all flushes.
    pub histograms_folded: u64,
    /// Sets, histograms and distributions less precise than usual, over all flushes
    /// (`aggregation_bytes_max`).
    pub cells_coarse: u64,
    /// Lines and values of the last bucket alone.
    pub last: LineCounts,
    /// Contexts known at the last flush, counters that are only continued included.
    pub contexts: usize,
    /// Contexts of the doors known when their last bucket was posted.
    pub door_contexts: usize,
    /// The same by kind, in the order of [`Kind::ALL`].
    pub contexts_by_kind: [usize; Kind::ALL.len()],
}

impl Totals {
    /// Datagrams the kernel dropped, over all listeners.
    pub fn kernel_drops(&self) -> u64 {
        self.listeners.iter().map(|listener| listener.kernel_drops).sum()
    }
}
