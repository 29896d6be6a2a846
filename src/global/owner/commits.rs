//! Commits, and the lease that comes with them: a commit that the group accepted proves that this process
//! owned the partition when it was sent.
//!
//! The lease counts from when the commit was sent, not from when its answer is read: a process that was
//! stopped in between reads an old answer when it goes on.

use std::collections::VecDeque;
use std::time::Duration;

use super::settings::COMMIT_EVERY;

/// Without answers no more are sent than this.
const UNANSWERED_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Sent {
    offset: i64,
    at: Duration,
    /// Of an earlier assignment of the partition: proves nothing about this one.
    stale: bool,
}

/// The commits of one partition. They outlive its assignment, because answers may.
#[derive(Debug, Default)]
pub(super) struct Commits {
    unanswered: VecDeque<Sent>,
    last: Option<Duration>,
}

impl Commits {
    /// The partition was taken or comes anew: answers that are still under way prove nothing.
    pub fn forget(&mut self) {
        self.unanswered.iter_mut().for_each(|sent| sent.stale = true);
        self.last = None;
    }

    /// True when another one is to be sent, at the monotonic time `now`.
    pub fn is_due(&self, now: Duration) -> bool {
        self.unanswered.len() < UNANSWERED_MAX
            && self.last.is_none_or(|last| now >= last + COMMIT_EVERY)
    }

    pub fn sent(&mut self, offset: i64, now: Duration) {
        self.last = Some(now);
        self.unanswered.push_back(Sent { offset, at: now, stale: false });
    }

    /// The answer to the oldest commit of that offset. Gives when it was sent, if it proves ownership.
    pub fn answered(&mut self, offset: i64, acknowledged: bool) -> Option<Duration> {
        let place = self.unanswered.iter().position(|sent| sent.offset == offset)?;
        let sent = self.unanswered.drain(..=place).next_back()?;
        (acknowledged && !sent.stale).then_some(sent.at)
    }

    /// True when the partition is not owned and no answer is under way.
    pub fn is_forgotten(&self) -> bool {
        self.last.is_none() && self.unanswered.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_same_offset_is_committed_every_second() {
        let mut commits = Commits::default();
        assert!(commits.is_due(s(5)));
        commits.sent(7, s(5));
        assert!(!commits.is_due(s(5)) && commits.is_due(s(6)));
    }

    #[test]
    fn an_acknowledged_commit_counts_from_when_the_oldest_of_its_offset_was_sent() {
        let mut commits = Commits::default();
        (5..8).for_each(|second| commits.sent(7, s(second)));
        assert_eq!(commits.answered(7, true), Some(s(5)));
        assert_eq!(commits.answered(7, false), None);
        assert_eq!(commits.answered(7, true), Some(s(7)));
        assert_eq!(commits.answered(7, true), None, "nobody asked");
        assert_eq!(commits.answered(9, true), None);
    }

    #[test]
    fn an_answer_from_before_the_partition_was_taken_proves_nothing_after_it() {
        let mut commits = Commits::default();
        commits.sent(7, s(5));
        commits.forget();
        assert!(commits.is_due(s(5)), "a new assignment commits at once");
        commits.sent(7, s(6));
        assert_eq!(commits.answered(7, true), None);
        assert_eq!(commits.answered(7, true), Some(s(6)));
        assert!(!commits.is_forgotten(), "it is owned");
        commits.forget();
        assert!(commits.is_forgotten());
    }

    #[test]
    fn without_answers_commits_stop() {
        let mut commits = Commits::default();
        (0..200)
            .filter(|second| {
                commits.is_due(s(*second)).then(|| commits.sent(1, s(*second))).is_some()
            })
            .count();
        assert_eq!(commits.unanswered.len(), UNANSWERED_MAX);
    }
}
