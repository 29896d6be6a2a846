//! From the merged values of an order to rows of series: the same arithmetic as for local series, without
//! host, without any tag added, at the start of the interval.

use super::order::{Order, Posted};
use super::styles::Styles;
use crate::context::{Kind, Tags};
use crate::flush::{HistogramSettings, Point, Row, Series, SeriesKind};
use crate::part::{Histogram, Key, Style, Value};

/// Makes rows.
#[derive(Debug)]
pub(super) struct Rows {
    styles: Styles,
}

/// Where and when a series is posted.
#[derive(Clone, Copy)]
struct Place<'a> {
    key: &'a Key,
    style: &'a Style,
    timestamp: i64,
    interval: u64,
}

impl Rows {
    /// Histograms without a style of their own are posted as `usual`.
    pub fn new(usual: HistogramSettings) -> Rows {
        Rows { styles: Styles::new(usual) }
    }

    /// Calls `visit` once per series of the order.
    pub fn visit(&mut self, order: &Order, visit: &mut dyn FnMut(&Row<'_>)) {
        let own = Style::default();
        let timestamp = i64::try_from(order.start).unwrap_or(i64::MAX);
        let interval = u64::from(order.interval.max(1));
        order.values.visit(&mut |Posted { key, style, value }| {
            let place = Place { key, style: style.unwrap_or(&own), timestamp, interval };
            match value {
                Some(value) => self.series(place, value, visit),
                None => place.counter(0.0, true, visit),
            }
        });
    }

    fn series(&mut self, place: Place<'_>, value: &Value, visit: &mut dyn FnMut(&Row<'_>)) {
        match value {
            Value::Counter(sum) => place.counter(sum.value(), false, visit),
            Value::Gauge(value) => place.gauge(Kind::Gauge, *value, visit),
            Value::Set(set) => place.gauge(Kind::Set, set.count() as f64, visit),
            Value::Histogram(histogram) => {
                place.histogram(histogram, self.styles.histograms(place.style), visit);
            }
        }
    }
}

impl<'a> Place<'a> {
    fn counter(&self, sum: f64, idle: bool, visit: &mut dyn FnMut(&Row<'_>)) {
        let (kind, value) = if self.style.as_count {
            (SeriesKind::Count, sum)
        } else {
            (SeriesKind::Rate, sum / self.interval as f64)
        };
        let points = [Point { timestamp: self.timestamp, value }];
        let series = [self.one("", kind, &points)];
        visit(&Row { idle, ..self.row(Kind::Counter, sum, &series) });
    }

    fn gauge(&self, kind: Kind, value: f64, visit: &mut dyn FnMut(&Row<'_>)) {
        let points = [Point { timestamp: self.timestamp, value }];
        let series = [self.one("", SeriesKind::Gauge, &points)];
        visit(&self.row(kind, value, &series));
    }

    fn histogram(
        &self,
        histogram: &Histogram,
        settings: &HistogramSettings,
        visit: &mut dyn FnMut(&Row<'_>),
    ) {
        // Ranks need samples in order; the merged ones stay as they came.
        let mut sorted = histogram.clone();
        sorted.sort();
        let summary = sorted.summary();
        let count = summary.count as f64;
        let values: Vec<(&str, [Point; 1], SeriesKind)> = settings
            .values(&sorted, summary, self.interval)
            .map(|(suffix, value, kind)| {
                (suffix, [Point { timestamp: self.timestamp, value }], kind)
            })
            .collect();
        let series: Vec<Series<'_>> =
            values.iter().map(|(suffix, points, kind)| self.one(suffix, *kind, points)).collect();
        visit(&self.row(Kind::Histogram, count, &series));
    }

    fn one<'b>(&self, suffix: &'b str, kind: SeriesKind, points: &'b [Point]) -> Series<'b>
    where
        'a: 'b,
    {
        let has_unit = kind == SeriesKind::Gauge && !self.style.unit.is_empty();
        Series {
            name: self.key.name(),
            suffix,
            host: b"",
            tags: tags_of(self.key),
            kind,
            unit: has_unit.then_some(self.style.unit.as_str()),
            source: None,
            interval: self.interval,
            points,
        }
    }

    fn row<'b>(&self, kind: Kind, input: f64, series: &'b [Series<'b>]) -> Row<'b>
    where
        'a: 'b,
    {
        Row {
            kind,
            name: self.key.name(),
            tags: tags_of(self.key),
            host: b"",
            input,
            idle: false,
            timestamped: false,
            series,
            sketch: None,
        }
    }
}

/// The tags of a key stand joined behind its name.
fn tags_of(key: &Key) -> Tags<'_> {
    let bytes = key.as_bytes();
    let joined = bytes.get(key.name().len() + 1..).unwrap_or_default();
    Tags::new(joined, b'\n', key.tags().count(), &[])
}
