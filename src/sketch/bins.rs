//! Weighted keys counted in sorted bins: the store of sketches and of folded histograms.
//!
//! A key is an unsigned number, the *order*, of at most [`ORDER_BITS`] bits, in the order of the values.
//! New keys wait in a short list and are sorted into the bins some hundred at a time. Where memory may
//! not grow, bins become *coarse*: the low bits of all orders are cut, one after the other, until what
//! comes fits the room there is. Cutting keeps every count, and merging is a sum, whatever the cut.

use std::cell::Cell;

use crate::memory::MemoryShare;

/// Bits of an order.
pub(crate) const ORDER_BITS: u32 = 20;
/// The most that all bins together may count: as much as 4096 written bins of 32 bits can hold. Their
/// owners see to it.
pub const COUNT_MAX: u64 = 4096 * u32::MAX as u64;

/// Keys that wait are sorted into bins when there are so many, or an eighth as many as bins: then a key
/// costs the same however many bins there are.
const WAITING_MAX: usize = 512;
/// Bits of the weight of a key that waits; a heavier one looks for its bin at once.
const WEIGHT_BITS: u32 = 32 - ORDER_BITS;
const WEIGHT_MAX: u32 = (1 << WEIGHT_BITS) - 1;
/// So many bins are free: they grow although memory is full.
const FREE_BINS: usize = 8;

/// Orders that are counted in a row at once.
const ROW_SLOTS: usize = 2048;
/// Fewer keys are sorted faster than counted in a row.
const ROW_KEYS_MIN: usize = 64;

thread_local! {
    /// The row of this thread while nobody counts in it, all zeros: whoever counts clears what it used,
    /// mostly a tenth of it.
    static ROW: Cell<Option<Box<[u32; ROW_SLOTS]>>> = const { Cell::new(None) };
}

/// An order and its count in eight bytes, in the order of their orders.
///
/// The Agent counts in 32 bits and opens another bin of the same key when they overflow. Here one bin
/// counts to 2^44 and is taken apart when it is written: no key stands twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bin(u64);

const COUNT_BITS: u32 = 64 - ORDER_BITS;
const BIN_COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

impl Bin {
    pub fn new(order: u32, count: u64) -> Bin {
        Bin(u64::from(order) << COUNT_BITS | count.min(BIN_COUNT_MAX))
    }

    pub fn order(self) -> u32 {
        (self.0 >> COUNT_BITS) as u32
    }

    pub fn count(self) -> u64 {
        self.0 & BIN_COUNT_MAX
    }

    #[inline]
    pub fn add(&mut self, count: u64) {
        *self = Bin::new(self.order(), self.count().saturating_add(count));
    }
}

/// Counted keys, at most `BINS_MAX` different ones: the lowest beyond are counted as the lowest that
/// stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bins<const BINS_MAX: usize> {
    /// Sorted, no order twice.
    list: Vec<Bin>,
    /// Orders and weights that are not yet in `list`: a weight in the low [`WEIGHT_BITS`].
    waiting: Vec<u32>,
    /// Low bits of the orders that are cut.
    coarse: u8,
}

impl<const BINS_MAX: usize> Bins<BINS_MAX> {
    /// Bins in any order, of which several may have one order.
    pub fn from_list(mut list: Vec<Bin>) -> Self {
        if !list.is_sorted_by(|left, right| left.order() < right.order()) {
            list.sort_unstable_by_key(|bin| bin.order());
            join_equal(&mut list, 0);
        }
        collapse(&mut list, BINS_MAX);
        Bins { list, waiting: Vec::new(), coarse: 0 }
    }

    /// Counts `weight` at `order`, which must have at most [`ORDER_BITS`] bits.
    #[inline]
    pub fn insert(&mut self, order: u32, weight: u64, memory: &mut MemoryShare) {
        if weight <= u64::from(WEIGHT_MAX) && self.waiting.len() < self.waiting.capacity() {
            self.waiting.push(order << WEIGHT_BITS | weight as u32);
        } else {
            self.insert_otherwise(order, weight, memory);
        }
    }

    /// Counts 1 at each order, all at once. The orders are used up.
    pub fn insert_all(&mut self, orders: &mut [u32], memory: &mut MemoryShare) {
        orders.iter_mut().for_each(|order| *order = *order << WEIGHT_BITS | 1);
        self.add_waiting(orders, memory);
    }

    /// A heavy key, or no room to wait.
    #[inline(never)]
    fn insert_otherwise(&mut self, order: u32, weight: u64, memory: &mut MemoryShare) {
        if weight > u64::from(WEIGHT_MAX) {
            return self.add_sorted(std::iter::once(Bin::new(order, weight)), memory);
        }
        let waiting_max = WAITING_MAX.max(self.list.len() / 8);
        if self.waiting.len() >= waiting_max || !memory.grow(&mut self.waiting, 1, 0, waiting_max) {
            self.settle(memory);
        }
        if self.waiting.len() < self.waiting.capacity() {
            self.waiting.push(order << WEIGHT_BITS | weight as u32);
        } else {
            self.add_sorted(std::iter::once(Bin::new(order, weight)), memory);
        }
    }

    /// Sorts what waits into the bins.
    pub fn settle(&mut self, memory: &mut MemoryShare) {
        if self.waiting.is_empty() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        self.add_waiting(&mut waiting, memory);
        waiting.clear();
        self.waiting = waiting;
    }

    /// Counts everything that `other` counted, as finely as the coarser of both.
    pub fn merge(&mut self, other: &Self, memory: &mut MemoryShare) {
        if other.coarse > self.coarse {
            self.coarsen_to(other.coarse);
        }
        self.add_sorted(other.list.iter().copied(), memory);
        for waiting in &other.waiting {
            let weight = u64::from(waiting & WEIGHT_MAX);
            self.insert(waiting >> WEIGHT_BITS, weight, memory);
        }
    }

    /// Forgets all keys and keeps the allocations.
    pub fn clear(&mut self) {
        self.list.clear();
        self.waiting.clear();
        self.coarse = 0;
    }

    /// The sorted bins, without what still waits.
    pub fn list(&self) -> &[Bin] {
        &self.list
    }

    /// True when nothing waits.
    pub fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Low bits of the orders that are cut: a bin of order `o` stands for the orders from `o` to
    /// `o + 2^coarse - 1`.
    pub fn coarse(&self) -> u8 {
        self.coarse
    }

    /// Bytes of its allocations.
    pub fn heap_bytes(&self) -> usize {
        self.list.capacity() * size_of::<Bin>() + self.waiting.capacity() * size_of::<u32>()
    }

    /// Adds orders and weights, whose order is lost.
    ///
    /// Clever: sorting 512 keys costs more than all else about them. Those that lie close together are
    /// counted into a row of slots, the row is added to the bins that exist, and only what then is
    /// left of it needs new bins, which after the first few hundred values is next to nothing. Keys
    /// far below the others, such as zeros among latencies, wait for a row of their own, and are
    /// sorted when they are few.
    fn add_waiting(&mut self, mut waiting: &mut [u32], memory: &mut MemoryShare) {
        while waiting.len() >= ROW_KEYS_MIN && self.coarse == 0 {
            let all = waiting.len();
            let highest = waiting.iter().fold(0, |high, key| high.max(*key)) >> WEIGHT_BITS;
            let lowest = highest.saturating_sub(ROW_SLOTS as u32 - 1);
            let mut row = ROW.take().unwrap_or_else(|| Box::new([0; ROW_SLOTS]));
            let (mut first, mut below) = (highest, 0);
            for at in 0..all {
                let key = waiting[at];
                let order = key >> WEIGHT_BITS;
                if order >= lowest {
                    row[(order - lowest) as usize & (ROW_SLOTS - 1)] += key & WEIGHT_MAX;
                    first = first.min(order);
                } else {
                    waiting[below] = key;
                    below += 1;
                }
            }
            let used = (first - lowest) as usize..=(highest - lowest) as usize;
            self.add_row(first, &mut row[used], memory);
            ROW.set(Some(row));
            waiting = &mut waiting[..below];
            if all - below < ROW_KEYS_MIN {
                break;
            }
        }
        if !waiting.is_empty() {
            waiting.sort_unstable();
            self.add_sorted(runs(waiting), memory);
        }
    }

    /// Adds `row[i]` at `lowest + i`, and clears the row.
    fn add_row(&mut self, lowest: u32, row: &mut [u32], memory: &mut MemoryShare) {
        let from = self.list.partition_point(|bin| bin.order() < lowest);
        for bin in &mut self.list[from..] {
            let Some(slot) = row.get_mut((bin.order() - lowest) as usize) else { break };
            bin.add(u64::from(std::mem::take(slot)));
        }
        if row.iter().any(|count| *count > 0) {
            let left = row.iter().enumerate().filter(|(_, count)| **count > 0);
            let left = left.map(|(at, count)| Bin::new(lowest + at as u32, u64::from(*count)));
            self.add_sorted(left, memory);
            row.fill(0);
        }
    }

    /// Adds `incoming`, sorted and without an order twice.
    fn add_sorted<I>(&mut self, incoming: I, memory: &mut MemoryShare)
    where
        I: DoubleEndedIterator<Item = Bin> + Clone,
    {
        let fresh = count_fresh(&self.list, incoming.clone());
        if self.coarse == 0 && memory.grow(&mut self.list, fresh, FREE_BINS, usize::MAX) {
            merge_sorted(&mut self.list, incoming, fresh);
            return collapse(&mut self.list, BINS_MAX);
        }
        self.add_coarse(incoming.collect(), memory);
    }

    /// Adds `incoming`, and cuts bits until it fits the room there is.
    #[cold]
    fn add_coarse(&mut self, mut incoming: Vec<Bin>, memory: &mut MemoryShare) {
        loop {
            coarsen(&mut incoming, self.coarse);
            let fresh = count_fresh(&self.list, incoming.iter().copied());
            if memory.grow(&mut self.list, fresh, FREE_BINS, usize::MAX) {
                merge_sorted(&mut self.list, incoming.into_iter(), fresh);
                return collapse(&mut self.list, BINS_MAX);
            }
            // Ends: with all bits cut there is one order, and so many bins are free.
            self.coarsen_to(self.coarse + 1);
        }
    }

    fn coarsen_to(&mut self, coarse: u8) {
        self.coarse = coarse;
        coarsen(&mut self.list, coarse);
    }
}

/// Equal orders of a sorted list of orders and weights as one bin each.
fn runs(sorted: &[u32]) -> impl DoubleEndedIterator<Item = Bin> + Clone {
    let order = |key: &u32| *key >> WEIGHT_BITS;
    sorted.chunk_by(move |left, right| order(left) == order(right)).map(move |run| {
        Bin::new(order(&run[0]), run.iter().map(|key| u64::from(key & WEIGHT_MAX)).sum())
    })
}

/// Cuts the low bits of all orders.
fn coarsen(list: &mut Vec<Bin>, bits: u8) {
    if bits == 0 {
        return;
    }
    join_equal(list, bits);
    for bin in list {
        *bin = Bin::new(bin.order() >> bits << bits, bin.count());
    }
}

/// Joins the bins of a sorted list whose orders are equal but for the low bits.
fn join_equal(list: &mut Vec<Bin>, bits: u8) {
    list.dedup_by(|later, kept| {
        let equal = later.order() >> bits == kept.order() >> bits;
        if equal {
            kept.add(later.count());
        }
        equal
    });
}

/// Adds `incoming`, of which `fresh` orders have no bin yet, in one pass from the back. There is room.
fn merge_sorted(bins: &mut Vec<Bin>, incoming: impl DoubleEndedIterator<Item = Bin>, fresh: usize) {
    let mut old = bins.len();
    bins.resize(old + fresh, Bin(0));
    let mut free = bins.len();
    for bin in incoming.rev() {
        while old > 0 && bins[old - 1].order() > bin.order() {
            old -= 1;
            free -= 1;
            bins[free] = bins[old];
        }
        if old > 0 && bins[old - 1].order() == bin.order() {
            old -= 1;
            free -= 1;
            bins[free] = bins[old];
            bins[free].add(bin.count());
        } else {
            free -= 1;
            bins[free] = bin;
        }
    }
    debug_assert_eq!(old, free, "what is below the lowest incoming order stays where it is");
}

/// How many orders of `incoming` have no bin yet.
fn count_fresh(bins: &[Bin], incoming: impl Iterator<Item = Bin>) -> usize {
    let mut incoming = incoming.peekable();
    let first = incoming.peek().map_or(0, |bin| bin.order());
    let mut at = bins.partition_point(|bin| bin.order() < first);
    let mut fresh = 0;
    for bin in incoming {
        while at < bins.len() && bins[at].order() < bin.order() {
            at += 1;
        }
        fresh += usize::from(bins.get(at).is_none_or(|known| known.order() != bin.order()));
    }
    fresh
}

/// Folds the lowest bins beyond the limit into the lowest one that stays.
fn collapse(bins: &mut Vec<Bin>, bins_max: usize) {
    let Some(excess) = bins.len().checked_sub(bins_max).filter(|excess| *excess > 0) else {
        return;
    };
    let folded = bins[..excess].iter().map(|bin| bin.count()).sum();
    bins[excess].add(folded);
    bins.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryLimit;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    type Small = Bins<4096>;

    fn counts<const MAX: usize>(bins: &Bins<MAX>) -> Vec<(u32, u64)> {
        assert!(bins.is_settled());
        bins.list().iter().map(|bin| (bin.order(), bin.count())).collect()
    }

    #[test]
    fn the_lowest_bins_fold_into_the_lowest_that_stays() {
        let (mut bins, mut memory) = (Small::default(), MemoryShare::default());
        (0..5000).for_each(|order| bins.insert(order, 1, &mut memory));
        bins.settle(&mut memory);
        let counts = counts(&bins);
        assert_eq!(counts.len(), 4096);
        assert_eq!(counts[..2], [(904, 905), (905, 1)]);
        assert_eq!(counts[4095], (4999, 1));
    }

    proptest! {
        #[test]
        fn bins_are_those_of_a_map(
            runs in prop::collection::vec(
                (0..40_000_u32, 1..40_u32, prop::collection::vec(1..6_000_u64, 0..700)), 1..6),
        ) {
            let (mut bins, mut memory) = (Bins::<100_000>::default(), MemoryShare::default());
            let mut twin = BTreeMap::<u32, u64>::new();
            for (base, step, weights) in runs {
                for (at, weight) in weights.into_iter().enumerate() {
                    let order = base + (at as u32 * 37 % 1000) * step;
                    *twin.entry(order).or_default() += weight;
                    bins.insert(order, weight, &mut memory);
                }
            }
            bins.settle(&mut memory);
            prop_assert_eq!(counts(&bins), twin.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn without_room_bins_become_coarse_and_count_the_same(
            keys in prop::collection::vec((0..1_u32 << ORDER_BITS, 1..9_000_u64), 9..3_000),
            bytes_max in 0..6_000_usize,
        ) {
            let mut memory = MemoryShare::of(&Arc::new(MemoryLimit::new(bytes_max)));
            let mut bins = Bins::<{ 1 << ORDER_BITS }>::default();
            keys.iter().for_each(|(order, weight)| bins.insert(*order, *weight, &mut memory));
            bins.settle(&mut memory);
            // At the limit a list may be twice as long as one that just fitted, and one key may wait.
            let most = 2 * bytes_max + FREE_BINS * size_of::<Bin>() + size_of::<u32>();
            prop_assert!(bins.heap_bytes() <= most, "{} of {}", bins.heap_bytes(), bytes_max);
            let mut twin = BTreeMap::<u32, u64>::new();
            for (order, weight) in keys {
                *twin.entry(order >> bins.coarse() << bins.coarse()).or_default() += weight;
            }
            prop_assert_eq!(counts(&bins), twin.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn merging_is_a_sum_in_any_order_and_coarseness(
            parts in prop::collection::vec(
                (prop::collection::vec((0..1_u32 << ORDER_BITS, 1..9_000_u64), 0..900), 0..3_000_usize),
                3..4),
        ) {
            type Large = Bins<{ 1 << ORDER_BITS }>;
            let filled: Vec<Large> = parts.iter().map(|(keys, bytes_max)| {
                let mut memory = MemoryShare::of(&Arc::new(MemoryLimit::new(*bytes_max)));
                let mut bins = Large::default();
                keys.iter().for_each(|(order, weight)| bins.insert(*order, *weight, &mut memory));
                bins
            }).collect();
            let merged = |order: [usize; 3], inner_first: bool| {
                let mut memory = MemoryShare::default();
                let [mut a, mut b, c] = order.map(|at| filled[at].clone());
                if inner_first {
                    b.merge(&c, &mut memory);
                    a.merge(&b, &mut memory);
                } else {
                    a.merge(&b, &mut memory);
                    a.merge(&c, &mut memory);
                }
                a.settle(&mut memory);
                (a.coarse(), counts(&a))
            };
            let whole = merged([0, 1, 2], false);
            prop_assert_eq!(&merged([2, 0, 1], true), &whole);
            prop_assert_eq!(&merged([1, 2, 0], false), &whole);
        }
    }
}
