//! One outage of an endpoint: from the first request that has to be repeated until every route
//! answers again.

use super::accounting::Tally;
use crate::encode::Route;
use std::time::Duration;

/// An outage that lasts, or whose backlog still waits.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    /// The first failure.
    pub since: Duration,
    /// When the last failing route answered.
    pub back: Option<Duration>,
    /// Delivered and lost before.
    pub settled_before: (Tally, Tally),
    failing: [bool; Route::ALL.len()],
}

/// How an outage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recovery {
    /// Until the intake answered.
    pub lasted: Duration,
    /// Delivered since it began.
    pub delivered: Tally,
    /// Dropped since it began, for whatever reason.
    pub lost: Tally,
}

impl Outage {
    pub fn new(since: Duration, settled_before: (Tally, Tally)) -> Self {
        Outage { since, back: None, settled_before, failing: Default::default() }
    }

    /// A request on this route has to be repeated.
    pub fn failed(&mut self, route: usize) {
        self.failing[route] = true;
        self.back = None;
    }

    /// The intake answered on this route; a refusal is an answer.
    pub fn answered(&mut self, route: usize, now: Duration) {
        self.failing[route] = false;
        if !self.failing.contains(&true) {
            self.back.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_until_every_failing_route_answers() {
        let s = Duration::from_secs;
        let mut outage = Outage::new(s(10), Default::default());
        outage.failed(0);
        outage.failed(2);
        outage.answered(0, s(20));
        assert_eq!(outage.back, None);
        outage.answered(2, s(41));
        outage.answered(0, s(50));
        assert_eq!(outage.back, Some(s(41)));
        outage.failed(0);
        assert_eq!(outage.back, None);
    }
}
