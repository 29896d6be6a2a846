//! What was not reported as it should be.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(super) struct Losses {
    pub points: AtomicU64,
    pub offsets: AtomicU64,
    pub expired: AtomicU64,
    pub invalid_contexts: AtomicU64,
    pub flushes: AtomicU64,
}

/// What was not reported as it should be, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataStreamsLosses {
    /// Messages of points past the bound of their bucket. Their pathways are right all the same.
    pub points: u64,
    /// Offsets past the same bound.
    pub offsets: u64,
    /// Messages and offsets of buckets that no one flushed for a minute.
    pub expired: u64,
    /// Contexts that could not be read: the message began a new pathway.
    pub invalid_contexts: u64,
    /// Flushes that an output could not deliver, once for each output.
    pub flushes: u64,
}

impl Losses {
    pub fn read(&self) -> DataStreamsLosses {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DataStreamsLosses {
            points: of(&self.points),
            offsets: of(&self.offsets),
            expired: of(&self.expired),
            invalid_contexts: of(&self.invalid_contexts),
            flushes: of(&self.flushes),
        }
    }
}
