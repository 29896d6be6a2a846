//! One sample of a histogram, and what is known exactly of many.

use crate::sketch::COUNT_MAX;

/// One sample as it was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Finite.
    pub value: f64,
    /// 1 / sample rate, at least 1; the product with the value is finite.
    pub scale: f64,
}

impl Sample {
    /// How many samples it stands for: truncated, as released Agents do.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.scale as u64
    }
}

/// What count, sum and extremes say; all of them exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Σ weight.
    pub count: u64,
    /// Σ value / rate, not truncated.
    pub sum: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
}

impl Summary {
    pub(super) const EMPTY: Summary =
        Summary { count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

    /// False, and nothing changes, when the sum would leave the finite numbers or the count pass
    /// [`COUNT_MAX`].
    #[inline]
    pub(super) fn add(&mut self, sample: Sample) -> bool {
        let sum = self.sum + sample.value * sample.scale;
        let count = self.count.saturating_add(sample.weight());
        let taken = sum.is_finite() && count <= COUNT_MAX;
        if taken {
            (self.sum, self.count) = (sum, count);
            self.min = self.min.min(sample.value);
            self.max = self.max.max(sample.value);
        }
        taken
    }

    /// True when the counts of both together stay within [`COUNT_MAX`].
    pub(super) fn can_merge(&self, other: &Summary) -> bool {
        self.count.saturating_add(other.count) <= COUNT_MAX
    }

    /// A sum beyond the range of floats stays at its end; then it returns false.
    pub(super) fn merge(&mut self, other: &Summary) -> bool {
        let sum = self.sum + other.sum;
        self.sum = sum.clamp(f64::MIN, f64::MAX);
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        sum.is_finite()
    }

    /// sum / count, 0 when there is nothing.
    #[must_use]
    pub fn average(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }
}
