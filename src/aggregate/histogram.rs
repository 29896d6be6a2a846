//! Histograms and timers. Up to 1,000 samples of a context and bucket are kept as they are (8 bytes
//! each, 16 with a sample rate) and everything is computed exactly. Beyond, count, sum, minimum and
//! maximum stay exact and percentiles come from a histogram of about 28 KiB.

use super::sample::{Sample, Summary};
use super::samples::{Samples, SpareSamples};
use super::write_order::WriteOrder;

/// The samples of one histogram in one bucket: 32 bytes, up to two plain samples included.
#[derive(Clone, Debug)]
pub struct HistogramCell {
    samples: Samples,
    /// Its context.
    pub context: u32,
    /// When it was last written (see [`super::WriteOrder`]).
    pub write_order: u32,
}

impl HistogramCell {
    /// An empty histogram.
    #[must_use]
    pub fn new(context: u32) -> Self {
        HistogramCell { samples: Samples::None, context, write_order: 0 }
    }

    /// Adds one sample; false when the sum would leave the finite numbers, which changes nothing.
    #[inline]
    pub fn add(&mut self, sample: Sample) -> bool {
        self.samples.add(sample, &mut SpareSamples::default())
    }

    /// Adds one sample in `write_order`; false as in [`HistogramCell::add`].
    #[inline(always)]
    pub(super) fn record(
        &mut self,
        sample: Sample,
        write_order: WriteOrder,
        spares: &mut SpareSamples,
    ) -> bool {
        let added = self.samples.add(sample, spares);
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

    /// The merge law: samples join, past the cap histograms add. A sum beyond the range of floats
    /// stays at its end; then it returns false.
    pub fn merge(&mut self, other: HistogramCell) -> bool {
        self.write_order = self.write_order.max(other.write_order);
        match other.samples {
            other if matches!(self.samples, Samples::None) => {
                self.samples = other;
                true
            }
            Samples::Hdr(hdr) => self.samples.make_hdr().merge(&hdr),
            samples => {
                let mut whole = true;
                samples.visit(|sample| whole &= self.add(sample));
                whole
            }
        }
    }

    /// True when percentiles come from a histogram of bounded precision, not from the samples.
    #[must_use]
    pub fn is_hdr(&self) -> bool {
        matches!(self.samples, Samples::Hdr(_))
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
    /// be [sorted](HistogramCell::sort). Exact up to 1,000 samples of ordinary size, else within
    /// [`super::HDR_RELATIVE_ERROR`].
    #[must_use]
    pub fn value_past(&self, rank: u64) -> f64 {
        self.samples.value_past(rank)
    }

    /// What was kept, for its memory.
    pub(super) fn into_samples(self) -> Samples {
        self.samples
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
        assert!((median / 2_500.0 - 1.0).abs() <= super::super::HDR_RELATIVE_ERROR, "{median}");
    }

    #[test]
    fn a_sum_past_the_finite_numbers_is_refused_and_changes_nothing() {
        for samples in [1, 2_000] {
            let mut cell = HistogramCell::new(0);
            (1..samples).for_each(|_| assert!(cell.add(Sample { value: 1.0, scale: 1.0 })));
            assert!(cell.add(Sample { value: 1e308, scale: 1.0 }));
            let before = cell.summary();
            assert!(!cell.add(Sample { value: 1e308, scale: 1.0 }));
            let (endless, mut spares) =
                (Sample { value: -1.0, scale: f64::INFINITY }, SpareSamples::default());
            assert!(!cell.record(endless, 9, &mut spares));
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
}
