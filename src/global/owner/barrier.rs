//! Barriers: a tiny record of our own, appended to a partition and waited for. When it is read back,
//! everything that was appended before it was read too; nothing else proves that.
//!
//! ```text
//! number of a barrier: 32 bits, the newest settled interval (see `floor`) | 32 bits, counts up
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::event::Now;
use super::settings::BARRIER_REPEAT;

/// Barriers under way at most; of more, the oldest is no longer waited for.
const OUTSTANDING_MAX: usize = 8;

/// The moment, on both clocks, that a barrier must not be older than.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub wall: Duration,
    pub monotonic: Duration,
}

impl Due {
    /// True when a barrier that is sent now will do.
    pub fn is_reached(self, now: Now) -> bool {
        now.wall >= self.wall && now.monotonic >= self.monotonic
    }
}

/// A barrier that was appended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub number: u64,
    pub at: Now,
}

/// The barriers of one partition, since it was assigned.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    outstanding: VecDeque<Sent>,
    newest_back: Option<Sent>,
    /// When the last two were sent that are no repeats.
    fresh: [Option<Duration>; 2],
}

impl Barriers {
    /// True when a barrier is back that is not older than `due`.
    pub fn satisfy(&self, due: Due) -> bool {
        self.newest_back.is_some_and(|sent| due.is_reached(sent.at))
    }

    /// True once any is back: what others appended before this process owned the partition was read.
    pub fn is_caught_up(&self) -> bool {
        self.newest_back.is_some()
    }

    /// One was read; `None` when it is not one that is waited for.
    pub fn read_back(&mut self, number: u64) -> Option<Sent> {
        let place = self.outstanding.iter().position(|sent| sent.number == number)?;
        let sent = self.outstanding.drain(..=place).next_back()?;
        self.newest_back = Some(sent);
        Some(sent)
    }

    /// True when somebody waits for a barrier that may be sent now: none is under way, or the last one
    /// is not back after 2 s. At most two in the length of an interval, repeats apart.
    pub fn may_send(&self, interval: Duration, now: Now) -> bool {
        match self.outstanding.back() {
            Some(last) => now.monotonic >= last.at.monotonic + BARRIER_REPEAT,
            None => self.fresh[0].is_none_or(|before| now.monotonic >= before + interval),
        }
    }

    /// One was appended.
    pub fn sent(&mut self, number: u64, now: Now) {
        if self.outstanding.is_empty() {
            self.fresh = [self.fresh[1], Some(now.monotonic)];
        }
        if self.outstanding.len() == OUTSTANDING_MAX {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(Sent { number, at: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn at(seconds: f64) -> Now {
        let time = Duration::from_secs_f64(seconds);
        Now { wall: time + Duration::from_secs(1_000), monotonic: time }
    }

    fn due(seconds: f64) -> Due {
        Due { wall: at(seconds).wall, monotonic: at(seconds).monotonic }
    }

    #[test]
    fn a_barrier_counts_from_when_it_was_sent_not_from_when_it_came_back() {
        let mut barriers = Barriers::default();
        barriers.sent(1, at(5.0));
        assert!(!barriers.satisfy(due(5.0)) && !barriers.is_caught_up(), "not back yet");
        assert!(barriers.read_back(1).is_some());
        assert!(barriers.satisfy(due(5.0)) && !barriers.satisfy(due(5.1)));
        assert!(barriers.read_back(1).is_none(), "a second time it is someone else's");
    }

    #[test]
    fn a_step_of_the_wall_clock_alone_does_not_make_a_barrier_younger() {
        let mut barriers = Barriers::default();
        barriers.sent(1, Now { wall: Duration::from_secs(9_000), monotonic: at(5.0).monotonic });
        barriers.read_back(1);
        assert!(!barriers.satisfy(due(6.0)));
    }

    #[test]
    fn one_is_repeated_after_two_seconds_and_two_fresh_ones_fill_an_interval() {
        let mut barriers = Barriers::default();
        assert!(barriers.may_send(INTERVAL, at(0.0)));
        barriers.sent(1, at(0.0));
        assert!(!barriers.may_send(INTERVAL, at(1.9)));
        assert!(barriers.may_send(INTERVAL, at(2.0)), "a repeat");
        barriers.sent(2, at(2.0));
        barriers.read_back(2);
        assert!(barriers.may_send(INTERVAL, at(2.1)), "the second fresh one");
        barriers.sent(3, at(2.1));
        barriers.read_back(3);
        assert!(!barriers.may_send(INTERVAL, at(9.9)));
        assert!(barriers.may_send(INTERVAL, at(10.0)));
    }

    #[test]
    fn barriers_that_never_come_back_take_no_memory() {
        let mut barriers = Barriers::default();
        for number in 0..100 {
            barriers.sent(number, at(number as f64 * 2.0));
        }
        assert_eq!(barriers.outstanding.len(), OUTSTANDING_MAX);
        assert!(barriers.read_back(3).is_none());
        assert!(barriers.read_back(99).is_some());
        assert!(barriers.outstanding.is_empty(), "older ones prove nothing more");
    }
}
