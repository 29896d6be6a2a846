//! The background thread: makes points and flushes, each at its pace.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// What the thread does.
pub(super) trait Work: Send + 'static {
    /// Flushes, and says how long it is until the next time; none to end.
    fn flush(&self) -> Option<Duration>;
    /// Makes points between two flushes.
    fn collect(&self);
}

/// A running thread.
#[derive(Debug)]
pub(super) struct Periodic {
    finished: Arc<Finished>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Finished {
    flag: Mutex<bool>,
    changed: Condvar,
}

impl Periodic {
    /// Flushes at once and then as often as `work` says; points are made every `points`, if given.
    pub fn spawn(work: impl Work, points: Option<Duration>) -> std::io::Result<Self> {
        let finished = Arc::new(Finished::default());
        let shared = Arc::clone(&finished);
        let thread = Builder::new()
            .name("telemetry".to_owned())
            .spawn(move || run(&work, &shared, points))?;
        Ok(Periodic { finished, thread })
    }

    /// Tells the thread to end and waits, unless it is this very thread.
    pub fn stop_and_wait(self) {
        *self.finished.flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.finished.changed.notify_all();
        if self.thread.thread().id() != std::thread::current().id() {
            // The client contains every panic of a flush, so there is nothing to hand on.
            let _ = self.thread.join();
        }
    }
}

impl Finished {
    /// Waits at most `time`; true when the thread shall end.
    fn within(&self, time: Duration) -> bool {
        let flag = self.flag.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.changed.wait_timeout_while(flag, time, |finished| !*finished);
        *wait.unwrap_or_else(PoisonError::into_inner).0
    }
}

fn run(work: &impl Work, finished: &Finished, points: Option<Duration>) {
    while let Some(interval) = work.flush() {
        let flushed = Instant::now();
        loop {
            let left = interval.saturating_sub(flushed.elapsed());
            if finished.within(points.map_or(left, |points| points.min(left))) {
                return;
            }
            if flushed.elapsed() >= interval {
                break;
            }
            work.collect();
        }
    }
}
