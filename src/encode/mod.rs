//! In: the series, sketches, events and checks of a flush, one after another. Out: [`Payload`]s, each
//! within the limits of its route, through a sink. Promise: an item is written and compressed once,
//! none is lost, doubled or reordered (events are grouped by source type), what is left out is counted
//! in [`EncodeCounts`], and nothing to send makes no payload. Refusal: it knows no sockets, no keys and
//! no clock, and it posts nothing that is not finite or not UTF-8.

mod assembly;
mod checks;
mod compress;
mod events;
mod limits;
mod payload;
mod protobuf;
mod readable;
mod series;
pub(crate) mod series_v1;
mod sketches;
pub mod split;
mod text;

pub use assembly::EncodeCounts;
pub use checks::CheckEncoder;
pub use compress::Compression;
pub use events::EventEncoder;
pub use limits::PayloadLimits;
pub use payload::{ContentEncoding, Payload, Route};
pub use readable::readable;
pub use series::{MetricOrigin, SeriesEncoder, SeriesFormat};
pub use sketches::SketchEncoder;

#[cfg(test)]
mod tests;
