//! Where flushes go: the reporter, and who is using it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use super::number::Number;
use super::options::StartOptions;
use super::reporter::Reporter;

/// How a flush ended that returned no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushOutcome {
    /// Whatever was due was handed to the reporter, who may have failed: see the losses.
    Done,
    /// Another flush is under way; nothing happened.
    Busy,
    /// The client was started disabled; nothing happened.
    Disabled,
    /// The client was never started; nothing happened but a log line.
    NotStarted,
}

/// The reporter and what every series needs from `start`.
pub(crate) struct Outbox {
    /// Its lock is what makes flushes exclusive.
    pub(super) reporter: Mutex<Box<dyn Reporter>>,
    pub(super) reporter_restarts: AtomicBool,
    /// Who is flushing: a reporter or a hub's listener must not wait for its own flush.
    pub(super) flushing: Mutex<Option<ThreadId>>,
    pub(super) namespace: Option<String>,
    pub(super) run: Mutex<Run>,
}

#[derive(Clone)]
pub(super) struct Run {
    pub(super) device: Option<Arc<str>>,
    pub(super) roll_up: Number,
}

impl Outbox {
    pub(crate) fn new(reporter: Box<dyn Reporter>, namespace: String) -> Self {
        Outbox {
            reporter: Mutex::new(reporter),
            reporter_restarts: AtomicBool::new(false),
            flushing: Mutex::new(None),
            namespace: Some(namespace).filter(|namespace| !namespace.is_empty()),
            run: Mutex::new(Run { device: None, roll_up: Number::Int(10) }),
        }
    }

    pub(super) fn flushing(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.flushing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next flush restarts the reporter: it may be busy now.
    pub(crate) fn restart(&self, options: &StartOptions) {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = Run {
            device: options.device.as_deref().map(Arc::from),
            roll_up: options.roll_up_interval,
        };
        self.reporter_restarts.store(true, Ordering::Release);
    }
}
