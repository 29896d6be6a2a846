//! What one key gathers in one interval, and the series it becomes.
//!
//! The first call of an interval chooses the kind; later calls of any kind feed it.
//!
//! Memory per key and interval: a gauge or counter fits the cell itself; a set holds its distinct
//! members, a distribution 16 bytes per value, a histogram at most [`SLOTS`] samples (16 KiB).

use super::member::{Member, Members};
use super::number::{Number, Sum};
use super::series::{PointValue, SeriesType};

/// Samples a histogram stores; past it every new sample overwrites a random one. This favours recent
/// samples and is not a fair reservoir, as in datadogpy (`histogram sample size`).
pub(crate) const SLOTS: usize = 1000;

const PERCENTILES: [(f64, &str); 4] = [
    (0.75, ".75percentile"),
    (0.85, ".85percentile"),
    (0.95, ".95percentile"),
    (0.99, ".99percentile"),
];

/// Which handler a call asks for; it only matters for the first call of a key in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Gauge,
    Counter,
    Set,
    Distribution,
    Histogram,
}

#[derive(Debug)]
pub(crate) enum Cell {
    Gauge(Number),
    Counter(Sum),
    Set(Members),
    Distribution(Vec<Number>),
    Histogram(Box<Histogram>),
}

impl Cell {
    /// An empty cell; the caller feeds it its first value at once.
    pub(crate) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Gauge => Cell::Gauge(Number::Int(0)),
            Kind::Counter => Cell::Counter(Sum::ZERO),
            Kind::Set => Cell::Set(Members::default()),
            Kind::Distribution => Cell::Distribution(Vec::new()),
            Kind::Histogram => Cell::Histogram(Box::default()),
        }
    }

    /// True when taking `value` would make the cell grow without a bound of its own.
    pub(crate) fn grows_with(&self, value: Member<'_>) -> bool {
        match self {
            Cell::Set(members) => !members.contains(value),
            Cell::Distribution(_) => true,
            Cell::Gauge(_) | Cell::Counter(_) | Cell::Histogram(_) => false,
        }
    }

    /// Values and members that count against the client's bound.
    pub(crate) fn held(&self) -> usize {
        match self {
            Cell::Set(members) => members.len(),
            Cell::Distribution(values) => values.len(),
            Cell::Gauge(_) | Cell::Counter(_) | Cell::Histogram(_) => 0,
        }
    }

    /// Takes a number; `slot` gives a random number below its argument.
    pub(crate) fn feed(&mut self, value: Number, slot: impl FnOnce(usize) -> usize) {
        match self {
            Cell::Gauge(last) => *last = value,
            Cell::Counter(sum) => sum.add(value),
            Cell::Set(members) => members.insert(Member::Number(value)),
            Cell::Distribution(values) => values.push(value),
            Cell::Histogram(histogram) => histogram.add(value, slot),
        }
    }

    /// Hands every series of the cell to `emit` in the order reports list them: the suffix of the
    /// name, the type, the value. `roll_up` is the width of the interval in seconds.
    pub(crate) fn into_series(
        self,
        roll_up: Number,
        mut emit: impl FnMut(&'static str, SeriesType, PointValue),
    ) {
        match self {
            Cell::Gauge(value) => emit("", SeriesType::Gauge, value.into()),
            Cell::Counter(sum) => emit("", SeriesType::Rate, per_second(sum.as_f64(), roll_up)),
            Cell::Set(members) => {
                emit("", SeriesType::Gauge, Number::from(members.len()).into());
            }
            Cell::Distribution(values) => {
                emit("", SeriesType::Distribution, PointValue::List(values));
            }
            Cell::Histogram(histogram) => histogram.into_series(roll_up, emit),
        }
    }
}

fn per_second(sum: f64, roll_up: Number) -> PointValue {
    Number::Float(sum / roll_up.as_f64()).into()
}

/// Exact count, sum, minimum and maximum; percentiles from the stored samples.
#[derive(Debug)]
pub(crate) struct Histogram {
    min: Number,
    max: Number,
    count: u64,
    sum: Sum,
    samples: Vec<Number>,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            min: Number::Float(f64::INFINITY),
            max: Number::Float(f64::NEG_INFINITY),
            count: 0,
            sum: Sum::ZERO,
            samples: Vec::new(),
        }
    }
}

impl Histogram {
    fn add(&mut self, value: Number, slot: impl FnOnce(usize) -> usize) {
        // An equal value replaces the earlier one: of 1 and 1.0 the later spelling is reported.
        if self.max.cmp_value(value).is_le() {
            self.max = value;
        }
        if self.min.cmp_value(value).is_ge() {
            self.min = value;
        }
        self.count += 1;
        self.sum.add(value);
        if self.samples.len() < SLOTS {
            self.samples.push(value);
        } else {
            // Whatever the injected source returns, the index stays inside the store.
            self.samples[slot(SLOTS) % SLOTS] = value;
        }
    }

    fn into_series(
        mut self,
        roll_up: Number,
        mut emit: impl FnMut(&'static str, SeriesType, PointValue),
    ) {
        if self.samples.is_empty() {
            return;
        }
        let count = self.count as f64;
        emit(".min", SeriesType::Gauge, self.min.into());
        emit(".max", SeriesType::Gauge, self.max.into());
        emit(".count", SeriesType::Rate, per_second(count, roll_up));
        emit(".avg", SeriesType::Gauge, Number::Float(self.sum.as_f64() / count).into());
        self.samples.sort_by(|a, b| a.cmp_value(*b));
        for (quantile, suffix) in PERCENTILES {
            let index = percentile_index(quantile, self.samples.len());
            emit(suffix, SeriesType::Gauge, self.samples[index].into());
        }
    }
}

/// Halves round to the even index: the model's reference rounds that way, so `round` would differ
/// at 2, 6, 10 … samples.
fn percentile_index(quantile: f64, samples: usize) -> usize {
    let index = (quantile * samples as f64 - 1.0).round_ties_even();
    (index.max(0.0) as usize).min(samples - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn indexes(samples: usize, expect: [usize; 4]) {
        assert_eq!(PERCENTILES.map(|(p, _)| percentile_index(p, samples)), expect, "n = {samples}");
    }

    #[test]
    fn percentile_indexes_round_halves_to_even() {
        indexes(1, [0, 0, 0, 0]);
        indexes(2, [0, 1, 1, 1]);
        indexes(3, [1, 2, 2, 2]);
        indexes(4, [2, 2, 3, 3]);
        indexes(5, [3, 3, 4, 4]);
        indexes(6, [4, 4, 5, 5]);
        indexes(8, [5, 6, 7, 7]);
        indexes(10, [6, 8, 8, 9]);
        indexes(20, [14, 16, 18, 19]);
        indexes(100, [74, 84, 94, 98]);
        indexes(1000, [749, 849, 949, 989]);
    }

    #[test]
    fn every_sample_past_the_store_overwrites_the_slot_it_is_given() {
        let mut histogram = Histogram::default();
        (0..1000).for_each(|value| histogram.add(Number::Int(value), |_| unreachable!()));
        histogram.add(Number::Int(-7), |below| {
            assert_eq!(below, SLOTS);
            3
        });
        histogram.add(Number::Int(-8), |_| SLOTS + 3); // an unruly source stays inside
        assert_eq!(histogram.samples.len(), SLOTS);
        assert_eq!(histogram.samples[3], Number::Int(-8));
        assert_eq!((histogram.min, histogram.max), (Number::Int(-8), Number::Int(999)));
        assert_eq!(histogram.count, 1002);
    }

    #[test]
    fn of_equal_extremes_the_later_spelling_is_reported() {
        let mut histogram = Histogram::default();
        histogram.add(Number::Int(1), |_| 0);
        histogram.add(Number::Float(1.0), |_| 0);
        assert_eq!((histogram.min, histogram.max), (Number::Float(1.0), Number::Float(1.0)));
    }
}
