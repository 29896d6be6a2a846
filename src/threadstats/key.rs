//! The identity of a series: name, host and the multiset of tags. Kind, namespace, constant tags
//! and device take no part.

use std::sync::Arc;

use ahash::RandomState;

/// An identity that outlives the call, with the first caller's spelling of the tags.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: Box<str>,
    pub(crate) host: Option<Arc<str>>,
    pub(crate) tags: Option<Box<[String]>>,
    pub(crate) hash: u64,
}

/// An identity as a call spells it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    name: &'a str,
    host: Option<&'a str>,
    tags: Option<&'a [&'a str]>,
    hash: u64,
}

/// How a cell is looked up: by the words of a call, or by a bound handle's own key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    Call(Call<'a>),
    Bound(&'a Arc<Key>),
}

impl<'a> Call<'a> {
    /// Tags enter the hash by addition, so their order does not matter and repeats do.
    pub(crate) fn new(
        hasher: &RandomState,
        name: &'a str,
        host: Option<&'a str>,
        tags: Option<&'a [&'a str]>,
    ) -> Self {
        let tag_hash = tags
            .unwrap_or_default()
            .iter()
            .fold(0_u64, |sum, tag| sum.wrapping_add(hasher.hash_one(*tag)));
        Call { name, host, tags, hash: hasher.hash_one((name, host, tag_hash)) }
    }
}

impl Wanted<'_> {
    pub(crate) fn hash(&self) -> u64 {
        match self {
            Wanted::Call(call) => call.hash,
            Wanted::Bound(key) => key.hash,
        }
    }

    pub(crate) fn is(&self, key: &Arc<Key>) -> bool {
        match self {
            Wanted::Call(call) => {
                call.hash == key.hash
                    && call.name == &*key.name
                    && call.host == key.host.as_deref()
                    && same_tags(
                        call.tags.unwrap_or_default(),
                        key.tags.as_deref().unwrap_or_default(),
                    )
            }
            Wanted::Bound(wanted) => {
                Arc::ptr_eq(wanted, key)
                    || (wanted.hash == key.hash
                        && wanted.name == key.name
                        && wanted.host == key.host
                        && same_tags(
                            wanted.tags.as_deref().unwrap_or_default(),
                            key.tags.as_deref().unwrap_or_default(),
                        ))
            }
        }
    }

    pub(crate) fn to_key(self) -> Arc<Key> {
        match self {
            Wanted::Call(call) => Arc::new(Key {
                name: call.name.into(),
                host: call.host.map(Arc::from),
                tags: call.tags.map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect()),
                hash: call.hash,
            }),
            Wanted::Bound(key) => Arc::clone(key),
        }
    }
}

/// Multiset equality. Callers mostly repeat one order, so sorting is the exception.
fn same_tags<A: AsRef<str>, B: AsRef<str>>(a: &[A], b: &[B]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if a.iter().zip(b).all(|(a, b)| a.as_ref() == b.as_ref()) {
        return true;
    }
    let mut a: Vec<&str> = a.iter().map(AsRef::as_ref).collect();
    let mut b: Vec<&str> = b.iter().map(AsRef::as_ref).collect();
    a.sort_unstable();
    b.sort_unstable();
    a == b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(a: &[&str], b: &[&str], expect: bool) {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let a = Call::new(&hasher, "n", None, Some(a));
        let key = Wanted::Call(Call::new(&hasher, "n", None, Some(b))).to_key();
        assert_eq!(Wanted::Call(a).is(&key), expect);
        assert_eq!(a.hash == key.hash, expect, "equal keys hash alike, these others do not");
    }

    #[test]
    fn tags_are_a_multiset() {
        same(&["a", "b"], &["b", "a"], true);
        same(&["a"], &["a", "a"], false);
        same(&["a", "b", "a"], &["a", "a", "b"], true);
        same(&["a", "b", "b"], &["a", "a", "b"], false);
        same(&[], &[], true);
        same(&[""], &[], false);
    }

    #[test]
    fn an_equal_hash_is_no_identity() {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let mut call = Call::new(&hasher, "n", Some(""), None);
        let key = Wanted::Call(Call::new(&hasher, "n", None, None)).to_key();
        call.hash = key.hash;
        assert!(!Wanted::Call(call).is(&key), "an empty host is not an absent one");
    }
}
