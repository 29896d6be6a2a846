//! Points by bucket: what checkpoints measured since the last flush.
//!
//! Clever: one lookup finds the sketches of a point and the hash of its pathway, so that a checkpoint that
//! was passed before in this bucket hashes its tags once, with the fast hash. Only the first of a bucket asks the cache
//! of pathway hashes, and only what is not in there is hashed byte by byte.
//!
//! Memory: at most `points_max` points a bucket (`Builder::points_max`) and [`OPEN_BUCKETS_MAX`] buckets; the
//! sketches of all of them at most [`SKETCH_BYTES_MAX`], past which they become less precise.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use hashbrown::HashTable;

use super::flush::{BUCKET_NANOSECONDS, Point};
use super::hash::NodeHasher;
use super::losses::Losses;
use super::pathway::Step;
use crate::memory::{MemoryLimit, MemoryShare};
use crate::sketch::Sketch;

/// Checkpoints of different points rarely wait for each other.
const SHARDS: usize = 16;
/// Pathway hashes that are remembered from bucket to bucket, in all shards.
pub(super) const HASHES_MAX: usize = 1000;
/// Buckets that wait for a flush; past it the oldest goes. More than one is open only around a border, or when
/// no one flushes.
const OPEN_BUCKETS_MAX: usize = 6;
/// What the sketches of all points may take.
const SKETCH_BYTES_MAX: usize = 64 << 20;

/// Service, environment and process tags as they are now; another one has another generation, so that no hash
/// of the one before is taken for its own.
#[derive(Debug)]
pub(super) struct Node {
    pub hasher: NodeHasher,
    pub generation: u64,
}

/// All points.
pub(super) struct Points {
    shards: [Mutex<Shard>; SHARDS],
    state: RandomState,
    points_max: usize,
    /// How many points each bucket has in all shards, by start.
    counts: Mutex<Vec<(u64, Arc<AtomicUsize>)>>,
}

struct Shard {
    /// Ascending by start; the current one is last.
    buckets: Vec<OpenBucket>,
    known: HashTable<Known>,
    memory: MemoryShare,
}

struct OpenBucket {
    start: u64,
    points: HashTable<OpenPoint>,
    count: Arc<AtomicUsize>,
}

struct OpenPoint {
    key: Key,
    /// Of `key`.
    place: u64,
    hash: u64,
    pathway_latency: Sketch,
    edge_latency: Sketch,
    payload_size: Sketch,
}

/// A pathway hash that was computed once.
struct Known {
    key: Key,
    place: u64,
    hash: u64,
}

/// Tags, parent and node.
#[derive(Clone)]
struct Key {
    /// Each tag with its length before it.
    tags: Arc<[u8]>,
    parent: u64,
    generation: u64,
}

impl Key {
    #[inline]
    fn is(&self, tags: &[u8], parent: u64, generation: u64) -> bool {
        self.parent == parent && self.generation == generation && *self.tags == *tags
    }
}

thread_local! {
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Points {
    pub fn new(points_max: usize) -> Self {
        let limit = Arc::new(MemoryLimit::new(SKETCH_BYTES_MAX));
        let shard = || {
            Mutex::new(Shard {
                buckets: Vec::new(),
                known: HashTable::new(),
                memory: MemoryShare::of(&limit),
            })
        };
        Points {
            shards: std::array::from_fn(|_| shard()),
            state: RandomState::new(),
            points_max,
            counts: Mutex::default(),
        }
    }

    /// Records a step with these tags, which are sorted, at `now` (nanoseconds since the epoch), and returns
    /// the hash of the pathway it leads to.
    pub fn record(
        &self,
        node: &Node,
        tags: &[&str],
        step: &Step,
        size: u64,
        now: u64,
        losses: &Losses,
    ) -> u64 {
        KEY.with_borrow_mut(|key| {
            key.clear();
            for tag in tags {
                key.extend_from_slice(&(tag.len() as u32).to_le_bytes());
                key.extend_from_slice(tag.as_bytes());
            }
            let mut hasher = self.state.build_hasher();
            hasher.write(key);
            hasher.write_u64(step.parent);
            let place = hasher.finish();
            let start = now - now % BUCKET_NANOSECONDS;
            // Not the bits that the tables use.
            let mut shard = lock(&self.shards[(place >> 40) as usize % SHARDS]);
            let Shard { buckets, known, memory } = &mut *shard;
            let bucket = match buckets.iter().rposition(|bucket| bucket.start == start) {
                Some(bucket) => &mut buckets[bucket],
                None => self.open(buckets, start, losses),
            };
            let is = |point: &OpenPoint| point.key.is(key, step.parent, node.generation);
            if let Some(point) = bucket.points.find_mut(place, is) {
                point.add(step, size, memory);
                return point.hash;
            }
            let (key, hash) = pathway_hash(known, node, tags, key, step.parent, place);
            if bucket.count.fetch_add(1, Ordering::Relaxed) >= self.points_max {
                bucket.count.fetch_sub(1, Ordering::Relaxed);
                losses.points.fetch_add(1, Ordering::Relaxed);
                return hash;
            }
            let mut point = OpenPoint::new(key, place, hash);
            point.add(step, size, memory);
            bucket.points.insert_unique(place, point, |point| point.place);
            hash
        })
    }

    #[cold]
    fn open<'a>(
        &self,
        buckets: &'a mut Vec<OpenBucket>,
        start: u64,
        losses: &Losses,
    ) -> &'a mut OpenBucket {
        if buckets.len() >= OPEN_BUCKETS_MAX {
            let oldest = buckets.remove(0);
            let lost: u64 = oldest.points.iter().map(|point| point.pathway_latency.count()).sum();
            losses.expired.fetch_add(lost, Ordering::Relaxed);
        }
        let count = {
            let mut counts = lock(&self.counts);
            match counts.iter().find(|(known, _)| *known == start) {
                Some((_, count)) => Arc::clone(count),
                None => {
                    let count = Arc::<AtomicUsize>::default();
                    // Those that are forgotten here live on in the shards that use them.
                    if counts.len() >= OPEN_BUCKETS_MAX {
                        counts.remove(0);
                    }
                    counts.push((start, Arc::clone(&count)));
                    count
                }
            }
        };
        let place = buckets.partition_point(|bucket| bucket.start < start);
        buckets.insert(place, OpenBucket { start, points: HashTable::new(), count });
        &mut buckets[place]
    }

    /// Everything that was recorded since the last call, by start of the bucket.
    pub fn take(&self) -> Vec<(u64, Vec<Point>)> {
        lock(&self.counts).clear();
        let mut taken: Vec<(u64, Vec<Point>)> = Vec::new();
        for shard in &self.shards {
            let buckets = {
                let mut shard = lock(shard);
                shard.memory.release();
                std::mem::take(&mut shard.buckets)
            };
            for bucket in buckets {
                let points = bucket.points.into_iter().map(OpenPoint::close);
                match taken.iter_mut().find(|(start, _)| *start == bucket.start) {
                    Some((_, all)) => all.extend(points),
                    None => taken.push((bucket.start, points.collect())),
                }
            }
        }
        taken.sort_unstable_by_key(|(start, _)| *start);
        for (_, points) in &mut taken {
            points.sort_unstable_by(|a, b| {
                (&a.edge_tags, a.parent_hash).cmp(&(&b.edge_tags, b.parent_hash))
            });
        }
        taken
    }

    /// Pathway hashes that are remembered.
    #[cfg(test)]
    pub fn hashes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).known.len()).sum()
    }
}

/// The hash of a pathway that is new to its bucket.
#[cold]
fn pathway_hash(
    known: &mut HashTable<Known>,
    node: &Node,
    tags: &[&str],
    key: &[u8],
    parent: u64,
    place: u64,
) -> (Key, u64) {
    if let Some(known) = known.find(place, |known| known.key.is(key, parent, node.generation)) {
        return (known.key.clone(), known.hash);
    }
    let hash = node.hasher.pathway(tags.iter().map(|tag| tag.as_bytes()), parent);
    let key = Key { tags: key.into(), parent, generation: node.generation };
    // All at once: what is still in use comes back at its next bucket.
    if known.len() >= HASHES_MAX / SHARDS {
        known.clear();
    }
    known.insert_unique(place, Known { key: key.clone(), place, hash }, |known| known.place);
    (key, hash)
}

impl OpenPoint {
    fn new(key: Key, place: u64, hash: u64) -> Self {
        let [pathway_latency, edge_latency, payload_size] =
            std::array::from_fn(|_| Sketch::default());
        OpenPoint { key, place, hash, pathway_latency, edge_latency, payload_size }
    }

    #[inline]
    fn add(&mut self, step: &Step, size: u64, memory: &mut MemoryShare) {
        for (sketch, value) in [
            (&mut self.pathway_latency, step.pathway_latency.as_secs_f64()),
            (&mut self.edge_latency, step.edge_latency.as_secs_f64()),
            (&mut self.payload_size, size as f64),
        ] {
            // It takes every finite value until it holds 1.76e13 of them.
            sketch.insert_within(value, 1.0, memory);
        }
    }

    fn close(self) -> Point {
        let mut edge_tags = Vec::new();
        let mut rest = &*self.key.tags;
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (tag, next) = after.split_at(u32::from_le_bytes(*length) as usize);
            edge_tags.push(String::from_utf8_lossy(tag).into_owned());
            rest = next;
        }
        Point {
            edge_tags,
            hash: self.hash,
            parent_hash: self.key.parent,
            pathway_latency: self.pathway_latency,
            edge_latency: self.edge_latency,
            payload_size: self.payload_size,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is complete in itself.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
