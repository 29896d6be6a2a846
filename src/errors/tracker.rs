//! Counts errors and reports them.

use std::collections::HashMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::fingerprint::Occurrence;
use super::sample::{backtrace, messages};
use super::settings::Settings;
use super::sink::Sink;
use super::site::Site;
use super::spans::Spans;
use super::table::{Entry, Table};
use crate::clock::Clock;

/// Different errors that one flush reports; the rest is one series more.
const REPORTED_MAX: usize = 100;
/// Samples that wait for a flush.
const SAMPLES_MAX: usize = 100;

/// What was not reported as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Occurrences counted as `fingerprint:other`: past 8,192 known errors, or past the 100 of a flush.
    pub grouped: u64,
    /// Samples without room: more than 100 wait for a flush.
    pub samples_dropped: u64,
    /// Calls of the sink that panicked.
    pub sink_panics: u64,
}

/// Counts the errors that a program has handled. One is enough for a program: see
/// [`start`](super::start); its own is for tests and for parts that report elsewhere.
#[derive(Debug)]
pub struct Tracker {
    settings: Settings,
    clock: Clock,
    started: Duration,
    table: Table,
    spans: Spans,
    /// Occurrences beyond the table: handled, panics.
    others: [AtomicU64; 2],
    samples: Mutex<Vec<Sample>>,
    /// The number of the running sample interval, from 1.
    sample_interval: AtomicU64,
    losses: [AtomicU64; 3],
}

#[derive(Debug)]
struct Sample {
    entry: Arc<Entry>,
    messages: String,
}

/// How the error came here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Handled,
    Panic,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Handled => "handled",
            Kind::Panic => "panic",
        }
    }
}

/// Positions in `losses`.
const GROUPED: usize = 0;
const SAMPLES_DROPPED: usize = 1;
const SINK_PANICS: usize = 2;

impl Tracker {
    /// A tracker without a thread: call [`Tracker::flush`].
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Tracker::with_clock(settings, Clock::wall())
    }

    /// As [`Tracker::new`], with the clock of a test.
    #[must_use]
    pub fn with_clock(settings: Settings, clock: Clock) -> Self {
        Tracker {
            settings,
            started: clock.monotonic(),
            clock,
            table: Table::new(),
            spans: Spans::default(),
            others: Default::default(),
            samples: Mutex::default(),
            sample_interval: AtomicU64::new(1),
            losses: Default::default(),
        }
    }

    /// Counts an error, as of the caller's place.
    #[track_caller]
    #[inline]
    pub fn record<E: Error + 'static>(&self, error: &E) {
        self.count(Occurrence::of(error, Location::caller()), Some(error), Kind::Handled);
    }

    /// Counts an error behind a pointer: `&*boxed`, or what `anyhow::Error` derefs to.
    #[track_caller]
    pub fn record_dyn(&self, error: &(dyn Error + 'static)) {
        self.count(Occurrence::of_dyn(error, Location::caller()), Some(error), Kind::Handled);
    }

    #[inline]
    pub(super) fn count(
        &self,
        occurrence: Occurrence,
        error: Option<&(dyn Error + 'static)>,
        kind: Kind,
    ) {
        // The common case takes no lock alone and clones nothing.
        let more = self.table.with(&occurrence, |entry| {
            (entry.tracked && self.count_known(entry)).then(|| Arc::clone(entry))
        });
        match more {
            Some(None) => {}
            Some(Some(entry)) => self.look_closer(&entry, error),
            None => self.count_new(occurrence, error, kind),
        }
    }

    /// True when there is more to do than to count.
    #[inline]
    fn count_known(&self, entry: &Entry) -> bool {
        entry.count.fetch_add(1, Ordering::Relaxed);
        let unsampled = self.settings.events
            && entry.sampled.load(Ordering::Relaxed)
                != self.sample_interval.load(Ordering::Relaxed);
        unsampled || Spans::wanted()
    }

    #[cold]
    fn count_new(&self, occurrence: Occurrence, error: Option<&(dyn Error + 'static)>, kind: Kind) {
        let Site { module, tracked } = Site::new(occurrence.file, &self.settings);
        let fingerprint = occurrence.fingerprint(&module);
        let tags = [
            format!("error_type:{}", occurrence.shown_type(error)),
            format!("module:{module}"),
            format!("fingerprint:{fingerprint:016x}"),
            format!("kind:{}", kind.word()),
        ];
        match self.table.insert(occurrence, Entry::new(fingerprint, tags, tracked)) {
            Some(entry) if entry.tracked && self.count_known(&entry) => {
                self.look_closer(&entry, error);
            }
            Some(_) => {}
            None if tracked => {
                self.others[kind as usize].fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
    }

    #[cold]
    fn look_closer(&self, entry: &Arc<Entry>, error: Option<&(dyn Error + 'static)>) {
        if self.settings.events {
            let running = self.sample_interval.load(Ordering::Relaxed);
            if entry.sampled.swap(running, Ordering::Relaxed) != running {
                self.sample(entry, error);
            }
        }
        if Spans::wanted() {
            self.spans.attach(entry, error);
        }
    }

    fn sample(&self, entry: &Arc<Entry>, error: Option<&(dyn Error + 'static)>) {
        entry.backtrace.get_or_init(backtrace);
        let messages = error.map(messages).unwrap_or_default();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() < SAMPLES_MAX {
            samples.push(Sample { entry: Arc::clone(entry), messages });
        } else {
            self.lose(SAMPLES_DROPPED, 1);
        }
    }

    fn lose(&self, which: usize, count: u64) {
        self.losses[which].fetch_add(count, Ordering::Relaxed);
    }

    /// What was not reported as it should be, since the start.
    #[must_use]
    pub fn losses(&self) -> Losses {
        let of = |which: usize| self.losses[which].load(Ordering::Relaxed);
        Losses {
            grouped: of(GROUPED),
            samples_dropped: of(SAMPLES_DROPPED),
            sink_panics: of(SINK_PANICS),
        }
    }

    /// Hands everything since the last flush to `sink`: of the 100 errors that occurred most a series each,
    /// of all others one of each kind.
    pub fn flush(&self, sink: &dyn Sink) {
        let interval =
            self.settings.sample_interval.max(self.settings.flush_interval).as_nanos().max(1);
        let running = self.clock.monotonic().saturating_sub(self.started).as_nanos() / interval + 1;
        // Never back to 0, the mark of an error without a sample.
        self.sample_interval.store(u64::try_from(running).unwrap_or(u64::MAX), Ordering::Relaxed);

        let mut others = self.others.each_ref().map(|others| others.swap(0, Ordering::Relaxed));
        for (tags, count) in self.take_reported(&mut others) {
            self.call(|| sink.count(&self.settings.metric, count, &refs(&tags)));
        }
        self.lose(GROUPED, others.iter().sum());
        for (kind, count) in [Kind::Handled, Kind::Panic].into_iter().zip(others) {
            if count > 0 {
                let kind = format!("kind:{}", kind.word());
                self.call(|| {
                    sink.count(&self.settings.metric, count, &["fingerprint:other", &kind])
                });
            }
        }
        let samples =
            std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner));
        for sample in &samples {
            self.report(sample, sink);
        }
    }

    /// Tags and counts, the most frequent first; what is too much is added to `others`.
    fn take_reported(&self, others: &mut [u64; 2]) -> Vec<([String; 4], u64)> {
        let mut counts: HashMap<[String; 4], u64> = HashMap::new();
        self.table
            .take(&mut |entry, count| *counts.entry(entry.tags.clone()).or_default() += count);
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        for (tags, count) in counts.drain(REPORTED_MAX.min(counts.len())..) {
            let kind =
                if tags[3].ends_with(Kind::Panic.word()) { Kind::Panic } else { Kind::Handled };
            others[kind as usize] += count;
        }
        counts
    }

    fn report(&self, sample: &Sample, sink: &dyn Sink) {
        let Sample { entry, messages } = sample;
        let [error_type, _, fingerprint, kind] = &entry.tags;
        let name = error_type.split_once(':').map_or(error_type.as_str(), |(_, name)| name);
        let title = match kind.as_str() {
            "kind:panic" => "Panic".to_owned(),
            _ => format!("Handled error: {name}"),
        };
        let backtrace = entry.backtrace.get().map_or("", String::as_str);
        let text = format!("{messages}\n\n{backtrace}");
        self.call(|| sink.event(&title, text.trim(), fingerprint, &refs(&entry.tags)));
    }

    /// A sink that panics loses this call and no other.
    fn call(&self, call: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(call)).is_err() {
            self.lose(SINK_PANICS, 1);
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }
}

fn refs(tags: &[String; 4]) -> [&str; 4] {
    tags.each_ref().map(String::as_str)
}
