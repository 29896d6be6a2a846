//! Which intervals are complete in hand, and where the next owner may begin to read.
//!
//! A new owner reads from the committed offset. Of an interval that was settled before, some parts lie
//! below that offset and some may lie above it; merging the latter alone would post a part of a value.
//! So the next owner must know what was settled. Time stamps of records cannot tell it (a sender's clock
//! may be off, a repair may hold the offset back for minutes); the log itself can: every barrier carries
//! the **floor**, the newest settled interval, and the committed offset never passes the newest barrier
//! of ours that was read back, nor the first record of an interval that this barrier does not cover yet.
//!
//! ```text
//! committed offset ─▶ … parts … barrier(floor 100) … parts … ─▶ our first barrier
//!                     up to 100: repair; after 100: no part lies below the committed offset
//! ```

use std::collections::BTreeMap;

/// What one owner knows of the intervals of a partition.
#[derive(Debug, Default)]
pub(super) struct Floor {
    /// The newest interval (its start) of which earlier parts may be missing in hand.
    floor: Option<u64>,
    /// Of that, what earlier owners announced.
    inherited: Option<u64>,
    /// First offsets of intervals that were settled since our newest barrier that is back was sent.
    unannounced: BTreeMap<u64, i64>,
    /// The floor that it carries, and its offset.
    announced: Option<(u64, i64)>,
    /// The offset that was last found safe; begins with the committed one.
    safe: Option<i64>,
    /// The newest record that is no barrier.
    newest: Option<i64>,
}

impl Floor {
    /// Begins where the committed offset is, if there is one.
    pub fn new(from: Option<i64>) -> Floor {
        Floor { safe: from, ..Floor::default() }
    }

    /// A record was read; the first one of a partition without a committed offset is where it begins.
    pub fn read(&mut self, offset: i64, is_barrier: bool) {
        self.safe.get_or_insert(offset);
        if !is_barrier {
            self.newest = self.newest.max(Some(offset));
        }
    }

    /// True when parts of the interval may be missing in hand.
    pub fn covers(&self, start: u64) -> bool {
        self.floor.is_some_and(|floor| start <= floor)
    }

    /// What a barrier carries: 0 for none.
    pub fn carried(&self) -> u32 {
        // A start beyond the year 2106 is refused long before.
        self.floor.map_or(0, |floor| u32::try_from(floor).unwrap_or(u32::MAX))
    }

    /// Another owner's barrier was read, before the first of ours was back.
    pub fn inherit(&mut self, carried: u32) {
        let floor = (carried > 0).then_some(u64::from(carried));
        self.inherited = self.inherited.max(floor);
        self.floor = self.floor.max(floor);
    }

    /// The interval is settled; `first` is the offset of its first part.
    pub fn settle(&mut self, start: u64, first: i64) {
        self.floor = self.floor.max(Some(start));
        self.unannounced.insert(start, first);
    }

    /// Parts of the interval were passed over as too old.
    pub fn pass_over(&mut self, start: u64) {
        self.floor = self.floor.max(Some(start));
    }

    /// A barrier of ours was read back at `offset`.
    pub fn announced(&mut self, carried: u32, offset: i64) {
        let carried = u64::from(carried);
        self.announced = Some((carried, offset));
        self.unannounced.retain(|start, _| *start > carried);
    }

    /// True when a further barrier would let the committed offset move on.
    pub fn has_news(&self) -> bool {
        let Some((carried, barrier)) = self.announced else { return self.newest.is_some() };
        !self.unannounced.is_empty()
            || self.floor.is_some_and(|floor| floor > carried)
            || self.newest.is_some_and(|newest| newest > barrier)
    }

    /// The offset to commit: `held` is the first offset that is still needed, if any is.
    pub fn commit(&mut self, held: Option<i64>) -> Option<i64> {
        if let Some((carried, barrier)) = self.announced
            && self.inherited.is_none_or(|inherited| inherited <= carried)
        {
            let unannounced = self.unannounced.values().copied().min();
            let least = [held, unannounced].into_iter().flatten().fold(barrier, i64::min);
            self.safe = self.safe.max(Some(least));
        }
        self.safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_barrier_of_ours_the_committed_offset_stays() {
        let mut floor = Floor::new(Some(40));
        assert_eq!(floor.commit(None), Some(40));
        floor.settle(100, 41);
        assert_eq!(floor.commit(None), Some(40));
        let mut first = Floor::new(None);
        assert_eq!(first.commit(None), None);
        first.read(3, true);
        first.read(9, false);
        assert_eq!(first.commit(None), Some(3));
    }

    #[test]
    fn a_settled_interval_holds_the_offset_until_a_barrier_says_that_it_is_settled() {
        let mut floor = Floor::new(Some(10));
        floor.announced(0, 20);
        floor.settle(100, 12);
        assert!(floor.has_news());
        floor.read(13, false);
        assert_eq!(floor.commit(None), Some(12));
        floor.announced(90, 25);
        assert_eq!(floor.commit(None), Some(12), "it was sent before");
        floor.announced(100, 30);
        assert!(!floor.has_news(), "an idle partition needs no barrier");
        assert_eq!(floor.commit(None), Some(30), "the barrier itself is read again");
        assert_eq!(floor.commit(Some(28)), Some(30), "and the offset never goes back");
    }

    #[test]
    fn what_is_still_needed_holds_the_offset() {
        let mut floor = Floor::new(Some(10));
        floor.announced(100, 30);
        assert_eq!(floor.commit(Some(22)), Some(22));
        assert_eq!(floor.commit(Some(31)), Some(30));
    }

    #[test]
    fn what_an_earlier_owner_settled_is_covered_and_announced_anew() {
        let mut floor = Floor::new(Some(10));
        floor.inherit(0);
        assert!(!floor.covers(100));
        floor.inherit(100);
        floor.inherit(90);
        assert!(floor.covers(100) && !floor.covers(110));
        assert_eq!(floor.carried(), 100);
        floor.announced(0, 20);
        assert_eq!(floor.commit(None), Some(10), "our barrier was sent before it was known");
        assert!(floor.has_news());
        floor.announced(100, 25);
        assert_eq!(floor.commit(None), Some(25));
    }
}
