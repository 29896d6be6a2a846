//! The floor of this bench.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

use crate::corpus::Corpus;
use crate::prefetch::prefetch;

/// The least that anyone must do, in plain code: an open-addressed table of keys and sums.
pub struct Floor {
    state: RandomState,
    slots: Vec<FloorSlot>,
}

#[derive(Clone, Default)]
struct FloorSlot {
    hash: u64,
    /// The kind, the name, the tags; empty for a free slot.
    key: Box<[u8]>,
    name_end: usize,
    sum: f64,
}

/// A line as the floor reads it.
#[derive(Clone, Copy, Default)]
struct FloorLine<'a> {
    hash: u64,
    name: &'a [u8],
    tags: &'a [u8],
    kind: u8,
    value: u64,
}

impl Floor {
    pub fn new(corpus: &Corpus) -> Self {
        let slots = vec![FloorSlot::default(); (corpus.contexts * 5 / 4).max(8)];
        let mut floor = Floor { state: RandomState::with_seeds(1, 2, 3, 4), slots };
        assert_eq!(floor.pass(corpus), corpus.all);
        floor
    }

    #[inline(always)]
    fn read<'a>(&self, line: &'a [u8]) -> Option<FloorLine<'a>> {
        let (name, rest) = line.split_at(memchr::memchr(b':', line)?);
        let (value, rest) = rest[1..].split_at(rest[1..].iter().position(|byte| *byte == b'|')?);
        let kind = *rest.get(1)?;
        let tags = &rest[rest.iter().position(|byte| *byte == b'#')? + 1..];
        let mut hasher = self.state.build_hasher();
        hasher.write(name);
        hasher.write(tags);
        hasher.write_u8(kind);
        let value = value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        Some(FloorLine { hash: hasher.finish(), name, tags, kind, value })
    }

    #[inline(always)]
    fn start(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    #[inline(always)]
    fn add(&mut self, line: &FloorLine<'_>) {
        let mut at = self.start(line.hash);
        loop {
            let slot = &mut self.slots[at];
            if slot.key.is_empty() {
                slot.key = [&[line.kind], line.name, line.tags].concat().into_boxed_slice();
                (slot.hash, slot.name_end) = (line.hash, 1 + line.name.len());
            }
            if slot.hash == line.hash
                && slot.key[0] == line.kind
                && slot.key[1..slot.name_end] == *line.name
                && slot.key[slot.name_end..] == *line.tags
            {
                slot.sum += line.value as f64;
                return;
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    /// Line by line in the caches; beyond them, lines wait until their slot and key are loaded.
    #[inline(always)]
    pub fn pass(&mut self, corpus: &Corpus) -> u64 {
        let ahead = corpus.contexts > 16_384;
        let mut all = 0;
        let mut waiting = [FloorLine::default(); 64];
        for datagram in &corpus.datagrams {
            let (mut rest, mut lines) = (&datagram[..], 0);
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let line = self.read(&rest[..end]).expect("the corpus has metrics only");
                all += line.value;
                rest = &rest[end + 1..];
                if ahead {
                    prefetch(&self.slots[self.start(line.hash)]);
                    waiting[lines] = line;
                    lines += 1;
                } else {
                    self.add(&line);
                }
            }
            for line in &waiting[..lines] {
                if let [first, .., last] = &*self.slots[self.start(line.hash)].key {
                    prefetch(first);
                    prefetch(last);
                }
            }
            waiting[..lines].iter().for_each(|line| self.add(line));
        }
        all
    }
}
