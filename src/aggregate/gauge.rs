//! Gauges: the last value. 16 bytes a context and bucket.

use super::write_order::WriteOrder;

/// The last value of one gauge in one bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaugeCell {
    /// Always finite.
    pub value: f64,
    /// Its context.
    pub context: u32,
    /// When it was written (see [`super::WriteOrder`]).
    pub write_order: u32,
}

impl GaugeCell {
    pub(super) fn new(context: u32) -> Self {
        GaugeCell { value: 0.0, context, write_order: 0 }
    }

    /// Sets the value in `write_order`; false when it is not finite, which changes nothing.
    #[inline(always)]
    pub(super) fn record(&mut self, value: f64, write_order: WriteOrder) -> bool {
        let finite = value.is_finite();
        if finite {
            (self.value, self.write_order) = (value, write_order);
        }
        finite
    }

    /// The merge law: the later value wins, at equal times that of the later lane.
    pub fn merge(&mut self, later_lane: &GaugeCell) {
        if later_lane.write_order >= self.write_order {
            (self.value, self.write_order) = (later_lane.value, later_lane.write_order);
        }
    }
}
