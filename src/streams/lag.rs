//! How old the oldest unread message is, from offsets alone.
//!
//! Messages carry no time here; but it is known how far a partition was written at the end of each
//! bucket. The time of a message written between two such ends is interpolated.

/// How far a partition was written, and when that was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// End of a bucket in Unix seconds.
    pub at: u64,
    /// Highest offset of a message written by then.
    pub offset: u64,
}

/// Age in seconds, at `now`, of the message with offset `unread`. `written` is in the order of time; its
/// last offset is at least `unread`. What was written before the oldest of them is at least as old as it,
/// which is what is given.
pub(super) fn age(written: &[Written], unread: u64, now: u64) -> f64 {
    // From behind: a topic that was made anew starts at 0 again, and old offsets are of another one.
    let before = written.iter().rposition(|known| known.offset < unread);
    let since = |at: u64| now.saturating_sub(at) as f64;
    match before.map(|before| (written[before], written.get(before + 1))) {
        Some((before, Some(after))) => {
            let share =
                (unread - before.offset) as f64 / after.offset.abs_diff(before.offset) as f64;
            let later = share * after.at.saturating_sub(before.at) as f64;
            (since(before.at) - later).max(0.0)
        }
        // Nothing is known to be written so far: it is new.
        Some((_, None)) => 0.0,
        None => written.first().map_or(0.0, |oldest| since(oldest.at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(pairs: &[(u64, u64)], unread: u64, now: u64, expected: f64) {
        let written: Vec<Written> =
            pairs.iter().map(|(at, offset)| Written { at: *at, offset: *offset }).collect();
        assert_eq!(age(&written, unread, now), expected);
    }

    #[test]
    fn between_two_ends_in_proportion() {
        let pairs = [(110, 100), (120, 200), (130, 200), (140, 240)];
        is(&pairs, 200, 140, 20.0); // the last one written by 120
        is(&pairs, 150, 140, 25.0);
        is(&pairs, 101, 140, 29.9);
        is(&pairs, 210, 140, 7.5); // a quarter of the way from 130 to 140
        is(&pairs, 240, 140, 0.0);
        is(&pairs, 240, 170, 30.0);
    }

    #[test]
    fn before_the_oldest_end_its_age() {
        is(&[(110, 100), (120, 200)], 100, 120, 10.0);
        is(&[(110, 100), (120, 200)], 3, 120, 10.0);
        is(&[(120, 42)], 40, 120, 0.0);
        is(&[(120, 42)], 40, 150, 30.0);
    }

    #[test]
    fn a_topic_made_anew_starts_again() {
        let pairs = [(110, 1000), (120, 1010), (130, 4), (140, 14)];
        is(&pairs, 9, 140, 5.0);
    }

    #[test]
    fn what_is_not_known_to_be_written_is_new() {
        is(&[(110, 100)], 101, 150, 0.0);
        is(&[], 101, 150, 0.0);
        is(&[(160, 100)], 50, 150, 0.0);
    }
}
