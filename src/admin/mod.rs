//! In: the [`AdminState`] that the server shares and an HTTP request. Out: a page: probes, metrics,
//! status, rankings, live lines, contexts. Promise: read only; memory and time are bounded for any
//! client, and no lane ever waits for one. Refusal: it composes nothing and keeps no counters of
//! its own.

mod health;
mod live;
mod metrics;
mod prometheus;
mod ranking;
mod state;
mod status;

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use serde::Serialize;

use self::health::Health;
pub(crate) use self::state::{AdminState, ConfigState, KnownContexts, ProcessLimits};
use crate::config::{Config, Port};
use crate::context::Kind;
use crate::telemetry::http::{Address, Handler, HttpServer, Request, Response};

const INDEX: &str = "\
whippet answers here, read only:
  /live /ready /startup   probes: 200, or 500 with what is wrong
  /metrics                Prometheus text
  /status                 everything as JSON
  /debug/vars             the Agent's expvar maps
  /stats                  count and last time per metric (?seconds=N: of the next N seconds)
  /top                    what costs most: contexts, samples, bytes, senders
  /tap                    matching lines as they come (?match=REGEX&limit=N)
  /senders                who sends what, with the last bad lines
  /contexts               one context per line as JSON (/contexts.zstd: compressed)
";

/// The admin server and the one for probes alone.
#[derive(Debug, Default)]
pub(crate) struct AdminServers {
    servers: Vec<HttpServer>,
}

impl AdminServers {
    /// Starts what is configured; what cannot be had is told, and the server goes on without.
    pub fn start(config: &Config, state: &Arc<AdminState>) -> Self {
        let mut admin = AdminServers::default();
        let answering = Arc::clone(state);
        if let Some(address) = &config.admin_address {
            let handler: Handler = Arc::new(move |request| answer(&answering, request));
            admin.add("admin", "admin_address", address, handler);
        }
        let port = match config.health_port {
            Port::Off => return admin,
            Port::Fixed(port) => port,
            Port::Random => 0,
        };
        let probing = Arc::clone(state);
        let handler: Handler = Arc::new(move |request| {
            probe(&probing, &request.path)
                .unwrap_or_else(|| Response::text(404, "see /live, /ready, /startup\n"))
        });
        let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        admin.add("health", "health_port", &probed(config, in_pod, port), handler);
        admin
    }

    fn add(&mut self, name: &str, key: &str, address: &str, handler: Handler) {
        let started =
            Address::parse(address).and_then(|address| HttpServer::start(name, &address, handler));
        match started {
            Ok(server) => {
                tracing::info!(target: "server", "{name:4} {}", server.address());
                self.servers.push(server);
            }
            Err(error) => tracing::warn!(
                target: "server",
                "{name} off: {address}: {error}; going on without it; set {key} to another address"
            ),
        }
    }
}

/// Where the probes are answered. A kubelet asks at the address of the pod, from outside of it, and
/// restarts what does not answer; anywhere else the loopback is enough. The answers name no metric,
/// no tag and no sender.
fn probed(config: &Config, in_pod: bool, port: u16) -> String {
    let everywhere = in_pod || config.dogstatsd_non_local_traffic;
    format!("{}:{port}", if everywhere { "0.0.0.0" } else { "127.0.0.1" })
}

fn answer(state: &AdminState, request: &Request) -> Response {
    if let Some(response) = probe(state, &request.path) {
        return response;
    }
    match request.path.as_str() {
        "/" => Response::text(200, INDEX),
        "/metrics" | "/telemetry" => {
            let page = metrics::page(state, &state.snapshot());
            Response::whole(200, prometheus::CONTENT_TYPE, page.into_bytes())
        }
        "/status" => json(&status::status(state, &state.snapshot())),
        "/debug/vars" => json(&status::agent(state, &state.snapshot())),
        "/stats" => live::stats(state, request),
        "/top" => live::top(state, request),
        "/tap" => live::tap(state, request),
        "/senders" => {
            state.watch.refresh(&state.lanes);
            let all = state.watch.senders().rows(&state.listeners, usize::MAX);
            json(&serde_json::Value::Array(all))
        }
        "/contexts" => contexts(state, "application/x-ndjson", |known, out| dump(&known, out)),
        #[cfg(feature = "zstd")]
        "/contexts.zstd" => contexts(state, "application/zstd", |known, out| {
            let mut encoder = zstd::Encoder::new(out, 1)?;
            dump(&known, &mut encoder)?;
            encoder.finish().map(drop)
        }),
        _ => Response::text(404, format!("nothing here\n\n{INDEX}")),
    }
}

fn json(value: &serde_json::Value) -> Response {
    Response::json(200, format!("{value:#}\n"))
}

fn probe(state: &AdminState, path: &str) -> Option<Response> {
    let health = match path {
        "/live" => Health::live(&state.liveness),
        "/ready" => {
            let books = state.forwarder.as_ref().map(|forwarder| forwarder.accounting());
            Health::ready(&state.liveness, books.as_ref())
        }
        "/startup" => Health::startup(),
        _ => return None,
    };
    Some(Response::json(health.status(), format!("{}\n", serde_json::json!(health))))
}

/// The flusher did not answer in time.
pub(crate) fn busy() -> Response {
    Response::text(503, "the flusher is busy; try again\n")
}

fn contexts(
    state: &AdminState,
    content_type: &'static str,
    write: fn(KnownContexts, &mut dyn Write) -> io::Result<()>,
) -> Response {
    match (state.known_contexts)() {
        Some(known) => Response::stream(content_type, Box::new(move |out| write(known, out))),
        None => busy(),
    }
}

/// One context as the Agent dumps it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DumpedContext<'a> {
    name: std::borrow::Cow<'a, str>,
    host: std::borrow::Cow<'a, str>,
    #[serde(rename = "Type")]
    kind: &'static str,
    tagger_tags: [&'static str; 0],
    metric_tags: Vec<std::borrow::Cow<'a, str>>,
    no_index: bool,
    source: u8,
}

/// The Agent's number for metrics that came through DogStatsD.
const SOURCE_DOGSTATSD: u8 = 1;

/// The Agent's word for a kind.
pub(crate) fn agent_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "Counter",
        Kind::Gauge => "Gauge",
        Kind::Set => "Set",
        Kind::Histogram => "Histogram",
        Kind::Distribution => "Distribution",
    }
}

/// Newline-delimited JSON, one line per context. Tags of the sender's container are among the
/// metric tags: they are joined when the context is first seen.
fn dump(known: &KnownContexts, out: &mut dyn Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, out);
    for context in &known.contexts {
        let tags = context.tags(&known.rules.common_tags);
        let dumped = DumpedContext {
            name: String::from_utf8_lossy(context.name()),
            host: String::from_utf8_lossy(context.host().unwrap_or(&known.rules.default_host)),
            kind: agent_type(context.kind()),
            tagger_tags: [],
            metric_tags: tags.iter().map(String::from_utf8_lossy).collect(),
            no_index: false,
            source: SOURCE_DOGSTATSD,
        };
        serde_json::to_writer(&mut out, &dumped)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mode, Sources, load};

    #[test]
    fn probes_are_answered_where_the_prober_is() {
        let address = |flags: &[(&str, &str)], in_pod| {
            let flags = flags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            let sources = Sources { file: None, env: [], flags, mode: Mode::Run };
            probed(&load(sources).unwrap().config, in_pod, 5555)
        };
        assert_eq!(address(&[], false), "127.0.0.1:5555");
        assert_eq!(address(&[], true), "0.0.0.0:5555");
        assert_eq!(address(&[("dogstatsd_non_local_traffic", "true")], false), "0.0.0.0:5555");
    }
}
