//! `POST /api/v2/series` in JSON: points of gauges, rates and counts, with resources.

use axum::http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::parts::{Bad, each_series, tags};
use super::series::{Kind, Law, Room};
use crate::doors::json::{self, Text};
use crate::doors::{Answer, Door, Reason, Refusal, Request, Sink};

pub(super) struct SeriesV2;

#[derive(Default, Deserialize)]
#[serde(default)]
struct OneSeries<'a> {
    #[serde(borrow)]
    metric: Text<'a>,
    #[serde(borrow)]
    points: Option<&'a RawValue>,
    #[serde(rename = "type")]
    kind: Option<i64>,
    interval: Option<f64>,
    #[serde(borrow)]
    resources: Option<&'a RawValue>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Point {
    timestamp: f64,
    value: f64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resource<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
}

impl Door for SeriesV2 {
    fn take(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<Answer, Refusal> {
        if is_protobuf(request) {
            return Err(Refusal {
                reason: Reason::Encoding,
                status: 415,
                message: "Content-Type: expected application/json".to_owned(),
            });
        }
        let mut room = Room::default();
        each_series(request.body, sink, |series, sink| one(series, &mut room, sink))?;
        Ok(Answer::json(202, r#"{"errors":[]}"#))
    }
}

fn is_protobuf(request: &Request<'_>) -> bool {
    let mime = request.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    mime.to_ascii_lowercase().contains("protobuf")
}

fn one(series: &RawValue, room: &mut Room, sink: &mut dyn Sink) -> Result<(), Bad> {
    let series: OneSeries<'_> =
        json::object(series).ok_or(Bad::value("", "an object with metric, points and type"))?;
    let kind = match series.kind {
        None | Some(0 | 3) => Kind::Gauge,
        Some(1) => Kind::Count,
        Some(2) => Kind::Rate,
        Some(_) => return Err(Bad::value("type", "0 to 3")),
    };
    let law = Law::new(kind, series.interval)?;
    room.read(series.points, law, |point| {
        let Point { timestamp, value } = json::object(point)?;
        Some((timestamp, value))
    })?;
    let (mut host, mut device) = (Text::default(), Text::default());
    let mut are_resources = true;
    are_resources &=
        json::each(series.resources, |resource| match json::object::<Resource<'_>>(resource) {
            Some(resource) if &*resource.kind == "host" => host = resource.name,
            Some(resource) if &*resource.kind == "device" => device = resource.name,
            Some(_) => {}
            None => are_resources = false,
        });
    if !are_resources {
        return Err(Bad::value("resources", "a list of objects with type and name"));
    }
    tags(series.tags, &device, &mut room.tags)?;
    room.put(&series.metric, &host, sink)
}
