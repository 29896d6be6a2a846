//! Checkpoints, offsets and flushes: what a program calls.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::carrier::{CarrierGet, CarrierSet};
use super::context::{CONTEXT_KEY, Context, Extracted};
use super::flush::{Application, BacklogKind, Bucket, Flush, Output};
use super::hash::{HashProfile, NodeHasher};
use super::losses::{DataStreamsLosses, Losses};
use super::offsets::{Offsets, Source};
use super::options::Options;
use super::pathway::{Direction, Pathway};
use super::periodic::Periodic;
use super::points::{Node, Points};
use super::schema::SchemaSampler;
use crate::clock::Clock;

/// How often everything is sent.
const FLUSH_INTERVAL: Duration = Duration::from_secs(10);
/// How long the end of the program waits for the last flush.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Flushes between two questions for the container's hash.
const ASK_EVERY: u64 = 6;
/// Tags that are sorted without an allocation.
const TAGS_ON_STACK: usize = 16;

/// The data streams of a program. Clones are the same one; give one to every thread.
///
/// When the last clone is dropped and the thread runs, everything is flushed, and the drop waits for that, at most
/// 5 s.
#[derive(Clone)]
pub struct DataStreams {
    inner: Arc<Inner>,
    running: Arc<Running>,
}

/// What data streams are made of.
pub(super) struct Parts {
    pub enabled: bool,
    pub application: Application,
    pub profile: HashProfile,
    pub container_hash: String,
    pub points_max: usize,
    pub clock: Clock,
    pub outputs: Vec<Box<dyn Output>>,
}

struct Inner {
    enabled: bool,
    application: Application,
    profile: HashProfile,
    node: ArcSwap<Node>,
    points: Points,
    offsets: Offsets,
    schemas: SchemaSampler,
    losses: Losses,
    clock: Clock,
    outputs: Vec<Box<dyn Output>>,
    inject_kafka_headers: AtomicBool,
    flushes: AtomicU64,
    /// One flush at a time.
    flushing: Mutex<()>,
}

/// The thread, until the last clone is gone.
#[derive(Default)]
struct Running(Mutex<Option<Periodic>>);

impl Drop for Running {
    fn drop(&mut self) {
        let thread = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            thread.stop_within(STOP_WITHIN);
        }
    }
}

impl DataStreams {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { enabled, application, profile, container_hash, points_max, clock, outputs } =
            parts;
        let Application { service, env, process_tags, .. } = &application;
        let hasher = NodeHasher::new(profile, service, env, process_tags, &container_hash);
        let generation = u64::from(!container_hash.is_empty());
        let inner = Inner {
            enabled,
            application,
            profile,
            node: ArcSwap::from_pointee(Node { hasher, generation }),
            points: Points::new(points_max),
            offsets: Offsets::new(points_max),
            schemas: SchemaSampler::default(),
            losses: Losses::default(),
            clock,
            outputs,
            inject_kafka_headers: AtomicBool::new(true),
            flushes: AtomicU64::new(0),
            flushing: Mutex::default(),
        };
        DataStreams { inner: Arc::new(inner), running: Arc::default() }
    }

    /// Starts the thread that flushes every 10 s. Without it the program calls [`DataStreams::flush`]. Does
    /// nothing when it runs, or when data streams are off.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(&self) -> io::Result<()> {
        let mut running = self.running();
        if running.is_none() && self.inner.enabled {
            let inner = Arc::clone(&self.inner);
            *running = Some(Periodic::spawn(FLUSH_INTERVAL, move |is_last| {
                inner.flush(is_last);
            })?);
        }
        Ok(())
    }

    /// Ends the thread after a last flush, for which it waits at most 5 s.
    pub fn stop(&self) {
        let thread = self.running().take();
        if let Some(thread) = thread {
            thread.stop_within(STOP_WITHIN);
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Periodic>> {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands everything since the last flush to every output, the open bucket too, and waits for them.
    pub fn flush(&self) {
        self.inner.flush(false);
    }

    /// False when data streams are off: every call returns at once.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.inner.enabled
    }

    /// What was not reported as it should be.
    #[must_use]
    pub fn losses(&self) -> DataStreamsLosses {
        self.inner.losses.read()
    }

    /// A message was read from `source`, a topic or queue of the kind `ty` (`kafka`, `sqs`, …): reads its context
    /// from `carrier` and passes a checkpoint `direction:in`. What has no context, or one that cannot be read,
    /// begins a pathway.
    pub fn consume(
        &self,
        ty: &str,
        source: &str,
        carrier: &dyn CarrierGet,
        options: &Options<'_>,
    ) -> Option<Pathway> {
        let (ty, topic) = (format!("type:{ty}"), format!("topic:{source}"));
        let manual = [&*ty, &topic, "direction:in", MANUAL];
        self.consume_tagged(
            &manual[..manual.len() - usize::from(options.automatic)],
            carrier,
            options,
        )
    }

    /// A message is about to be written to `target`: passes a checkpoint `direction:out` and puts the context into
    /// `carrier`. `parent` is the pathway that the message continues, if it came from another one.
    pub fn produce(
        &self,
        ty: &str,
        target: &str,
        carrier: &mut dyn CarrierSet,
        parent: Option<&Pathway>,
        options: &Options<'_>,
    ) -> Option<Pathway> {
        let (ty, topic) = (format!("type:{ty}"), format!("topic:{target}"));
        let manual = [&*ty, &topic, "direction:out", MANUAL];
        let tags = &manual[..manual.len() - usize::from(options.automatic)];
        self.produce_tagged(tags, carrier, parent, options)
    }

    /// Passes a checkpoint with these edge tags, of which one should be `direction:in` or `direction:out`.
    pub fn set_checkpoint(
        &self,
        tags: &[&str],
        parent: Option<&Pathway>,
        options: &Options<'_>,
    ) -> Option<Pathway> {
        self.inner.enabled.then(|| {
            let now = self.inner.clock.unix();
            let pathway = parent.cloned().unwrap_or_else(|| Pathway::new(now));
            self.inner.pass(tags, pathway, now, options)
        })
    }

    /// As [`DataStreams::consume`], with all tags from the caller.
    pub(super) fn consume_tagged(
        &self,
        tags: &[&str],
        carrier: &dyn CarrierGet,
        options: &Options<'_>,
    ) -> Option<Pathway> {
        self.inner.enabled.then(|| {
            let now = self.inner.clock.unix();
            let pathway = match Context::extract(carrier) {
                Extracted::Found(context) => Pathway::from_context(&context),
                Extracted::Missing => Pathway::new(now),
                Extracted::Invalid => {
                    self.inner.losses.invalid_contexts.fetch_add(1, Ordering::Relaxed);
                    Pathway::new(now)
                }
            };
            self.inner.pass(tags, pathway, now, options)
        })
    }

    /// As [`DataStreams::produce`], with all tags from the caller.
    pub(super) fn produce_tagged(
        &self,
        tags: &[&str],
        carrier: &mut dyn CarrierSet,
        parent: Option<&Pathway>,
        options: &Options<'_>,
    ) -> Option<Pathway> {
        let pathway = self.set_checkpoint(tags, parent, options)?;
        if pathway.hash() != 0 {
            carrier.set(CONTEXT_KEY, pathway.to_base64().as_bytes());
        }
        Some(pathway)
    }

    /// The message at `offset` was written. Offsets that are not known are negative, and count as 0.
    pub fn track_produce(&self, topic: &str, partition: i32, offset: i64, cluster: Option<&str>) {
        self.note(BacklogKind::Produce, "", topic, partition, offset, cluster);
    }

    /// `group` will read the message at `offset` next: one more than the last it has read.
    pub fn track_commit(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        offset: i64,
        cluster: Option<&str>,
    ) {
        self.note(BacklogKind::Commit, group, topic, partition, offset, cluster);
    }

    /// A consumer saw that the message at `offset` will be written next.
    pub fn track_high_watermark(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        cluster: Option<&str>,
    ) {
        self.note(BacklogKind::HighWatermark, "", topic, partition, offset, cluster);
    }

    fn note(
        &self,
        kind: BacklogKind,
        group: &str,
        topic: &str,
        partition: i32,
        offset: i64,
        cluster: Option<&str>,
    ) {
        let inner = &self.inner;
        if inner.enabled {
            let cluster = cluster.unwrap_or_default();
            let source = Source { kind, group, topic, partition, cluster };
            inner.offsets.note(source, offset, nanos(inner.clock.unix()), &inner.losses);
        }
    }

    /// Counts a message of `topic` and says whether its schema should be looked at: at most one in 30 s, and for
    /// how many messages since the last it stands.
    pub fn sample_schema(&self, topic: &str) -> Option<u64> {
        let inner = &self.inner;
        inner.enabled.then(|| inner.schemas.sample(topic, inner.clock.unix())).flatten()
    }

    /// Whether headers may be put on Kafka messages.
    pub(super) fn injects_kafka_headers(&self) -> bool {
        self.inner.inject_kafka_headers.load(Ordering::Relaxed)
    }

    /// For good: the brokers are too old for headers. True for the first time.
    pub(super) fn stop_injecting_kafka_headers(&self) -> bool {
        self.inner.inject_kafka_headers.swap(false, Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn hashes(&self) -> usize {
        self.inner.points.hashes()
    }
}

impl std::fmt::Debug for DataStreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let application = &self.inner.application;
        f.debug_struct("DataStreams")
            .field("enabled", &self.inner.enabled)
            .field("application", application)
            .finish_non_exhaustive()
    }
}

const MANUAL: &str = "manual_checkpoint:true";

impl Inner {
    fn pass(
        &self,
        tags: &[&str],
        mut pathway: Pathway,
        now: Duration,
        options: &Options<'_>,
    ) -> Pathway {
        with_sorted([tags, options.tags], |tags| {
            let direction = Direction::of(tags);
            let mut size = options.payload_size;
            if direction == Direction::Out {
                // The header that this message will have; of the context before, as the Python client counts it.
                size += (pathway.context().base64_len() + CONTEXT_KEY.len()) as u64;
            }
            let step = pathway.step(direction, now, options.edge_start, options.pathway_start);
            let node = self.node.load();
            let now = nanos(now);
            let hash = self.points.record(&node, tags, &step, size, now, &self.losses);
            pathway.arrive(hash);
        });
        pathway
    }

    fn flush(&self, is_last: bool) {
        let _one = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let application = self.application.clone();
        let unix_seconds = self.clock.unix().as_secs();
        let flush = Flush { application, buckets: self.take(), unix_seconds, is_last };
        for output in &self.outputs {
            let deliver = AssertUnwindSafe(|| output.deliver(&flush));
            // An output that panics has lost this flush, and no other output has.
            if !catch_unwind(deliver).unwrap_or(false) {
                self.losses.flushes.fetch_add(1, Ordering::Relaxed);
            }
        }
        let flushes = self.flushes.fetch_add(1, Ordering::Relaxed);
        if !is_last && flushes.is_multiple_of(ASK_EVERY) {
            self.ask_for_container();
        }
    }

    fn take(&self) -> Vec<Bucket> {
        let mut buckets: Vec<Bucket> = Vec::new();
        for (start, points) in self.points.take() {
            buckets.push(Bucket { start, points, backlogs: Vec::new() });
        }
        for (start, backlogs) in self.offsets.take() {
            match buckets.iter_mut().find(|bucket| bucket.start == start) {
                Some(bucket) => bucket.backlogs = backlogs,
                None => buckets.push(Bucket { start, points: Vec::new(), backlogs }),
            }
        }
        buckets.sort_unstable_by_key(|bucket| bucket.start);
        buckets
    }

    /// Until an output knows it, and only where it is hashed.
    fn ask_for_container(&self) {
        let process_tags = &self.application.process_tags;
        let known = self.node.load().generation > 0;
        if known || process_tags.is_empty() || self.profile == HashProfile::Plain {
            return;
        }
        if let Some(hash) = self.outputs.iter().find_map(|output| output.container_hash()) {
            let Application { service, env, .. } = &self.application;
            let hasher = NodeHasher::new(self.profile, service, env, process_tags, &hash);
            self.node.store(Arc::new(Node { hasher, generation: 1 }));
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Calls with all tags, sorted bytewise.
fn with_sorted<'a, R>(lists: [&[&'a str]; 2], call: impl FnOnce(&[&'a str]) -> R) -> R {
    let [first, second] = lists;
    let count = first.len() + second.len();
    let mut few = [""; TAGS_ON_STACK];
    match few.get_mut(..count) {
        Some(tags) => {
            tags[..first.len()].copy_from_slice(first);
            tags[first.len()..].copy_from_slice(second);
            tags.sort_unstable();
            call(tags)
        }
        None => {
            let mut tags = [first, second].concat();
            tags.sort_unstable();
            call(&tags)
        }
    }
}
