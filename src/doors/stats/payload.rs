//! The grammar of a stats body: a payload of buckets of groups.
//!
//! All of it are views of the body. A payload may name its buckets before its environment (ddtrace 3 does),
//! so a body is gone through twice: to check all of it, then to record it.

use crate::doors::msgpack::{Number, Read, Reader};

/// What a process says of itself, and its buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Payload<'a> {
    pub hostname: &'a [u8],
    pub env: &'a [u8],
    pub version: &'a [u8],
    pub lang: &'a [u8],
    pub tracer_version: &'a [u8],
    pub service: &'a [u8],
    pub container_id: &'a [u8],
    pub git_commit_sha: &'a [u8],
    pub image_tag: &'a [u8],
    /// An array of buckets whose grammar is checked; empty without any.
    buckets: &'a [u8],
}

/// One interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bucket<'a> {
    /// Nanoseconds since the epoch.
    pub start: Number,
    /// Nanoseconds.
    pub duration: Number,
    /// An array of groups whose grammar is checked; empty without any.
    groups: &'a [u8],
}

/// What spans have in common, and what is counted of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Group<'a> {
    pub service: &'a [u8],
    pub name: &'a [u8],
    pub resource: &'a [u8],
    pub http_status_code: Number,
    pub kind: &'a [u8],
    pub db_type: &'a [u8],
    pub hits: Number,
    pub errors: Number,
    /// Nanoseconds, of all hits together.
    pub duration: Number,
    /// DDSketch of nanoseconds.
    pub ok_summary: &'a [u8],
    /// DDSketch of nanoseconds.
    pub error_summary: &'a [u8],
    pub synthetics: bool,
    pub top_level_hits: Number,
    pub span_kind: &'a [u8],
    pub peer_tags: Texts<'a>,
    /// 0 not known, 1 true, 2 false.
    pub is_trace_root: Number,
    pub grpc_status_code: &'a [u8],
    pub http_method: &'a [u8],
    pub http_endpoint: &'a [u8],
    pub service_source: &'a [u8],
    pub span_derived_primary_tags: Texts<'a>,
    pub additional_metric_tags: Texts<'a>,
}

type PayloadField = for<'a> fn(&mut Payload<'a>, &mut Reader<'a>) -> Read<()>;
type BucketField = for<'a> fn(&mut Bucket<'a>, &mut Reader<'a>) -> Read<()>;
type GroupField = for<'a> fn(&mut Group<'a>, &mut Reader<'a>) -> Read<()>;

const PAYLOAD: &[(&str, PayloadField)] = &[
    ("Hostname", |payload, value| value.text().map(|text| payload.hostname = text)),
    ("Env", |payload, value| value.text().map(|text| payload.env = text)),
    ("Version", |payload, value| value.text().map(|text| payload.version = text)),
    ("Stats", |payload, value| {
        payload.buckets = value.span(|value| value.array(|item| Bucket::read(item).map(drop)))?;
        Ok(())
    }),
    ("Lang", |payload, value| value.text().map(|text| payload.lang = text)),
    ("TracerVersion", |payload, value| value.text().map(|text| payload.tracer_version = text)),
    ("Service", |payload, value| value.text().map(|text| payload.service = text)),
    ("ContainerID", |payload, value| value.text().map(|text| payload.container_id = text)),
    ("GitCommitSha", |payload, value| value.text().map(|text| payload.git_commit_sha = text)),
    ("ImageTag", |payload, value| value.text().map(|text| payload.image_tag = text)),
];

const BUCKET: &[(&str, BucketField)] = &[
    ("Start", |bucket, value| value.number().map(|number| bucket.start = number)),
    ("Duration", |bucket, value| value.number().map(|number| bucket.duration = number)),
    ("Stats", |bucket, value| {
        bucket.groups = value.span(|value| value.array(|item| Group::read(item).map(drop)))?;
        Ok(())
    }),
];

const GROUP: &[(&str, GroupField)] = &[
    ("Service", |group, value| value.text().map(|text| group.service = text)),
    ("Name", |group, value| value.text().map(|text| group.name = text)),
    ("Resource", |group, value| value.text().map(|text| group.resource = text)),
    ("HTTPStatusCode", |group, value| value.number().map(|number| group.http_status_code = number)),
    ("Type", |group, value| value.text().map(|text| group.kind = text)),
    ("DBType", |group, value| value.text().map(|text| group.db_type = text)),
    ("Hits", |group, value| value.number().map(|number| group.hits = number)),
    ("Errors", |group, value| value.number().map(|number| group.errors = number)),
    ("Duration", |group, value| value.number().map(|number| group.duration = number)),
    ("OkSummary", |group, value| value.text().map(|text| group.ok_summary = text)),
    ("ErrorSummary", |group, value| value.text().map(|text| group.error_summary = text)),
    ("Synthetics", |group, value| value.boolean().map(|is| group.synthetics = is)),
    ("TopLevelHits", |group, value| value.number().map(|number| group.top_level_hits = number)),
    ("SpanKind", |group, value| value.text().map(|text| group.span_kind = text)),
    ("PeerTags", |group, value| Texts::read(value).map(|texts| group.peer_tags = texts)),
    ("IsTraceRoot", |group, value| value.number().map(|number| group.is_trace_root = number)),
    ("GRPCStatusCode", |group, value| value.text().map(|text| group.grpc_status_code = text)),
    ("HTTPMethod", |group, value| value.text().map(|text| group.http_method = text)),
    ("HTTPEndpoint", |group, value| value.text().map(|text| group.http_endpoint = text)),
    ("srv_src", |group, value| value.text().map(|text| group.service_source = text)),
    ("SpanDerivedPrimaryTags", |group, value| {
        Texts::read(value).map(|texts| group.span_derived_primary_tags = texts)
    }),
    ("AdditionalMetricTags", |group, value| {
        Texts::read(value).map(|texts| group.additional_metric_tags = texts)
    }),
];

impl<'a> Payload<'a> {
    /// A whole body.
    ///
    /// # Errors
    /// Where the grammar is broken, at whatever depth, when bytes are left, and for nil: a body is a map.
    pub fn read(body: &'a [u8]) -> Read<Self> {
        let mut reader = Reader::new(body);
        let mut payload = Payload::default();
        reader.expect_map()?;
        reader.record(PAYLOAD, &mut payload)?;
        reader.end()?;
        Ok(payload)
    }

    /// Each bucket, in order.
    pub fn each_bucket(&self, mut take: impl FnMut(&Bucket<'a>)) {
        each(self.buckets, |item| Bucket::read(item).map(|bucket| take(&bucket)));
    }
}

impl<'a> Bucket<'a> {
    fn read(reader: &mut Reader<'a>) -> Read<Self> {
        let mut bucket = Bucket::default();
        reader.record(BUCKET, &mut bucket)?;
        Ok(bucket)
    }

    /// Each group, in order.
    pub fn each_group(&self, mut take: impl FnMut(&Group<'a>)) {
        each(self.groups, |item| Group::read(item).map(|group| take(&group)));
    }
}

impl<'a> Group<'a> {
    fn read(reader: &mut Reader<'a>) -> Read<Self> {
        let mut group = Group::default();
        reader.record(GROUP, &mut group)?;
        Ok(group)
    }
}

/// An array of strings whose grammar is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Texts<'a>(&'a [u8]);

impl<'a> Texts<'a> {
    fn read(reader: &mut Reader<'a>) -> Read<Self> {
        reader.span(|value| value.array(|item| item.text().map(drop))).map(Texts)
    }

    /// Each string that is not empty.
    pub fn each(&self, mut take: impl FnMut(&'a [u8])) {
        each(self.0, |item| {
            let text = item.text()?;
            if !text.is_empty() {
                take(text);
            }
            Ok(())
        });
    }
}

/// Each item of an array that was read before, or of none.
fn each<'a>(array: &'a [u8], mut item: impl FnMut(&mut Reader<'a>) -> Read<()>) {
    if !array.is_empty() {
        let read = Reader::new(array).array(&mut item);
        debug_assert!(read.is_ok(), "read before: {read:?}");
    }
}
