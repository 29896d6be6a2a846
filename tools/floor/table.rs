//! The least table: open addressing, one keyed hash, byte equality, the sum beside its key.
//!
//! A slot is eight bytes: 32 bits of the hash and where the record lies. A record is its sum, its
//! lengths and its key, padded to words, so that a known line touches one cache line of slots and
//! the lines its own record fills. Nothing is ever removed.

use ahash::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

use crate::line::Line;
use crate::prefetch::{prefetch, prefetch_two_lines};

/// Where sums are kept.
pub struct Table {
    slots: Vec<Slot>,
    records: Vec<u8>,
    count: usize,
    hasher: RandomState,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    tag: u32,
    /// Start of the record in words of eight bytes, plus 1; 0 is an empty slot.
    record: u32,
}

/// Sum, length of the name and the kind, length of the tags.
const HEADER: usize = 16;

impl Default for Table {
    fn default() -> Self {
        Table {
            slots: vec![Slot::default(); 1 << 12],
            records: Vec::new(),
            count: 0,
            hasher: RandomState::new(),
        }
    }
}

impl Table {
    /// Distinct keys.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Everything added.
    pub fn total(&self) -> f64 {
        self.slots.iter().filter(|slot| slot.record != 0).map(|slot| self.sum(slot.at())).sum()
    }

    #[inline]
    pub fn hash(&self, line: &Line<'_>) -> u64 {
        self.hash_parts(line.name, line.kind, line.tags)
    }

    #[inline]
    fn hash_parts(&self, name: &[u8], kind: &[u8], tags: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        hasher.write(tags);
        hasher.write_u8(kind.first().copied().unwrap_or(0));
        hasher.finish()
    }

    /// First step of a batch: the slot.
    #[inline]
    pub fn prefetch_slot(&self, hash: u64) {
        prefetch(&self.slots[hash as usize & (self.slots.len() - 1)]);
    }

    /// Second step of a batch, once the slots are there: the record.
    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        let slot = self.slots[hash as usize & (self.slots.len() - 1)];
        if slot.record != 0 {
            prefetch_two_lines(&self.records[slot.at()]);
        }
    }

    #[inline]
    pub fn add(&mut self, hash: u64, line: &Line<'_>) {
        let mask = self.slots.len() - 1;
        let mut index = hash as usize & mask;
        loop {
            let slot = self.slots[index];
            if slot.record == 0 {
                return self.insert(index, hash, line);
            }
            if slot.tag == (hash >> 32) as u32 && self.same(slot.at(), line) {
                let at = slot.at();
                let sum = self.sum(at) + line.sum;
                self.records[at..at + 8].copy_from_slice(&sum.to_le_bytes());
                return;
            }
            index = (index + 1) & mask;
        }
    }

    #[inline]
    fn same(&self, at: usize, line: &Line<'_>) -> bool {
        let (name, kind, tags) = self.key(at);
        name == line.name && tags == line.tags && kind == line.kind
    }

    #[inline]
    fn key(&self, at: usize) -> (&[u8], &[u8], &[u8]) {
        let header = &self.records[at..at + HEADER];
        let name = usize::from(u16::from_le_bytes([header[8], header[9]]));
        let kind = usize::from(u16::from_le_bytes([header[10], header[11]]));
        let tags = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
        let key = &self.records[at + HEADER..at + HEADER + name + kind + tags];
        let (name, rest) = key.split_at(name);
        let (kind, tags) = rest.split_at(kind);
        (name, kind, tags)
    }

    #[inline]
    fn sum(&self, at: usize) -> f64 {
        let bytes = self.records[at..at + 8].first_chunk::<8>().copied();
        f64::from_le_bytes(bytes.unwrap_or_default())
    }

    #[cold]
    fn insert(&mut self, index: usize, hash: u64, line: &Line<'_>) {
        let record = (self.records.len() / 8 + 1) as u32;
        self.records.extend_from_slice(&line.sum.to_le_bytes());
        self.records.extend_from_slice(&(line.name.len() as u16).to_le_bytes());
        self.records.extend_from_slice(&(line.kind.len() as u16).to_le_bytes());
        self.records.extend_from_slice(&(line.tags.len() as u32).to_le_bytes());
        for part in [line.name, line.kind, line.tags] {
            self.records.extend_from_slice(part);
        }
        self.records.resize(self.records.len().next_multiple_of(8), 0);
        self.slots[index] = Slot { tag: (hash >> 32) as u32, record };
        self.count += 1;
        if self.count * 2 > self.slots.len() {
            self.grow();
        }
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![Slot::default(); mask + 1];
        for slot in self.slots.iter().filter(|slot| slot.record != 0) {
            let (name, kind, tags) = self.key(slot.at());
            let mut index = self.hash_parts(name, kind, tags) as usize & mask;
            while slots[index].record != 0 {
                index = (index + 1) & mask;
            }
            slots[index] = *slot;
        }
        self.slots = slots;
    }
}

impl Slot {
    #[inline]
    fn at(self) -> usize {
        (self.record as usize - 1) * 8
    }
}
