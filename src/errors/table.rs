//! Every error seen, by its occurrence: what is counted of it. Reading takes a lock that readers share;
//! only an error that was never seen before takes it alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use ahash::RandomState;

use super::fingerprint::Occurrence;

/// Errors known at a time.
pub(super) const ENTRIES_MAX: usize = 8192;
const SHARDS: usize = 16;
/// Flushes without an occurrence after which an error is forgotten, if the table is full.
const IDLE_FLUSHES: u32 = 60;

/// One known error.
#[derive(Debug)]
pub(super) struct Entry {
    pub fingerprint: u64,
    /// `error_type`, `module`, `fingerprint`, `kind`.
    pub tags: [String; 4],
    pub tracked: bool,
    /// Occurrences since the last flush.
    pub count: AtomicU64,
    /// The sample interval in which it was last sampled.
    pub sampled: AtomicU64,
    /// Taken with the first sample: it differs little between samples and costs much.
    pub backtrace: OnceLock<String>,
    idle: AtomicU32,
}

impl Entry {
    pub fn new(fingerprint: u64, tags: [String; 4], tracked: bool) -> Self {
        Entry {
            fingerprint,
            tags,
            tracked,
            count: AtomicU64::new(0),
            sampled: AtomicU64::new(0),
            backtrace: OnceLock::new(),
            idle: AtomicU32::new(0),
        }
    }
}

type Shard = RwLock<HashMap<Occurrence, Arc<Entry>, RandomState>>;

#[derive(Debug)]
pub(super) struct Table {
    state: RandomState,
    shards: [Shard; SHARDS],
}

impl Table {
    pub fn new() -> Self {
        let state = RandomState::new();
        let shards = std::array::from_fn(|_| RwLock::new(HashMap::with_hasher(state.clone())));
        Table { state, shards }
    }

    fn shard(&self, occurrence: &Occurrence) -> &Shard {
        &self.shards[self.state.hash_one(occurrence) as usize % SHARDS]
    }

    /// Calls `visit` with the entry of a known error.
    #[inline]
    pub fn with<R>(
        &self,
        occurrence: &Occurrence,
        visit: impl FnOnce(&Arc<Entry>) -> R,
    ) -> Option<R> {
        let shard = self.shard(occurrence).read().unwrap_or_else(PoisonError::into_inner);
        shard.get(occurrence).map(visit)
    }

    /// Keeps a new entry, or gives the one that came in between. None when there is no room.
    pub fn insert(&self, occurrence: Occurrence, entry: Entry) -> Option<Arc<Entry>> {
        let mut shard = self.shard(&occurrence).write().unwrap_or_else(PoisonError::into_inner);
        let max = ENTRIES_MAX / SHARDS;
        if shard.len() >= max && !shard.contains_key(&occurrence) {
            shard.retain(|_, entry| entry.idle.load(Ordering::Relaxed) < IDLE_FLUSHES);
            if shard.len() >= max {
                return None;
            }
        }
        Some(Arc::clone(shard.entry(occurrence).or_insert_with(|| Arc::new(entry))))
    }

    /// Calls `visit` with each error and how often it occurred since the last call.
    pub fn take(&self, visit: &mut dyn FnMut(&Arc<Entry>, u64)) {
        for shard in &self.shards {
            // A copy, so that nobody waits for what `visit` does.
            let entries: Vec<Arc<Entry>> = {
                let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
                shard.values().cloned().collect()
            };
            for entry in entries {
                let count = entry.count.swap(0, Ordering::Relaxed);
                if count == 0 {
                    entry.idle.fetch_add(1, Ordering::Relaxed);
                } else {
                    entry.idle.store(0, Ordering::Relaxed);
                    visit(&entry, count);
                }
            }
        }
    }
}
