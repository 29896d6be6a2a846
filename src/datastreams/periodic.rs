//! The thread that flushes.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::Builder;
use std::time::Duration;

/// A running thread. Dropped without [`Periodic::stop_within`], it ends after its last call without being
/// waited for.
pub(super) struct Periodic {
    stop: Sender<()>,
    /// Hangs up when the thread is done.
    done: Receiver<()>,
}

impl Periodic {
    /// Calls `work` every `interval`, and once more, with true, at the end.
    pub fn spawn(interval: Duration, work: impl Fn(bool) + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let (ended, done) = mpsc::channel::<()>();
        Builder::new().name("datastreams".to_owned()).spawn(move || {
            let _ended = ended;
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                work(false);
            }
            work(true);
        })?;
        Ok(Periodic { stop, done })
    }

    /// Has the last call made and waits for it, at most `time`.
    pub fn stop_within(self, time: Duration) {
        drop(self.stop);
        // Disconnected is what is waited for; after the time the thread is left to itself.
        let _ = self.done.recv_timeout(time);
    }
}
