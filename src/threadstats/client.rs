//! The client: what callers record with.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;

use super::builder::Builder;
use super::cell::Kind;
use super::flush::{FlushOutcome, Outbox};
use super::guard::FlushGuard;
use super::key::{Call, Key, Wanted};
use super::losses::{Loss, LossCounters, Losses};
use super::member::Member;
use super::number::Number;
use super::options::{ClientLimits, EventOpts, Opts, StartError, StartOptions};
use super::periodic::Periodic;
use super::reporter::ReportError;
use super::series::Event;
use super::shard::Shards;
use super::ticker::Ticker;
use super::timer::Timer;
use crate::clock::Clock;
use crate::telemetry::{Event as Fact, EventKind, Hub};

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
}

/// What the periodic thread shares with the callers.
pub(crate) struct Inner {
    pub(crate) shards: Shards,
    pub(crate) ticker: Ticker,
    pub(crate) clock: Clock,
    pub(crate) outbox: Outbox,
    pub(crate) events: Mutex<Vec<Event>>,
    pub(crate) losses: LossCounters,
    pub(crate) flush_count: AtomicU64,
    pub(crate) hub: Hub,
    pub(crate) guards: AtomicUsize,
    state: AtomicU8,
    hasher: RandomState,
    constant_tags: Vec<String>,
    limits: ClientLimits,
    publishes: bool,
    flushes_on_drop: bool,
}

/// Shorter intervals are not worth a thread that wakes for each of them: calls read the clock.
const PUBLISHED_ROLL_UP_SECONDS_MIN: f64 = 0.05;

const NOT_STARTED: u8 = 0;
const RUNNING: u8 = 1;
const DISABLED: u8 = 2;

impl ThreadStats {
    /// Begins to describe a client.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn assemble(parts: Builder, outbox: Outbox, constant_tags: Vec<String>) -> Self {
        let hasher = RandomState::new();
        let inner = Inner {
            shards: Shards::new(parts.limits, parts.slots, hasher.hash_one("slots")),
            ticker: Ticker::new(),
            publishes: parts.clock.is_none(),
            clock: parts.clock.unwrap_or_else(Clock::wall),
            outbox,
            events: Mutex::default(),
            losses: LossCounters::default(),
            flush_count: AtomicU64::new(0),
            hub: parts.hub,
            guards: AtomicUsize::new(0),
            state: AtomicU8::new(NOT_STARTED),
            hasher,
            constant_tags,
            limits: parts.limits,
            flushes_on_drop: parts.flushes_on_drop,
        };
        let handle = Handle { inner: Arc::new(inner), periodic: Mutex::default() };
        ThreadStats(Arc::new(handle))
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

    /// Measures until the guard is dropped, also by a panic, and records a
    /// [`timing`](ThreadStats::timing) in **seconds**.
    #[must_use]
    pub fn timer<'a>(&'a self, name: &'a str, opts: impl Into<Opts<'a>>) -> Timer<'a> {
        Timer::new(self, name, opts.into())
    }

    /// Calls `work` under a [`timer`](ThreadStats::timer) and hands on its result.
    ///
    /// ```
    /// # use whippet::ThreadStats;
    /// # let stats = ThreadStats::builder().env(|_| None).flush_on_drop(false).build();
    /// assert_eq!(stats.timed("parse", (), || 6 * 7), 42);
    /// ```
    pub fn timed<'a, T>(
        &'a self,
        name: &'a str,
        opts: impl Into<Opts<'a>>,
        work: impl FnOnce() -> T,
    ) -> T {
        let _timer = self.timer(name, opts);
        work()
    }

    /// Queues an event for the next flush, whatever its time. The namespace is not applied.
    pub fn event(&self, title: &str, text: &str, opts: &EventOpts<'_>) {
        self.0.inner.event(title, text, opts);
    }

    /// For programs that end soon: when the outermost guard of a client is dropped, everything is
    /// flushed, the open interval too.
    pub fn flush_guard(&self) -> FlushGuard {
        FlushGuard::new(self)
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
        if self.inner.flushes_on_drop && self.inner.is_running() {
            self.inner.flush_last();
        }
    }
}

impl Inner {
    fn restart(&self, options: &StartOptions) {
        self.state.store(NOT_STARTED, Ordering::Release);
        let events = std::mem::take(&mut *self.lock_events()).len();
        self.ticker.restart(None, self.clock.unix());
        let series = self.shards.restart(options.roll_up_interval);
        self.losses.add(Loss::Discarded, series + events);
        self.flush_count.store(0, Ordering::Relaxed);
        self.outbox.restart(options);
        if options.disabled {
            self.state.store(DISABLED, Ordering::Release);
        } else {
            self.ticker.restart(Some(options.roll_up_interval), self.clock.unix());
            self.state.store(RUNNING, Ordering::Release);
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state.load(Ordering::Acquire) == RUNNING
    }

    pub(crate) fn is_disabled(&self) -> bool {
        self.state.load(Ordering::Acquire) == DISABLED
    }

    pub(crate) fn lock_events(&self) -> std::sync::MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Number {
        Number::Float(self.clock.unix().as_secs_f64())
    }

    #[cold]
    pub(crate) fn lose(&self, reason: Loss) {
        self.losses.add(reason, 1);
    }

    /// Counts a metric that is not recorded, and emits the event. Not to be called under a
    /// lock that a listener could want.
    #[cold]
    pub(crate) fn refuse(&self, name: &str, reason: Loss) {
        self.lose(reason);
        self.hub.emit(EventKind::MetricRejected, || Fact::MetricRejected {
            reason: reason.label(),
            name: name.as_bytes(),
        });
    }

    /// Whether a metric of this name is recorded at all; otherwise the loss is counted.
    pub(crate) fn admits(&self, name: &str) -> bool {
        let reason = match self.state.load(Ordering::Acquire) {
            RUNNING if !name.is_empty() => return true,
            RUNNING => Loss::EmptyName,
            DISABLED => Loss::Disabled,
            _ => Loss::NotStarted,
        };
        self.refuse(name, reason);
        false
    }

    fn record(&self, kind: Kind, name: &str, value: Member<'_>, opts: &Opts<'_>) {
        if !self.admits(name) {
            return;
        }
        let timestamp = opts.timestamp.filter(|timestamp| !timestamp.is_zero());
        let finite =
            value.number().is_none_or(Number::is_finite) && timestamp.is_none_or(Number::is_finite);
        if !finite {
            return self.refuse(name, Loss::NonFinite);
        }
        let call = Call::new(&self.hasher, name, opts.host, opts.tags);
        let timestamp = || timestamp.unwrap_or_else(|| self.now());
        if let Err(loss) = self.shards.record(Wanted::Call(call), timestamp, kind, value) {
            self.refuse(name, loss);
        }
    }

    pub(crate) fn key(&self, name: &str, tags: Option<&[&str]>) -> Arc<Key> {
        Wanted::Call(Call::new(&self.hasher, name, None, tags)).to_key()
    }

    fn event(&self, title: &str, text: &str, opts: &EventOpts<'_>) {
        if !self.is_running() {
            let reason = if self.is_disabled() { Loss::Disabled } else { Loss::NotStarted };
            return self.lose(reason);
        }
        if !opts.date_happened.is_none_or(Number::is_finite) {
            return self.lose(Loss::NonFinite);
        }
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let event = Event {
            title: title.to_owned(),
            text: text.to_owned(),
            alert_type: owned(opts.alert_type),
            aggregation_key: owned(opts.aggregation_key),
            source_type_name: owned(opts.source_type_name),
            date_happened: opts.date_happened,
            priority: owned(opts.priority),
            tags: self.with_constant_tags(opts.tags).map(Cow::into_owned),
            host: owned(opts.host),
        };
        let mut events = self.lock_events();
        if events.len() < self.limits.events_max {
            events.push(event);
        } else {
            drop(events);
            self.lose(Loss::EventsFull);
        }
    }

    /// The call's tags, then the constant ones; none when there are neither.
    pub(crate) fn with_constant_tags<T: AsRef<str>>(
        &self,
        tags: Option<&[T]>,
    ) -> Option<Cow<'_, [String]>> {
        match tags {
            Some(tags) if !tags.is_empty() || self.constant_tags.is_empty() => {
                let tags = tags.iter().map(|tag| tag.as_ref().to_owned());
                Some(tags.chain(self.constant_tags.iter().cloned()).collect())
            }
            _ if self.constant_tags.is_empty() => None,
            _ => Some(Cow::Borrowed(&self.constant_tags)),
        }
    }
}
