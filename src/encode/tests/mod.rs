mod decoded;
mod golden;
mod splitting;

use super::*;
use crate::aggregate::{CheckRecord, EventRecord};
use crate::context::Tags;
use crate::flush::{Point, Series, SeriesKind, SketchSeries};
use crate::protocol::{AlertType, Priority, Status};
use crate::sketch::Sketch;

const POINT: Point = Point { timestamp: 1_700_000_000, value: 0.3 };

fn page_views<'a>(points: &'a [Point]) -> Series<'a> {
    Series {
        name: b"page",
        suffix: ".views",
        host: b"web-1",
        tags: Tags::from_wire(b"env:prod"),
        kind: SeriesKind::Rate,
        unit: None,
        source: None,
        interval: 10,
        points,
    }
}

fn event(source_type: &str) -> EventRecord {
    EventRecord {
        title: Box::from(&b"deploy"[..]),
        text: Box::from(&b"v2\ndone"[..]),
        timestamp: 1_700_000_003,
        priority: Priority::Normal,
        alert_type: AlertType::Info,
        host: Box::from(&b"web-1"[..]),
        aggregation_key: Box::from(&b"dep"[..]),
        source_type: source_type.as_bytes().into(),
        tags: vec![Box::from(&b"env:prod"[..])],
    }
}

fn check() -> CheckRecord {
    CheckRecord {
        name: Box::from(&b"app.ok"[..]),
        status: Status::Ok,
        timestamp: 1_700_000_003,
        host: Box::from(&b"web-1"[..]),
        message: Box::from(&b"all good"[..]),
        tags: vec![Box::from(&b"env:prod"[..])],
    }
}

/// What `encode` gives its sink; nothing may have been left out.
#[track_caller]
fn collect(encode: impl FnOnce(&mut dyn FnMut(Payload)) -> EncodeCounts) -> Vec<Payload> {
    let mut payloads = Vec::new();
    let counts = encode(&mut |payload| payloads.push(payload));
    assert_eq!(counts, EncodeCounts::default());
    payloads
}

#[track_caller]
fn encode_series(
    format: SeriesFormat,
    limits: &PayloadLimits,
    series: &[Series<'_>],
) -> Vec<Payload> {
    let mut encoder = SeriesEncoder::new(format, Compression::None, limits).unwrap();
    collect(|sink| {
        series.iter().for_each(|one| encoder.push(one, sink));
        encoder.finish(sink)
    })
}

#[track_caller]
fn encode_events(limits: &PayloadLimits, events: &[EventRecord]) -> Vec<Payload> {
    let mut encoder =
        EventEncoder::new(Compression::preset(Route::Events), limits, b"web-1").unwrap();
    collect(|sink| encoder.encode(events, sink))
}

#[track_caller]
fn encode_checks(limits: &PayloadLimits, checks: &[CheckRecord]) -> Vec<Payload> {
    let mut encoder = CheckEncoder::new(Compression::preset(Route::ServiceChecks), limits).unwrap();
    collect(|sink| {
        checks.iter().for_each(|one| encoder.push(one, sink));
        encoder.finish(sink)
    })
}
