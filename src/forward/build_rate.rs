//! How fast payloads are built, to say how long a queue will last.

use std::time::Duration;

/// Minutes over which the rate of built bytes is taken, as the Agent's window of 900 s.
const RATE_WINDOW_MINUTES: u64 = 15;

/// Bytes built per minute of the last quarter of an hour.
#[derive(Clone, Copy, Debug)]
pub(super) struct BuildRate {
    started: Duration,
    minutes: [(u64, u64); RATE_WINDOW_MINUTES as usize],
}

impl BuildRate {
    pub fn new(now: Duration) -> Self {
        BuildRate { started: now, minutes: Default::default() }
    }

    /// Bytes were built at the monotonic time `now`.
    pub fn built(&mut self, now: Duration, bytes: usize) {
        let minute = now.as_secs() / 60;
        let slot = &mut self.minutes[(minute % RATE_WINDOW_MINUTES) as usize];
        if slot.0 != minute {
            *slot = (minute, 0);
        }
        slot.1 += bytes as u64;
    }

    /// How long `room` bytes last at the rate of the window.
    pub fn lasts(&self, now: Duration, room: usize) -> Option<Duration> {
        let minute = now.as_secs() / 60;
        let recent = |slot: &&(u64, u64)| slot.0 + RATE_WINDOW_MINUTES > minute;
        let bytes: u64 = self.minutes.iter().filter(recent).map(|slot| slot.1).sum();
        let window = Duration::from_secs((RATE_WINDOW_MINUTES - 1) * 60 + now.as_secs() % 60);
        // A rate of the first seconds says little: take at least ten of them.
        let seen = now.saturating_sub(self.started).min(window).max(Duration::from_secs(10));
        if bytes == 0 {
            return None;
        }
        Duration::try_from_secs_f64(room as f64 * seen.as_secs_f64() / bytes as f64).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_forgets_what_is_older_than_the_window() {
        let at = Duration::from_secs;
        let mut rate = BuildRate::new(at(0));
        assert_eq!(rate.lasts(at(0), 1000), None);
        for second in (10..=100).step_by(10) {
            rate.built(at(second), 100); // 10 bytes a second
        }
        assert_eq!(rate.lasts(at(100), 6000), Some(at(600)));
        assert_eq!(rate.lasts(at(100 + 900), 6000), None);
    }
}
