//! Cutting a finished payload in two, for an intake that answers 413.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::compress::{Compression, Compressor};
use super::text::put_json_str;
use super::{ContentEncoding, Payload, Route};
use crate::protobuf::fields;

/// No body is unpacked beyond this, whatever it claims: the largest that any series route takes.
const UNCOMPRESSED_BYTES_MAX: usize = 62_914_560;

/// Why a payload could not be cut.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SplitError {
    /// This build has no codec for the encoding.
    #[error("no codec for {0:?} is built in")]
    Unsupported(ContentEncoding),
    /// The body does not unpack, or a part does not pack.
    #[error("codec failed: {0}")]
    Codec(#[from] io::Error),
    /// The body unpacks to more than it was built from.
    #[error("body unpacks to more than {0} bytes")]
    TooLarge(usize),
    /// The unpacked body is not what its route says.
    #[error("body is not a valid {0} payload")]
    Malformed(&'static str),
}

/// One item as it stands in the body, without separators.
struct Item<'a> {
    /// The key it stands under; empty but for events.
    group: Cow<'a, str>,
    bytes: &'a [u8],
    points: usize,
}

/// Everything of a body but its items.
struct Frame {
    prefix: Vec<u8>,
    suffix: Vec<u8>,
}

/// Two payloads that together hold the items of `payload` in their order, about half of the bytes
/// each, compressed alike (at the preset level) and with its age. `None` when there is but one item.
///
/// # Errors
/// When the body does not unpack to items of its route, or the codec is not built in.
pub fn halve(payload: &Payload) -> Result<Option<(Payload, Payload)>, SplitError> {
    let bytes_max = payload.uncompressed_bytes.min(UNCOMPRESSED_BYTES_MAX);
    let body = decompress(&payload.body, payload.encoding, bytes_max)?;
    let (frame, items) =
        take_apart(payload.route, &body).ok_or(SplitError::Malformed(payload.route.label()))?;
    if items.len() < 2 {
        return Ok(None);
    }
    let (left, right) = items.split_at(middle(&items));
    Ok(Some((put_together(payload, &frame, left)?, put_together(payload, &frame, right)?)))
}

/// The place that leaves about the same bytes on both sides, and at least one item.
fn middle(items: &[Item<'_>]) -> usize {
    let half = items.iter().map(|item| item.bytes.len()).sum::<usize>() / 2;
    let mut seen = 0;
    let before = items.iter().take_while(|item| {
        seen += item.bytes.len();
        seen <= half
    });
    before.count().clamp(1, items.len() - 1)
}

/// `body` unpacked, at most `bytes_max` bytes.
pub(super) fn decompress(
    body: &[u8],
    encoding: ContentEncoding,
    bytes_max: usize,
) -> Result<Vec<u8>, SplitError> {
    let mut unpacked = Vec::new();
    // One more than allowed distinguishes "exactly" from "too much".
    let limit = bytes_max as u64 + 1;
    match encoding {
        ContentEncoding::Identity => body.take(limit).read_to_end(&mut unpacked)?,
        ContentEncoding::Deflate => {
            flate2::read::ZlibDecoder::new(body).take(limit).read_to_end(&mut unpacked)?
        }
        ContentEncoding::Gzip => {
            flate2::read::GzDecoder::new(body).take(limit).read_to_end(&mut unpacked)?
        }
        #[cfg(feature = "zstd")]
        ContentEncoding::Zstd => {
            zstd::stream::read::Decoder::new(body)?.take(limit).read_to_end(&mut unpacked)?
        }
        #[cfg(not(feature = "zstd"))]
        ContentEncoding::Zstd => return Err(SplitError::Unsupported(encoding)),
    };
    if unpacked.len() > bytes_max {
        return Err(SplitError::TooLarge(bytes_max));
    }
    Ok(unpacked)
}

fn take_apart(route: Route, body: &[u8]) -> Option<(Frame, Vec<Item<'_>>)> {
    match route {
        Route::SeriesV2 | Route::Sketches => messages(route, body),
        Route::SeriesV1 => series_v1(body),
        Route::Events => events(body),
        Route::ServiceChecks => checks(body),
    }
}

/// Field 1 repeats; every other field belongs to the payload as a whole.
fn messages(route: Route, body: &[u8]) -> Option<(Frame, Vec<Item<'_>>)> {
    let mut items = Vec::new();
    let mut suffix = Vec::new();
    for field in fields(body) {
        let field = field?;
        if field.number != 1 {
            suffix.extend_from_slice(field.whole);
            continue;
        }
        let points = if route == Route::SeriesV2 { points_of(field.content)? } else { 1 };
        items.push(Item { group: Cow::Borrowed(""), bytes: field.whole, points });
    }
    Some((Frame { prefix: Vec::new(), suffix }, items))
}

/// Field 4 of a MetricSeries, counted.
fn points_of(series: &[u8]) -> Option<usize> {
    fields(series).try_fold(0, |points, field| Some(points + usize::from(field?.number == 4)))
}

fn series_v1(body: &[u8]) -> Option<(Frame, Vec<Item<'_>>)> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        series: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct One<'a> {
        #[serde(borrow)]
        points: Vec<&'a RawValue>,
    }
    let body: Body<'_> = serde_json::from_slice(body).ok()?;
    let items = body.series.into_iter().map(|raw| {
        let one: One<'_> = serde_json::from_str(raw.get()).ok()?;
        Some(Item { points: one.points.len(), ..item("".into(), raw) })
    });
    Some((frame(br#"{"series":["#, b"]}"), items.collect::<Option<_>>()?))
}

fn events(body: &[u8]) -> Option<(Frame, Vec<Item<'_>>)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        internal_hostname: String,
        // The encoder writes groups sorted, so a sorted map keeps their order.
        #[serde(borrow)]
        events: BTreeMap<String, Vec<&'a RawValue>>,
    }
    let body: Body<'_> = serde_json::from_slice(body).ok()?;
    let mut prefix = br#"{"apiKey":"","internalHostname":"#.to_vec();
    put_json_str(&mut prefix, &body.internal_hostname);
    prefix.extend_from_slice(br#","events":{"#);
    let items = body.events.into_iter().flat_map(|(group, raws)| {
        raws.into_iter().map(move |raw| item(Cow::Owned(group.clone()), raw))
    });
    Some((frame(&prefix, b"]}}"), items.collect()))
}

fn checks(body: &[u8]) -> Option<(Frame, Vec<Item<'_>>)> {
    let raws: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    let items = raws.into_iter().map(|raw| item("".into(), raw));
    Some((frame(b"[", b"]"), items.collect()))
}

fn frame(prefix: &[u8], suffix: &[u8]) -> Frame {
    Frame { prefix: prefix.into(), suffix: suffix.into() }
}

fn item<'a>(group: Cow<'a, str>, raw: &'a RawValue) -> Item<'a> {
    Item { group, bytes: raw.get().as_bytes(), points: 1 }
}

fn put_together(whole: &Payload, frame: &Frame, items: &[Item<'_>]) -> Result<Payload, SplitError> {
    let mut body = frame.prefix.clone();
    for (place, item) in items.iter().enumerate() {
        let previous = place.checked_sub(1).map(|before| &items[before]);
        put_glue(&mut body, whole.route, previous, item);
        body.extend_from_slice(item.bytes);
    }
    body.extend_from_slice(&frame.suffix);
    Ok(Payload {
        body: compress(&body, whole.encoding)?,
        items: items.len(),
        points: items.iter().map(|item| item.points).sum(),
        uncompressed_bytes: body.len(),
        ..*whole
    })
}

fn put_glue(body: &mut Vec<u8>, route: Route, previous: Option<&Item<'_>>, item: &Item<'_>) {
    if route.is_protobuf() {
        return;
    }
    if previous.is_some_and(|previous| previous.group == item.group) {
        body.push(b',');
        return;
    }
    if previous.is_some() {
        body.extend_from_slice(b"],");
    }
    if route == Route::Events {
        put_json_str(body, &item.group);
        body.extend_from_slice(b":[");
    }
}

fn compress(body: &[u8], encoding: ContentEncoding) -> Result<Bytes, SplitError> {
    let compression = Compression::producing(encoding).ok_or(SplitError::Unsupported(encoding))?;
    let mut compressor = Compressor::new(compression)?;
    let mut out = Vec::new();
    compressor.write(body, &mut out)?;
    compressor.finish(&mut out)?;
    out.shrink_to_fit();
    Ok(out.into())
}
