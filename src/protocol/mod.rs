//! In: the bytes of one datagram or frame. Out: [`Message`]s that borrow from it, or a
//! [`ParseError`] with its place. Promise: no allocation, no clock, no state between lines; a
//! malformed line never harms its neighbours. Refusal: it validates nothing that the Agent does
//! not (names, tags and texts stay bytes).

mod message;

pub use message::{
    AlertType, Event, Ignored, Message, Metric, MetricType, Options, Origin, Priority,
    ServiceCheck, Status, Values,
};
