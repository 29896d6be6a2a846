//! Distributions: one Agent-compatible sketch a context and bucket (its memory is stated there).

use crate::sketch::Sketch;

/// The sketch of one distribution in one bucket.
#[derive(Clone, Debug)]
pub struct DistributionCell {
    /// Never empty once a value was recorded.
    pub sketch: Sketch,
    /// Its context.
    pub context: u32,
}

impl DistributionCell {
    pub(super) fn new(context: u32, spare: Sketch) -> Self {
        DistributionCell { sketch: spare, context }
    }

    /// The merge law: bins add. False when the sum had to be cut.
    pub fn merge(&mut self, other: &DistributionCell) -> bool {
        self.sketch.merge(&other.sketch)
    }
}
