//! One series as an object of the v1 JSON. What v1 has no field for, unit and resources, is not sent.

use super::series::{Scratch, TagUse};
use super::text::{put_json, put_json_str, utf8};
use crate::flush::{Point, Series, SeriesKind};

/// Appends the object to `scratch.item`.
pub(super) fn write(
    scratch: &mut Scratch,
    series: &Series<'_>,
    points: &[Point],
    replaced: &mut u64,
) {
    let Scratch { item, tags, .. } = scratch;
    item.extend_from_slice(br#"{"metric":"#);
    put_name(item, tags, series, replaced);
    item.extend_from_slice(br#","points":["#);
    let finite = points.iter().filter(|point| point.value.is_finite());
    for (place, point) in finite.enumerate() {
        item.extend_from_slice(if place > 0 { b",[" } else { b"[" });
        item.extend_from_slice(itoa::Buffer::new().format(point.timestamp).as_bytes());
        item.push(b',');
        item.extend_from_slice(zmij::Buffer::new().format_finite(point.value).as_bytes());
        item.push(b']');
    }
    item.extend_from_slice(br#"],"tags":["#);
    let device = put_tags(item, series, replaced);
    item.extend_from_slice(br#"],"host":"#);
    put_json(item, series.host, replaced);
    if let Some(device) = device {
        item.extend_from_slice(br#","device":"#);
        put_json(item, device, replaced);
    }
    item.extend_from_slice(br#","type":""#);
    item.extend_from_slice(type_word(series.kind).as_bytes());
    item.extend_from_slice(br#"","interval":"#);
    item.extend_from_slice(itoa::Buffer::new().format(series.interval).as_bytes());
    if let Some(source) = series.source.filter(|source| !source.is_empty()) {
        item.extend_from_slice(br#","source_type_name":"#);
        put_json_str(item, source);
    }
    item.push(b'}');
}

fn put_name(item: &mut Vec<u8>, joined: &mut Vec<u8>, series: &Series<'_>, replaced: &mut u64) {
    joined.clear();
    joined.extend_from_slice(utf8(series.name, replaced).as_bytes());
    joined.extend_from_slice(series.suffix.as_bytes());
    put_json(item, joined, replaced);
}

/// The plain tags; returns the device.
fn put_tags<'a>(item: &mut Vec<u8>, series: &Series<'a>, replaced: &mut u64) -> Option<&'a [u8]> {
    let mut device = None;
    let mut first = true;
    for tag in series.tags.iter() {
        match TagUse::of(tag) {
            TagUse::Plain => {
                if !first {
                    item.push(b',');
                }
                first = false;
                put_json(item, tag, replaced);
            }
            TagUse::Device(name) => device = Some(name),
            TagUse::Resource(..) | TagUse::Nothing => {}
        }
    }
    device
}

fn type_word(kind: SeriesKind) -> &'static str {
    match kind {
        SeriesKind::Count => "count",
        SeriesKind::Rate => "rate",
        SeriesKind::Gauge => "gauge",
    }
}
