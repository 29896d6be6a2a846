//! In: [`Payload`]s, each for every endpoint. Out: HTTP requests to the intake, and the accounting of both.
//!
//! Promises: `built = delivered + waiting + dropped(reason)` at every moment, per endpoint and
//! route; memory stays within the bound of the retry queue plus a small channel; one bad endpoint
//! never delays another as long as nothing is lost by going on; a shutdown ends at its deadline.
//! Refuses: to follow redirects, to send what the intake is too late for, to print a key.
//!
//! For the owner of partitions there are tickets ([`Ticket`]): each payload leaves under a [`Lease`] that
//! is looked at directly before the request, its posting is answered once, and what cannot be delivered
//! now makes the owner wait, whose log keeps it.
//!
//! What a retry can duplicate: a request that was cut off may have arrived. Series overwrite
//! themselves at equal timestamps, so nothing doubles; sketches, events and service checks are
//! delivered at least once.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//!
//! use whippet::clock::Clock;
//! use whippet::encode::{ContentEncoding, Payload, Route, split};
//! use whippet::forward::{DropReason, Endpoint, Forwarder, ForwarderConfig};
//!
//! # let unused = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
//! # let url = format!("http://{unused}"); // nothing listens any more
//! let endpoint = Endpoint::at(&url, "an API key")?;
//! let config = ForwarderConfig::new(Arc::new(|payload| Ok(split::halve(payload)?)));
//! let forwarder = Forwarder::start(vec![endpoint], config, Clock::wall())?;
//!
//! # let built_at = Clock::wall().unix().as_secs();
//! let payload = Payload {
//!     route: Route::Events,
//!     body: "{}".into(),
//!     encoding: ContentEncoding::Identity,
//!     items: 1,
//!     points: 1,
//!     uncompressed_bytes: 2,
//!     built_at,
//! };
//! forwarder.submit(&payload, Instant::now() + Duration::from_secs(1));
//!
//! // The intake is not there: one last attempt, then the payload is dropped and counted.
//! let report = forwarder.shutdown(Instant::now() + Duration::from_secs(1));
//! assert!(report.accounting.balances());
//! let dropped = report.accounting.total(|route| route.dropped_for(DropReason::Shutdown));
//! assert_eq!(dropped.payloads, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accounting;
mod build_rate;
mod client;
mod endpoint;
mod endpoint_queue;
mod http;
mod key_status;
mod lease;
mod log_limiter;
mod outage;
mod outcome;
mod owned;
mod proxy;
mod queue_state;
mod record;
mod report;
mod retry;
mod retry_queue;
mod spool;
mod validate;
mod worker;

pub use crate::config::Secret;
pub use crate::spool::RecordError;
pub use accounting::{EndpointCounts, ForwardAccounting, RouteCounts, Tally};
#[cfg(feature = "server")]
pub(crate) use client::attempt_of;
pub use client::{KEY_HEADER, headers};
pub use endpoint::{Endpoint, EndpointError, EndpointSettings, endpoints};
#[cfg(feature = "server")]
pub(crate) use endpoint::{absolute_url, host_and_port};
pub(crate) use http::{Answer, HttpClient, printable};
pub use http::{HttpSettings, HttpSettingsError, USER_AGENT};
pub use key_status::KeyStatus;
pub use lease::{Lease, PostingFate, Ticket};
pub use outcome::{Attempt, DropReason, ErrorKind, Outcome, retry_after};
pub use proxy::ProxySettings;
pub use record::read_record;
pub use report::{EndpointReport, ShutdownReport};
pub use retry::{Breaker, BreakerState, RETRY_AFTER_MAX, RetryPolicy};
pub use spool::SpoolSettings;

use crate::clock::Clock;
use crate::encode::Payload;
use crate::telemetry::Hub;
use client::Client;
use endpoint_queue::{EndpointQueue, Pressure, Progress};
#[cfg(feature = "server")]
pub(crate) use log_limiter::LogLimiter;
#[cfg(not(feature = "server"))]
use log_limiter::LogLimiter;
use spool::Spool;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use thiserror::Error;
use tracing::warn;
use validate::Validator;
use worker::DeliveryWorker;
#[cfg(feature = "server")]
pub(crate) use worker::{describe, human};

/// Takes a payload apart after a 413: two halves, or nothing when it holds a single item.
pub type Halve = Arc<
    dyn Fn(&Payload) -> Result<Option<(Payload, Payload)>, Box<dyn std::error::Error>>
        + Send
        + Sync,
>;

/// A number from 0 to 1 for the backoff.
pub type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

/// How the forwarder delivers.
#[derive(Clone)]
pub struct ForwarderConfig {
    /// Backoff and recovery of each (endpoint, route).
    pub retry: RetryPolicy,
    /// `forwarder_retry_queue_payloads_max_size`: bytes of the retry queue of each endpoint.
    pub queue_bytes_max: usize,
    /// A payload older than this, counted from when it was built, is dropped.
    pub age_max: Duration,
    /// HTTP, TLS and proxies.
    pub http: HttpSettings,
    /// `allow_arbitrary_tags`: sends `Allow-Arbitrary-Tag-Value: true`.
    pub allow_arbitrary_tags: bool,
    /// `forwarder_apikey_validation_interval`; none never checks.
    pub validation_interval: Option<Duration>,
    /// The disk spool; none keeps everything in memory.
    pub spool: Option<SpoolSettings>,
    /// For the owner of partitions, whose log keeps what is not delivered: a full queue makes
    /// [`Forwarder::submit_ticketed`] wait rather than drop the oldest, the oldest goes first, and a
    /// refused key is tried again and again. Everything must come with a ticket.
    pub waits_for_room: bool,
    /// Splits after a 413.
    pub halve: Halve,
    /// Randomness of the backoff, for tests to control.
    pub jitter: Jitter,
    /// Receives an event for every payload sent, retried and dropped.
    pub hub: Hub,
}

impl ForwarderConfig {
    /// The Agent's defaults, with the function that splits payloads.
    #[must_use]
    pub fn new(halve: Halve) -> Self {
        ForwarderConfig {
            retry: RetryPolicy::default(),
            queue_bytes_max: 15 << 20,
            age_max: Duration::from_secs(3600),
            http: HttpSettings::default(),
            allow_arbitrary_tags: false,
            validation_interval: Some(Duration::from_secs(3600)),
            spool: None,
            waits_for_room: false,
            halve,
            jitter: Arc::new(random_jitter),
            hub: Hub::default(),
        }
    }
}

impl fmt::Debug for ForwarderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwarderConfig")
            .field("retry", &self.retry)
            .field("queue_bytes_max", &self.queue_bytes_max)
            .field("age_max", &self.age_max)
            .field("validation_interval", &self.validation_interval)
            .finish_non_exhaustive()
    }
}

/// The standard library's per-process random keys, drawn anew each time: random enough to spread
/// retries.
pub(crate) fn random_jitter() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

/// Why delivery could not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting that no connection could be made with.
    #[error(transparent)]
    Http(#[from] HttpSettingsError),
    /// The system gives no more threads.
    #[error("cannot start a delivery thread: {0}")]
    Thread(#[from] io::Error),
}

/// Delivers to every endpoint, each with a thread, a queue and breakers of its own.
pub struct Forwarder {
    endpoints: Vec<(Arc<EndpointQueue>, Arc<Client>)>,
    progress: Arc<Progress>,
    validator: Arc<Validator>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Forwarder {
    /// Starts one thread per endpoint and one that checks the keys.
    ///
    /// # Errors
    /// When a proxy or certificate setting is unusable, or a thread cannot be started.
    pub fn start(
        endpoints: Vec<Endpoint>,
        config: ForwarderConfig,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let progress = Arc::new(Progress::default());
        let interval = config.validation_interval.unwrap_or(Duration::MAX);
        let mut started = Forwarder {
            endpoints: Vec::new(),
            progress,
            validator: Arc::new(Validator::new(interval)),
            workers: Mutex::default(),
        };
        for endpoint in endpoints {
            if let Err(error) = started.add(endpoint, &config, &clock) {
                started.shutdown(Instant::now());
                return Err(error);
            }
        }
        if config.validation_interval.is_some() {
            let (validator, endpoints) =
                (Arc::clone(&started.validator), started.endpoints.clone());
            // Not joined: a check in flight may outlast the deadline of a shutdown, and owns nothing.
            thread::Builder::new()
                .name("forward-keys".to_owned())
                .spawn(move || validator.run(&endpoints))?;
        }
        Ok(started)
    }

    fn add(
        &mut self,
        endpoint: Endpoint,
        config: &Arc<ForwarderConfig>,
        clock: &Clock,
    ) -> Result<(), StartError> {
        let (name, key) = (endpoint.name.clone(), endpoint.api_key.clone());
        let client = Arc::new(Client::new(endpoint, &config.http, config.allow_arbitrary_tags)?);
        let progress = Arc::clone(&self.progress);
        let spool = self.open_spool(config, &name);
        let queue =
            EndpointQueue::new(&name, key, Arc::clone(config), clock.clone(), progress, spool);
        let queue = Arc::new(queue);
        let worker = DeliveryWorker {
            queue: Arc::clone(&queue),
            client: Arc::clone(&client),
            config: Arc::clone(config),
            clock: clock.clone(),
            limiter: LogLimiter::default(),
        };
        let number = self.endpoints.len();
        let thread = thread::Builder::new().name(format!("forward-{number}"));
        let handle = thread.spawn(move || worker.run())?;
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        self.endpoints.push((queue, client));
        Ok(())
    }

    /// The endpoint's spool directory: its name and which of its keys it is. The key itself is not
    /// in it, so that records outlive a rotation; swapping two keys of one endpoint while records
    /// wait would swap these.
    fn open_spool(&self, config: &ForwarderConfig, name: &str) -> Option<Spool> {
        let settings = config.spool.as_ref().filter(|settings| settings.bytes_max > 0)?;
        let same = |(_, client): &&(_, Arc<Client>)| client.endpoint().name == name;
        let which = self.endpoints.iter().filter(same).count();
        let opened = Spool::open(settings, &format!("{name}-{which}"));
        let warn = |problem: io::Error| {
            warn!(
                target: "forward",
                "disk spool off for {name}: {}: {problem}; check forwarder_storage_path",
                settings.path.display(),
            );
        };
        opened.map_err(warn).ok()
    }

    /// Hands one payload to every endpoint. Waits, at most until `wait_until`, for the channel of
    /// an endpoint that makes progress; a failing or stalled one takes it into its retry queue at
    /// once, and so does a slower one that has room there while another endpoint has run dry.
    pub fn submit(&self, payload: &Payload, wait_until: Instant) {
        let mut seen = self.progress.steps();
        let mut full: Vec<&EndpointQueue> =
            self.endpoints.iter().map(|(queue, _)| &**queue).collect();
        full.retain(|queue| !queue.offer(payload, Pressure::Patient));
        while !full.is_empty() {
            let left = wait_until.saturating_duration_since(Instant::now());
            let pressure = if left.is_zero() {
                Pressure::Now
            } else if self.another_is_idle(payload, &full) {
                Pressure::IfRoom
            } else {
                Pressure::Patient
            };
            full.retain(|queue| !queue.offer(payload, pressure));
            if !full.is_empty() {
                // A stalled endpoint makes no progress, so check again now and then.
                self.progress.wait(seen, left.min(Duration::from_millis(250)));
                seen = self.progress.steps();
            }
        }
    }

    /// Hands one payload of an owner to every endpoint ([`ForwarderConfig::waits_for_room`]). Waits as
    /// long as it takes for one whose queue is full, unless another endpoint has run dry and `patience`
    /// is over: then the oldest payloads of the full one are dropped, as without an owner. Gives up
    /// when the lease is withdrawn.
    pub fn submit_ticketed(&self, payload: &Payload, ticket: &Ticket, patience: Duration) {
        let began = Instant::now();
        let mut seen = self.progress.steps();
        let mut full: Vec<&EndpointQueue> =
            self.endpoints.iter().map(|(queue, _)| &**queue).collect();
        full.retain(|queue| !queue.offer_ticketed(payload, ticket, false));
        while !full.is_empty() {
            if ticket.lease().is_withdrawn() {
                return ticket.lost(DropReason::Withdrawn);
            }
            self.progress.wait(seen, Duration::from_millis(250));
            seen = self.progress.steps();
            let must_take = began.elapsed() >= patience && self.another_is_idle(payload, &full);
            full.retain(|queue| !queue.offer_ticketed(payload, ticket, must_take));
        }
    }

    /// Drops what waits under leases that were withdrawn; a request on the way is not repeated.
    pub fn drop_withdrawn(&self) {
        self.endpoints.iter().for_each(|(queue, _)| queue.drop_withdrawn());
    }

    /// True when an endpoint other than the full ones waits for work.
    fn another_is_idle(&self, payload: &Payload, full: &[&EndpointQueue]) -> bool {
        self.endpoints.iter().any(|(queue, _)| {
            !full.iter().any(|other| std::ptr::eq(*other, &**queue))
                && queue.is_idle_on(payload.route)
        })
    }

    /// Exchanges the key of the endpoint with that index; payloads that wait are sent with the new
    /// one. False when there is no such endpoint or it is the same key.
    pub fn set_api_key(&self, endpoint: usize, key: &str) -> bool {
        let changed =
            self.endpoints.get(endpoint).is_some_and(|(queue, _)| queue.set_key(Secret::new(key)));
        if changed {
            self.validator.check_soon();
        }
        changed
    }

    /// Checks all keys with the intake soon, rather than at the end of the interval.
    pub fn check_keys(&self) {
        self.validator.check_soon();
    }

    /// Makes every worker read the clock again: needed only after a manual clock was moved.
    pub fn recheck_clock(&self) {
        self.endpoints.iter().for_each(|(queue, _)| queue.recheck_clock());
    }

    /// A copy of all counters.
    #[must_use]
    pub fn accounting(&self) -> ForwardAccounting {
        ForwardAccounting {
            endpoints: self.endpoints.iter().map(|(queue, _)| queue.counts()).collect(),
        }
    }

    /// Stops delivery: everything that waits gets one more attempt, newest first, breaker and
    /// backoff ignored; at the deadline what is left is dropped, and a request cut off then counts
    /// as in doubt. Returns at most a quarter of a second after the deadline. A second call only
    /// reports.
    pub fn shutdown(&self, deadline: Instant) -> ShutdownReport {
        let before = self.accounting();
        self.validator.stop();
        let started = Instant::now();
        self.endpoints.iter().for_each(|(queue, _)| queue.stop(deadline));
        let halfway = started + deadline.saturating_duration_since(started) / 2;
        self.wait_stopped(halfway);
        for (queue, client) in &self.endpoints {
            if queue.is_held_up(started) {
                client.interrupt();
            }
        }
        if !self.wait_stopped(deadline) {
            let late = |(queue, _): &&(Arc<EndpointQueue>, _)| !queue.is_stopped();
            self.endpoints.iter().filter(late).for_each(|(_, client)| client.interrupt());
            self.wait_stopped(Instant::now() + Duration::from_millis(200));
            self.endpoints.iter().for_each(|(queue, _)| queue.abandon());
        }
        let workers =
            std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        for worker in workers.into_iter().filter(JoinHandle::is_finished) {
            // A panicked worker has nothing to report: `abandon` has counted what it held.
            let _ = worker.join();
        }
        ShutdownReport::between(&before, self.accounting())
    }

    /// True when all workers are done before `until`.
    fn wait_stopped(&self, until: Instant) -> bool {
        loop {
            let seen = self.progress.steps();
            if self.endpoints.iter().all(|(queue, _)| queue.is_stopped()) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.progress.wait(seen, left);
        }
    }
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder")
            .field("endpoints", &self.endpoints.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Forwarder {
    /// A forwarder that is dropped without a shutdown gives up at once, so no thread is left over.
    fn drop(&mut self) {
        self.shutdown(Instant::now());
    }
}
