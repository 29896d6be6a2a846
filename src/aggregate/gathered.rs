//! Plain samples past those that are kept: gathered in a short list and counted some hundred at a time.
//!
//! Why: a sample that looks for its place among the counts of its histogram finds them in no cache when
//! hundreds of timers take turns. The end of a short list is one cache line, and the counts are loaded
//! once for all of the list.

use super::folded::Folded;
use super::sample::{Sample, Summary};
use crate::memory::MemoryShare;

/// Samples counted together: as many bytes as 512 waiting keys of a [`Folded`] without a list.
pub(super) const GATHERED_MAX: usize = 256;

/// A folded histogram behind a list of samples, none of which has a weight or a sum to be watched.
#[derive(Clone, Debug)]
pub(super) struct Gathered {
    /// Ready for a full list: its sum and its count stay in their range with one.
    folded: Box<Folded>,
    /// Those in front wait; the cell knows how many, so that a sample touches nothing else here.
    pub values: [f64; GATHERED_MAX],
}

impl Default for Gathered {
    fn default() -> Self {
        Gathered { folded: Box::new(Folded::new()), values: [0.0; GATHERED_MAX] }
    }
}

impl Gathered {
    /// Counts plain samples at once, also more than the list takes. False when a further list might
    /// leave the range of the sum or the count: then gathering must end.
    pub fn count_all(&mut self, values: &[f64], memory: &mut MemoryShare) -> bool {
        let mut room = true;
        for values in values.chunks(GATHERED_MAX) {
            self.folded.add_plain(values, memory);
            room = self.folded.has_room_for_plain(GATHERED_MAX);
        }
        room
    }

    /// Counts the first `waiting` of the list; false as in [`Gathered::count_all`].
    pub fn settle(&mut self, waiting: u32, memory: &mut MemoryShare) -> bool {
        let Gathered { folded, values } = self;
        folded.add_plain(&values[..waiting as usize], memory);
        folded.has_room_for_plain(GATHERED_MAX)
    }

    /// What was counted, without the list.
    pub fn folded(&self) -> &Folded {
        &self.folded
    }

    /// Ends gathering; the list must be settled.
    pub fn into_folded(self) -> Box<Folded> {
        self.folded
    }

    /// The summary of what was counted and the first `waiting` of the list.
    pub fn summary(&self, waiting: u32) -> Summary {
        let mut summary = self.folded.summary();
        for value in &self.values[..waiting as usize] {
            let taken = summary.add(Sample { value: *value, scale: 1.0 });
            debug_assert!(taken, "there was room for a list");
        }
        summary
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.folded.clear();
    }

    /// Bytes of its allocations, its own included.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Gathered>() + self.folded.heap_bytes()
    }
}
