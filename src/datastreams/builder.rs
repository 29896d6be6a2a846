//! Describes a [`DataStreams`] before there is one.

use std::sync::Arc;

use thiserror::Error;

use super::agent::{AgentError, AgentOutput, DEFAULT_AGENT_URL};
use super::client::{DataStreams, Parts};
use super::flush::{Application, Output};
use super::hash::{HashProfile, process_tag_value};
use crate::clock::Clock;
use crate::forward::HttpSettings;

/// Points of a bucket, and offsets.
const POINTS_MAX: usize = 10_000;
/// The service of a program that has no name.
const UNNAMED: &str = "unnamed-rust-service";

/// Why there are no data streams.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// The agent cannot be reached by this URL.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Describes a [`DataStreams`].
pub struct Builder {
    parts: Parts,
    agent_url: Option<String>,
    http: HttpSettings,
}

impl DataStreams {
    /// Describes the data streams of `service`.
    #[must_use]
    pub fn builder(service: &str) -> Builder {
        let parts = Parts {
            enabled: true,
            application: Application { service: service.to_owned(), ..Application::default() },
            profile: HashProfile::default(),
            container_hash: String::new(),
            points_max: POINTS_MAX,
            clock: Clock::wall(),
            outputs: Vec::new(),
        };
        Builder { parts, agent_url: None, http: HttpSettings::default() }
    }
}

impl Builder {
    /// Reads what the tracers read: `DD_SERVICE`, `DD_ENV`, `DD_VERSION`, `DD_HOSTNAME`, `DD_TRACE_AGENT_URL`, or
    /// `DD_AGENT_HOST` and `DD_TRACE_AGENT_PORT`; `DD_DATA_STREAMS_ENABLED` set to `false` or `0` turns everything
    /// off. What is not set stays as it is.
    #[must_use]
    pub fn environment(mut self, env: impl Fn(&str) -> Option<String>) -> Self {
        let set =
            |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|v| !v.is_empty());
        let application = &mut self.parts.application;
        for (name, field) in [
            ("DD_SERVICE", &mut application.service),
            ("DD_ENV", &mut application.env),
            ("DD_VERSION", &mut application.version),
            ("DD_HOSTNAME", &mut application.hostname),
        ] {
            if let Some(value) = set(name) {
                *field = value;
            }
        }
        if let Some(value) = set("DD_DATA_STREAMS_ENABLED") {
            self.parts.enabled = !matches!(value.to_ascii_lowercase().as_str(), "false" | "0");
        }
        let (host, port) = (set("DD_AGENT_HOST"), set("DD_TRACE_AGENT_PORT"));
        let named = (host.is_some() || port.is_some()).then(|| {
            let host = host.unwrap_or_else(|| "localhost".to_owned());
            format!("http://{host}:{}", port.unwrap_or_else(|| "8126".to_owned()))
        });
        self.agent_url = set("DD_TRACE_AGENT_URL").or(named).or(self.agent_url);
        self
    }

    /// The environment, such as `prod`.
    #[must_use]
    pub fn env(mut self, env: &str) -> Self {
        env.clone_into(&mut self.parts.application.env);
        self
    }

    /// The version of the program.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.parts.application.version);
        self
    }

    /// The host it runs on.
    #[must_use]
    pub fn hostname(mut self, hostname: &str) -> Self {
        hostname.clone_into(&mut self.parts.application.hostname);
        self
    }

    /// False: every call does nothing and returns nothing.
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.parts.enabled = enabled;
        self
    }

    /// What is hashed. [`HashProfile::Plain`] unless set.
    #[must_use]
    pub fn hash_profile(mut self, profile: HashProfile) -> Self {
        self.parts.profile = profile;
        self
    }

    /// Enables process tags, of keys and values such as `entrypoint.name` and the name of the program. They are
    /// sent, and two of the [profiles](HashProfile) hash them. Values are normalised; empty ones are left out.
    #[must_use]
    pub fn process_tags<'a>(mut self, tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let normal = tags.into_iter().map(|(key, value)| (key, process_tag_value(value)));
        let normal = normal.filter(|(_, value)| !value.is_empty());
        self.parts.application.process_tags =
            normal.map(|(key, value)| format!("{key}:{value}")).collect();
        self.parts.application.process_tags.sort_unstable();
        self
    }

    /// What the agent calls the tags of this container. Unless set, it is asked for where it is hashed.
    #[must_use]
    pub fn container_hash(mut self, hash: &str) -> Self {
        hash.clone_into(&mut self.parts.container_hash);
        self
    }

    /// Points of a bucket at most, and offsets: 10,000 unless set. Past it messages are counted as lost; their
    /// pathways go on.
    #[must_use]
    pub fn points_max(mut self, points: usize) -> Self {
        self.parts.points_max = points;
        self
    }

    /// The clock of a test.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.parts.clock = clock;
        self
    }

    /// The agent that flushes go to. Without this and without any [`Builder::output`] it is the one at
    /// [`DEFAULT_AGENT_URL`].
    #[must_use]
    pub fn agent(mut self, url: &str) -> Self {
        self.agent_url = Some(url.to_owned());
        self
    }

    /// Proxies and TLS towards the agent. A request takes at most a second, whatever is set here.
    #[must_use]
    pub fn http(mut self, http: HttpSettings) -> Self {
        self.http = http;
        self
    }

    /// Hands flushes to `output`, beside others.
    #[must_use]
    pub fn output(mut self, output: impl Output + 'static) -> Self {
        self.parts.outputs.push(Box::new(output));
        self
    }

    /// The data streams. Nothing is sent before [`DataStreams::start`].
    ///
    /// # Errors
    /// When the agent's URL, or a proxy or certificate, cannot be read.
    pub fn build(mut self) -> Result<DataStreams, BuildError> {
        let default = self.parts.outputs.is_empty().then(|| DEFAULT_AGENT_URL.to_owned());
        if let Some(url) = self.agent_url.take().or(default).filter(|_| self.parts.enabled) {
            let agent = AgentOutput::new(&url, self.http.clone())?;
            self.parts.outputs.push(Box::new(Arc::new(agent)));
        }
        if self.parts.application.service.is_empty() {
            UNNAMED.clone_into(&mut self.parts.application.service);
        }
        Ok(DataStreams::new(self.parts))
    }
}
