//! DDSketches, the sketches of tracers and of data streams: those of clients read into ours, and ours
//! written as theirs.
//!
//! In: protobuf bytes, and which way their writer rounds; or a [`Sketch`](crate::sketch::Sketch). Out: our
//! keys and counts; or protobuf bytes. Promise: bins of libdatadog in their own unit keep their number both
//! ways, so nothing is lost. Refusal: what no client can mean, before anything is allocated for it.

#[cfg(feature = "server")]
mod mapping;
mod message;
#[cfg(feature = "server")]
mod read;
#[cfg(feature = "server")]
mod terms;
#[cfg(feature = "datastreams")]
mod write;

#[cfg(feature = "server")]
pub(crate) use read::{DdSketch, Recoding, recode};
#[cfg(feature = "server")]
pub(crate) use terms::{Rounding, Unit};
#[cfg(feature = "datastreams")]
pub(crate) use write::write;
