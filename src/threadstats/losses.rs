//! Everything that was offered and will not arrive, counted by reason.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why something was lost. The first seven count calls, the rest series and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// Recorded before `start`.
    NotStarted,
    /// Recorded while disabled.
    Disabled,
    /// The metric has no name.
    EmptyName,
    /// NaN or infinite, as a value or as a time.
    NonFinite,
    /// A text or bytes fed to a key whose interval began as something other than a set.
    NotANumber,
    /// [`ClientLimits::series_max`](super::ClientLimits::series_max) or
    /// [`ClientLimits::values_max`](super::ClientLimits::values_max) was reached.
    Full,
    /// [`ClientLimits::events_max`](super::ClientLimits::events_max) was reached.
    EventsFull,
    /// Unflushed when `start` was called again.
    Discarded,
    /// The reporter failed on the metrics; counts their series.
    MetricsFailed,
    /// The reporter failed on the distributions or never got them; counts their series.
    DistributionsFailed,
    /// The reporter failed on the events; counts them.
    EventsFailed,
    /// The API took the request and answered with errors, or the reporter had to leave items out.
    Rejected,
}

impl Loss {
    /// Every reason, in the order reports list them.
    pub const ALL: [Loss; 12] = [
        Loss::NotStarted,
        Loss::Disabled,
        Loss::EmptyName,
        Loss::NonFinite,
        Loss::NotANumber,
        Loss::Full,
        Loss::EventsFull,
        Loss::Discarded,
        Loss::MetricsFailed,
        Loss::DistributionsFailed,
        Loss::EventsFailed,
        Loss::Rejected,
    ];

    /// The word logs and counters use.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Loss::NotStarted => "not_started",
            Loss::Disabled => "disabled",
            Loss::EmptyName => "empty_name",
            Loss::NonFinite => "non_finite",
            Loss::NotANumber => "not_a_number",
            Loss::Full => "full",
            Loss::EventsFull => "events_full",
            Loss::Discarded => "discarded",
            Loss::MetricsFailed => "metrics_failed",
            Loss::DistributionsFailed => "distributions_failed",
            Loss::EventsFailed => "events_failed",
            Loss::Rejected => "rejected",
        }
    }
}

/// A snapshot of the losses since the client was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses([u64; Loss::ALL.len()]);

impl Losses {
    /// How much was lost for one reason.
    #[must_use]
    pub fn of(&self, reason: Loss) -> u64 {
        self.0[reason as usize]
    }

    /// How much was lost in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count, also zeros.
    pub fn iter(&self) -> impl Iterator<Item = (Loss, u64)> + '_ {
        Loss::ALL.into_iter().map(|reason| (reason, self.of(reason)))
    }
}

#[derive(Debug, Default)]
pub(crate) struct LossCounters([AtomicU64; Loss::ALL.len()]);

impl LossCounters {
    /// Counts, and says so in the log the first time.
    #[cold]
    pub(crate) fn add(&self, reason: Loss, count: usize) {
        let before = self.0[reason as usize].fetch_add(count as u64, Ordering::Relaxed);
        if before == 0 && count > 0 {
            tracing::warn!(target: "threadstats", reason = reason.label(), count, "first loss for this reason");
        }
    }

    pub(crate) fn snapshot(&self) -> Losses {
        Losses(std::array::from_fn(|reason| self.0[reason].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_counts_in_its_own_place() {
        let counters = LossCounters::default();
        for (index, reason) in Loss::ALL.into_iter().enumerate() {
            counters.add(reason, index + 1);
        }
        let losses = counters.snapshot();
        for (index, (reason, count)) in losses.iter().enumerate() {
            assert_eq!(count, index as u64 + 1, "{}", reason.label());
        }
        assert_eq!(losses.total(), 78);
    }
}
