//! The walk over the cells that owners post.

use std::time::Duration;

use super::overrides::KnownScope;
use super::posting::Posting;
use super::walk::FlushView;
use crate::aggregate::{WriteOrder, WriteOrders};
use crate::context::{Kind, Tags};
use crate::part::{Style, Value};

/// What one bucket holds of one global series.
#[derive(Debug)]
pub struct GlobalCell<'a> {
    /// The final name.
    pub name: &'a [u8],
    /// All tags but those that tell hosts apart.
    pub tags: Tags<'a>,
    /// Never a distribution.
    pub kind: Kind,
    /// Milliseconds from the start of the bucket to the last write.
    pub stamp: u32,
    /// What its mapper profile or a filter changes in its posting.
    pub style: &'a Style,
    /// What was recorded.
    pub value: Value,
}

impl FlushView<'_> {
    /// Calls `visit` once per global series of the bucket. Their bucket is the one at
    /// [`Flush::start`](super::Flush::start), also where the last, partial one is posted at another second.
    pub fn global_cells(&self, visit: &mut dyn FnMut(&GlobalCell<'_>)) {
        let cells = &self.flush.global;
        for cell in &cells.counters {
            self.global(cell.context, cell.write_order, || Value::from(cell), visit);
        }
        for cell in &cells.gauges {
            self.global(cell.context, cell.write_order, || Value::from(cell), visit);
        }
        for cell in &cells.sets {
            self.global(cell.context, cell.write_order, || Value::from(cell), visit);
        }
        for cell in &cells.histograms {
            self.global(cell.context, cell.write_order, || Value::from(cell), visit);
        }
    }

    fn global(
        &self,
        number: u32,
        write_order: WriteOrder,
        value: impl FnOnce() -> Value,
        visit: &mut dyn FnMut(&GlobalCell<'_>),
    ) {
        if self.postings.registry.scope(number) != KnownScope::Global {
            return;
        }
        let Some(posting) = self.postings.of(number) else { return };
        // A filter names every aggregate of it, so nothing of it is posted anywhere.
        let Some(style) = posting.style(self.postings.usual_styles) else { return };
        let since_start = WriteOrders::since_start(write_order, Duration::from_secs(self.interval));
        let stamp = u32::try_from(since_start.as_millis()).unwrap_or(u32::MAX);
        let Posting { context, .. } = posting;
        let (name, tags, kind) = (context.name(), posting.tags(), context.kind());
        visit(&GlobalCell { name, tags, kind, stamp, style, value: value() });
    }
}
