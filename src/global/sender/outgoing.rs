//! A part on its way: as a record, as a place in the queue, and as what is known without reading it.

use std::sync::Arc;

use bytes::Bytes;

/// A part as it is to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingPart {
    /// Where it goes.
    pub topic: Arc<str>,
    /// Which partition of it.
    pub partition: u32,
    /// Start of its interval, Unix seconds.
    pub start: u64,
    /// Length of the interval in seconds.
    pub interval: u32,
    /// How many cells it holds.
    pub cells: u64,
    /// The record, its identity within.
    pub record: Bytes,
}

/// Orders parts: the oldest interval first, then as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PartKey {
    pub start: u64,
    pub number: u64,
}

/// What is known of a part without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub partition: u32,
    pub start: u64,
    pub interval: u32,
    pub cells: u64,
    pub record_bytes: u64,
}

impl Described {
    pub fn of(part: &OutgoingPart) -> Self {
        Described {
            partition: part.partition,
            start: part.start,
            interval: part.interval,
            cells: part.cells,
            record_bytes: part.record.len() as u64,
        }
    }
}
