//! `POST /api/v1/distribution_points`: all values of distributions, `[[time,[value,…]],…]`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::parts::{Bad, each_series, second, tags};
use crate::doors::json::{self, Text};
use crate::doors::{Answer, Door, Part, Refusal, Request, Sink, TagList, Value};

pub(super) struct DistributionPoints;

#[derive(Default, Deserialize)]
#[serde(default)]
struct OneSeries<'a> {
    #[serde(borrow)]
    metric: Text<'a>,
    #[serde(borrow)]
    points: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    host: Text<'a>,
    #[serde(borrow)]
    device: Text<'a>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
}

/// The memory for one series, kept for the next.
#[derive(Default)]
struct Room {
    values: Vec<f64>,
    /// The second of each point, and where its values end.
    points: Vec<(i64, usize)>,
    tags: TagList,
}

impl Door for DistributionPoints {
    fn take(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<Answer, Refusal> {
        let mut room = Room::default();
        each_series(request.body, sink, |series, sink| one(series, &mut room, sink))?;
        Ok(super::accepted())
    }
}

fn one(series: &RawValue, room: &mut Room, sink: &mut dyn Sink) -> Result<(), Bad> {
    let series: OneSeries<'_> =
        json::object(series).ok_or(Bad::value("", "an object with metric and points"))?;
    if series.metric.is_empty() {
        return Err(Bad::value("metric", "a name"));
    }
    if !matches!(&*series.kind, "" | "distribution") {
        return Err(Bad::value("type", "distribution"));
    }
    // All points before any is recorded: one bad value refuses its series whole.
    room.values.clear();
    room.points.clear();
    let mut bad = None;
    let is_list = json::each(series.points, |point| {
        if let Err(first) = read_point(point, room) {
            bad = bad.or(Some(first));
        }
    });
    if series.points.is_none() || !is_list {
        return Err(Bad::value("points", "a list"));
    }
    bad.map_or(Ok(()), Err)?;
    tags(series.tags, &series.device, &mut room.tags)?;
    let mut start = 0;
    for (second, end) in &room.points {
        if start == *end {
            // A list without values.
            continue;
        }
        sink.put(&Part {
            name: series.metric.as_bytes(),
            tags: &room.tags,
            host: series.host.as_bytes(),
            second: *second,
            value: Value::Samples(&room.values[start..*end]),
        });
        start = *end;
    }
    Ok(())
}

fn read_point(point: &RawValue, room: &mut Room) -> Result<(), Bad> {
    let expected = Bad::value("points", "pairs of a time and a list of numbers");
    let (time, values) = json::value::<(f64, &RawValue)>(point).ok_or(expected)?;
    let second = second("points", time)?;
    let mut all_numbers = true;
    let is_list = json::each(Some(values), |value| match json::value::<f64>(value) {
        Some(value) if value.is_finite() => room.values.push(value),
        _ => all_numbers = false,
    });
    if !is_list || !all_numbers {
        return Err(expected);
    }
    room.points.push((second, room.values.len()));
    Ok(())
}
