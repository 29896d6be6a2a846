//! In: settings; records and barriers to append; what an owner asks for. Out: reports of appended records;
//! what a group member is told and reads. Promise: the group is polled at least every 100 ms whatever else
//! happens; a record is reported once; what cannot work at all is said at the start, with the way out.
//! Refusal: nothing here decides about data, and nothing depends on what brokers only claim (watermarks,
//! ends of partitions, commit metadata, exact times).
//!
//! The only files that name the client library.

mod check;
mod consumer;
mod events;
mod producer;
mod properties;
mod repair;

pub use check::{CheckError, check_topics, commands};
pub use consumer::{OwnerLoop, Posts, Show};
pub use events::{EngineState, EngineStatus};
pub use producer::KafkaLog;
pub use properties::{PropertyError, check_properties};
