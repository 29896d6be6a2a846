//! Series, as protobuf for `/api/v2/series` or as JSON for `/api/v1/series`.

use super::assembly::{Assembly, EncodeCounts, Glue, Sink};
use super::compress::Compression;
use super::limits::PayloadLimits;
use super::text::put_field;
use super::{Payload, Route, series_v1};
use crate::context::{TagUse, utf8_bytes};
use crate::flush::{Point, Series, SeriesKind};
use crate::protobuf::{
    BYTES, VARINT, key, put_bytes, put_double, put_head, put_integer, put_varint, varint_len,
};

/// Which of the two series routes is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeriesFormat {
    /// JSON to `/api/v1/series` (`use_v2_api.series: false`).
    V1,
    /// Protobuf to `/api/v2/series`.
    #[default]
    V2,
}

/// Who a point claims to come from (v2 series and sketches). The Agent's own product is 10 and the
/// category of its DogStatsD 10; nothing is claimed unless configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricOrigin {
    /// `origin_product`
    pub product: u32,
    /// `origin_category`
    pub category: u32,
    /// `origin_service`
    pub service: u32,
}

/// Writes series into payloads.
pub struct SeriesEncoder {
    assembly: Assembly,
    format: SeriesFormat,
    origin: Option<MetricOrigin>,
    scratch: Scratch,
}

/// Where one item is put together.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) item: Vec<u8>,
    pub(super) tags: Vec<u8>,
    resources: Vec<u8>,
    host: HostField,
}

/// The host of the last series, as it is posted.
#[derive(Default)]
struct HostField {
    name: Vec<u8>,
    /// Never empty once a series was written.
    field: Vec<u8>,
    /// Runs of invalid UTF-8 in the name.
    replaced: u64,
}

impl SeriesEncoder {
    /// # Errors
    /// When zstd refuses its level.
    pub fn new(
        format: SeriesFormat,
        compression: Compression,
        limits: &PayloadLimits,
    ) -> std::io::Result<SeriesEncoder> {
        let assembly = match format {
            SeriesFormat::V1 => series_v1::assembly(compression, limits)?,
            SeriesFormat::V2 => {
                Assembly::new(Route::SeriesV2, compression, limits, Vec::new(), Vec::new())?
            }
        };
        Ok(SeriesEncoder { assembly, format, origin: None, scratch: Scratch::default() })
    }

    /// Claims `origin` in the metadata of every v2 series; `None`, the default, writes no metadata.
    #[must_use]
    pub fn with_origin(mut self, origin: Option<MetricOrigin>) -> SeriesEncoder {
        self.origin = origin;
        self
    }

    /// Starts a flush: payloads from here on are built at this second.
    pub fn begin(&mut self, built_at: u64) {
        self.assembly.begin(built_at);
    }

    /// Adds one series; gives `sink` the payload before it when that is full. A series with more points
    /// than a payload may hold comes in parts.
    pub fn push(&mut self, series: &Series<'_>, sink: &mut dyn FnMut(Payload)) {
        for points in series.points.chunks(self.assembly.points_max()) {
            self.push_part(series, points, sink);
        }
    }

    /// Gives `sink` the last payload, if there is one, and returns what was left out since the last
    /// `finish`.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Payload)) -> EncodeCounts {
        self.assembly.finish(sink)
    }

    fn push_part(&mut self, series: &Series<'_>, points: &[Point], sink: Sink<'_>) {
        let finite = points.iter().filter(|point| point.value.is_finite()).count();
        let counts = &mut self.assembly.counts;
        counts.points_not_finite += (points.len() - finite) as u64;
        if finite == 0 {
            return;
        }
        self.scratch.item.clear();
        match self.format {
            SeriesFormat::V1 => {
                let Scratch { item, tags: name, .. } = &mut self.scratch;
                series_v1::write(item, name, series, points, &mut counts.invalid_utf8);
                series_v1::add(&mut self.assembly, &self.scratch.item, finite, sink);
            }
            SeriesFormat::V2 => {
                let origin = self.origin;
                write(&mut self.scratch, series, points, origin, &mut counts.invalid_utf8);
                add_message(&mut self.assembly, &mut self.scratch, finite, sink);
            }
        }
    }
}

/// Adds the message in `scratch.item` as one more of the repeated field 1.
pub(super) fn add_message(
    assembly: &mut Assembly,
    scratch: &mut Scratch,
    points: usize,
    sink: Sink<'_>,
) {
    let head = &mut scratch.tags;
    head.clear();
    put_head(head, key(1, BYTES), scratch.item.len());
    assembly.add(Glue { first: head, next: head }, &scratch.item, points, sink);
}

const METRIC: u8 = key(2, BYTES);
const TAG: u8 = key(3, BYTES);

/// The fields of MetricSeries, in the order of their numbers.
fn write(
    scratch: &mut Scratch,
    series: &Series<'_>,
    points: &[Point],
    origin: Option<MetricOrigin>,
    replaced: &mut u64,
) {
    const METADATA: u8 = key(9, BYTES);
    put_identity(scratch, series, replaced);
    let item = &mut scratch.item;
    put_end(item, series, points);
    if let Some(origin) = origin {
        put_metadata(item, METADATA, origin);
    }
}

/// Resources, name and tags.
fn put_identity(scratch: &mut Scratch, series: &Series<'_>, replaced: &mut u64) {
    let Scratch { item, host, .. } = scratch;
    // Nearly every series has the host of the one before.
    if host.name != series.host || host.field.is_empty() {
        host.name.clear();
        host.name.extend_from_slice(series.host);
        host.field.clear();
        host.replaced = 0;
        put_resource(&mut host.field, b"host", series.host, &mut host.replaced);
    }
    *replaced += host.replaced;
    let before = *replaced;
    item.extend_from_slice(&host.field);
    put_name(item, series, replaced);
    for tag in series.tags.iter() {
        let TagUse::Plain = TagUse::of(tag) else {
            // Some tags become resources, which stand before the name.
            item.clear();
            *replaced = before;
            return put_identity_with_resources(scratch, series, replaced);
        };
        put_field(item, TAG, tag, replaced);
    }
}

/// As [`put_identity`], where devices and resources hide among the tags.
#[cold]
fn put_identity_with_resources(scratch: &mut Scratch, series: &Series<'_>, replaced: &mut u64) {
    let Scratch { item, tags, resources, host } = scratch;
    tags.clear();
    resources.clear();
    let mut device = None;
    for tag in series.tags.iter() {
        match TagUse::of(tag) {
            TagUse::Plain => put_field(tags, TAG, tag, replaced),
            TagUse::Device(name) => device = Some(name),
            TagUse::Resource(kind, name) => put_resource(resources, kind, name, replaced),
            TagUse::Nothing => {}
        }
    }
    item.extend_from_slice(&host.field);
    if let Some(name) = device {
        put_resource(item, b"device", name, replaced);
    }
    item.extend_from_slice(resources);
    put_name(item, series, replaced);
    item.extend_from_slice(tags);
}

fn put_name(item: &mut Vec<u8>, series: &Series<'_>, replaced: &mut u64) {
    let name = utf8_bytes(series.name, replaced);
    put_head(item, METRIC, name.len() + series.suffix.len());
    item.extend_from_slice(&name);
    item.extend_from_slice(series.suffix.as_bytes());
}

const POINT: u8 = key(4, BYTES);
const TYPE: u8 = key(5, VARINT);
const UNIT: u8 = key(6, BYTES);
const SOURCE: u8 = key(7, BYTES);
const INTERVAL: u8 = key(8, VARINT);

/// Points and what says how they read.
fn put_end(item: &mut Vec<u8>, series: &Series<'_>, points: &[Point]) {
    for point in points.iter().filter(|point| point.value.is_finite()) {
        put_point(item, POINT, *point);
    }
    put_integer(item, TYPE, type_number(series.kind));
    if let Some(unit) = series.unit {
        put_bytes(item, UNIT, unit.as_bytes());
    }
    if let Some(source) = series.source.filter(|source| !source.is_empty()) {
        put_bytes(item, SOURCE, source.as_bytes());
    }
    put_integer(item, INTERVAL, series.interval);
}

/// A Resource {1: type, 2: name}; an empty name is not written.
fn put_resource(into: &mut Vec<u8>, kind: &[u8], name: &[u8], replaced: &mut u64) {
    const RESOURCE: u8 = key(1, BYTES);
    let (kind, name) = (utf8_bytes(kind, replaced), utf8_bytes(name, replaced));
    let field = |text: &[u8]| {
        if text.is_empty() { 0 } else { 1 + varint_len(text.len() as u64) + text.len() }
    };
    put_head(into, RESOURCE, field(&kind) + field(&name));
    for (key, text) in [(key(1, BYTES), kind), (key(2, BYTES), name)] {
        if !text.is_empty() {
            put_bytes(into, key, &text);
        }
    }
}

/// A MetricPoint {1: value, 2: timestamp}.
fn put_point(into: &mut Vec<u8>, point: u8, Point { timestamp, value }: Point) {
    // Negative times are ten bytes of two's complement, as int64 wants them.
    let seconds = timestamp as u64;
    let length =
        if value == 0.0 { 0 } else { 9 } + if seconds == 0 { 0 } else { 1 + varint_len(seconds) };
    put_head(into, point, length);
    put_double(into, key(1, crate::protobuf::FIXED64), value);
    put_integer(into, key(2, VARINT), seconds);
}

/// A Metadata {1: Origin {4: product, 5: category, 6: service}}.
pub(super) fn put_metadata(into: &mut Vec<u8>, metadata: u8, origin: MetricOrigin) {
    let numbers = [(4, origin.product), (5, origin.category), (6, origin.service)];
    let field = |number: u32| if number == 0 { 0 } else { 1 + varint_len(u64::from(number)) };
    let length: usize = numbers.iter().map(|(_, number)| field(*number)).sum();
    put_head(into, metadata, 1 + varint_len(length as u64) + length);
    into.push(key(1, BYTES));
    put_varint(into, length as u64);
    for (place, number) in numbers {
        put_integer(into, key(place, VARINT), u64::from(number));
    }
}

fn type_number(kind: SeriesKind) -> u64 {
    match kind {
        SeriesKind::Count => 1,
        SeriesKind::Rate => 2,
        SeriesKind::Gauge => 3,
    }
}
