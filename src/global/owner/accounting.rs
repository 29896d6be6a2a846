//! What became of every part and cell that was read. It balances after every event:
//!
//! ```text
//! read = merged + duplicate + late (waiting, repaired, unrepaired, handed over) + too_old + refused (reasons)
//! ```

use std::collections::BTreeMap;
use std::ops::{AddAssign, SubAssign};

use crate::part::Head;

/// Parts, and the cells in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Records of the log that are no barrier.
    pub parts: u64,
    /// Cells in them; none of a record that cannot be read.
    pub cells: u64,
}

impl Count {
    pub(super) fn of(head: &Head) -> Count {
        Count { parts: 1, cells: u64::from(head.cells) }
    }

    /// A record that cannot be read.
    pub(super) const UNREADABLE: Count = Count { parts: 1, cells: 0 };
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.parts += other.parts;
        self.cells += other.cells;
    }
}

impl SubAssign for Count {
    fn sub_assign(&mut self, other: Count) {
        self.parts -= other.parts;
        self.cells -= other.cells;
    }
}

/// The accounting of an owner since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerAccounting {
    /// Read from the log, replays included.
    pub read: Count,
    /// Merged into an interval.
    pub merged: Count,
    /// Read before: the same sender, bucket, partition and sequence.
    pub duplicate: Count,
    /// Came after their interval was settled, or before this owner had all of it; waiting for a repair.
    pub late_waiting: Count,
    /// Rebuilt with all else of their interval and posted.
    pub late_repaired: Count,
    /// Not posted, because the log did not give them a second time.
    pub late_unrepaired: Count,
    /// Waited when their partition was given away: its next owner reads them again.
    pub late_handed_over: Count,
    /// Of an interval that ended longer ago than the intake is told of; not posted.
    pub too_old: Count,
    /// Not understood or not ours, by reason.
    pub refused: BTreeMap<&'static str, Count>,

    /// Late parts in all: those that waited for a repair.
    pub late: Count,
    /// Postings of changed series after the first post of their interval, repairs among them.
    pub corrections: u64,
    /// Postings that were due and withheld because the lease had ended.
    pub fenced: u64,
    /// Times that partitions came or went.
    pub rebalances: u64,
    /// Barriers appended.
    pub barriers: u64,
    /// Series of one interval that came in two kinds: the one written later is posted.
    pub type_conflicts: u64,
    /// Zeros posted.
    pub zeros: u64,
    /// Postings that some endpoint did not take for good.
    pub given_up: u64,
    /// Repair passes begun.
    pub repairs: u64,
    /// Intervals whose cells were given up for memory and read again.
    pub given_to_repair: u64,
}

impl OwnerAccounting {
    pub(super) fn refuse(&mut self, reason: &'static str, count: Count) {
        *self.refused.entry(reason).or_default() += count;
    }

    /// True when everything that was read is accounted for, in parts and in cells.
    #[must_use]
    pub fn balances(&self) -> bool {
        let mut sum = self.merged;
        for count in [
            self.duplicate,
            self.late_waiting,
            self.late_repaired,
            self.late_unrepaired,
            self.late_handed_over,
            self.too_old,
        ] {
            sum += count;
        }
        self.refused.values().for_each(|count| sum += *count);
        sum == self.read
    }
}

/// How an owner stands at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnerGauges {
    /// Partitions owned.
    pub partitions_owned: usize,
    /// Of them, not read any further because of a record of a newer format.
    pub partitions_held: usize,
    /// Intervals with parts that are not settled.
    pub intervals_open: usize,
    /// Late parts that wait for a repair.
    pub late_parts_waiting: u64,
    /// Seconds since the oldest unsettled interval ended.
    pub oldest_unsettled_seconds: f64,
    /// Bytes of unsettled state.
    pub memory_bytes: usize,
    /// True while reading is paused for memory.
    pub is_paused: bool,
    /// Counters that may get zeros.
    pub counters_alive: usize,
    /// Seconds that the sender's clock that is furthest off differs; positive: it is ahead.
    pub sender_skew_seconds: f64,
}
