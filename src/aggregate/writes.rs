//! What known metrics write, kept by kind for a few lines and then applied kind by kind.
//!
//! Why: the kinds of lines alternate by chance, so that a processor guesses the jump to the code of a
//! kind wrong for most of them, and each wrong guess costs as much as the write. Putting a write into
//! the list of its kind is no jump, and the loop over a list has no kind to guess.
//!
//! A list keeps its order, and all writes of a cell are in one list. Between kinds the order of
//! writing decides nothing: [`WriteOrder`] says what was written last.

use super::bucket::Bucket;
use super::sample::Sample;
use super::write_order::WriteOrder;
use crate::context::{DropReason, prefetch};
use crate::protocol::MetricType;

/// Writes of one kind that wait at most: a datagram of common size on the net has 20 lines.
const WAITING_MAX: usize = 64;

/// One number for one cell. Half a cache line, so that finding one is a shift.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
pub(super) struct Write {
    pub value: f64,
    /// In (0, 1].
    pub rate: f64,
    /// The place among the cells of its kind.
    pub cell: u32,
    pub write_order: WriteOrder,
}

/// Lists: one for each kind, of which that of sets, whose members are no numbers, stays empty; and up to a
/// power of two, for arithmetic.
const LISTS: usize = 8;

/// Where a list ends, as a place among all.
#[derive(Clone, Copy, Debug)]
struct End {
    next: u32,
    /// One that is full, or takes nothing, ends here.
    limit: u32,
}

/// Writes that wait. What they are counted as is counted when they are applied.
#[derive(Debug)]
pub(super) struct Writes {
    /// The lists, one behind the other; those in front of each wait.
    lists: [Write; LISTS * WAITING_MAX],
    ends: [End; LISTS],
}

/// The list of a type: histograms and timers may write the same cell. Arithmetic instead of a `match`,
/// which the compiler would make a jump; a test below shows what comes out.
#[inline(always)]
const fn list_of(kind: MetricType) -> usize {
    (3 * kind as usize + 2) / 4 % LISTS
}

impl Writes {
    /// Empty lists; `histograms` is false where none of them may wait, timers included.
    pub fn new(histograms: bool) -> Self {
        let ends = std::array::from_fn(|list| {
            let takes = histograms || list != list_of(MetricType::Histogram);
            let next = (list * WAITING_MAX) as u32;
            End { next, limit: next + if takes { WAITING_MAX as u32 } else { 0 } }
        });
        Writes { lists: [Write::default(); LISTS * WAITING_MAX], ends }
    }

    /// Lets a write wait; false when the list of its kind is full.
    #[inline(always)]
    pub fn push(&mut self, kind: MetricType, write: Write) -> bool {
        let end = &mut self.ends[list_of(kind)];
        if end.next >= end.limit {
            return false;
        }
        // No list ends behind the last.
        self.lists[end.next as usize % (LISTS * WAITING_MAX)] = write;
        end.next += 1;
        true
    }

    /// Those of a type that wait.
    fn of(&self, kind: MetricType) -> &[Write] {
        let list = list_of(kind);
        self.lists.get(list * WAITING_MAX..self.ends[list].next as usize).unwrap_or_default()
    }

    /// Empties all lists; returns how many waited.
    fn clear(&mut self) -> usize {
        let mut waited = 0;
        for (list, end) in self.ends.iter_mut().enumerate() {
            let first = (list * WAITING_MAX) as u32;
            waited += end.next - first;
            end.next = first;
        }
        waited as usize
    }
}

impl Bucket {
    /// Applies the writes, and counts their lines as received and as recorded or dropped.
    #[inline(never)]
    pub(super) fn apply(&mut self, writes: &mut Writes) {
        let mut refused = 0;
        let mut refuse = || refused += 1;
        for write in writes.of(MetricType::Counter) {
            let value = write.value * (1.0 / write.rate);
            if !self.counters[write.cell as usize].record(value, write.write_order) {
                refuse();
            }
        }
        for write in writes.of(MetricType::Gauge) {
            if !self.gauges[write.cell as usize].record(write.value, write.write_order) {
                refuse();
            }
        }
        for write in writes.of(MetricType::Histogram) {
            let sample = Sample { value: write.value, scale: 1.0 / write.rate };
            let (spares, memory) = (&mut self.spare_samples, &mut self.memory);
            let cell = &mut self.histograms[write.cell as usize];
            if !cell.record(sample, write.write_order, spares, memory) {
                refuse();
            }
        }
        for write in writes.of(MetricType::Distribution) {
            let sketch = &mut self.distributions[write.cell as usize].sketch;
            if !sketch.insert_within(write.value, write.rate, &mut self.memory) {
                refuse();
            }
        }
        let lines = writes.clear() as u64;
        let counts = &mut self.counts;
        counts.received += lines;
        counts.values += lines - refused;
        counts.metrics += lines - refused;
        counts.values_non_finite += refused;
        counts.dropped[DropReason::NonFinite as usize] += refused;
    }

    /// Begins to load what [`Bucket::apply`] will touch.
    pub(super) fn prefetch(&self, writes: &Writes) {
        let place = |write: &Write| write.cell as usize;
        for write in writes.of(MetricType::Histogram) {
            self.histograms.get(place(write)).map(prefetch);
        }
        for write in writes.of(MetricType::Counter) {
            self.counters.get(place(write)).map(prefetch);
        }
        for write in writes.of(MetricType::Gauge) {
            self.gauges.get(place(write)).map(prefetch);
        }
        for write in writes.of(MetricType::Distribution) {
            self.distributions.get(place(write)).map(prefetch);
        }
        for write in writes.of(MetricType::Histogram) {
            if let Some(histogram) = self.histograms.get(place(write)) {
                histogram.prefetch();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Kind;
    use crate::sketch::COUNT_MAX;
    use ahash::RandomState;

    #[test]
    fn histograms_and_timers_share_a_list_and_no_other_kinds_do() {
        use MetricType::*;
        let lists = [Counter, Gauge, Histogram, Timing, Set, Distribution].map(list_of);
        assert_eq!(lists, [0, 1, 2, 2, 3, 4]);
    }

    #[test]
    fn where_histograms_may_not_wait_all_others_do() {
        let mut writes = Writes::new(false);
        let write = Write { value: 2.0, rate: 1.0, cell: 0, write_order: 1 };
        for kind in [MetricType::Histogram, MetricType::Timing] {
            assert!(!writes.push(kind, write) && writes.of(kind).is_empty());
        }
        for kind in [MetricType::Counter, MetricType::Gauge, MetricType::Distribution] {
            assert!(writes.push(kind, write) && writes.of(kind).len() == 1);
        }
        assert_eq!(writes.clear(), 3);
    }

    #[test]
    fn a_write_that_a_cell_refuses_is_counted_as_dropped_and_a_full_list_says_so() {
        let (mut bucket, mut writes) = (Bucket::default(), Writes::new(true));
        let state = RandomState::with_seeds(1, 2, 3, 4);
        let cell = bucket.push_cell(Kind::Histogram, 7, &state);
        assert_eq!(bucket.push_cell(Kind::Counter, 8, &state), cell);
        let write = Write { value: 2.0, rate: 0.5, cell, write_order: 1 };
        for _ in 0..WAITING_MAX {
            assert!(writes.push(MetricType::Timing, write));
        }
        assert!(!writes.push(MetricType::Histogram, write), "one list with timers");
        assert!(writes.push(MetricType::Counter, write));
        bucket.apply(&mut writes);
        let full = bucket.histograms[0].summary().count;
        assert_eq!((full, bucket.counters[0].sum), (2 * WAITING_MAX as u64, 4.0));
        let rest = Sample { value: 1.0, scale: (COUNT_MAX - full) as f64 };
        assert!(bucket.histograms[0].add(rest));
        assert!(writes.push(MetricType::Histogram, Write { write_order: 2, ..write }));
        bucket.apply(&mut writes);
        assert_eq!(bucket.histograms[0].summary().count, COUNT_MAX);
        assert_eq!(bucket.histograms[0].write_order, 1);
        let counts = &bucket.counts;
        assert_eq!((counts.received, counts.metrics, counts.values), (66, 65, 65));
        assert_eq!((counts.dropped_total(), counts.values_non_finite), (1, 1));
    }
}
