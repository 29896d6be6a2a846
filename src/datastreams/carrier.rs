//! Where a context lives in a message: headers or attributes, whatever the client calls them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

/// Reads headers.
pub trait CarrierGet {
    /// The value of `key`; of several the last one.
    fn get(&self, key: &str) -> Option<Cow<'_, [u8]>>;
}

/// Writes headers.
pub trait CarrierSet {
    /// Sets `key` to `value`, which is ASCII.
    fn set(&mut self, key: &str, value: &[u8]);
}

/// The size of headers as it counts for the size of a message: keys and values.
pub trait CarrierSize {
    /// In bytes.
    fn size(&self) -> u64;
}

/// A value that headers are made of.
pub trait CarrierValue: AsRef<[u8]> {
    /// The value with these bytes, which are ASCII.
    fn of(bytes: &[u8]) -> Self;
}

impl CarrierValue for String {
    fn of(bytes: &[u8]) -> Self {
        String::from_utf8_lossy(bytes).into_owned()
    }
}

impl CarrierValue for Vec<u8> {
    fn of(bytes: &[u8]) -> Self {
        bytes.to_vec()
    }
}

impl CarrierValue for bytes::Bytes {
    fn of(bytes: &[u8]) -> Self {
        bytes::Bytes::copy_from_slice(bytes)
    }
}

fn size_of<'a, V: AsRef<[u8]> + 'a>(entries: impl Iterator<Item = (&'a String, &'a V)>) -> u64 {
    entries.map(|(key, value)| (key.len() + value.as_ref().len()) as u64).sum()
}

impl<V: CarrierValue, S: BuildHasher> CarrierGet for HashMap<String, V, S> {
    fn get(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        HashMap::get(self, key).map(|value| Cow::Borrowed(value.as_ref()))
    }
}

impl<V: CarrierValue, S: BuildHasher> CarrierSet for HashMap<String, V, S> {
    fn set(&mut self, key: &str, value: &[u8]) {
        self.insert(key.to_owned(), V::of(value));
    }
}

impl<V: CarrierValue, S> CarrierSize for HashMap<String, V, S> {
    fn size(&self) -> u64 {
        size_of(self.iter())
    }
}

impl<V: CarrierValue> CarrierGet for BTreeMap<String, V> {
    fn get(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        BTreeMap::get(self, key).map(|value| Cow::Borrowed(value.as_ref()))
    }
}

impl<V: CarrierValue> CarrierSet for BTreeMap<String, V> {
    fn set(&mut self, key: &str, value: &[u8]) {
        self.insert(key.to_owned(), V::of(value));
    }
}

impl<V: CarrierValue> CarrierSize for BTreeMap<String, V> {
    fn size(&self) -> u64 {
        size_of(self.iter())
    }
}

impl<V: CarrierValue> CarrierGet for Vec<(String, V)> {
    fn get(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        let last = self.iter().rfind(|(known, _)| known == key);
        last.map(|(_, value)| Cow::Borrowed(value.as_ref()))
    }
}

impl<V: CarrierValue> CarrierSet for Vec<(String, V)> {
    fn set(&mut self, key: &str, value: &[u8]) {
        self.retain(|(known, _)| known != key);
        self.push((key.to_owned(), V::of(value)));
    }
}

impl<V: CarrierValue> CarrierSize for Vec<(String, V)> {
    fn size(&self) -> u64 {
        size_of(self.iter().map(|(key, value)| (key, value)))
    }
}

/// No headers: where a pathway begins, or must end.
impl CarrierGet for () {
    fn get(&self, _: &str) -> Option<Cow<'_, [u8]>> {
        None
    }
}

impl<C: CarrierGet + ?Sized> CarrierGet for Option<&C> {
    fn get(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        self.and_then(|carrier| carrier.get(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn keeps<C: CarrierGet + CarrierSet + CarrierSize + Default>() {
        let mut carrier = C::default();
        assert_eq!(carrier.get("k"), None);
        carrier.set("other", b"1");
        carrier.set("k", b"first");
        carrier.set("k", b"last");
        assert_eq!(carrier.get("k").as_deref(), Some(&b"last"[..]));
        assert_eq!(carrier.size(), 6 + 5);
        assert_eq!(Some(&carrier).get("k").as_deref(), Some(&b"last"[..]));
    }

    #[test]
    fn maps_and_lists_are_carriers() {
        keeps::<HashMap<String, String>>();
        keeps::<HashMap<String, Vec<u8>, ahash::RandomState>>();
        keeps::<BTreeMap<String, String>>();
        keeps::<Vec<(String, Vec<u8>)>>();
        keeps::<Vec<(String, String)>>();
        keeps::<Vec<(String, bytes::Bytes)>>();
        assert_eq!(().get("k"), None);
    }
}
