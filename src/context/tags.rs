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
        let separator = self.separator;
        self.joined
            .split(move |byte| *byte == separator)
            .take(self.own)
            .chain(self.common.iter().map(AsRef::as_ref))
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
