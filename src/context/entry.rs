//! What the table holds of one context, and what a raw key leads to.

use std::sync::Arc;

use super::identity::Context;
use super::limits::DropReason;
use super::mapper::ProfileSettings;

/// Decisions from here on are drops; below they are context ids.
const DROP_BASE: u32 = u32::MAX - 255;

/// What a raw key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The id of a context in this shard.
    Context(u32),
    /// Never recorded.
    Drop(DropReason),
}

impl Decision {
    pub(super) fn to_number(self) -> u32 {
        match self {
            Decision::Context(id) => id,
            Decision::Drop(reason) => DROP_BASE + reason as u32,
        }
    }

    /// Reads a decision back from an alias.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        let drop = number.checked_sub(DROP_BASE).and_then(|at| DropReason::ALL.get(at as usize));
        drop.map_or(Decision::Context(number), |reason| Decision::Drop(*reason))
    }
}

/// A context that the flusher does not know yet, or not with these settings.
#[derive(Clone, Debug)]
pub struct Birth {
    /// Its id in the shard.
    pub id: u32,
    /// Its identity.
    pub context: Context,
    /// What its mapper profile changes in its posting.
    pub settings: Option<Arc<ProfileSettings>>,
}

/// One live context.
#[derive(Debug)]
pub struct Entry {
    pub(super) context: Option<Context>,
    /// The last bucket that saw it.
    pub(super) epoch: u32,
    /// Its cell in that bucket, if it has one: timestamped samples need none.
    pub(super) cell: u32,
}

/// No context.
pub(super) const NO_CONTEXT: u32 = u32::MAX;
/// No cell.
pub(super) const NO_CELL: u32 = u32::MAX;

impl Entry {
    /// Its cell in bucket `epoch`, if it has one already.
    #[inline]
    #[must_use]
    pub fn cell_in(&self, epoch: u32) -> Option<u32> {
        (self.epoch == epoch && self.cell != NO_CELL).then_some(self.cell)
    }

    /// It has this cell in bucket `epoch`.
    pub fn set_cell(&mut self, epoch: u32, cell: u32) {
        (self.epoch, self.cell) = (epoch, cell);
    }

    /// Bucket `epoch` saw it, where several are open: it lives until the latest is forgotten.
    pub fn see_latest(&mut self, epoch: u32) {
        self.epoch = self.epoch.max(epoch);
    }

    /// Bucket `epoch` saw it, and it may have no cell there.
    pub fn see(&mut self, epoch: u32) {
        if self.epoch != epoch {
            self.set_cell(epoch, NO_CELL);
        }
    }
}
