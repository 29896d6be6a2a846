//! Tags that are no tags on the series routes: devices and resources.

use std::borrow::Cow;

/// What becomes of a tag on the series routes.
pub(crate) enum TagUse<'a> {
    Plain,
    /// `device:` and a name, also written as a resource of that type; the last one wins.
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
        if let Some(name) = resource.strip_prefix(b"device:").filter(|name| !name.is_empty()) {
            return TagUse::Device(name);
        }
        match memchr::memchr(b':', resource) {
            Some(at) if at > 0 && at + 1 < resource.len() => {
                TagUse::Resource(&resource[..at], &resource[at + 1..])
            }
            _ => TagUse::Nothing,
        }
    }
}

/// Leaves of a series' own tags what it can carry, so that equal payloads are equal tags: one
/// device, written `device:name`, and well-formed resources. `device_of_all` is the device that a
/// common tag names, which comes last and wins; `host` is posted as a resource anyway. Returns how
/// many tags were left out: other devices, and devices and resources without a name.
pub(super) fn keep_posted(
    tags: &mut Vec<Cow<'_, [u8]>>,
    device_of_all: Option<&[u8]>,
    host: &[u8],
) -> u64 {
    let name_of = |tag: &Cow<'_, [u8]>| match TagUse::of(tag) {
        TagUse::Device(name) => Some(name.to_vec()),
        _ => None,
    };
    let own_device = || tags.iter().rev().find_map(name_of);
    let device = device_of_all.map(<[u8]>::to_vec).or_else(own_device);
    let mut wanted = device_of_all.is_none();
    let mut left_out = 0;
    tags.retain_mut(|tag| match TagUse::of(tag) {
        TagUse::Plain => true,
        TagUse::Device(name) if Some(name) == device.as_deref() => {
            let keep = std::mem::take(&mut wanted);
            if keep && !tag.starts_with(b"device:") {
                *tag = Cow::Owned([b"device:", name].concat());
            }
            keep
        }
        TagUse::Resource(kind, name) => kind != b"host" || name != host,
        TagUse::Device(_) | TagUse::Nothing => {
            left_out += 1;
            false
        }
    });
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn keeps(tags: &str, device_of_all: Option<&str>, expect: &str, expect_left_out: u64) {
        let mut kept: Vec<_> = tags.split(',').map(|tag| Cow::Borrowed(tag.as_bytes())).collect();
        let left_out = keep_posted(&mut kept, device_of_all.map(str::as_bytes), b"web");
        let kept = String::from_utf8(kept.join(&b","[..])).unwrap();
        assert_eq!((kept.as_str(), left_out), (expect, expect_left_out), "{tags}");
    }

    #[test]
    fn one_device_is_kept_and_the_others_are_counted() {
        keeps("a,device:x,b", None, "a,device:x,b", 0);
        keeps("device:a,device:b,device:", None, "device:b", 2);
        keeps("device:a,t,dd.internal.resource:device:b", None, "t,device:b", 1);
        keeps("dd.internal.resource:device:a,device:a", None, "device:a", 0);
        keeps("device:a,t,device:b", Some("b"), "t", 1);
        keeps("device:,t", Some("b"), "t", 1);
    }

    #[test]
    fn resources_are_kept_when_they_have_a_type_and_a_name() {
        let resources = "dd.internal.resource:x:y,dd.internal.resource:x:y:z";
        keeps(resources, None, resources, 0);
        let malformed = "t,dd.internal.resource:,dd.internal.resource:x,dd.internal.resource:x:,\
                         dd.internal.resource::y,dd.internal.resource:device:";
        keeps(malformed, None, "t", 5);
        keeps("dd.internal.resource:host:web,t", None, "t", 0);
        keeps("dd.internal.resource:host:db", None, "dd.internal.resource:host:db", 0);
    }
}
