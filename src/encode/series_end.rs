//! Points, type, unit, source, interval and metadata of a series as fields of MetricSeries.
//!
//! In one flush all of it but the value is the same for nearly all series of a kind: it is kept, and a
//! series with one point copies it.

use super::metric_origin::{MetricOrigin, put_metadata};
use crate::flush::{Point, Series, SeriesKind};
use crate::protobuf::{
    BYTES, FIXED64, VARINT, key, put_bytes, put_double, put_head, put_integer, varint_len,
};

const POINT: u8 = key(4, BYTES);
const TYPE: u8 = key(5, VARINT);
const UNIT: u8 = key(6, BYTES);
const SOURCE: u8 = key(7, BYTES);
const INTERVAL: u8 = key(8, VARINT);
const METADATA: u8 = key(9, BYTES);
/// Inside a MetricPoint.
const VALUE: u8 = key(1, FIXED64);
const TIMESTAMP: u8 = key(2, VARINT);

/// The last ends by kind, and room for the next.
#[derive(Default)]
pub(super) struct EndFields {
    kinds: [Kept; 3],
    end: Vec<u8>,
}

/// An end with one point.
#[derive(Default)]
struct Kept {
    timestamp: i64,
    interval: u64,
    unit: Option<Box<str>>,
    source: Option<&'static str>,
    origin: Option<MetricOrigin>,
    /// All fields; empty before the first.
    fields: Vec<u8>,
}

/// Where the value stands in the fields of [`Kept`]: behind the heads of the point and of itself.
const VALUE_AT: usize = 3;

impl EndFields {
    /// The fields of these points of a series; points that are not finite are left out.
    pub(super) fn of(
        &mut self,
        series: &Series<'_>,
        points: &[Point],
        origin: Option<MetricOrigin>,
    ) -> &[u8] {
        let EndFields { kinds, end } = self;
        end.clear();
        match points {
            // Zero is not written, so its point is shorter.
            [point] if point.value != 0.0 && point.value.is_finite() => {
                let kept = &mut kinds[series.kind as usize];
                if !kept.is_of(series, *point, origin) {
                    kept.set(series, *point, origin);
                }
                end.extend_from_slice(&kept.fields);
                end[VALUE_AT..VALUE_AT + 8].copy_from_slice(&point.value.to_le_bytes());
            }
            _ => put_end(end, series, points, origin),
        }
        end
    }
}

impl Kept {
    fn is_of(&self, series: &Series<'_>, point: Point, origin: Option<MetricOrigin>) -> bool {
        !self.fields.is_empty()
            && self.timestamp == point.timestamp
            && self.interval == series.interval
            && self.unit.as_deref() == series.unit
            && self.source == series.source
            && self.origin == origin
    }

    #[cold]
    fn set(&mut self, series: &Series<'_>, point: Point, origin: Option<MetricOrigin>) {
        (self.timestamp, self.interval) = (point.timestamp, series.interval);
        (self.unit, self.source) = (series.unit.map(Box::from), series.source);
        self.origin = origin;
        self.fields.clear();
        put_end(&mut self.fields, series, &[point], origin);
    }
}

fn put_end(end: &mut Vec<u8>, series: &Series<'_>, points: &[Point], origin: Option<MetricOrigin>) {
    for point in points.iter().filter(|point| point.value.is_finite()) {
        put_point(end, *point);
    }
    put_integer(end, TYPE, type_number(series.kind));
    if let Some(unit) = series.unit {
        put_bytes(end, UNIT, unit.as_bytes());
    }
    if let Some(source) = series.source.filter(|source| !source.is_empty()) {
        put_bytes(end, SOURCE, source.as_bytes());
    }
    put_integer(end, INTERVAL, series.interval);
    if let Some(origin) = origin {
        put_metadata(end, METADATA, origin);
    }
}

/// A MetricPoint {1: value, 2: timestamp}.
fn put_point(into: &mut Vec<u8>, Point { timestamp, value }: Point) {
    // Negative times are ten bytes of two's complement, as int64 wants them.
    let seconds = timestamp as u64;
    let length =
        if value == 0.0 { 0 } else { 9 } + if seconds == 0 { 0 } else { 1 + varint_len(seconds) };
    put_head(into, POINT, length);
    put_double(into, VALUE, value);
    put_integer(into, TIMESTAMP, seconds);
}

fn type_number(kind: SeriesKind) -> u64 {
    match kind {
        SeriesKind::Count => 1,
        SeriesKind::Rate => 2,
        SeriesKind::Gauge => 3,
    }
}
