//! What the handles of one client share with its background thread: recording.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;

use super::cell::Kind;
use super::key::{Call, Key, Wanted};
use super::losses::{Loss, LossCounters};
use super::member::Member;
use super::number::Number;
use super::options::{ClientLimits, EventOpts, Opts, StartOptions};
use super::outbox::Outbox;
use super::series::Event;
use super::shard::{Shards, Slots};
use super::ticker::Ticker;
use crate::clock::Clock;
use crate::telemetry::{Event as Fact, EventKind, Hub};

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
    pub(crate) publishes: bool,
}

const NOT_STARTED: u8 = 0;
const RUNNING: u8 = 1;
const DISABLED: u8 = 2;

impl Inner {
    /// A client that was not started yet; its own clock if it has none.
    pub(crate) fn new(
        limits: ClientLimits,
        slots: Option<Slots>,
        clock: Option<Clock>,
        hub: Hub,
        outbox: Outbox,
        constant_tags: Vec<String>,
    ) -> Self {
        let hasher = RandomState::new();
        Inner {
            shards: Shards::new(limits, slots, hasher.hash_one("slots")),
            ticker: Ticker::new(),
            publishes: clock.is_none(),
            clock: clock.unwrap_or_else(Clock::wall),
            outbox,
            events: Mutex::default(),
            losses: LossCounters::default(),
            flush_count: AtomicU64::new(0),
            hub,
            guards: AtomicUsize::new(0),
            state: AtomicU8::new(NOT_STARTED),
            hasher,
            constant_tags,
            limits,
        }
    }

    pub(crate) fn restart(&self, options: &StartOptions) {
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

    pub(crate) fn record(&self, kind: Kind, name: &str, value: Member<'_>, opts: &Opts<'_>) {
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

    pub(crate) fn event(&self, title: &str, text: &str, opts: &EventOpts<'_>) {
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
