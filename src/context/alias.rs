//! Remembered raw keys: the fast path of every known line.
//!
//! What is clever here: the table is cut into segments by the top bits of the hash, and each
//! segment grows, is swept and is forgotten alone, so a table of a million keys never stalls its
//! lane. A slot holds the cell of the open bucket beside the key, so a known line needs one probe
//! and one comparison. Change `SEGMENTS` only together with [`AliasTable::segment_of`].

use super::key::{RawKey, StoredKey};
use super::prefetch::prefetch;

/// Segments of one table. At a million aliases a segment holds 20 thousand slots of 24 bytes.
const SEGMENTS: usize = 64;
const SEGMENT_SHIFT: u32 = 64 - SEGMENTS.trailing_zeros();
/// Slots of a segment at its birth.
const SLOTS_MIN: usize = 8;
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
    key: StoredKey,
    /// The low half of the hash: finds the slot again when the segment grows.
    hash: u32,
    alias: Alias,
}

#[derive(Debug, Default)]
struct Segment {
    slots: Box<[Option<Slot>]>,
    used: usize,
    generation: u32,
}

/// A table from raw keys to contexts, bounded in bytes.
#[derive(Debug)]
pub(super) struct AliasTable {
    segments: Box<[Segment; SEGMENTS]>,
    generation: u32,
    used: usize,
    /// Bytes of keys that no context shares, plus all slots.
    bytes: usize,
    bytes_max: usize,
}

impl AliasTable {
    pub fn new(bytes_max: usize) -> Self {
        let segments = Box::new(std::array::from_fn(|_| Segment::default()));
        AliasTable { segments, generation: 0, used: 0, bytes: 0, bytes_max }
    }

    #[inline]
    fn segment_of(hash: u64) -> usize {
        (hash >> SEGMENT_SHIFT) as usize
    }

    /// What these bytes lead to.
    #[inline(always)]
    pub fn get(&self, hash: u64, raw: &RawKey<'_>) -> Option<Alias> {
        let segment = &self.segments[Self::segment_of(hash)];
        if segment.generation != self.generation {
            return None;
        }
        let (at, slot) = segment.next_with(hash as u32, segment.start(hash as u32))?;
        // The comparison is part of no loop, for which the compiler would prepare on every line what
        // another round might need.
        let holds = slot.key.matches(raw);
        let slot = if holds { slot } else { segment.slot_after(at, hash as u32, *raw)? };
        Some(slot.alias)
    }

    /// The same, to be changed.
    pub fn find(&mut self, hash: u64, raw: &RawKey<'_>) -> Option<&mut Alias> {
        let segment = &mut self.segments[Self::segment_of(hash)];
        if segment.generation != self.generation {
            return None;
        }
        let at = segment.position(segment.start(hash as u32), hash as u32, raw)?;
        segment.slots.get_mut(at)?.as_mut().map(|slot| &mut slot.alias)
    }

    /// Begins to load the slots where the search for this hash starts.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        let segment = &self.segments[Self::segment_of(hash)];
        let start = segment.start(hash as u32);
        if let Some(slots) = segment.slots.get(start..) {
            // A slot may begin in one cache line and end in the next.
            slots.iter().take(2).for_each(prefetch);
        }
    }

    /// Begins to load the key bytes of a slot with this hash; returns its cell if that is valid in
    /// bucket `epoch`. Forgotten slots may answer too: this is a guess for the caches' sake.
    #[inline(always)]
    pub fn prefetch_key(&self, hash: u64, epoch: u32) -> Option<u32> {
        let segment = &self.segments[Self::segment_of(hash)];
        let (_, slot) = segment.next_with(hash as u32, segment.start(hash as u32))?;
        slot.key.prefetch();
        (slot.alias.epoch == epoch).then_some(slot.alias.cell)
    }

    /// Remembers a key that is not in the table.
    pub fn insert(&mut self, hash: u64, key: StoredKey, alias: Alias) {
        let current = self.generation;
        let index = Self::segment_of(hash);
        if self.segments[index].generation != current {
            self.forget_segment(index);
        }
        let own_bytes = key.alias_bytes();
        if self.bytes + own_bytes > self.bytes_max {
            self.evict(index, alias.epoch);
        }
        let segment = &mut self.segments[index];
        let before = segment.slots.len();
        segment.insert(Slot { key, hash: hash as u32, alias });
        self.used += 1;
        self.bytes += own_bytes + (segment.slots.len() - before) * size_of::<Option<Slot>>();
    }

    /// Makes room in one segment: first what the open bucket has not touched, then everything.
    /// Forgetting an alias costs its next line a slow path and nothing else.
    fn evict(&mut self, index: usize, epoch: u32) {
        self.sweep_segment(index, epoch);
        if self.bytes > self.bytes_max {
            self.forget_segment(index);
        }
    }

    fn forget_segment(&mut self, index: usize) {
        self.retain(index, |_| false);
        self.segments[index].generation = self.generation;
    }

    /// Forgets every alias: rules have changed. Segments are emptied when they are next touched.
    pub fn bump_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// The number of segments, each swept alone.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Forgets the aliases of one segment that no bucket since `oldest` has touched.
    pub fn sweep_segment(&mut self, index: usize, oldest: u32) {
        self.retain(index, |alias| alias.epoch >= oldest);
    }

    fn retain(&mut self, index: usize, keep: impl Fn(&Alias) -> bool) {
        let segment = &mut self.segments[index];
        if segment.slots.iter().flatten().all(|slot| keep(&slot.alias)) {
            return;
        }
        let slots = std::mem::take(&mut segment.slots);
        let (slots_before, used_before) = (slots.len(), segment.used);
        let (kept, gone): (Vec<Slot>, Vec<Slot>) =
            slots.into_iter().flatten().partition(|slot| keep(&slot.alias));
        segment.used = 0;
        segment.slots = empty_slots(capacity_for(kept.len()));
        kept.into_iter().for_each(|slot| segment.place(slot));
        self.used -= used_before - segment.used;
        let slots_freed = slots_before.saturating_sub(segment.slots.len());
        self.bytes -= slots_freed * size_of::<Option<Slot>>();
        self.bytes -= gone.iter().map(|slot| slot.key.alias_bytes()).sum::<usize>();
    }

    /// Remembered keys.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Bytes of the slots and of keys that no context shares.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Segment {
    /// Where the probe for `hash` starts: the high part of `hash * slots`, so that the number of
    /// slots need not be a power of two.
    #[inline]
    fn start(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.slots.len() as u64) >> 32) as usize
    }

    /// The first slot from `at` on with this hash, and where it is.
    #[inline(always)]
    fn next_with(&self, hash: u32, mut at: usize) -> Option<(usize, &Slot)> {
        // Ends: a segment has no slots or an empty one (`capacity_for`).
        loop {
            let slot = self.slots.get(at)?.as_ref()?;
            if slot.hash == hash {
                return Some((at, slot));
            }
            at = self.after(at);
        }
    }

    /// The slot of this key, from `at` on.
    fn position(&self, mut at: usize, hash: u32, raw: &RawKey<'_>) -> Option<usize> {
        loop {
            let (found, slot) = self.next_with(hash, at)?;
            if slot.key.matches(raw) {
                return Some(found);
            }
            at = self.after(found);
        }
    }

    /// The slot of a key beyond one that has its hash and another key: one line in millions.
    #[cold]
    #[inline(never)]
    fn slot_after(&self, at: usize, hash: u32, raw: RawKey<'_>) -> Option<&Slot> {
        self.slots.get(self.position(self.after(at), hash, &raw)?)?.as_ref()
    }

    #[inline(always)]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    fn insert(&mut self, slot: Slot) {
        if capacity_for(self.used + 1) > self.slots.len() {
            let grown = empty_slots(capacity_for((self.used + 1) * 9 / 8));
            let old = std::mem::replace(&mut self.slots, grown);
            self.used = 0;
            old.into_iter().flatten().for_each(|slot| self.place(slot));
        }
        self.place(slot);
    }

    fn place(&mut self, slot: Slot) {
        let mut at = self.start(slot.hash);
        while self.slots[at].is_some() {
            at = self.after(at);
        }
        self.slots[at] = Some(slot);
        self.used += 1;
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

fn empty_slots(count: usize) -> Box<[Option<Slot>]> {
    (0..count).map(|_| None).collect()
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
    fn a_new_generation_forgets_everything_and_stays_usable() {
        let mut twin = Twin::new(usize::MAX);
        (0..100).for_each(|number| twin.insert(&format!("n{number}"), 1, number));
        twin.table.bump_generation();
        assert_eq!(twin.find("n1"), None);
        twin.insert("n1", 1, 7);
        assert_eq!(twin.find("n1"), Some(7));
        assert_eq!(twin.find("n2"), None);
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
