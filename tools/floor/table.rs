//! The least table: open addressing, one hash that multiplies 16 bytes at a time, byte equality, the
//! sum beside the hash. Nothing is ever removed, and nobody is expected to aim at a slot.

use crate::line::Line;
use crate::prefetch::{prefetch, prefetch_lines};

/// Where sums are kept.
pub struct Table {
    slots: Vec<Slot>,
    count: usize,
}

#[derive(Clone, Default)]
struct Slot {
    /// Odd; 0 is an empty slot.
    hash: u64,
    sum: f64,
    /// Name and tags.
    key: Box<[u8]>,
    name: u32,
    kind: u8,
}

impl Default for Table {
    fn default() -> Self {
        Table { slots: vec![Slot::default(); 1 << 12], count: 0 }
    }
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline(always)]
fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = seed ^ bytes.len() as u64;
    let mut mix = |block: &[u8; 16]| {
        let both = u128::from_le_bytes(*block);
        hash = fold(both as u64 ^ 0xe703_7ed1_a0b4_28db, (both >> 64) as u64 ^ hash);
    };
    if let Some(last) = bytes.last_chunk() {
        bytes.as_chunks().0.iter().for_each(&mut mix);
        // Overlaps the last whole block.
        mix(last);
    } else {
        let mut block = [0; 16];
        block[..bytes.len()].copy_from_slice(bytes);
        mix(&block);
    }
    hash
}

impl Table {
    /// Distinct keys.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Everything added.
    pub fn total(&self) -> f64 {
        self.slots.iter().map(|slot| slot.sum).sum()
    }

    #[inline(always)]
    pub fn hash(&self, line: &Line<'_>) -> u64 {
        hash_bytes(line.tags, hash_bytes(line.name, u64::from(line.kind))) | 1
    }

    #[inline(always)]
    fn start(&self, hash: u64) -> usize {
        (hash >> 7) as usize & (self.slots.len() - 1)
    }

    /// First step of a batch: the slot.
    #[inline(always)]
    pub fn prefetch_slot(&self, hash: u64) {
        prefetch(&self.slots[self.start(hash)]);
    }

    /// Second step of a batch, once the slots are there: the key.
    #[inline(always)]
    pub fn prefetch_key(&self, hash: u64) {
        prefetch_lines::<2, _>(&*self.slots[self.start(hash)].key);
    }

    #[inline(always)]
    pub fn add(&mut self, hash: u64, line: &Line<'_>) {
        let mut index = self.start(hash);
        loop {
            let slot = &mut self.slots[index];
            if slot.hash == hash {
                if slot.holds(line) {
                    slot.sum += line.sum;
                    return;
                }
            } else if slot.hash == 0 {
                return self.insert(index, hash, line);
            }
            index = (index + 1) & (self.slots.len() - 1);
        }
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, index: usize, hash: u64, line: &Line<'_>) {
        let key = [line.name, line.tags].concat().into_boxed_slice();
        let name = line.name.len() as u32;
        self.slots[index] = Slot { hash, sum: line.sum, key, name, kind: line.kind };
        self.count += 1;
        if self.count * 2 > self.slots.len() {
            self.grow();
        }
    }

    fn grow(&mut self) {
        let slots = vec![Slot::default(); self.slots.len() * 2];
        for slot in std::mem::replace(&mut self.slots, slots) {
            if slot.hash != 0 {
                let mut index = self.start(slot.hash);
                while self.slots[index].hash != 0 {
                    index = (index + 1) & (self.slots.len() - 1);
                }
                self.slots[index] = slot;
            }
        }
    }
}

impl Slot {
    #[inline(always)]
    fn holds(&self, line: &Line<'_>) -> bool {
        self.kind == line.kind
            && self.name as usize == line.name.len()
            && self.key.split_at_checked(line.name.len()) == Some((line.name, line.tags))
    }
}
