//! Counters: one sum. 16 bytes a context and bucket.

use super::write_order::WriteOrder;

/// The sum of one counter in one bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CounterCell {
    /// Sample-rate corrected, always finite.
    pub sum: f64,
    /// Its context.
    pub context: u32,
    /// When it was last written (see [`super::WriteOrder`]).
    pub write_order: u32,
}

impl CounterCell {
    pub(super) fn new(context: u32) -> Self {
        CounterCell { sum: 0.0, context, write_order: 0 }
    }

    /// Adds; false when the sum would leave the finite numbers, which changes nothing.
    #[inline]
    pub fn add(&mut self, value: f64) -> bool {
        let sum = self.sum + value;
        if sum.is_finite() {
            self.sum = sum;
        }
        sum.is_finite()
    }

    /// Adds in `write_order`; false as in [`CounterCell::add`].
    #[inline(always)]
    pub(super) fn record(&mut self, value: f64, write_order: WriteOrder) -> bool {
        let added = self.add(value);
        if added {
            self.write_order = write_order;
        }
        added
    }

    /// The merge law: sums add. False when the other sum was left out, because the whole would leave
    /// the finite numbers.
    pub fn merge(&mut self, other: &CounterCell) -> bool {
        self.write_order = self.write_order.max(other.write_order);
        self.add(other.sum)
    }
}
