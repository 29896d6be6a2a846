//! In: the messages that a program writes to queues and reads from them. Out: a context in their headers that
//! says where they come from, and statistics of every edge of every pathway (how many, how long, how large),
//! handed to an agent or made into metrics of this process, every 10 s. Promise: contexts and hashes are those
//! of Datadog's tracers, so that pathways go on across languages; no call waits for the network; memory is
//! bounded for any number of pathways, and what does not fit is counted. Refusal: it wraps no client by itself;
//! the program, or an adapter, calls it for each message.
//!
//! # A tour
//!
//! ```
//! use std::collections::HashMap;
//! use whippet::datastreams::{DataStreams, MemoryOutput, Options};
//!
//! let memory = MemoryOutput::default(); // without an output: the agent at http://localhost:8126
//! let streams = DataStreams::builder("shop").env("prod").output(memory.clone()).build()?;
//! streams.start()?; // a thread that flushes every 10 s
//!
//! // A message is written: its headers get the context.
//! let mut headers: HashMap<String, String> = HashMap::new();
//! let options = Options { payload_size: 120, ..Options::default() };
//! let produced = streams.produce("kafka", "orders", &mut headers, None, &options);
//!
//! // Another program reads it, and writes one that follows from it.
//! let consumed = streams.consume("kafka", "orders", &headers, &options);
//! let mut next: Vec<(String, Vec<u8>)> = Vec::new();
//! streams.produce("kafka", "invoices", &mut next, consumed.as_ref(), &options);
//!
//! streams.stop(); // a last flush
//! let flush = memory.take().remove(0);
//! let points = &flush.buckets[0].points;
//! assert_eq!(points[0].edge_tags[0], "direction:in");
//! assert_eq!(points[0].parent_hash, produced.expect("enabled").hash());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The current [`Pathway`] is a value that the program hands on, not one of the thread: tasks change threads.
//! With data streams off ([`Builder::enabled`], `DD_DATA_STREAMS_ENABLED=false`) every call returns `None` at once.
//!
//! For Kafka, the offsets of both ends tell how far a group is behind:
//!
//! ```
//! # use whippet::datastreams::{DataStreams, MemoryOutput};
//! # let memory = MemoryOutput::default();
//! # let streams = DataStreams::builder("shop").output(memory.clone()).build()?;
//! streams.track_produce("orders", 0, 42, None);
//! streams.track_commit("billing", "orders", 0, 40, None);
//! # streams.flush();
//! # assert_eq!(memory.take()[0].buckets[0].backlogs.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Clients
//!
//! | client | calls | with |
//! |---|---|---|
//! | any | [`DataStreams::produce`], [`DataStreams::consume`] | headers that are a [`CarrierSet`] and a [`CarrierGet`]: maps and lists of the standard library are |
//! | Kafka | [`DataStreams::produce_kafka`], [`DataStreams::consume_kafka`] | the same; the feature `datastreams_rdkafka` takes messages of `rdkafka` |
//! | RabbitMQ, Celery | [`DataStreams::produce_amqp`], [`DataStreams::consume_amqp`] | the same; the feature `datastreams_lapin` takes those of `lapin` |
//! | SQS, SNS | [`DataStreams::produce_sqs`], [`DataStreams::produce_sns`], [`DataStreams::consume_sqs`] | [`MessageAttributes`] |
//! | Kinesis | [`DataStreams::produce_kinesis`], [`DataStreams::consume_kinesis`] | JSON records |
//! | Google Pub/Sub | [`DataStreams::produce_pubsub`], [`DataStreams::consume_pubsub`] | attributes |
//!
//! # Where it goes
//!
//! | output | what it does |
//! |---|---|
//! | [`AgentOutput`] (default) | posts to `/v0.1/pipeline_stats` of an agent, or of a whippet with open doors |
//! | [`MetricsOutput`] | makes the metrics here that a whippet makes of it: `data_streams.latency`, `.throughput`, …; into [`ThreadStats`](crate::ThreadStats), DogStatsD lines ([`LineMetrics`]) or the engine in this process ([`EngineSink`]) |
//! | [`MemoryOutput`] | keeps it, for tests |
//!
//! Your own implements [`Output`].
//!
//! # Bounds
//!
//! | what | bound | past it |
//! |---|---|---|
//! | points of a bucket, and offsets | 10,000 each ([`Builder::points_max`]) | counted; pathways go on |
//! | buckets that wait for a flush | 6 | the oldest goes, counted |
//! | memory of all sketches | 64 MiB | they become less precise |
//! | hashes that are remembered | 1,000 | computed again |
//! | topics whose schema is sampled | 1,000 | never sampled |

mod agent;
mod amqp;
mod aws;
mod builder;
mod carrier;
mod client;
mod context;
mod flush;
mod hash;
mod kafka;
#[cfg(feature = "datastreams_lapin")]
mod lapin;
mod losses;
mod metrics;
mod offsets;
mod options;
mod pathway;
mod payload;
mod periodic;
mod points;
mod pubsub;
#[cfg(feature = "datastreams_rdkafka")]
mod rdkafka;
mod schema;
mod sinks;
mod size;
#[cfg(test)]
mod tests;

pub use agent::{AgentError, AgentOutput, DEFAULT_AGENT_URL};
pub use aws::{
    DATADOG_ATTRIBUTE, KinesisRecord, MessageAttribute, MessageAttributes, ReceivedSqsMessage,
    SnsMessage, SqsMessage,
};
pub use builder::{BuildError, Builder};
pub use carrier::{CarrierGet, CarrierSet, CarrierSize, CarrierValue};
pub use client::DataStreams;
pub use context::{CONTEXT_KEY, OLD_CONTEXT_KEY};
pub use flush::{
    Application, BUCKET_NANOSECONDS, Backlog, BacklogKind, Bucket, Flush, MemoryOutput, Output,
    Point,
};
pub use hash::HashProfile;
pub use kafka::{KafkaMessage, UNKNOWN_SERVER_ERROR};
pub use losses::DataStreamsLosses;
pub use metrics::{Metric, MetricSink, MetricsOutput};
pub use options::Options;
pub use pathway::Pathway;
#[cfg(feature = "datastreams_rdkafka")]
pub use rdkafka::KafkaRecord;
pub use sinks::{EngineSink, LineMetrics};
