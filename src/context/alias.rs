//! Remembered raw keys: the fast path of every known line.
//!
//! What is clever here: the table is cut into segments by the top bits of the hash, and each
//! segment grows, is swept and is forgotten alone, so a table of a million keys never stalls its
//! lane. A slot holds the cell of the open bucket beside the key, so a known line needs one look
//! and one comparison. Change `SEGMENTS` only together with [`AliasTable::segment_of`].

use std::hint::select_unpredictable;

use super::key::{RawKey, StoredKey};
use super::prefetch::prefetch_lines;

/// Segments of one table. At a million aliases a segment holds 20 thousand slots of 24 bytes.
const SEGMENTS: usize = 64;
const SEGMENT_SHIFT: u32 = 64 - SEGMENTS.trailing_zeros();
/// Slots of a segment at its birth.
const SLOTS_MIN: usize = 8;
/// Slots looked at together, from the one where the search starts: nearly every key stands in one of them.
const NEAR: usize = 4;
/// Keys of a segment that is small: with 16,384 in the table, which take 800 KB of slots.
const SMALL_MAX: usize = 256;

/// What a known raw key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The bucket in which `cell` is valid.
    pub epoch: u32,
    /// The cell in that bucket.
    pub cell: u32,
    /// The context, or the decision to drop (see [`super::Decision`]).
    pub decision: u32,
}

#[derive(Clone, Debug)]
struct Slot {
    /// None in an empty slot, whose hash may be looked at all the same.
    key: Option<StoredKey>,
    /// The low half of the hash: finds the slot again when the segment grows.
    hash: u32,
    alias: Alias,
}

const EMPTY: Slot = Slot { key: None, hash: 0, alias: Alias { epoch: 0, cell: 0, decision: 0 } };

#[derive(Debug, Default)]
struct Segment {
    slots: Box<[Slot]>,
    /// Slots where a search may start: all but the last, so that [`NEAR`] follow each.
    starts: u32,
    used: u32,
}

/// A table from raw keys to contexts, bounded in bytes.
#[derive(Debug)]
pub(super) struct AliasTable {
    segments: Box<[Segment; SEGMENTS]>,
    /// What is forgotten and not freed yet, by segment; those in front have no keys while these do.
    forgotten: Box<[Segment; SEGMENTS]>,
    /// Keys of both.
    used: usize,
    /// Bytes of keys that no context shares, plus all slots.
    bytes: usize,
    bytes_max: usize,
}

impl AliasTable {
    pub fn new(bytes_max: usize) -> Self {
        let empty = || Box::new(std::array::from_fn(|_| Segment::default()));
        AliasTable { segments: empty(), forgotten: empty(), used: 0, bytes: 0, bytes_max }
    }

    #[inline]
    fn segment_of(hash: u64) -> usize {
        (hash >> SEGMENT_SHIFT) as usize
    }

    /// What these bytes lead to.
    #[inline(always)]
    pub fn get(&self, hash: u64, raw: &RawKey<'_>) -> Option<Alias> {
        let segment = &self.segments[Self::segment_of(hash)];
        let slot = match segment.near(hash as u32) {
            Some(slot) if slot.holds(raw) => slot,
            _ => segment.find(hash as u32, *raw)?,
        };
        Some(slot.alias)
    }

    /// The same, to be changed.
    pub fn find(&mut self, hash: u64, raw: &RawKey<'_>) -> Option<&mut Alias> {
        let segment = &mut self.segments[Self::segment_of(hash)];
        let at = segment.position(hash as u32, raw)?;
        segment.slots.get_mut(at).map(|slot| &mut slot.alias)
    }

    /// Begins to load the slots where the search for this hash starts.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        let segment = &self.segments[Self::segment_of(hash)];
        if let Some(slot) = segment.slots.get(segment.start(hash as u32)) {
            prefetch_lines::<2, _>(slot);
        }
    }

    /// Begins to load the key bytes of the slot near the start that has this hash; more of them if it is
    /// `long`.
    #[inline(always)]
    pub fn prefetch_key(&self, hash: u64, long: bool) {
        let segment = &self.segments[Self::segment_of(hash)];
        let slot = segment.near(hash as u32);
        if let Some(key) = slot.and_then(|slot| slot.key.as_ref()) {
            key.prefetch(long);
        }
    }

    /// Remembers a key that is not in the table.
    pub fn insert(&mut self, hash: u64, key: StoredKey, alias: Alias) {
        let index = Self::segment_of(hash);
        self.free_forgotten(index);
        let own_bytes = key.alias_bytes();
        if self.bytes + own_bytes > self.bytes_max {
            self.evict(index, alias.epoch);
        }
        let segment = &mut self.segments[index];
        let before = segment.slots.len();
        segment.insert(Slot { key: Some(key), hash: hash as u32, alias });
        self.used += 1;
        self.bytes += own_bytes + (segment.slots.len() - before) * size_of::<Slot>();
    }

    /// Makes room in one segment: first what the open bucket has not touched, then everything.
    /// Forgetting an alias costs its next line a slow path and nothing else.
    fn evict(&mut self, index: usize, epoch: u32) {
        self.sweep_segment(index, epoch);
        if self.bytes > self.bytes_max {
            self.retain(index, |_| false);
        }
    }

    /// Forgets every alias: rules have changed. What a segment held is freed when it is next touched, so
    /// that a lane is not stalled for all of them.
    pub fn forget_all(&mut self) {
        for (segment, forgotten) in self.segments.iter_mut().zip(self.forgotten.iter_mut()) {
            if segment.used > 0 {
                *forgotten = std::mem::take(segment);
            }
        }
    }

    fn free_forgotten(&mut self, index: usize) {
        if self.forgotten[index].used > 0 {
            let forgotten = std::mem::take(&mut self.forgotten[index]);
            self.used -= forgotten.used as usize;
            self.bytes -= forgotten.slots.len() * size_of::<Slot>();
            self.bytes -= alias_bytes(&forgotten.slots);
        }
    }

    /// The number of segments, each swept alone.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Forgets the aliases of one segment that no bucket since `oldest` has touched.
    pub fn sweep_segment(&mut self, index: usize, oldest: u32) {
        self.free_forgotten(index);
        self.retain(index, |alias| alias.epoch >= oldest);
    }

    fn retain(&mut self, index: usize, keep: impl Fn(&Alias) -> bool) {
        let segment = &mut self.segments[index];
        if used(&segment.slots).all(|slot| keep(&slot.alias)) {
            return;
        }
        let (slots_before, used_before) = (segment.slots.len(), segment.used);
        let kept = used(&segment.slots).filter(|slot| keep(&slot.alias)).count();
        let (kept, gone): (Vec<Slot>, Vec<Slot>) =
            taken(segment.renew(kept)).partition(|slot| keep(&slot.alias));
        kept.into_iter().for_each(|slot| segment.place(slot));
        self.used -= (used_before - segment.used) as usize;
        let slots_freed = slots_before.saturating_sub(segment.slots.len());
        self.bytes -= slots_freed * size_of::<Slot>();
        self.bytes -= alias_bytes(&gone);
    }

    /// Remembered keys, and those that have yet to be freed.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Bytes of the slots and of keys that no context shares.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Slot {
    #[inline(always)]
    fn holds(&self, raw: &RawKey<'_>) -> bool {
        self.key.as_ref().is_some_and(|key| key.matches(raw))
    }
}

impl Segment {
    /// Where the probe for `hash` starts: the high part of `hash * starts`, so that the number of
    /// slots need not be a power of two.
    #[inline]
    fn start(&self, hash: u32) -> usize {
        ((u64::from(hash) * u64::from(self.starts)) >> 32) as usize
    }

    /// Empty slots with room for so many keys; returns those before.
    fn renew(&mut self, used: usize) -> Box<[Slot]> {
        let count = capacity_for(used);
        self.used = 0;
        // Past 2^32 slots the last are never a start.
        self.starts = u32::try_from(count.saturating_sub(NEAR - 1)).unwrap_or(u32::MAX);
        std::mem::replace(&mut self.slots, vec![EMPTY; count].into_boxed_slice())
    }

    /// The first slot near the start that has this hash; if none has, any of them.
    ///
    /// How many slots a key stands behind its start is chance, which the processor would guess wrong for
    /// every third line. So all of them are compared, and no branch depends on which it is.
    #[inline(always)]
    fn near(&self, hash: u32) -> Option<&Slot> {
        let start = self.start(hash);
        let [first, second, third, fourth]: &[Slot; NEAR] =
            self.slots.get(start..start + NEAR)?.first_chunk()?;
        let slot = select_unpredictable(third.hash == hash, third, fourth);
        let slot = select_unpredictable(second.hash == hash, second, slot);
        Some(select_unpredictable(first.hash == hash, first, slot))
    }

    /// The place of this key.
    fn position(&self, hash: u32, raw: &RawKey<'_>) -> Option<usize> {
        let mut at = self.start(hash);
        // Ends: a segment has no slots or an empty one (`capacity_for`).
        loop {
            let slot = self.slots.get(at)?;
            let key = slot.key.as_ref()?;
            if slot.hash == hash && key.matches(raw) {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    /// The slot of a key that stands farther from its start, or behind one that has its hash: one line in
    /// a hundred.
    #[inline(never)]
    fn find(&self, hash: u32, raw: RawKey<'_>) -> Option<&Slot> {
        self.slots.get(self.position(hash, &raw)?)
    }

    #[inline(always)]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    fn insert(&mut self, slot: Slot) {
        let more = self.used as usize + 1;
        if capacity_for(more) > self.slots.len() {
            taken(self.renew(more * 9 / 8)).for_each(|slot| self.place(slot));
        }
        self.place(slot);
    }

    /// Of two keys that want a place, the one that stands farther from its start gets it: so they stand
    /// about equally far, and nearly all are [near](Segment::near).
    fn place(&mut self, mut slot: Slot) {
        let (mut at, mut passed) = (self.start(slot.hash), 0);
        while self.slots[at].key.is_some() {
            let passed_there = self.passed(at);
            if passed_there < passed {
                std::mem::swap(&mut self.slots[at], &mut slot);
                passed = passed_there;
            }
            at = self.after(at);
            passed += 1;
        }
        self.slots[at] = slot;
        self.used += 1;
    }

    /// How many slots behind its start the key of this slot stands.
    fn passed(&self, at: usize) -> usize {
        let start = self.start(self.slots[at].hash);
        if at < start { at + self.slots.len() - start } else { at - start }
    }
}

/// Slots for `used` keys: at most half full while the table fits the caches, where a second probe costs
/// more than the slots (the processor guesses their number wrong), then at most four fifths.
fn capacity_for(used: usize) -> usize {
    match used {
        0 => 0,
        1..=SMALL_MAX => (2 * used + 1).max(SLOTS_MIN),
        _ => (used + used / 4 + 1).max(2 * SMALL_MAX + 1),
    }
}

/// Bytes of keys that no context shares.
fn alias_bytes(slots: &[Slot]) -> usize {
    slots.iter().filter_map(|slot| slot.key.as_ref()).map(StoredKey::alias_bytes).sum()
}

fn used(slots: &[Slot]) -> impl Iterator<Item = &Slot> {
    slots.iter().filter(|slot| slot.key.is_some())
}

fn taken(slots: Box<[Slot]>) -> impl Iterator<Item = Slot> {
    slots.into_iter().filter(|slot| slot.key.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::key::KeySecrets;
    use crate::protocol::MetricType;
    use ahash::RandomState;
    use std::collections::HashMap;

    fn raw(name: &str) -> RawKey<'_> {
        RawKey { kind: MetricType::Counter, name: name.as_bytes(), tags: b"", origin: b"" }
    }

    struct Twin {
        table: AliasTable,
        secrets: KeySecrets,
    }

    impl Twin {
        fn new(bytes_max: usize) -> Self {
            let secrets = KeySecrets::of(&RandomState::with_seeds(1, 2, 3, 4));
            Twin { table: AliasTable::new(bytes_max), secrets }
        }

        fn insert(&mut self, name: &str, epoch: u32, decision: u32) {
            let key = StoredKey::of_raw(&raw(name)).unwrap();
            let hash = raw(name).hash(&self.secrets);
            self.table.insert(hash, key, Alias { epoch, cell: 0, decision });
        }

        fn find(&mut self, name: &str) -> Option<u32> {
            let hash = raw(name).hash(&self.secrets);
            self.table.find(hash, &raw(name)).map(|alias| alias.decision)
        }
    }

    #[test]
    fn agrees_with_a_plain_map_while_it_grows() {
        let mut twin = Twin::new(usize::MAX);
        let mut plain = HashMap::new();
        for number in 0..5_000_u32 {
            let name = format!("name.{number}");
            assert_eq!(twin.find(&name), None);
            twin.insert(&name, 1, number);
            plain.insert(name, number);
        }
        assert_eq!(twin.table.len(), plain.len());
        for (name, number) in &plain {
            assert_eq!(twin.find(name), Some(*number));
        }
    }

    #[test]
    fn a_sweep_forgets_only_what_was_not_touched() {
        let mut twin = Twin::new(usize::MAX);
        for number in 0..1_000_u32 {
            twin.insert(&format!("n{number}"), number % 10, number);
        }
        (0..twin.table.segments()).for_each(|index| twin.table.sweep_segment(index, 5));
        assert_eq!(twin.table.len(), 500);
        for number in 0..1_000_u32 {
            let expect = (number % 10 >= 5).then_some(number);
            assert_eq!(twin.find(&format!("n{number}")), expect);
        }
    }

    #[test]
    fn new_rules_forget_everything_and_stays_usable() {
        let mut twin = Twin::new(usize::MAX);
        (0..100).for_each(|number| twin.insert(&format!("n{number}"), 1, number));
        let (len, bytes) = (twin.table.len(), twin.table.bytes());
        twin.table.forget_all();
        assert_eq!(twin.find("n1"), None);
        twin.insert("n1", 1, 7);
        assert_eq!(twin.find("n1"), Some(7));
        assert_eq!(twin.find("n2"), None);
        twin.table.forget_all();
        assert_eq!((twin.find("n1"), twin.find("n2")), (None, None));
        // Once every segment was touched, nothing is left of them.
        (0..twin.table.segments()).for_each(|index| twin.table.sweep_segment(index, 0));
        assert_eq!((twin.table.len(), twin.table.bytes()), (0, 0));
        (0..100).for_each(|number| twin.insert(&format!("n{number}"), 1, number));
        assert_eq!((twin.table.len(), twin.table.bytes()), (len, bytes));
    }

    #[test]
    fn nearly_every_key_is_near_its_start() {
        let mut twin = Twin::new(usize::MAX);
        (0..1_000).for_each(|number| twin.insert(&format!("n{number}"), 1, number));
        let far = twin.table.segments.iter().flat_map(|segment| {
            let places = 0..segment.slots.len();
            places.filter(|at| segment.slots[*at].key.is_some() && segment.passed(*at) >= NEAR)
        });
        assert!(far.count() < 10);
    }

    #[test]
    fn a_flood_of_unique_keys_stays_inside_the_budget() {
        let bytes_max = 100_000;
        let mut twin = Twin::new(bytes_max);
        for number in 0..20_000_u32 {
            twin.insert(&format!("unique.{number}"), 1, number);
        }
        // One segment may overshoot by what it adds before it is emptied.
        assert!(twin.table.bytes() <= bytes_max * 2, "{}", twin.table.bytes());
        assert!(twin.table.len() < 5_000);
    }
}
