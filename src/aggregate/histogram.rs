//! Histograms and timers. Up to 1,000 samples of a context and bucket are kept as they are (8 bytes
//! each, 16 with a sample rate or above 8.7e304) and everything is computed exactly. Beyond, and where
//! memory is short, count, sum, minimum and maximum stay exact and percentiles come from counts per range
//! of values: 8 bytes for each range that holds any, and 2 KiB for samples that wait to be counted; a
//! latency that spreads over three decades about 7 KiB.

use super::folded::Folded;
use super::sample::{Sample, Summary};
use super::samples::Samples;
use super::spares::SpareSamples;
use super::write_order::WriteOrder;
use crate::memory::MemoryShare;

/// The samples of one histogram in one bucket: 32 bytes, up to two plain samples included.
#[derive(Clone, Debug)]
pub struct HistogramCell {
    samples: Samples,
    /// Its context.
    pub context: u32,
    /// When it was last written (see [`super::WriteOrder`]).
    pub write_order: u32,
}

/// What a histogram holds.
#[derive(Clone, Debug, PartialEq)]
pub enum HistogramParts {
    /// Every sample, exactly.
    Samples(Vec<Sample>),
    /// What is exact, and how many samples there are near each value, in order.
    Folded {
        /// Count, sum, minimum and maximum.
        summary: Summary,
        /// A value of a range, and the weight in that range.
        counts: Vec<(f64, u64)>,
    },
}

impl HistogramCell {
    /// An empty histogram.
    #[must_use]
    pub fn new(context: u32) -> Self {
        HistogramCell { samples: Samples::None, context, write_order: 0 }
    }

    /// Adds one sample; false when the sum would leave the finite numbers or the count pass
    /// [`crate::sketch::COUNT_MAX`], which changes nothing.
    #[inline]
    pub fn add(&mut self, sample: Sample) -> bool {
        self.samples.add(sample, &mut SpareSamples::default(), &mut MemoryShare::default())
    }

    /// Adds one sample in `write_order`; false as in [`HistogramCell::add`].
    #[inline(always)]
    pub(super) fn record(
        &mut self,
        sample: Sample,
        write_order: WriteOrder,
        spares: &mut SpareSamples,
        memory: &mut MemoryShare,
    ) -> bool {
        let added = self.samples.add(sample, spares, memory);
        if added {
            self.write_order = write_order;
        }
        added
    }

    /// Begins to load the place of the next sample.
    #[inline(always)]
    pub(super) fn prefetch(&self) {
        self.samples.prefetch();
    }

    /// The merge law: samples join, past the cap counts add. It returns false when something of `other`
    /// was left out, as a sum beyond the range of floats, which stays at its end.
    pub fn merge(&mut self, other: HistogramCell) -> bool {
        self.write_order = self.write_order.max(other.write_order);
        let memory = &mut MemoryShare::default();
        match other.samples {
            other if matches!(self.samples, Samples::None) => {
                self.samples = other;
                true
            }
            other => self.samples.merge(other, memory),
        }
    }

    /// True when percentiles are within [`super::PERCENTILE_RELATIVE_ERROR`] or coarser, not exact.
    #[must_use]
    pub fn is_folded(&self) -> bool {
        self.samples.folded().is_some()
    }

    /// True when memory was short and percentiles are further off than
    /// [`super::PERCENTILE_RELATIVE_ERROR`].
    #[must_use]
    pub fn is_coarse(&self) -> bool {
        self.samples.folded().is_some_and(Folded::is_coarse)
    }

    /// Brings the samples in order, once, before quantiles are asked for.
    pub fn sort(&mut self) {
        self.samples.sort();
    }

    /// Count, sum, minimum and maximum.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.samples.summary()
    }

    /// The first value, in order, at which the cumulative weight exceeds `rank`. The samples must
    /// be [sorted](HistogramCell::sort). Exact up to 1,000 samples, else within
    /// [`super::PERCENTILE_RELATIVE_ERROR`], while there is memory.
    #[must_use]
    pub fn value_past(&self, rank: u64) -> f64 {
        self.samples.value_past(rank)
    }

    /// All that it holds, to be written down.
    #[must_use]
    pub fn parts(&self) -> HistogramParts {
        if self.is_folded() {
            // What still waits has to be counted first.
            let mut settled = self.samples.clone();
            settled.sort();
            if let Some(folded) = settled.folded() {
                let (summary, counts) = (folded.summary(), folded.counts().collect());
                return HistogramParts::Folded { summary, counts };
            }
        }
        let mut samples = Vec::new();
        self.samples.visit(|sample| samples.push(sample));
        HistogramParts::Samples(samples)
    }

    /// The histogram that has these parts, sorted; none when no histogram can have them.
    #[must_use]
    pub fn from_parts(parts: HistogramParts) -> Option<Self> {
        let mut cell = HistogramCell::new(0);
        match parts {
            HistogramParts::Samples(samples) => {
                if samples.iter().any(|sample| sample.scale < 1.0 || !cell.add(*sample)) {
                    return None;
                }
            }
            HistogramParts::Folded { summary, counts } => {
                cell.samples = Samples::Folded(Box::new(Folded::from_counts(summary, &counts)?));
            }
        }
        cell.sort();
        Some(cell)
    }

    /// Leaves its memory to `spares`.
    pub(super) fn leave(self, spares: &mut SpareSamples) {
        self.samples.leave(spares);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(samples: &[(f64, f64)]) -> HistogramCell {
        let mut cell = HistogramCell::new(0);
        for (value, rate) in samples {
            cell.add(Sample { value: *value, scale: 1.0 / rate });
        }
        cell.sort();
        cell
    }

    #[test]
    fn weights_are_truncated_and_sums_are_not() {
        let cell = cell(&[(3.0, 0.3)]);
        let summary = cell.summary();
        assert_eq!(summary.count, 3);
        assert!((summary.average() - 10.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn ranks_follow_the_weights() {
        let cell = cell(&[(10.0, 0.5), (1.0, 1.0), (2.0, 1.0), (2.0, 1.0)]);
        assert_eq!(cell.summary(), Summary { count: 5, sum: 25.0, min: 1.0, max: 10.0 });
        let values: Vec<f64> = (0..5).map(|rank| cell.value_past(rank)).collect();
        assert_eq!(values, [1.0, 2.0, 2.0, 10.0, 10.0]);
    }

    #[test]
    fn past_the_cap_the_summary_stays_exact() {
        let samples: Vec<(f64, f64)> = (1..=5_000).map(|n| (f64::from(n), 1.0)).collect();
        let cell = cell(&samples);
        let expect = Summary { count: 5_000, sum: 12_502_500.0, min: 1.0, max: 5_000.0 };
        assert_eq!(cell.summary(), expect);
        let median = cell.value_past(2_499);
        assert!(
            (median / 2_500.0 - 1.0).abs() <= super::super::PERCENTILE_RELATIVE_ERROR,
            "{median}"
        );
    }

    #[test]
    fn what_waits_to_be_counted_is_part_of_every_answer() {
        // Lists of an earlier bucket must not show.
        let mut spares = SpareSamples::default();
        let memory = &mut MemoryShare::default();
        for round in 0..2 {
            for count in [1_001, 1_255, 1_256, 1_257, 2_000, 3_111] {
                let mut cell = HistogramCell::new(0);
                for n in 0..count {
                    let sample = Sample { value: f64::from((n * 7_919) % count), scale: 1.0 };
                    assert!(cell.record(sample, 1, &mut spares, memory));
                }
                let sum = f64::from(count) * f64::from(count - 1) / 2.0;
                let max = f64::from(count - 1);
                let expect = Summary { count: count as u64, sum, min: 0.0, max };
                assert_eq!(cell.summary(), expect, "{round} {count}");
                let HistogramParts::Folded { summary, counts } = cell.parts() else { panic!() };
                let counted: u64 = counts.iter().map(|(_, count)| count).sum();
                assert_eq!((summary, counted), (expect, count as u64));
                let mut merged = cell.clone();
                assert!(merged.merge(cell.clone()));
                assert_eq!(merged.summary().count, 2 * count as u64);
                cell.sort();
                merged.sort();
                for rank in 0..count {
                    let exact = f64::from(rank);
                    let off = (cell.value_past(rank as u64) - exact).abs();
                    assert!(off <= exact * super::super::PERCENTILE_RELATIVE_ERROR);
                    let both = merged.value_past(2 * rank as u64);
                    assert_eq!(both, cell.value_past(rank as u64));
                }
                cell.leave(&mut spares);
            }
        }
    }

    #[test]
    fn weights_and_huge_values_among_many_plain_ones_are_counted_too() {
        let mut cell = HistogramCell::new(0);
        for n in 1..=4_000 {
            let scale = if n == 2_500 { 10.0 } else { 1.0 };
            let value = if n == 3_000 { 1e306 } else { 1.0 };
            assert!(cell.add(Sample { value, scale }));
        }
        let summary = cell.summary();
        assert_eq!((summary.count, summary.min, summary.max), (4_009, 1.0, 1e306));
        assert!((summary.sum - 1e306).abs() < 1e292);
        cell.sort();
        assert!((cell.value_past(4_007) - 1.0).abs() < 0.01);
        assert!((cell.value_past(4_008) / 1e306 - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_sum_past_the_finite_numbers_is_refused_and_changes_nothing() {
        for samples in [1, 2_000] {
            let mut cell = HistogramCell::new(0);
            (1..samples).for_each(|_| assert!(cell.add(Sample { value: 1.0, scale: 1.0 })));
            assert!(cell.add(Sample { value: 1e308, scale: 1.0 }));
            let before = cell.summary();
            assert!(!cell.add(Sample { value: 1e308, scale: 1.0 }));
            let endless = Sample { value: -1.0, scale: f64::INFINITY };
            let (mut spares, mut memory) = (SpareSamples::default(), MemoryShare::default());
            assert!(!cell.record(endless, 9, &mut spares, &mut memory));
            assert_eq!((cell.summary(), cell.write_order), (before, 0));
            assert!(cell.add(Sample { value: -1e308, scale: 1.0 }), "there is room below");
        }
    }

    #[test]
    fn two_lanes_whose_sums_overflow_together_say_so() {
        let large = || {
            let mut cell = HistogramCell::new(0);
            assert!(cell.add(Sample { value: 1e308, scale: 1.0 }));
            cell
        };
        let mut merged = large();
        assert!(!merged.merge(large()));
        let summary = merged.summary();
        assert_eq!((summary.count, summary.sum), (2, f64::MAX));
    }

    #[test]
    fn the_thousandth_sample_is_still_exact() {
        let samples: Vec<(f64, f64)> = (1..=1_000).map(|n| (f64::from(n) * 1.0001, 1.0)).collect();
        assert_eq!(cell(&samples).value_past(949), 950.0 * 1.0001);
    }

    #[test]
    fn one_huge_value_leaves_six_samples_exact() {
        for huge in [-1e308, 1e308] {
            let mut values = vec![huge, 42.0, 51.0, 1.0, 77.0, 13.0];
            let cell = cell(&values.iter().map(|value| (*value, 1.0)).collect::<Vec<_>>());
            assert!(!cell.is_folded());
            values.sort_unstable_by(f64::total_cmp);
            let got: Vec<f64> = (0..6).map(|rank| cell.value_past(rank)).collect();
            assert_eq!(got, values);
        }
    }

    #[test]
    fn without_memory_the_summary_stays_exact_and_percentiles_become_coarse() {
        let limit = std::sync::Arc::new(crate::memory::MemoryLimit::new(0));
        let (mut memory, mut spares) = (MemoryShare::of(&limit), SpareSamples::default());
        let mut cell = HistogramCell::new(0);
        for n in 1..=3_000 {
            let sample = Sample { value: f64::from(n % 100) - 20.0, scale: 1.0 };
            assert!(cell.record(sample, 1, &mut spares, &mut memory));
        }
        cell.sort();
        let expect = Summary { count: 3_000, sum: 30.0 * 2_950.0, min: -20.0, max: 79.0 };
        assert_eq!(cell.summary(), expect);
        assert!(cell.is_folded() && cell.is_coarse());
        let values: Vec<f64> = (0..3_000).map(|rank| cell.value_past(rank)).collect();
        assert!(values.is_sorted() && (values[0], values[2_999]) >= (-20.0, 0.0));
    }
}
