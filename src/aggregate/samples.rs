//! The samples of a histogram as they came, in as little memory as they allow.
//!
//! Most timers of a large system are touched once or twice in a bucket, and most are not sampled:
//! two plain values stand in the cell itself, more of them take 8 bytes each, and only values with a
//! sample rate carry their weight beside them.

use super::hdr::HdrSamples;
use super::sample::{Sample, Summary};
use crate::context::prefetch;

/// Samples kept as they are, per context and bucket.
pub const EXACT_SAMPLES_MAX: usize = 1_000;

/// The largest magnitude that is kept as it came: 1,000 of its like stay below the end of the floats,
/// so that the sum of kept samples need not be watched. A larger one makes the cell count.
const KEPT_MAX: f64 = f64::MAX / 2_048.0;

/// Samples of one context in one bucket.
#[derive(Clone, Debug)]
pub(super) enum Samples {
    None,
    One(f64),
    Two(f64, f64),
    /// Without sample rate.
    Plain(Vec<f64>),
    /// Boxed, so that the cell is no larger than a plain one.
    #[expect(clippy::box_collection, reason = "a list in place would make every cell larger")]
    Weighted(Box<Vec<Sample>>),
    Hdr(Box<HdrSamples>),
}

/// Emptied lists of the last bucket.
#[derive(Debug, Default)]
pub(super) struct SpareSamples {
    plain: Vec<Vec<f64>>,
    #[expect(clippy::vec_box, reason = "they move into cells as they are")]
    weighted: Vec<Box<Vec<Sample>>>,
}

/// More emptied lists of a kind than this are let go: at many contexts their memory would rest for an
/// interval, while the next bucket may get the same from the allocator.
const SPARES_MAX: usize = 4_096;

impl SpareSamples {
    /// Forgets what is left.
    pub fn clear(&mut self) {
        self.plain.clear();
        self.weighted.clear();
    }

    /// Keeps the memory of samples that are not needed any more.
    pub fn keep(&mut self, samples: Samples) {
        match samples {
            Samples::Plain(mut values) if self.plain.len() < SPARES_MAX => {
                values.clear();
                self.plain.push(values);
            }
            Samples::Weighted(mut samples) if self.weighted.len() < SPARES_MAX => {
                samples.clear();
                self.weighted.push(samples);
            }
            _ => {}
        }
    }
}

impl Samples {
    /// Adds one; false when the sum would leave the finite numbers, which changes nothing. `spares`
    /// lend their memory when there is more than the cell can hold.
    #[inline(always)]
    pub fn add(&mut self, sample: Sample, spares: &mut SpareSamples) -> bool {
        let ordinary = (sample.value * sample.scale).abs() <= KEPT_MAX;
        match self {
            Samples::Plain(values)
                if ordinary && sample.scale == 1.0 && values.len() < EXACT_SAMPLES_MAX =>
            {
                values.push(sample.value);
                true
            }
            Samples::Weighted(samples) if ordinary && samples.len() < EXACT_SAMPLES_MAX => {
                samples.push(sample);
                true
            }
            Samples::Hdr(hdr) => hdr.add(sample),
            _ if ordinary => self.outgrow(sample, spares),
            _ => self.add_huge(sample),
        }
    }

    /// Adds one in another form than the last.
    #[inline(never)]
    fn outgrow(&mut self, sample: Sample, spares: &mut SpareSamples) -> bool {
        let plain = sample.scale == 1.0;
        match self {
            Samples::None if plain => *self = Samples::One(sample.value),
            Samples::One(first) if plain => *self = Samples::Two(*first, sample.value),
            Samples::Two(first, second) if plain => {
                let mut values = spares.plain.pop().unwrap_or_default();
                values.extend([*first, *second, sample.value]);
                *self = Samples::Plain(values);
            }
            _ if self.len() < EXACT_SAMPLES_MAX => {
                let mut samples = spares.weighted.pop().unwrap_or_default();
                self.visit(|old| samples.push(old));
                samples.push(sample);
                spares.keep(std::mem::replace(self, Samples::Weighted(samples)));
            }
            _ => return self.make_hdr().add(sample),
        }
        true
    }

    /// Adds one with which the sum has to be watched.
    #[cold]
    fn add_huge(&mut self, sample: Sample) -> bool {
        if !(sample.value * sample.scale).is_finite() {
            return false;
        }
        let mut samples = Vec::with_capacity(self.len() + 1);
        self.visit(|sample| samples.push(sample));
        samples.push(sample);
        let (hdr, whole) = HdrSamples::from_samples(&samples);
        *self = Samples::Hdr(Box::new(hdr));
        whole
    }

    /// The same samples, counted instead of kept.
    #[cold]
    pub fn make_hdr(&mut self) -> &mut HdrSamples {
        if !matches!(self, Samples::Hdr(_)) {
            let mut samples = Vec::with_capacity(self.len());
            self.visit(|sample| samples.push(sample));
            // What was kept always has a finite sum.
            *self = Samples::Hdr(Box::new(HdrSamples::from_samples(&samples).0));
        }
        match self {
            Samples::Hdr(hdr) => hdr,
            _ => unreachable!("made one above"),
        }
    }

    /// Those that are kept as they came; none once they are counted.
    fn len(&self) -> usize {
        match self {
            Samples::None | Samples::Hdr(_) => 0,
            Samples::One(_) => 1,
            Samples::Two(..) => 2,
            Samples::Plain(values) => values.len(),
            Samples::Weighted(samples) => samples.len(),
        }
    }

    /// Calls `visit` with those that are kept as they came.
    #[inline]
    pub fn visit(&self, mut visit: impl FnMut(Sample)) {
        let mut plain = |value: f64| visit(Sample { value, scale: 1.0 });
        match self {
            Samples::None | Samples::Hdr(_) => {}
            Samples::One(value) => plain(*value),
            Samples::Two(first, second) => [*first, *second].into_iter().for_each(plain),
            Samples::Plain(values) => values.iter().copied().for_each(plain),
            Samples::Weighted(samples) => samples.iter().copied().for_each(visit),
        }
    }

    pub fn sort(&mut self) {
        match self {
            Samples::None | Samples::One(_) | Samples::Hdr(_) => {}
            Samples::Two(first, second) => {
                if first.total_cmp(second).is_gt() {
                    std::mem::swap(first, second);
                }
            }
            Samples::Plain(values) => values.sort_unstable_by(f64::total_cmp),
            Samples::Weighted(samples) => {
                samples.sort_unstable_by(|a, b| a.value.total_cmp(&b.value));
            }
        }
    }

    pub fn summary(&self) -> Summary {
        if let Samples::Hdr(hdr) = self {
            return hdr.summary();
        }
        let mut summary = Summary::EMPTY;
        self.visit(|sample| {
            let taken = summary.add(sample);
            debug_assert!(taken, "kept samples have a finite sum");
        });
        summary
    }

    /// See [`super::HistogramCell::value_past`].
    pub fn value_past(&self, rank: u64) -> f64 {
        let at = usize::try_from(rank).unwrap_or(usize::MAX);
        match self {
            Samples::None => 0.0,
            Samples::One(value) => *value,
            Samples::Two(first, second) => {
                if at == 0 {
                    *first
                } else {
                    *second
                }
            }
            Samples::Plain(values) => values.get(at).or(values.last()).copied().unwrap_or(0.0),
            Samples::Weighted(samples) => {
                let mut cumulative = 0_u64;
                let past = samples.iter().find(|sample| {
                    cumulative = cumulative.saturating_add(sample.weight());
                    cumulative > rank
                });
                past.or(samples.last()).map_or(0.0, |sample| sample.value)
            }
            Samples::Hdr(hdr) => hdr.value_past(rank),
        }
    }

    /// Begins to load the place of the next sample.
    #[inline(always)]
    pub fn prefetch(&self) {
        match self {
            Samples::Plain(values) => values.last().map(prefetch),
            Samples::Weighted(samples) => samples.last().map(prefetch),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a plain list of weighted samples says.
    fn exact(samples: &[(f64, f64)], rank: u64) -> (Summary, f64) {
        let mut samples: Vec<Sample> =
            samples.iter().map(|(value, scale)| Sample { value: *value, scale: *scale }).collect();
        samples.sort_by(|a, b| a.value.total_cmp(&b.value));
        let mut summary = Summary::EMPTY;
        assert!(samples.iter().all(|sample| summary.add(*sample)));
        let unrolled: Vec<f64> = samples
            .iter()
            .flat_map(|sample| std::iter::repeat_n(sample.value, sample.weight() as usize))
            .collect();
        let at = (rank as usize).min(unrolled.len().saturating_sub(1));
        (summary, unrolled.get(at).copied().unwrap_or(0.0))
    }

    proptest! {
        #[test]
        fn every_form_answers_like_a_plain_list(
            samples in prop::collection::vec(
                (-1e3..1e3_f64, prop_oneof![8 => Just(1.0), 1 => Just(2.0), 1 => Just(3.5)]), 0..9),
            rank in 0..20_u64,
        ) {
            let (mut ours, mut spares) = (Samples::None, SpareSamples::default());
            // Lists of an earlier bucket must not show.
            spares.keep(Samples::Plain(vec![1.0; 3]));
            spares.keep(Samples::Weighted(Box::new(vec![Sample { value: 1.0, scale: 9.0 }])));
            for (value, scale) in &samples {
                let taken = ours.add(Sample { value: *value, scale: *scale }, &mut spares);
                prop_assert!(taken);
            }
            ours.sort();
            prop_assert_eq!((ours.summary(), ours.value_past(rank)), exact(&samples, rank));
        }
    }

    #[test]
    fn a_cell_with_two_plain_values_needs_no_memory_of_its_own() {
        assert_eq!(size_of::<Samples>(), 24);
        let mut samples = Samples::None;
        for value in [1.0, 2.0] {
            assert!(samples.add(Sample { value, scale: 1.0 }, &mut SpareSamples::default()));
        }
        assert!(matches!(samples, Samples::Two(1.0, 2.0)));
    }
}
