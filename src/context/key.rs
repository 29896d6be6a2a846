//! Raw keys: the bytes that decide a context, as the client sent them.
//!
//! Clients repeat themselves, so the bytes are hashed and compared as they stand and nothing is
//! split for a line that was seen before.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;
use triomphe::ThinArc;

use super::prefetch::prefetch_two_lines;
use crate::protocol::MetricType;

/// What decides the context of a metric line: never the value, the rate, the timestamp or a field
/// that is not honoured.
#[derive(Clone, Copy, Debug)]
pub struct RawKey<'a> {
    /// The type on the wire; `h` and `ms` are two raw keys of one context.
    pub kind: MetricType,
    /// The name as sent.
    pub name: &'a [u8],
    /// The last `#` field as sent.
    pub tags: &'a [u8],
    /// Honoured origin fields and the sender's identity; empty when none is honoured.
    pub origin: &'a [u8],
}

impl RawKey<'_> {
    /// A keyed hash, different in every process: an attacker cannot aim at one slot.
    #[inline(always)]
    pub fn hash(&self, state: &RandomState) -> u64 {
        let mut hasher = state.build_hasher();
        hasher.write(self.name);
        hasher.write(self.tags);
        if !self.origin.is_empty() {
            hasher.write(self.origin);
        }
        // Six kinds are nothing to aim with, so they need no round of the hash: the odd factor
        // (2^64 by the golden ratio) moves them to other segments and slots.
        hasher.finish() ^ (self.kind as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// Key bytes in one allocation behind one word: name, tags and a third part (the host of a context,
/// the origin of a raw key), which is mostly empty and ends in its length when it is not. Cloning
/// shares the bytes.
///
/// The header in one word, so that a line is compared with it at once:
///
/// ```text
/// 0..3  3..9   16..32     32..64
/// kind  marks  tag count  name length
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredKey(ThinArc<u64, u8>);

/// The mark of bytes that only an alias holds, no context.
const RAW: u8 = 8;
/// The mark of bytes that end with a third part and its length.
const HAS_THIRD: u8 = 16;

const MARKS_SHIFT: u32 = 3;
const TAG_COUNT_SHIFT: u32 = 16;
const NAME_SHIFT: u32 = 32;
const KIND_MASK: u64 = 0b111;
/// What a line decides: the kind, whether there is a third part, the length of the name.
const LINE_MASK: u64 = KIND_MASK | (HAS_THIRD as u64) << MARKS_SHIFT | !0 << NAME_SHIFT;
/// Bytes of the length of a third part.
const THIRD_LENGTH: usize = size_of::<u32>();

/// `a == b`, compared in place where both are as long as names mostly are: calling `memcmp` costs
/// more than its work there.
#[inline(always)]
fn same_short(a: &[u8], b: &[u8]) -> bool {
    const HALF: usize = 16;
    let ends = |bytes: &[u8]| {
        Some((*bytes.first_chunk::<HALF>()?, *bytes.last_chunk::<HALF>()?))
            .filter(|_| bytes.len() <= 2 * HALF)
    };
    match (ends(a), ends(b)) {
        // Both ends overlap or touch, so they are all there is.
        (Some(a_ends), Some(b_ends)) if a.len() == b.len() => a_ends == b_ends,
        _ => a == b,
    }
}

/// What a [`StoredKey`] is built from.
pub(super) struct Parts<'a> {
    pub kind: MetricType,
    /// All but two bits are free for whose key it is.
    pub marks: u8,
    pub tag_count: u16,
    pub name: &'a [u8],
    pub tags: &'a [u8],
    pub third: &'a [u8],
}

impl StoredKey {
    /// Copies the parts. `None` when a part is longer than four gigabytes, which no buffer holds.
    pub fn new(parts: &Parts<'_>) -> Option<Self> {
        let name_len = u32::try_from(parts.name.len()).ok()?;
        let third_len = u32::try_from(parts.third.len()).ok()?.to_le_bytes();
        let has_third = if parts.third.is_empty() { 0 } else { HAS_THIRD };
        let header = parts.kind as u64
            | u64::from(parts.marks | has_third) << MARKS_SHIFT
            | u64::from(parts.tag_count) << TAG_COUNT_SHIFT
            | u64::from(name_len) << NAME_SHIFT;
        let third_len: &[u8] = if parts.third.is_empty() { &[] } else { &third_len };
        let bytes = [parts.name, parts.tags, parts.third, third_len].concat();
        Some(StoredKey(ThinArc::from_header_and_slice(header, &bytes)))
    }

    /// The bytes of a raw key, for a line whose context does not look like the line.
    pub fn of_raw(raw: &RawKey<'_>) -> Option<Self> {
        Self::new(&Parts {
            kind: raw.kind,
            marks: RAW,
            tag_count: 0,
            name: raw.name,
            tags: raw.tags,
            third: raw.origin,
        })
    }

    /// True when these bytes are what the client sent. Two keys can share a 64-bit hash, so this is
    /// asked for every line.
    #[inline(always)]
    pub fn matches(&self, raw: &RawKey<'_>) -> bool {
        let has_third = u64::from(!raw.origin.is_empty()) * u64::from(HAS_THIRD);
        let expect =
            raw.kind as u64 | has_third << MARKS_SHIFT | (raw.name.len() as u64) << NAME_SHIFT;
        if self.header() & LINE_MASK != expect {
            return false;
        }
        let Some((name, rest)) = self.bytes().split_at_checked(raw.name.len()) else {
            return false;
        };
        let tags = if raw.origin.is_empty() { rest } else { self.tags() };
        tags == raw.tags
            && same_short(name, raw.name)
            && (raw.origin.is_empty() || self.third() == raw.origin)
    }

    /// Begins to load the bytes: all of them for a key of common length.
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch_two_lines(&self.0.header);
    }

    #[inline(always)]
    fn header(&self) -> u64 {
        self.0.header.header
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// The wire type of the line that created it, as its number.
    pub fn kind(&self) -> u8 {
        (self.header() & KIND_MASK) as u8
    }

    /// What [`Parts::marks`] said, and marks of its own.
    pub fn marks(&self) -> u8 {
        (self.header() >> MARKS_SHIFT) as u8 & 0b11_1111
    }

    pub fn tag_count(&self) -> usize {
        usize::from((self.header() >> TAG_COUNT_SHIFT) as u16)
    }

    fn name_len(&self) -> usize {
        (self.header() >> NAME_SHIFT) as usize
    }

    pub fn name(&self) -> &[u8] {
        &self.bytes()[..self.name_len()]
    }

    pub fn tags(&self) -> &[u8] {
        let bytes = self.bytes();
        &bytes[self.name_len()..bytes.len() - self.tail_len()]
    }

    pub fn third(&self) -> &[u8] {
        let bytes = self.bytes();
        &bytes[bytes.len() - self.tail_len()..][..self.tail_len().saturating_sub(THIRD_LENGTH)]
    }

    /// Bytes of the third part and its length.
    fn tail_len(&self) -> usize {
        match self.bytes().last_chunk::<THIRD_LENGTH>() {
            Some(length) if self.marks() & HAS_THIRD != 0 => {
                u32::from_le_bytes(*length) as usize + THIRD_LENGTH
            }
            _ => 0,
        }
    }

    /// Heap bytes held by one copy.
    pub fn heap_bytes(&self) -> usize {
        // The count of references, the header and the length of the bytes.
        self.bytes().len() + size_of::<usize>() + size_of::<u64>() + size_of::<usize>()
    }

    /// Heap bytes that only an alias holds: none where the key is the context itself.
    pub fn alias_bytes(&self) -> usize {
        if self.marks() & RAW != 0 { self.heap_bytes() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw<'a>(kind: MetricType, name: &'a str, tags: &'a str, origin: &'a str) -> RawKey<'a> {
        RawKey { kind, name: name.as_bytes(), tags: tags.as_bytes(), origin: origin.as_bytes() }
    }

    #[test]
    fn a_stored_key_matches_its_own_bytes_and_no_neighbour() {
        let key = raw(MetricType::Counter, "ab", "c,d", "e");
        let stored = StoredKey::of_raw(&key).unwrap();
        assert!(stored.matches(&key));
        for other in [
            raw(MetricType::Gauge, "ab", "c,d", "e"),
            raw(MetricType::Counter, "abc", ",d", "e"),
            raw(MetricType::Counter, "ab", "c,", "de"),
            raw(MetricType::Counter, "ab", "c,d", ""),
            raw(MetricType::Counter, "ab", "c,d", "f"),
            raw(MetricType::Counter, "", "", ""),
        ] {
            assert!(!stored.matches(&other), "{other:?}");
        }
    }

    #[test]
    fn short_comparison_is_comparison_at_every_length() {
        for length in 0..50 {
            let a = vec![b'a'; length];
            assert!(same_short(&a, &a.clone()), "{length}");
            assert!(!same_short(&a, &vec![b'a'; length + 1]), "{length}");
            for place in 0..length {
                let mut b = a.clone();
                b[place] = b'b';
                assert!(!same_short(&a, &b), "{length} {place}");
            }
        }
    }

    #[test]
    fn every_part_of_the_key_moves_the_hash() {
        let state = RandomState::with_seeds(1, 2, 3, 4);
        let hashes: std::collections::HashSet<u64> = [
            raw(MetricType::Counter, "a", "b", ""),
            raw(MetricType::Gauge, "a", "b", ""),
            raw(MetricType::Counter, "b", "a", ""),
            raw(MetricType::Counter, "a", "b", "o"),
            raw(MetricType::Counter, "a", "", "b"),
        ]
        .iter()
        .map(|key| key.hash(&state))
        .collect();
        assert_eq!(hashes.len(), 5);
    }
}
