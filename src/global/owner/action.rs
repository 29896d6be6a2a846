//! What an owner asks for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::forward::Lease;
use crate::part::{Key, Merged, MergedSeries, SeriesNumber, Style};

use super::ids::{PostingId, RepairId};

/// One thing to do. What cannot be done is answered by an event, or simply does not happen: a barrier
/// that fails is asked for again.
#[derive(Debug)]
pub enum Action {
    /// Append this record to the partition.
    Barrier {
        /// The partition.
        partition: u32,
        /// The value of the record; it has no key.
        record: Vec<u8>,
    },
    /// Post these values, and answer once with [`super::Event::Answered`]. Two postings of one interval are
    /// never under way at a time.
    Post(Posting),
    /// Drop what is queued of the partition; its lease is withdrawn already.
    Withdraw {
        /// The partition.
        partition: u32,
    },
    /// Commit this offset: the next record to be read by whoever owns the partition next. Answered with
    /// [`super::Event::Committed`].
    Commit {
        /// The partition.
        partition: u32,
        /// The offset.
        offset: i64,
    },
    /// Read no more records of the partition, but keep polling.
    Pause {
        /// The partition.
        partition: u32,
    },
    /// Read it again.
    Resume {
        /// The partition.
        partition: u32,
    },
    /// Read a piece of the partition once more with another consumer, and give its records as
    /// [`super::Event::RepairRecord`], then [`super::Event::RepairDone`], always.
    ReadRepair {
        /// The number of the pass.
        repair: RepairId,
        /// The partition.
        partition: u32,
        /// Begin with the first record of this time or later (Unix, in milliseconds), or earlier: where
        /// the broker gives no or an odd answer, with the oldest record.
        from: Duration,
        /// End before this offset.
        until: i64,
    },
    /// Nobody waits for this pass any more.
    CancelRepair {
        /// The number of the pass.
        repair: RepairId,
    },
    /// Leave the group at once: everything before it in the list is committed and withdrawn.
    Leave,
    /// Worth a line in the log.
    Notice(Notice),
}

/// Values of one partition at one second.
#[derive(Debug)]
pub struct Posting {
    /// Its number, for the answer.
    pub id: PostingId,
    /// The partition.
    pub partition: u32,
    /// The second they are posted at: the start of the interval, Unix.
    pub start: u64,
    /// The length of the interval in seconds.
    pub interval: u32,
    /// They leave for the intake only while it holds.
    pub lease: Arc<Lease>,
    merged: Arc<Merged>,
    /// `None`: every series.
    chosen: Option<Vec<SeriesNumber>>,
    zeros: Vec<Zero>,
}

/// A counter that had values lately and has none in this interval.
#[derive(Clone, Debug)]
pub(super) struct Zero {
    pub key: Key,
    /// Of its last value; `None`: the owner's settings.
    pub style: Option<Arc<Style>>,
}

/// The whole value of one series in one interval.
#[derive(Clone, Copy, Debug)]
pub enum PostRow<'a> {
    /// What all parts of the interval merge to.
    Series(MergedSeries<'a>),
    /// The counter `key` is 0, posted in the style of its last value (`None`: of the owner's settings).
    Zero {
        /// Name and tags.
        key: &'a Key,
        /// How it is posted.
        style: Option<&'a Style>,
    },
}

impl Posting {
    pub(super) fn new(
        (id, lease): (PostingId, Arc<Lease>),
        (partition, start, interval): (u32, u64, u32),
        merged: Arc<Merged>,
        chosen: Option<Vec<SeriesNumber>>,
        zeros: Vec<Zero>,
    ) -> Posting {
        Posting { id, partition, start, interval, lease, merged, chosen, zeros }
    }

    /// The series, each once. Drop the posting once they are encoded: while it lives, a later part of the
    /// interval copies its state.
    pub fn rows(&self) -> impl Iterator<Item = PostRow<'_>> {
        let count = self.chosen.as_ref().map_or(self.merged.len(), Vec::len);
        let number = |at: usize| match &self.chosen {
            Some(numbers) => numbers[at],
            None => at as SeriesNumber,
        };
        let series = (0..count).filter_map(move |at| self.merged.series_at(number(at)));
        let zeros = self.zeros.iter();
        series
            .map(PostRow::Series)
            .chain(zeros.map(|zero| PostRow::Zero { key: &zero.key, style: zero.style.as_deref() }))
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chosen.as_ref().map_or(self.merged.len(), Vec::len) + self.zeros.len()
    }

    /// True without any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a sender differs so much that its parts are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// Its `global_partitions`, and ours.
    Partitions {
        /// Of the part.
        its: u32,
        /// Of this owner.
        ours: u32,
    },
    /// A part stands in another partition than it names.
    Place,
    /// Its interval, and ours, in seconds.
    Interval {
        /// Of the part.
        its: u32,
        /// Of this owner.
        ours: u32,
    },
    /// Its interval does not begin at a multiple of its length.
    Unaligned,
    /// Its interval ends too far ahead of our clock.
    Future {
        /// Seconds.
        ahead: u64,
    },
}

impl Differs {
    /// The reason that its parts are counted under.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Differs::Partitions { .. } | Differs::Place => "partition",
            Differs::Interval { .. } | Differs::Unaligned => "interval",
            Differs::Future { .. } => "future",
        }
    }
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Differs::Partitions { its, ours } => {
                write!(f, "its global_partitions is {its}, here it is {ours}; set the same on both")
            }
            Differs::Place => f.write_str("a part stands in another partition than it names"),
            Differs::Interval { its, ours } => {
                write!(f, "its interval is {its} s, here it is {ours} s; set the same on both")
            }
            Differs::Unaligned => {
                f.write_str("its interval does not begin at a multiple of its length")
            }
            Differs::Future { ahead } => {
                write!(
                    f,
                    "its interval ends {ahead} s after this second; set its clock right, or this one"
                )
            }
        }
    }
}

/// What a person should know.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A record of a newer format: the partition is not read any further.
    Held {
        /// The partition.
        partition: u32,
        /// Where the record stands.
        offset: i64,
    },
    /// A sender's clock differs from this one by more than 5 s, or more than doubled that since it was said.
    SenderSkewed {
        /// The name it gives itself.
        host: String,
        /// Seconds; positive: it is ahead.
        skew: f64,
    },
    /// Parts of a sender do not belong here, since its settings or its clock differ from ours. Not
    /// repeated while the reason is the same.
    SenderRefused {
        /// The name it gives itself.
        host: String,
        /// How it differs.
        why: Differs,
    },
    /// Unsettled state is beyond the memory limit: reading pauses.
    MemoryPaused {
        /// Bytes in use.
        bytes: usize,
    },
    /// Below 80 % of the limit: reading goes on.
    MemoryResumed {
        /// Bytes in use.
        bytes: usize,
    },
    /// Late parts whose records could not all be read again: their series are not posted.
    RepairFailed {
        /// The partition.
        partition: u32,
        /// Parts that were given up.
        parts: u64,
    },
}
