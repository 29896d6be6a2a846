//! What data streams become as metrics, for those who receive them (`doors`) and those who send them
//! (`datastreams`).
//!
//! In: latencies and sizes of edges, and offsets of Kafka partitions. Out: the names of series, and the lag
//! of every consumer group of which both ends are known. Promise: memory is bounded for any number of
//! partitions. Refusal: pathway hashes mean nothing here.

mod lag;
mod partitions;

pub(crate) use partitions::{End, Lag, Partitions};

/// Distribution of seconds, by `pathway_type`.
pub(crate) const LATENCY: &str = "data_streams.latency";
/// Distribution of bytes.
pub(crate) const PAYLOAD_SIZE: &str = "data_streams.payload_size";
/// Count of messages.
pub(crate) const THROUGHPUT: &str = "data_streams.throughput";
/// Highest offset that was written.
pub(crate) const PRODUCE_OFFSET: &str = "data_streams.kafka.produce_offset";
/// Next offset that a group reads.
pub(crate) const COMMIT_OFFSET: &str = "data_streams.kafka.commit_offset";
/// Messages that a group has not read yet.
pub(crate) const LAG_MESSAGES: &str = "data_streams.kafka.lag_messages";
/// Age of the oldest of them in seconds.
pub(crate) const LAG_SECONDS: &str = "data_streams.kafka.lag_seconds";

/// The `pathway_type` of latencies since the first checkpoint.
pub(crate) const FULL: &str = "full";

/// The `pathway_type` of latencies since the checkpoint before, by the direction of the edge: the time in
/// the queue, or in the program. None without a direction.
pub(crate) fn pathway_type(direction: &[u8]) -> Option<&'static str> {
    match direction {
        b"in" => Some("edge"),
        b"out" => Some("internal"),
        _ => None,
    }
}
