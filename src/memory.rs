//! A limit on memory that several owners share: each takes shares of it in steps, so that the
//! common counter is touched rarely and no lock is needed.
//!
//! Owners ask before they grow and say what they took afterwards, so a limit is passed by one growth of
//! each owner at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that a share takes at a time, less under a small limit.
const STEP_BYTES: usize = 64 << 10;

/// Elements below which a list doubles.
const DOUBLED_MAX: usize = 12;

/// So many bytes for all shares together.
#[derive(Debug)]
pub struct MemoryLimit {
    bytes_max: usize,
    taken: AtomicUsize,
}

impl MemoryLimit {
    /// A limit of which nothing is used.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        MemoryLimit { bytes_max, taken: AtomicUsize::new(0) }
    }

    /// Bytes that all shares together may use.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Bytes that shares have taken; what they really use may be a step less each.
    #[must_use]
    pub fn bytes_used(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let more = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// What one owner uses of a limit; given back when it is dropped. `Default` has no limit.
#[derive(Debug, Default)]
pub struct MemoryShare {
    limit: Option<Arc<MemoryLimit>>,
    taken: usize,
    used: usize,
}

impl MemoryShare {
    /// A share of `limit` that uses nothing yet.
    #[must_use]
    pub fn of(limit: &Arc<MemoryLimit>) -> Self {
        MemoryShare { limit: Some(Arc::clone(limit)), taken: 0, used: 0 }
    }

    /// True while the owner may grow.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        self.limit.is_none() || self.used < self.taken || self.take_more()
    }

    #[cold]
    fn take_more(&mut self) -> bool {
        let Some(limit) = &self.limit else { return true };
        let step = STEP_BYTES.min(limit.bytes_max / 64).max(1);
        let more = self.used - self.taken + step;
        let took = limit.take(more);
        self.taken += if took { more } else { 0 };
        took
    }

    /// The owner has grown.
    #[inline]
    pub fn charge(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes);
    }

    /// The owner has shrunk.
    #[inline]
    pub fn refund(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// The owner uses nothing any more.
    pub fn release(&mut self) {
        if let Some(limit) = &self.limit {
            limit.taken.fetch_sub(self.taken, Ordering::Relaxed);
        }
        (self.taken, self.used) = (0, 0);
    }

    /// Makes room for `more` elements and charges it; false, and nothing changes, when the limit is
    /// reached and the list would be longer than `free`. Lists double up to twelve elements and grow by half
    /// from there, up to `len_max`: of many lists of about one length, less room stays empty.
    #[inline]
    pub fn grow<T>(&mut self, list: &mut Vec<T>, more: usize, free: usize, len_max: usize) -> bool {
        let needed = list.len() + more;
        if needed <= list.capacity() {
            return true;
        }
        let has_room = self.has_room();
        if !has_room && needed > free {
            return false;
        }
        let capacity = list.capacity();
        let larger = capacity + if capacity < DOUBLED_MAX { capacity } else { capacity / 2 };
        let wanted = if has_room { needed.max(larger.min(len_max)) } else { needed };
        let before = list.capacity();
        list.reserve_exact(wanted - list.len());
        self.charge((list.capacity() - before) * size_of::<T>());
        true
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_stop_growing_at_the_limit_and_give_back() {
        let limit = Arc::new(MemoryLimit::new(6_400));
        let (mut one, mut two) = (MemoryShare::of(&limit), MemoryShare::of(&limit));
        let fill = |share: &mut MemoryShare| {
            let mut grown = 0;
            while share.has_room() {
                share.charge(50);
                grown += 50;
            }
            grown
        };
        assert_eq!(fill(&mut one), 6_400);
        assert!(!two.has_room());
        assert_eq!(limit.bytes_used(), 6_400);
        one.refund(50);
        assert!(one.has_room() && !two.has_room(), "what was taken stays with its owner");
        one.release();
        assert_eq!(fill(&mut two), 6_400);
        drop(two);
        assert_eq!(limit.bytes_used(), 0);
    }

    #[test]
    fn lists_grow_while_there_is_room_and_to_what_is_free_beyond() {
        let limit = Arc::new(MemoryLimit::new(64));
        let mut share = MemoryShare::of(&limit);
        let mut list: Vec<u64> = Vec::new();
        assert!(share.grow(&mut list, 6, 0, 100));
        list.extend([0; 6]);
        assert!(share.grow(&mut list, 1, 0, 100));
        assert_eq!(list.capacity(), 12, "doubled");
        list.extend([0; 6]);
        assert!(!share.grow(&mut list, 1, 8, 100));
        assert_eq!(list.capacity(), 12);
        let mut long = list.clone();
        assert!(MemoryShare::default().grow(&mut long, 1, 0, 100));
        assert_eq!(long.capacity(), 18, "a half more");
        let mut small: Vec<u64> = Vec::new();
        assert!(share.grow(&mut small, 8, 8, 100) && !share.grow(&mut small, 9, 8, 100));
    }
}
