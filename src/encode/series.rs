//! Series, as protobuf for `/api/v2/series` or as JSON for `/api/v1/series`.

use super::assembly::{Assembly, EncodeCounts, Sink};
use super::compress::Compression;
use super::limits::PayloadLimits;
use super::metric_origin::MetricOrigin;
use super::series_end::EndFields;
use super::series_identity::IdentityFields;
use super::{Payload, Route, series_v1};
use crate::flush::{Point, Series};

/// Which of the two series routes is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeriesFormat {
    /// JSON to `/api/v1/series` (`use_v2_api.series: false`).
    V1,
    /// Protobuf to `/api/v2/series`.
    #[default]
    V2,
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
struct Scratch {
    /// JSON.
    item: Vec<u8>,
    name: Vec<u8>,
    /// Protobuf.
    identity: IdentityFields,
    end: EndFields,
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
        self.push_context(std::slice::from_ref(series), sink);
    }

    /// Adds the series of one context, which have one name, host and set of tags; otherwise as
    /// [`SeriesEncoder::push`] for each.
    pub fn push_context(&mut self, series: &[Series<'_>], sink: &mut dyn FnMut(Payload)) {
        let Some(first) = series.first() else { return };
        if self.format == SeriesFormat::V2 {
            self.scratch.identity.set(first);
        }
        for one in series {
            for points in one.points.chunks(self.assembly.points_max()) {
                self.push_part(one, points, sink);
            }
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
        let Scratch { item, name, identity, end } = &mut self.scratch;
        match self.format {
            SeriesFormat::V1 => {
                item.clear();
                series_v1::write(item, name, series, points, &mut counts.invalid_utf8);
                series_v1::add(&mut self.assembly, item, finite, sink);
            }
            SeriesFormat::V2 => {
                counts.invalid_utf8 += identity.replaced();
                let end = end.of(series, points, self.origin);
                let length = identity.length(series.suffix) + end.len();
                if let Some(body) = self.assembly.start_message(length, finite, sink) {
                    identity.put(body, series.suffix);
                    body.extend_from_slice(end);
                }
            }
        }
    }
}
