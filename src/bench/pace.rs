//! Open-loop pacing: when the next datagram is due, whatever became of the last one.
//!
//! The schedule is fixed at the start. A server (or a blocked socket) that holds the sender up
//! does not slow the schedule down: what is late is sent as fast as possible and its lateness is
//! counted from the moment it was due, so a stall cannot hide.

use std::time::Duration;

use crate::clock::Clock;

/// A schedule of equally spaced datagrams, or none at all.
#[derive(Clone, Debug)]
pub struct Pace {
    clock: Clock,
    start: Duration,
    per_second: Option<f64>,
}

impl Pace {
    /// Starts a schedule now. `None` is unlimited: everything is always due.
    pub fn start(clock: Clock, per_second: Option<f64>) -> Self {
        let start = clock.monotonic();
        Pace { clock, start, per_second }
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.start)
    }

    /// Datagrams due by `elapsed`; the first is due at once. `None` when unlimited.
    pub fn due_by(&self, elapsed: Duration) -> Option<u64> {
        self.per_second.map(|rate| (elapsed.as_secs_f64() * rate) as u64 + 1)
    }

    /// When datagram `index` (from 0) is due, counted from the start; the start when unlimited.
    pub fn due_at(&self, index: u64) -> Duration {
        match self.per_second {
            Some(rate) => Duration::try_from_secs_f64(index as f64 / rate).unwrap_or(Duration::MAX),
            None => Duration::ZERO,
        }
    }

    /// What to do after `sent` datagrams: send up to so many now, or wait so long first.
    pub fn next(&self, sent: u64, batch: u64) -> Step {
        let elapsed = self.elapsed();
        match self.due_by(elapsed) {
            None => Step::Send(batch),
            Some(due) if due > sent => Step::Send((due - sent).min(batch)),
            Some(_) => {
                let wait = self.due_at(sent).saturating_sub(elapsed);
                Step::Wait(wait.max(Duration::from_nanos(1)))
            }
        }
    }
}

/// The answer of [`Pace::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send up to so many datagrams, at least 1.
    Send(u64),
    /// Nothing is due for so long.
    Wait(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn at(per_second: f64) -> (Clock, Pace) {
        let clock = Clock::manual(Duration::from_secs(1_700_000_000));
        let pace = Pace::start(clock.clone(), Some(per_second));
        (clock, pace)
    }

    #[test]
    fn the_first_is_due_at_once_and_the_second_one_spacing_later() {
        let (clock, pace) = at(1_000.0);
        assert_eq!(pace.next(0, 64), Step::Send(1));
        assert_eq!(pace.next(1, 64), Step::Wait(MILLISECOND));
        clock.advance(MILLISECOND / 4);
        assert_eq!(pace.next(1, 64), Step::Wait(MILLISECOND * 3 / 4));
        clock.advance(MILLISECOND * 3 / 4);
        assert_eq!(pace.next(1, 64), Step::Send(1));
    }

    #[test]
    fn a_stall_is_caught_up_in_full_batches() {
        let (clock, pace) = at(1_000.0);
        clock.advance(Duration::from_millis(99));
        assert_eq!(pace.next(0, 64), Step::Send(64));
        assert_eq!(pace.next(64, 64), Step::Send(36));
        assert_eq!(pace.next(100, 64), Step::Wait(MILLISECOND));
    }

    #[test]
    fn a_second_holds_exactly_the_rate() {
        for rate in [1.0, 7.0, 999.0, 50_000.0, 1_234_567.0] {
            let (clock, pace) = at(rate);
            let mut sent = 0;
            let end = Duration::from_secs(1);
            while pace.elapsed() < end {
                match pace.next(sent, 64) {
                    Step::Send(count) => sent += count,
                    Step::Wait(wait) => clock.advance(wait),
                }
            }
            assert_eq!(sent, rate as u64, "{rate}/s");
        }
    }

    #[test]
    fn lateness_counts_from_the_moment_a_datagram_was_due() {
        let (clock, pace) = at(1_000.0);
        clock.advance(Duration::from_millis(10));
        assert_eq!(pace.elapsed() - pace.due_at(4), Duration::from_millis(6));
    }

    #[test]
    fn an_unlimited_rate_is_always_due() {
        let clock = Clock::manual(Duration::ZERO);
        let pace = Pace::start(clock, None);
        assert_eq!(pace.next(1_000_000, 64), Step::Send(64));
        assert_eq!(pace.due_by(Duration::from_secs(1)), None);
    }

    #[test]
    fn an_absurdly_slow_rate_waits_instead_of_overflowing() {
        let (_clock, pace) = at(1e-300);
        assert_eq!(pace.next(1, 64), Step::Wait(Duration::MAX));
    }
}
