//! The last ten minutes in rows of sums, for plots that begin before their reader came.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back rows go.
pub(crate) const HISTORY_AGE: Duration = Duration::from_secs(600);
/// Rows that are closer together than this are one: readers ask about once per second.
const ROW_GAP: Duration = Duration::from_millis(900);
/// Rows held; more than come in ten minutes at that distance.
const ROWS_MAX: usize = 680;

/// Sums since the start of the process, and gauges, at one moment. As they are sums, a row that is
/// left out takes nothing away.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HistoryRow {
    /// Unix time.
    pub at: Duration,
    pub lines: u64,
    pub bytes: u64,
    pub kernel_drops: u64,
    /// Lines refused, by reason; reasons without a line are left out.
    pub refused: Box<[(&'static str, u64)]>,
    /// Lines dropped, for whatever reason.
    pub dropped: u64,
    /// Contexts alive at the last flush.
    pub contexts: u64,
    /// Contexts named for the first time; one that several lanes name is counted by each.
    pub births: u64,
    /// Bytes of the retry queues in use, over all endpoints.
    pub queue_bytes: u64,
    /// Payloads that wait, in memory or on disk.
    pub waiting: u64,
    pub delivered: u64,
    /// Payloads given up.
    pub payloads_dropped: u64,
}

/// At most [`ROWS_MAX`] rows of the last ten minutes: 136 bytes each and 24 for every reason that lines were
/// refused for, so some 100 KiB.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Rows that ever came, which is the number of the next one.
    added: u64,
    rows: VecDeque<HistoryRow>,
}

impl History {
    /// Takes a row, unless the last one is fresh. Old ones go.
    pub fn record(&mut self, row: HistoryRow) {
        // A clock that stepped back begins anew: a plot goes from left to right.
        while self.rows.back().is_some_and(|last| last.at > row.at) {
            self.rows.pop_back();
        }
        if self.rows.back().is_some_and(|last| row.at - last.at < ROW_GAP) {
            return;
        }
        let oldest = row.at.saturating_sub(HISTORY_AGE);
        while self.rows.len() == ROWS_MAX || self.rows.front().is_some_and(|row| row.at < oldest) {
            self.rows.pop_front();
        }
        self.rows.push_back(row);
        self.added += 1;
    }

    /// The rows from number `first` on that are still held, and the number of the next one.
    pub fn since(&self, first: u64) -> (Vec<HistoryRow>, u64) {
        let oldest = self.added - self.rows.len() as u64;
        let skipped = usize::try_from(first.saturating_sub(oldest)).unwrap_or(usize::MAX);
        (self.rows.iter().skip(skipped).cloned().collect(), self.added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(milliseconds: u64) -> HistoryRow {
        HistoryRow { at: Duration::from_millis(milliseconds), ..HistoryRow::default() }
    }

    fn seconds(history: &History, first: u64) -> Vec<u64> {
        history.since(first).0.iter().map(|row| row.at.as_secs()).collect()
    }

    #[test]
    fn rows_keep_their_distance_and_a_reader_continues_where_it_was() {
        let mut history = History::default();
        [0, 300, 1_000, 1_899, 2_000].into_iter().for_each(|at| history.record(row(at)));
        assert_eq!(seconds(&history, 0), [0, 1, 2]);
        assert_eq!(history.since(0).1, 3);
        assert_eq!(seconds(&history, 2), [2]);
        assert_eq!(seconds(&history, 9), [0; 0]);
    }

    #[test]
    fn ten_minutes_are_held_and_no_more_rows_than_fit() {
        let mut history = History::default();
        (0..700).for_each(|second| history.record(row(second * 1_000)));
        assert_eq!(seconds(&history, 0), (99..700).collect::<Vec<_>>());
        assert_eq!(seconds(&history, 98).len(), 601, "a reader that was away for long");
        history.record(row(10_000_000));
        assert_eq!(seconds(&history, 0), [10_000]);
        const { assert!(ROWS_MAX as u128 > HISTORY_AGE.as_millis() / ROW_GAP.as_millis() + 2) };
    }

    #[test]
    fn a_clock_that_steps_back_leaves_no_row_of_the_future() {
        let mut history = History::default();
        [10_000, 20_000, 30_000, 15_000].into_iter().for_each(|at| history.record(row(at)));
        assert_eq!(seconds(&history, 0), [10, 15]);
    }
}
