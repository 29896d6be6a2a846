//! From the cells of a bucket to values that merge with those of other hosts.

use super::histogram::{Folded, Form, Histogram};
use super::set::Set;
use super::sum::Sum;
use super::{Value, bins::Bins};
use crate::aggregate::{
    CounterCell, GaugeCell, HistogramCell, HistogramParts, SetCell, SetForm, raise_registers,
};
use crate::sketch;

impl From<&CounterCell> for Value {
    fn from(cell: &CounterCell) -> Value {
        Value::Counter(Sum::from(cell.sum))
    }
}

impl From<&GaugeCell> for Value {
    fn from(cell: &GaugeCell) -> Value {
        Value::Gauge(cell.value)
    }
}

/// Members become hashes. The registers of a set that had little memory are spread over as many as a part
/// has: the count stays about what it was, with the error that it had.
impl From<&SetCell> for Value {
    fn from(cell: &SetCell) -> Value {
        Value::Set(match cell.form() {
            SetForm::Members(members) => {
                let hashes = members.iter().map(|member| Set::hash_of(member)).collect();
                Set::of_hashes(hashes, usize::MAX)
            }
            SetForm::Registers(registers) => {
                Set(super::set::Form::Registers(raise_registers(registers)))
            }
        })
    }
}

/// Samples stay as they are. Ranges of values become bins of the sketch, each as a whole: a value then is
/// off by the errors of both, 1.6 % at most.
impl From<&HistogramCell> for Value {
    fn from(cell: &HistogramCell) -> Value {
        let mut histogram = Histogram::default();
        match cell.parts() {
            HistogramParts::Samples(samples) => {
                for sample in samples {
                    let taken = histogram.add(sample);
                    debug_assert!(taken, "a cell holds finite samples");
                }
            }
            HistogramParts::Folded { summary, counts } => {
                let mut bins = Bins::default();
                for (value, count) in counts {
                    bins.add(sketch::key_of(value.clamp(summary.min, summary.max)), count);
                }
                histogram.0 = Form::Folded(Box::new(Folded {
                    count: summary.count,
                    sum: Sum::from(summary.sum),
                    min: summary.min + 0.0,
                    max: summary.max + 0.0,
                    bins,
                }));
            }
        }
        Value::Histogram(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::{Sample, SetParts};
    use crate::memory::{MemoryLimit, MemoryShare};
    use ahash::RandomState;
    use std::sync::Arc;

    fn set(members: std::ops::Range<u32>, members_max: usize, memory: &mut MemoryShare) -> SetCell {
        let state = RandomState::with_seeds(1, 2, 3, 4);
        let mut cell = SetCell::from_parts(SetParts::Members(Vec::new()), &state).expect("empty");
        for member in members {
            cell.insert(member.to_string().as_bytes(), members_max, memory);
        }
        cell
    }

    #[track_caller]
    fn count(value: &Value) -> u64 {
        let Value::Set(set) = value else { panic!("a set: {value:?}") };
        set.count()
    }

    #[test]
    fn sets_keep_their_count_in_every_form() {
        let memory = &mut MemoryShare::default();
        for (members, members_max) in [(0, 100), (100, 100), (101, 100), (50_000, 100)] {
            let cell = set(0..members, members_max, memory);
            assert_eq!(count(&Value::from(&cell)), cell.count(), "{members}");
        }
    }

    /// A set without memory estimates with 128 registers, of which a part has 16,384.
    #[test]
    fn a_coarse_set_keeps_about_its_count() {
        for members in [1, 10, 100, 300, 1_000, 5_000, 100_000, 3_000_000] {
            let mut tight = MemoryShare::of(&Arc::new(MemoryLimit::new(0)));
            let cell = set(0..members, 100, &mut tight);
            assert!(cell.is_coarse());
            let (before, after) = (cell.count() as f64, count(&Value::from(&cell)) as f64);
            assert!(
                (after / before - 1.0).abs() < 0.15 || (after - before).abs() < 2.0,
                "{before}: {after}"
            );
        }
    }

    /// Hosts that saw the same members must not count them twice.
    #[test]
    fn coarse_sets_of_equal_members_stay_one_set() {
        let mut tight = MemoryShare::of(&Arc::new(MemoryLimit::new(0)));
        let one = Value::from(&set(0..20_000, 100, &mut tight));
        let Value::Set(mut both) = one.clone() else { panic!("a set") };
        let Value::Set(other) = Value::from(&set(0..20_000, 100, &mut tight)) else {
            panic!("a set")
        };
        both.merge(&other, 100);
        assert_eq!(both.count(), count(&one));
    }

    #[test]
    fn histograms_keep_samples_and_then_the_summary_and_quantiles() {
        for samples in [3_u32, 1_000, 20_000] {
            let mut cell = HistogramCell::new(0);
            for n in 0..samples {
                let (value, scale) = (f64::from(n) + 0.5, if n % 2 == 0 { 1.0 } else { 2.5 });
                assert!(cell.add(Sample { value, scale }));
            }
            cell.sort();
            let value = Value::from(&cell);
            let Value::Histogram(mut histogram) = value else { panic!("a histogram") };
            histogram.sort();
            let (ours, theirs) = (histogram.summary(), cell.summary());
            assert_eq!((ours.count, ours.min, ours.max), (theirs.count, theirs.min, theirs.max));
            assert!((ours.sum / theirs.sum - 1.0).abs() < 1e-12);
            assert_eq!(histogram.is_folded(), cell.is_folded());
            for rank in (0..ours.count).step_by(97) {
                let (ours, theirs) = (histogram.value_past(rank), cell.value_past(rank));
                let error = if cell.is_folded() { 0.008 } else { 0.0 };
                assert!((ours / theirs - 1.0).abs() <= error, "{rank}: {ours} for {theirs}");
            }
        }
    }

    /// The bins of a sender and those of the log: the errors of both, whatever is merged. A host that has not
    /// folded yet adds only the second.
    #[test]
    fn quantiles_of_histograms_that_their_senders_folded_are_within_2_percent() {
        const SAMPLES: u32 = 60_000;
        // Seven decades, with every place within a bin.
        let sample = |n: u32| 0.01 * (f64::from(n) / f64::from(SAMPLES) * 1e7_f64.ln()).exp();
        let mut all = Histogram::default();
        for host in 0..4 {
            let mut cell = HistogramCell::new(0);
            for n in (host..SAMPLES).step_by(4) {
                assert!(cell.add(Sample { value: sample(n), scale: 1.0 }));
            }
            cell.sort();
            assert!(cell.is_folded());
            let Value::Histogram(histogram) = Value::from(&cell) else { panic!("a histogram") };
            all.merge(&histogram);
        }
        let error = |n: u32| (all.value_past(u64::from(n)) / sample(n) - 1.0).abs();
        let largest = (0..SAMPLES).map(error).fold(0.0, f64::max);
        assert!((0.01..0.016).contains(&largest), "{largest}");
    }

    #[test]
    fn counters_and_gauges_are_their_numbers() {
        let counter = CounterCell { sum: 2.5, context: 0, write_order: 0 };
        let gauge = GaugeCell { value: -0.5, context: 0, write_order: 0 };
        assert_eq!(Value::from(&counter), Value::Counter(Sum::from(2.5)));
        assert_eq!(Value::from(&gauge), Value::Gauge(-0.5));
    }
}
