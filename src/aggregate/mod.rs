//! In: lines. Out: a closed [`Bucket`] per interval. Promise: one owner, no lock, no allocation for
//! known counters and gauges; every line has exactly one [`Fate`] and is counted; merging buckets is
//! associative and commutative. Refusal: it reads no clock; the caller passes the time.

mod bucket;
mod counter;
mod counts;
mod distribution;
mod event_record;
mod events;
mod gauge;
mod hdr;
mod histogram;
mod ingest;
mod line;
mod sample;
mod samples;
mod set;
mod shard;
mod write_order;

pub use bucket::{Bucket, TimestampedPoint, TimestampedSample};
pub use counter::CounterCell;
pub use counts::LineCounts;
pub use distribution::DistributionCell;
pub use event_record::{CheckRecord, EventRecord};
pub use gauge::GaugeCell;
pub use hdr::HDR_RELATIVE_ERROR;
pub use histogram::HistogramCell;
pub use sample::{Sample, Summary};
pub use samples::EXACT_SAMPLES_MAX;
pub use set::SetCell;
pub use shard::{Fate, Shard, ShardSettings};
pub use write_order::{WriteOrder, WriteOrders};
