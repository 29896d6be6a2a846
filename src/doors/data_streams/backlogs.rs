//! Kafka offsets: how far topics are written and read, and what lies between.

use std::sync::{Mutex, PoisonError};

use super::super::{Naming, Part, Reason, Sink, TagList, Value};
use super::Parts;
use super::payload::{self, Backlog};
use crate::streams::{
    COMMIT_OFFSET, End, LAG_MESSAGES, LAG_SECONDS, Lag, PRODUCE_OFFSET, Partitions,
};

/// The backlogs of a bucket.
pub(super) fn take(backlogs: &[u8], partitions: &Mutex<Partitions>, parts: &mut Parts<'_>) {
    let mut scratch = Scratch::default();
    let is_list = payload::each(backlogs, |bytes| {
        match payload::backlog(bytes).ok().and_then(|backlog| Source::of(&backlog)) {
            Some(source) => take_offset(&source, partitions, &mut scratch, parts),
            None => parts.refuse(Reason::Value),
        }
    });
    if !is_list {
        parts.refuse(Reason::Value);
    }
}

/// Tags of the partition and of the reader at hand.
#[derive(Default)]
struct Scratch {
    partition: TagList,
    reader: TagList,
}

fn take_offset(
    source: &Source<'_>,
    partitions: &Mutex<Partitions>,
    scratch: &mut Scratch,
    parts: &mut Parts<'_>,
) {
    let Scratch { partition, reader } = scratch;
    partition.clear();
    partition.pair("topic", source.topic);
    partition.pair("partition", source.partition);
    partition.pair("kafka_cluster_id", source.cluster);
    reader.clear();
    reader.pair("consumer_group", source.group);
    reader.pair("env", parts.env);
    let (second, now) = (parts.second, parts.now);
    let noted = {
        let mut partitions = partitions.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.note(partition, source.end, reader, source.offset, second, now)
    };
    let Ok(highest) = noted else { return parts.refuse(Reason::Limit) };
    let name = match source.end {
        End::Produced => PRODUCE_OFFSET,
        End::Committed => COMMIT_OFFSET,
        // Known for the lag; no metric of its own.
        End::Watermark => return,
    };
    parts.tags.clear();
    partition.iter().chain(reader.iter()).for_each(|tag| parts.tags.push(tag));
    // Parts of a bucket may begin at other seconds, or come late: none of them lowers it.
    parts.put(name, Value::Highest(highest as f64));
}

/// What an offset is of.
struct Source<'a> {
    end: End,
    topic: &'a [u8],
    partition: &'a [u8],
    cluster: &'a [u8],
    /// Empty unless committed.
    group: &'a [u8],
    offset: u64,
}

impl<'a> Source<'a> {
    /// By the keys of the tags, whose order differs. None when something is missing or cannot be.
    fn of(backlog: &Backlog<'a>) -> Option<Self> {
        let [mut kind, mut topic, mut partition, mut cluster, mut group] = [&b""[..]; 5];
        let are_texts = payload::each_text(backlog.tags, |tag| {
            for (key, value) in [
                (&b"type:"[..], &mut kind),
                (b"topic:", &mut topic),
                (b"partition:", &mut partition),
                (b"kafka_cluster_id:", &mut cluster),
                (b"consumer_group:", &mut group),
            ] {
                if let Some(sent) = tag.strip_prefix(key)
                    && value.is_empty()
                {
                    *value = sent;
                }
            }
        });
        let end = match kind {
            b"kafka_produce" => End::Produced,
            b"kafka_commit" => End::Committed,
            b"kafka_high_watermark" => End::Watermark,
            _ => return None,
        };
        if end != End::Committed {
            group = b"";
        }
        let is_whole = are_texts
            && !topic.is_empty()
            && !partition.is_empty()
            && (end != End::Committed || !group.is_empty());
        let offset = backlog.value?;
        is_whole.then_some(Source { end, topic, partition, cluster, group, offset })
    }
}

/// The lags of a bucket that is closed.
pub(super) fn give(lags: &[Lag], start: u64, naming: &Naming, sink: &mut dyn Sink) {
    let [mut messages, mut seconds] = [Vec::new(), Vec::new()];
    naming.write(&mut messages, &[LAG_MESSAGES]);
    naming.write(&mut seconds, &[LAG_SECONDS]);
    let second = i64::try_from(start).unwrap_or(i64::MAX);
    for lag in lags {
        for (name, value) in [(&messages, lag.messages as f64), (&seconds, lag.seconds)] {
            let value = Value::Gauge(value);
            sink.put(&Part { name, tags: &lag.tags, host: b"", second, value });
        }
    }
}
