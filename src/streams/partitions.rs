//! What is known about each Kafka partition: how far it was written, and how far each group has read.
//!
//! Producers and consumers are different programs, so their offsets meet here, by cluster, topic and
//! partition. All of it is by bucket: the lag of a bucket is that at its end, although offsets of later
//! buckets are known when it is closed.
//!
//! Memory: at most [`PARTITIONS_MAX`] partitions and [`READERS_MAX`] groups and environments of
//! producers, each with a key of at most [`KEY_BYTES_MAX`] bytes and at most [`ENTRIES_MAX`] buckets.

use std::collections::HashMap;

use super::lag::{Written, age};
use crate::tag_list::TagList;

/// Partitions at once.
pub(crate) const PARTITIONS_MAX: usize = 10_000;
/// Consumer groups per partition, and environments of producers, all together.
pub(crate) const READERS_MAX: usize = 20_000;
/// Topic, partition and cluster together; group and environment together.
const KEY_BYTES_MAX: usize = 1024;
/// Buckets that a lag in seconds looks back.
const PAIRS: usize = 60;
/// Buckets that are kept: those and the ones that are still open.
const ENTRIES_MAX: usize = 128;
/// How long an offset stands for the ones that did not come, in seconds.
const SEEN: u64 = 300;
/// How old data may be and still be of its own bucket, in seconds.
const OLD: u64 = 600;

/// The highest offset of each bucket, oldest first.
#[derive(Debug, Default)]
struct Offsets(Vec<(u64, u64)>);

impl Offsets {
    /// Notes an offset and returns the highest of its bucket.
    fn note(&mut self, bucket: u64, offset: u64) -> u64 {
        let place = self.0.partition_point(|(known, _)| *known < bucket);
        match self.0.get_mut(place) {
            Some((known, highest)) if *known == bucket => {
                *highest = (*highest).max(offset);
                return *highest;
            }
            _ => self.0.insert(place, (bucket, offset)),
        }
        if self.0.len() > ENTRIES_MAX {
            self.0.remove(0);
        }
        offset
    }

    /// What stands at the end of `bucket`.
    fn at(&self, bucket: u64) -> Option<u64> {
        let until = self.0.partition_point(|(known, _)| *known <= bucket);
        let (known, offset) = self.0[..until].last()?;
        (bucket - known <= SEEN).then_some(*offset)
    }

    /// Forgets what is behind the last `count` buckets until `bucket`.
    fn keep(&mut self, count: usize, bucket: u64) {
        let until = self.0.partition_point(|(known, _)| *known <= bucket);
        self.0.drain(..until.saturating_sub(count));
    }

    /// True when nothing was noted within `seconds` before the end of `bucket`.
    fn is_older(&self, seconds: u64, bucket: u64) -> bool {
        self.0.last().is_none_or(|(known, _)| known.saturating_add(seconds) < bucket)
    }
}

#[derive(Debug, Default)]
struct Partition {
    /// Of all producers.
    produced: Offsets,
    /// Where consumers saw the end: the next offset to be written.
    watermark: Offsets,
    /// By environment, for the gauge of produced offsets.
    producers: HashMap<TagList, Offsets>,
    /// By group and environment: the next offset to be read.
    groups: HashMap<TagList, Offsets>,
}

/// Which end of a partition an offset is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The highest offset that was written. The key has the environment of the producer.
    Produced,
    /// The next offset that a group reads. The key has the group and its environment.
    Committed,
    /// The next offset to be written. The key is not used.
    Watermark,
}

/// How far one group is behind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lag {
    /// Of the partition, then of the group.
    pub tags: TagList,
    /// Not yet read.
    pub messages: u64,
    /// Age of the oldest of them in seconds.
    pub seconds: f64,
}

/// No room for another partition or group, or a key that is longer than any client's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// All partitions.
#[derive(Debug)]
pub(crate) struct Partitions {
    /// Length of a bucket in seconds.
    interval: u64,
    /// Start of the oldest bucket that is open.
    open: u64,
    partitions: HashMap<TagList, Partition>,
    readers: usize,
}

impl Partitions {
    pub fn new(interval: u64) -> Self {
        Partitions { interval: interval.max(1), open: 0, partitions: HashMap::new(), readers: 0 }
    }

    /// Notes an offset of `second`, known at `now` (Unix seconds), and returns the highest of its bucket.
    pub fn note(
        &mut self,
        partition: &TagList,
        end: End,
        key: &TagList,
        offset: u64,
        second: u64,
        now: u64,
    ) -> Result<u64, Full> {
        let bucket = self.bucket(second, now);
        if partition.raw().0.len() > KEY_BYTES_MAX || key.raw().0.len() > KEY_BYTES_MAX {
            return Err(Full);
        }
        if !self.partitions.contains_key(partition) {
            if self.partitions.len() >= PARTITIONS_MAX {
                return Err(Full);
            }
            self.partitions.insert(partition.clone(), Partition::default());
        }
        let known = self.partitions.get_mut(partition).ok_or(Full)?;
        let readers = match end {
            End::Watermark => return Ok(known.watermark.note(bucket, offset)),
            End::Produced => {
                known.produced.note(bucket, offset);
                &mut known.producers
            }
            End::Committed => &mut known.groups,
        };
        if let Some(offsets) = readers.get_mut(key) {
            return Ok(offsets.note(bucket, offset));
        }
        if self.readers >= READERS_MAX {
            return Err(Full);
        }
        self.readers += 1;
        Ok(readers.entry(key.clone()).or_default().note(bucket, offset))
    }

    /// The bucket that something of `second` gets into: its own while that is open, else the nearest.
    fn bucket(&self, second: u64, now: u64) -> u64 {
        let floor = |second: u64| second - second % self.interval;
        let newest = floor(now).max(self.open);
        let oldest = self.open.max(floor(now.saturating_sub(OLD)));
        floor(second).clamp(oldest, newest)
    }

    /// The lags of all groups at the end of the bucket that began at `bucket`, which is closed.
    pub fn close(&mut self, bucket: u64) -> Vec<Lag> {
        self.open = self.open.max(bucket.saturating_add(self.interval));
        let mut lags = Vec::new();
        for (tags, partition) in &mut self.partitions {
            partition.lags(tags, bucket, self.interval, &mut lags);
            partition.forget(bucket);
        }
        self.partitions.retain(|_, partition| {
            !(partition.groups.is_empty()
                && partition.producers.is_empty()
                && partition.watermark.is_older(SEEN, bucket))
        });
        let readers = |partition: &Partition| partition.groups.len() + partition.producers.len();
        self.readers = self.partitions.values().map(readers).sum();
        lags
    }
}

impl Partition {
    fn lags(&self, tags: &TagList, bucket: u64, interval: u64, lags: &mut Vec<Lag>) {
        let produced = self.produced.at(bucket).map(|offset| offset.saturating_add(1));
        let Some(end) = produced.max(self.watermark.at(bucket)) else { return };
        let mut written = Vec::new();
        for (key, commits) in &self.groups {
            let Some(commit) = commits.at(bucket) else { continue };
            let messages = end.saturating_sub(commit);
            let mut seconds = 0.0;
            if messages > 0 {
                if written.is_empty() {
                    written = self.written(bucket, interval, end - 1);
                }
                seconds = age(&written, commit, bucket.saturating_add(interval));
            }
            let mut tags = tags.clone();
            key.iter().for_each(|tag| tags.push(tag));
            lags.push(Lag { tags, messages, seconds });
        }
    }

    /// How far it was written at the end of each bucket until `bucket`, at whose end it was `last`.
    fn written(&self, bucket: u64, interval: u64, last: u64) -> Vec<Written> {
        let mut offsets: Vec<(u64, u64, bool)> = Vec::new();
        offsets.extend(self.produced.0.iter().map(|(bucket, offset)| (*bucket, *offset, true)));
        // Of a partition without messages the end is 0.
        let seen = self.watermark.0.iter().filter(|(_, end)| *end > 0);
        offsets.extend(seen.map(|(bucket, end)| (*bucket, end - 1, false)));
        offsets.retain(|(known, ..)| *known <= bucket);
        offsets.sort_unstable();
        let mut written: Vec<Written> = Vec::new();
        for (bucket, offset, is_produced) in offsets {
            let at = bucket.saturating_add(interval);
            match written.last_mut() {
                Some(known) if known.at == at => known.offset = known.offset.max(offset),
                // A consumer saw the end before the last messages were written.
                Some(known) if !is_produced && offset < known.offset => {}
                _ => written.push(Written { at, offset }),
            }
        }
        if written.last().is_none_or(|known| known.offset < last) {
            written.push(Written { at: bucket.saturating_add(interval), offset: last });
        }
        written.drain(..written.len().saturating_sub(PAIRS));
        written
    }

    fn forget(&mut self, bucket: u64) {
        self.produced.keep(PAIRS, bucket);
        self.watermark.keep(PAIRS, bucket);
        for readers in [&mut self.producers, &mut self.groups] {
            readers.retain(|_, offsets| {
                offsets.keep(1, bucket);
                !offsets.is_older(SEEN, bucket)
            });
        }
    }
}

#[cfg(test)]
mod tests;
