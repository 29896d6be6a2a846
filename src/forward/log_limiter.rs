//! Logs a repeated message once per interval, with the number of suppressed ones.

use std::collections::HashMap;
use std::time::Duration;

/// How long one reason stays quiet after it was logged.
const QUIET: Duration = Duration::from_secs(60);

/// Reasons remembered at most; beyond it the memory starts afresh.
const REASONS_MAX: usize = 256;

/// Remembers when each reason was last logged.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter {
    logged: HashMap<(&'static str, u16), (Duration, u64)>,
}

impl LogLimiter {
    /// Some when the reason may be logged at the monotonic time `now`, with the number of times it
    /// was suppressed since.
    pub fn permit(&mut self, reason: &'static str, detail: u16, now: Duration) -> Option<u64> {
        if self.logged.len() >= REASONS_MAX {
            self.logged.clear();
        }
        let (until, suppressed) = self.logged.entry((reason, detail)).or_default();
        if now < *until {
            *suppressed += 1;
            return None;
        }
        *until = now + QUIET;
        Some(std::mem::take(suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_logged_once_per_minute_with_the_number_suppressed() {
        let mut limiter = LogLimiter::default();
        let mut permit = |reason, at| limiter.permit(reason, 0, Duration::from_secs(at));
        assert_eq!(permit("status", 0), Some(0));
        assert_eq!(permit("status", 1), None);
        assert_eq!(permit("status", 59), None);
        assert_eq!(permit("queue_full", 59), Some(0));
        assert_eq!(permit("status", 60), Some(2));
        assert_eq!(permit("status", 61), None);
    }
}
