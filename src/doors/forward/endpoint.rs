//! The delivery to one endpoint: its queue behind a lock, and the thread that empties it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};

use super::queue::{Outgoing, QUEUE_BYTES_MAX, Queue, Settled};
use super::target::Target;
use crate::clock::Clock;
use crate::config::Secret;
use crate::doors::{ForwardCounts, ForwardDrop, Route};
use crate::forward::{
    Attempt, HttpClient, HttpSettings, HttpSettingsError, Jitter, LogLimiter, RetryPolicy,
    attempt_of, describe, human,
};

/// The worker looks at ages at least this often.
const RECHECK_INTERVAL: Duration = Duration::from_secs(30);
const KEY: HeaderName = HeaderName::from_static("dd-api-key");

/// How requests are delivered.
#[derive(Clone)]
pub(crate) struct DeliverySettings {
    /// Backoff and recovery.
    pub retry: RetryPolicy,
    /// HTTP, TLS and proxies.
    pub http: HttpSettings,
    /// A number from 0 to 1 for the backoff.
    pub jitter: Jitter,
}

/// One endpoint at work.
pub(super) struct Endpoint {
    pub target: Target,
    client: HttpClient,
    settings: DeliverySettings,
    clock: Clock,
    state: Mutex<State>,
    wake: Condvar,
    stopped: Condvar,
}

struct State {
    queue: Queue,
    /// May be exchanged by a reload.
    key: Secret,
    /// Lost since it was last logged, because the queue was full or they were too old.
    unlogged: [u64; 2],
    stop_at: Option<Instant>,
    in_flight_since: Option<Instant>,
    is_stopped: bool,
}

struct Job {
    request: Arc<Outgoing>,
    key: Secret,
    timeout: Duration,
}

enum Step {
    Send(Job),
    Report([u64; 2]),
    Stop,
}

impl Endpoint {
    pub fn new(
        target: Target,
        settings: DeliverySettings,
        counts: Vec<Arc<ForwardCounts>>,
        clock: Clock,
    ) -> Result<Self, HttpSettingsError> {
        let state = State {
            queue: Queue::new(QUEUE_BYTES_MAX, counts),
            key: target.key.clone(),
            unlogged: [0; 2],
            stop_at: None,
            in_flight_since: None,
            is_stopped: false,
        };
        Ok(Endpoint {
            target,
            client: HttpClient::without_own_headers(settings.http.clone())?,
            settings,
            clock,
            state: Mutex::new(state),
            wake: Condvar::new(),
            stopped: Condvar::new(),
        })
    }

    /// Takes a request and returns at once.
    pub fn push(&self, request: &Arc<Outgoing>) {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        state.unlogged[0] += state.queue.push(request, now);
        if state.is_stopped {
            state.queue.give_up();
        }
        drop(state);
        self.wake.notify_all();
    }

    /// What waits is sent with the new key.
    pub fn set_key(&self, key: Secret) {
        self.lock().key = key;
    }

    /// Works until it is stopped.
    pub fn run(&self) {
        let mut log = LogLimiter::default();
        loop {
            match self.next() {
                Step::Send(job) => self.deliver(&job, &mut log),
                Step::Report(lost) => self.report(lost, &mut log),
                Step::Stop => return,
            }
        }
    }

    fn next(&self) -> Step {
        let mut state = self.lock();
        loop {
            let now = self.clock.monotonic();
            let expired = state.queue.expire(now);
            state.unlogged[1] += expired;
            if state.unlogged != [0; 2] {
                return Step::Report(std::mem::take(&mut state.unlogged));
            }
            let timeout = match state.stop_at {
                None => self.settings.http.timeout,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let share = if state.queue.len() > 1 { left / 2 } else { left };
                    share.min(self.settings.http.timeout)
                }
            };
            let next = if timeout.is_zero() { None } else { state.queue.pick(now) };
            if let Some(item) = next {
                state.in_flight_since = Some(Instant::now());
                return Step::Send(Job { request: item.request, key: state.key.clone(), timeout });
            }
            if state.stop_at.is_some() {
                state.queue.give_up();
                state.is_stopped = true;
                self.stopped.notify_all();
                return Step::Stop;
            }
            let wait = state.queue.next_step(now).unwrap_or(RECHECK_INTERVAL);
            let waited = self.wake.wait_timeout(state, wait.min(RECHECK_INTERVAL));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn deliver(&self, job: &Job, log: &mut LogLimiter) {
        let Job { request, key, timeout } = job;
        let base = &self.target.base;
        let url = format!("{base}{}", request.path);
        let headers = with_key(&request.headers, key);
        let (result, _) = self.client.post_map(base, &url, &headers, &request.body, *timeout);
        let attempt = attempt_of(result, key, self.clock.unix());
        let (now, jitter) = (self.clock.monotonic(), (self.settings.jitter)());
        let mut state = self.lock();
        state.in_flight_since = None;
        let settled = state.queue.settle(&attempt, now, &self.settings.retry, jitter);
        drop(state);
        if let Some(settled) = settled {
            self.log(request.route, &attempt, settled, log);
        }
    }

    fn log(&self, route: Route, attempt: &Attempt, settled: Settled, log: &mut LogLimiter) {
        let next = match settled {
            Settled::Forwarded => return,
            Settled::Again(delay) => format!("next try in {}", human(delay)),
            Settled::Dropped(why) => format!("dropped ({})", why.word()),
        };
        let (reason, detail, answer) = describe(attempt);
        let Some(suppressed) = self.permit(log, reason, detail) else { return };
        let (endpoint, route) = (self.target.name(), route.word());
        let remedy = match attempt {
            Attempt::Failed { kind, .. } => kind.remedy(),
            Attempt::Answered { status: 401 | 403, .. } => {
                "check the API key, and that it belongs to the site"
            }
            Attempt::Answered { status: 300..=399 | 404, .. } => {
                "check apm_config.apm_dd_url and apm_config.telemetry.dd_url"
            }
            Attempt::Answered { status: 400..=499, .. } => "the intake does not take the request",
            Attempt::Answered { .. } => "the intake is failing",
        };
        tracing::warn!(target: "doors", endpoint, route, suppressed, "{answer}: {next}; {remedy}");
    }

    fn report(&self, [full, old]: [u64; 2], log: &mut LogLimiter) {
        let endpoint = self.target.name();
        if full > 0
            && let Some(suppressed) = self.permit(log, ForwardDrop::QueueFull.word(), 0)
        {
            tracing::warn!(
                target: "doors", endpoint, suppressed,
                "dropped the {full} oldest requests: at most {QUEUE_BYTES_MAX} bytes wait for one endpoint",
            );
        }
        if old > 0
            && let Some(suppressed) = self.permit(log, ForwardDrop::TooOld.word(), 0)
        {
            tracing::warn!(
                target: "doors", endpoint, suppressed,
                "dropped {old} requests that waited for more than 10 min",
            );
        }
    }

    /// Whether to log it, and how many like it were suppressed, if any were.
    fn permit(
        &self,
        log: &mut LogLimiter,
        reason: &'static str,
        detail: u16,
    ) -> Option<Option<u64>> {
        let suppressed = log.permit(reason, detail, self.clock.monotonic())?;
        Some((suppressed > 0).then_some(suppressed))
    }

    /// Starts the last round.
    pub fn stop(&self, deadline: Instant) {
        let mut state = self.lock();
        state.stop_at.get_or_insert(deadline);
        state.queue.start_last_round();
        drop(state);
        self.wake.notify_all();
    }

    /// Waits for the end of the last round, at most until `until`; true when it has ended.
    pub fn wait_stopped(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let state = self.lock();
        let waited = self.stopped.wait_timeout_while(state, left, |state| !state.is_stopped);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_stopped
    }

    /// Cuts off a request that was sent before `since` and holds back others.
    pub fn interrupt_older(&self, since: Instant) {
        let state = self.lock();
        let held_up =
            state.queue.len() > 0 && state.in_flight_since.is_some_and(|sent| sent < since);
        drop(state);
        if held_up {
            self.client.interrupt();
        }
    }

    /// Cuts off what is on its way, and counts everything that is left as dropped.
    pub fn abandon(&self) {
        self.client.interrupt();
        self.wait_stopped(Instant::now() + Duration::from_millis(200));
        let mut state = self.lock();
        state.queue.give_up();
        state.is_stopped = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn with_key(headers: &HeaderMap, key: &Secret) -> HeaderMap {
    let mut headers = headers.clone();
    if let Ok(mut value) = HeaderValue::from_str(key.expose()) {
        value.set_sensitive(true);
        headers.insert(KEY, value);
    }
    headers
}
