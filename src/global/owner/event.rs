//! What an owner is told.

use std::time::Duration;

use crate::forward::PostingFate;

use super::ids::{PostingId, RepairId};

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since the Unix epoch: decides when an interval has ended.
    pub wall: Duration,
    /// Never goes back: decides how long ago something was.
    pub monotonic: Duration,
}

/// One thing that happened. Records come in the order of the log, each partition on its own.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The group gave this process a partition.
    Assigned {
        /// Its number.
        partition: u32,
        /// The committed offset, where reading begins. `None`: nothing was ever committed, reading
        /// begins with the oldest record.
        from: Option<i64>,
    },
    /// The group takes a partition back and waits until this is handled: its last commit may still
    /// be made.
    Revoked {
        /// Its number.
        partition: u32,
    },
    /// The partition was taken without asking, after a stall: it may have a new owner already.
    Lost {
        /// Its number.
        partition: u32,
    },
    /// The next record.
    Record {
        /// Where it was read.
        partition: u32,
        /// Its offset.
        offset: i64,
        /// Its value; empty when it has none.
        bytes: &'a [u8],
    },
    /// The answer to an [`super::Action::Commit`] of that offset. Answers come in the order of the commits.
    Committed {
        /// The partition.
        partition: u32,
        /// The offset that was to be committed.
        offset: i64,
        /// False: refused or failed.
        acknowledged: bool,
    },
    /// What became of an [`super::Action::Post`], at every endpoint together.
    Answered {
        /// The posting.
        posting: PostingId,
        /// Its fate.
        fate: PostingFate,
    },
    /// A record that a repair pass read, in the order of the log.
    RepairRecord {
        /// The pass.
        repair: RepairId,
        /// Its offset.
        offset: i64,
        /// Its value.
        bytes: &'a [u8],
    },
    /// A repair pass has ended.
    RepairDone {
        /// The pass.
        repair: RepairId,
        /// True when every record from its beginning to its end was read.
        complete: bool,
    },
    /// Time has passed. Everything that waits for a time or a barrier is looked at here: at least every
    /// 100 ms, and after each batch of records.
    Tick,
    /// The process ends: commit, withdraw, leave.
    Stop,
}
