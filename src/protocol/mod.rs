//! In: the bytes of one datagram or frame. Out: [`Message`]s that borrow from it, or a
//! [`ParseError`] with its place. Promise: no clock, no state between lines, no allocation (save
//! for a number written with `_` between its digits, and [`unescape`] where there is something to
//! unescape); a malformed line never harms its neighbours. Refusal: it validates nothing that the
//! Agent does not (names, tags and texts stay bytes).
//!
//! ```
//! use whippet::protocol::{self, Message, Options};
//!
//! for line in protocol::lines(b"page.views:1|c|@0.5|#env:prod\nqueue.depth:7|g\n") {
//!     match protocol::read(line.bytes, Options::default()) {
//!         Ok(Message::Metric(metric)) => assert_eq!(metric.values.numbers().count(), 1),
//!         Ok(other) => unreachable!("{other:?}"),
//!         Err(error) => println!("{}", error.render(line.bytes)),
//!     }
//! }
//! ```

mod blocks;
mod check;
mod datagram;
mod error;
mod escape;
mod event;
mod literal;
mod message;
mod metric;
mod number;
mod origin;
mod plain;
pub(crate) mod processor;
mod scan;
mod values;

pub use datagram::{Line, Lines, lines};
pub use error::{ErrorKind, ParseError, Rendered};
pub use escape::{Escaped, unescape};
pub use literal::NumberError;
pub use message::{
    AlertType, Event, Ignored, Message, MessageType, Metric, MetricType, Options, OriginFields,
    Priority, RATE_MIN, ServiceCheck, Status, Values,
};
pub use number::float;
pub use origin::{Cardinality, ExternalData, LocalData};
pub use plain::{PlainLines, PlainMetric, Separators, WINDOW_BYTES};
pub use values::Numbers;

/// Reads one line, without its newline.
///
/// What begins with `_e{` is an event, what begins with `_sc` a service check (the `|` is not part
/// of the test, so a metric cannot be called `_scheduler`), anything else a metric.
///
/// # Errors
/// The line does not follow the grammar of its kind; fields that are merely unknown are ignored.
#[inline(always)]
pub fn read(line: &[u8], options: Options) -> Result<Message<'_>, ParseError> {
    if line.first() == Some(&b'_') {
        return read_underscored(line, options);
    }
    metric::read(line, options).map(Message::Metric)
}

/// Events, checks and the few metrics whose name begins with an underscore.
#[inline(never)]
fn read_underscored(line: &[u8], options: Options) -> Result<Message<'_>, ParseError> {
    match message_type(line) {
        MessageType::Metric => metric::read(line, options).map(Message::Metric),
        MessageType::Event => event::read(line, options).map(Message::Event),
        MessageType::ServiceCheck => check::read(line, options).map(Message::ServiceCheck),
    }
}

/// What a line claims to be, whether or not it can be read.
#[must_use]
pub fn message_type(line: &[u8]) -> MessageType {
    if line.starts_with(b"_e{") {
        MessageType::Event
    } else if line.starts_with(b"_sc") {
        MessageType::ServiceCheck
    } else {
        MessageType::Metric
    }
}
