//! When to try again: the breaker of one (endpoint, route). Pure: time and randomness come from outside.

use std::time::Duration;

/// The longest wait a `Retry-After` header may ask for; beyond it the server's wish is cut, so
/// that a wrong header cannot silence a route for a day.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// The constants of backoff and recovery (`forwarder_backoff_*`, `forwarder_recovery_*`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Half of the longest first delay.
    pub base: Duration,
    /// Jitter divisor, at least 2: a delay lies between `t / factor` and `t`.
    pub factor: f64,
    /// The longest delay.
    pub max: Duration,
    /// Errors taken back by one success.
    pub recovery_interval: u32,
    /// One success takes all errors back.
    pub recovery_reset: bool,
}

impl Default for RetryPolicy {
    /// The Agent's constants: 2 s, factor 2, 64 s, two errors back per success.
    fn default() -> Self {
        RetryPolicy {
            base: Duration::from_secs(2),
            factor: 2.0,
            max: Duration::from_secs(64),
            recovery_interval: 2,
            recovery_reset: false,
        }
    }
}

impl RetryPolicy {
    /// The error count that is not exceeded: `floor(log2(max / base)) + 1`.
    #[must_use]
    pub fn errors_max(&self) -> u32 {
        let ratio = self.max.as_secs_f64() / self.base.as_secs_f64().max(1e-9);
        // A float as integer saturates in Rust, so odd settings end at 0 or at the cap.
        (ratio.max(1.0).log2().floor() as u32).saturating_add(1).min(32)
    }

    /// The wait after `errors` errors. `jitter` runs from 0 (shortest) to 1 (longest).
    #[must_use]
    pub fn delay(&self, errors: u32, jitter: f64) -> Duration {
        if errors == 0 {
            return Duration::ZERO;
        }
        let max = self.max.as_secs_f64();
        let longest = self.base.as_secs_f64() * f64::powi(2.0, errors.min(64) as i32);
        if longest > max {
            return self.max;
        }
        let shortest = longest / self.factor.max(1.0);
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
        Duration::try_from_secs_f64(shortest + (longest - shortest) * jitter).unwrap_or(self.max)
    }
}

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Unblocked,
    /// Nothing until the given monotonic time.
    Blocked(Duration),
    /// One trial at a time.
    HalfBlocked,
}

/// Counts the errors of one (endpoint, route) and says when to try again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    errors: u32,
    blocked_until: Option<Duration>,
}

impl Breaker {
    /// What may be sent at the monotonic time `now`.
    #[must_use]
    pub fn state(&self, now: Duration) -> BreakerState {
        match self.blocked_until {
            None => BreakerState::Unblocked,
            Some(until) if now < until => BreakerState::Blocked(until),
            Some(_) => BreakerState::HalfBlocked,
        }
    }

    /// Errors not yet taken back.
    #[must_use]
    pub fn errors(&self) -> u32 {
        self.errors
    }

    /// A request failed. Results that arrive while blocked change nothing: they were sent before.
    pub fn failed(
        &mut self,
        policy: &RetryPolicy,
        now: Duration,
        jitter: f64,
        retry_after: Option<Duration>,
    ) {
        if matches!(self.state(now), BreakerState::Blocked(_)) {
            return;
        }
        self.errors = (self.errors + 1).min(policy.errors_max());
        let wait = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        self.blocked_until = Some(now + policy.delay(self.errors, jitter).max(wait));
    }

    /// The endpoint answered. Blocked again for the shorter delay until all errors are taken back.
    pub fn succeeded(&mut self, policy: &RetryPolicy, now: Duration, jitter: f64) {
        if matches!(self.state(now), BreakerState::Blocked(_)) {
            return;
        }
        self.errors = if policy.recovery_reset {
            0
        } else {
            self.errors.saturating_sub(policy.recovery_interval)
        };
        self.blocked_until = (self.errors > 0).then(|| now + policy.delay(self.errors, jitter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The table of delays after n errors.
    #[test]
    fn the_delay_doubles_and_ends_at_the_maximum() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.errors_max(), 6);
        for (errors, shortest, longest) in
            [(0, 0, 0), (1, 2, 4), (2, 4, 8), (3, 8, 16), (4, 16, 32), (5, 32, 64), (6, 64, 64)]
        {
            assert_eq!(policy.delay(errors, 0.0), s(shortest), "shortest after {errors}");
            assert_eq!(policy.delay(errors, 1.0), s(longest), "longest after {errors}");
        }
        assert_eq!(policy.delay(1, 0.5), s(3));
        assert_eq!(policy.delay(u32::MAX, f64::NAN), s(64));
    }

    /// Rows: what happened, at which second, then errors and the second the block ends.
    #[track_caller]
    fn walks(policy: RetryPolicy, rows: &[(&str, u64, u32, Option<u64>)]) {
        let mut breaker = Breaker::default();
        for (row, (event, at, errors, until)) in rows.iter().enumerate() {
            match *event {
                "error" => breaker.failed(&policy, s(*at), 1.0, None),
                "ok" => breaker.succeeded(&policy, s(*at), 1.0),
                asks => {
                    let seconds = asks.parse().expect("a Retry-After in seconds");
                    breaker.failed(&policy, s(*at), 1.0, Some(s(seconds)));
                }
            }
            assert_eq!(
                (breaker.errors, breaker.blocked_until),
                (*errors, until.map(s)),
                "row {row}"
            );
        }
    }

    #[test]
    fn errors_block_longer_and_successes_take_two_back() {
        walks(
            RetryPolicy::default(),
            &[
                ("ok", 0, 0, None),
                ("error", 0, 1, Some(4)),
                ("error", 3, 1, Some(4)), // sent before the block: changes nothing
                ("ok", 3, 1, Some(4)),
                ("error", 4, 2, Some(12)),
                ("error", 12, 3, Some(28)),
                ("ok", 28, 1, Some(32)),
                ("ok", 32, 0, None),
            ],
        );
    }

    #[test]
    fn the_count_stops_at_six() {
        let mut rows = vec![];
        for (n, (at, until)) in
            [(0, 4), (4, 12), (12, 28), (28, 60), (60, 124), (124, 188), (188, 252)]
                .into_iter()
                .enumerate()
        {
            rows.push(("error", at, (n as u32 + 1).min(6), Some(until)));
        }
        walks(RetryPolicy::default(), &rows);
    }

    #[test]
    fn recovery_reset_forgets_everything() {
        let policy = RetryPolicy { recovery_reset: true, ..RetryPolicy::default() };
        walks(policy, &[("error", 0, 1, Some(4)), ("error", 4, 2, Some(12)), ("ok", 12, 0, None)]);
    }

    #[test]
    fn retry_after_lengthens_the_block_within_its_bound() {
        walks(
            RetryPolicy::default(),
            &[("1", 0, 1, Some(4)), ("30", 4, 2, Some(34)), ("86400", 34, 3, Some(334))],
        );
    }

    #[test]
    fn after_the_block_one_trial_is_allowed() {
        let mut breaker = Breaker::default();
        breaker.failed(&RetryPolicy::default(), s(0), 0.0, None);
        assert_eq!(breaker.state(s(1)), BreakerState::Blocked(s(2)));
        assert_eq!(breaker.state(s(2)), BreakerState::HalfBlocked);
    }
}
