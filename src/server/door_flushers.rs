//! What posts the buckets of the doors, inside the flusher's thread.

use std::sync::Arc;

use ahash::RandomState;

use super::settings;
use crate::config::Config;
use crate::context::{Context, PartRules};
use crate::doors::{DueBucket, Grace};
use crate::flush::{Closed, Flush, Flusher, HistogramSettings};

/// The flushers of the doors, one per class, in the order of [`Grace::ALL`].
pub(super) struct DoorFlushers([Flusher; Grace::ALL.len()]);

impl DoorFlushers {
    pub fn new(config: &Config, rules: &PartRules, state: &RandomState) -> Self {
        DoorFlushers(Grace::ALL.map(|_| {
            let settings = settings::flush(config);
            Flusher::of_doors(settings, Arc::clone(&rules.rules), state.clone())
        }))
    }

    /// Takes a bucket and gives it back as it is posted, with the flusher that knows its contexts.
    pub fn complete(&mut self, due: DueBucket) -> Option<(&Flusher, Flush)> {
        let DueBucket { grace, bucket, stamp } = due;
        let flusher = &mut self.0[grace as usize];
        let passed = bucket.start + flusher.interval();
        flusher.take(Closed { lane: 0, bucket, passed });
        let flush = match stamp {
            Some(stamp) => flusher.complete_as(stamp),
            None => flusher.complete(),
        };
        flush.map(|flush| (&*flusher, flush))
    }

    /// New rules, for the hosts of what is posted from now on.
    pub fn set_rules(&mut self, rules: &PartRules, histograms: &HistogramSettings) {
        for flusher in &mut self.0 {
            flusher.set_rules(Arc::clone(&rules.rules), histograms.clone());
        }
    }

    /// Every context known.
    pub fn known(&self) -> impl Iterator<Item = &Context> {
        self.0.iter().flat_map(Flusher::known)
    }

    /// How many.
    pub fn contexts(&self) -> usize {
        self.0.iter().map(Flusher::contexts).sum()
    }
}
