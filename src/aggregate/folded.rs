//! A histogram of many samples: an exact summary, and counts per range of values.
//!
//! The ranges cover every float. Each power of two is cut into 64 of equal width, so the range of a value
//! is a shift of its bits, and the value read back is off by at most 1/129 of itself (0.78 %), whatever
//! else came and in whatever order. Nearer to zero than the normal floats (2.2e-308) the ranges keep the
//! width they have there. Where memory may not grow, neighbouring ranges are joined, two by two: then the
//! histogram is coarse, and each step doubles the error.

use super::sample::{Sample, Summary};
use crate::memory::MemoryShare;
use crate::sketch::{Bins, COUNT_MAX};

/// How far a percentile of more than 1,000 samples may lie from the exact one, relative to it.
pub const PERCENTILE_RELATIVE_ERROR: f64 = 0.01;

/// The sign, 11 bits of the exponent and 6 of the fraction.
const RANGE_BITS: u32 = 18;
const SIGN: u32 = 1 << (RANGE_BITS - 1);
/// Bits of a float below those.
const CUT_BITS: u32 = 64 - RANGE_BITS;

/// The magnitude of the largest finite range.
const LAST: u32 = (f64::MAX.to_bits() >> CUT_BITS) as u32;

/// Plain samples brought to their orders at once.
const ORDERS: usize = 256;

/// Weighted samples, bounded in memory.
#[derive(Clone, Debug)]
pub(super) struct Folded {
    summary: Summary,
    bins: Bins<{ 1 << RANGE_BITS }>,
}

impl Folded {
    pub fn new() -> Self {
        Folded { summary: Summary::EMPTY, bins: Bins::default() }
    }

    /// False, and nothing changes, when the sum would leave the finite numbers or the count its range.
    #[inline]
    pub fn add(&mut self, sample: Sample, memory: &mut MemoryShare) -> bool {
        let taken = self.summary.add(sample);
        if taken {
            self.bins.insert(order(sample.value), sample.weight(), memory);
        }
        taken
    }

    /// Adds samples of weight 1, for which there must be room.
    pub fn add_plain(&mut self, values: &[f64], memory: &mut MemoryShare) {
        debug_assert!(self.has_room_for_plain(values.len()));
        for values in values.chunks(ORDERS) {
            let mut orders = [0_u32; ORDERS];
            let Summary { mut sum, mut min, mut max, .. } = self.summary;
            for (order, value) in orders.iter_mut().zip(values) {
                *order = self::order(*value);
                sum += value;
                min = min.min(*value);
                max = max.max(*value);
            }
            let count = self.summary.count + values.len() as u64;
            self.summary = Summary { count, sum, min, max };
            self.bins.insert_all(&mut orders[..values.len()], memory);
        }
    }

    /// True when `count` plain samples whose sum need not be watched cannot leave any range.
    pub fn has_room_for_plain(&self, count: usize) -> bool {
        self.summary.sum.abs() <= f64::MAX / 2.0 && self.summary.count <= COUNT_MAX - count as u64
    }

    /// Forgets everything and keeps the allocations.
    pub fn clear(&mut self) {
        self.bins.clear();
        self.summary = Summary::EMPTY;
    }

    /// Bytes of its allocations.
    pub fn heap_bytes(&self) -> usize {
        self.bins.heap_bytes()
    }

    /// False when something of `other` was left out: all of it when the count would leave its range,
    /// else the part of the sum beyond the range of floats.
    pub fn merge(&mut self, other: &Folded, memory: &mut MemoryShare) -> bool {
        if !self.summary.can_merge(&other.summary) {
            return false;
        }
        self.bins.merge(&other.bins, memory);
        self.summary.merge(&other.summary)
    }

    /// A value of each range and the weight in it; settle first.
    pub fn counts(&self) -> impl Iterator<Item = (f64, u64)> + use<'_> {
        let coarse = self.bins.coarse();
        self.bins.list().iter().map(move |bin| (middle(bin.order(), coarse), bin.count()))
    }

    /// The reverse of [`Folded::counts`]; none when the counts do not add up to the summary's.
    pub fn from_counts(summary: Summary, counts: &[(f64, u64)]) -> Option<Self> {
        let (mut bins, memory) = (Bins::default(), &mut MemoryShare::default());
        let mut total = 0_u64;
        for (value, count) in counts {
            total = total.checked_add(*count)?;
            bins.insert(order(*value), *count, memory);
        }
        let whole = total == summary.count && total <= COUNT_MAX && summary.min <= summary.max;
        whole.then_some(Folded { summary, bins })
    }

    /// Brings what was counted in order, once, before quantiles are asked for.
    pub fn settle(&mut self, memory: &mut MemoryShare) {
        self.bins.settle(memory);
    }

    pub fn summary(&self) -> Summary {
        self.summary
    }

    pub fn is_coarse(&self) -> bool {
        self.bins.coarse() > 0
    }

    /// The first value, in order, at which the cumulative weight exceeds `rank`.
    pub fn value_past(&self, rank: u64) -> f64 {
        debug_assert!(self.bins.is_settled());
        let mut cumulative = 0;
        let past = self.bins.list().iter().find(|bin| {
            cumulative += bin.count();
            cumulative > rank
        });
        let value = past.map_or(self.summary.max, |bin| middle(bin.order(), self.bins.coarse()));
        value.clamp(self.summary.min, self.summary.max)
    }
}

/// The range of a finite value; ranges are in the order of their values.
#[inline]
fn order(value: f64) -> u32 {
    // Adding zero makes one zero of both.
    let top = ((value + 0.0).to_bits() >> CUT_BITS) as u32;
    if top & SIGN == 0 { top | SIGN } else { !top & (SIGN | (SIGN - 1)) }
}

/// A value of the ranges that have this order once `coarse` bits are cut, the one nearest to both ends
/// relative to them.
fn middle(order: u32, coarse: u8) -> f64 {
    let last = order | ((1 << coarse) - 1);
    if (order ^ last) & SIGN != 0 {
        return 0.0;
    }
    // The bits of magnitude of both ends; below zero the first range has the largest.
    let magnitude = SIGN - 1;
    let (low, high, sign) = if order & SIGN == 0 {
        (!last & magnitude, !order & magnitude, -1.0)
    } else {
        (order & magnitude, last & magnitude, 1.0)
    };
    let float = |range: u32| f64::from_bits(u64::from(range) << CUT_BITS);
    let low = float(low);
    // Cut bits may reach past the finite numbers.
    let high = float(high.min(LAST) + 1).min(f64::MAX);
    if low == 0.0 { 0.0 } else { sign * low * (2.0 / (1.0 + low / high)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact_past(values: &mut [f64], rank: usize) -> f64 {
        values.sort_unstable_by(f64::total_cmp);
        values[rank]
    }

    fn folded(values: &[f64]) -> Folded {
        let (mut folded, mut memory) = (Folded::new(), MemoryShare::default());
        for value in values {
            assert!(folded.add(Sample { value: *value, scale: 1.0 }, &mut memory));
        }
        folded.settle(&mut memory);
        folded
    }

    /// The promise, and 0.78 % for what the module says of itself.
    fn close(got: f64, exact: f64) -> bool {
        (got - exact).abs() <= exact.abs() / 128.0 + f64::MIN_POSITIVE / 64.0
            && exact.abs() / 128.0 < exact.abs() * PERCENTILE_RELATIVE_ERROR + f64::MIN_POSITIVE
    }

    #[track_caller]
    fn keeps_the_error(mut values: Vec<f64>) {
        let folded = folded(&values);
        for rank in (0..values.len()).step_by(values.len() / 40 + 1) {
            let (got, exact) = (folded.value_past(rank as u64), exact_past(&mut values, rank));
            assert!(close(got, exact), "rank {rank}: {got:e} for {exact:e}");
        }
    }

    #[test]
    fn what_came_first_does_not_decide_the_error() {
        let small = (0..2_000).map(|n| 0.0015 + f64::from(n) * 1e-9);
        keeps_the_error(std::iter::repeat_n(1e12, 1_000).chain(small).collect());
        keeps_the_error(
            (0..3_000).map(|n| f64::from(n) - 1_500.0).chain([-1e304, 1e304]).collect(),
        );
    }

    #[test]
    fn every_magnitude_of_both_signs_at_once_keeps_the_error() {
        let all =
            (0..40_000).map(|n| (-1.0_f64).powi(n) * 10_f64.powf(f64::from(n) / 66.0 - 303.0));
        keeps_the_error(all.collect());
    }

    #[test]
    fn ends_of_the_floats_and_zeros() {
        keeps_the_error(vec![0.0; 50]);
        assert_eq!(folded(&[-0.0, 0.0]).bins.list().len(), 1);
        for value in [f64::MAX, f64::MIN_POSITIVE, 5e-324, 1.0, 1.0 + 1.0 / 64.0] {
            for value in [value, -value] {
                assert_eq!(folded(&[value]).value_past(0), value, "within minimum and maximum");
                let got = middle(order(value), 0);
                assert!(close(got, value), "{got:e} for {value:e}");
            }
        }
        for coarse in 0..=18 {
            for value in [f64::MIN, -1.0, -5e-324, 0.0, 5e-324, 1.0, f64::MAX] {
                let cut = order(value) >> coarse << coarse;
                let got = middle(cut, coarse);
                assert!(got.is_finite() && got * value >= 0.0, "{value:e} by {coarse}: {got:e}");
            }
        }
    }

    #[test]
    fn a_count_past_its_range_is_refused_and_the_counts_add_up() {
        let (mut whole, mut memory) = (Folded::new(), MemoryShare::default());
        let heavy = Sample { value: 3.0, scale: f64::from(1 << 30) };
        assert!(!whole.add(Sample { value: 3.0, scale: 1e20 }, &mut memory));
        while whole.add(heavy, &mut memory) {}
        whole.settle(&mut memory);
        let counted: u64 = whole.bins.list().iter().map(|bin| bin.count()).sum();
        let Summary { count, .. } = whole.summary();
        assert_eq!((counted, whole.summary().average()), (count, 3.0));
        let before = whole.clone();
        assert!(!whole.merge(&before, &mut memory));
        assert_eq!(whole.summary(), before.summary());
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            2 => -1e3..1e3_f64,
            2 => any::<f64>().prop_filter("summable", |v| v.abs() < 1e300),
            1 => Just(0.0),
        ]
    }

    proptest! {
        #[test]
        fn every_rank_stays_inside_the_stated_error(
            mut values in prop::collection::vec(value(), 1..3_000),
            at in 0.0..1.0_f64,
        ) {
            let rank = (at * values.len() as f64) as usize;
            let got = folded(&values).value_past(rank as u64);
            let exact = exact_past(&mut values, rank);
            prop_assert!(close(got, exact), "{got:e} for {exact:e}");
        }

        #[test]
        fn merged_histograms_answer_as_one(
            a in prop::collection::vec(value(), 1..900),
            b in prop::collection::vec(value(), 1..900),
        ) {
            let (mut memory, all) = (MemoryShare::default(), folded(&[a.clone(), b.clone()].concat()));
            let (a, b) = (folded(&a), folded(&b));
            for (first, second) in [(&a, &b), (&b, &a)] {
                let mut merged = first.clone();
                prop_assert!(merged.merge(second, &mut memory));
                merged.settle(&mut memory);
                prop_assert_eq!(merged.bins.list(), all.bins.list());
                prop_assert_eq!(merged.summary().count, all.summary().count);
            }
        }
    }
}
