//! How long to wait between two flushes, and how often something may happen.

use std::time::Duration;

use super::range::Range;

/// The time between flushes: it starts at the longest, is halved while there is too much to send and
/// doubled when there is not.
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveInterval {
    range: Range<Duration>,
    current: Duration,
}

impl AdaptiveInterval {
    /// Starts at the longest time of `range`.
    #[must_use]
    pub fn new(range: Range<Duration>) -> Self {
        AdaptiveInterval { range, current: range.max }
    }

    /// The time until the next flush.
    #[must_use]
    pub fn current(&self) -> Duration {
        self.current
    }

    /// Halves the time. True if that changed it.
    pub fn increase_speed(&mut self) -> bool {
        self.set(self.current / 2)
    }

    /// Doubles the time. True if that changed it.
    pub fn decrease_speed(&mut self) -> bool {
        self.set(self.current * 2)
    }

    fn set(&mut self, time: Duration) -> bool {
        let time = self.range.clamp(time);
        let changed = time != self.current;
        self.current = time;
        changed
    }
}

/// Lets something happen once per interval. The first time is an interval after it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limiter {
    interval: Duration,
    last: Duration,
}

impl Limiter {
    pub fn new(interval: Duration, now: Duration) -> Self {
        Limiter { interval, last: now }
    }

    pub fn allows(&mut self, now: Duration) -> bool {
        let allowed = now.saturating_sub(self.last) >= self.interval;
        if allowed {
            self.last = now;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_starts_slow_and_stays_in_its_range() {
        let mut interval = AdaptiveInterval::new(Range::new(seconds(15), seconds(60)));
        assert_eq!(interval.current(), seconds(60));
        assert!(!interval.decrease_speed());
        let mut faster = Vec::new();
        while interval.increase_speed() {
            faster.push(interval.current());
        }
        assert_eq!(faster, [seconds(30), seconds(15)]);
        let mut slower = Vec::new();
        while interval.decrease_speed() {
            slower.push(interval.current());
        }
        assert_eq!(slower, [seconds(30), seconds(60)]);
    }

    #[test]
    fn a_range_that_is_no_multiple_is_met_at_its_ends() {
        let mut interval = AdaptiveInterval::new(Range::new(seconds(25), seconds(60)));
        assert!(interval.increase_speed() && interval.increase_speed());
        assert_eq!(interval.current(), seconds(25));
        assert!(interval.decrease_speed() && interval.decrease_speed());
        assert_eq!(interval.current(), seconds(60));
    }

    #[test]
    fn a_limiter_does_not_allow_at_once_and_saves_nothing_up() {
        let mut limiter = Limiter::new(seconds(60), seconds(100));
        let times = [100, 159, 160, 161, 219, 220, 1000, 1001, 1060];
        let allowed = times.map(|now| limiter.allows(seconds(now)));
        assert_eq!(allowed, [false, false, true, false, false, true, true, false, true]);
    }
}
