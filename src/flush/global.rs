//! Cells of global contexts: they leave the bucket before anything of it is posted, and go to the owners of
//! their series. Nothing here is continued with zeros, competes with another kind or is handed over: the
//! owner decides all that, knowing what every host sent.

use super::overrides::KnownScope;
use super::registry::Registry;
use crate::aggregate::{Bucket, CounterCell, GaugeCell, HistogramCell, SetCell};

/// The cells of one bucket that owners post.
#[derive(Debug, Default)]
pub(super) struct GlobalCells {
    pub counters: Vec<CounterCell>,
    pub gauges: Vec<GaugeCell>,
    pub sets: Vec<SetCell>,
    pub histograms: Vec<HistogramCell>,
    /// Cells that no owner can take, because a name or tag holds a newline.
    pub unsendable: u64,
}

impl GlobalCells {
    /// Takes them out of a merged bucket.
    pub fn take_from(bucket: &mut Bucket, registry: &Registry) -> Self {
        let mut unsendable = 0;
        let mut is_global = |number: u32| match registry.scope(number) {
            KnownScope::Local => false,
            KnownScope::Global => true,
            KnownScope::Unsendable => {
                unsendable += 1;
                true
            }
        };
        let mut cells = GlobalCells {
            counters: bucket.counters.extract_if(.., |cell| is_global(cell.context)).collect(),
            gauges: bucket.gauges.extract_if(.., |cell| is_global(cell.context)).collect(),
            sets: bucket.sets.extract_if(.., |cell| is_global(cell.context)).collect(),
            histograms: bucket.histograms.extract_if(.., |cell| is_global(cell.context)).collect(),
            unsendable: 0,
        };
        cells.unsendable = unsendable;
        cells
    }

    /// Gives them back to their bucket, which reuses the memory.
    pub fn give_back(mut self, bucket: &mut Bucket) {
        bucket.counters.append(&mut self.counters);
        bucket.gauges.append(&mut self.gauges);
        bucket.sets.append(&mut self.sets);
        bucket.histograms.append(&mut self.histograms);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.counters.len() + self.gauges.len() + self.sets.len() + self.histograms.len()
    }
}
