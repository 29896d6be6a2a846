//! Tags as one run of bytes, for those who write many lists of them one after the other.
//!
//! In: tags, whole or as key and value. Out: the same, in order. Promise: clearing keeps the memory.
//! Refusal: they are neither sorted nor made unique.

/// The tags of one or many series, written once. Any bytes: a tag may hold commas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct TagList {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl TagList {
    /// Forgets all tags and keeps the memory.
    #[cfg(feature = "server")]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Keeps the first `count` tags.
    #[cfg(feature = "server")]
    pub fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        self.bytes.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }

    /// Adds a whole tag.
    pub fn push(&mut self, tag: &[u8]) {
        self.push_parts(&[tag]);
    }

    /// Adds `key:value`; nothing when the value is empty.
    pub fn pair(&mut self, key: &str, value: &[u8]) {
        if !value.is_empty() {
            self.push_parts(&[key.as_bytes(), b":", value]);
        }
    }

    fn push_parts(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        // A body has at most 64 MiB, and so have its tags.
        self.ends.push(self.bytes.len() as u32);
    }

    /// How many.
    #[cfg(feature = "server")]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Each tag, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start as usize..*end as usize])
    }

    /// All tags in one run of bytes, and where each ends: together they decide the list.
    pub fn raw(&self) -> (&[u8], &[u32]) {
        (&self.bytes, &self.ends)
    }
}
