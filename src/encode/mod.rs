//! In: the series, sketches, events and checks of a flush, one after another. Out: [`Payload`]s, each
//! within the limits of its route, through a sink. Promise: an item is written and compressed once,
//! none is lost, doubled or reordered (events are grouped by source type), what is left out is counted
//! in [`EncodeCounts`], and nothing to send makes no payload. Refusal: it knows no sockets, no keys and
//! no clock, and it posts nothing that is not finite or not UTF-8.
//!
//! ```
//! use whippet::context::Tags;
//! use whippet::encode::{Compression, PayloadLimits, Route, SeriesEncoder, SeriesFormat, readable};
//! use whippet::flush::{Point, Series, SeriesKind};
//!
//! let compression = Compression::preset(Route::SeriesV2);
//! let limits = PayloadLimits::default();
//! let mut encoder = SeriesEncoder::new(SeriesFormat::V2, compression, &limits)?;
//! encoder.begin(1_700_000_012);
//! let series = Series {
//!     name: b"page.views",
//!     suffix: "",
//!     host: b"web-1",
//!     tags: Tags::from_wire(b"env:prod"),
//!     kind: SeriesKind::Rate,
//!     unit: None,
//!     source: None,
//!     interval: 10,
//!     points: &[Point { timestamp: 1_700_000_000, value: 0.3 }],
//! };
//! let mut payloads = Vec::new();
//! encoder.push(&series, &mut |payload| payloads.push(payload));
//! let left_out = encoder.finish(&mut |payload| payloads.push(payload));
//!
//! assert_eq!((payloads.len(), payloads[0].points, left_out.items_too_big), (1, 1, 0));
//! assert_eq!(readable(&payloads[0])?["series"][0]["metric"], "page.views");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod assembly;
mod checks;
mod compress;
mod events;
mod limits;
mod metric_origin;
mod payload;
mod readable;
mod series;
mod series_end;
mod series_identity;
pub(crate) mod series_v1;
mod sketches;
pub mod split;
mod text;

pub use assembly::EncodeCounts;
pub use checks::CheckEncoder;
pub use compress::Compression;
pub use events::EventEncoder;
pub use limits::PayloadLimits;
pub use metric_origin::MetricOrigin;
pub use payload::{ContentEncoding, Payload, Route};
pub use readable::readable;
pub use series::{SeriesEncoder, SeriesFormat};
pub use sketches::SketchEncoder;

#[cfg(test)]
mod tests;
