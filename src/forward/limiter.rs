//! Says a repeated thing once per interval, with the number left unsaid.

use std::collections::HashMap;
use std::time::Duration;

/// How long one reason stays quiet after it was said.
const QUIET: Duration = Duration::from_secs(60);

/// Reasons remembered at most; beyond it the memory starts afresh.
const REASONS_MAX: usize = 256;

/// Remembers when each reason was last said.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    said: HashMap<(&'static str, u16), (Duration, u64)>,
}

impl Limiter {
    /// Some when the reason may be said at the monotonic time `now`, with the number of times it
    /// was left unsaid since.
    pub fn may_say(&mut self, reason: &'static str, detail: u16, now: Duration) -> Option<u64> {
        if self.said.len() >= REASONS_MAX {
            self.said.clear();
        }
        let (until, unsaid) = self.said.entry((reason, detail)).or_default();
        if now < *until {
            *unsaid += 1;
            return None;
        }
        *until = now + QUIET;
        Some(std::mem::take(unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once_per_minute_with_the_number_left_out() {
        let mut limiter = Limiter::default();
        let mut say = |reason, at| limiter.may_say(reason, 0, Duration::from_secs(at));
        assert_eq!(say("status", 0), Some(0));
        assert_eq!(say("status", 1), None);
        assert_eq!(say("status", 59), None);
        assert_eq!(say("queue_full", 59), Some(0));
        assert_eq!(say("status", 60), Some(2));
        assert_eq!(say("status", 61), None);
    }
}
