//! The sorted bins of a sketch and the two ways to add to them.

use std::borrow::Cow;

/// Bins that a sketch keeps, and that it writes.
pub(super) const BINS_MAX: usize = 4096;

/// Keys that are counted in a row at once: a factor of 4e13 between the smallest and largest value.
const ROW_SLOTS: usize = 2048;
/// Fewer keys are sorted faster than a row is cleared.
const ROW_KEYS_MIN: usize = 64;

/// A key and its count in eight bytes, in the order of their keys.
///
/// The Agent counts in 32 bits and opens another bin of the same key when they overflow. Here one bin
/// counts to 2^48 and is taken apart when it is written (see [`Expanded`]): no key stands twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bin(u64);

const COUNT_BITS: u32 = 48;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

impl Bin {
    pub(super) fn new(key: i16, count: u64) -> Bin {
        // Flipping the sign bit makes the order of unsigned numbers that of the keys.
        let order = u64::from((key as u16) ^ 0x8000);
        Bin(order << COUNT_BITS | count.min(COUNT_MAX))
    }

    pub(super) fn key(self) -> i16 {
        (self.order() ^ 0x8000) as i16
    }

    pub(super) fn count(self) -> u64 {
        self.0 & COUNT_MAX
    }

    fn order(self) -> u16 {
        (self.0 >> COUNT_BITS) as u16
    }

    #[inline]
    fn add(&mut self, count: u64) {
        *self = Bin::new(self.key(), self.count().saturating_add(count));
    }
}

/// Adds `count` at `key`.
pub(super) fn add_one(bins: &mut Vec<Bin>, key: i16, count: u64) {
    let bin = Bin::new(key, count);
    match bins.binary_search_by_key(&bin.order(), |bin| bin.order()) {
        Ok(at) => bins[at].add(count),
        Err(at) => {
            bins.insert(at, bin);
            collapse(bins);
        }
    }
}

/// Adds one for each of `keys`, whose order is lost.
///
/// Clever: sorting 512 keys costs more than all else about them. Where they lie close together they are
/// counted into a row of slots, the row is added to the bins that exist, and only what then is left of
/// it needs new bins, which after the first few hundred values is next to nothing. That takes a value
/// from 36 to 13 ns (`cargo bench --bench sketch`, a shared two-core virtual machine).
pub(super) fn add_keys(bins: &mut Vec<Bin>, keys: &mut [i16]) {
    let (lowest, highest) =
        keys.iter().fold((i16::MAX, i16::MIN), |(low, high), key| (low.min(*key), high.max(*key)));
    let span = i32::from(highest) - i32::from(lowest) + 1;
    if keys.len() >= ROW_KEYS_MIN && span <= ROW_SLOTS as i32 {
        let mut row = [0_u16; ROW_SLOTS];
        let row = &mut row[..span as usize];
        for key in keys {
            row[(i32::from(*key) - i32::from(lowest)) as usize] += 1;
        }
        add_row(bins, lowest, row);
    } else {
        keys.sort_unstable();
        add_sorted(bins, runs(keys));
    }
}

/// Adds `row[i]` at `lowest + i`.
fn add_row(bins: &mut Vec<Bin>, lowest: i16, row: &mut [u16]) {
    let first = Bin::new(lowest, 0).order();
    let from = bins.partition_point(|bin| bin.order() < first);
    for bin in &mut bins[from..] {
        let Some(slot) = row.get_mut(usize::from(bin.order() - first)) else { break };
        bin.add(u64::from(std::mem::take(slot)));
    }
    if row.iter().any(|count| *count > 0) {
        let left = row.iter().enumerate().filter(|(_, count)| **count > 0);
        add_sorted(bins, left.map(|(at, count)| Bin::new(lowest + at as i16, u64::from(*count))));
    }
}

/// Equal keys of a sorted list as one bin each.
fn runs(sorted: &[i16]) -> impl DoubleEndedIterator<Item = Bin> + Clone {
    sorted.chunk_by(|left, right| left == right).map(|run| Bin::new(run[0], run.len() as u64))
}

/// Adds `incoming`, sorted and without a key twice, in place and in one pass from the back.
pub(super) fn add_sorted<I>(bins: &mut Vec<Bin>, incoming: I)
where
    I: DoubleEndedIterator<Item = Bin> + Clone,
{
    let fresh = count_fresh(bins, incoming.clone());
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
    debug_assert_eq!(old, free, "what is below the lowest incoming key stays where it is");
    collapse(bins);
}

/// How many keys of `incoming` have no bin yet.
fn count_fresh(bins: &[Bin], incoming: impl Iterator<Item = Bin>) -> usize {
    let mut at = 0;
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
fn collapse(bins: &mut Vec<Bin>) {
    let Some(excess) = bins.len().checked_sub(BINS_MAX).filter(|excess| *excess > 0) else {
        return;
    };
    let folded = bins[..excess].iter().fold(0_u64, |sum, bin| sum.saturating_add(bin.count()));
    bins[excess].add(folded);
    bins.drain(..excess);
}

/// The bins as the intake reads them: counts of 32 bits, a larger one as several bins of one key, the
/// remainder first. Never more than [`BINS_MAX`]; what is too much is folded into the lowest bin
/// written, as far as that can hold it.
pub(super) struct Expanded<'a> {
    bins: Cow<'a, [Bin]>,
    next: usize,
    /// Bins of [`FULL`] that `key` still has to come.
    full: u64,
    key: i16,
    /// Bins to fold rather than to write.
    excess: usize,
}

/// The most that a written bin counts.
const FULL: u64 = u32::MAX as u64;

impl<'a> Expanded<'a> {
    pub(super) fn new(bins: Cow<'a, [Bin]>) -> Expanded<'a> {
        let written: usize = bins.iter().map(|bin| bin.count().div_ceil(FULL) as usize).sum();
        let excess = written.saturating_sub(BINS_MAX);
        Expanded { bins, next: 0, full: 0, key: 0, excess }
    }

    fn next_piece(&mut self) -> Option<(i16, u64)> {
        if self.full > 0 {
            self.full -= 1;
            return Some((self.key, FULL));
        }
        let bin = *self.bins.get(self.next)?;
        self.next += 1;
        let (key, count) = (bin.key(), bin.count());
        if count <= FULL {
            return Some((key, count));
        }
        self.key = key;
        self.full = count.div_ceil(FULL) - 1;
        Some((key, count - self.full * FULL))
    }
}

impl Iterator for Expanded<'_> {
    type Item = (i16, u32);

    #[inline]
    fn next(&mut self) -> Option<(i16, u32)> {
        let (key, count) = self.next_piece()?;
        if self.excess > 0 {
            return self.fold(key, count);
        }
        Some((key, count as u32))
    }
}

impl Expanded<'_> {
    /// Goes on from a piece while some are to be folded, up to the first that is written.
    #[cold]
    fn fold(&mut self, mut key: i16, mut count: u64) -> Option<(i16, u32)> {
        let mut folded = 0_u64;
        while self.excess > 0 {
            self.excess -= 1;
            folded = folded.saturating_add(count);
            (key, count) = self.next_piece()?;
        }
        Some((key, count.saturating_add(folded).min(FULL) as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn store(bins: &[(i16, u64)]) -> Vec<Bin> {
        bins.iter().map(|(key, count)| Bin::new(*key, *count)).collect()
    }

    #[track_caller]
    fn writes(bins: &[(i16, u64)], expect: &[(i16, u32)]) {
        assert_eq!(Expanded::new(store(bins).into()).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_count_beyond_32_bits_is_several_bins_remainder_first() {
        writes(&[], &[]);
        writes(&[(-3, 1), (7, FULL)], &[(-3, 1), (7, u32::MAX)]);
        writes(&[(7, FULL + 1), (8, 2)], &[(7, 1), (7, u32::MAX), (8, 2)]);
        writes(&[(7, 2 * FULL + 10)], &[(7, 10), (7, u32::MAX), (7, u32::MAX)]);
    }

    #[test]
    fn no_count_makes_more_bins_than_the_limit() {
        let bins = store(&[(1, 5), (2, u64::MAX)]);
        let written: Vec<_> = Expanded::new((&bins).into()).collect();
        assert_eq!(written, vec![(2, u32::MAX); BINS_MAX]);
        let bins = store(&[(1, 5), (2, 4095 * u64::from(u32::MAX) + 7), (3, 9)]);
        let written: Vec<_> = Expanded::new((&bins).into()).collect();
        assert_eq!(written.len(), BINS_MAX);
        assert_eq!(written[0], (2, u32::MAX), "5 + 7 no longer fit the full bin above them");
        assert_eq!(written[BINS_MAX - 1], (3, 9));
    }

    #[test]
    fn the_lowest_bins_fold_into_the_lowest_that_stays() {
        let mut bins = Vec::new();
        for key in 0..5000_i16 {
            add_one(&mut bins, key, 1);
        }
        assert_eq!(bins.len(), BINS_MAX);
        assert_eq!((bins[0].key(), bins[0].count()), (904, 905));
        assert_eq!((bins[1].key(), bins[1].count()), (905, 1));
        add_sorted(&mut bins, store(&[(3, 2), (6000, 1)]).into_iter());
        assert_eq!((bins[0].key(), bins[0].count()), (905, 908));
        assert_eq!(bins.len(), BINS_MAX);
    }

    #[test]
    fn keys_close_together_and_far_apart_are_counted_alike() {
        for (step, base) in [(1, -30_i32), (3, 1300), (31, -32767), (0, 5), (64, -32700)] {
            let mut twin = BTreeMap::<i16, u64>::new();
            let mut bins = Vec::new();
            for len in [1, 63, 64, 200, 512, 512, 3] {
                let key = |place: i32| (base + (place * 37 % 1000) * step) as i16;
                let mut keys: Vec<i16> = (0..len).map(key).collect();
                keys.iter().for_each(|key| *twin.entry(*key).or_default() += 1);
                add_keys(&mut bins, &mut keys);
            }
            let got: Vec<_> = bins.iter().map(|bin| (bin.key(), bin.count())).collect();
            assert_eq!(got, twin.into_iter().collect::<Vec<_>>(), "step {step}");
        }
    }

    #[test]
    fn adding_sorted_runs_agrees_with_a_map() {
        let mut state = 7_u64;
        for round in 0..300 {
            let mut twin = BTreeMap::<i16, u64>::new();
            let mut bins = Vec::new();
            for _ in 0..4 {
                let mut run = BTreeMap::new();
                for _ in 0..round % 40 {
                    state =
                        state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    run.insert((state >> 48) as i16 % 60, state >> 60);
                }
                run.iter().for_each(|(key, count)| *twin.entry(*key).or_default() += count);
                add_sorted(&mut bins, run.iter().map(|(key, count)| Bin::new(*key, *count)));
            }
            let got: Vec<_> = bins.iter().map(|bin| (bin.key(), bin.count())).collect();
            assert_eq!(got, twin.into_iter().collect::<Vec<_>>());
        }
    }
}
