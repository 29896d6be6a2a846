//! The v1 JSON of series: `{"series":[{…},{…}]}`. The server's series and those of `threadstats` are
//! written here, field by field, so that strings, numbers and limits are the same.
//!
//! v1 has no field for a unit, which is not sent, and none for resources, which stay tags.

use super::Route;
use super::assembly::{Assembly, Glue, Sink};
use super::compress::Compression;
use super::limits::PayloadLimits;
use super::text::{put_json, put_json_array};
use crate::context::{TagUse, utf8};
use crate::flush::{Point, Series, SeriesKind};
use serde::Serialize;

/// Bodies of the v1 route, without items yet.
pub(crate) fn assembly(
    compression: Compression,
    limits: &PayloadLimits,
) -> std::io::Result<Assembly> {
    let (prefix, suffix) = (br#"{"series":["#.to_vec(), b"]}".to_vec());
    Assembly::new(Route::SeriesV1, compression, limits, prefix, suffix)
}

/// Adds one object to the body.
pub(crate) fn add(assembly: &mut Assembly, item: &[u8], points: usize, sink: Sink<'_>) {
    assembly.add(Glue { first: b"", next: b"," }, item, points, sink);
}

/// One series as a JSON object, written field after field. Fields that are absent are `null` or left
/// out, as the caller wishes.
pub(crate) struct SeriesObject<'a> {
    item: &'a mut Vec<u8>,
    replaced: &'a mut u64,
}

impl<'a> SeriesObject<'a> {
    /// Begins the object of `metric` at the end of `item`.
    pub fn open(item: &'a mut Vec<u8>, metric: &[u8], replaced: &'a mut u64) -> Self {
        item.extend_from_slice(br#"{"metric":"#);
        put_json(item, metric, replaced);
        SeriesObject { item, replaced }
    }

    /// Pairs of a time in seconds and a value.
    pub fn points(&mut self, points: impl IntoIterator<Item = impl Serialize>) {
        self.item.extend_from_slice(br#","points":["#);
        for (place, point) in points.into_iter().enumerate() {
            if place > 0 {
                self.item.push(b',');
            }
            put_value(self.item, &point);
        }
        self.item.push(b']');
    }

    /// A list of tags, or `null`.
    pub fn tags<'t>(&mut self, tags: Option<impl Iterator<Item = &'t [u8]>>) {
        self.item.extend_from_slice(br#","tags":"#);
        match tags {
            Some(tags) => put_json_array(self.item, tags, self.replaced),
            None => self.item.extend_from_slice(b"null"),
        }
    }

    /// A text, or `null`.
    pub fn text(&mut self, field: &'static str, text: Option<&[u8]>) {
        self.item.extend_from_slice(b",\"");
        self.item.extend_from_slice(field.as_bytes());
        self.item.extend_from_slice(b"\":");
        match text {
            Some(text) => put_json(self.item, text, self.replaced),
            None => self.item.extend_from_slice(b"null"),
        }
    }

    /// How the points read: the intake's word for the kind, and seconds.
    pub fn kind(&mut self, word: &'static str, interval: impl Serialize) {
        self.text("type", Some(word.as_bytes()));
        self.item.extend_from_slice(br#","interval":"#);
        put_value(self.item, &interval);
    }

    /// Ends the object.
    pub fn close(self) {
        self.item.push(b'}');
    }
}

/// Appends a number, or a list of them. Floats have a point or an exponent; what JSON has no number
/// for is `null`.
fn put_value(into: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(into, value).expect("numbers have a JSON form and a Vec takes all of it");
}

/// Appends the object of one of the server's series to `item`; its whole name is put together in
/// `name`.
pub(super) fn write(
    item: &mut Vec<u8>,
    name: &mut Vec<u8>,
    series: &Series<'_>,
    points: &[Point],
    replaced: &mut u64,
) {
    name.clear();
    name.extend_from_slice(utf8(series.name, replaced).as_bytes());
    name.extend_from_slice(series.suffix.as_bytes());
    let mut object = SeriesObject::open(item, name, replaced);
    let finite = points.iter().filter(|point| point.value.is_finite());
    object.points(finite.map(|point| (point.timestamp, point.value)));
    let mut device = None;
    object.tags(Some(series.tags.iter().filter(|tag| match TagUse::of(tag) {
        TagUse::Plain | TagUse::Resource(..) => true,
        TagUse::Device(name) => {
            device = Some(name);
            false
        }
        TagUse::Nothing => false,
    })));
    object.text("host", Some(series.host));
    if device.is_some() {
        object.text("device", device);
    }
    object.kind(type_word(series.kind), series.interval);
    if let Some(source) = series.source.filter(|source| !source.is_empty()) {
        object.text("source_type_name", Some(source.as_bytes()));
    }
    object.close();
}

fn type_word(kind: SeriesKind) -> &'static str {
    match kind {
        SeriesKind::Count => "count",
        SeriesKind::Rate => "rate",
        SeriesKind::Gauge => "gauge",
    }
}
