//! Stats as the vendor's intake reads them: msgpack under the names of the Agent.

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use rmp::encode;

use super::payload::{Group, Payload, Texts};
use crate::ddsketch::DdSketch;
use crate::doors::Agent;

/// Fields that [`head`] writes.
const HEAD_FIELDS: u32 = 9;
/// Fields that [`identity`] writes.
const IDENTITY_FIELDS: u32 = 16;
const BUCKET_NANOSECONDS: u64 = 10_000_000_000;

/// The numbers of a group, and its sketches.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub hits: u64,
    pub errors: u64,
    pub top_level_hits: u64,
    /// Nanoseconds.
    pub duration: u64,
    pub ok: Option<DdSketch>,
    pub error: Option<DdSketch>,
}

/// What is sent as one payload of a client: one bucket of one kind of process.
pub(super) struct Sent<'a> {
    /// Written by [`head`].
    pub head: &'a [u8],
    pub lang: &'a str,
    /// Only sketches: the numbers went with another payload.
    pub distributions: bool,
    /// Unix seconds.
    pub start: u64,
    /// Nanoseconds that what came too late was moved by.
    pub time_shift: i64,
    /// Written by [`identity`], with what was counted.
    pub groups: Vec<(&'a [u8], &'a Sums)>,
}

/// The fields of a payload that tell whose it is.
pub(super) fn head(payload: &Payload<'_>) -> Vec<u8> {
    let mut to = Vec::with_capacity(256);
    for (name, value) in [
        ("Hostname", payload.hostname),
        ("Env", payload.env),
        ("Version", payload.version),
        ("Lang", payload.lang),
        ("TracerVersion", payload.tracer_version),
        ("Service", payload.service),
        ("ContainerID", payload.container_id),
        ("GitCommitSha", payload.git_commit_sha),
        ("ImageTag", payload.image_tag),
    ] {
        put_text(&mut to, name, value);
    }
    to
}

/// The fields of a group that tell which spans it counts.
pub(super) fn identity(group: &Group<'_>, resource: &[u8]) -> Vec<u8> {
    let mut to = Vec::with_capacity(384);
    for (name, value) in [
        ("Service", group.service),
        ("Name", group.name),
        ("Resource", resource),
        ("Type", group.kind),
        ("DBType", group.db_type),
        ("SpanKind", group.span_kind),
        ("GRPCStatusCode", group.grpc_status_code),
        ("HTTPMethod", group.http_method),
        ("HTTPEndpoint", group.http_endpoint),
        ("srv_src", group.service_source),
    ] {
        put_text(&mut to, name, value);
    }
    let status = group.http_status_code.unsigned().unwrap_or_default();
    put_unsigned(&mut to, "HTTPStatusCode", status.min(u64::from(u32::MAX)));
    put_unsigned(&mut to, "IsTraceRoot", group.is_trace_root.unsigned().unwrap_or_default().min(2));
    put_name(&mut to, "Synthetics");
    written(encode::write_bool(&mut to, group.synthetics));
    put_texts(&mut to, "PeerTags", group.peer_tags);
    put_texts(&mut to, "SpanDerivedPrimaryTags", group.span_derived_primary_tags);
    put_texts(&mut to, "AdditionalMetricTags", group.additional_metric_tags);
    to
}

/// A request: the languages in it, and its compressed body.
pub(super) fn request(
    agent: &Agent,
    payloads: &[Sent<'_>],
    is_split: bool,
) -> io::Result<(String, Bytes)> {
    let mut to = Vec::with_capacity(4096);
    encode::write_map_len(&mut to, 6)?;
    put_text(&mut to, "AgentHostname", agent.hostname.as_bytes());
    put_text(&mut to, "AgentEnv", agent.env.as_bytes());
    put_text(&mut to, "AgentVersion", env!("CARGO_PKG_VERSION").as_bytes());
    put_name(&mut to, "ClientComputed");
    written(encode::write_bool(&mut to, true));
    put_name(&mut to, "SplitPayload");
    written(encode::write_bool(&mut to, is_split));
    put_name(&mut to, "Stats");
    encode::write_array_len(&mut to, length(payloads.len()))?;
    let mut body = GzEncoder::new(Vec::new(), Compression::fast());
    for payload in payloads {
        put_payload(&mut to, payload);
        body.write_all(&to)?;
        to.clear();
    }
    body.write_all(&to)?;
    let languages: BTreeSet<&str> =
        payloads.iter().map(|payload| payload.lang).filter(|lang| !lang.is_empty()).collect();
    let languages = languages.into_iter().collect::<Vec<_>>().join("|");
    Ok((languages, body.finish()?.into()))
}

fn put_payload(to: &mut Vec<u8>, payload: &Sent<'_>) {
    written(encode::write_map_len(to, HEAD_FIELDS + 2));
    to.extend_from_slice(payload.head);
    let aggregation = if payload.distributions { "distributions" } else { "" };
    put_text(to, "AgentAggregation", aggregation.as_bytes());
    put_name(to, "Stats");
    written(encode::write_array_len(to, 1));
    written(encode::write_map_len(to, 4));
    put_unsigned(to, "Start", payload.start.saturating_mul(1_000_000_000));
    put_unsigned(to, "Duration", BUCKET_NANOSECONDS);
    put_name(to, "AgentTimeShift");
    written(encode::write_sint(to, payload.time_shift));
    put_name(to, "Stats");
    written(encode::write_array_len(to, length(payload.groups.len())));
    for (identity, sums) in &payload.groups {
        written(encode::write_map_len(to, IDENTITY_FIELDS + 6));
        to.extend_from_slice(identity);
        put_unsigned(to, "Hits", sums.hits);
        put_unsigned(to, "Errors", sums.errors);
        put_unsigned(to, "Duration", sums.duration);
        put_unsigned(to, "TopLevelHits", sums.top_level_hits);
        for (name, sketch) in [("OkSummary", &sums.ok), ("ErrorSummary", &sums.error)] {
            put_name(to, name);
            let bytes = sketch.as_ref().map(DdSketch::bytes).unwrap_or_default();
            written(encode::write_bin(to, &bytes));
        }
    }
}

fn put_name(to: &mut Vec<u8>, name: &str) {
    written(encode::write_str(to, name));
}

fn put_text(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    put_name(to, name);
    put_bytes(to, value);
}

/// A string that may be no UTF-8: it stays what it was.
fn put_bytes(to: &mut Vec<u8>, value: &[u8]) {
    written(encode::write_str_len(to, length(value.len())));
    to.extend_from_slice(value);
}

fn put_unsigned(to: &mut Vec<u8>, name: &str, value: u64) {
    put_name(to, name);
    written(encode::write_uint(to, value));
}

fn put_texts(to: &mut Vec<u8>, name: &str, texts: Texts<'_>) {
    put_name(to, name);
    let mut count = 0;
    texts.each(|_| count += 1);
    written(encode::write_array_len(to, count));
    texts.each(|text| put_bytes(to, text));
}

/// Bodies, and so all in them, are below 4 GiB.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A vector takes every byte.
fn written<T, E: std::fmt::Debug>(result: Result<T, E>) {
    debug_assert!(result.is_ok(), "{:?}", result.err());
}
