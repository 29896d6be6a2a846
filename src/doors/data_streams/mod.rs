//! `POST /v0.1/pipeline_stats`: what passed through queues, how long it took, and how far consumers are.
//!
//! In: buckets of points and Kafka offsets, in parts. Out: latencies, sizes, throughput and offsets of
//! their second; and, when a bucket is closed, the lag of every consumer group of which both ends are
//! known. Promise: parts of a bucket add up, offsets of parts have their maximum. Refusal: pathway hashes
//! mean nothing here and become no tags.

mod backlogs;
mod payload;
mod points;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    Answer, Door, Naming, Part, Reason, Refusal, Request, SharedNaming, Sink, TagList, Value,
};
use crate::ddsketch::Rounding;
use crate::streams::Partitions;

/// The route. See the module.
#[derive(Debug)]
pub(crate) struct DataStreams {
    naming: SharedNaming,
    partitions: Mutex<Partitions>,
}

impl DataStreams {
    /// `interval` is the length of a bucket in seconds.
    pub fn new(naming: impl Into<SharedNaming>, interval: u64) -> Self {
        let partitions = Mutex::new(Partitions::new(interval));
        DataStreams { naming: naming.into(), partitions }
    }

    fn partitions(&self) -> MutexGuard<'_, Partitions> {
        // Each of its changes is complete in itself.
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door for DataStreams {
    fn take(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<Answer, Refusal> {
        // Nil is empty everywhere else.
        if request.body == [0xc0] {
            return Err(Refusal::decode("pipeline stats: expected a map at byte 0"));
        }
        let payload = payload::read(request.body)
            .map_err(|error| Refusal::decode(format!("pipeline stats: {error}")))?;
        let naming = self.naming.get();
        let mut parts = Parts {
            naming: &naming,
            rounding: request.rounding(),
            env: naming.env(payload.env),
            service: payload.service,
            now: request.now.as_secs(),
            second: 0,
            tags: TagList::default(),
            name: Vec::new(),
            sink,
        };
        let is_list = payload::each(payload.stats, |bytes| {
            let Ok(bucket) = payload::bucket(bytes) else { return parts.refuse(Reason::Value) };
            let Some(start) = bucket.start else { return parts.refuse(Reason::Time) };
            parts.second = start / 1_000_000_000;
            points::take(bucket.stats, &mut parts);
            backlogs::take(bucket.backlogs, &self.partitions, &mut parts);
        });
        if !is_list {
            parts.refuse(Reason::Value);
        }
        Ok(Answer::ok())
    }

    fn closing(&self, start: u64, _: Option<u64>, sink: &mut dyn Sink) {
        let lags = self.partitions().close(start);
        backlogs::give(&lags, start, &self.naming.get(), sink);
    }
}

/// What the parts of one payload have in common, and where they go.
struct Parts<'a> {
    naming: &'a Naming,
    rounding: Rounding,
    service: &'a [u8],
    env: &'a [u8],
    now: u64,
    /// Start of the current bucket.
    second: u64,
    /// Of the current part; the memory is reused.
    tags: TagList,
    /// Of the current part; the memory is reused.
    name: Vec<u8>,
    sink: &'a mut dyn Sink,
}

impl Parts<'_> {
    /// Records a value with the current tags.
    fn put(&mut self, name: &str, value: Value<'_>) {
        self.naming.write(&mut self.name, &[name]);
        let second = i64::try_from(self.second).unwrap_or(i64::MAX);
        let (name, tags) = (&self.name[..], &self.tags);
        self.sink.put(&Part { name, tags, host: b"", second, value });
    }

    /// Counts what could not be read.
    fn refuse(&mut self, reason: Reason) {
        self.sink.refuse(reason);
    }
}
