//! The bins of a sketch as the intake reads them.

use std::borrow::Cow;

use super::bins::Bin;
use super::key;

/// Bins that a sketch writes at most.
const WRITTEN_MAX: usize = 4096;
/// The most that a written bin counts.
const FULL: u64 = u32::MAX as u64;

/// Counts of 32 bits, a larger one as several bins of one key, the remainder first. Never more than
/// [`WRITTEN_MAX`]: of what is too much the lowest are counted as the lowest that stays, so that nothing
/// is lost.
pub(super) struct Written<'a> {
    bins: Cow<'a, [Bin]>,
    coarse: u8,
    next: usize,
    /// Bins of [`FULL`] that `key` still has to come.
    full: u64,
    key: i16,
}

impl<'a> Written<'a> {
    pub fn new(bins: Cow<'a, [Bin]>, coarse: u8) -> Written<'a> {
        let written: u64 = bins.iter().map(|bin| pieces(*bin)).sum();
        let bins = if written > WRITTEN_MAX as u64 { folded(&bins, written).into() } else { bins };
        Written { bins, coarse, next: 0, full: 0, key: 0 }
    }
}

fn pieces(bin: Bin) -> u64 {
    bin.count().div_ceil(FULL)
}

/// Folds the lowest bins upwards until all are written in [`WRITTEN_MAX`]. That ends in time: a sketch
/// counts no more than so many full bins hold.
#[cold]
fn folded(bins: &[Bin], mut written: u64) -> Vec<Bin> {
    let mut bins = bins.to_vec();
    let mut lowest = 0;
    while written > WRITTEN_MAX as u64 && lowest + 1 < bins.len() {
        written -= pieces(bins[lowest]) + pieces(bins[lowest + 1]);
        let count = bins[lowest].count();
        lowest += 1;
        bins[lowest].add(count);
        written += pieces(bins[lowest]);
    }
    bins.drain(..lowest);
    bins
}

impl Iterator for Written<'_> {
    type Item = (i16, u32);

    #[inline]
    fn next(&mut self) -> Option<(i16, u32)> {
        if self.full > 0 {
            self.full -= 1;
            return Some((self.key, u32::MAX));
        }
        let bin = *self.bins.get(self.next)?;
        self.next += 1;
        let (key, count) = (key::of_order(bin.order(), self.coarse), bin.count());
        if count > FULL {
            self.key = key;
            self.full = pieces(bin) - 1;
        }
        Some((key, (count - self.full * FULL) as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::super::bins::COUNT_MAX;
    use super::*;

    fn written(bins: &[(i16, u64)]) -> Vec<(i16, u32)> {
        let bins: Vec<Bin> =
            bins.iter().map(|(key, count)| Bin::new(key::order(*key), *count)).collect();
        Written::new(bins.into(), 0).collect()
    }

    #[test]
    fn a_count_beyond_32_bits_is_several_bins_remainder_first() {
        assert_eq!(written(&[]), []);
        assert_eq!(written(&[(-3, 1), (7, FULL)]), [(-3, 1), (7, u32::MAX)]);
        assert_eq!(written(&[(7, FULL + 1), (8, 2)]), [(7, 1), (7, u32::MAX), (8, 2)]);
        assert_eq!(written(&[(7, 2 * FULL + 10)]), [(7, 10), (7, u32::MAX), (7, u32::MAX)]);
    }

    #[test]
    fn no_count_makes_more_bins_than_the_limit_and_none_is_lost() {
        let many: Vec<(i16, u64)> = (0..4095).map(|key| (key, 1)).collect();
        for bins in [
            vec![(2, COUNT_MAX)],
            vec![(1, 5), (2, COUNT_MAX - 5)],
            vec![(1, 5), (2, 4095 * FULL + 7), (3, 9)],
            [many.clone(), vec![(4095, COUNT_MAX - 4095)]].concat(),
            [many, vec![(4095, 3 * FULL)]].concat(),
        ] {
            let written = written(&bins);
            assert!(written.len() <= WRITTEN_MAX);
            let sum: u64 = written.iter().map(|(_, count)| u64::from(*count)).sum();
            assert_eq!(sum, bins.iter().map(|(_, count)| count).sum::<u64>());
            assert_eq!(written.last().map(|last| last.0), bins.last().map(|last| last.0));
        }
    }
}
