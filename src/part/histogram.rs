//! The samples of a histogram: up to 1,000 as they came, beyond them counted in the bins of the
//! distribution sketch. Count, sum, minimum and maximum stay exact; a value read back from its bin is off
//! by less than 1 %, for magnitudes from 1e-9 to 1e211. 8 bytes a sample (16 with sample rates), 16 bytes
//! a bin.

use crate::aggregate::{EXACT_SAMPLES_MAX, Sample, Summary};
use crate::sketch;

use super::bins::Bins;
use super::sum::Sum;

/// A histogram that merges. `Default` is empty.
#[derive(Clone, Debug, Default)]
pub struct Histogram(pub(super) Form);

#[derive(Clone, Debug)]
pub(super) enum Form {
    Samples(Box<Samples>),
    Folded(Box<Folded>),
}

impl Default for Form {
    fn default() -> Self {
        Form::Samples(Box::default())
    }
}

/// Samples as they came, in no order.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    pub values: Vec<f64>,
    /// 1 / sample rate of each; empty when all are 1.
    pub scales: Vec<f64>,
}

/// What is exact of many samples, and their counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Folded {
    pub count: u64,
    pub sum: Sum,
    pub min: f64,
    pub max: f64,
    pub bins: Bins,
}

impl Histogram {
    /// Finite values of scale 1, no more than stay as they came.
    pub(super) fn of_values(mut values: Vec<f64>) -> Histogram {
        debug_assert!(values.len() <= EXACT_SAMPLES_MAX);
        // Adding zero makes one zero of both.
        values.iter_mut().for_each(|value| *value += 0.0);
        Histogram(Form::Samples(Box::new(Samples { values, scales: Vec::new() })))
    }

    /// Adds a sample: a finite value whose product with its scale is finite, and a scale of 1 at least.
    /// False, and nothing changes, for any other.
    pub fn add(&mut self, sample: Sample) -> bool {
        let sound = sample.value.is_finite()
            && sample.scale >= 1.0
            && (sample.value * sample.scale).is_finite();
        if sound {
            match &mut self.0 {
                Form::Samples(samples) if samples.values.len() < EXACT_SAMPLES_MAX => {
                    samples.push(sample);
                }
                _ => self.fold().add(sample),
            }
        }
        sound
    }

    /// The merge law: samples join; more than 1,000 are counted.
    pub fn merge(&mut self, other: &Histogram) {
        match (&mut self.0, &other.0) {
            (Form::Samples(ours), Form::Samples(theirs))
                if ours.values.len() + theirs.values.len() <= EXACT_SAMPLES_MAX =>
            {
                ours.append(theirs);
            }
            (_, Form::Samples(theirs)) => {
                let ours = self.fold();
                theirs.visit(|sample| ours.add(sample));
            }
            (_, Form::Folded(theirs)) => self.fold().merge(theirs),
        }
    }

    /// Count, sum, minimum and maximum, all of them exact. The sum ends at the largest float.
    #[must_use]
    pub fn summary(&self) -> Summary {
        match &self.0 {
            Form::Folded(folded) => Summary {
                count: folded.count,
                sum: folded.sum.value(),
                min: folded.min,
                max: folded.max,
            },
            Form::Samples(samples) => {
                let (mut count, mut sum) = (0_u64, Sum::default());
                let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
                samples.visit(|sample| {
                    count = count.saturating_add(sample.weight());
                    sum.add(sample.value * sample.scale);
                    (min, max) = (min.min(sample.value), max.max(sample.value));
                });
                Summary { count, sum: sum.value(), min, max }
            }
        }
    }

    /// Brings the samples in order, once, before quantiles are asked for.
    pub fn sort(&mut self) {
        if let Form::Samples(samples) = &mut self.0 {
            samples.sort();
        }
    }

    /// The first value, in order, at which the cumulative weight exceeds `rank`; the last one past the
    /// end, 0 when empty. The samples must be [sorted](Histogram::sort).
    #[must_use]
    pub fn value_past(&self, rank: u64) -> f64 {
        match &self.0 {
            Form::Samples(samples) => samples.value_past(rank),
            Form::Folded(folded) => {
                // Some sample, so the minimum is not above the maximum.
                let value = folded.bins.key_past(rank).map_or(folded.max, sketch::value_of);
                value.clamp(folded.min, folded.max)
            }
        }
    }

    /// The samples as they came, in no order; none once they are counted.
    #[must_use]
    pub fn samples(&self) -> Option<Vec<Sample>> {
        let Form::Samples(samples) = &self.0 else { return None };
        let mut list = Vec::with_capacity(samples.values.len());
        samples.visit(|sample| list.push(sample));
        Some(list)
    }

    /// True without a sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Form::Samples(samples) if samples.values.is_empty())
    }

    /// True when percentiles come from bins.
    #[must_use]
    pub fn is_folded(&self) -> bool {
        matches!(self.0, Form::Folded(_))
    }

    /// Heap bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Samples(samples) => {
                let floats = samples.values.capacity() + samples.scales.capacity();
                size_of::<Samples>() + floats * size_of::<f64>()
            }
            Form::Folded(folded) => {
                size_of::<Folded>() + folded.sum.heap_bytes() + folded.bins.heap_bytes()
            }
        }
    }

    /// The same samples, counted.
    fn fold(&mut self) -> &mut Folded {
        if let Form::Samples(samples) = &self.0 {
            let mut folded = Box::new(Folded::empty());
            samples.visit(|sample| folded.add(sample));
            self.0 = Form::Folded(folded);
        }
        match &mut self.0 {
            Form::Folded(folded) => folded,
            Form::Samples(_) => unreachable!("made one above"),
        }
    }
}

/// The same samples, in any order.
impl PartialEq for Histogram {
    fn eq(&self, other: &Histogram) -> bool {
        match (&self.0, &other.0) {
            (Form::Samples(ours), Form::Samples(theirs)) => ours.sorted() == theirs.sorted(),
            (Form::Folded(ours), Form::Folded(theirs)) => ours == theirs,
            _ => false,
        }
    }
}

impl Samples {
    fn push(&mut self, Sample { value, scale }: Sample) {
        if scale != 1.0 && self.scales.is_empty() {
            self.scales.resize(self.values.len(), 1.0);
        }
        if scale != 1.0 || !self.scales.is_empty() {
            self.scales.push(scale);
        }
        // Adding zero makes one zero of both.
        self.values.push(value + 0.0);
    }

    fn append(&mut self, other: &Samples) {
        if self.scales.is_empty() && other.scales.is_empty() {
            self.values.extend_from_slice(&other.values);
        } else {
            other.visit(|sample| self.push(sample));
        }
    }

    pub fn visit(&self, mut visit: impl FnMut(Sample)) {
        for (at, value) in self.values.iter().enumerate() {
            let scale = self.scales.get(at).copied().unwrap_or(1.0);
            visit(Sample { value: *value, scale });
        }
    }

    fn sorted(&self) -> Vec<(u64, u64)> {
        let mut sorted = Vec::with_capacity(self.values.len());
        self.visit(|sample| sorted.push((sample.value.to_bits(), sample.scale.to_bits())));
        sorted.sort_unstable();
        sorted
    }

    fn sort(&mut self) {
        if self.scales.is_empty() {
            return self.values.sort_unstable_by(f64::total_cmp);
        }
        let mut samples: Vec<(f64, f64)> =
            self.values.iter().copied().zip(self.scales.iter().copied()).collect();
        samples.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        (self.values, self.scales) = samples.into_iter().unzip();
    }

    fn value_past(&self, rank: u64) -> f64 {
        let last = self.values.last().copied().unwrap_or(0.0);
        if self.scales.is_empty() {
            let at = usize::try_from(rank).unwrap_or(usize::MAX);
            return self.values.get(at).copied().unwrap_or(last);
        }
        let mut cumulative = 0_u64;
        let past = self.values.iter().zip(&self.scales).find(|(_, scale)| {
            cumulative = cumulative.saturating_add(**scale as u64);
            cumulative > rank
        });
        past.map_or(last, |(value, _)| *value)
    }
}

impl Folded {
    pub fn empty() -> Folded {
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        Folded { count: 0, sum: Sum::default(), min, max, bins: Bins::default() }
    }

    fn add(&mut self, sample: Sample) {
        self.count = self.count.saturating_add(sample.weight());
        self.sum.add(sample.value * sample.scale);
        let value = sample.value + 0.0;
        (self.min, self.max) = (self.min.min(value), self.max.max(value));
        self.bins.add(sketch::key_of(value), sample.weight());
    }

    fn merge(&mut self, other: &Folded) {
        self.count = self.count.saturating_add(other.count);
        self.sum.merge(&other.sum);
        (self.min, self.max) = (self.min.min(other.min), self.max.max(other.max));
        self.bins.merge(&other.bins);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::HistogramCell;
    use proptest::prelude::*;

    fn histogram(samples: &[(f64, f64)]) -> Histogram {
        let mut histogram = Histogram::default();
        for (value, scale) in samples {
            assert!(histogram.add(Sample { value: *value, scale: *scale }));
        }
        histogram.sort();
        histogram
    }

    fn cell(samples: &[(f64, f64)]) -> HistogramCell {
        let mut cell = HistogramCell::new(0);
        for (value, scale) in samples {
            assert!(cell.add(Sample { value: *value, scale: *scale }));
        }
        cell.sort();
        cell
    }

    #[test]
    fn up_to_a_thousand_samples_it_answers_as_a_cell_does() {
        for count in [0, 1, 2, 3, 999, 1_000] {
            let samples: Vec<(f64, f64)> = (0..count)
                .map(|n| (f64::from(n * 7 % 1_000) - 300.0, 1.0 + f64::from(n % 3) * 0.75))
                .collect();
            let (ours, theirs) = (histogram(&samples), cell(&samples));
            assert_eq!(ours.is_folded(), theirs.is_folded());
            let (summary, expect) = (ours.summary(), theirs.summary());
            assert_eq!(
                (summary.count, summary.min, summary.max),
                (expect.count, expect.min, expect.max)
            );
            assert!((summary.sum - expect.sum).abs() <= 1e-9 * expect.sum.abs());
            for rank in (0..=summary.count + 2).chain([u64::MAX]) {
                assert_eq!(ours.value_past(rank), theirs.value_past(rank), "{rank} of {count}");
            }
        }
    }

    #[test]
    fn what_is_no_sample_is_refused() {
        let mut histogram = histogram(&[(1.0, 1.0)]);
        for (value, scale) in
            [(f64::NAN, 1.0), (f64::INFINITY, 1.0), (1.0, 0.5), (1.0, f64::NAN), (1e200, 1e200)]
        {
            assert!(!histogram.add(Sample { value, scale }), "{value} {scale}");
        }
        assert_eq!(histogram.summary().count, 1);
    }

    /// Twin: the samples in order, each as often as it counts.
    fn exact_past(samples: &[(f64, f64)], rank: usize) -> f64 {
        let repeat = |(value, scale): &(f64, f64)| std::iter::repeat_n(*value, *scale as usize);
        let mut all: Vec<f64> = samples.iter().flat_map(repeat).collect();
        all.sort_by(f64::total_cmp);
        all[rank.min(all.len() - 1)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]

        #[test]
        fn beyond_them_the_summary_is_exact_and_a_rank_within_a_percent(
            samples in prop::collection::vec(
                (
                    prop_oneof![-1e3..1e3_f64, 1e-6..1.0_f64, -9e200..9e200_f64, Just(0.0)],
                    prop_oneof![3 => Just(1.0), 1 => 1.0..5.0_f64],
                ),
                1_001..2_500,
            ),
            at in 0.0..1.0_f64,
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = histogram(&samples);
            let count: u64 = samples.iter().map(|(_, scale)| *scale as u64).sum();
            let (min, max) = samples
                .iter()
                .fold((f64::MAX, f64::MIN), |(min, max), (v, _)| (min.min(*v), max.max(*v)));
            let mut sum = Sum::default();
            samples.iter().for_each(|(value, scale)| sum.add(value * scale));
            prop_assert_eq!(whole.summary(), Summary { count, sum: sum.value(), min, max });
            let rank = (at * count as f64) as u64;
            let (got, exact) = (whole.value_past(rank), exact_past(&samples, rank as usize));
            prop_assert!((got - exact).abs() <= exact.abs() * 0.01 + 1e-9, "{got:e} for {exact:e}");
            let (left, right) = samples.split_at(cut.index(samples.len()));
            let (mut left, mut right) = (histogram(left), histogram(right));
            let other = right.clone();
            right.merge(&left);
            left.merge(&other);
            prop_assert_eq!(&left, &whole);
            prop_assert_eq!(&right, &whole);
        }
    }

    #[test]
    fn nothing_merged_is_nothing() {
        let mut empty = Histogram::default();
        empty.merge(&Histogram::default());
        assert!(empty.is_empty() && empty.value_past(0) == 0.0);
        let one = histogram(&[(2.0, 1.0)]);
        empty.merge(&one);
        assert_eq!(empty, one);
    }
}
