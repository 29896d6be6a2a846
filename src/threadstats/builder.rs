//! Describes a client.

use std::fmt;
use std::sync::Mutex;

use super::client::ThreadStats;
use super::http::{API_HOST, HttpOptions, HttpReporter, http_settings};
use super::inner::Inner;
use super::options::ClientLimits;
use super::outbox::Outbox;
use super::reporter::Reporter;
use super::shard::Slots;
use crate::clock::Clock;
use crate::forward::Secret;
use crate::telemetry::Hub;

type Environment = Box<dyn Fn(&str) -> Option<String>>;

/// Made by [`ThreadStats::builder`]. Nothing is required, except an API key for posting over HTTP,
/// which the environment may hold.
#[must_use]
pub struct Builder {
    namespace: String,
    constant_tags: Vec<String>,
    environment: Environment,
    reporter: Option<Box<dyn Reporter>>,
    http: Http,
    pub(super) limits: ClientLimits,
    pub(super) clock: Option<Clock>,
    pub(super) slots: Option<Slots>,
    pub(super) hub: Hub,
    pub(super) flushes_on_drop: bool,
}

#[derive(Default)]
struct Http {
    api_key: Option<String>,
    app_key: Option<String>,
    api_host: Option<String>,
    hostname: Option<String>,
    compress: bool,
    unmuted: bool,
}

impl ThreadStats {
    /// Begins to describe a client.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder {
            namespace: String::new(),
            constant_tags: Vec::new(),
            environment: Box::new(|name| std::env::var(name).ok()),
            reporter: None,
            http: Http::default(),
            limits: ClientLimits::default(),
            clock: None,
            slots: None,
            hub: Hub::default(),
            flushes_on_drop: true,
        }
    }

    /// Put before every metric name with a dot between; empty means none.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Follow the tags of every call. `DATADOG_TAGS`, `DD_ENV`, `DD_SERVICE` and `DD_VERSION` follow
    /// these.
    pub fn constant_tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.constant_tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// Compress bodies of metrics and distributions. Default false. Only for the HTTP reporter.
    pub fn compress(mut self, compress: bool) -> Self {
        self.http.compress = compress;
        self
    }

    /// The API key; else `DATADOG_API_KEY`, else `DD_API_KEY`.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.http.api_key = Some(key.into());
        self
    }

    /// The application key; else `DATADOG_APP_KEY`, else `DD_APP_KEY`, else none is sent.
    pub fn app_key(mut self, key: impl Into<String>) -> Self {
        self.http.app_key = Some(key.into());
        self
    }

    /// The base URL of the API; else `DATADOG_HOST`, else `https://api.datadoghq.com`.
    pub fn api_host(mut self, url: impl Into<String>) -> Self {
        self.http.api_host = Some(url.into());
        self
    }

    /// The name posted where a call gave an **empty** host, and for events that gave none. A metric
    /// that gave none is posted without a host.
    pub fn hostname(mut self, name: impl Into<String>) -> Self {
        self.http.hostname = Some(name.into());
        self
    }

    /// Whether errors in the API's answer are only logged and counted (the default) or fail the
    /// flush.
    pub fn mute(mut self, mute: bool) -> Self {
        self.http.unmuted = !mute;
        self
    }

    /// Reads the environment through `variable`, once, in [`Builder::build`].
    pub fn env(mut self, variable: impl Fn(&str) -> Option<String> + 'static) -> Self {
        self.environment = Box::new(variable);
        self
    }

    /// The source of time. With one given here, bound counters read it at every call.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The source of randomness: given `n`, a number below `n`. Asked only by histograms with more
    /// than 1000 samples in an interval. Must not call the client.
    pub fn random(mut self, below: impl FnMut(usize) -> usize + Send + 'static) -> Self {
        self.slots = Some(Mutex::new(Box::new(below)));
        self
    }

    /// Where flushes go instead of the HTTP API.
    pub fn reporter(mut self, reporter: impl Reporter + 'static) -> Self {
        self.reporter = Some(Box::new(reporter));
        self
    }

    /// What the client may hold between flushes.
    pub fn limits(mut self, limits: ClientLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Receives the events of the client: its flushes and losses.
    pub fn hub(mut self, hub: Hub) -> Self {
        self.hub = hub;
        self
    }

    /// Whether the last clone flushes everything when it is dropped. Default true.
    ///
    /// Differs: datadogpy registers this at process exit; here it happens where the client ends, and
    /// a client in a `static` needs a [`FlushGuard`](super::FlushGuard).
    pub fn flush_on_drop(mut self, flush: bool) -> Self {
        self.flushes_on_drop = flush;
        self
    }

    /// Reads the environment and makes the client. It records nothing before
    /// [`ThreadStats::start`].
    #[must_use]
    pub fn build(mut self) -> ThreadStats {
        let tags = constant_tags(std::mem::take(&mut self.constant_tags), &self.environment);
        let reporter = match self.reporter.take() {
            Some(reporter) => reporter,
            None => Box::new(HttpReporter::new(self.http_options())),
        };
        let outbox = Outbox::new(reporter, std::mem::take(&mut self.namespace));
        let Builder { limits, slots, clock, hub, flushes_on_drop, .. } = self;
        let inner = Inner::new(limits, slots, clock, hub, outbox, tags);
        ThreadStats::new(inner, flushes_on_drop)
    }

    fn http_options(&mut self) -> HttpOptions {
        let http = std::mem::take(&mut self.http);
        let either = |first: &str, second: &str| {
            let set = |name: &str| (self.environment)(name).filter(|value| !value.is_empty());
            set(first).or_else(|| set(second))
        };
        let api_key = http.api_key.or_else(|| either("DATADOG_API_KEY", "DD_API_KEY"));
        let app_key = http.app_key.or_else(|| either("DATADOG_APP_KEY", "DD_APP_KEY"));
        HttpOptions {
            api_key: api_key.as_deref().map(Secret::new),
            app_key: app_key.as_deref().map(Secret::new),
            api_host: http
                .api_host
                .or_else(|| either("DATADOG_HOST", "DATADOG_HOST"))
                .unwrap_or_else(|| API_HOST.to_owned()),
            hostname: http.hostname,
            compress: http.compress,
            mute: !http.unmuted,
            http: http_settings(&self.environment),
            clock: self.clock.clone().unwrap_or_else(Clock::wall),
        }
    }
}

/// The argument, then the environment: nothing is trimmed or deduplicated, empty items go.
fn constant_tags(mut tags: Vec<String>, environment: &Environment) -> Vec<String> {
    let listed = environment("DATADOG_TAGS").unwrap_or_default();
    tags.extend(listed.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned));
    for (variable, tag) in [("DD_ENV", "env"), ("DD_SERVICE", "service"), ("DD_VERSION", "version")]
    {
        let value = environment(variable).filter(|value| !value.is_empty());
        tags.extend(value.map(|value| format!("{tag}:{value}")));
    }
    tags
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("namespace", &self.namespace)
            .field("constant_tags", &self.constant_tags)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
