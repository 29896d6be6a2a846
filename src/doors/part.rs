//! One value of one series, as a door decodes it, and where it goes.

pub(crate) use crate::aggregate::Value;
use crate::aggregate::{CheckRecord, EventRecord};

use super::Reason;

/// The tags of parts, written once and used for every series of a group. Any bytes: a tag may hold
/// commas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct PartTags {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl PartTags {
    /// Forgets all tags and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Keeps the first `count` tags.
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

/// One value of one series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    /// The final name of the metric.
    pub name: &'a [u8],
    /// Its tags; those of the sender's container and of the configuration join them in the sink.
    pub tags: &'a PartTags,
    /// The host; empty for ours.
    pub host: &'a [u8],
    /// Unix seconds.
    pub second: i64,
    pub value: Value<'a>,
}

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// In the bucket of its second.
    Recorded,
    /// Recorded, but not in the bucket of its second: that one is closed, or ahead of the clock.
    Late,
    /// Not recorded.
    Refused(Reason),
}

/// Takes parts of one request, and counts each of them for the request's route.
pub(crate) trait Sink {
    /// Records one value.
    fn put(&mut self, part: &Part<'_>) -> Outcome;
    /// Records an event.
    fn event(&mut self, event: EventRecord) -> Outcome;
    /// Records a service check.
    fn check(&mut self, check: CheckRecord) -> Outcome;
    /// Counts a part that the door could not read.
    fn refuse(&mut self, reason: Reason);
}
