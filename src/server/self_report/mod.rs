//! whippet reports on itself (`instrumentation_telemetry`, off by default): what it is, how it is
//! configured, whether its parts work, and its counters. `docs/telemetry.md` lists every field.
//!
//! In: the configuration, the event bus and the state of the server. Out: instrumentation telemetry, to an
//! agent or a collector. Promise: no secret and no name or tag of a metric in a log line; no packet waits
//! for it. Refusal: events of each packet are not subscribed to; what a lane counts anyway is read
//! from its counts.

mod counters;
mod gauges;
mod inventory;

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use self::counters::Counters;
use self::gauges::Gauges;
pub(super) use self::inventory::Parts;
use super::settings;
use crate::clock::Clock;
use crate::config::{Config, Loaded};
use crate::telemetry::{Hub, Subscription};
use crate::telemetry_client::{BuildError, Builder, Client, DEFAULT_AGENT_URL, MemoryWriter};

/// The compiler's version, as the build knows it.
const COMPILER: &str = include_str!(concat!(env!("OUT_DIR"), "/compiler.txt"));
/// Time from point to point of a metric.
const POINTS: Duration = Duration::from_secs(10);
/// The namespace of all metrics: the protocol has none for a program of this kind.
const NAMESPACE: &str = "general";

/// A client that reports on this process, and what feeds it.
pub(super) struct SelfReport {
    client: Client,
    _subscriptions: Vec<Subscription>,
}

impl SelfReport {
    /// Counts events from here on, if that is on. What prevents it is logged, and the server runs
    /// without.
    pub fn prepare(
        loaded: &Loaded,
        hostname: Option<&str>,
        clock: &Clock,
        hub: &Hub,
    ) -> Option<Self> {
        let config = &loaded.config;
        if !config.instrumentation_telemetry {
            return None;
        }
        let client = to_endpoints(builder(config, hostname), config)
            .and_then(|builder| builder.clock(clock.clone()).build().map_err(io::Error::other));
        let client = client.map_err(off).ok()?;
        let subscriptions = Counters::of(&client).subscribe(hub, &client);
        Some(SelfReport { client, _subscriptions: subscriptions })
    }

    /// Begins to report: every part of the server is at its place.
    pub fn start(self, loaded: &Loaded, parts: Parts) -> Option<Self> {
        inventory::tell(&self.client, loaded, &parts);
        let gauges = Gauges::of(&self.client);
        self.client.on_collect(move || gauges.collect(&parts.state));
        self.client.start().map_err(off).ok()?;
        tracing::info!(
            target: "server",
            "reporting on itself (instrumentation_telemetry) to {}",
            destination(&loaded.config)
        );
        Some(self)
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reports the settings that changed.
    pub fn reload(&self, loaded: &Loaded) {
        self.client.configuration(inventory::settings(loaded));
    }

    /// Sends what is left until the deadline.
    pub fn stop(self, deadline: Instant) {
        let (done, ended) = mpsc::channel();
        let client = self.client.clone();
        let stopping = thread::Builder::new().name("telemetry-stop".to_owned()).spawn(move || {
            let report = client.stop();
            // Nobody waits any more after the deadline.
            let _ = done.send(report.failure);
        });
        let left = deadline.saturating_duration_since(Instant::now());
        let failure = match stopping {
            Ok(_) => match ended.recv_timeout(left) {
                Ok(failure) => failure,
                Err(_) => Some("no answer in time".to_owned()),
            },
            Err(error) => Some(error.to_string()),
        };
        if let Some(failure) = failure {
            tracing::warn!(target: "server", "the last telemetry about whippet itself was not sent: {failure}");
        }
    }
}

fn off(error: io::Error) {
    tracing::warn!(target: "server", "instrumentation_telemetry is off: {error}");
}

/// Everything that would be sent at a start with this configuration, each metric once with the value
/// zero, for people.
pub(crate) fn dry_run(loaded: &Loaded, hostname: Option<&str>) -> Result<Vec<String>, BuildError> {
    let memory = MemoryWriter::default();
    let config = &loaded.config;
    let client = builder(config, hostname).writer(memory.clone()).build()?;
    inventory::tell(&client, loaded, &Parts::expected(config));
    Counters::of(&client).touch(&client);
    Gauges::of(&client).touch();
    client.start_manually();
    client.flush();
    client.stop();
    Ok(memory.take().iter().map(ToString::to_string).collect())
}

/// Where reports go, for people.
pub(crate) fn destination(config: &Config) -> String {
    match &config.instrumentation_telemetry_url {
        Some(url) => url.to_string(),
        None if config.api_key.is_some() => {
            format!("{} and, where that fails, the intake of {}", DEFAULT_AGENT_URL, config.site)
        }
        None => DEFAULT_AGENT_URL.to_owned(),
    }
}

fn builder(config: &Config, hostname: Option<&str>) -> Builder {
    Client::builder("whippet")
        .service_version(env!("CARGO_PKG_VERSION"))
        .tracer_version(env!("CARGO_PKG_VERSION"))
        .language_version(COMPILER)
        .env(config.env.clone().unwrap_or_default())
        .hostname(hostname.unwrap_or_default())
        .point_interval(POINTS)
}

/// An own collector gets everything and nobody else anything; else the agent, then the intake.
fn to_endpoints(builder: Builder, config: &Config) -> io::Result<Builder> {
    let builder = builder.http(settings::forwarder(config)?.http);
    Ok(match (&config.instrumentation_telemetry_url, &config.api_key) {
        (Some(url), _) => builder.agent_url(url.expose()),
        (None, Some(key)) => builder.site(config.site.as_str()).api_key(key.expose()),
        (None, None) => builder,
    })
}
