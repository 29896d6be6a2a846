//! A context table and its open bucket, owned by one thread.
//!
//! Here a shard is made, its buckets open and close, and what was not seen for long is forgotten. The
//! way of a line through it stands in three more files: [`super::ingest`] takes datagrams and the
//! plain metrics in them, [`super::line`] any single line, [`super::events`] events and checks.

use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use super::bucket::Bucket;
use super::counts::LineCounts;
use super::write_order::WriteOrders;
use super::writes::Writes;
use crate::context::heavy_hitters::HeavyHitters;
use crate::context::{Birth, Contexts, DropReason, Rules};
use crate::memory::{MemoryLimit, MemoryShare};
use crate::protocol::{Options, ParseError, Separators};

/// How a shard aggregates.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    /// Length of a bucket, whole seconds, at least one.
    pub interval: Duration,
    /// What the reader honours.
    pub options: Options,
    /// A context not seen for so long is forgotten (`dogstatsd_context_expiry_seconds`).
    pub context_expiry: Duration,
    /// Distinct set members counted exactly.
    pub set_members_max: usize,
    /// Events and checks of one interval; timestamped points may be 100 times as many.
    pub events_max: usize,
    /// Feed a distribution with every histogram, under this prefix and its name
    /// (`histogram_copy_to_distribution`).
    pub histogram_copy: Option<Box<[u8]>>,
    /// What samples, members and sketches of all shards together may take
    /// (`aggregation_bytes_max`). Past it sets and percentiles become less precise; nothing is lost.
    pub memory: Arc<MemoryLimit>,
}

/// Bytes that samples, members and sketches may take where nothing else is known.
pub const AGGREGATION_BYTES_MAX: usize = 512 << 20;

impl Default for ShardSettings {
    fn default() -> Self {
        ShardSettings {
            interval: Duration::from_secs(10),
            options: Options::default(),
            context_expiry: Duration::from_secs(20),
            set_members_max: 1_000,
            events_max: 10_000,
            histogram_copy: None,
            memory: Arc::new(MemoryLimit::new(AGGREGATION_BYTES_MAX)),
        }
    }
}

/// Tables up to here are swept in one go, which takes less than a tenth of a millisecond.
const SWEEP_AT_ONCE: usize = 1_024;

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// At least one value, the event or the check is in the bucket.
    Recorded,
    /// It does not follow the grammar.
    Refused(ParseError),
    /// It does, and was not recorded.
    Dropped(DropReason),
}

/// One shard.
#[derive(Debug)]
pub struct Shard {
    pub(super) settings: ShardSettings,
    pub(super) contexts: Contexts,
    pub(super) state: RandomState,
    pub(super) bucket: Bucket,
    /// The number of the open bucket since the epoch, never 0.
    pub(super) epoch: u32,
    pub(super) write_orders: WriteOrders,
    /// Unix seconds of the batch.
    pub(super) now: i64,
    /// Where the origin part of a raw key is written; kept for its memory.
    pub(super) origin_key: Vec<u8>,
    /// Where the separators of a datagram are written; kept for its memory.
    pub(super) separators: Separators,
    /// What the known metrics at hand write; empty between datagrams.
    pub(super) writes: Writes,
    /// The same as `origin_key`, for a line with a time of its own.
    pub(super) local_key: Vec<u8>,
}

impl Shard {
    /// A shard whose first bucket is the one that holds `now` (time since the epoch). `state` must
    /// be the same for every shard of a flusher.
    #[must_use]
    pub fn new(
        settings: ShardSettings,
        rules: Arc<Rules>,
        state: RandomState,
        now: Duration,
    ) -> Self {
        let write_orders = WriteOrders::new(settings.interval);
        let contexts = Contexts::new(rules, state.clone());
        let bucket = Bucket::default();
        // What is copied is known by its context, not by its cell alone.
        let writes = Writes::new(settings.histogram_copy.is_none());
        let mut shard = Shard {
            settings,
            contexts,
            state,
            bucket,
            epoch: 1,
            write_orders,
            now: 0,
            origin_key: Vec::new(),
            separators: Separators::default(),
            writes,
            local_key: Vec::new(),
        };
        shard.open(now);
        shard
    }

    fn interval_seconds(&self) -> u64 {
        self.settings.interval.as_secs().max(1)
    }

    fn open(&mut self, now: Duration) {
        self.bucket.memory = MemoryShare::of(&self.settings.memory);
        let number = now.as_secs() / self.interval_seconds();
        self.bucket.start = number * self.interval_seconds();
        // Wraps after 2^32 buckets: in 2106 at one second, else later.
        self.epoch = (number as u32).max(1);
        self.write_orders.reset();
        self.begin_batch(now);
    }

    /// Sets the time of the lines that follow: read the clock once per batch.
    pub fn begin_batch(&mut self, now: Duration) {
        self.now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.write_orders.batch(now.saturating_sub(Duration::from_secs(self.bucket.start)));
    }

    /// The end of the open bucket, since the epoch. A clock that steps back leaves it open.
    #[must_use]
    pub fn bucket_end(&self) -> Duration {
        Duration::from_secs(self.bucket.start) + self.settings.interval
    }

    /// Closes the open bucket and opens the one that holds `now`, which must not lie before the
    /// end of the open one unless this is the last. `spare` is an emptied bucket for reuse.
    pub fn close(&mut self, now: Duration, spare: Bucket) -> Bucket {
        let mut closed = std::mem::replace(&mut self.bucket, spare);
        self.bucket.expect(&closed);
        (closed.births, closed.deaths) = self.contexts.take_changes();
        let first_sights = self.contexts.take_counts();
        closed.counts.lines_folded += first_sights.folded;
        closed.counts.texts_repaired += first_sights.repaired;
        closed.counts.tags_left_out += first_sights.tags_left_out;
        self.open(now);
        self.start_sweep();
        closed
    }

    /// What was counted in the open bucket.
    pub fn counts(&mut self) -> &mut LineCounts {
        &mut self.bucket.counts
    }

    /// Contexts alive.
    #[must_use]
    pub fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// Which names asked for contexts past a cap since the last call.
    pub fn take_heavy_hitters(&mut self) -> HeavyHitters {
        self.contexts.take_heavy_hitters()
    }

    /// Contexts born since the last close.
    #[must_use]
    pub fn births(&self) -> &[Birth] {
        self.contexts.births()
    }

    /// New rules; known metrics are decided again at their next line, cells stay.
    pub fn set_rules(&mut self, rules: Arc<Rules>) {
        self.contexts.set_rules(rules);
    }

    /// The tags of senders may have changed; known metrics are decided again at their next line.
    pub fn decide_again(&mut self) {
        self.contexts.decide_again();
    }

    fn start_sweep(&mut self) {
        let interval = self.interval_seconds();
        let buckets = self.settings.context_expiry.as_secs().div_ceil(interval).max(1);
        let buckets = u32::try_from(buckets).unwrap_or(u32::MAX);
        self.contexts.start_sweep(self.epoch.saturating_sub(buckets));
        if self.contexts.len() + self.contexts.aliases() <= SWEEP_AT_ONCE {
            while self.contexts.sweep_step() {}
        }
    }

    /// True while something may still have to be forgotten.
    #[must_use]
    pub fn is_sweeping(&self) -> bool {
        self.contexts.is_sweeping()
    }

    /// One bounded step of forgetting what was not seen for long; true while there is more to do.
    pub fn sweep_some(&mut self) -> bool {
        self.contexts.sweep_step()
    }
}
