//! Raw keys: the bytes that decide a context, as the client sent them.
//!
//! Clients repeat themselves, so the bytes are hashed and compared as they stand and nothing is
//! split for a line that was seen before.

use ahash::RandomState;

use super::key_memory::SharedBytes;
use super::prefetch::prefetch_lines;
use crate::protocol::MetricType;
use crate::protocol::processor::{self, Work};

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

/// Secret numbers of a process, from which the hash of a raw key begins: an attacker cannot aim at one
/// slot.
#[derive(Clone, Copy, Debug)]
pub struct KeySecrets([u64; 4]);

impl KeySecrets {
    /// Drawn from a state that is random itself.
    #[must_use]
    pub fn of(state: &RandomState) -> Self {
        KeySecrets([1_u64, 2, 3, 4].map(|number| state.hash_one(number)))
    }

    /// What the hashes of raw keys with this origin begin from: it is hashed once for all of them.
    #[inline]
    #[must_use]
    pub fn for_origin(&self, origin: &[u8]) -> KeySeeds {
        let [name, mut tags, block, lengths] = self.0;
        if !origin.is_empty() {
            tags = hash_part(origin, tags ^ origin.len() as u64, block);
        }
        KeySeeds([name, tags, block, lengths])
    }
}

/// [`KeySecrets::for_origin`].
#[derive(Clone, Copy, Debug)]
pub struct KeySeeds([u64; 4]);

/// Both halves of a product: every bit of one factor moves many of the result.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl RawKey<'_> {
    /// A keyed hash, different in every process. Sixteen bytes are a multiplication; the lengths, which
    /// tell apart what overlapping blocks do not, and the kind are part of the last one. Name and tags
    /// wait for each other only there, so that a processor multiplies for both at a time.
    #[must_use]
    pub fn hash(&self, secrets: &KeySecrets) -> u64 {
        self.hash_from(&secrets.for_origin(self.origin))
    }

    /// The same, by the seeds of this origin.
    #[inline(always)]
    #[must_use]
    pub fn hash_from(&self, seeds: &KeySeeds) -> u64 {
        let [name, tags, block, lengths] = seeds.0;
        let name = hash_part(self.name, name, block) ^ self.name.len() as u64;
        let tags = hash_part(self.tags, tags, block) ^ lengths;
        fold(name, tags ^ (self.tags.len() as u64 * 8).wrapping_add(self.kind as u64))
    }
}

/// The hash goes on over some bytes: sixteen at a time, of which the last may overlap those before them.
/// Most names and lists of tags take one of the first two ways, without a loop.
#[inline(always)]
fn hash_part(bytes: &[u8], hash: u64, secret: u64) -> u64 {
    let mix = |hash, block: &[u8; 16]| mix_block(hash, block, secret);
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk())
        && bytes.len() <= 32
    {
        mix(mix(hash, first), last)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk())
        && bytes.len() <= 64
    {
        let ([first, second], [third, last]) = (halves(first), halves(last));
        mix(mix(mix(mix(hash, first), second), third), last)
    } else if bytes.len() > 64 {
        hash_long(bytes, hash, secret)
    } else {
        let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let (low, high) = match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(first), Some(last)) => (word(first), word(last)),
            _ => {
                let mut short = [0; 8];
                for (place, byte) in short.iter_mut().zip(bytes) {
                    *place = *byte;
                }
                (word(&short), 0)
            }
        };
        fold(low ^ secret, high ^ hash)
    }
}

/// The same for more than 64 bytes, in four chains: the processor multiplies for the others while it waits
/// for one.
#[inline(never)]
fn hash_long(bytes: &[u8], hash: u64, secret: u64) -> u64 {
    // A multiplication that takes any registers is a third of the instructions less.
    processor::run(HashLong { bytes, hash, secret })
}

/// [`hash_long`].
struct HashLong<'a> {
    bytes: &'a [u8],
    hash: u64,
    secret: u64,
}

impl Work for HashLong<'_> {
    type Output = u64;

    #[inline(always)]
    fn run(self) -> u64 {
        hash_in_chains(self.bytes, self.hash, self.secret)
    }
}

#[inline(always)]
fn hash_in_chains(bytes: &[u8], hash: u64, secret: u64) -> u64 {
    let mut chains = [hash, hash.rotate_left(16), hash.rotate_left(32), hash.rotate_left(48)];
    let mut mix = |blocks: &[u8; 64]| {
        for (chain, block) in chains.iter_mut().zip(blocks.as_chunks().0) {
            *chain = mix_block(*chain, block, secret);
        }
    };
    bytes[..bytes.len() - 1].as_chunks().0.iter().for_each(&mut mix);
    // May overlap those before it.
    bytes.last_chunk().into_iter().for_each(&mut mix);
    let [first, second, third, last] = chains;
    fold(fold(first ^ secret, second) ^ secret, fold(third ^ secret, last))
}

#[inline(always)]
fn mix_block(hash: u64, block: &[u8; 16], secret: u64) -> u64 {
    let both = u128::from_le_bytes(*block);
    fold(both as u64 ^ secret, (both >> 64) as u64 ^ hash)
}

#[inline(always)]
fn halves(blocks: &[u8; 32]) -> &[[u8; 16]; 2] {
    match blocks.as_chunks().0.first_chunk() {
        Some(halves) => halves,
        None => unreachable!("32 bytes are twice 16"),
    }
}

/// Key bytes in one allocation behind one word: name, tags and a third part (the host of a context,
/// the origin of a raw key), which is mostly empty and ends in its length when it is not. Cloning
/// shares the bytes.
///
/// The header in one word, so that a line is compared with it at once:
///
/// ```text
/// 0..16      16..22  22..25  32..64
/// tag count  marks   kind    name length
/// ```
///
/// What a line decides stands at the end, and the last of the marks with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredKey(SharedBytes);

/// The mark of bytes that only an alias holds, no context.
const RAW: u8 = 8;
/// The mark of bytes that end with a third part and its length.
const HAS_THIRD: u8 = 32;

const MARKS_SHIFT: u32 = 16;
const KIND_SHIFT: u32 = 22;
const NAME_SHIFT: u32 = 32;
const KIND_MASK: u64 = 0b111;
/// From here on, what a line decides: whether there is a third part, the kind, the length of the name.
const LINE_SHIFT: u32 = MARKS_SHIFT + HAS_THIRD.trailing_zeros();
/// Cache lines of a long key that are asked for: from there on the processor goes ahead by itself.
const LONG_KEY_LINES: usize = 8;
/// Bytes of the length of a third part.
const THIRD_LENGTH: usize = size_of::<u32>();

/// `a == b`, compared in place where both are as long as names and tags mostly are: calling `memcmp`
/// costs more than its work there.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        false
    } else if (16..=32).contains(&a.len()) {
        same_halves(a, b)
    } else if (33..=64).contains(&a.len()) {
        same_ends::<32>(a, b)
    } else if (8..16).contains(&a.len()) {
        same_ends::<8>(a, b)
    } else {
        a == b
    }
}

/// [`same_ends`] of 16 bytes, in the form that becomes one test of a vector.
#[inline(always)]
fn same_halves(a: &[u8], b: &[u8]) -> bool {
    let halves =
        |bytes: &[u8]| Some([*bytes.first_chunk()?, *bytes.last_chunk()?].map(u128::from_ne_bytes));
    let (Some([first, last]), Some([other_first, other_last])) = (halves(a), halves(b)) else {
        return false;
    };
    (first ^ other_first) | (last ^ other_last) == 0
}

/// Both ends overlap or touch, so they are all there is.
#[inline(always)]
fn same_ends<const HALF: usize>(a: &[u8], b: &[u8]) -> bool {
    // Both are compared before anything is asked: one branch.
    (a.first_chunk::<HALF>() == b.first_chunk()) & (a.last_chunk::<HALF>() == b.last_chunk())
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
    /// Copies the parts. `None` when they are longer than four gigabytes, which no buffer holds.
    pub fn new(parts: &Parts<'_>) -> Option<Self> {
        let name_len = u32::try_from(parts.name.len()).ok()?;
        let third_len = u32::try_from(parts.third.len()).ok()?.to_le_bytes();
        let has_third = if parts.third.is_empty() { 0 } else { HAS_THIRD };
        let header = u64::from(parts.tag_count)
            | u64::from(parts.marks | has_third) << MARKS_SHIFT
            | (parts.kind as u64) << KIND_SHIFT
            | u64::from(name_len) << NAME_SHIFT;
        let third_len: &[u8] = if parts.third.is_empty() { &[] } else { &third_len };
        let bytes = [parts.name, parts.tags, parts.third, third_len];
        SharedBytes::new(header, &bytes).map(StoredKey)
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
        let expect = (raw.name.len() as u64) << (NAME_SHIFT - LINE_SHIFT)
            | (raw.kind as u64) << (KIND_SHIFT - LINE_SHIFT);
        let line = self.header() >> LINE_SHIFT;
        if !raw.origin.is_empty() {
            return line == expect | 1
                && same(self.name(), raw.name)
                && same(self.tags(), raw.tags)
                && self.third() == raw.origin;
        }
        let whole = self.bytes();
        let Some((name, tags)) = whole.split_at_checked(raw.name.len()) else { return false };
        line == expect && same(name, raw.name) && same(tags, raw.tags)
    }

    /// Begins to load the bytes: all of them for a key of common length, more of one that is `long`.
    #[inline(always)]
    pub fn prefetch(&self, long: bool) {
        if long {
            prefetch_lines::<LONG_KEY_LINES, _>(self.0.start());
        } else {
            prefetch_lines::<2, _>(self.0.start());
        }
    }

    #[inline(always)]
    fn header(&self) -> u64 {
        self.0.header()
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// The wire type of the line that created it, as its number.
    pub fn kind(&self) -> u8 {
        (self.header() >> KIND_SHIFT & KIND_MASK) as u8
    }

    /// What [`Parts::marks`] said, and marks of its own.
    pub fn marks(&self) -> u8 {
        (self.header() >> MARKS_SHIFT) as u8 & 0b11_1111
    }

    pub fn tag_count(&self) -> usize {
        usize::from(self.header() as u16)
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
        self.0.heap_bytes()
    }

    /// The number that [`StoredKey::set_note`] keeps beside the bytes; 0 before.
    pub fn note(&self) -> u32 {
        self.0.note()
    }

    /// Keeps a number that depends on the bytes alone.
    pub fn set_note(&self, note: u32) {
        self.0.set_note(note);
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
        for length in 0..70 {
            let a = vec![b'a'; length];
            assert!(same(&a, &a.clone()), "{length}");
            assert!(!same(&a, &vec![b'a'; length + 1]), "{length}");
            for place in 0..length {
                let mut b = a.clone();
                b[place] = b'b';
                assert!(!same(&a, &b), "{length} {place}");
            }
        }
    }

    #[test]
    fn every_byte_and_every_length_moves_the_hash() {
        let secrets = KeySecrets::of(&RandomState::with_seeds(1, 2, 3, 4));
        let mut seen = std::collections::HashSet::new();
        for length in 0..150 {
            let mut text = vec![b'a'; length];
            let hash = |text: &[u8]| {
                let tags = std::str::from_utf8(text).unwrap();
                raw(MetricType::Counter, "name", tags, "").hash(&secrets)
            };
            assert!(seen.insert(hash(&text)), "{length}");
            for place in 0..length {
                text[place] = b'b';
                assert!(seen.insert(hash(&text)), "{length} {place}");
                text[place] = b'a';
            }
        }
    }

    #[test]
    fn every_part_of_the_key_moves_the_hash() {
        let secrets = KeySecrets::of(&RandomState::with_seeds(1, 2, 3, 4));
        let hashes: std::collections::HashSet<u64> = [
            raw(MetricType::Counter, "a", "b", ""),
            raw(MetricType::Gauge, "a", "b", ""),
            raw(MetricType::Counter, "b", "a", ""),
            raw(MetricType::Counter, "a", "b", "o"),
            raw(MetricType::Counter, "a", "", "b"),
        ]
        .iter()
        .map(|key| key.hash(&secrets))
        .collect();
        assert_eq!(hashes.len(), 5);
    }

    #[test]
    fn keys_of_every_length_and_border_hash_apart_in_their_low_and_high_halves() {
        let secrets = KeySecrets::of(&RandomState::with_seeds(1, 2, 3, 4));
        let (mut low, mut high) =
            (std::collections::HashSet::new(), std::collections::HashSet::new());
        let text = "a".repeat(200);
        for name in 1..100 {
            for tags in 0..100 {
                let hash =
                    raw(MetricType::Counter, &text[..name], &text[..tags], "").hash(&secrets);
                low.insert(hash as u32);
                high.insert((hash >> 32) as u32);
            }
        }
        // Of 10,000 numbers of 32 bits one pair in a hundred runs is equal by chance.
        assert!(low.len() >= 9_898 && high.len() >= 9_898, "{} {}", low.len(), high.len());
    }

    #[test]
    fn another_process_hashes_otherwise() {
        let key = raw(MetricType::Counter, "page.views", "env:prod,service:checkout", "");
        let of = |seed| key.hash(&KeySecrets::of(&RandomState::with_seeds(seed, 2, 3, 4)));
        assert_ne!(of(1), of(2));
    }
}
