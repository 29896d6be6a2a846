//! Line counts by listener: what a lane's bucket counted while each listener had its turn.

use crate::aggregate::LineCounts;

/// The open bucket of one lane.
pub(super) struct ByListener {
    of: Vec<LineCounts>,
    /// Of all buckets closed so far.
    closed: Vec<LineCounts>,
    /// The listener whose lines come now, and the bucket's counts when they began.
    current: usize,
    began: LineCounts,
}

impl ByListener {
    pub fn new(listeners: usize) -> Self {
        let of = vec![LineCounts::default(); listeners];
        let closed = of.clone();
        ByListener { of, closed, current: 0, began: LineCounts::default() }
    }

    /// The lines that follow came through this listener.
    #[inline]
    pub fn turn(&mut self, listener: usize, counts: &LineCounts) {
        if listener != self.current {
            self.settle(counts);
            self.current = listener;
        }
    }

    /// Listeners take turns once per batch at most, so copying all counters is cheap enough.
    #[cold]
    fn settle(&mut self, counts: &LineCounts) {
        let new = counts.since(&self.began);
        if let Some(of) = self.of.get_mut(self.current) {
            of.add(&new);
        }
        self.began = *counts;
    }

    /// The bucket's recorded lines are lost: in its counts, and so here.
    pub fn lose_recorded(&mut self, counts: &mut LineCounts) {
        self.settle(counts);
        counts.lose_recorded();
        self.of.iter_mut().for_each(LineCounts::lose_recorded);
        self.began = *counts;
    }

    /// The bucket is about to close with these counts; the next one begins at zero.
    pub fn close(&mut self, counts: &LineCounts) -> Vec<LineCounts> {
        self.settle(counts);
        self.began = LineCounts::default();
        let listeners = self.of.len();
        let closed = std::mem::replace(&mut self.of, vec![LineCounts::default(); listeners]);
        self.closed.iter_mut().zip(&closed).for_each(|(sum, of)| sum.add(of));
        closed
    }

    /// Everything since the start; `counts` are those of the open bucket.
    pub fn since_start(&mut self, counts: &LineCounts) -> Vec<LineCounts> {
        self.settle(counts);
        let mut sums = self.closed.clone();
        sums.iter_mut().zip(&self.of).for_each(|(sum, of)| sum.add(of));
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(received: u64, metrics: u64) -> LineCounts {
        let mut counts = LineCounts { received, metrics, ..LineCounts::default() };
        counts.truncated = received - metrics;
        counts
    }

    fn figures(of: &[LineCounts]) -> Vec<(u64, u64, u64, u64)> {
        of.iter()
            .map(|of| (of.received, of.recorded(), of.refused_total(), of.dropped_total()))
            .collect()
    }

    #[test]
    fn each_listener_gets_what_was_counted_in_its_turns() {
        let mut by_listener = ByListener::new(3);
        by_listener.turn(0, &counts(0, 0));
        by_listener.turn(2, &counts(5, 4));
        by_listener.turn(2, &counts(6, 5));
        by_listener.turn(0, &counts(8, 6));
        assert_eq!(
            figures(&by_listener.close(&counts(9, 7))),
            [(6, 5, 1, 0), (0, 0, 0, 0), (3, 2, 1, 0)]
        );
        by_listener.turn(1, &counts(2, 2));
        assert_eq!(
            figures(&by_listener.close(&counts(2, 2))),
            [(2, 2, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0)]
        );
    }

    #[test]
    fn the_open_bucket_counts_before_it_closes_and_no_line_counts_twice() {
        let mut by_listener = ByListener::new(2);
        by_listener.turn(0, &counts(0, 0));
        assert_eq!(figures(&by_listener.since_start(&counts(4, 3))), [(4, 3, 1, 0), (0, 0, 0, 0)]);
        by_listener.turn(1, &counts(4, 3));
        by_listener.close(&counts(6, 5));
        assert_eq!(figures(&by_listener.since_start(&counts(0, 0))), [(4, 3, 1, 0), (2, 2, 0, 0)]);
        assert_eq!(figures(&by_listener.since_start(&counts(1, 1))), [(4, 3, 1, 0), (3, 3, 0, 0)]);
        assert_eq!(figures(&by_listener.close(&counts(1, 1))), [(0, 0, 0, 0), (1, 1, 0, 0)]);
    }

    #[test]
    fn what_a_lane_loses_is_lost_for_each_listener() {
        let mut by_listener = ByListener::new(2);
        by_listener.turn(1, &counts(3, 2));
        let mut whole = counts(10, 7);
        by_listener.lose_recorded(&mut whole);
        assert_eq!((whole.recorded(), whole.dropped_total()), (0, 7));
        whole.received += 1;
        whole.metrics += 1;
        let parts = by_listener.close(&whole);
        assert_eq!(figures(&parts), [(3, 0, 1, 2), (8, 1, 2, 5)]);
    }
}
