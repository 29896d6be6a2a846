//! From a smallest to a largest value, both included.

/// From a smallest to a largest value, both included: sizes of a queue, times between flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<T> {
    /// The smallest.
    pub min: T,
    /// The largest.
    pub max: T,
}

impl<T: Copy + PartialOrd> Range<T> {
    /// The range from `min` to `max`; see [`Range::is_ordered`].
    #[must_use]
    pub const fn new(min: T, max: T) -> Self {
        Range { min, max }
    }

    /// False when the smallest is larger than the largest: no value is in such a range.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.min <= self.max
    }

    /// True for a value between both ends, the ends included.
    #[must_use]
    pub fn contains(&self, value: T) -> bool {
        self.min <= value && value <= self.max
    }

    /// The value of the range that is nearest to `value`.
    #[must_use]
    pub fn clamp(&self, value: T) -> T {
        if value < self.min {
            self.min
        } else if value > self.max {
            self.max
        } else {
            value
        }
    }

    /// The range that ends at `max`, and begins there too if it would begin later.
    #[must_use]
    pub fn reduce_max(&self, max: T) -> Self {
        Range { min: if max < self.min { max } else { self.min }, max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_belong_to_the_range() {
        let range = Range::new(2, 5);
        assert!(range.is_ordered() && !Range::new(5, 2).is_ordered());
        let contained: Vec<i32> = (0..8).filter(|value| range.contains(*value)).collect();
        assert_eq!(contained, [2, 3, 4, 5]);
        assert_eq!([1, 2, 4, 5, 6].map(|value| range.clamp(value)), [2, 2, 4, 5, 5]);
    }

    #[test]
    fn a_lower_end_never_lies_above_the_upper_one() {
        assert_eq!(Range::new(15, 60).reduce_max(30), Range::new(15, 30));
        assert_eq!(Range::new(15, 60).reduce_max(10), Range::new(10, 10));
    }
}
