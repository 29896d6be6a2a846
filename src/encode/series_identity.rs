//! Host, resources, name and tags of a series as fields of MetricSeries: written once for all series of a
//! context.

use super::text::put_field;
use crate::context::{TagUse, utf8_bytes};
use crate::flush::Series;
use crate::protobuf::{BYTES, key, put_bytes, put_head, varint_len};

const RESOURCE: u8 = key(1, BYTES);
const METRIC: u8 = key(2, BYTES);
const TAG: u8 = key(3, BYTES);

/// The fields of one context, in the order of their numbers.
#[derive(Default)]
pub(super) struct IdentityFields {
    host: HostField,
    /// What hides among the tags: the device and other resources. Mostly empty.
    resources: Vec<u8>,
    /// Valid UTF-8, without a head: a suffix follows.
    name: Vec<u8>,
    tags: Vec<u8>,
    replaced: u64,
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

impl IdentityFields {
    /// From now on those of the context of this series.
    pub(super) fn set(&mut self, series: &Series<'_>) {
        let host = &mut self.host;
        // Nearly every series has the host of the one before.
        if host.name != series.host || host.field.is_empty() {
            host.name.clear();
            host.name.extend_from_slice(series.host);
            host.field.clear();
            host.replaced = 0;
            put_resource(&mut host.field, b"host", series.host, &mut host.replaced);
        }
        self.replaced = host.replaced;
        self.name.clear();
        self.name.extend_from_slice(&utf8_bytes(series.name, &mut self.replaced));
        self.resources.clear();
        self.tags.clear();
        if !self.put_plain_tags(series) {
            self.tags.clear();
            self.put_tags(series);
        }
    }

    /// Runs of invalid UTF-8 that each series of the context has.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Bytes that [`IdentityFields::put`] appends.
    pub(super) fn length(&self, suffix: &str) -> usize {
        let name = self.name.len() + suffix.len();
        let head = 1 + varint_len(name as u64);
        self.host.field.len() + self.resources.len() + head + name + self.tags.len()
    }

    /// Appends them, for the series with this suffix.
    pub(super) fn put(&self, into: &mut Vec<u8>, suffix: &str) {
        into.extend_from_slice(&self.host.field);
        into.extend_from_slice(&self.resources);
        put_head(into, METRIC, self.name.len() + suffix.len());
        into.extend_from_slice(&self.name);
        into.extend_from_slice(suffix.as_bytes());
        into.extend_from_slice(&self.tags);
    }

    /// True when the tags are all written: short ASCII and no resources, as nearly all are.
    fn put_plain_tags(&mut self, series: &Series<'_>) -> bool {
        if !series.tags.own_are_ascii() {
            return false;
        }
        for tag in series.tags.own() {
            let (0..0x80, TagUse::Plain) = (tag.len(), TagUse::of(tag)) else { return false };
            self.tags.extend_from_slice(&[TAG, tag.len() as u8]);
            self.tags.extend_from_slice(tag);
        }
        let mut replaced = 0;
        for tag in series.tags.common() {
            let TagUse::Plain = TagUse::of(tag) else { return false };
            put_field(&mut self.tags, TAG, tag, &mut replaced);
        }
        self.replaced += replaced;
        true
    }

    /// Any tags; of several devices the last one wins.
    #[cold]
    fn put_tags(&mut self, series: &Series<'_>) {
        let mut device = None;
        let mut others = Vec::new();
        for tag in series.tags.iter() {
            match TagUse::of(tag) {
                TagUse::Plain => put_field(&mut self.tags, TAG, tag, &mut self.replaced),
                TagUse::Device(name) => device = Some(name),
                TagUse::Resource(kind, name) => {
                    put_resource(&mut others, kind, name, &mut self.replaced);
                }
                TagUse::Nothing => {}
            }
        }
        if let Some(name) = device {
            put_resource(&mut self.resources, b"device", name, &mut self.replaced);
        }
        self.resources.append(&mut others);
    }
}

/// A Resource {1: type, 2: name}; an empty name is not written.
fn put_resource(into: &mut Vec<u8>, kind: &[u8], name: &[u8], replaced: &mut u64) {
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
