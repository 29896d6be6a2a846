//! In: lines. Out: a closed [`Bucket`] per interval. Promise: one owner, no lock, no allocation for
//! known counters and gauges; every line has exactly one [`Fate`] and is counted; merging buckets is
//! associative and commutative. Refusal: it reads no clock; the caller passes the time.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use whippet::aggregate::{Bucket, Fate, Shard, ShardSettings};
//! use whippet::context::Rules;
//!
//! let rules = Arc::new(Rules::default());
//! let opened = Duration::from_secs(1_000);
//! let mut shard = Shard::new(ShardSettings::default(), rules, ahash::RandomState::new(), opened);
//! shard.datagram(b"hits:1|c|@0.5\nhits:3|c\nhits|c\n", b"", false, |number, line, error| {
//!     println!("refused line {number}: {}", error.render(line));
//! });
//! assert_eq!(shard.line(b"load:0.7|g", b""), Fate::Recorded);
//!
//! let bucket = shard.close(Duration::from_secs(1_010), Bucket::default());
//! assert_eq!((bucket.start, bucket.counters[0].sum, bucket.gauges[0].value), (1_000, 5.0, 0.7));
//! assert_eq!((bucket.counts.recorded(), bucket.counts.refused_total()), (3, 1));
//! ```

mod bucket;
mod counter;
mod counts;
mod distribution;
mod event_record;
mod events;
mod folded;
mod gathered;
mod gauge;
mod histogram;
mod ingest;
mod line;
mod sample;
mod samples;
mod set;
mod shard;
mod spares;
mod timed;
mod timed_bucket;
mod timed_part;
mod weighted;
mod write_order;
mod writes;

pub use bucket::{Bucket, TimestampedPoint, TimestampedSample};
pub use counter::CounterCell;
pub use counts::LineCounts;
pub use distribution::DistributionCell;
pub use event_record::{CheckRecord, EventRecord};
pub use folded::PERCENTILE_RELATIVE_ERROR;
pub use gauge::GaugeCell;
pub use histogram::{HistogramCell, HistogramParts};
pub use sample::{Sample, Summary};
pub use samples::EXACT_SAMPLES_MAX;
pub(crate) use set::{RANK_MAX, REGISTERS, estimate, fixed_hash, observe_hash, raise_registers};
pub use set::{SetCell, SetForm, SetParts};
pub use shard::{AGGREGATION_BYTES_MAX, Fate, Shard, ShardSettings};
pub use timed::{Misplaced, Placed, TimedSettings, TimedShard};
pub use timed_part::{TimedPart, Value};
pub use write_order::{WriteOrder, WriteOrders};
