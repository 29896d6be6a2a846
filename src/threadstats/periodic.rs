//! The background thread: publishes the open interval at its boundaries and flushes at its period.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::inner::Inner;
use crate::clock::Clock;

/// A running thread.
pub(crate) struct Periodic {
    finished: Arc<Finished>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Finished {
    flag: Mutex<bool>,
    changed: Condvar,
}

/// A boundary that cannot be reached exactly is tried again after this long.
const NAP_MIN: Duration = Duration::from_micros(200);

impl Periodic {
    /// Flushes `inner` every `seconds`; with `publishes` it also opens the intervals.
    pub(crate) fn spawn(inner: Arc<Inner>, seconds: f64, publishes: bool) -> std::io::Result<Self> {
        let finished = Arc::new(Finished::default());
        let shared = Arc::clone(&finished);
        let period = Duration::from_secs_f64(seconds);
        let thread = Builder::new()
            .name("threadstats".to_owned())
            .spawn(move || run(&inner, &shared, period, publishes))?;
        Ok(Periodic { finished, thread })
    }

    /// Tells the thread to end; does not wait for it.
    pub(crate) fn stop(&self) {
        *self.finished.flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.finished.changed.notify_all();
    }

    /// Tells the thread to end and waits, unless it is this very thread.
    pub(crate) fn stop_and_wait(self) {
        self.stop();
        if self.thread.thread().id() != std::thread::current().id() {
            // The thread contains every panic of a reporter, so there is nothing to hand on.
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

/// Drift is not corrected: the period counts from the end of a flush.
fn run(inner: &Inner, finished: &Finished, period: Duration, publishes: bool) {
    let wall = Clock::wall(); // naps pass in real time, whatever clock the client was given
    let mut left = period;
    loop {
        let boundary =
            if publishes { inner.ticker.until_boundary(inner.clock.unix()) } else { None };
        let nap = boundary.map_or(left, |boundary| left.min(boundary.max(NAP_MIN)));
        let before = wall.monotonic();
        if finished.within(nap) {
            return;
        }
        if publishes {
            inner.ticker.enter(inner.clock.unix());
        }
        left = left.saturating_sub(wall.monotonic().saturating_sub(before));
        if left.is_zero() {
            if let Err(error) = inner.flush(None) {
                tracing::error!(target: "threadstats", %error, "periodic flush failed");
            }
            left = period;
        }
    }
}
