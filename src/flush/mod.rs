//! In: closed buckets. Out: series.

mod series;

pub use series::{Point, Series, SeriesKind, SketchSeries};
