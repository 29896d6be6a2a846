//! What a record says of itself: a part of one bucket, or a barrier.

use std::cmp::Ordering;

use super::cell::Cell;
use super::error::{STYLE_AGGREGATES_MAX, STYLE_PERCENTILES_MAX, STYLE_TEXT_BYTES_MAX};
use super::key::Key;

/// Sixteen random bytes, new at every start of a process.
pub type Sender = [u8; 16];

/// One record of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Cells of one bucket and partition.
    Part(Part),
    /// A mark that its owner waits to read back.
    Barrier(Barrier),
}

/// A mark in a partition: once its owner reads it back, everything appended before it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// Who appended it; everyone else skips it.
    pub owner: [u8; 16],
    /// Which of the owner's.
    pub number: u64,
}

/// Cells of one bucket and partition of one sender, as one record holds them.
#[derive(Clone, Debug, PartialEq)]
pub struct Part<K = Key> {
    /// Whose, when and where.
    pub head: Head,
    /// In the order they were written; a key may come more than once.
    pub cells: Vec<Cell<K>>,
}

/// Where a part comes from and belongs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    /// The process that sent it.
    pub sender: Sender,
    /// Its host, for people only.
    pub host: String,
    /// The start of the bucket in unix seconds, by the sender's clock.
    pub start: u64,
    /// The length of the bucket in seconds, at least 1.
    pub interval: u32,
    /// The partition of its cells, below `partitions`.
    pub partition: u32,
    /// Of how many, at least 1.
    pub partitions: u32,
    /// Counts from 0 per sender, start and partition.
    pub sequence: u32,
    /// How many cells it holds.
    pub cells: u32,
    /// Bytes of the cells before compression.
    pub raw_bytes: u32,
    /// When it was built, in unix milliseconds of the sender's clock.
    pub built_ms: u64,
    /// How series are posted; cells refer to them by their place, from 1.
    pub styles: Vec<Style>,
}

/// The identity of a part: a retry keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartId {
    /// [`Head::sender`]
    pub sender: Sender,
    /// [`Head::start`]
    pub start: u64,
    /// [`Head::partition`]
    pub partition: u32,
    /// [`Head::sequence`]
    pub sequence: u32,
}

impl Head {
    /// What tells it from every other part.
    #[must_use]
    pub fn id(&self) -> PartId {
        PartId {
            sender: self.sender,
            start: self.start,
            partition: self.partition,
            sequence: self.sequence,
        }
    }

    /// The first second after its bucket.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(u64::from(self.interval))
    }
}

/// How one series is posted. `Default`: as the owner's settings say.
#[derive(Clone, Debug, Default)]
pub struct Style {
    /// Aggregates of a histogram, as words of the configuration; without any, the owner's.
    pub aggregates: Vec<String>,
    /// Percentiles of a histogram, from 0 to 1; without any, and without aggregates, the owner's.
    pub percentiles: Vec<f64>,
    /// True for a counter that is posted as a count, not as a rate.
    pub as_count: bool,
    /// The unit of the series; empty without one.
    pub unit: String,
}

impl Style {
    /// True when all is left to the owner's settings.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.aggregates.is_empty()
            && self.percentiles.is_empty()
            && !self.as_count
            && self.unit.is_empty()
    }

    /// True when a part has room for it.
    pub(super) fn fits(&self) -> bool {
        let short = |text: &String| text.len() <= STYLE_TEXT_BYTES_MAX;
        self.aggregates.len() <= STYLE_AGGREGATES_MAX
            && self.aggregates.iter().all(short)
            && self.percentiles.len() <= STYLE_PERCENTILES_MAX
            && self.percentiles.iter().all(|share| (0.0..=1.0).contains(share))
            && short(&self.unit)
    }

    /// Heap bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let words: usize = self.aggregates.iter().map(String::capacity).sum();
        self.aggregates.capacity() * size_of::<String>()
            + words
            + self.percentiles.capacity() * size_of::<f64>()
            + self.unit.capacity()
    }
}

/// Some order, the same in every process: it decides between equal writes.
impl Ord for Style {
    fn cmp(&self, other: &Self) -> Ordering {
        let bits = |style: &Style| -> Vec<u64> {
            style.percentiles.iter().map(|share| share.to_bits()).collect()
        };
        (&self.aggregates, self.as_count, &self.unit)
            .cmp(&(&other.aggregates, other.as_count, &other.unit))
            .then_with(|| bits(self).cmp(&bits(other)))
    }
}

impl PartialOrd for Style {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Style {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Style {}
