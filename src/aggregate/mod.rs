//! In: lines. Out: a closed [`Bucket`] per interval. Promise: one owner, no lock, no allocation for
//! known counters and gauges; every line has exactly one [`Fate`] and is counted; merging buckets is
//! associative and commutative. Refusal: it reads no clock and decides no time; the caller tells it.

mod bucket;
mod counter;
mod counts;
mod distribution;
mod folded;
mod gauge;
mod histogram;
mod intake;
mod notice;
mod samples;
mod set;
mod shard;
mod stamps;

pub use bucket::{Bucket, Stamp, TimestampedPoint, TimestampedSample};
pub use counter::CounterCell;
pub use counts::LineCounts;
pub use distribution::DistributionCell;
pub use folded::FOLDED_RELATIVE_ERROR;
pub use gauge::GaugeCell;
pub use histogram::{EXACT_SAMPLES_MAX, HistogramCell, Sample, Summary};
pub use notice::{CheckRecord, EventRecord};
pub use set::SetCell;
pub use shard::{Fate, Settings, Shard};
pub use stamps::Stamps;
