//! One of several buckets that are open at a time.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;

use super::bucket::Bucket;
use super::timed_part::Value;
use super::write_order::WriteOrder;
use crate::context::Kind;
use crate::memory::{MemoryLimit, MemoryShare};

/// A bucket, and how it is found what stands in it.
#[derive(Debug)]
pub(super) struct TimedBucket {
    pub bucket: Bucket,
    /// From contexts to cells of their kind.
    cells: HashMap<u32, u32, RandomState>,
    /// The seconds of the values of gauges, by cell.
    gauge_seconds: Vec<i64>,
    writes: WriteOrder,
}

impl TimedBucket {
    pub fn new(start: u64, memory: &Arc<MemoryLimit>, state: &RandomState) -> Self {
        let mut bucket = Bucket::default();
        bucket.start = start;
        bucket.memory = MemoryShare::of(memory);
        TimedBucket {
            bucket,
            cells: HashMap::with_hasher(state.clone()),
            gauge_seconds: Vec::new(),
            writes: 0,
        }
    }

    /// The cell of a context, made at its first touch.
    pub fn cell_of(&mut self, context: u32, kind: Kind, state: &RandomState) -> u32 {
        let bucket = &mut self.bucket;
        let gauge_seconds = &mut self.gauge_seconds;
        *self.cells.entry(context).or_insert_with(|| {
            if kind == Kind::Gauge {
                gauge_seconds.push(i64::MIN);
            }
            bucket.push_cell(kind, context, state)
        })
    }

    /// Records a value in a cell of its kind; false when nothing of it could be added, because a sum or
    /// count would leave its range.
    #[inline]
    pub fn record(&mut self, cell: u32, value: Value<'_>, second: i64) -> bool {
        self.writes = self.writes.saturating_add(1);
        let (at, bucket) = (cell as usize, &mut self.bucket);
        match value {
            Value::Count(value) => bucket.counters[at].record(value, self.writes),
            Value::Gauge(value) => {
                // An earlier second is recorded too: it only is not the last.
                let earlier = second < self.gauge_seconds[at];
                if !earlier {
                    self.gauge_seconds[at] = second;
                }
                earlier || bucket.gauges[at].record(value, self.writes)
            }
            Value::Highest(value) => {
                let is_first = self.gauge_seconds[at] == i64::MIN;
                self.gauge_seconds[at] = self.gauge_seconds[at].max(second);
                let lower = !is_first && value < bucket.gauges[at].value;
                lower || bucket.gauges[at].record(value, self.writes)
            }
            Value::Samples(values) => {
                let sketch = &mut bucket.distributions[at].sketch;
                let memory = &mut bucket.memory;
                values.iter().fold(false, |any, value| {
                    let taken = sketch.insert_within(*value, 1.0, memory);
                    bucket.counts.values_non_finite += u64::from(!taken);
                    any | taken
                })
            }
            Value::Sketch(values) => {
                bucket.distributions[at].sketch.merge_within(values, &mut bucket.memory)
            }
        }
    }
}
