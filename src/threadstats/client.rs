//! The client: what callers record with.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::cell::Kind;
use super::inner::Inner;
use super::losses::Losses;
use super::member::Member;
use super::number::Number;
use super::options::{EventOpts, Opts, StartError, StartOptions};
use super::outbox::FlushOutcome;
use super::periodic::Periodic;
use super::reporter::ReportError;

/// Aggregates metrics inside the process and reports them itself, without a daemon.
///
/// Cheap to clone and free to share between threads; clones are one client. The last clone (bound
/// handles count as clones) flushes everything when it is dropped, so that a program that ends regularly
/// loses nothing.
///
/// Recording never fails and never blocks on delivery: what cannot be recorded is counted, see
/// [`ThreadStats::losses`].
#[derive(Clone)]
pub struct ThreadStats(pub(crate) Arc<Handle>);

/// Lives as long as any handle that can record.
pub(crate) struct Handle {
    pub(crate) inner: Arc<Inner>,
    periodic: Mutex<Option<Periodic>>,
    flushes_on_drop: bool,
}

/// Shorter intervals are not worth a thread that wakes for each of them: calls read the clock.
const PUBLISHED_ROLL_UP_SECONDS_MIN: f64 = 0.05;

impl ThreadStats {
    pub(super) fn new(inner: Inner, flushes_on_drop: bool) -> Self {
        let (inner, periodic) = (Arc::new(inner), Mutex::default());
        ThreadStats(Arc::new(Handle { inner, periodic, flushes_on_drop }))
    }

    /// Begins to record. Called again it restarts: what was not flushed is discarded (and
    /// counted), `flush_count` is 0, and the earlier thread ends.
    ///
    /// # Errors
    /// An interval that is 0, negative or not finite, or no thread to be had.
    pub fn start(&self, options: &StartOptions) -> Result<(), StartError> {
        let roll_up = options.roll_up_interval;
        if !roll_up.is_finite() || roll_up.as_f64() <= 0.0 {
            return Err(StartError::RollUpInterval(roll_up));
        }
        let threaded = options.flush_in_thread && !options.disabled;
        if threaded && !(options.flush_interval > 0.0 && options.flush_interval <= 1e9) {
            return Err(StartError::FlushInterval(options.flush_interval));
        }
        let mut periodic = self.0.periodic.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = periodic.take() {
            earlier.stop();
        }
        let inner = &self.0.inner;
        inner.restart(options);
        if threaded {
            let publishes = inner.publishes && roll_up.as_f64() >= PUBLISHED_ROLL_UP_SECONDS_MIN;
            match Periodic::spawn(Arc::clone(inner), options.flush_interval, publishes) {
                Ok(thread) => {
                    inner.ticker.publish_by_timer(publishes);
                    *periodic = Some(thread);
                }
                Err(error) => return Err(StartError::Thread(error.to_string())),
            }
        }
        Ok(())
    }

    /// Ends the automatic flushes. Does not flush and does not wait for a flush under way;
    /// recording continues. Without automatic flushes, also before `start`, nothing happens.
    ///
    /// Differs: datadogpy raises when stopped before it was started.
    pub fn stop(&self) {
        let mut periodic = self.0.periodic.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = periodic.take() {
            thread.stop();
            self.0.inner.ticker.publish_by_timer(false);
        }
    }

    /// Reports every interval that ended before `timestamp` (unix seconds; none and 0 mean now,
    /// infinity means everything) and all events.
    ///
    /// # Errors
    /// Only [`ReportError::NotInitialised`]. Any other failure of the reporter is logged and
    /// counted, and what was drained is lost.
    pub fn flush(&self, timestamp: Option<f64>) -> Result<FlushOutcome, ReportError> {
        self.0.inner.flush(timestamp)
    }

    /// Lists handed to the reporter since `start`: up to three per flush.
    #[must_use]
    pub fn flush_count(&self) -> u64 {
        self.0.inner.flush_count.load(Ordering::Relaxed)
    }

    /// What was offered and will not arrive, by reason.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.0.inner.losses.snapshot()
    }

    /// Sets a gauge; the last call in an interval wins, whatever its timestamp.
    pub fn gauge<'a>(&self, name: &str, value: impl Into<Number>, opts: impl Into<Opts<'a>>) {
        self.0.inner.record(Kind::Gauge, name, Member::Number(value.into()), &opts.into());
    }

    /// Adds a member to a set; the number of distinct members is reported as a gauge.
    pub fn set<'a, 'm>(
        &self,
        name: &str,
        member: impl Into<Member<'m>>,
        opts: impl Into<Opts<'a>>,
    ) {
        self.0.inner.record(Kind::Set, name, member.into(), &opts.into());
    }

    /// Adds to a counter, which is reported as a rate per second.
    pub fn increment<'a>(&self, name: &str, value: impl Into<Number>, opts: impl Into<Opts<'a>>) {
        self.0.inner.record(Kind::Counter, name, Member::Number(value.into()), &opts.into());
    }

    /// Subtracts from a counter. A rate below zero is legal.
    pub fn decrement<'a>(&self, name: &str, value: impl Into<Number>, opts: impl Into<Opts<'a>>) {
        let value = value.into().negated();
        self.0.inner.record(Kind::Counter, name, Member::Number(value), &opts.into());
    }

    /// Takes a sample: minimum, maximum, count, average and four percentiles are reported.
    pub fn histogram<'a>(&self, name: &str, value: impl Into<Number>, opts: impl Into<Opts<'a>>) {
        self.0.inner.record(Kind::Histogram, name, Member::Number(value.into()), &opts.into());
    }

    /// Takes a value that is reported as it is, for the intake to aggregate over hosts.
    pub fn distribution<'a>(
        &self,
        name: &str,
        value: impl Into<Number>,
        opts: impl Into<Opts<'a>>,
    ) {
        self.0.inner.record(Kind::Distribution, name, Member::Number(value.into()), &opts.into());
    }

    /// A histogram sample under another name, in any unit the caller likes.
    pub fn timing<'a>(&self, name: &str, value: impl Into<Number>, opts: impl Into<Opts<'a>>) {
        self.histogram(name, value, opts);
    }

    /// Queues an event for the next flush, whatever its time. The namespace is not applied.
    pub fn event(&self, title: &str, text: &str, opts: &EventOpts<'_>) {
        self.0.inner.event(title, text, opts);
    }
}

impl fmt::Debug for ThreadStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadStats")
            .field("flush_count", &self.flush_count())
            .field("losses", &self.losses())
            .finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let periodic = self.periodic.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = periodic.take() {
            thread.stop_and_wait();
        }
        if self.flushes_on_drop && self.inner.is_running() {
            self.inner.flush_last();
        }
    }
}
