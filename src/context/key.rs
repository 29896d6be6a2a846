//! Raw keys: the bytes that decide a context, as the client sent them.
//!
//! Clients repeat themselves, so the bytes are hashed and compared as they stand and nothing is
//! split for a line that was seen before.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use ahash::RandomState;

use super::prefetch::prefetch;
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

/// Key bytes in one allocation: a header, then name, tags and a third part (the host of a context,
/// the origin of a raw key). Cloning shares the bytes.
///
/// ```text
/// 0     1      2..4       4..8      8..12
/// kind  marks  tag count  name len  tags len  name tags third
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredKey(Arc<[u8]>);

const HEADER_BYTES: usize = 12;
/// The mark of bytes that only an alias holds, no context.
const RAW: u8 = 0x80;

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
        let tags_len = u32::try_from(parts.tags.len()).ok()?;
        let mut header = [0; HEADER_BYTES];
        header[0] = parts.kind as u8;
        header[1] = parts.marks;
        header[2..4].copy_from_slice(&parts.tag_count.to_le_bytes());
        header[4..8].copy_from_slice(&name_len.to_le_bytes());
        header[8..12].copy_from_slice(&tags_len.to_le_bytes());
        let bytes: Vec<u8> = [&header[..], parts.name, parts.tags, parts.third].concat();
        Some(StoredKey(bytes.into()))
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

    /// True when these bytes are what the client sent. A 64-bit hash is no identity, so this is
    /// asked for every line.
    #[inline(always)]
    pub fn matches(&self, raw: &RawKey<'_>) -> bool {
        let Some((header, parts)) = self.0.split_first_chunk::<HEADER_BYTES>() else {
            return false;
        };
        // Both lengths in one word, as the header has them.
        let [.., a, b, c, d, e, f, g, h] = *header;
        let lengths = raw.name.len() as u64 | (raw.tags.len() as u64) << 32;
        if header[0] != raw.kind as u8 || u64::from_le_bytes([a, b, c, d, e, f, g, h]) != lengths {
            return false;
        }
        let Some((name, rest)) = parts.split_at_checked(raw.name.len()) else { return false };
        let Some((tags, third)) = rest.split_at_checked(raw.tags.len()) else { return false };
        third.len() == raw.origin.len()
            && tags == raw.tags
            && same_short(name, raw.name)
            && (third.is_empty() || third == raw.origin)
    }

    /// Begins to load the bytes: both ends, which is all of them for a key of common length.
    #[inline(always)]
    pub fn prefetch(&self) {
        if let [first, .., last] = &*self.0 {
            prefetch(first);
            prefetch(last);
        }
    }

    #[inline]
    fn lengths(&self) -> (usize, usize) {
        let field = |at: usize| {
            u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
        };
        (field(4) as usize, field(8) as usize)
    }

    /// The wire type of the line that created it, as its number.
    pub fn kind(&self) -> u8 {
        self.0[0]
    }

    pub fn marks(&self) -> u8 {
        self.0[1]
    }

    pub fn tag_count(&self) -> usize {
        usize::from(u16::from_le_bytes([self.0[2], self.0[3]]))
    }

    pub fn name(&self) -> &[u8] {
        &self.0[HEADER_BYTES..HEADER_BYTES + self.lengths().0]
    }

    pub fn tags(&self) -> &[u8] {
        let (name_len, tags_len) = self.lengths();
        &self.0[HEADER_BYTES + name_len..HEADER_BYTES + name_len + tags_len]
    }

    pub fn third(&self) -> &[u8] {
        let (name_len, tags_len) = self.lengths();
        &self.0[HEADER_BYTES + name_len + tags_len..]
    }

    /// Heap bytes held by one copy.
    pub fn heap_bytes(&self) -> usize {
        // The two reference counts of the allocation.
        self.0.len() + 2 * size_of::<usize>()
    }

    /// Heap bytes that nobody but an alias holds: none where the key is the context itself.
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
