//! A flush as the body of a request to `/v0.1/pipeline_stats`: msgpack, gzip level 1.
//!
//! Names, types and presence of fields are those of the Python client: `Env`, `Version` and `ProcessTags` are
//! left out when they are not set.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use rmp::encode;

use super::flush::{BUCKET_NANOSECONDS, Bucket, Flush, Point};
use crate::ddsketch;

/// The value of `Lang` and of the header `Datadog-Meta-Lang`.
pub(super) const LANGUAGE: &str = "rust";
/// The value of `TracerVersion` and of the header `Datadog-Meta-Tracer-Version`.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Flush {
    /// The body that an agent takes, before compression.
    #[must_use]
    pub fn to_msgpack(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(1024);
        let application = &self.application;
        let optional = [("Env", &application.env), ("Version", &application.version)];
        let optional: Vec<_> =
            optional.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let has_process_tags = !application.process_tags.is_empty();
        put_map(&mut to, 5 + optional.len() + usize::from(has_process_tags));
        put_text(&mut to, "Service", &application.service);
        put_text(&mut to, "TracerVersion", VERSION);
        put_text(&mut to, "Lang", LANGUAGE);
        put_list(&mut to, "Stats", &self.buckets, put_bucket);
        put_text(&mut to, "Hostname", &application.hostname);
        for (name, value) in optional {
            put_text(&mut to, name, value);
        }
        if has_process_tags {
            put_texts(&mut to, "ProcessTags", &application.process_tags);
        }
        to
    }

    /// The body that an agent takes, compressed.
    #[must_use]
    pub fn to_body(&self) -> Vec<u8> {
        let mut body = GzEncoder::new(Vec::new(), Compression::fast());
        written(body.write_all(&self.to_msgpack()));
        body.finish().unwrap_or_default()
    }
}

fn put_bucket(to: &mut Vec<u8>, bucket: &Bucket) {
    put_map(to, 4);
    put_unsigned(to, "Start", bucket.start);
    put_unsigned(to, "Duration", BUCKET_NANOSECONDS);
    put_list(to, "Stats", &bucket.points, put_point);
    put_list(to, "Backlogs", &bucket.backlogs, |to, backlog| {
        put_map(to, 2);
        put_texts(to, "Tags", &backlog.tags());
        put_name(to, "Value");
        written(encode::write_sint(to, backlog.offset));
    });
}

fn put_point(to: &mut Vec<u8>, point: &Point) {
    put_map(to, 6);
    put_texts(to, "EdgeTags", &point.edge_tags);
    put_unsigned(to, "Hash", point.hash);
    put_unsigned(to, "ParentHash", point.parent_hash);
    for (name, sketch) in [
        ("PathwayLatency", &point.pathway_latency),
        ("EdgeLatency", &point.edge_latency),
        ("PayloadSize", &point.payload_size),
    ] {
        put_name(to, name);
        written(encode::write_bin(to, &ddsketch::write(sketch)));
    }
}

fn put_map(to: &mut Vec<u8>, fields: usize) {
    written(encode::write_map_len(to, length(fields)));
}

fn put_name(to: &mut Vec<u8>, name: &str) {
    written(encode::write_str(to, name));
}

fn put_text(to: &mut Vec<u8>, name: &str, value: &str) {
    put_name(to, name);
    put_name(to, value);
}

fn put_unsigned(to: &mut Vec<u8>, name: &str, value: u64) {
    put_name(to, name);
    written(encode::write_uint(to, value));
}

fn put_texts(to: &mut Vec<u8>, name: &str, values: &[String]) {
    put_list(to, name, values, |to, value| put_name(to, value));
}

fn put_list<T>(to: &mut Vec<u8>, name: &str, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    put_name(to, name);
    written(encode::write_array_len(to, length(items.len())));
    items.iter().for_each(|item| put(to, item));
}

/// No list of ours is so long that this cuts.
fn length(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

/// Writing to memory does not fail.
fn written<T, E: std::fmt::Debug>(result: Result<T, E>) {
    debug_assert!(result.is_ok(), "{:?}", result.err());
}
