//! A histogram of many samples: two `hdrhistogram`s of two significant digits, one for each sign.
//!
//! They count integers, so values are multiplied by a power of two chosen when the first thousand
//! samples are counted: the median of their magnitudes becomes 2^30. Magnitudes from a four-millionth of
//! that median up to four thousand million times it keep the stated error; what is smaller counts
//! as that smallest step, what is larger as the largest. (Below a median of 1e-290 the power of two
//! meets the end of the floats.) Count, sum, minimum and maximum are exact.

use hdrhistogram::Histogram;

use super::sample::{Sample, Summary};

/// How far a percentile of more than 1,000 samples may lie from the exact one, relative to it.
pub const HDR_RELATIVE_ERROR: f64 = 0.01;

/// Where the median of the first samples is put.
const MEDIAN_BITS: i32 = 30;
/// The largest countable integer.
const HIGHEST: u64 = 1 << 62;
/// hdrhistogram's precision: 10^-2.
const SIGNIFICANT_DIGITS: u8 = 2;
/// Scales differ by this many bits, so that most histograms of one metric share theirs.
const SCALE_STEP_BITS: i32 = 8;

/// Weighted samples, bounded in memory.
#[derive(Clone, Debug)]
pub(super) struct HdrSamples {
    summary: Summary,
    scale: f64,
    positive: Histogram<u32>,
    /// Made when the first negative value comes.
    negative: Option<Histogram<u32>>,
}

impl HdrSamples {
    /// Counts samples; there is at least one. False when not all of them could be taken.
    pub fn from_samples(samples: &[Sample]) -> (Self, bool) {
        let mut hdr = HdrSamples {
            summary: Summary::EMPTY,
            scale: scale_for(samples),
            positive: empty(),
            negative: None,
        };
        let mut whole = true;
        samples.iter().for_each(|sample| whole &= hdr.add(*sample));
        (hdr, whole)
    }

    /// False, and nothing changes, when the sum would leave the finite numbers.
    pub fn add(&mut self, sample: Sample) -> bool {
        let taken = self.summary.add(sample);
        if taken {
            self.count(sample.value, sample.weight());
        }
        taken
    }

    fn count(&mut self, value: f64, weight: u64) {
        let histogram =
            if value < 0.0 { self.negative.get_or_insert_with(empty) } else { &mut self.positive };
        // Rounds to the nearest integer; a float outside the integers becomes their end by `as`.
        // (`f64::round` is a function call on the oldest x86-64, and so are unsigned casts slow.)
        let scaled = (value.abs() * self.scale + 0.5) as i64 as u64;
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        // Clamps to the bounds the histogram was made with, so it neither grows nor fails.
        histogram.saturating_record_n(scaled.min(HIGHEST), weight);
    }

    /// A sum beyond the range of floats stays at its end; then it returns false.
    pub fn merge(&mut self, other: &HdrSamples) -> bool {
        let whole = self.summary.merge(&other.summary);
        for step in other.positive.iter_recorded() {
            let value = midpoint(&other.positive, step.value_iterated_to()) / other.scale;
            self.count(value, u64::from(step.count_at_value()));
        }
        for step in other.negative.iter().flat_map(Histogram::iter_recorded) {
            let value = midpoint(&other.positive, step.value_iterated_to()) / other.scale;
            self.count(-value, u64::from(step.count_at_value()));
        }
        whole
    }

    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// The first value, in order, at which the cumulative weight exceeds `rank`.
    pub fn value_past(&self, rank: u64) -> f64 {
        let mut cumulative = 0_u64;
        let mut past = |count: u32| {
            cumulative = cumulative.saturating_add(u64::from(count));
            cumulative > rank
        };
        let negatives: Vec<(u64, u32)> = self
            .negative
            .iter()
            .flat_map(Histogram::iter_recorded)
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect();
        let from_negative = negatives
            .into_iter()
            .rev()
            .find(|(_, count)| past(*count))
            .map(|(value, _)| -self.value_of(value));
        let value = from_negative.or_else(|| {
            self.positive
                .iter_recorded()
                .find(|step| past(step.count_at_value()))
                .map(|step| self.value_of(step.value_iterated_to()))
        });
        value.unwrap_or(self.summary.max).clamp(self.summary.min, self.summary.max)
    }

    fn value_of(&self, counted: u64) -> f64 {
        midpoint(&self.positive, counted) / self.scale
    }
}

/// The middle of the range of integers that one count stands for: half the error of its ends.
fn midpoint(histogram: &Histogram<u32>, counted: u64) -> f64 {
    let low = histogram.lowest_equivalent(counted) as f64;
    let high = histogram.highest_equivalent(counted) as f64;
    (low + high) / 2.0
}

fn empty() -> Histogram<u32> {
    Histogram::new_with_bounds(1, HIGHEST, SIGNIFICANT_DIGITS)
        .expect("1 to 2^62 with two digits are bounds that hdrhistogram documents as valid")
}

/// A power of two that puts the median magnitude near 2^30.
fn scale_for(samples: &[Sample]) -> f64 {
    let mut magnitudes: Vec<f64> =
        samples.iter().map(|sample| sample.value.abs()).filter(|value| *value > 0.0).collect();
    if magnitudes.is_empty() {
        return 1.0;
    }
    let middle = magnitudes.len() / 2;
    let (_, median, _) = magnitudes.select_nth_unstable_by(middle, f64::total_cmp);
    let bits = MEDIAN_BITS - median.log2().floor() as i32;
    let stepped = bits.div_euclid(SCALE_STEP_BITS) * SCALE_STEP_BITS;
    // Finite and not zero for every finite median.
    2_f64.powi(stepped.clamp(-1_000, 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact_past(values: &mut [f64], rank: usize) -> f64 {
        values.sort_unstable_by(f64::total_cmp);
        values[rank]
    }

    fn hdr(values: &[f64]) -> HdrSamples {
        let samples: Vec<Sample> =
            values.iter().map(|value| Sample { value: *value, scale: 1.0 }).collect();
        HdrSamples::from_samples(&samples).0
    }

    #[track_caller]
    fn close(got: f64, exact: f64) {
        let error = (got - exact).abs();
        assert!(error <= exact.abs() * HDR_RELATIVE_ERROR + f64::MIN_POSITIVE, "{got} {exact}");
    }

    #[test]
    fn extreme_medians_keep_the_error() {
        for median in [1e-250, 1e-9, 1.0, 1e9, 1e300] {
            let mut values: Vec<f64> = (1..=999).map(|n| median * f64::from(n) / 500.0).collect();
            let hdr = hdr(&values);
            for rank in [0, 10, 499, 900, 998] {
                close(hdr.value_past(rank as u64), exact_past(&mut values, rank));
            }
        }
    }

    #[test]
    fn zeros_only() {
        assert_eq!(hdr(&[0.0; 50]).value_past(25), 0.0);
    }

    proptest! {
        #[test]
        fn every_rank_stays_inside_the_stated_error(
            mut values in prop::collection::vec(
                prop_oneof![-1e3..-1e-3_f64, 1e-3..1e3_f64, Just(0.0)], 1..400),
            at in 0.0..1.0_f64,
        ) {
            let rank = (at * values.len() as f64) as usize;
            let got = hdr(&values).value_past(rank as u64);
            let exact = exact_past(&mut values, rank);
            prop_assert!((got - exact).abs() <= exact.abs() * HDR_RELATIVE_ERROR, "{got} {exact}");
        }

        #[test]
        fn merged_histograms_answer_as_one(
            a in prop::collection::vec(0.1..1e3_f64, 1..200),
            b in prop::collection::vec(0.1..1e3_f64, 1..200),
            at in 0.0..1.0_f64,
        ) {
            let mut all = [a.clone(), b.clone()].concat();
            let rank = (at * all.len() as f64) as usize;
            let mut merged = hdr(&a);
            prop_assert!(merged.merge(&hdr(&b)));
            let exact = exact_past(&mut all, rank);
            let got = merged.value_past(rank as u64);
            prop_assert!((got - exact).abs() <= exact.abs() * HDR_RELATIVE_ERROR, "{got} {exact}");
            prop_assert_eq!(merged.summary().count, all.len() as u64);
        }
    }
}
