//! Tags that are no tags on the series routes: devices and resources.

/// What becomes of a tag on the series routes.
pub(crate) enum TagUse<'a> {
    Plain,
    /// `device:` and a name; the last one wins.
    Device(&'a [u8]),
    /// `dd.internal.resource:` and a type and name.
    Resource(&'a [u8], &'a [u8]),
    /// A device or resource without a name: it leaves the tags all the same.
    Nothing,
}

impl TagUse<'_> {
    #[inline]
    pub(crate) fn of(tag: &[u8]) -> TagUse<'_> {
        if tag.first() != Some(&b'd') {
            return TagUse::Plain;
        }
        if let Some(name) = tag.strip_prefix(b"device:") {
            return if name.is_empty() { TagUse::Nothing } else { TagUse::Device(name) };
        }
        let Some(resource) = tag.strip_prefix(b"dd.internal.resource:") else {
            return TagUse::Plain;
        };
        match memchr::memchr(b':', resource) {
            Some(at) if at > 0 && at + 1 < resource.len() => {
                TagUse::Resource(&resource[..at], &resource[at + 1..])
            }
            _ => TagUse::Nothing,
        }
    }
}
