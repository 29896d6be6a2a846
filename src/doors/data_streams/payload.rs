//! The grammar: a payload of buckets, each of points and backlogs.
//!
//! The body is read as a whole before anything of it is recorded, so that one that is cut off leaves
//! nothing. Lists are kept as the bytes they are made of, and read element by element.

use super::super::msgpack::{Field, Read, Reader};

/// What all buckets have in common.
#[derive(Debug, Default)]
pub(super) struct Payload<'a> {
    pub service: &'a [u8],
    pub env: &'a [u8],
    /// Buckets.
    pub stats: &'a [u8],
}

/// What passed in 10 seconds, or a part of it.
#[derive(Debug, Default)]
pub(super) struct Bucket<'a> {
    /// Nanoseconds since the epoch; none when it cannot be.
    pub start: Option<u64>,
    /// Points.
    pub stats: &'a [u8],
    pub backlogs: &'a [u8],
}

/// Messages that took one edge of one pathway.
#[derive(Debug, Default)]
pub(super) struct Point<'a> {
    pub edge_tags: &'a [u8],
    pub has_parent: bool,
    /// Sketches: seconds since the first and since the previous checkpoint, and bytes.
    pub pathway_latency: &'a [u8],
    pub edge_latency: &'a [u8],
    pub payload_size: &'a [u8],
    /// `origin`: the same messages once more, in the bucket in which their pathway began.
    pub timestamp_type: &'a [u8],
}

/// An offset of a Kafka partition.
#[derive(Debug, Default)]
pub(super) struct Backlog<'a> {
    pub tags: &'a [u8],
    /// None when it cannot be one.
    pub value: Option<u64>,
}

/// Bytes that are an empty list.
const EMPTY: &[u8] = &[0x90];

/// The whole body.
pub(super) fn read(body: &[u8]) -> Read<Payload<'_>> {
    let mut reader = Reader::new(body);
    let mut payload = Payload { stats: EMPTY, ..Payload::default() };
    let fields: [Field<Payload<'_>, Reader<'_>>; 3] = [
        ("Service", |payload, reader| set(&mut payload.service, reader.text())),
        ("Env", |payload, reader| set(&mut payload.env, reader.text())),
        ("Stats", |payload, reader| set(&mut payload.stats, any(reader))),
    ];
    reader.record(&fields, &mut payload)?;
    reader.end()?;
    Ok(payload)
}

/// One bucket.
pub(super) fn bucket(bytes: &[u8]) -> Read<Bucket<'_>> {
    let mut bucket = Bucket { start: Some(0), stats: EMPTY, backlogs: EMPTY };
    let fields: [Field<Bucket<'_>, Reader<'_>>; 3] = [
        ("Start", |bucket, reader| set(&mut bucket.start, unsigned(reader))),
        ("Stats", |bucket, reader| set(&mut bucket.stats, any(reader))),
        ("Backlogs", |bucket, reader| set(&mut bucket.backlogs, any(reader))),
    ];
    Reader::new(bytes).record(&fields, &mut bucket)?;
    Ok(bucket)
}

/// One point.
pub(super) fn point(bytes: &[u8]) -> Read<Point<'_>> {
    let mut point = Point { edge_tags: EMPTY, ..Point::default() };
    let fields: [Field<Point<'_>, Reader<'_>>; 6] = [
        ("EdgeTags", |point, reader| set(&mut point.edge_tags, any(reader))),
        ("ParentHash", |point, reader| {
            // 64 bits of a hash; some languages have no type for them without a sign.
            set(&mut point.has_parent, reader.number().map(|hash| hash.whole() != Some(0)))
        }),
        ("PathwayLatency", |point, reader| set(&mut point.pathway_latency, reader.text())),
        ("EdgeLatency", |point, reader| set(&mut point.edge_latency, reader.text())),
        ("PayloadSize", |point, reader| set(&mut point.payload_size, reader.text())),
        ("TimestampType", |point, reader| set(&mut point.timestamp_type, reader.text())),
    ];
    Reader::new(bytes).record(&fields, &mut point)?;
    Ok(point)
}

/// One backlog.
pub(super) fn backlog(bytes: &[u8]) -> Read<Backlog<'_>> {
    let mut backlog = Backlog { tags: EMPTY, value: Some(0) };
    let fields: [Field<Backlog<'_>, Reader<'_>>; 2] = [
        ("Tags", |backlog, reader| set(&mut backlog.tags, any(reader))),
        ("Value", |backlog, reader| set(&mut backlog.value, unsigned(reader))),
    ];
    Reader::new(bytes).record(&fields, &mut backlog)?;
    Ok(backlog)
}

/// Calls `take` with the bytes of every element of a list. False when it is no list.
pub(super) fn each<'a>(list: &'a [u8], mut take: impl FnMut(&'a [u8])) -> bool {
    let mut reader = Reader::new(list);
    reader.array(|reader| reader.span(Reader::skip).map(&mut take)).is_ok()
}

/// The tags of a list, one by one. False when it is no list of texts.
pub(super) fn each_text<'a>(list: &'a [u8], mut take: impl FnMut(&'a [u8])) -> bool {
    Reader::new(list).array(|reader| reader.text().map(&mut take)).is_ok()
}

fn any<'a>(reader: &mut Reader<'a>) -> Read<&'a [u8]> {
    reader.span(Reader::skip)
}

fn unsigned(reader: &mut Reader<'_>) -> Read<Option<u64>> {
    reader.number().map(|number| number.unsigned())
}

fn set<T>(field: &mut T, value: Read<T>) -> Read<()> {
    *field = value?;
    Ok(())
}
