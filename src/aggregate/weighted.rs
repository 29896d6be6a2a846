//! Samples whose sum has to be watched: those with a sample rate, and huge ones.

use super::sample::{Sample, Summary};

/// Samples of any weight and size, and what they sum up to.
#[derive(Clone, Debug)]
pub(super) struct Weighted {
    pub summary: Summary,
    pub list: Vec<Sample>,
}

impl Weighted {
    /// False, and nothing changes, when the sum would leave the finite numbers or the count its range.
    pub fn push(&mut self, sample: Sample) -> bool {
        let taken = self.summary.add(sample);
        if taken {
            self.list.push(sample);
        }
        taken
    }
}

impl Default for Weighted {
    fn default() -> Self {
        Weighted { summary: Summary::EMPTY, list: Vec::new() }
    }
}
