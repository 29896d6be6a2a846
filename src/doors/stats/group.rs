//! Checks a group of stats and makes its tags and metrics.

use super::normal;
use super::payload::{Group, Payload, Texts};
use crate::ddsketch::{DdSketch, Recoding, Rounding, Unit};
use crate::doors::msgpack::Number;
use crate::doors::{Naming, Part, Reason, Sink, TagList, Value};

/// Types of spans whose resource may be a statement that still contains its values.
const STATEMENT_TYPES: [&[u8]; 8] = [
    b"sql",
    b"cassandra",
    b"redis",
    b"valkey",
    b"memcached",
    b"mongodb",
    b"elasticsearch",
    b"opensearch",
];

/// A group whose values are all valid.
pub(super) struct Valid {
    pub ok: DdSketch,
    pub error: DdSketch,
    hits: f64,
    errors: f64,
    /// Nanoseconds.
    duration: f64,
}

impl Valid {
    /// # Errors
    /// Why the group is refused.
    pub fn of(group: &Group<'_>, rounding: Rounding) -> Result<Self, Reason> {
        if group.name.is_empty() {
            return Err(Reason::Value);
        }
        let count = |number: Number| {
            let value = number.float();
            if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(Reason::Value) }
        };
        let (hits, errors) = (count(group.hits)?, count(group.errors)?);
        let duration = count(group.duration)?;
        count(group.top_level_hits)?;
        let sketch = |bytes| DdSketch::read_positive(bytes, rounding).map_err(|_| Reason::Sketch);
        let (ok, error) = (sketch(group.ok_summary)?, sketch(group.error_summary)?);
        Ok(Valid { ok, error, hits, errors, duration })
    }
}

/// The resource of a group; empty where it is a statement that the client has not obfuscated.
pub(super) fn resource<'a>(group: &Group<'a>, obfuscated: bool) -> &'a [u8] {
    let statement = STATEMENT_TYPES.iter().any(|kind| group.kind.eq_ignore_ascii_case(kind));
    if statement && !obfuscated { b"" } else { group.resource }
}

/// Makes parts of groups; keeps its memory from one to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    tags: TagList,
    name: Vec<u8>,
    text: Vec<u8>,
    recoding: Recoding,
}

impl Scratch {
    /// Records the metrics of one group.
    ///
    /// # Errors
    /// When its sketches hold more than ours can; then nothing of it is recorded.
    pub fn record(
        &mut self,
        payload: &Payload<'_>,
        group: &Group<'_>,
        valid: &Valid,
        at: &Place<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Reason> {
        let seconds = valid.duration / 1e9;
        self.recoding.clear();
        self.recoding.add(&valid.ok, Unit::Nanoseconds);
        self.recoding.add(&valid.error, Unit::Nanoseconds);
        let exact = (self.recoding.count() as f64 == valid.hits).then_some(seconds);
        let sketch = self.recoding.sketch(exact).map_err(|_| Reason::Sketch)?;
        self.write_tags(payload, group, at);
        let Scratch { tags, name, .. } = self;
        at.naming.write(name, &["trace."]);
        normal::push_name(group.name, name);
        let base = name.len();
        let mut put = |suffix: &str, value: Value<'_>| {
            name.truncate(base);
            name.extend_from_slice(suffix.as_bytes());
            sink.put(&Part { name, tags, host: b"", second: at.second, value });
        };
        put(".hits", Value::Count(valid.hits));
        if valid.errors > 0.0 {
            put(".errors", Value::Count(valid.errors));
        }
        put(".duration", Value::Count(seconds));
        if !sketch.is_empty() {
            put("", Value::Sketch(&sketch));
        }
        Ok(())
    }

    fn write_tags(&mut self, payload: &Payload<'_>, group: &Group<'_>, at: &Place<'_>) {
        let Scratch { tags, text, .. } = self;
        let env = at.naming.env(payload.env);
        tags.clear();
        tags.pair("service", group.service);
        tags.pair("env", env);
        tags.pair("version", payload.version);
        normal::write_resource(resource(group, at.obfuscated), text);
        tags.pair("resource_name", text);
        let status = group.http_status_code.unsigned().unwrap_or_default();
        if status >= 100 {
            let mut digits = itoa::Buffer::new();
            tags.pair("http.status_code", digits.format(status).as_bytes());
            text.clear();
            text.extend_from_slice(digits.format(status / 100).as_bytes());
            text.extend_from_slice(b"xx");
            tags.pair("http.status_class", text);
        }
        tags.pair("span.kind", group.span_kind);
        tags.pair("rpc.grpc.status_code", group.grpc_status_code);
        if group.synthetics {
            tags.push(b"synthetics:true");
        }
        let Group { peer_tags, span_derived_primary_tags, additional_metric_tags, .. } = group;
        let mut push_all = |texts: &Texts<'_>| texts.each(|tag| tags.push(tag));
        push_all(peer_tags);
        push_all(span_derived_primary_tags);
        push_all(additional_metric_tags);
    }
}

/// What all groups of a bucket have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub naming: &'a Naming,
    /// Unix seconds: the start of the bucket.
    pub second: i64,
    /// The client has taken the values out of statements.
    pub obfuscated: bool,
}
