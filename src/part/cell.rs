//! One mergeable value of one series in one bucket.

use super::histogram::Histogram;
use super::key::Key;
use super::set::Set;
use super::sum::Sum;
use crate::context::Kind;

/// A value on its way to the owner of its series.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell<K = Key> {
    /// Its series: a [`Key`], or a [`KeyRef`](super::KeyRef) where it was just read.
    pub key: K,
    /// Milliseconds from the start of the bucket to the last write.
    pub stamp: u32,
    /// The place of its style in [`Head::styles`](super::Head::styles), from 1; 0 for the owner's settings.
    pub style: u32,
    /// What was recorded.
    pub value: Value,
}

/// What was recorded, by kind. Every kind merges in any order and grouping to the same bits.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Adds.
    Counter(Sum),
    /// The later write wins.
    Gauge(f64),
    /// Unites.
    Set(Set),
    /// Joins.
    Histogram(Histogram),
}

impl Value {
    /// Its kind; never a distribution.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Value::Counter(_) => Kind::Counter,
            Value::Gauge(_) => Kind::Gauge,
            Value::Set(_) => Kind::Set,
            Value::Histogram(_) => Kind::Histogram,
        }
    }

    /// Heap bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Value::Counter(sum) => sum.heap_bytes(),
            Value::Gauge(_) => 0,
            Value::Set(set) => set.heap_bytes(),
            Value::Histogram(histogram) => histogram.heap_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_two_words() {
        assert_eq!(size_of::<Value>(), 24);
    }
}
