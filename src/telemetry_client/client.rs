//! The client: takes what a program says of itself, and at each flush sends what is new.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::body::{Application, Body, Host};
use super::cells::Now;
use super::configuration::Configuration;
use super::handles::{Count, Distribution, Gauge, Rate};
use super::interval::AdaptiveInterval;
use super::inventory::{Dependencies, Integrations, Products};
use super::logs::{LogRecord, Logs};
use super::mapper::{Mapper, Steady};
use super::metrics::{self, Store};
use super::payload::{
    Dependency, InstallSignature, Integration, Payload, ProductError, ProductState, Setting,
};
use super::periodic::{Periodic, Work};
use super::range::Range;
use super::ring_queue::RingQueue;
use super::writer::{SendOutcome, SendResult, Writer};
use crate::clock::Clock;

/// Payloads that wait for an endpoint that takes them; then the oldest goes.
const QUEUE: Range<usize> = Range::new(4, 32);
/// A body beyond this is a reason to flush more often: the intake refuses 5 MiB.
const LARGE_BYTES: usize = 2 << 20;
/// The namespace of the client's own metrics.
const OWN_NAMESPACE: &str = "telemetry";

/// The life of a client, in one word.
mod phase {
    /// Built: what it is told waits.
    pub(super) const NEW: u8 = 0;
    /// Flushes send.
    pub(super) const RUNNING: u8 = 1;
    /// The last flush is being made.
    pub(super) const CLOSING: u8 = 2;
    /// Nothing is taken any more.
    pub(super) const OFF: u8 = 3;
}

/// What a [`Builder`](super::Builder) decided.
pub(super) struct Parts {
    pub application: Application,
    pub host: Host,
    pub runtime_id: String,
    pub install_signature: Option<InstallSignature>,
    pub writer: Box<dyn Writer>,
    pub clock: Clock,
    pub settings: Timing,
    pub enabled: bool,
    pub debug: bool,
    pub metrics: bool,
    pub logs: bool,
    pub dependencies: bool,
}

/// When things happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub flush: Range<Duration>,
    pub heartbeat: Duration,
    pub extended_heartbeat: Duration,
    /// Time from point to point of a metric; none: one point per flush.
    pub points: Option<Duration>,
}

/// Reports on a program. Clones are the same client. No call waits for a flush or for the network,
/// except [`Client::flush`] and [`Client::stop`] themselves.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    parts: Parts,
    phase: AtomicU8,
    configuration: Mutex<Configuration>,
    products: Mutex<Products>,
    integrations: Mutex<Integrations>,
    dependencies: Mutex<Dependencies>,
    logs: Mutex<Logs>,
    /// The client's own first; others are those of a [`Global`](super::Global).
    stores: Mutex<Vec<Arc<Store>>>,
    collectors: Mutex<Vec<Collector>>,
    flushing: Mutex<Flushing>,
    losses: Losses,
    thread: Mutex<Option<Periodic>>,
}

type Collector = Arc<dyn Fn() + Send + Sync>;

/// What only flushes touch, one at a time.
struct Flushing {
    mapper: Option<Mapper>,
    queue: RingQueue<Payload>,
    seq_id: u64,
    interval: AdaptiveInterval,
    /// An outage is logged once.
    failing: bool,
}

#[derive(Default)]
struct Losses {
    entries: AtomicU64,
    logs: AtomicU64,
    payloads: AtomicU64,
}

/// What could not be taken or sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientLosses {
    /// Settings, products and integrations without room.
    pub entries: u64,
    /// Log lines without room of their own (256 distinct ones between two flushes).
    pub logs: u64,
    /// Payloads that were too large for every endpoint, or the oldest of more than 32 that waited, or
    /// that could not be sent at the end.
    pub payloads: u64,
    /// Values that were not finite.
    pub not_finite: u64,
    /// Values of distributions that gave way to newer ones.
    pub values: u64,
    /// Handles that gather nothing.
    pub handles: u64,
}

/// What a flush did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushReport {
    /// Requests that were taken.
    pub delivered: usize,
    /// Payloads that no endpoint will ever take.
    pub dropped: usize,
    /// Payloads that wait for the next flush.
    pub waiting: usize,
    /// Why they wait.
    pub failure: Option<String>,
}

impl Client {
    pub(super) fn new(parts: Parts) -> Self {
        let phase = if parts.enabled { phase::NEW } else { phase::OFF };
        let flushing = Flushing {
            mapper: None,
            queue: RingQueue::new(QUEUE),
            seq_id: 0,
            interval: AdaptiveInterval::new(parts.settings.flush),
            failing: false,
        };
        Client(Arc::new(Inner {
            parts,
            phase: AtomicU8::new(phase),
            configuration: Mutex::default(),
            products: Mutex::default(),
            integrations: Mutex::default(),
            dependencies: Mutex::default(),
            logs: Mutex::default(),
            stores: Mutex::new(vec![Arc::default()]),
            collectors: Mutex::default(),
            flushing: Mutex::new(flushing),
            losses: Losses::default(),
            thread: Mutex::default(),
        }))
    }

    /// Reports settings: those that are new, and those whose value changed. Names that say they hold a
    /// secret are left out.
    pub fn configuration(&self, settings: impl IntoIterator<Item = Setting>) {
        let mut configuration = lock(&self.0.configuration);
        let refused = settings.into_iter().filter(|one| !configuration.add(one.clone())).count();
        self.lose(&self.0.losses.entries, refused);
    }

    /// Reports a library that the program works with.
    pub fn integration(&self, integration: Integration) {
        let kept = lock(&self.0.integrations).add(integration);
        self.lose(&self.0.losses.entries, usize::from(!kept));
    }

    /// Reports that a part of the program works.
    pub fn product_started(&self, name: &str) {
        self.product(name, true, None);
    }

    /// Reports that a part of the program does not work, as it should be.
    pub fn product_stopped(&self, name: &str) {
        self.product(name, false, None);
    }

    /// Reports that a part of the program does not work, and why. A `code` of 0 says nothing.
    pub fn product_failed(&self, name: &str, code: i64, message: &str) {
        self.product(name, false, Some(ProductError { code, message: message.to_owned() }));
    }

    fn product(&self, name: &str, enabled: bool, error: Option<ProductError>) {
        let version = self.0.parts.application.tracer_version.clone();
        let kept = lock(&self.0.products).set(name, ProductState { enabled, version, error });
        self.lose(&self.0.losses.entries, usize::from(!kept));
    }

    /// Reports the libraries the program is made of. `load` is called once, by the next flush.
    pub fn dependencies(&self, load: impl FnOnce() -> Vec<Dependency> + Send + 'static) {
        if self.0.parts.dependencies {
            lock(&self.0.dependencies).load_with(Box::new(load));
        }
    }

    /// Reports a log line.
    pub fn log(&self, record: &LogRecord) {
        if self.0.parts.logs {
            let second = self.0.parts.clock.unix().as_secs();
            let kept = lock(&self.0.logs).add(record, second);
            self.lose(&self.0.losses.logs, usize::from(!kept));
        }
    }

    /// The count of this name and these tags; hold it where it is called often.
    #[must_use]
    pub fn count(&self, namespace: &str, name: &str, tags: &[&str]) -> Count {
        self.store().count(namespace, name, tags)
    }

    /// The rate of this name and these tags.
    #[must_use]
    pub fn rate(&self, namespace: &str, name: &str, tags: &[&str]) -> Rate {
        self.store().rate(namespace, name, tags)
    }

    /// The gauge of this name and these tags.
    #[must_use]
    pub fn gauge(&self, namespace: &str, name: &str, tags: &[&str]) -> Gauge {
        self.store().gauge(namespace, name, tags)
    }

    /// The distribution of this name and these tags.
    #[must_use]
    pub fn distribution(&self, namespace: &str, name: &str, tags: &[&str]) -> Distribution {
        self.store().distribution(namespace, name, tags)
    }

    /// Calls `collect` before each point of the metrics is made, to set gauges and to add to counts
    /// what is counted elsewhere. It must not hold this client, or neither is ever freed.
    pub fn on_collect(&self, collect: impl Fn() + Send + Sync + 'static) {
        lock(&self.0.collectors).push(Arc::new(collect));
    }

    /// Begins to report, from a thread of its own: at once, then every 60 s (15 s while there is much to
    /// send). A second call does nothing.
    ///
    /// # Errors
    /// When the system gives no thread; the client is not started then.
    pub fn start(&self) -> std::io::Result<()> {
        if !self.start_manually() {
            return Ok(());
        }
        let points = self.0.parts.settings.points;
        let started = Periodic::spawn(self.clone(), points);
        match started {
            Ok(thread) => *lock(&self.0.thread) = Some(thread),
            Err(error) => {
                self.0.phase.store(phase::NEW, Ordering::Release);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Begins to report without a thread: the caller calls [`Client::flush`]. True if the client was not
    /// started, stopped or disabled before.
    pub fn start_manually(&self) -> bool {
        let inner = &*self.0;
        let mut flushing = lock(&inner.flushing);
        let (from, to) = (phase::NEW, phase::RUNNING);
        if inner.phase.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return false;
        }
        let (now, timing) = (self.now(), inner.parts.settings);
        let steady = Steady::new(timing.heartbeat, timing.extended_heartbeat, now.monotonic);
        let next = Box::new(Mapper::Steady(steady));
        flushing.mapper = Some(Mapper::Started(inner.parts.install_signature.clone(), next));
        self.stores().iter().for_each(|store| store.begin(now));
        true
    }

    /// True between the start and the end.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.phase.load(Ordering::Acquire) == phase::RUNNING
    }

    /// Makes the next point of every metric. The thread of [`Client::start`] does it at its pace, and
    /// every flush does it first.
    pub fn collect(&self) {
        let collectors = lock(&self.0.collectors).clone();
        collectors.iter().for_each(|collect| collect());
        let now = self.now();
        self.stores().iter().for_each(|store| store.close_points(now));
    }

    /// Sends what is new, and what waited. Nothing before the start and after the end. Waits for the
    /// network: at most 5 s for each endpoint of each request.
    pub fn flush(&self) -> FlushReport {
        let mut flushing = lock(&self.0.flushing);
        if !self.is_running() {
            return FlushReport::default();
        }
        self.contained(&mut flushing)
    }

    /// Sends everything that is left and an `app-closing`, as [`Client::flush`] does, and ends the
    /// thread. What cannot be sent now is lost and counted.
    pub fn stop(&self) -> FlushReport {
        let (from, to) = (phase::RUNNING, phase::CLOSING);
        let exchanged =
            self.0.phase.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        if exchanged.is_err() {
            return FlushReport::default();
        }
        // A flush at work, perhaps the first one, comes to its end before this lock is had.
        let mut flushing = lock(&self.0.flushing);
        flushing.mapper = flushing.mapper.take().map(|next| Mapper::Closing(Box::new(next)));
        let report = self.contained(&mut flushing);
        self.lose(&self.0.losses.payloads, flushing.queue.flush().len());
        drop(flushing);
        self.0.phase.store(phase::OFF, Ordering::Release);
        let thread = lock(&self.0.thread).take();
        if let Some(thread) = thread {
            thread.stop_and_wait();
        }
        report
    }

    /// The time until the next flush of the thread.
    #[must_use]
    pub fn flush_interval(&self) -> Duration {
        lock(&self.0.flushing).interval.current()
    }

    /// What could not be taken or sent so far.
    #[must_use]
    pub fn losses(&self) -> ClientLosses {
        let inner = &*self.0;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut losses = ClientLosses {
            entries: load(&inner.losses.entries),
            logs: load(&inner.losses.logs),
            payloads: load(&inner.losses.payloads),
            ..ClientLosses::default()
        };
        for store in self.stores() {
            losses.not_finite += load(&store.losses.not_finite);
            losses.values += load(&store.losses.values);
            losses.handles += load(&store.losses.handles);
        }
        losses
    }

    /// Begins to collect the metrics of `store` too.
    pub(super) fn adopt(&self, store: &Arc<Store>) {
        let mut stores = lock(&self.0.stores);
        if !stores.iter().any(|known| Arc::ptr_eq(known, store)) {
            store.begin(self.now());
            stores.push(Arc::clone(store));
        }
    }

    /// Leaves the metrics of `store` to another client.
    pub(super) fn release(&self, store: &Arc<Store>) {
        lock(&self.0.stores).retain(|known| !Arc::ptr_eq(known, store));
    }

    fn store(&self) -> Arc<Store> {
        // The client's own is never released.
        lock(&self.0.stores).first().cloned().unwrap_or_default()
    }

    fn stores(&self) -> Vec<Arc<Store>> {
        lock(&self.0.stores).clone()
    }

    fn now(&self) -> Now {
        let clock = &self.0.parts.clock;
        Now { second: clock.unix().as_secs(), monotonic: clock.monotonic() }
    }

    fn lose(&self, losses: &AtomicU64, count: usize) {
        losses.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// A panic of a collector, a loader or a writer ends telemetry, not the program.
    fn contained(&self, flushing: &mut Flushing) -> FlushReport {
        let result = catch_unwind(AssertUnwindSafe(|| self.flush_locked(flushing)));
        result.unwrap_or_else(|_| {
            self.switch_off();
            FlushReport { failure: Some("it panicked".to_owned()), ..FlushReport::default() }
        })
    }

    fn switch_off(&self) {
        self.0.phase.store(phase::OFF, Ordering::Release);
        tracing::error!(target: "telemetry_client", "a flush panicked: telemetry is off from here on");
    }

    fn flush_locked(&self, flushing: &mut Flushing) -> FlushReport {
        let told = self.payloads();
        let Some(mapper) = flushing.mapper.take() else { return FlushReport::default() };
        let settings = || lock(&self.0.configuration).all();
        let (payloads, next) = mapper.map(told, self.now().monotonic, &settings);
        flushing.mapper = Some(next);
        for payload in payloads {
            let kept = flushing.queue.enqueue(payload);
            self.lose(&self.0.losses.payloads, usize::from(!kept));
        }
        self.send_all(flushing)
    }

    /// What every source has to tell.
    fn payloads(&self) -> Vec<Payload> {
        self.collect();
        let inner = &*self.0;
        let stores = self.stores();
        let (numbers, values) = (metrics::numbers(&stores), metrics::distributions(&stores));
        let collected = inner.parts.metrics;
        // Loading may take its time, and others must not wait for it.
        let mut dependencies = std::mem::take(&mut *lock(&inner.dependencies));
        let loaded = dependencies.payload();
        lock(&inner.dependencies).give_back(dependencies);
        let told = [
            lock(&inner.integrations).payload(),
            lock(&inner.products).payload(),
            lock(&inner.configuration).payload(),
            loaded,
            lock(&inner.logs).payload(),
            numbers.filter(|_| collected),
            values.filter(|_| collected),
        ];
        told.into_iter().flatten().collect()
    }

    /// Sends everything that waits, in order, until an endpoint is missing.
    fn send_all(&self, flushing: &mut Flushing) -> FlushReport {
        let mut report = FlushReport::default();
        let mut large = false;
        let mut waiting = flushing.queue.flush().into_iter();
        while let Some(payload) = waiting.next() {
            flushing.seq_id += 1;
            let result = self.send(&payload, flushing.seq_id);
            if result.is_delivered() {
                report.delivered += 1;
                large |= result.attempts.iter().any(|attempt| attempt.bytes > LARGE_BYTES);
            } else if result.is_too_large() {
                report.dropped += 1;
                self.lose(&self.0.losses.payloads, 1);
                let kind = payload.request_type();
                tracing::warn!(target: "telemetry_client", "{kind} is too large and was dropped: {result}");
            } else {
                report.failure = Some(result.to_string());
                // The queue is empty: what failed comes first again at the next flush.
                flushing.queue.enqueue(payload);
                flushing.queue.enqueue_all(waiting);
                break;
            }
        }
        report.waiting = flushing.queue.len();
        if large {
            flushing.interval.increase_speed();
        } else if report.waiting == 0 {
            flushing.interval.decrease_speed();
        }
        match &report.failure {
            Some(failure) if !flushing.failing => {
                tracing::warn!(target: "telemetry_client", "telemetry cannot be sent and waits: {failure}");
            }
            None if flushing.failing => {
                tracing::info!(target: "telemetry_client", "telemetry is sent again");
            }
            _ => {}
        }
        flushing.failing = report.failure.is_some();
        report
    }

    fn send(&self, payload: &Payload, seq_id: u64) -> SendResult {
        let parts = &self.0.parts;
        let result = parts.writer.send(&Body {
            api_version: "v2",
            request_type: payload.request_type(),
            tracer_time: parts.clock.unix().as_secs(),
            runtime_id: &parts.runtime_id,
            seq_id,
            debug: parts.debug,
            application: &parts.application,
            host: &parts.host,
            payload,
        });
        self.count_attempts(&result);
        result
    }

    /// The client's own metrics, sent with the next flush.
    fn count_attempts(&self, result: &SendResult) {
        let store = self.store();
        for attempt in &result.attempts {
            let endpoint = format!("endpoint:{}", attempt.endpoint);
            let add = |name: &str, more: Option<String>| {
                let tags: Vec<&str> = [Some(&endpoint), more.as_ref()]
                    .into_iter()
                    .flatten()
                    .map(String::as_str)
                    .collect();
                store.count(OWN_NAMESPACE, name, &tags).submit(1.0);
            };
            add("telemetry_api.requests", None);
            if let SendOutcome::Answered(status, _) = attempt.outcome {
                add("telemetry_api.responses", Some(format!("status_code:{status}")));
            }
            if let Some(kind) = attempt.outcome.error_type() {
                add("telemetry_api.errors", Some(format!("type:{kind}")));
            }
            let record = |name: &str, value: f64| {
                store.distribution(OWN_NAMESPACE, name, &[&endpoint]).submit(value);
            };
            record("telemetry_api.bytes", attempt.bytes as f64);
            record("telemetry_api.ms", attempt.took.as_secs_f64() * 1_000.0);
        }
    }
}

impl Work for Client {
    fn flush(&self) -> Option<Duration> {
        Client::flush(self);
        self.is_running().then(|| self.flush_interval())
    }

    fn collect(&self) {
        if catch_unwind(AssertUnwindSafe(|| Client::collect(self))).is_err() {
            self.switch_off();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("service", &self.0.parts.application.service_name)
            .field("running", &self.is_running())
            .field("losses", &self.losses())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
