//! Distributions, as protobuf for `/api/beta/sketches`.

use super::assembly::{Assembly, EncodeCounts};
use super::compress::Compression;
use super::limits::PayloadLimits;
use super::metric_origin::{MetricOrigin, put_metadata};
use super::text::put_field;
use super::{Payload, Route};
use crate::flush::SketchSeries;
use crate::protobuf::{BYTES, FIXED64, VARINT, key, put_bytes, put_double, put_integer, zigzag};

/// Writes sketches into payloads.
pub struct SketchEncoder {
    assembly: Assembly,
    origin: Option<MetricOrigin>,
    message: Vec<u8>,
    bins: BinScratch,
}

/// Where the bins of one sketch are put together.
#[derive(Default)]
struct BinScratch {
    message: Vec<u8>,
    keys: Vec<u8>,
    counts: Vec<u8>,
}

impl SketchEncoder {
    /// # Errors
    /// When zstd refuses its level.
    pub fn new(compression: Compression, limits: &PayloadLimits) -> std::io::Result<SketchEncoder> {
        // The Agent ends every payload with its CommonMetadata, empty.
        let suffix = vec![key(2, BYTES), 0];
        let assembly = Assembly::new(Route::Sketches, compression, limits, Vec::new(), suffix)?;
        Ok(SketchEncoder {
            assembly,
            origin: None,
            message: Vec::new(),
            bins: BinScratch::default(),
        })
    }

    /// Claims `origin` in the metadata of every sketch; `None`, the default, writes none.
    #[must_use]
    pub fn with_origin(mut self, origin: Option<MetricOrigin>) -> SketchEncoder {
        self.origin = origin;
        self
    }

    /// Starts a flush: payloads from here on are built at this second.
    pub fn begin(&mut self, built_at: u64) {
        self.assembly.begin(built_at);
    }

    /// Adds one sketch; gives `sink` the payload before it when that is full. An empty sketch is
    /// nothing. Cheaper after [`crate::sketch::Sketch::finish`].
    pub fn push(&mut self, series: &SketchSeries<'_>, sink: &mut dyn FnMut(Payload)) {
        const METRIC: u8 = key(1, BYTES);
        const HOST: u8 = key(2, BYTES);
        const TAG: u8 = key(4, BYTES);
        const DOGSKETCH: u8 = key(7, BYTES);
        const METADATA: u8 = key(8, BYTES);
        if series.sketch.is_empty() {
            return;
        }
        let replaced = &mut self.assembly.counts.invalid_utf8;
        let item = &mut self.message;
        item.clear();
        put_field(item, METRIC, series.name, replaced);
        if !series.host.is_empty() {
            put_field(item, HOST, series.host, replaced);
        }
        for tag in series.tags.iter() {
            put_field(item, TAG, tag, replaced);
        }
        put_bytes(item, DOGSKETCH, self.bins.dogsketch(series));
        if let Some(origin) = self.origin {
            put_metadata(item, METADATA, origin);
        }
        self.assembly.add_message(&self.message, 1, sink);
    }

    /// Gives `sink` the last payload, if there is one, and returns what was left out since the last
    /// `finish`.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Payload)) -> EncodeCounts {
        self.assembly.finish(sink)
    }
}

impl BinScratch {
    /// The fields of Dogsketch, in the order of their numbers.
    fn dogsketch(&mut self, series: &SketchSeries<'_>) -> &[u8] {
        let BinScratch { message, keys, counts } = self;
        let sketch = series.sketch;
        message.clear();
        keys.clear();
        counts.clear();
        put_integer(message, key(1, VARINT), series.timestamp as u64);
        put_integer(message, key(2, VARINT), sketch.count().min(i64::MAX as u64));
        put_double(message, key(3, FIXED64), sketch.min());
        put_double(message, key(4, FIXED64), sketch.max());
        put_double(message, key(5, FIXED64), sketch.avg());
        put_double(message, key(6, FIXED64), sketch.sum());
        for (bin, count) in sketch.bins() {
            crate::protobuf::put_varint(keys, zigzag(i32::from(bin)));
            crate::protobuf::put_varint(counts, u64::from(count));
        }
        put_bytes(message, key(7, BYTES), keys);
        put_bytes(message, key(8, BYTES), counts);
        message
    }
}
