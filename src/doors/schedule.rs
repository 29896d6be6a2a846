//! When buckets of doors are posted, and what doors add at that time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::grace::Grace;
use super::{Door, Recorder, Route, Sink};
use crate::aggregate::Bucket;
use crate::context::Claims;

/// A bucket that is to be posted.
#[derive(Debug)]
pub(crate) struct DueBucket {
    pub grace: Grace,
    pub bucket: Bucket,
    /// The second that its points carry; none for its start.
    pub stamp: Option<u64>,
}

/// Intervals that ended longer ago are not caught up with when the clock jumps, in seconds.
const CATCH_UP_SECONDS: u64 = 600;

/// Follows the clock: tells doors that an interval has ended or a bucket closes, and closes it.
pub(crate) struct Schedule {
    doors: Vec<(Route, Arc<dyn Door>)>,
    recorder: Recorder,
    /// Start of the interval that ends next.
    interval_open: u64,
}

impl Schedule {
    /// `now` is the time since the epoch.
    pub fn new(doors: Vec<(Route, Arc<dyn Door>)>, recorder: Recorder, now: Duration) -> Self {
        let interval = recorder.interval();
        let interval_open = now.as_secs() - now.as_secs() % interval;
        Schedule { doors, recorder, interval_open }
    }

    /// When the next thing is due, since the epoch.
    pub fn next_due(&self) -> Duration {
        let interval = self.recorder.interval();
        let ends = Grace::ALL
            .map(|grace| self.recorder.shard(grace).first_open() + interval + grace.seconds());
        let due = ends.into_iter().fold(self.interval_open + interval, u64::min);
        Duration::from_secs(due)
    }

    /// Does what is due at `now` (since the epoch); `post` gets every bucket with something in it, oldest
    /// first.
    pub fn tick(&mut self, now: Duration, post: &mut dyn FnMut(DueBucket)) {
        self.end_intervals(now);
        for grace in Grace::ALL {
            let interval = self.recorder.interval();
            let ends = |start: u64| start + interval + grace.seconds();
            loop {
                self.skip_empty(grace, now.as_secs());
                let start = self.recorder.shard(grace).first_open();
                if ends(start) > now.as_secs() {
                    break;
                }
                self.close(grace, start, now, None, post);
            }
        }
    }

    /// The last: the open interval ends, and every open bucket is posted. The second of its points says
    /// that it is a part: what a successor posts of the same bucket does not overwrite it.
    pub fn finish(&mut self, now: Duration, post: &mut dyn FnMut(DueBucket)) {
        self.tick(now, post);
        self.end_interval(self.interval_open, now);
        for grace in Grace::ALL {
            let last = now.as_secs().max(self.recorder.shard(grace).first_open());
            loop {
                let start = self.recorder.shard(grace).first_open();
                if start > last {
                    break;
                }
                self.close(grace, start, now, Some(now.as_secs()), post);
            }
        }
    }

    fn end_intervals(&mut self, now: Duration) {
        let (interval, seconds) = (self.recorder.interval(), now.as_secs());
        // After a jump of the clock nothing was there to be seen in between.
        let oldest = seconds.saturating_sub(CATCH_UP_SECONDS + interval);
        self.interval_open = self.interval_open.max(oldest - oldest % interval);
        while self.interval_open + interval <= seconds {
            let ended = self.interval_open;
            self.interval_open += interval;
            self.end_interval(ended, now);
        }
    }

    fn end_interval(&self, start: u64, now: Duration) {
        let ended = Duration::from_secs(start + self.recorder.interval());
        self.ask(now.min(ended), |_| true, |door, sink| door.interval_ended(start, sink));
    }

    /// After a jump of the clock, empty buckets are not walked one by one.
    fn skip_empty(&self, grace: Grace, now: u64) {
        let interval = self.recorder.interval();
        let oldest = now.saturating_sub(CATCH_UP_SECONDS + interval + grace.seconds());
        self.recorder.shard(grace).skip_to(oldest - oldest % interval);
    }

    fn close(
        &self,
        grace: Grace,
        start: u64,
        now: Duration,
        stop: Option<u64>,
        post: &mut dyn FnMut(DueBucket),
    ) {
        let of_class = |route| Grace::of(route) == grace;
        // However late it is: what is put now is not late.
        let due = Duration::from_secs(start + self.recorder.interval() + grace.seconds());
        self.ask(now.min(due), of_class, |door, sink| door.closing(start, stop, sink));
        let bucket = self.recorder.shard(grace).close();
        // In steps, so that no request waits for long.
        while self.recorder.shard(grace).sweep_some() {}
        let empty = bucket.is_empty() && bucket.births.is_empty() && bucket.deaths.is_empty();
        if !empty {
            let stamp = stop.map(|stop| stamp(start, self.recorder.interval(), stop));
            post(DueBucket { grace, bucket, stamp });
        }
    }

    /// Calls every door of these routes. One that fails harms no other.
    fn ask(
        &self,
        now: Duration,
        of: impl Fn(Route) -> bool,
        ask: impl Fn(&dyn Door, &mut dyn Sink),
    ) {
        let claims = Claims::default();
        for (route, door) in self.doors.iter().filter(|(route, _)| of(*route)) {
            let mut sink = self.recorder.sink(*route, now, &claims);
            let asked = catch_unwind(AssertUnwindSafe(|| ask(&**door, &mut sink)));
            if asked.is_err() {
                tracing::error!(
                    target: "doors",
                    "{}: failed at the end of an interval; its values of that time are missing",
                    route.word()
                );
            }
        }
    }
}

/// A second inside the bucket at `start` that is not its start, where the interval has one: another at
/// another second of the stop, nine of them.
pub(super) fn stamp(start: u64, interval: u64, now: u64) -> u64 {
    match interval.saturating_sub(1).min(9) {
        0 => start,
        seconds => start + 1 + now % seconds,
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
