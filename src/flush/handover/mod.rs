//! What one run hands over to the next: the values of a partial bucket that it posted at its end.
//!
//! The intake keeps the last write of a series and second. A run that stops posts its open bucket
//! with a second of its own, and the next run may post a bucket of the same second: with intervals of
//! 1 s it always may. So it learns what was posted there and posts the sum: always the whole value of
//! a series at its second, which makes overwriting harmless. A series it does not know it does not
//! post, and the old value stays.
//!
//! Distributions are not handed over: the intake adds sketches. Neither are events, checks and points
//! with a time of their own: they are posted once.

mod format;
mod local;

use ahash::RandomState;

pub use self::format::HandOverError;
use super::merge;
use super::registry::Registry;
use crate::aggregate::{Bucket, CounterCell, GaugeCell, HistogramCell, SetCell};
use crate::context::Context;
use crate::part::Packer;

/// Values posted at one second.
#[derive(Clone, Debug)]
struct Posted {
    /// The second.
    stamp: u64,
    /// Start of the bucket they were recorded in.
    start: u64,
    cells: Vec<PostedCell>,
}

/// The value of one context.
#[derive(Clone, Debug)]
struct PostedCell {
    context: Context,
    write_order: u32,
    value: PostedValue,
}

/// By kind; the `context` of cells in here has no meaning.
#[derive(Clone, Debug)]
enum PostedValue {
    Counter(f64),
    Gauge(f64),
    Set(SetCell),
    Histogram(HistogramCell),
}

/// What was posted at seconds that are not over yet, of runs before and of this one.
#[derive(Clone, Debug, Default)]
pub struct HandOver {
    posted: Vec<Posted>,
}

impl HandOver {
    /// Reads what [`HandOver::encode`] wrote. Seconds before `start`, that of the first bucket this
    /// run can post, are left out. `state` hashes members of sets.
    ///
    /// # Errors
    /// When the bytes are not whole, of another format, or hold what was never posted.
    pub fn decode(bytes: &[u8], start: u64, state: &RandomState) -> Result<Self, HandOverError> {
        let mut posted = format::decode(bytes, state)?;
        posted.retain(|posted| posted.stamp >= start);
        Ok(HandOver { posted })
    }

    /// What a run that starts at `now` may need, as bytes; empty when there is nothing. Cells that do
    /// not fit into 64 MiB are left out: the second value is how many.
    #[must_use]
    pub fn encode(&self, now: u64, interval: u64) -> (Vec<u8>, usize) {
        let needed = self.posted.iter().filter(|posted| posted.stamp + interval > now);
        format::encode(needed, interval, &mut Packer::new())
    }

    /// Series in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.posted.iter().map(|posted| posted.cells.len()).sum()
    }

    /// True when nothing was posted that could be overwritten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds to a bucket that will be posted at `stamp` what was posted there before, of the contexts
    /// that are known.
    pub(super) fn add_to(
        &self,
        bucket: &mut Bucket,
        (stamp, start): (u64, u64),
        registry: &Registry,
        set_members_max: usize,
    ) {
        let mut earlier = Bucket::default();
        for posted in self.posted.iter().filter(|posted| posted.stamp == stamp) {
            for cell in &posted.cells {
                let Some(context) = registry.number_of(&cell.context) else { continue };
                // Orders count from the start of their bucket; those of an earlier one come first.
                let write_order = if posted.start == start { cell.write_order } else { 0 };
                match &cell.value {
                    PostedValue::Counter(sum) => {
                        earlier.counters.push(CounterCell { sum: *sum, context, write_order });
                    }
                    PostedValue::Gauge(value) => {
                        earlier.gauges.push(GaugeCell { value: *value, context, write_order });
                    }
                    PostedValue::Set(set) => {
                        let mut set = set.clone();
                        (set.context, set.write_order) = (context, write_order);
                        earlier.sets.push(set);
                    }
                    PostedValue::Histogram(histogram) => {
                        let mut histogram = histogram.clone();
                        (histogram.context, histogram.write_order) = (context, write_order);
                        earlier.histograms.push(histogram);
                    }
                }
            }
        }
        merge::merge(bucket, &mut earlier, registry.numbers_end(), set_members_max);
    }

    /// Keeps in mind what this run posts at `stamp`, in the place of what was posted there of the
    /// same series.
    pub(super) fn note(
        &mut self,
        bucket: &Bucket,
        (stamp, start): (u64, u64),
        registry: &Registry,
    ) {
        let mut cells = Vec::new();
        let mut add = |number: u32, write_order: u32, value: PostedValue| {
            if let Some(known) = registry.get(number) {
                cells.push(PostedCell { context: known.context.clone(), write_order, value });
            }
        };
        for cell in &bucket.counters {
            add(cell.context, cell.write_order, PostedValue::Counter(cell.sum));
        }
        for cell in &bucket.gauges {
            add(cell.context, cell.write_order, PostedValue::Gauge(cell.value));
        }
        for cell in &bucket.sets {
            add(cell.context, cell.write_order, PostedValue::Set(cell.clone()));
        }
        for cell in &bucket.histograms {
            add(cell.context, cell.write_order, PostedValue::Histogram(cell.clone()));
        }
        // What is known was added to the bucket before it was posted.
        for posted in self.posted.iter_mut().filter(|posted| posted.stamp == stamp) {
            posted.cells.retain(|cell| registry.number_of(&cell.context).is_none());
        }
        self.posted.push(Posted { stamp, start, cells });
        self.posted.retain(|posted| !posted.cells.is_empty());
    }
}
