//! A borrowed, deduplicated tag set, as every later room sees it.

/// The tags of one context, followed by the tags common to all of them.
///
/// The context's own tags stand joined in one slice, in the order of first sight; `common` holds
/// what configuration adds to every point (`dogstatsd_tags`, `tags`). No tag occurs twice.
#[derive(Clone, Copy, Debug)]
pub struct Tags<'a> {
    joined: &'a [u8],
    separator: u8,
    own: usize,
    common: &'a [Box<[u8]>],
}

impl<'a> Tags<'a> {
    /// `own` tags joined by `separator` in `joined`; one empty tag is `own == 1` and an empty slice.
    #[must_use]
    pub fn new(joined: &'a [u8], separator: u8, own: usize, common: &'a [Box<[u8]>]) -> Self {
        Tags { joined, separator, own, common }
    }

    /// Tags as they stand after `#` on the wire: joined by commas, nothing at all when empty.
    #[must_use]
    pub fn from_wire(joined: &'a [u8]) -> Self {
        let own = if joined.is_empty() { 0 } else { memchr::memchr_iter(b',', joined).count() + 1 };
        Tags { joined, separator: b',', own, common: &[] }
    }

    /// The number of tags.
    #[must_use]
    pub fn len(&self) -> usize {
        self.own + self.common.len()
    }

    /// True when there is no tag at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every tag once: the context's own, then the common ones.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.own().chain(self.common().map(AsRef::as_ref))
    }

    /// The context's own tags.
    #[inline]
    pub(crate) fn own(&self) -> Own<'a> {
        Own { rest: self.joined, separator: self.separator, left: self.own }
    }

    /// The tags common to all contexts.
    pub(crate) fn common(&self) -> std::slice::Iter<'a, Box<[u8]>> {
        self.common.iter()
    }

    /// True when the context's own tags are nothing but ASCII.
    #[inline]
    pub(crate) fn own_are_ascii(&self) -> bool {
        self.joined.is_ascii()
    }
}

/// The context's own tags, one by one.
pub(crate) struct Own<'a> {
    rest: &'a [u8],
    separator: u8,
    left: usize,
}

impl<'a> Iterator for Own<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        // What is left is the last one: nothing needs to be searched.
        let end = if self.left == 0 { None } else { memchr::memchr(self.separator, self.rest) };
        let (tag, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(tags: Tags<'_>, expect: &[&str]) {
        let got: Vec<&[u8]> = tags.iter().collect();
        let expect: Vec<&[u8]> = expect.iter().map(|tag| tag.as_bytes()).collect();
        assert_eq!(got, expect);
        assert_eq!(tags.len(), expect.len());
    }

    #[test]
    fn none_one_empty_and_several_are_three_things() {
        reads(Tags::from_wire(b""), &[]);
        reads(Tags::new(b"", b',', 1, &[]), &[""]);
        reads(Tags::from_wire(b"a,,b"), &["a", "", "b"]);
    }

    #[test]
    fn common_tags_come_last() {
        let common = [Box::from(&b"env:prod"[..])];
        reads(Tags::new(b"", b',', 0, &common), &["env:prod"]);
        reads(Tags::new(b"a", b',', 1, &common), &["a", "env:prod"]);
    }
}
