//! What is reported of the time since the last flush, for whoever takes it.

use crate::sketch::Sketch;

/// Length of a bucket in nanoseconds: 10 s, which is also how often one is sent.
pub const BUCKET_NANOSECONDS: u64 = 10_000_000_000;

/// Everything since the last flush.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flush {
    /// Whose it is.
    pub application: Application,
    /// Ascending by start. A bucket may come in several parts, one a flush: counts add up, and of offsets the
    /// highest is meant.
    pub buckets: Vec<Bucket>,
    /// When it was made.
    pub unix_seconds: u64,
    /// Nothing follows: the program ends.
    pub is_last: bool,
}

/// The program that reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// Its name.
    pub service: String,
    /// Empty when it is not set.
    pub env: String,
    /// As well.
    pub version: String,
    /// As well.
    pub hostname: String,
    /// `key:value`, in order; empty when they are not enabled.
    pub process_tags: Vec<String>,
}

/// What passed in 10 seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bucket {
    /// Nanoseconds since the epoch, a multiple of [`BUCKET_NANOSECONDS`].
    pub start: u64,
    /// One for each edge of each pathway.
    pub points: Vec<Point>,
    /// Kafka offsets.
    pub backlogs: Vec<Backlog>,
}

/// Messages that took one edge of one pathway.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// Sorted.
    pub edge_tags: Vec<String>,
    /// Of the pathway so far.
    pub hash: u64,
    /// Of the pathway before; 0 where it begins.
    pub parent_hash: u64,
    /// Seconds since the first checkpoint.
    pub pathway_latency: Sketch,
    /// Seconds since the checkpoint before.
    pub edge_latency: Sketch,
    /// Bytes.
    pub payload_size: Sketch,
}

/// A Kafka offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Of what.
    pub kind: BacklogKind,
    /// Empty unless it is a commit.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Empty when it is not known.
    pub cluster: String,
    /// The highest of the bucket, at least 0.
    pub offset: i64,
}

/// What an offset is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BacklogKind {
    /// The next message that a group reads.
    Commit,
    /// The last message that was written.
    Produce,
    /// The next message that will be written, as a consumer sees it.
    HighWatermark,
}

impl BacklogKind {
    /// The value of its tag `type`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            BacklogKind::Commit => "kafka_commit",
            BacklogKind::Produce => "kafka_produce",
            BacklogKind::HighWatermark => "kafka_high_watermark",
        }
    }
}

impl Backlog {
    /// `key:value`, in the order of the Python client.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        let mut tags = vec![format!("type:{}", self.kind.word())];
        if self.kind == BacklogKind::Commit {
            tags.push(format!("consumer_group:{}", self.group));
        }
        tags.push(format!("topic:{}", self.topic));
        tags.push(format!("partition:{}", self.partition));
        if !self.cluster.is_empty() {
            tags.push(format!("kafka_cluster_id:{}", self.cluster));
        }
        tags
    }
}

/// Takes flushes, on the thread of the flush, which may wait.
pub trait Output: Send + Sync {
    /// Hands on a flush, also one without buckets. False when that failed; it is not offered again.
    fn deliver(&self, flush: &Flush) -> bool;

    /// What the agent calls the tags of this process's container, if this output knows it: two of the three
    /// [profiles](super::HashProfile) hash it, where there are process tags.
    fn container_hash(&self) -> Option<String> {
        None
    }
}

impl<O: Output + ?Sized> Output for std::sync::Arc<O> {
    fn deliver(&self, flush: &Flush) -> bool {
        (**self).deliver(flush)
    }

    fn container_hash(&self) -> Option<String> {
        (**self).container_hash()
    }
}

/// Keeps flushes with something in them instead of sending them: for tests. Clones share what they keep.
#[derive(Clone, Debug, Default)]
pub struct MemoryOutput {
    flushes: std::sync::Arc<std::sync::Mutex<Vec<Flush>>>,
}

impl MemoryOutput {
    /// Everything since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Flush> {
        std::mem::take(&mut *self.flushes.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Output for MemoryOutput {
    fn deliver(&self, flush: &Flush) -> bool {
        if flush.buckets.is_empty() {
            return true;
        }
        self.flushes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(flush.clone());
        true
    }
}
