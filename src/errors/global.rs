//! The tracker of the program: found by every call, swapped in and out while others record.

use std::error::Error;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::fingerprint::Occurrence;
use super::settings::Settings;
use super::sink::Sink;
use super::tracker::{Kind, Tracker};

static TRACKER: ArcSwapOption<Tracker> = ArcSwapOption::const_empty();

/// Counts an error that the caller handles, as of the caller's place. Without a tracker it does nothing.
#[track_caller]
#[inline]
pub fn record<E: Error + 'static>(error: &E) {
    if let Some(tracker) = &*TRACKER.load() {
        tracker.count(Occurrence::of(error, Location::caller()), Some(error), Kind::Handled);
    }
}

/// As [`record`], for an error behind a pointer: `&*boxed`, or what `anyhow::Error` derefs to. Its type
/// has no name; see `docs/errors.md` for what stands in its place.
#[track_caller]
pub fn record_dyn(error: &(dyn Error + 'static)) {
    if let Some(tracker) = &*TRACKER.load() {
        tracker.count(Occurrence::of_dyn(error, Location::caller()), Some(error), Kind::Handled);
    }
}

pub(super) fn record_panic(file: &'static str, line: u32, column: u32) {
    if let Some(tracker) = &*TRACKER.load() {
        tracker.count(Occurrence::of_panic(file, line, column), None, Kind::Panic);
    }
}

/// Counts the error of a result on its way to where it is handled.
pub trait ResultExt: Sized {
    /// The same result; its error, if it is one, was counted as of the caller's place.
    #[track_caller]
    #[must_use]
    fn tracked(self) -> Self;
}

impl<T, E: Error + 'static> ResultExt for Result<T, E> {
    #[track_caller]
    #[inline]
    fn tracked(self) -> Self {
        if let Err(error) = &self {
            record(error);
        }
        self
    }
}

/// Makes a new tracker the one of the program and starts the thread that hands its counts to `sink`. The
/// one before, if any, goes on counting nothing until its guard is dropped.
///
/// # Errors
/// When the system gives no thread.
pub fn start(settings: Settings, sink: impl Sink + 'static) -> io::Result<ErrorsGuard> {
    let tracker = Arc::new(Tracker::new(settings));
    let interval = match tracker.settings().flush_interval {
        Duration::ZERO => Duration::from_secs(u64::MAX / 4),
        interval => interval,
    };
    let (stop, stopped) = mpsc::channel::<()>();
    let flushed = Arc::clone(&tracker);
    let thread = thread::Builder::new().name("whippet-errors".to_owned()).spawn(move || {
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            flushed.flush(&sink);
        }
        flushed.flush(&sink);
    })?;
    TRACKER.store(Some(Arc::clone(&tracker)));
    Ok(ErrorsGuard { tracker, stop: Some(stop), thread: Some(thread) })
}

/// Ends tracking when it is dropped: the last counts go to the sink first.
#[derive(Debug)]
pub struct ErrorsGuard {
    tracker: Arc<Tracker>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ErrorsGuard {
    /// The tracker that counts, for its losses and for flushes between.
    #[must_use]
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }
}

impl Drop for ErrorsGuard {
    fn drop(&mut self) {
        let ours = Some(Arc::clone(&self.tracker));
        let running = TRACKER.load();
        // A later tracker stays.
        if running.as_ref().is_some_and(|running| Arc::ptr_eq(running, &self.tracker)) {
            TRACKER.compare_and_swap(&ours, None);
        }
        drop(running);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed by the hook.
            let _ = thread.join();
        }
    }
}
