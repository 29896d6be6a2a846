//! One interval of a partition that is not settled: its merged cells, and how far it is posted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use crate::part::{KeyPool, KeyRef, Merged, Part, PartId, SeriesNumber};

use super::accounting::Count;
use super::barrier::Due;
use super::ids::PostingId;
use super::settings::{CORRECTION_COALESCE, OwnerSettings};

/// What a set of identities takes for each.
pub(super) const ID_BYTES: usize = size_of::<PartId>() + 8;

#[derive(Debug)]
pub(super) struct Interval {
    pub merged: Arc<Merged>,
    pub ids: HashSet<PartId, RandomState>,
    /// Of its first part; `None` while there is none, and only zeros are posted.
    pub first_offset: Option<i64>,
    /// When its first part was read, on the monotonic clock.
    first_arrival: Duration,
    /// Parts and cells that were merged into it.
    pub count: Count,
    /// Its first post has left.
    pub posted: bool,
    pub unanswered: Option<PostingId>,
    /// Its cells were given up for memory: a repair reads them again.
    pub given_to_repair: bool,
    /// A due post was withheld because the lease had ended.
    pub fenced: bool,
    /// Series that changed since they were posted, and since when.
    touched: HashSet<SeriesNumber, RandomState>,
    touched_since: Duration,
}

impl Interval {
    pub fn new(settings: &OwnerSettings, state: &RandomState) -> Interval {
        Interval {
            merged: Arc::new(Merged::new(settings.set_members_max, state.clone())),
            ids: HashSet::with_hasher(state.clone()),
            first_offset: None,
            first_arrival: Duration::ZERO,
            count: Count::default(),
            posted: false,
            unanswered: None,
            given_to_repair: false,
            fenced: false,
            touched: HashSet::with_hasher(state.clone()),
            touched_since: Duration::ZERO,
        }
    }

    /// Takes in a part that is not there yet.
    pub fn merge(
        &mut self,
        part: Part<KeyRef<'_>>,
        offset: i64,
        now: Duration,
        keys: &mut KeyPool,
    ) {
        self.ids.insert(part.head.id());
        if self.first_offset.is_none() {
            (self.first_offset, self.first_arrival) = (Some(offset), now);
        }
        self.count += Count::of(&part.head);
        let touched = Arc::make_mut(&mut self.merged).merge(part, keys);
        if self.posted {
            if self.touched.is_empty() {
                self.touched_since = now;
            }
            self.touched.extend(touched);
        }
    }

    /// The barrier that the first post waits for.
    pub fn due(&self, start: u64, settings: &OwnerSettings) -> Due {
        Due {
            wall: settings.end(start) + settings.grace,
            monotonic: match self.first_offset {
                Some(_) => self.first_arrival + settings.grace,
                None => Duration::ZERO,
            },
        }
    }

    /// True when changed series have waited long enough, and no posting of the interval is under way
    /// that might overtake.
    pub fn has_correction(&self, now: Duration) -> bool {
        self.posted
            && self.unanswered.is_none()
            && !self.touched.is_empty()
            && now >= self.touched_since + CORRECTION_COALESCE
    }

    /// The changed series.
    pub fn take_touched(&mut self) -> Vec<SeriesNumber> {
        let mut touched: Vec<SeriesNumber> = self.touched.drain().collect();
        touched.sort_unstable();
        touched
    }

    /// True when all that was read of it is posted and answered.
    pub fn is_done(&self) -> bool {
        self.posted && self.unanswered.is_none() && self.touched.is_empty()
    }

    /// Forgets the cells and gives the identities of its parts: what a repair must find again.
    pub fn give_to_repair(&mut self, settings: &OwnerSettings) -> HashSet<PartId, RandomState> {
        let state = self.ids.hasher().clone();
        self.merged = Arc::new(Merged::new(settings.set_members_max, state));
        self.given_to_repair = true;
        self.posted = true;
        self.touched = HashSet::with_hasher(self.ids.hasher().clone());
        std::mem::take(&mut self.count);
        let empty = HashSet::with_hasher(self.ids.hasher().clone());
        std::mem::replace(&mut self.ids, empty)
    }

    pub fn heap_bytes(&self) -> usize {
        self.merged.heap_bytes()
            + self.ids.capacity() * ID_BYTES
            + self.touched.capacity() * (size_of::<SeriesNumber>() + 8)
            + size_of::<Self>()
    }
}
