//! What an owner asks to be posted.

use std::fmt;
use std::sync::Arc;

use crate::forward::Lease;
use crate::global::owner::{PostRow, Posting};
use crate::part::{Key, Style, Value};

/// Whole values of one partition at one second. Two orders of one interval and partition are never under
/// way at a time.
pub struct Order {
    /// For the answer; unique in a process.
    pub id: u64,
    /// The second they are posted at: the start of the interval, Unix.
    pub start: u64,
    /// The length of the interval in seconds.
    pub interval: u32,
    /// They leave for the intake only while it holds.
    pub lease: Arc<Lease>,
    /// The values. Dropped as soon as they are encoded, so that the owner may go on with its state.
    pub values: Box<dyn Values>,
}

/// The values of an order, each series once.
pub trait Values: Send {
    /// How many series there are.
    fn series(&self) -> usize;
    /// Calls `visit` once per series.
    fn visit(&self, visit: &mut dyn FnMut(Posted<'_>));
}

/// One series of an order.
#[derive(Clone, Copy, Debug)]
pub struct Posted<'a> {
    /// Name and tags.
    pub key: &'a Key,
    /// How it is posted; none: as the owner's settings say.
    pub style: Option<&'a Style>,
    /// The merged value; none: a counter that had values lately and is 0 now.
    pub value: Option<&'a Value>,
}

impl From<Posting> for Order {
    fn from(posting: Posting) -> Order {
        Order {
            id: posting.id.0,
            start: posting.start,
            interval: posting.interval,
            lease: Arc::clone(&posting.lease),
            values: Box::new(posting),
        }
    }
}

impl Values for Posting {
    fn series(&self) -> usize {
        self.len()
    }

    fn visit(&self, visit: &mut dyn FnMut(Posted<'_>)) {
        for row in self.rows() {
            visit(match row {
                PostRow::Series(series) => {
                    Posted { key: series.key, style: Some(series.style), value: Some(series.value) }
                }
                PostRow::Zero { key, style } => Posted { key, style, value: None },
            });
        }
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("id", &self.id)
            .field("start", &self.start)
            .field("interval", &self.interval)
            .field("lease", &self.lease)
            .field("series", &self.values.series())
            .finish()
    }
}
