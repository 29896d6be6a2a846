//! What a shard counts of its lines. Plain numbers with one writer; they travel with the bucket.

use std::fmt;

use crate::context::DropReason;
use crate::protocol::ErrorKind;
use crate::text::grouped;

/// The accounting of one shard for one bucket: `received = recorded + refused + dropped`, in lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// Lines found, empty ones not counted. Counted where lines are found, so that the equation
    /// above is a check and not a definition.
    pub received: u64,
    /// Metric lines of which at least one value was recorded.
    pub metrics: u64,
    /// Events recorded.
    pub events: u64,
    /// Service checks recorded.
    pub checks: u64,
    /// Lines that do not follow the grammar, by [`ErrorKind`].
    pub refused: [u64; ErrorKind::ALL.len()],
    /// Lines without a final newline where one is required, and tails of truncated datagrams.
    pub unterminated: u64,
    /// Tails of truncated datagrams.
    pub truncated: u64,
    /// Readable lines that were not recorded, by [`DropReason`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Values recorded; a packed line holds several.
    pub values: u64,
    /// Values dropped because they, their product with 1/rate, or the sum with them, are not finite,
    /// or because the count would pass [`crate::sketch::COUNT_MAX`]; and sums of two lanes that could
    /// not be added.
    pub values_non_finite: u64,
    /// Lines whose sample rate was outside [1e-9, 1] and taken as 1.
    pub rates_invalid: u64,
    /// Fields of events and checks that were not understood; their line was kept.
    pub fields_ignored: u64,
    /// Lines that went to an overflow context; they are recorded lines.
    pub lines_folded: u64,
    /// Metrics (when first seen), events and checks with text that is not UTF-8, which was repaired.
    pub texts_repaired: u64,
    /// `device:` and `dd.internal.resource:` tags that no series can carry, of metrics first seen.
    pub tags_left_out: u64,
    /// Recorded lines with a time of their own whose series is global: posted here all the same, with host.
    pub timestamped_local: u64,
    /// Cells of global series that were not forwarded, because their name or a tag holds a newline.
    pub cells_unsendable: u64,
    /// Datagrams whose sender's container could not be found out; they were kept, without origin.
    pub origins_unreadable: u64,
    /// Lines lost with the open bucket of a lane that failed.
    pub lost: u64,
    /// Lines of the bucket that was open at the end and is not posted, because that is configured.
    pub abandoned: u64,
}

impl LineCounts {
    /// Lines recorded, of every kind.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        self.metrics + self.events + self.checks
    }

    /// Lines refused, for every reason.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().sum::<u64>() + self.unterminated + self.truncated
    }

    /// Lines dropped, for every reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum::<u64>() + self.lost + self.abandoned
    }

    /// Every reason with a number: refusals, then drops.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let refused =
            ErrorKind::ALL.iter().map(|kind| (kind.reason(), self.refused[*kind as usize]));
        let dropped =
            DropReason::ALL.iter().map(|reason| (reason.word(), self.dropped[*reason as usize]));
        let others = [
            ("unterminated", self.unterminated),
            ("truncated", self.truncated),
            ("lane_failed", self.lost),
            ("bucket_abandoned", self.abandoned),
        ];
        refused.chain(others).chain(dropped).filter(|(_, count)| *count > 0)
    }

    /// Whatever was recorded is lost after all.
    pub fn lose_recorded(&mut self) {
        self.lost += self.received.saturating_sub(self.refused_total() + self.dropped_total());
        (self.metrics, self.events, self.checks) = (0, 0, 0);
    }

    /// Whatever was recorded is not posted, because that is configured.
    pub fn abandon_recorded(&mut self) {
        self.abandoned += self.recorded();
        (self.metrics, self.events, self.checks) = (0, 0, 0);
    }

    /// What was counted since these counts stood at `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &LineCounts) -> LineCounts {
        let less = |now: u64, then: u64| now.saturating_sub(then);
        LineCounts {
            received: less(self.received, earlier.received),
            metrics: less(self.metrics, earlier.metrics),
            events: less(self.events, earlier.events),
            checks: less(self.checks, earlier.checks),
            refused: std::array::from_fn(|at| less(self.refused[at], earlier.refused[at])),
            unterminated: less(self.unterminated, earlier.unterminated),
            truncated: less(self.truncated, earlier.truncated),
            dropped: std::array::from_fn(|at| less(self.dropped[at], earlier.dropped[at])),
            values: less(self.values, earlier.values),
            values_non_finite: less(self.values_non_finite, earlier.values_non_finite),
            rates_invalid: less(self.rates_invalid, earlier.rates_invalid),
            fields_ignored: less(self.fields_ignored, earlier.fields_ignored),
            lines_folded: less(self.lines_folded, earlier.lines_folded),
            texts_repaired: less(self.texts_repaired, earlier.texts_repaired),
            tags_left_out: less(self.tags_left_out, earlier.tags_left_out),
            timestamped_local: less(self.timestamped_local, earlier.timestamped_local),
            cells_unsendable: less(self.cells_unsendable, earlier.cells_unsendable),
            origins_unreadable: less(self.origins_unreadable, earlier.origins_unreadable),
            lost: less(self.lost, earlier.lost),
            abandoned: less(self.abandoned, earlier.abandoned),
        }
    }

    /// Adds the counts of another bucket or lane.
    pub fn add(&mut self, other: &LineCounts) {
        self.received += other.received;
        self.metrics += other.metrics;
        self.events += other.events;
        self.checks += other.checks;
        self.refused.iter_mut().zip(other.refused).for_each(|(ours, theirs)| *ours += theirs);
        self.unterminated += other.unterminated;
        self.truncated += other.truncated;
        self.dropped.iter_mut().zip(other.dropped).for_each(|(ours, theirs)| *ours += theirs);
        self.values += other.values;
        self.values_non_finite += other.values_non_finite;
        self.rates_invalid += other.rates_invalid;
        self.fields_ignored += other.fields_ignored;
        self.lines_folded += other.lines_folded;
        self.texts_repaired += other.texts_repaired;
        self.tags_left_out += other.tags_left_out;
        self.timestamped_local += other.timestamped_local;
        self.cells_unsendable += other.cells_unsendable;
        self.origins_unreadable += other.origins_unreadable;
        self.lost += other.lost;
        self.abandoned += other.abandoned;
    }
}

/// `12 received = 10 recorded + 1 refused + 1 dropped (unknown_type 1, context_limit 1)`, the form
/// of the shutdown summary, which tools read.
impl fmt::Display for LineCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} received = {} recorded + {} refused + {} dropped",
            self.received,
            self.recorded(),
            self.refused_total(),
            self.dropped_total()
        )?;
        let reasons: Vec<String> =
            self.reasons().map(|(reason, count)| format!("{reason} {}", grouped(count))).collect();
        if reasons.is_empty() { Ok(()) } else { write!(f, " ({})", reasons.join(", ")) }
    }
}
