//! In: messages with their context. Out: closed buckets.

mod notice;

pub use notice::{CheckRecord, EventRecord};
