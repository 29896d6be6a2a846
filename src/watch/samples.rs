//! How often each metric and tag set was sent, while an admin page asks for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ahash::RandomState;

/// Metrics with their tags held at once; about 200 bytes each. What comes past them is counted
/// together.
pub(crate) const SAMPLES_MAX: usize = 100_000;

/// What was sent of one metric with one spelling of its tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Lines; a packed line counts once.
    pub count: u64,
    /// Bytes of these lines, newlines not counted.
    pub bytes: u64,
    /// Unix seconds.
    pub last_seen: u64,
}

impl Sent {
    fn add(&mut self, other: Sent) {
        self.count += other.count;
        self.bytes += other.bytes;
        self.last_seen = self.last_seen.max(other.last_seen);
    }
}

/// Counts by name and tags as sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    /// The name, a `|`, the tags: no name holds one.
    sent: HashMap<Box<[u8]>, Sent, RandomState>,
    /// What found no room.
    others: Sent,
    key: Vec<u8>,
}

impl Samples {
    /// One line was sent.
    pub fn record(&mut self, name: &[u8], tags: &[u8], bytes: usize, now: u64) {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.extend_from_slice(name);
        key.push(b'|');
        key.extend_from_slice(tags);
        let sent = Sent { count: 1, bytes: bytes as u64, last_seen: now };
        let room = self.sent.len() < SAMPLES_MAX;
        match self.sent.get_mut(&*key) {
            Some(known) => known.add(sent),
            None if room => {
                self.sent.insert(Box::from(&*key), sent);
            }
            None => self.others.add(sent),
        }
        self.key = key;
    }

    /// Adds what another lane, or a later time, has seen.
    pub fn merge(&mut self, other: Samples) {
        self.others.add(other.others);
        for (key, sent) in other.sent {
            let room = self.sent.len() < SAMPLES_MAX;
            match self.sent.entry(key) {
                Entry::Occupied(mut known) => known.get_mut().add(sent),
                Entry::Vacant(vacant) if room => {
                    vacant.insert(sent);
                }
                Entry::Vacant(_) => self.others.add(sent),
            }
        }
    }

    /// What was sent since `earlier`, an older copy of the same.
    pub fn since(mut self, earlier: &Samples) -> Self {
        let less = |now: &mut Sent, then: Sent| {
            now.count = now.count.saturating_sub(then.count);
            now.bytes = now.bytes.saturating_sub(then.bytes);
        };
        less(&mut self.others, earlier.others);
        self.sent.retain(|key, sent| {
            less(sent, earlier.sent.get(key).copied().unwrap_or_default());
            sent.count > 0
        });
        self
    }

    /// Names, tags and counts, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], Sent)> {
        self.sent.iter().map(|(key, sent)| {
            let end = memchr::memchr(b'|', key).unwrap_or(key.len());
            (&key[..end], key.get(end + 1..).unwrap_or_default(), *sent)
        })
    }

    /// What found no room.
    pub fn others(&self) -> Sent {
        self.others
    }

    pub fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.others.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(samples: &Samples) -> Vec<(String, String, u64, u64, u64)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut rows: Vec<_> = samples
            .iter()
            .map(|(name, tags, sent)| {
                (text(name), text(tags), sent.count, sent.bytes, sent.last_seen)
            })
            .collect();
        rows.sort();
        rows
    }

    #[test]
    fn counts_add_up_over_lanes_and_subtract_over_time() {
        let mut first = Samples::default();
        first.record(b"a", b"x", 5, 10);
        first.record(b"a", b"x", 7, 11);
        first.record(b"a", b"", 3, 10);
        let mut second = Samples::default();
        second.record(b"a", b"x", 1, 9);
        let earlier = first.clone();
        first.merge(second);
        assert_eq!(
            rows(&first),
            [("a".into(), String::new(), 1, 3, 10), ("a".into(), "x".into(), 3, 13, 11)]
        );
        assert_eq!(rows(&first.since(&earlier)), [("a".into(), "x".into(), 1, 1, 11)]);
    }

    #[test]
    fn what_finds_no_room_is_counted_together() {
        let mut samples = Samples::default();
        for number in 0..SAMPLES_MAX + 5 {
            samples.record(number.to_string().as_bytes(), b"", 2, 1);
        }
        assert_eq!(samples.others(), Sent { count: 5, bytes: 10, last_seen: 1 });
        let mut more = Samples::default();
        more.record(b"new", b"", 1, 2);
        samples.merge(more);
        assert_eq!(samples.others().count, 6);
    }
}
