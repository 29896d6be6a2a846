//! In: the buckets that lanes have closed. Out: one [`Flush`] per interval, walked row by row as
//! [`Series`] and [`SketchSeries`]. Promise: every bucket is posted once, in order, after every lane
//! has passed it; a live counter is continued with 0 in every bucket; of two kinds that would post
//! one series the later write wins; what is global leaves for its owner and is never posted. Refusal: it knows nothing of formats, sockets or threads.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use whippet::aggregate::{Bucket, Shard, ShardSettings};
//! use whippet::context::Rules;
//! use whippet::flush::{Closed, FlushSettings, Flusher, HistogramSettings};
//!
//! let (rules, state) = (Arc::new(Rules::default()), ahash::RandomState::new());
//! let second = Duration::from_secs;
//! let mut shard =
//!     Shard::new(ShardSettings::default(), Arc::clone(&rules), state.clone(), second(1_000));
//! shard.line(b"hits:20|c|#env:prod", b"");
//!
//! let settings = FlushSettings {
//!     interval: 10,
//!     counter_expiry: second(300),
//!     set_members_max: 1_000,
//!     histograms: HistogramSettings::default(),
//! };
//! let mut flusher = Flusher::new(settings, rules, 1, state);
//! let bucket = shard.close(second(1_010), Bucket::default());
//! flusher.take(Closed { lane: 0, bucket, passed: 1_010 });
//! let flush = flusher.complete().expect("its only lane has passed it");
//! flusher.view(&flush).visit(&mut |row| {
//!     let point = row.series[0].points[0];
//!     assert_eq!((row.name, point.timestamp, point.value), (&b"hits"[..], 1_000, 2.0));
//! });
//! ```

mod complete;
mod conflicts;
mod flusher;
mod global;
mod grouped;
pub mod handover;
mod merge;
mod overrides;
mod posting;
mod registry;
mod rollup;
mod series;
mod styles;
#[cfg(test)]
mod tests;
mod totals;
mod walk;
mod walk_global;

pub use complete::Flush;
pub use flusher::{Closed, FlushSettings, Flusher};
pub use rollup::{Aggregate, HistogramSettings, Percentile, Ranked};
pub use series::{Point, Series, SeriesKind, SketchSeries};
pub use totals::FlushTotals;
pub use walk::{FlushView, Row};
pub use walk_global::GlobalCell;
