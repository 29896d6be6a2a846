//! How much a flush posts, counted without its names, tags and values.

use super::walk::FlushView;
use crate::sketch::Sketch;

/// What [`FlushView::visit`] comes past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushTotals {
    /// Series, a histogram having one for each value posted of it.
    pub series: usize,
    /// Sketches of distributions.
    pub sketches: usize,
    /// Points of the series.
    pub points: usize,
}

impl FlushView<'_> {
    /// Counts what is posted. A walk would read the keys of all contexts for it, which takes a quarter of the
    /// time of a flush.
    #[must_use]
    pub fn totals(&self) -> FlushTotals {
        let (flush, bucket) = (self.flush, &self.flush.merged);
        let posted = |number: u32| self.postings.of(number).is_some();
        let plain = bucket.counters.iter().map(|cell| cell.context);
        let plain = plain.chain(bucket.gauges.iter().map(|cell| cell.context));
        let plain = plain.chain(bucket.sets.iter().map(|cell| cell.context));
        let plain = plain.chain(flush.held.iter().map(|(number, _)| *number));
        let plain =
            plain.chain(flush.idle.iter().copied()).filter(|number| posted(*number)).count();
        // Each with one point.
        let single = plain + self.histogram_series();
        let timestamped: Vec<u32> = bucket
            .timestamped
            .iter()
            .map(|point| point.context)
            .filter(|number| posted(*number))
            .collect();
        let points = single + timestamped.len();
        let mut contexts = timestamped;
        contexts.sort_unstable();
        contexts.dedup();
        let sketches = bucket.distributions.iter().map(|cell| (cell.context, &cell.sketch));
        let late = flush.late_sketches.iter().map(|(context, _, sketch)| (*context, sketch));
        let has_sketch =
            |(context, sketch): &(u32, &Sketch)| !sketch.is_empty() && posted(*context);
        FlushTotals {
            series: single + contexts.len(),
            sketches: sketches.chain(late).filter(has_sketch).count(),
            points,
        }
    }

    fn histogram_series(&self) -> usize {
        let series = self.flush.merged.histograms.iter().filter_map(|cell| {
            let posting = self.postings.of(cell.context)?;
            let all = 0..posting.histograms(self.postings.usual).suffixes().count();
            let posted = all.filter(|position| {
                posting.posts(*position) && !self.flush.outdone.contains(&(cell.context, *position))
            });
            Some(posted.count())
        });
        series.sum()
    }
}
