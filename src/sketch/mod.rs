//! The distribution sketch of the Datadog Agent: a DDSketch with its constants, keys and limits.
//!
//! In: finite values with their sample rate, and other sketches. Out: exact count, sum, average,
//! minimum and maximum, and bins that the intake merges with those of any Agent. Promise: a sketch of
//! merged parts has the bins of the whole; a value read back from its bin is off by less than 1 %;
//! never more than 4096 bins, and their sum is the count. Refusal: it knows nothing of whippet, and no
//! infinite or undefined number gets in, neither as a value nor as a sum.
//!
//! Memory per context: 96 bytes, 8 bytes per occupied bin, and 4 bytes per waiting key, at most 512 of
//! them. One value is 112 bytes in all, a latency that spreads over three decades about 6 KiB.

mod bins;
mod key;
mod written;

use std::borrow::Cow;

use crate::memory::MemoryShare;
pub use bins::COUNT_MAX;
pub(crate) use bins::{Bin, Bins};
use written::Written;

/// Bins that a sketch keeps.
const BINS_MAX: usize = 4096;

/// Distribution of values: exact summary, approximate shape. `Default` is empty and allocates
/// nothing.
///
/// ```
/// let mut sketch = whippet::sketch::Sketch::default();
/// for value in [1.0, 2.0, 2.0, 10.0] {
///     sketch.insert(value, 1.0);
/// }
/// assert_eq!(sketch.bins().collect::<Vec<_>>(), [(1338, 1), (1383, 2), (1487, 1)]);
/// assert_eq!((sketch.count(), sketch.sum(), sketch.avg()), (4, 15.0, 3.75));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sketch {
    count: u64,
    min: f64,
    max: f64,
    sum: f64,
    avg: f64,
    bins: Bins<BINS_MAX>,
}

/// The key of the bin that a finite value is counted in.
#[must_use]
pub fn key_of(value: f64) -> i16 {
    key::key(value)
}

/// The value in the middle of a bin: what is counted there is off by less than 0.8 %. Infinite for the
/// last bins of both ends, which hold what is too large for the others.
#[must_use]
pub fn value_of(key: i16) -> f64 {
    key::lower_bound(key)
}

impl Sketch {
    /// A sketch of values that were counted elsewhere: keys as [`key_of`] gives them and how often each
    /// occurred, in any order, also repeatedly; what the values add up to, the smallest and the largest.
    /// `min` and `max` are widened to hold the average, where they are estimates. Empty without a count.
    ///
    /// `None` when `sum`, `min` or `max` is not finite, or the counts pass [`COUNT_MAX`].
    ///
    /// ```
    /// use whippet::sketch::{Sketch, key_of};
    /// let sketch = Sketch::from_bins([(key_of(2.0), 2), (key_of(1.0), 1)], 5.0, 1.0, 2.0).unwrap();
    /// assert_eq!(sketch.bins().collect::<Vec<_>>(), [(1338, 1), (1383, 2)]);
    /// assert_eq!((sketch.count(), sketch.sum(), sketch.max()), (3, 5.0, 2.0));
    /// ```
    #[must_use]
    pub fn from_bins(
        bins: impl IntoIterator<Item = (i16, u64)>,
        sum: f64,
        min: f64,
        max: f64,
    ) -> Option<Sketch> {
        let mut count = 0_u64;
        let bins = bins.into_iter().filter(|(_, n)| *n > 0).map(|(key, n)| {
            count = count.saturating_add(n);
            Bin::new(key::order(key), n)
        });
        let bins: Vec<Bin> = bins.collect();
        if !(sum.is_finite() && min.is_finite() && max.is_finite()) || count > COUNT_MAX {
            return None;
        }
        if count == 0 {
            return Some(Sketch::default());
        }
        let avg = sum / count as f64;
        let (min, max) = (min.min(avg), max.max(avg));
        Some(Sketch { count, min, max, sum, avg, bins: Bins::from_list(bins) })
    }

    /// Adds one value that stands for `1 / rate` values. A rate outside `(0, 1]` counts as 1.
    ///
    /// The count grows by the whole part of `1 / rate`, the sum by `value / rate`, as in the Agent.
    /// Returns false, and changes nothing, when the value, its product with the weight, or what sum or
    /// average would become is not finite, or the count would pass [`COUNT_MAX`].
    #[inline]
    pub fn insert(&mut self, value: f64, rate: f64) -> bool {
        self.insert_within(value, rate, &mut MemoryShare::default())
    }

    /// As [`Sketch::insert`], with a limit on memory: where it is reached, keys are cut to what fits,
    /// which doubles the relative error for every bit.
    #[inline]
    pub fn insert_within(&mut self, value: f64, rate: f64, memory: &mut MemoryShare) -> bool {
        let weight = if rate > 0.0 && rate < 1.0 { 1.0 / rate } else { 1.0 };
        // At the end of the integers when it is beyond, which no count may reach.
        let added = weight as u64;
        let count = self.count.saturating_add(added);
        let sum = self.sum + value * weight;
        let avg = self.avg + (value - self.avg) * (added as f64 / count as f64);
        if !(sum.is_finite() && avg.is_finite()) || count > COUNT_MAX {
            return false;
        }
        self.widen(value, value);
        (self.count, self.sum, self.avg) = (count, sum, avg);
        self.bins.insert(key::order(key::key(value)), added, memory);
        true
    }

    /// Adds all values of `other`. The order and grouping of merges changes nothing but the last digits
    /// of sum and average. A sum beyond the range of floats stays at its end; then it returns false. So
    /// it does, and leaves `other` out, when the count would pass [`COUNT_MAX`].
    pub fn merge(&mut self, other: &Sketch) -> bool {
        self.merge_within(other, &mut MemoryShare::default())
    }

    /// As [`Sketch::merge`], with a limit on memory, as in [`Sketch::insert_within`].
    pub fn merge_within(&mut self, other: &Sketch, memory: &mut MemoryShare) -> bool {
        if other.count == 0 {
            return true;
        }
        let count = self.count.saturating_add(other.count);
        if count > COUNT_MAX {
            return false;
        }
        self.widen(other.min, other.max);
        self.count = count;
        let sum = self.sum + other.sum;
        self.sum = sum.clamp(f64::MIN, f64::MAX);
        let share = other.count as f64 / self.count as f64;
        self.avg = (self.avg * (1.0 - share) + other.avg * share).clamp(self.min, self.max);
        self.bins.merge(&other.bins, memory);
        sum.is_finite()
    }

    /// Forgets all values and keeps the allocations for the next interval.
    pub fn clear(&mut self) {
        let mut bins = std::mem::take(&mut self.bins);
        bins.clear();
        *self = Sketch { bins, ..Sketch::default() };
    }

    /// Sorts what waits into the bins, so that [`Sketch::bins`] only has to borrow them.
    pub fn finish(&mut self) {
        self.bins.settle(&mut MemoryShare::default());
    }

    /// True when keys were cut for want of memory.
    #[must_use]
    pub fn is_coarse(&self) -> bool {
        self.bins.coarse() > 0
    }

    /// Bytes of its allocations.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.bins.heap_bytes()
    }

    /// Number of values, weighted by their sample rates.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// True before the first value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The smallest value, 0 when empty.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The largest value, 0 when empty.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The weighted sum, 0 when empty.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The running average, 0 when empty. With sample rates whose inverse is not an integer it is not the
    /// sum divided by the count: the Agent cuts the count and not the sum.
    #[must_use]
    pub fn avg(&self) -> f64 {
        self.avg
    }

    /// Keys and counts, ascending by key. A count beyond 32 bits comes as several bins of one key. Costs
    /// a copy of the bins unless [`Sketch::finish`] came first.
    pub fn bins(&self) -> impl Iterator<Item = (i16, u32)> + use<'_> {
        Written::new(self.settled(), self.bins.coarse())
    }

    /// An estimate of the `q`-quantile for a display here; the intake computes its own. `None` when
    /// empty.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        if q <= 0.0 {
            return Some(self.min);
        }
        if q >= 1.0 {
            return Some(self.max);
        }
        let wanted = (q * (self.count - 1) as f64).round_ties_even();
        let mut seen = 0.0;
        for (place, bin) in self.settled().iter().enumerate() {
            let count = bin.count() as f64;
            seen += count;
            if seen > wanted {
                let low = key::lower_bound(key::of_order(bin.order(), self.bins.coarse()));
                let high = low * key::GAMMA;
                let low = if place == 0 { self.min } else { low };
                let share = (seen - wanted) / count;
                return Some((low * share + high * (1.0 - share)).clamp(self.min, self.max));
            }
        }
        Some(self.max)
    }

    #[inline]
    fn widen(&mut self, min: f64, max: f64) {
        if self.count == 0 {
            (self.min, self.max) = (min, max);
        } else {
            self.min = self.min.min(min);
            self.max = self.max.max(max);
        }
    }

    /// All bins, as if nothing waited.
    fn settled(&self) -> Cow<'_, [Bin]> {
        if self.bins.is_settled() {
            return Cow::Borrowed(self.bins.list());
        }
        let mut copy = self.clone();
        copy.finish();
        Cow::Owned(copy.bins.list().to_vec())
    }
}

/// Equal summaries and equal bins; what waits counts as sorted in.
impl PartialEq for Sketch {
    fn eq(&self, other: &Sketch) -> bool {
        let summary =
            |sketch: &Sketch| (sketch.count, sketch.min, sketch.max, sketch.sum, sketch.avg);
        summary(self) == summary(other) && self.settled() == other.settled()
    }
}

#[cfg(test)]
mod tests;
