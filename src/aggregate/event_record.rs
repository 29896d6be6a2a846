//! Events and service checks on their way to the intake: owned, enriched, never merged.

use crate::protocol::{AlertType, Priority, Status};

/// An event as it will be posted, its host and timestamp resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    /// Unescaped: real newlines.
    pub title: Box<[u8]>,
    /// Unescaped, may be empty.
    pub text: Box<[u8]>,
    /// Unix seconds.
    pub timestamp: i64,
    /// `normal` or `low`.
    pub priority: Priority,
    /// What it reports.
    pub alert_type: AlertType,
    /// Possibly empty.
    pub host: Box<[u8]>,
    /// Empty when absent.
    pub aggregation_key: Box<[u8]>,
    /// Empty when absent; then it is grouped under `api`.
    pub source_type: Box<[u8]>,
    /// Sorted and unique, configured tags included.
    pub tags: Vec<Box<[u8]>>,
}

/// A service check as it will be posted.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckRecord {
    /// Never empty.
    pub name: Box<[u8]>,
    /// OK to UNKNOWN.
    pub status: Status,
    /// Unix seconds.
    pub timestamp: i64,
    /// Possibly empty.
    pub host: Box<[u8]>,
    /// Passed on as it came.
    pub message: Box<[u8]>,
    /// Sorted and unique, configured tags included.
    pub tags: Vec<Box<[u8]>>,
}
