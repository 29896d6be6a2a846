//! Kafka offsets by bucket: the highest of each partition, and of each group in it.
//!
//! Memory: a bounded number a bucket, and a bounded number of buckets.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use ahash::RandomState;
use hashbrown::HashTable;

use super::flush::{BUCKET_NANOSECONDS, Backlog, BacklogKind};
use super::losses::Losses;

/// Buckets that wait for a flush.
const OPEN_BUCKETS_MAX: usize = 6;

pub(super) struct Offsets {
    buckets: Mutex<BTreeMap<u64, HashTable<Backlog>>>,
    state: RandomState,
    offsets_max: usize,
}

/// What an offset is of.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub kind: BacklogKind,
    /// Empty unless it is a commit.
    pub group: &'a str,
    pub topic: &'a str,
    pub partition: i32,
    /// Empty when it is not known.
    pub cluster: &'a str,
}

impl Source<'_> {
    fn of(backlog: &Backlog) -> Source<'_> {
        let Backlog { kind, group, topic, partition, cluster, .. } = backlog;
        Source { kind: *kind, group, topic, partition: *partition, cluster }
    }

    fn parts(&self) -> (BacklogKind, i32, &str, &str, &str) {
        (self.kind, self.partition, self.topic, self.group, self.cluster)
    }

    fn place(&self, state: &RandomState) -> u64 {
        let mut hasher = state.build_hasher();
        std::hash::Hash::hash(&self.parts(), &mut hasher);
        hasher.finish()
    }
}

impl Offsets {
    pub fn new(offsets_max: usize) -> Self {
        Offsets { buckets: Mutex::default(), state: RandomState::new(), offsets_max }
    }

    /// Notes an offset at `now` (nanoseconds since the epoch). Of several in a bucket the highest stays; what is
    /// negative, which is how clients write one that they do not know, counts as 0, as in the Python client.
    pub fn note(&self, source: Source<'_>, offset: i64, now: u64, losses: &Losses) {
        let offset = offset.max(0);
        let start = now - now % BUCKET_NANOSECONDS;
        let place = source.place(&self.state);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(&start)
            && buckets.len() >= OPEN_BUCKETS_MAX
            && let Some((_, oldest)) = buckets.pop_first()
        {
            losses.expired.fetch_add(oldest.len() as u64, Ordering::Relaxed);
        }
        let bucket = buckets.entry(start).or_default();
        let is = |known: &Backlog| Source::of(known).parts() == source.parts();
        if let Some(known) = bucket.find_mut(place, is) {
            known.offset = known.offset.max(offset);
        } else if bucket.len() >= self.offsets_max {
            losses.offsets.fetch_add(1, Ordering::Relaxed);
        } else {
            let Source { kind, partition, .. } = source;
            let [group, topic, cluster] =
                [source.group, source.topic, source.cluster].map(str::to_owned);
            let new = Backlog { kind, group, topic, partition, cluster, offset };
            let rehash = |known: &Backlog| Source::of(known).place(&self.state);
            bucket.insert_unique(place, new, rehash);
        }
    }

    /// Everything since the last call, by start of the bucket; commits first, as the Python client lists them.
    pub fn take(&self) -> Vec<(u64, Vec<Backlog>)> {
        let buckets =
            std::mem::take(&mut *self.buckets.lock().unwrap_or_else(PoisonError::into_inner));
        let sorted = |bucket: HashTable<Backlog>| {
            let mut backlogs: Vec<Backlog> = bucket.into_iter().collect();
            let of = |backlog: &Backlog| {
                let Backlog { kind, topic, partition, group, cluster, .. } = backlog;
                (*kind, topic.clone(), *partition, group.clone(), cluster.clone())
            };
            backlogs.sort_by_cached_key(of);
            backlogs
        };
        buckets.into_iter().map(|(start, bucket)| (start, sorted(bucket))).collect()
    }
}
