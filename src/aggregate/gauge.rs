//! Gauges: the last value. 16 bytes a context and bucket.

use super::bucket::Stamp;

/// The last value of one gauge in one bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaugeCell {
    /// Always finite.
    pub value: f64,
    /// Whose it is.
    pub context: u32,
    /// When it was written (see [`super::Stamp`]).
    pub stamp: u32,
}

impl GaugeCell {
    pub(super) fn new(context: u32) -> Self {
        GaugeCell { value: 0.0, context, stamp: 0 }
    }

    /// Sets the value at `stamp`; false when it is not finite, which changes nothing.
    #[inline(always)]
    pub(super) fn record(&mut self, value: f64, stamp: Stamp) -> bool {
        let finite = value.is_finite();
        if finite {
            (self.value, self.stamp) = (value, stamp);
        }
        finite
    }

    /// The merge law: the later value wins, at equal times that of the later lane.
    pub fn merge(&mut self, later_lane: &GaugeCell) {
        if later_lane.stamp >= self.stamp {
            (self.value, self.stamp) = (later_lane.value, later_lane.stamp);
        }
    }
}
