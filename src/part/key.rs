//! The identity of a series between hosts: bytes that every process builds alike.
//!
//! ```text
//! page.views\nenv:prod\nservice:web      the name, then each tag, sorted bytewise, none twice
//! ```
//!
//! The kind is not in it: two kinds of one series must meet in one place.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

use triomphe::ThinArc;

use crate::aggregate::fixed_hash;

/// The canonical key of a series; a clone shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(ThinArc<(), u8>);

/// A canonical key in the bytes of a part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyRef<'a>(&'a [u8]);

impl<'a> KeyRef<'a> {
    /// The key of these bytes; `None` when [`Key::new`] would never make them.
    #[must_use]
    pub fn from_bytes(bytes: &'a [u8]) -> Option<KeyRef<'a>> {
        is_canonical(bytes).then_some(KeyRef(bytes))
    }
}

/// True for a name and ascending tags, none twice.
fn is_canonical(bytes: &[u8]) -> bool {
    let mut breaks = memchr::memchr_iter(b'\n', bytes);
    let Some(name_end) = breaks.next() else { return !bytes.is_empty() };
    let (mut start, mut before) = (name_end + 1, None);
    name_end > 0
        && breaks.chain([bytes.len()]).all(|end| {
            let tag = &bytes[start..end];
            start = end + 1;
            before.replace(tag).is_none_or(|before| before < tag)
        })
}

impl Key {
    /// The key of a name and its tags, in any order. `None` without a name, or with a newline inside the
    /// name or a tag, as only a library can give them.
    #[must_use]
    pub fn new<'a>(name: &[u8], tags: impl IntoIterator<Item = &'a [u8]>) -> Option<Key> {
        let mut tags: Vec<&[u8]> = tags.into_iter().collect();
        tags.sort_unstable();
        tags.dedup();
        let newline = |text: &[u8]| memchr::memchr(b'\n', text).is_some();
        if name.is_empty() || newline(name) || tags.iter().any(|tag| newline(tag)) {
            return None;
        }
        let mut bytes =
            Vec::with_capacity(name.len() + tags.iter().map(|tag| tag.len() + 1).sum::<usize>());
        bytes.extend_from_slice(name);
        for tag in tags {
            bytes.push(b'\n');
            bytes.extend_from_slice(tag);
        }
        Some(Key::copied(&bytes))
    }

    /// The key of these bytes; `None` when [`Key::new`] would never make them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Key> {
        KeyRef::from_bytes(bytes).map(Key::from)
    }

    fn copied(bytes: &[u8]) -> Key {
        Key(ThinArc::from_header_and_slice((), bytes))
    }

    /// All of it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// The name of the metric.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.as_bytes().split(|byte| *byte == b'\n').next().unwrap_or_default()
    }

    /// The tags, ascending, none twice.
    pub fn tags(&self) -> impl Iterator<Item = &[u8]> {
        self.as_bytes().split(|byte| *byte == b'\n').skip(1)
    }

    /// SipHash-1-3 with a zero key: the same in every process, whatever its version.
    #[must_use]
    pub fn hash(&self) -> u64 {
        fixed_hash(self.as_bytes())
    }

    /// Where its cells belong, of so many partitions (at least 1).
    #[must_use]
    pub fn partition(&self, partitions: u32) -> u32 {
        // Less than `partitions`, so it fits.
        (self.hash() % u64::from(partitions.max(1))) as u32
    }

    /// Heap bytes, shared by all clones.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        // Reference count and length, and what the allocator adds.
        (self.as_bytes().len() + 2 * size_of::<usize>() + 8).next_multiple_of(16)
    }

    /// True when there is no clone of it.
    pub(super) fn is_unshared(&self) -> bool {
        ThinArc::strong_count(&self.0) == 1
    }
}

impl From<KeyRef<'_>> for Key {
    fn from(key: KeyRef<'_>) -> Key {
        Key::copied(key.0)
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for KeyRef<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

/// So that collections of keys are asked by bytes.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// As its bytes.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        KeyRef(self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(name: &str, tags: &[&str]) -> Option<Key> {
        Key::new(name.as_bytes(), tags.iter().map(|tag| tag.as_bytes()))
    }

    #[test]
    fn every_version_and_machine_hashes_a_key_alike() {
        for (name, tags, hash) in [
            ("a", &[][..], 0x4074_48d2_b89b_1813),
            ("page.views", &["service:web", "env:prod"], 0xf690_2d30_586f_f361),
            ("u1", &[], 0xc23a_92f4_6974_f23d),
        ] {
            let key = key(name, tags).expect("a key");
            assert_eq!(key.hash(), hash, "{key:?}");
            assert_eq!(key.partition(64), (hash % 64) as u32);
            assert_eq!((key.partition(1), key.partition(0)), (0, 0));
        }
    }

    #[test]
    fn the_order_of_tags_and_repeats_do_not_matter() {
        let sorted = key("page.views", &["env:prod", "service:web"]).expect("a key");
        let other = key("page.views", &["service:web", "env:prod", "service:web"]).expect("a key");
        assert_eq!(sorted, other);
        assert_eq!(sorted.as_bytes(), b"page.views\nenv:prod\nservice:web");
        assert_eq!(sorted.name(), b"page.views");
        assert_eq!(sorted.tags().collect::<Vec<_>>(), [&b"env:prod"[..], b"service:web"]);
        assert_eq!(key("a", &[]).expect("a key").tags().count(), 0);
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        for (name, tags) in [("", &[][..]), ("a\nb", &[]), ("a", &["b\nc"]), ("a", &["\n"])] {
            assert_eq!(key(name, tags), None, "{name:?} {tags:?}");
        }
        for bytes in [&b""[..], b"\n", b"\na", b"a\nc\nb", b"a\nb\nb", b"a\n\n"] {
            assert_eq!(Key::from_bytes(bytes), None, "{}", bytes.escape_ascii());
        }
        assert!(Key::from_bytes(b"a\n").is_some(), "one empty tag");
    }

    proptest! {
        #[test]
        fn a_key_is_read_back_from_its_bytes(
            name in "[a-z]{1,3}", tags in prop::collection::vec("[a-c,:]{0,3}", 0..6)
        ) {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            let key = key(&name, &tags).expect("no newline");
            let again = Key::new(key.name(), key.tags());
            prop_assert_eq!(Key::from_bytes(key.as_bytes()), Some(key.clone()));
            prop_assert_eq!(again, Some(key));
        }
    }
}
