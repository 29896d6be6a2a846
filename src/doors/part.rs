//! One value of one series, as a door decodes it, and where it goes.

pub(crate) use crate::aggregate::Value;
use crate::aggregate::{CheckRecord, EventRecord};

use super::Reason;
pub(crate) use crate::tag_list::TagList;

/// One value of one series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    /// The final name of the metric.
    pub name: &'a [u8],
    /// Its tags; those of the sender's container and of the configuration join them in the sink.
    pub tags: &'a TagList,
    /// The host; empty for ours.
    pub host: &'a [u8],
    /// Unix seconds.
    pub second: i64,
    pub value: Value<'a>,
}

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// In the bucket of its second.
    Recorded,
    /// Recorded, but not in the bucket of its second: that one is closed, or ahead of the clock.
    Late,
    /// Not recorded.
    Refused(Reason),
}

/// Takes parts of one request, and counts each of them for the request's route.
pub(crate) trait Sink {
    /// Records one value.
    fn put(&mut self, part: &Part<'_>) -> Outcome;
    /// Records an event.
    fn event(&mut self, event: EventRecord) -> Outcome;
    /// Records a service check.
    fn check(&mut self, check: CheckRecord) -> Outcome;
    /// Counts a part that the door could not read.
    fn refuse(&mut self, reason: Reason);
}
