//! For functions and short programs: flush before leaving.

use std::sync::atomic::Ordering;

use super::client::ThreadStats;

/// Flushes everything, the open interval too, when the outermost guard of its client is dropped.
/// Made by [`ThreadStats::flush_guard`].
///
/// The drop waits for a flush under way and for the reporter. It is skipped if another guard is
/// alive, on this thread or any other: that one flushes.
#[derive(Debug)]
#[must_use = "dropping it at once flushes at once"]
pub struct FlushGuard(ThreadStats);

impl ThreadStats {
    /// For programs that end soon: when the outermost guard of a client is dropped, everything is
    /// flushed, the open interval too.
    pub fn flush_guard(&self) -> FlushGuard {
        FlushGuard::new(self)
    }
}

impl FlushGuard {
    pub(crate) fn new(stats: &ThreadStats) -> Self {
        stats.0.inner.guards.fetch_add(1, Ordering::AcqRel);
        FlushGuard(stats.clone())
    }
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        let inner = &self.0.0.inner;
        if inner.guards.fetch_sub(1, Ordering::AcqRel) == 1 {
            inner.flush_last();
        }
    }
}
