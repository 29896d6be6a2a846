//! What lanes have counted since the start, their open buckets included, and what it adds to the
//! flushed totals.

use super::Totals;
use crate::aggregate::LineCounts;
use crate::net::ListenerCounts;

/// What one lane has counted, or all together. Grows only, except for connections open now and what
/// a failed lane lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaneCounts {
    /// Lines, per listener.
    pub lines: Vec<LineCounts>,
    pub listeners: Vec<ListenerCounts>,
    /// Contexts named for the first time since the last close; one that several lanes name is counted
    /// by each.
    pub contexts_new: usize,
    /// The same since the start.
    pub births: u64,
}

impl LaneCounts {
    /// Adds another lane.
    pub fn add(&mut self, lane: &LaneCounts) {
        add_lines(&mut self.lines, &lane.lines);
        for (at, counts) in lane.listeners.iter().enumerate() {
            match self.listeners.get_mut(at) {
                Some(sum) => sum.add(counts),
                None => self.listeners.push(counts.clone()),
            }
        }
        self.contexts_new += lane.contexts_new;
        self.births += lane.births;
    }

    /// The totals as they will be once every open bucket is flushed, and how many lines are in open
    /// buckets. `flushed` must have been read before these counts were.
    pub fn ahead_of(self, flushed: &Totals) -> (Totals, LineCounts) {
        let mut totals = flushed.clone();
        let mut open = LineCounts::default();
        // What is abandoned at the shutdown was taken out of the flushed lines, and nothing is open.
        if flushed.lines.abandoned > 0 {
            return (totals, open);
        }
        for (at, lines) in self.lines.iter().enumerate() {
            let known = flushed.listener_lines.get(at).copied().unwrap_or_default();
            open.add(&lines.since(&known));
        }
        totals.lines.add(&open);
        if !self.lines.is_empty() {
            totals.listener_lines = self.lines;
        }
        if !self.listeners.is_empty() {
            totals.listeners = self.listeners;
        }
        (totals, open)
    }
}

/// Adds the counts of listeners to those of the same listeners.
pub(crate) fn add_lines(sums: &mut Vec<LineCounts>, more: &[LineCounts]) {
    sums.resize(sums.len().max(more.len()), LineCounts::default());
    sums.iter_mut().zip(more).for_each(|(sum, more)| sum.add(more));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(metrics: u64, truncated: u64) -> LineCounts {
        LineCounts { received: metrics + truncated, metrics, truncated, ..LineCounts::default() }
    }

    fn lane(of: &[LineCounts]) -> LaneCounts {
        LaneCounts { lines: of.to_vec(), contexts_new: 1, ..LaneCounts::default() }
    }

    #[test]
    fn open_lines_come_on_top_of_flushed_ones() {
        let mut all = lane(&[lines(5, 1), lines(2, 0)]);
        all.add(&lane(&[lines(1, 0), lines(0, 1)]));
        assert_eq!(all.contexts_new, 2);
        // The flushed totals hold a line that no lane counted: one of our own metrics.
        let listener_lines = vec![lines(4, 1), lines(1, 0)];
        let flushed = Totals { lines: lines(6, 1), listener_lines, ..Totals::default() };
        let (totals, open) = all.ahead_of(&flushed);
        assert_eq!(open, lines(3, 1));
        assert_eq!(totals.lines, lines(9, 2));
        assert_eq!(totals.listener_lines, [lines(6, 1), lines(2, 1)]);
    }

    #[test]
    fn before_any_lane_spoke_and_after_the_end_the_flushed_totals_stand() {
        let flushed = Totals { lines: lines(3, 0), ..Totals::default() };
        let (totals, open) = LaneCounts::default().ahead_of(&flushed);
        assert_eq!((totals.lines, open), (lines(3, 0), lines(0, 0)));
        let mut abandoned = lines(3, 0);
        abandoned.abandon_recorded();
        let flushed = Totals { lines: abandoned, ..Totals::default() };
        let (totals, _) = lane(&[lines(3, 0)]).ahead_of(&flushed);
        assert_eq!(totals.lines, abandoned);
    }
}
