//! DDSketches, the sketches of tracers and of data streams
//!
//! In: protobuf bytes, and which way their writer rounds; or a [`Sketch`](crate::sketch::Sketch). Out: our
//! keys and counts; or protobuf bytes. Promise: bins of libdatadog in their own unit keep their number both
//! ways, so nothing is lost. Refusal: what no client can mean, before anything is allocated for it.

mod mapping;
mod message;
mod read;

pub(crate) use read::{DdSketch, Recoding, Rounding, Unit, recode};
