//! What the flusher hands to encoders and outputs: one series, one sketch, borrowed.

use crate::context::Tags;
use crate::sketch::Sketch;

/// How the intake reads the values of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeriesKind {
    /// Events in the interval.
    Count,
    /// Events per second; the intake multiplies by the interval to recover the count.
    Rate,
    /// A value at a time.
    Gauge,
}

/// One value at one second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Unix seconds.
    pub timestamp: i64,
    /// Always finite.
    pub value: f64,
}

/// One series of one flush.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// The metric name without suffix, as bytes: the wire does not promise UTF-8.
    pub name: &'a [u8],
    /// What a roll-up appends to the name (`.95percentile`), or nothing.
    pub suffix: &'a str,
    /// The host to post, already resolved; empty when there is none.
    pub host: &'a [u8],
    /// All tags, `device:` and `dd.internal.resource:` still among them.
    pub tags: Tags<'a>,
    /// How the values read.
    pub kind: SeriesKind,
    /// `millisecond` for timings.
    pub unit: Option<&'a str>,
    /// `source_type_name`, for JMX integrations only.
    pub source: Option<&'static str>,
    /// Seconds that one value covers.
    pub interval: u64,
    /// At least one point.
    pub points: &'a [Point],
}

/// One distribution of one bucket.
#[derive(Clone, Copy, Debug)]
pub struct SketchSeries<'a> {
    /// The metric name, as bytes.
    pub name: &'a [u8],
    /// The host to post, already resolved; empty when there is none.
    pub host: &'a [u8],
    /// All tags.
    pub tags: Tags<'a>,
    /// Unix seconds: the start of the bucket.
    pub timestamp: i64,
    /// The merged sketch, never empty.
    pub sketch: &'a Sketch,
}
