//! `POST /api/v1/series`: points of gauges, rates and counts.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::parts::{Bad, each_series, second, tags};
use crate::doors::json::{self, Text};
use crate::doors::{Answer, Door, Part, Refusal, Request, Sink, TagList, Value};

/// The interval of a rate that names none, in seconds: that of ThreadStats and of the Agent.
pub(super) const INTERVAL: f64 = 10.0;

pub(super) struct Series;

#[derive(Default, Deserialize)]
#[serde(default)]
struct OneSeries<'a> {
    #[serde(borrow)]
    metric: Text<'a>,
    #[serde(borrow)]
    points: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    interval: Option<f64>,
    #[serde(borrow)]
    host: Text<'a>,
    #[serde(borrow)]
    device: Text<'a>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
}

impl Door for Series {
    fn take(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<Answer, Refusal> {
        let mut room = Room::default();
        each_series(request.body, sink, |series, sink| one(series, &mut room, sink))?;
        Ok(super::accepted())
    }
}

fn one(series: &RawValue, room: &mut Room, sink: &mut dyn Sink) -> Result<(), Bad> {
    let series: OneSeries<'_> =
        json::object(series).ok_or(Bad::value("", "an object with metric, points and type"))?;
    let kind = match &*series.kind {
        "" | "gauge" => Kind::Gauge,
        "count" => Kind::Count,
        "rate" => Kind::Rate,
        _ => return Err(Bad::value("type", "gauge, rate or count")),
    };
    let law = Law::new(kind, series.interval)?;
    room.read(series.points, law, |point| {
        let (time, value) = json::value::<(f64, f64)>(point)?;
        Some((time, value))
    })?;
    tags(series.tags, &series.device, &mut room.tags)?;
    room.put(&series.metric, &series.host, sink)
}

/// The types of series.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Count,
    Rate,
}

/// How values of a series add up.
#[derive(Clone, Copy)]
pub(super) struct Law {
    is_gauge: bool,
    factor: f64,
}

impl Law {
    /// A rate counts for every second of its interval; 0 is the interval of one that names none.
    pub fn new(kind: Kind, interval: Option<f64>) -> Result<Self, Bad> {
        let interval = match interval {
            None | Some(0.0) => INTERVAL,
            Some(seconds) if seconds > 0.0 && seconds.is_finite() => seconds,
            Some(_) => return Err(Bad::value("interval", "seconds")),
        };
        let factor = if kind == Kind::Rate { interval } else { 1.0 };
        Ok(Law { is_gauge: kind == Kind::Gauge, factor })
    }

    fn value(self, value: f64) -> Value<'static> {
        if self.is_gauge { Value::Gauge(value) } else { Value::Count(value) }
    }
}

/// The points and tags of one series, and the memory of those before it.
#[derive(Default)]
pub(super) struct Room {
    points: Vec<(i64, Value<'static>)>,
    pub tags: TagList,
}

impl Room {
    /// Reads all points before any is recorded: one bad value refuses its series whole.
    pub fn read(
        &mut self,
        points: Option<&RawValue>,
        law: Law,
        one: impl Fn(&RawValue) -> Option<(f64, f64)>,
    ) -> Result<(), Bad> {
        self.points.clear();
        let mut bad = None;
        let is_list = json::each(points, |point| {
            let read = one(point).ok_or(Bad::value("points", "pairs of a time and a number"));
            let read = read.and_then(|(time, value)| {
                let (second, value) = (second("points", time)?, value * law.factor);
                if value.is_finite() {
                    Ok((second, law.value(value)))
                } else {
                    Err(Bad::value("points", "finite numbers"))
                }
            });
            match read {
                Ok(point) => self.points.push(point),
                Err(first) => bad = bad.or(Some(first)),
            }
        });
        if points.is_none() || !is_list {
            return Err(Bad::value("points", "a list"));
        }
        bad.map_or(Ok(()), Err)
    }

    /// Records what was read.
    pub fn put(&self, name: &str, host: &str, sink: &mut dyn Sink) -> Result<(), Bad> {
        if name.is_empty() {
            return Err(Bad::value("metric", "a name"));
        }
        for (second, value) in &self.points {
            sink.put(&Part {
                name: name.as_bytes(),
                tags: &self.tags,
                host: host.as_bytes(),
                second: *second,
                value: *value,
            });
        }
        Ok(())
    }
}
