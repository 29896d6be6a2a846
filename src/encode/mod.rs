//! In: series, sketches, events, checks. Out: [`Payload`]s.

mod payload;

pub use payload::{ContentEncoding, Payload, Route};
