//! When to stop asking an API that does not answer: pure policy; the time comes from outside.

use std::time::Duration;

/// Timeouts in a row before the pause.
const TIMEOUTS_MAX: u32 = 3;
/// How long nothing is sent, counted from the first request that was refused.
const PAUSE: Duration = Duration::from_secs(300);

/// Counts timeouts in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    timeouts: u32,
    since: Option<Duration>,
}

impl Backoff {
    /// Whether a request may be sent at `now`; otherwise what is left of the pause.
    pub(super) fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        if self.timeouts < TIMEOUTS_MAX {
            return Ok(());
        }
        let since = *self.since.get_or_insert(now);
        match PAUSE.saturating_sub(now.saturating_sub(since)) {
            Duration::ZERO => {
                *self = Backoff::default();
                Ok(())
            }
            left => Err(left),
        }
    }

    pub(super) fn timed_out(&mut self) {
        self.timeouts += 1;
    }

    /// Any answer counts, whatever its status.
    pub(super) fn answered(&mut self) {
        *self = Backoff::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn three_timeouts_in_a_row_pause_for_300_s_from_the_first_refusal() {
        let mut backoff = Backoff::default();
        for _ in 0..3 {
            assert_eq!(backoff.admit(at(0)), Ok(()));
            backoff.timed_out();
        }
        assert_eq!(backoff.admit(at(100)), Err(at(300)));
        assert_eq!(backoff.admit(at(399)), Err(at(1)));
        assert_eq!(backoff.admit(at(400)), Ok(()));
        backoff.timed_out();
        assert_eq!(backoff.admit(at(401)), Ok(()), "the count started again");
    }

    #[test]
    fn an_answer_between_timeouts_starts_the_count_again() {
        let mut backoff = Backoff::default();
        for _ in 0..2 {
            backoff.timed_out();
            backoff.timed_out();
            backoff.answered();
            assert_eq!(backoff.admit(at(0)), Ok(()));
        }
    }
}
