//! What posting has in hand, for pages.

use crate::forward::{DropReason, ForwardAccounting, RouteCounts};
use crate::output::Discarded;

/// What became of postings and their payloads.
#[derive(Clone, Debug, Default)]
pub struct PostingCounts {
    /// Postings that were asked for.
    pub postings: u64,
    /// Series in them.
    pub rows: u64,
    /// Of the postings: not yet encoded.
    pub queued: usize,
    /// Payloads at the intake, per endpoint; none without an intake.
    pub accounting: Option<ForwardAccounting>,
    /// Payloads that were built and delivered nowhere on purpose (`output: none` and dry runs).
    pub discarded: Option<Discarded>,
}

impl PostingCounts {
    /// Requests that were not made because the lease of their partition had run out.
    #[must_use]
    pub fn fenced(&self) -> u64 {
        self.routes().map(|route| route.fenced).sum()
    }

    /// Payloads taken back because their partition has another owner.
    #[must_use]
    pub fn withdrawn(&self) -> u64 {
        self.routes().map(|route| route.dropped_for(DropReason::Withdrawn).payloads).sum()
    }

    fn routes(&self) -> impl Iterator<Item = &RouteCounts> {
        self.accounting.iter().flat_map(|all| &all.endpoints).flat_map(|one| &one.routes)
    }
}
