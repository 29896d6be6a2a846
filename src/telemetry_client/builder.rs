//! Describes a client.

use std::time::Duration;

use thiserror::Error;

use super::body::{Application, Host, UNKNOWN, new_runtime_id};
use super::client::{Client, Parts, Timing};
use super::http_writer::{DEFAULT_AGENT_URL, DEFAULT_SITE, HttpWriter, WriterError};
use super::payload::InstallSignature;
use super::range::Range;
use super::writer::Writer;
use crate::clock::Clock;
use crate::forward::{HttpSettings, ProxySettings, Secret};

/// Time between flushes: the longest, and while there is much to send the shortest.
const FLUSH: Range<Duration> = Range::new(Duration::from_secs(15), Duration::from_secs(60));
/// Time between signs of life, which is also the longest there may be.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// Time between repetitions of everything that is known.
const EXTENDED_HEARTBEAT: Duration = Duration::from_secs(24 * 3600);
/// With equal intervals a heartbeat would be due a moment after its flush; so it is due before.
const HEARTBEAT_MARGIN: Duration = Duration::from_millis(10);

/// Why a client cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The intake takes no message without one.
    #[error("telemetry needs the name of a service; give Client::builder one that is not empty")]
    NoService,
    /// Intervals that no time lies in.
    #[error("flush intervals from {} s to {} s: the first must be above zero and not larger", .0.min.as_secs_f64(), .0.max.as_secs_f64())]
    FlushInterval(Range<Duration>),
    /// Where to send.
    #[error(transparent)]
    Writer(#[from] WriterError),
}

/// Made by [`Client::builder`].
#[must_use]
pub struct Builder {
    application: Application,
    host: Host,
    runtime_id: Option<String>,
    install_signature: Option<InstallSignature>,
    container_id: String,
    entity_id: String,
    agent_url: Option<String>,
    site: String,
    api_key: Option<Secret>,
    http: HttpSettings,
    writer: Option<Box<dyn Writer>>,
    clock: Clock,
    flush: Range<Duration>,
    heartbeat: Duration,
    extended_heartbeat: Duration,
    points: Option<Duration>,
    enabled: bool,
    debug: bool,
    metrics: bool,
    logs: bool,
    dependencies: bool,
}

impl Client {
    /// Begins to describe a client for the program `service`. It sends to the agent at
    /// `http://localhost:8126`, and to the intake where that fails and a key is given.
    pub fn builder(service: impl Into<String>) -> Builder {
        let application = Application {
            service_name: service.into(),
            language_name: "rust".to_owned(),
            tracer_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Application::default()
        };
        Builder {
            application,
            host: Host::detect(),
            runtime_id: None,
            install_signature: None,
            container_id: String::new(),
            entity_id: String::new(),
            agent_url: Some(DEFAULT_AGENT_URL.to_owned()),
            site: DEFAULT_SITE.to_owned(),
            api_key: None,
            http: HttpSettings::default(),
            writer: None,
            clock: Clock::wall(),
            flush: FLUSH,
            heartbeat: HEARTBEAT,
            extended_heartbeat: EXTENDED_HEARTBEAT,
            points: None,
            enabled: true,
            debug: false,
            metrics: true,
            logs: true,
            dependencies: true,
        }
    }
}

impl Builder {
    /// The version of the service.
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        self.application.service_version = version.into();
        self
    }

    /// The environment of the service, such as `prod`.
    pub fn env(mut self, env: impl Into<String>) -> Self {
        self.application.env = env.into();
        self
    }

    /// The version of the compiler.
    pub fn language_version(mut self, version: impl Into<String>) -> Self {
        self.application.language_version = version.into();
        self
    }

    /// The version of the library that reports (`tracer_version` of the payload); whippet's by default.
    pub fn tracer_version(mut self, version: impl Into<String>) -> Self {
        self.application.tracer_version = version.into();
        self
    }

    /// The name of this machine; the system's by default.
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.host.hostname = hostname.into();
        self
    }

    /// What the system is; found out by default.
    pub fn host(mut self, host: Host) -> Self {
        self.host = host;
        self
    }

    /// Names this run of the program; a random UUID by default.
    pub fn runtime_id(mut self, id: impl Into<String>) -> Self {
        self.runtime_id = Some(id.into());
        self
    }

    /// How the program was installed.
    pub fn install_signature(mut self, signature: InstallSignature) -> Self {
        self.install_signature = Some(signature);
        self
    }

    /// The container the program runs in, and its name for origin detection (`in-<inode>`,
    /// `ci-<id>`); empty for none.
    pub fn container(mut self, id: impl Into<String>, entity: impl Into<String>) -> Self {
        (self.container_id, self.entity_id) = (id.into(), entity.into());
        self
    }

    /// The agent, which is tried first.
    pub fn agent_url(mut self, url: impl Into<String>) -> Self {
        self.agent_url = Some(url.into());
        self
    }

    /// Sends to the intake alone, for which a key is needed.
    pub fn without_agent(mut self) -> Self {
        self.agent_url = None;
        self
    }

    /// The vendor's site, whose intake is tried when the agent fails and there is a key.
    pub fn site(mut self, site: impl Into<String>) -> Self {
        self.site = site.into();
        self
    }

    /// The API key for the intake.
    pub fn api_key(mut self, key: &str) -> Self {
        self.api_key = Some(Secret::new(key));
        self
    }

    /// Timeouts (at most 5 s), proxies (by default none) and TLS.
    pub fn http(mut self, http: HttpSettings) -> Self {
        self.http = http;
        self
    }

    /// Where bodies go instead of agent and intake.
    pub fn writer(mut self, writer: impl Writer + 'static) -> Self {
        self.writer = Some(Box::new(writer));
        self
    }

    /// The source of time.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Time between two flushes: the longest (60 s by default), and the shortest (15 s) while there is
    /// much to send.
    pub fn flush_interval(mut self, interval: Range<Duration>) -> Self {
        self.flush = interval;
        self
    }

    /// Time between signs of life; at most 60 s, which is the default.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// Time between repetitions of everything that is known; 24 h by default.
    pub fn extended_heartbeat_interval(mut self, interval: Duration) -> Self {
        self.extended_heartbeat = interval;
        self
    }

    /// Time from point to point of a metric. By default each flush makes one point.
    pub fn point_interval(mut self, interval: Duration) -> Self {
        self.points = Some(interval).filter(|interval| !interval.is_zero());
        self
    }

    /// Says in every message that it is for debugging.
    pub fn debug(mut self, debug: bool) -> Self {
        self.debug = debug;
        self
    }

    /// Whether anything is reported at all. Default true.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Takes over what the variables say that Datadog's libraries read, of those that are set and can
    /// be read; any other value leaves what was set before:
    ///
    /// | variable | sets |
    /// |---|---|
    /// | `DD_INSTRUMENTATION_TELEMETRY_ENABLED` | [`Builder::enabled`] |
    /// | `DD_TELEMETRY_HEARTBEAT_INTERVAL`, `DD_TELEMETRY_EXTENDED_HEARTBEAT_INTERVAL` | the intervals, in seconds |
    /// | `DD_TELEMETRY_METRICS_ENABLED`, `DD_TELEMETRY_LOG_COLLECTION_ENABLED`, `DD_TELEMETRY_DEPENDENCY_COLLECTION_ENABLED` | whether these are reported |
    /// | `DD_TELEMETRY_DEBUG` | [`Builder::debug`] |
    /// | `DD_ENV`, `DD_VERSION`, `DD_SITE`, `DD_API_KEY`, `DD_TRACE_AGENT_URL` | the same as their methods |
    /// | `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` | proxies, where none are set |
    pub fn environment(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let flag = |name: &str, to: &mut bool| match set(name).map(|v| v.trim().to_lowercase()) {
            Some(value) if ["true", "1", "t", "yes", "on"].contains(&&*value) => *to = true,
            Some(value) if ["false", "0", "f", "no", "off"].contains(&&*value) => *to = false,
            _ => {}
        };
        flag("DD_INSTRUMENTATION_TELEMETRY_ENABLED", &mut self.enabled);
        flag("DD_TELEMETRY_METRICS_ENABLED", &mut self.metrics);
        flag("DD_TELEMETRY_LOG_COLLECTION_ENABLED", &mut self.logs);
        flag("DD_TELEMETRY_DEPENDENCY_COLLECTION_ENABLED", &mut self.dependencies);
        flag("DD_TELEMETRY_DEBUG", &mut self.debug);
        let seconds = |name: &str, to: &mut Duration| {
            let seconds = set(name).and_then(|value| value.trim().parse::<f64>().ok());
            let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            *to = time.filter(|time| !time.is_zero()).unwrap_or(*to);
        };
        seconds("DD_TELEMETRY_HEARTBEAT_INTERVAL", &mut self.heartbeat);
        seconds("DD_TELEMETRY_EXTENDED_HEARTBEAT_INTERVAL", &mut self.extended_heartbeat);
        let text = |name: &str, to: &mut String| {
            if let Some(value) = set(name) {
                *to = value;
            }
        };
        text("DD_ENV", &mut self.application.env);
        text("DD_VERSION", &mut self.application.service_version);
        text("DD_SITE", &mut self.site);
        self.agent_url = set("DD_TRACE_AGENT_URL").or(self.agent_url);
        self.api_key = set("DD_API_KEY").as_deref().map(Secret::new).or(self.api_key);
        let proxies = std::mem::take(&mut self.http.proxies);
        self.http.proxies = ProxySettings::or_environment(proxies, &variable);
        self
    }

    /// Makes the client. It takes what it is told, and sends nothing before [`Client::start`].
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(mut self) -> Result<Client, BuildError> {
        if self.application.service_name.trim().is_empty() {
            return Err(BuildError::NoService);
        }
        if !self.flush.is_ordered() || self.flush.min.is_zero() {
            return Err(BuildError::FlushInterval(self.flush));
        }
        if self.host.hostname.is_empty() {
            UNKNOWN.clone_into(&mut self.host.hostname);
        }
        let mut heartbeat = self.heartbeat.min(HEARTBEAT);
        if heartbeat == self.flush.max {
            heartbeat = heartbeat.saturating_sub(HEARTBEAT_MARGIN);
        }
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => Box::new(
                HttpWriter::new(self.agent_url.as_deref(), &self.site, self.api_key, self.http)?
                    .header("Datadog-Container-ID", &self.container_id)
                    .header("Datadog-Entity-ID", &self.entity_id),
            ),
        };
        Ok(Client::new(Parts {
            application: self.application,
            host: self.host,
            runtime_id: self.runtime_id.unwrap_or_else(new_runtime_id),
            install_signature: self.install_signature,
            writer,
            clock: self.clock,
            settings: Timing {
                flush: self.flush,
                heartbeat,
                extended_heartbeat: self.extended_heartbeat,
                points: self.points,
            },
            enabled: self.enabled,
            debug: self.debug,
            metrics: self.metrics,
            logs: self.logs,
            dependencies: self.dependencies,
        }))
    }
}
