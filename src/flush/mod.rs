//! In: the buckets that lanes have closed. Out: one [`Flush`] per interval, walked row by row as
//! [`Series`] and [`SketchSeries`]. Promise: every bucket is posted once, in order, after every lane
//! has passed it; a live counter is continued with 0 in every bucket; of two kinds that would post
//! one series the later write wins. Refusal: it knows nothing of formats, sockets or threads.

mod complete;
mod conflicts;
mod flusher;
mod merge;
mod overrides;
mod posting;
mod registry;
mod rollup;
mod series;
#[cfg(test)]
mod tests;
mod walk;

pub use complete::Flush;
pub use flusher::{Closed, FlushSettings, Flusher};
pub use rollup::{Aggregate, HistogramSettings, Percentile};
pub use series::{Point, Series, SeriesKind, SketchSeries};
pub use walk::Row;
