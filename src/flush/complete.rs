//! One complete bucket of all lanes, before it is walked.

use std::collections::{BTreeMap, HashSet};

use super::global::GlobalCells;
use crate::aggregate::{Bucket, CheckRecord, EventRecord, LineCounts};
use crate::context::Context;
use crate::sketch::Sketch;

/// One complete bucket, merged over lanes.
#[derive(Debug)]
pub struct Flush {
    /// Start of the bucket, unix seconds.
    pub start: u64,
    /// The second its points carry: the start, or the second of the shutdown.
    pub timestamp: i64,
    /// It comes from doors, where nothing is a line.
    pub of_doors: bool,
    /// Lines and values, over all lanes.
    pub counts: LineCounts,
    /// Datagrams the kernel dropped in this interval; filled in by the owner of the sockets.
    pub kernel_drops: u64,
    /// Counters continued with 0.
    pub idle: Vec<u32>,
    /// Values not posted because another kind of the same series was written later.
    pub type_conflicts: u64,
    /// Sets of more members than are counted exactly.
    pub sets_estimated: u64,
    /// Histograms of more samples than are kept as they are.
    pub histograms_folded: u64,
    /// Sets, histograms and distributions less precise than usual, because memory was short.
    pub cells_coarse: u64,
    /// The name and host of one such series, to be shown once.
    pub conflict_example: Option<Context>,
    /// Contexts the flusher knows, continued counters included.
    pub contexts: usize,
    /// Values of histograms, by context and position, that another kind displaced.
    pub(super) outdone: HashSet<(u32, usize)>,
    /// Gauges posted again with their last value (`gauge_ttl`).
    pub(super) held: Vec<(u32, f64)>,
    pub(super) merged: Bucket,
    pub(super) emptied: Vec<(usize, Bucket)>,
    pub(super) lane: usize,
    pub(super) late_sketches: Vec<(u32, i64, Sketch)>,
    /// What owners post.
    pub(super) global: GlobalCells,
}

impl Flush {
    /// Its events, in order of arrival per lane.
    #[must_use]
    pub fn events(&self) -> &[EventRecord] {
        &self.merged.events
    }

    /// Its service checks, in order of arrival per lane.
    #[must_use]
    pub fn checks(&self) -> &[CheckRecord] {
        &self.merged.checks
    }

    /// Cells of global series, which their owners post.
    #[must_use]
    pub fn global_count(&self) -> usize {
        self.global.len()
    }

    /// True when no line came and nothing is posted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.merged.is_empty()
            && self.idle.is_empty()
            && self.held.is_empty()
            && self.late_sketches.is_empty()
            && self.global.len() == 0
            && self.counts.received == 0
    }
}

/// Sketches of samples that carry their own time, each in the bucket of that time, `interval` seconds long.
pub(super) fn gather_late(bucket: &mut Bucket, interval: u64) -> Vec<(u32, i64, Sketch)> {
    let mut sketches: BTreeMap<(u32, i64), Sketch> = BTreeMap::new();
    let interval = i64::try_from(interval).unwrap_or(i64::MAX).max(1);
    for sample in bucket.timestamped_samples.drain(..) {
        let start = sample.timestamp - sample.timestamp.rem_euclid(interval);
        let sketch = sketches.entry((sample.context, start)).or_default();
        let taken = sketch.insert(sample.value, sample.rate);
        bucket.counts.values_non_finite += u64::from(!taken);
    }
    // One whose only value was too large holds nothing to post.
    sketches.retain(|_, sketch| !sketch.is_empty());
    sketches.into_iter().map(|((context, start), sketch)| (context, start, sketch)).collect()
}
