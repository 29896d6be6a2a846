//! Flushes as metrics of this process, without an agent: the same series that a whippet makes of them when
//! they come through its door.

use std::sync::{Mutex, PoisonError};

use super::flush::{BUCKET_NANOSECONDS, Backlog, BacklogKind, Bucket, Flush, Output, Point};
use crate::aggregate::Value;
use crate::streams::{
    COMMIT_OFFSET, End, FULL, LAG_MESSAGES, LAG_SECONDS, LATENCY, Lag, PAYLOAD_SIZE,
    PRODUCE_OFFSET, Partitions, THROUGHPUT, pathway_type,
};
use crate::tag_list::TagList;

/// Length of a bucket in seconds.
const BUCKET_SECONDS: u64 = BUCKET_NANOSECONDS / 1_000_000_000;

/// One value of one series.
#[derive(Clone, Copy, Debug)]
pub struct Metric<'a> {
    /// Its name.
    pub name: &'static str,
    /// `key:value`.
    pub tags: &'a [&'a str],
    /// Unix seconds: the start of its bucket.
    pub second: u64,
    /// A count, a distribution in bins, or a gauge.
    pub value: Value<'a>,
}

/// Takes metrics, on the thread of the flush.
pub trait MetricSink: Send + Sync {
    /// Records one value.
    fn put(&self, metric: &Metric<'_>);
}

impl<S: MetricSink + ?Sized> MetricSink for std::sync::Arc<S> {
    fn put(&self, metric: &Metric<'_>) {
        (**self).put(metric);
    }
}

/// Makes metrics of flushes and gives them to a [`MetricSink`].
///
/// Throughput, latencies and sizes of every edge, and Kafka offsets. Where this process both writes and reads a
/// topic, also how far each group is behind.
pub struct MetricsOutput<S> {
    sink: S,
    lags: Mutex<Lags>,
}

struct Lags {
    partitions: Partitions,
    /// End of the last bucket that lags were given of, in Unix seconds.
    closed: u64,
}

impl<S: MetricSink> MetricsOutput<S> {
    /// An output into `sink`.
    pub fn new(sink: S) -> Self {
        let lags = Lags { partitions: Partitions::new(BUCKET_SECONDS), closed: 0 };
        MetricsOutput { sink, lags: Mutex::new(lags) }
    }

    fn put_point(&self, flush: &Flush, second: u64, point: &Point) {
        let (service, env) = (tag("service", &flush.application.service), env_tag(flush));
        let mut tags: Vec<&str> =
            point.edge_tags.iter().map(String::as_str).filter(|tag| !tag.is_empty()).collect();
        let direction = tags.iter().find_map(|tag| tag.strip_prefix("direction:"));
        let pathway_type = pathway_type(direction.unwrap_or_default().as_bytes());
        tags.extend([&*service, &*env].into_iter().filter(|tag| !tag.is_empty()));
        let count = point.pathway_latency.count() as f64;
        self.put(THROUGHPUT, &tags, second, Value::Count(count));
        self.put(PAYLOAD_SIZE, &tags, second, Value::Sketch(&point.payload_size));
        // Nothing was measured where a pathway begins.
        if point.parent_hash == 0 {
            return;
        }
        let edge = pathway_type.map(|pathway_type| (pathway_type, &point.edge_latency));
        for (pathway_type, latency) in [(FULL, &point.pathway_latency)].into_iter().chain(edge) {
            let pathway_type = tag("pathway_type", pathway_type);
            let tags: Vec<&str> = tags.iter().copied().chain([&*pathway_type]).collect();
            self.put(LATENCY, &tags, second, Value::Sketch(latency));
        }
    }

    fn put(&self, name: &'static str, tags: &[&str], second: u64, value: Value<'_>) {
        self.sink.put(&Metric { name, tags, second, value });
    }

    fn put_backlogs(&self, flush: &Flush, second: u64, bucket: &Bucket, lags: &mut Lags) {
        let env = env_tag(flush);
        for backlog in &bucket.backlogs {
            let (partition, reader) = tags_of(backlog, &env);
            let end = match backlog.kind {
                BacklogKind::Commit => End::Committed,
                BacklogKind::Produce => End::Produced,
                BacklogKind::HighWatermark => End::Watermark,
            };
            let offset = u64::try_from(backlog.offset).unwrap_or(0);
            let noted =
                lags.partitions.note(&partition, end, &reader, offset, second, flush.unix_seconds);
            let (Ok(highest), Some(name)) = (noted, name_of(backlog.kind)) else { continue };
            let tags: Vec<_> = partition.iter().chain(reader.iter()).map(text).collect();
            let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
            self.put(name, &tags, second, Value::Highest(highest as f64));
        }
    }

    /// The lags at the end of the last whole bucket, and at the end of the program.
    fn put_lags(&self, flush: &Flush, lags: &mut Lags) {
        let current = flush.unix_seconds - flush.unix_seconds % BUCKET_SECONDS;
        let last_whole = current.saturating_sub(BUCKET_SECONDS);
        let starts = [Some(last_whole), flush.is_last.then_some(current)];
        for start in starts.into_iter().flatten() {
            if start < lags.closed {
                continue;
            }
            lags.closed = start + BUCKET_SECONDS;
            for lag in lags.partitions.close(start) {
                self.put_lag(&lag, start);
            }
        }
    }

    fn put_lag(&self, lag: &Lag, second: u64) {
        let tags: Vec<_> = lag.tags.iter().map(text).collect();
        let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
        for (name, value) in [(LAG_MESSAGES, lag.messages as f64), (LAG_SECONDS, lag.seconds)] {
            self.put(name, &tags, second, Value::Gauge(value));
        }
    }
}

impl<S: MetricSink> Output for MetricsOutput<S> {
    fn deliver(&self, flush: &Flush) -> bool {
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        for bucket in &flush.buckets {
            let second = bucket.start / 1_000_000_000;
            bucket.points.iter().for_each(|point| self.put_point(flush, second, point));
            self.put_backlogs(flush, second, bucket, &mut lags);
        }
        self.put_lags(flush, &mut lags);
        true
    }
}

/// `key:value`; empty without a value.
fn tag(key: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("{key}:{value}") }
}

fn env_tag(flush: &Flush) -> String {
    tag("env", &flush.application.env)
}

fn text(tag: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(tag)
}

/// None for what is only known for the lag.
fn name_of(kind: BacklogKind) -> Option<&'static str> {
    match kind {
        BacklogKind::Commit => Some(COMMIT_OFFSET),
        BacklogKind::Produce => Some(PRODUCE_OFFSET),
        BacklogKind::HighWatermark => None,
    }
}

/// Tags of the partition, and those of who reads it.
fn tags_of(backlog: &Backlog, env: &str) -> (TagList, TagList) {
    let (mut partition, mut reader) = (TagList::default(), TagList::default());
    partition.pair("topic", backlog.topic.as_bytes());
    partition.pair("partition", backlog.partition.to_string().as_bytes());
    partition.pair("kafka_cluster_id", backlog.cluster.as_bytes());
    reader.pair("consumer_group", backlog.group.as_bytes());
    if !env.is_empty() {
        reader.push(env.as_bytes());
    }
    (partition, reader)
}
