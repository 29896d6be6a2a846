//! What the partitions of an owner have in common.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use crate::forward::Lease;
use crate::part::{Merged, SeriesNumber, Unpacker};

use super::accounting::OwnerAccounting;
use super::action::{Action, Posting, Zero};
use super::event::Now;
use super::ids::PostingId;
use super::senders::Senders;
use super::settings::OwnerSettings;

/// Whose values a posting holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Interval { partition: u32, start: u64 },
    Repair { partition: u32, start: u64 },
}

impl Place {
    pub fn partition(self) -> u32 {
        match self {
            Place::Interval { partition, .. } | Place::Repair { partition, .. } => partition,
        }
    }

    fn start(self) -> u64 {
        match self {
            Place::Interval { start, .. } | Place::Repair { start, .. } => start,
        }
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    pub settings: OwnerSettings,
    /// Of this process, in its barriers.
    pub id: [u8; 16],
    pub state: RandomState,
    pub accounting: OwnerAccounting,
    pub senders: Senders,
    pub unpacker: Unpacker,
    /// Postings without an answer.
    pub postings: BTreeMap<PostingId, Place>,
    /// Reading is paused for memory.
    pub paused: bool,
    pub next_posting: u64,
    pub next_barrier: u32,
}

impl Shared {
    pub fn post(
        &mut self,
        place: Place,
        lease: &Arc<Lease>,
        merged: &Arc<Merged>,
        chosen: Option<Vec<SeriesNumber>>,
        zeros: Vec<Zero>,
        out: &mut Vec<Action>,
    ) -> PostingId {
        let id = PostingId(self.next_posting);
        self.next_posting += 1;
        self.postings.insert(id, place);
        self.accounting.zeros += zeros.len() as u64;
        let at = (place.partition(), place.start(), self.settings.interval);
        let merged = Arc::clone(merged);
        out.push(Action::Post(Posting::new((id, Arc::clone(lease)), at, merged, chosen, zeros)));
        id
    }

    /// True when the interval ended longer ago than the intake is told of.
    pub fn is_too_old(&self, start: u64, now: Now) -> bool {
        self.settings.end(start) + self.settings.late_max < now.wall
    }

    pub fn interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.settings.interval))
    }
}
