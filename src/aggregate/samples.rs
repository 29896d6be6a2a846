//! The samples of a histogram as they came, in as little memory as they allow.
//!
//! Most timers of a large system are touched once or twice in a bucket, and most are not sampled:
//! two plain values stand in the cell itself, more of them take 8 bytes each, and only values with a
//! sample rate, or so large that the sum has to be watched, carry a weight and a summary beside them.

use super::folded::Folded;
use super::gathered::{GATHERED_MAX, Gathered};
use super::sample::{Sample, Summary};
use super::spares::SpareSamples;
use super::weighted::Weighted;
use crate::context::prefetch;
use crate::memory::MemoryShare;

/// Samples kept as they are, per context and bucket.
pub const EXACT_SAMPLES_MAX: usize = 1_000;

/// The largest magnitude whose sum need not be watched: 1,000 of its like stay below the end of the
/// floats.
const UNWATCHED_MAX: f64 = f64::MAX / 2_048.0;

/// Samples of one context in one bucket.
#[derive(Clone, Debug)]
pub(super) enum Samples {
    None,
    One(f64),
    Two(f64, f64),
    /// Without sample rate, none above [`UNWATCHED_MAX`].
    Plain(Vec<f64>),
    /// Boxed, so that the cell is no larger than a plain one.
    Weighted(Box<Weighted>),
    /// More plain ones than [`EXACT_SAMPLES_MAX`]: counted instead of kept, but for the last few.
    Gathered {
        /// How many have yet to be counted.
        waiting: u32,
        gathered: Box<Gathered>,
    },
    /// Counted instead of kept, one by one: no memory to keep them, or they have to be watched.
    Folded(Box<Folded>),
}

impl Samples {
    /// Adds one; false when the sum would leave the finite numbers or the count its range, which changes
    /// nothing that is read. `spares` lend their memory when there is more than the cell can hold.
    #[inline(always)]
    pub fn add(
        &mut self,
        sample: Sample,
        spares: &mut SpareSamples,
        memory: &mut MemoryShare,
    ) -> bool {
        match self {
            Samples::Plain(values)
                if sample.scale == 1.0
                    && sample.value.abs() <= UNWATCHED_MAX
                    && values.len() < values.capacity() =>
            {
                values.push(sample.value);
                true
            }
            Samples::Gathered { waiting, gathered }
                if sample.scale == 1.0
                    && sample.value.abs() <= UNWATCHED_MAX
                    && (*waiting as usize) < GATHERED_MAX =>
            {
                gathered.values[*waiting as usize] = sample.value;
                *waiting += 1;
                true
            }
            Samples::Folded(folded) => folded.add(sample, memory),
            Samples::Weighted(weighted) if weighted.list.len() < weighted.list.capacity() => {
                weighted.push(sample)
            }
            _ => self.outgrow(sample, spares, memory),
        }
    }

    /// Adds one that needs more room, or another form than the last.
    #[inline(never)]
    fn outgrow(
        &mut self,
        sample: Sample,
        spares: &mut SpareSamples,
        memory: &mut MemoryShare,
    ) -> bool {
        if !(sample.value * sample.scale).is_finite() {
            return false;
        }
        let unwatched = |value: f64| value.abs() <= UNWATCHED_MAX;
        let plain = sample.scale == 1.0 && unwatched(sample.value);
        match self {
            Samples::None if sample.scale == 1.0 => {
                *self = Samples::One(sample.value);
                return true;
            }
            Samples::One(first) if plain && unwatched(*first) => {
                *self = Samples::Two(*first, sample.value);
                return true;
            }
            _ => {}
        }
        if matches!(self, Samples::Gathered { .. }) {
            return self.settle_and_add(sample, plain, spares, memory);
        }
        if self.len() >= EXACT_SAMPLES_MAX {
            return match self {
                Samples::Plain(_) if plain && memory.has_room() => {
                    self.gather(sample, spares, memory)
                }
                _ => self.fold(memory).add(sample, memory),
            };
        }
        if !self.make_room(memory) {
            return self.fold(memory).add(sample, memory);
        }
        match self {
            Samples::Two(first, second) if plain => {
                let mut values = spares.plain(memory);
                memory.grow(&mut values, 3, usize::MAX, EXACT_SAMPLES_MAX);
                values.extend([*first, *second, sample.value]);
                *self = Samples::Plain(values);
                true
            }
            Samples::Plain(values) if plain => {
                values.push(sample.value);
                true
            }
            Samples::Weighted(weighted) => weighted.push(sample),
            _ => self.weigh(spares, memory).push(sample),
        }
    }

    /// Counts the plain samples of a full list, and gathers from this one on.
    #[cold]
    fn gather(
        &mut self,
        sample: Sample,
        spares: &mut SpareSamples,
        memory: &mut MemoryShare,
    ) -> bool {
        memory.refund(self.heap_bytes());
        let Samples::Plain(values) = std::mem::replace(self, Samples::None) else {
            unreachable!("the caller looked")
        };
        let mut gathered = spares.gathered(memory);
        // There is room for as many as are kept, whose sum stays below half the floats.
        let room = gathered.count_all(&values, memory);
        spares.keep_plain(values);
        *self = Samples::Gathered { waiting: 0, gathered };
        if room { self.add(sample, spares, memory) } else { self.fold(memory).add(sample, memory) }
    }

    /// A full list, or a sample that has to be watched.
    fn settle_and_add(
        &mut self,
        sample: Sample,
        plain: bool,
        spares: &mut SpareSamples,
        memory: &mut MemoryShare,
    ) -> bool {
        let Samples::Gathered { waiting, gathered } = self else {
            unreachable!("the caller looked")
        };
        let room = gathered.settle(std::mem::take(waiting), memory);
        if plain && room {
            return self.add(sample, spares, memory);
        }
        self.fold(memory).add(sample, memory)
    }

    /// Room in the list for one more; in one that is yet to come, if there is none.
    fn make_room(&mut self, memory: &mut MemoryShare) -> bool {
        match self {
            Samples::Plain(values) => memory.grow(values, 1, 0, EXACT_SAMPLES_MAX),
            Samples::Weighted(weighted) => memory.grow(&mut weighted.list, 1, 0, EXACT_SAMPLES_MAX),
            _ => memory.has_room(),
        }
    }

    /// The same samples with their weights, and room for one more.
    fn weigh(&mut self, spares: &mut SpareSamples, memory: &mut MemoryShare) -> &mut Weighted {
        let mut weighted = spares.weighted(memory);
        memory.grow(&mut weighted.list, self.len() + 1, usize::MAX, EXACT_SAMPLES_MAX);
        self.visit(|sample| {
            let taken = weighted.push(sample);
            debug_assert!(taken, "samples without weight have a finite sum");
        });
        memory.refund(self.heap_bytes());
        std::mem::replace(self, Samples::Weighted(weighted)).leave(spares);
        match self {
            Samples::Weighted(weighted) => weighted,
            _ => unreachable!("made one above"),
        }
    }

    /// The same samples, counted instead of kept.
    #[cold]
    pub fn fold(&mut self, memory: &mut MemoryShare) -> &mut Folded {
        if let Samples::Gathered { waiting, gathered } = self {
            memory.refund(size_of::<Gathered>());
            gathered.settle(std::mem::take(waiting), memory);
            let Samples::Gathered { gathered, .. } = std::mem::replace(self, Samples::None) else {
                unreachable!("matched above")
            };
            *self = Samples::Folded(gathered.into_folded());
        } else if !matches!(self, Samples::Folded(_)) {
            // First, so that a cell without room folds into what it had.
            memory.refund(self.heap_bytes());
            let mut folded = Box::new(Folded::new());
            self.visit(|sample| {
                let taken = folded.add(sample, memory);
                debug_assert!(taken, "what was kept has a finite sum");
            });
            *self = Samples::Folded(folded);
        }
        match self {
            Samples::Folded(folded) => folded,
            _ => unreachable!("made one above"),
        }
    }

    /// Takes in those of another lane, exact while all of them are few enough. False when something was
    /// left out: all of `other` when the count would leave its range, else the part of the sum beyond the
    /// range of floats.
    pub fn merge(&mut self, mut other: Samples, memory: &mut MemoryShare) -> bool {
        let folded =
            |samples: &Samples| matches!(samples, Samples::Gathered { .. } | Samples::Folded(_));
        if folded(self) || folded(&other) || self.len() + other.len() > EXACT_SAMPLES_MAX {
            let other = other.fold(memory);
            return self.fold(memory).merge(other, memory);
        }
        let summary = other.summary();
        if !self.summary().can_merge(&summary) {
            return false;
        }
        let spares = &mut SpareSamples::default();
        if self.is_plain() && other.is_plain() {
            other.visit(|sample| {
                let taken = self.add(sample, spares, memory);
                debug_assert!(taken, "samples without weight have a finite sum");
            });
            return true;
        }
        let ours = match self {
            Samples::Weighted(weighted) => weighted,
            _ => self.weigh(spares, memory),
        };
        other.visit(|sample| ours.list.push(sample));
        ours.summary.merge(&summary)
    }

    /// What was counted, without what waits to be; none while all are kept.
    pub fn folded(&self) -> Option<&Folded> {
        match self {
            Samples::Gathered { gathered, .. } => Some(gathered.folded()),
            Samples::Folded(folded) => Some(folded),
            _ => None,
        }
    }

    /// No weights, and no value whose sum has to be watched.
    fn is_plain(&self) -> bool {
        match self {
            Samples::None | Samples::Two(..) | Samples::Plain(_) => true,
            Samples::One(value) => value.abs() <= UNWATCHED_MAX,
            Samples::Weighted(_) | Samples::Gathered { .. } | Samples::Folded(_) => false,
        }
    }

    /// Those that are kept as they came; none once they are counted.
    fn len(&self) -> usize {
        match self {
            Samples::None | Samples::Gathered { .. } | Samples::Folded(_) => 0,
            Samples::One(_) => 1,
            Samples::Two(..) => 2,
            Samples::Plain(values) => values.len(),
            Samples::Weighted(weighted) => weighted.list.len(),
        }
    }

    /// Leaves the memory of the lists to `spares`; the samples are not needed any more.
    pub fn leave(self, spares: &mut SpareSamples) {
        match self {
            Samples::Plain(values) => spares.keep_plain(values),
            Samples::Weighted(weighted) => spares.keep_weighted(weighted),
            Samples::Gathered { gathered, .. } => spares.keep_gathered(gathered),
            _ => {}
        }
    }

    /// Bytes of the lists that hold them.
    fn heap_bytes(&self) -> usize {
        match self {
            Samples::Plain(values) => values.capacity() * size_of::<f64>(),
            Samples::Weighted(weighted) => weighted.list.capacity() * size_of::<Sample>(),
            _ => 0,
        }
    }

    /// Calls `visit` with those that are kept as they came.
    #[inline]
    pub fn visit(&self, mut visit: impl FnMut(Sample)) {
        let mut plain = |value: f64| visit(Sample { value, scale: 1.0 });
        match self {
            Samples::None | Samples::Gathered { .. } | Samples::Folded(_) => {}
            Samples::One(value) => plain(*value),
            Samples::Two(first, second) => [*first, *second].into_iter().for_each(plain),
            Samples::Plain(values) => values.iter().copied().for_each(plain),
            Samples::Weighted(weighted) => weighted.list.iter().copied().for_each(visit),
        }
    }

    pub fn sort(&mut self) {
        match self {
            Samples::None | Samples::One(_) => {}
            Samples::Two(first, second) => {
                if first.total_cmp(second).is_gt() {
                    std::mem::swap(first, second);
                }
            }
            Samples::Plain(values) => values.sort_unstable_by(f64::total_cmp),
            Samples::Weighted(weighted) => {
                weighted.list.sort_unstable_by(|a, b| a.value.total_cmp(&b.value));
            }
            Samples::Gathered { waiting, gathered } => {
                let memory = &mut MemoryShare::default();
                if !gathered.settle(std::mem::take(waiting), memory) {
                    self.fold(memory);
                }
                // Counting sorts.
            }
            Samples::Folded(folded) => folded.settle(&mut MemoryShare::default()),
        }
    }

    pub fn summary(&self) -> Summary {
        match self {
            Samples::Weighted(weighted) => return weighted.summary,
            Samples::Gathered { waiting, gathered } => return gathered.summary(*waiting),
            Samples::Folded(folded) => return folded.summary(),
            _ => {}
        }
        let mut summary = Summary::EMPTY;
        self.visit(|sample| {
            let taken = summary.add(sample);
            debug_assert!(taken, "samples without weight have a finite sum");
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
            Samples::Weighted(weighted) => {
                let mut cumulative = 0_u64;
                let past = weighted.list.iter().find(|sample| {
                    cumulative = cumulative.saturating_add(sample.weight());
                    cumulative > rank
                });
                past.or(weighted.list.last()).map_or(0.0, |sample| sample.value)
            }
            Samples::Gathered { gathered, waiting } => {
                debug_assert_eq!(*waiting, 0, "sorted");
                gathered.folded().value_past(rank)
            }
            Samples::Folded(folded) => folded.value_past(rank),
        }
    }

    /// Begins to load the place of the next sample.
    #[inline(always)]
    pub fn prefetch(&self) {
        match self {
            Samples::Plain(values) => values.last().map_or((), prefetch),
            Samples::Weighted(weighted) => weighted.list.last().map_or((), prefetch),
            Samples::Gathered { waiting, gathered } => {
                if let Some(place) = gathered.values.get(*waiting as usize) {
                    prefetch(place);
                }
            }
            Samples::Folded(folded) => prefetch(&**folded),
            _ => {}
        }
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
                (
                    prop_oneof![8 => -1e3..1e3_f64, 1 => Just(1e306), 1 => Just(-1e306)],
                    prop_oneof![8 => Just(1.0), 1 => Just(2.0), 1 => Just(3.5)],
                ),
                0..9),
            rank in 0..20_u64,
        ) {
            let (mut ours, mut spares) = (Samples::None, SpareSamples::default());
            let mut memory = MemoryShare::default();
            // Lists of an earlier bucket must not show.
            spares.keep_plain(vec![1.0; 3]);
            let old = Sample { value: 1.0, scale: 9.0 };
            let mut weighted = Box::<Weighted>::default();
            prop_assert!(weighted.push(old));
            spares.keep_weighted(weighted);
            for (value, scale) in &samples {
                let sample = Sample { value: *value, scale: *scale };
                prop_assert!(ours.add(sample, &mut spares, &mut memory));
            }
            ours.sort();
            let (summary, value) = exact(&samples, rank);
            let got = ours.summary();
            prop_assert_eq!(ours.value_past(rank), value);
            prop_assert_eq!((got.count, got.min, got.max), (summary.count, summary.min, summary.max));
            // The order of the additions may differ.
            let largest = samples.iter().map(|(v, scale)| (v * scale).abs()).fold(0.0, f64::max);
            prop_assert!((got.sum - summary.sum).abs() <= largest * 1e-13);
        }
    }

    #[test]
    fn a_cell_with_two_plain_values_needs_no_memory_of_its_own() {
        assert_eq!(size_of::<Samples>(), 24);
        let mut samples = Samples::None;
        let (mut spares, mut memory) = (SpareSamples::default(), MemoryShare::default());
        for value in [1.0, 2.0] {
            assert!(samples.add(Sample { value, scale: 1.0 }, &mut spares, &mut memory));
        }
        assert!(matches!(samples, Samples::Two(1.0, 2.0)));
    }
}
