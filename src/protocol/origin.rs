//! The origin fields of a message and what they mean to a tagger.

use super::message::OriginFields;

/// Reads `c:`, `e:` or `card:` into the origin; any other field is ignored.
#[inline(never)]
pub(super) fn read_field<'a>(field: &'a [u8], origin: &mut OriginFields<'a>) {
    match field {
        [b'c', b':', data @ ..] => origin.local_data = Some(data),
        [b'e', b':', data @ ..] => origin.external_data = Some(data),
        [b'c', b'a', b'r', b'd', b':', word @ ..] => origin.cardinality = Some(word),
        _ => {}
    }
}

/// The content of `c:`: which container sent the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalData<'a> {
    /// `ci-…`, or the whole field when it has no known prefix; never empty.
    pub container_id: Option<&'a [u8]>,
    /// `in-…`, the inode of the container's cgroup.
    pub inode: Option<u64>,
    /// An `in-` item was no number and was dropped: worth an error in the log.
    pub bad_inode: bool,
}

impl<'a> LocalData<'a> {
    /// Reads a comma list of `ci-` and `in-` items, or a single one, which may also be `cid-…` or a
    /// bare container id. Unknown items of a list are ignored; the last of its kind counts.
    #[must_use]
    pub fn read(field: &'a [u8]) -> Self {
        let mut data = LocalData::default();
        if field.contains(&b',') {
            for item in field.split(|byte| *byte == b',') {
                data.read_item(item);
            }
        } else if !data.read_item(field) {
            let id = field.strip_prefix(b"cid-").unwrap_or(field);
            data.container_id = some(id);
        }
        data
    }

    /// True when the item has one of the two prefixes.
    fn read_item(&mut self, item: &'a [u8]) -> bool {
        match item {
            [b'c', b'i', b'-', id @ ..] => self.container_id = some(id),
            [b'i', b'n', b'-', inode @ ..] => match unsigned(inode) {
                Some(inode) => self.inode = Some(inode),
                None => self.bad_inode = true,
            },
            _ => return false,
        }
        true
    }
}

/// The content of `e:`, which an admission controller wrote into the client's environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExternalData<'a> {
    /// `it-…`: the sender is an init container.
    pub init: bool,
    /// `cn-…`, never empty.
    pub container_name: Option<&'a [u8]>,
    /// `pu-…`, never empty.
    pub pod_uid: Option<&'a [u8]>,
    /// An `it-` item was no boolean and was dropped: worth an error in the log.
    pub bad_init: bool,
}

impl<'a> ExternalData<'a> {
    /// Reads a comma list of `it-`, `cn-` and `pu-` items. Others are ignored; the last of its kind
    /// counts.
    #[must_use]
    pub fn read(field: &'a [u8]) -> Self {
        let mut data = ExternalData::default();
        for item in field.split(|byte| *byte == b',') {
            match item {
                [b'i', b't', b'-', word @ ..] => match boolean(word) {
                    Some(init) => data.init = init,
                    None => data.bad_init = true,
                },
                [b'c', b'n', b'-', name @ ..] => data.container_name = some(name),
                [b'p', b'u', b'-', uid @ ..] => data.pod_uid = some(uid),
                _ => {}
            }
        }
        data
    }
}

/// How many tags a tagger may add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cardinality {
    /// `none`: no tags at all.
    None,
    /// `low`: those of the host's workload.
    Low,
    /// `orchestrator`: those of the pod or task, too.
    Orchestrator,
    /// `high`: those of the container, too.
    High,
}

impl Cardinality {
    /// Reads the content of `card:` in any letter case; None for an unknown word, which means the
    /// configured `dogstatsd_tag_cardinality`.
    #[must_use]
    pub fn read(word: &[u8]) -> Option<Self> {
        let all = [Self::None, Self::Low, Self::Orchestrator, Self::High];
        all.into_iter().find(|level| word.eq_ignore_ascii_case(level.word().as_bytes()))
    }

    /// The word on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Orchestrator => "orchestrator",
            Self::High => "high",
        }
    }
}

/// The bytes, unless there are none.
fn some(bytes: &[u8]) -> Option<&[u8]> {
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

/// Digits only: neither sign nor space.
fn unsigned(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// A boolean as Go's `strconv.ParseBool` knows it.
fn boolean(word: &[u8]) -> Option<bool> {
    match word {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn local(field: &str, container_id: &str, inode: Option<u64>, bad_inode: bool) {
        let expect = LocalData { container_id: some(container_id.as_bytes()), inode, bad_inode };
        assert_eq!(LocalData::read(field.as_bytes()), expect, "{field}");
    }

    #[test]
    fn local_data_is_one_item_or_a_list() {
        local("", "", None, false);
        local("abc123", "abc123", None, false);
        local("ci-abc", "abc", None, false);
        local("cid-abc", "abc", None, false);
        local("in-42", "", Some(42), false);
        local("ci-abc,in-42", "abc", Some(42), false);
        local("in-42,ci-abc,zz-1,", "abc", Some(42), false);
        local("ci-a,ci-b", "b", None, false);
    }

    #[test]
    fn the_legacy_forms_are_not_for_lists() {
        local("cid-abc,in-1", "", Some(1), false);
        local("abc,in-1", "", Some(1), false);
    }

    #[test]
    fn an_inode_that_is_no_number_is_dropped_alone() {
        for inode in ["in-zz", "in-", "in--1", "in-+1", "in-18446744073709551616"] {
            local(inode, "", None, true);
        }
        local("ci-abc,in-zz", "abc", None, true);
    }

    #[test]
    fn external_data_is_a_list() {
        let read = |field: &'static str| ExternalData::read(field.as_bytes());
        let redis = ExternalData {
            init: false,
            container_name: Some(b"redis"),
            pod_uid: Some(b"u1"),
            bad_init: false,
        };
        assert_eq!(read("it-false,cn-redis,pu-u1"), redis);
        assert_eq!(read("zz,pu-u1,cn-x,cn-redis"), redis);
        assert_eq!(read("it-T,cn-redis,pu-u1"), ExternalData { init: true, ..redis });
        assert_eq!(read("it-yes,cn-redis,pu-u1"), ExternalData { bad_init: true, ..redis });
        assert_eq!(read(""), ExternalData::default());
    }

    #[test]
    fn cardinality_is_a_word_in_any_case() {
        assert_eq!(Cardinality::read(b"HIGH"), Some(Cardinality::High));
        assert_eq!(Cardinality::read(b"none"), Some(Cardinality::None));
        assert_eq!(Cardinality::read(b"Orchestrator"), Some(Cardinality::Orchestrator));
        assert_eq!(Cardinality::read(b"low"), Some(Cardinality::Low));
        assert_eq!(Cardinality::read(b"lots"), None);
        assert_eq!(Cardinality::read(b""), None);
    }
}
