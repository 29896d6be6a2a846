//! Latencies, sizes and throughput of edges.

use super::super::{Reason, Value};
use super::Parts;
use super::payload::{self, Point};
use crate::ddsketch::{DdSketch, Unit, recode};
use crate::sketch::Sketch;
use crate::streams::{FULL, LATENCY, PAYLOAD_SIZE, THROUGHPUT, pathway_type};

/// The points of a bucket.
pub(super) fn take(points: &[u8], parts: &mut Parts<'_>) {
    let is_list = payload::each(points, |bytes| match payload::point(bytes) {
        Ok(point) => take_point(&point, parts),
        Err(_) => parts.refuse(Reason::Value),
    });
    if !is_list {
        parts.refuse(Reason::Value);
    }
}

fn take_point(point: &Point<'_>, parts: &mut Parts<'_>) {
    // The same messages were counted by the time they passed.
    if point.timestamp_type == b"origin" {
        return;
    }
    let Some(direction) = set_tags(point, parts) else { return parts.refuse(Reason::Value) };
    if let Some(latency) = sketch(point.pathway_latency, parts) {
        parts.put(THROUGHPUT, Value::Count(latency.count() as f64));
        if point.has_parent {
            put_latency(FULL, &latency, parts);
        }
    }
    // Nothing was measured where a pathway begins: the sketches hold zeros.
    if let Some(pathway_type) = pathway_type(direction).filter(|_| point.has_parent)
        && let Some(latency) = sketch(point.edge_latency, parts)
    {
        put_latency(pathway_type, &latency, parts);
    }
    if let Some(size) = sketch(point.payload_size, parts) {
        parts.put(PAYLOAD_SIZE, Value::Sketch(&size));
    }
}

fn put_latency(pathway_type: &str, latency: &Sketch, parts: &mut Parts<'_>) {
    let edge = parts.tags.len();
    parts.tags.pair("pathway_type", pathway_type.as_bytes());
    parts.put(LATENCY, Value::Sketch(latency));
    parts.tags.truncate(edge);
}

/// Sets the tags of the edge as they were sent, service and env. Returns the direction, empty without
/// one; none when a tag is no text.
fn set_tags<'a>(point: &Point<'a>, parts: &mut Parts<'_>) -> Option<&'a [u8]> {
    let tags = &mut parts.tags;
    tags.clear();
    let mut direction = None;
    let are_texts = payload::each_text(point.edge_tags, |tag| {
        if !tag.is_empty() {
            tags.push(tag);
            direction = direction.or(tag.strip_prefix(b"direction:"));
        }
    });
    tags.pair("service", parts.service);
    tags.pair("env", parts.env);
    are_texts.then(|| direction.unwrap_or_default())
}

/// A sketch that is not empty. An invalid one is counted as refused.
fn sketch(bytes: &[u8], parts: &mut Parts<'_>) -> Option<Sketch> {
    let read = DdSketch::read_positive(bytes, parts.rounding);
    match read.and_then(|sketch| recode(&sketch, Unit::One)) {
        Ok(sketch) => Some(sketch).filter(|sketch| !sketch.is_empty()),
        Err(_) => {
            parts.refuse(Reason::Sketch);
            None
        }
    }
}
