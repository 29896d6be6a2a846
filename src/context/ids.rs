//! Numbers found by half a hash: who has this identity?
//!
//! hashbrown keeps a power of two of slots; at a million contexts that was ten bytes a number. Here a
//! number takes six: at most six of seven slots are full, a segment grows by an eighth and shrinks
//! when three of four slots are empty, and each alone, so none stalls its thread. The owner of the
//! numbers knows their hashes; a byte of them stands beside each number, so that a search asks the
//! owner about strangers only once in 256.

/// Segments of one table: at a million numbers each holds 4,000, and takes a millisecond to grow.
const SEGMENTS: usize = 256;
const SEGMENT_SHIFT: u32 = u32::BITS - SEGMENTS.trailing_zeros();
/// No number.
const EMPTY: u32 = u32::MAX;
/// Slots of a segment at its birth.
const SLOTS_MIN: usize = 8;

/// A set of numbers below 2^32 - 1.
#[derive(Debug)]
pub(crate) struct IdTable {
    segments: Box<[Segment]>,
}

#[derive(Clone, Debug, Default)]
struct Segment {
    slots: Vec<u32>,
    /// The low byte of the hash of each number.
    marks: Vec<u8>,
    used: usize,
}

impl Default for IdTable {
    fn default() -> Self {
        IdTable { segments: vec![Segment::default(); SEGMENTS].into() }
    }
}

impl IdTable {
    fn segment_of(hash: u32) -> usize {
        (hash >> SEGMENT_SHIFT) as usize
    }

    /// The first number with this hash that `is_it`; which numbers are asked depends on the hashes.
    #[inline]
    pub fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let segment = &self.segments[Self::segment_of(hash)];
        let mut at = segment.start(hash);
        loop {
            match (segment.slots.get(at).copied(), segment.marks.get(at)) {
                (None | Some(EMPTY), _) => return None,
                (Some(id), Some(mark)) if *mark == hash as u8 && is_it(id) => return Some(id),
                _ => at = segment.after(at),
            }
        }
    }

    /// Adds a number that is not in the table. `hash_of` gives the hash of any number in it.
    pub fn insert(&mut self, hash: u32, id: u32, hash_of: impl Fn(u32) -> u32) {
        let segment = &mut self.segments[Self::segment_of(hash)];
        if capacity_for(segment.used + 1) > segment.slots.len() {
            segment.resize(capacity_for((segment.used + 1) * 9 / 8), hash_of);
        }
        segment.place(hash, id);
        segment.used += 1;
    }

    /// Takes a number out.
    pub fn remove(&mut self, hash: u32, id: u32, hash_of: impl Fn(u32) -> u32) {
        let segment = &mut self.segments[Self::segment_of(hash)];
        let mut hole = segment.start(hash);
        while segment.slots.get(hole).is_some_and(|other| *other != id && *other != EMPTY) {
            hole = segment.after(hole);
        }
        if segment.slots.get(hole) != Some(&id) {
            return;
        }
        segment.used -= 1;
        segment.close_hole(hole, &hash_of);
        if segment.used == 0 {
            *segment = Segment::default();
        } else if segment.slots.len() > SLOTS_MIN.max(segment.used * 4) {
            segment.resize(capacity_for(segment.used * 9 / 8), hash_of);
        }
    }
}

impl Segment {
    /// Moves its numbers to so many slots.
    fn resize(&mut self, slots: usize, hash_of: impl Fn(u32) -> u32) {
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; slots]);
        self.marks = vec![0; slots];
        // All hashes first: their loads overlap, which they do not where each is placed at once.
        let ids: Vec<u32> = old.into_iter().filter(|id| *id != EMPTY).collect();
        let hashes: Vec<u32> = ids.iter().map(|id| hash_of(*id)).collect();
        ids.into_iter().zip(hashes).for_each(|(id, hash)| self.place(hash, id));
    }

    /// Empties a slot.
    fn close_hole(&mut self, mut hole: usize, hash_of: &impl Fn(u32) -> u32) {
        // A number that was pushed past the hole moves up; otherwise it could not be found again.
        let mut at = hole;
        loop {
            self.slots[hole] = EMPTY;
            let next = loop {
                at = self.after(at);
                match self.slots[at] {
                    EMPTY => return,
                    id if self.reaches(self.start(hash_of(id)), hole, at) => break id,
                    _ => {}
                }
            };
            (self.slots[hole], self.marks[hole]) = (next, self.marks[at]);
            hole = at;
        }
    }

    /// Where the search for a hash starts. The bits that chose the segment are the same for all of
    /// them, so those below decide.
    #[inline]
    fn start(&self, hash: u32) -> usize {
        let low = hash << SEGMENTS.trailing_zeros();
        ((u64::from(low) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// True when a search that starts at `start` and ends at `at` passes `hole`.
    fn reaches(&self, start: usize, hole: usize, at: usize) -> bool {
        if start <= at { start <= hole && hole < at } else { hole >= start || hole < at }
    }

    fn place(&mut self, hash: u32, id: u32) {
        let mut at = self.start(hash);
        while self.slots[at] != EMPTY {
            at = self.after(at);
        }
        (self.slots[at], self.marks[at]) = (id, hash as u8);
    }
}

/// Slots for so many numbers: at most six sevenths full, so that every search ends.
fn capacity_for(used: usize) -> usize {
    (used + used / 6 + 1).max(SLOTS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Hashes that collide a lot, in few segments.
    fn hash(id: u32) -> u32 {
        (id % 3) << SEGMENT_SHIFT | (id.wrapping_mul(0x9E37_79B9) >> 28) << 20 | (id % 2)
    }

    proptest! {
        #[test]
        fn it_is_a_set_whatever_collides(ops in prop::collection::vec((any::<bool>(), 0..200_u32), 0..600)) {
            let (mut table, mut twin) = (IdTable::default(), BTreeSet::new());
            for (add, id) in ops {
                if add && twin.insert(id) {
                    table.insert(hash(id), id, hash);
                } else if !add {
                    twin.remove(&id);
                    table.remove(hash(id), id, hash);
                }
            }
            for id in 0..200 {
                let found = table.find(hash(id), |other| other == id);
                prop_assert_eq!(found.is_some(), twin.contains(&id), "{}", id);
            }
            let used: usize = table.segments.iter().map(|segment| segment.used).sum();
            prop_assert_eq!(used, twin.len());
        }
    }
}
