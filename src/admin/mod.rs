//! In: the [`AdminState`] that the server shares and an HTTP request. Out: a page: probes, metrics,
//! status, rankings, live lines, contexts. Promise: read only; memory and time are bounded for any
//! client, and no lane ever waits for one. Refusal: it composes nothing and keeps no counters of
//! its own.

mod capture;
mod counters;
mod door_metrics;
mod global_metrics;
mod health;
mod live;
mod loopback;
mod metrics;
mod page;
mod process;
mod prometheus;
mod ranking;
mod senders;
mod state;
mod status;

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use serde::Serialize;

pub(crate) use self::counters::{LISTENER, PROCESS};
pub(crate) use self::health::Health;
pub(crate) use self::page::{Observed, observe};
pub(crate) use self::senders::{ClientStatus, SenderStatus};
#[cfg(feature = "global")]
pub(crate) use self::state::GlobalSource;
pub(crate) use self::state::{AdminState, ConfigState, KnownContexts, ProcessLimits};
pub(crate) use self::status::{
    AgentStatus, AgentTransactions, DoorStatus, DoorsStatus, EndpointStatus, GlobalOwnerStatus,
    GlobalSenderStatus, GlobalStatus, IdentityStatus, Overflow, ReasonsStatus, Status, TagKey,
    TallyStatus, key_name,
};
#[cfg(feature = "global")]
pub(crate) use self::status::{GlobalCountStatus, GlobalSenderRow, PayloadsStatus};
use crate::config::{Config, Port};
use crate::context::Kind;
use crate::http::{
    Address, HttpServer, Limits, Refusals, Request, Response, Router, direct, page, read_only,
};

const INDEX: &str = "\
whippet answers here, read only:
  /live /ready /startup   probes: 200, or 500 with what is wrong
  /metrics                Prometheus text
  /status                 everything as JSON
  /debug/vars             the Agent's expvar maps
  /stats                  count and last time per metric (?seconds=N: of the next N seconds)
  /top                    what costs most: contexts, samples, bytes, senders
  /tap                    matching lines as they come (?match=REGEX&limit=N)
  /capture                all datagrams as they come, as a capture file (?seconds=N&bytes=N)
  /senders                who sends what, with the last bad lines
  /contexts               one context per line as JSON (/contexts.zstd: compressed)
";

/// The admin address and the port for probes alone, on one server.
#[derive(Debug)]
pub(crate) struct AdminServers {
    server: Option<HttpServer>,
    refusals: Arc<Refusals>,
}

impl AdminServers {
    /// Starts what is configured; whippet warns and continues without what cannot be had.
    pub fn start(config: &Config, state: &Arc<AdminState>) -> Self {
        let mut admin = AdminServers { server: None, refusals: Arc::clone(&state.refusals) };
        if let Some(address) = &config.admin_address {
            admin.add("admin", "admin_address", address, pages(state));
        }
        let port = match config.health_port {
            Port::Off => return admin,
            Port::Fixed(port) => port,
            Port::Random => 0,
        };
        let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let probes = probes(state)
            .fallback(async || Response::text(404, "see /live, /ready, /startup\n"))
            .method_not_allowed_fallback(read_only);
        admin.add("health", "health_port", &probed(config, in_pod, port), probes);
        admin
    }

    fn add(&mut self, name: &str, key: &str, address: &str, router: Router) {
        match self.listen(address, router) {
            Ok(bound) => tracing::info!(target: "server", "{name:4} {bound}"),
            Err(error) => tracing::warn!(
                target: "server",
                "{name} off: {address}: {error}; going on without it; set {key} to another address"
            ),
        }
    }

    fn listen(&mut self, address: &str, router: Router) -> io::Result<Address> {
        let address = Address::parse(address)?;
        let server = match &mut self.server {
            Some(server) => server,
            none => none
                .insert(HttpServer::start(limits(open_files_max()), Arc::clone(&self.refusals))?),
        };
        server.listen(&address, router)
    }
}

/// Connections of the admin server leave most descriptors to sockets and delivery: where few files
/// may be open, fewer clients are served at once.
fn limits(open_files_max: u64) -> Limits {
    let full = Limits::default();
    let share = usize::try_from(open_files_max / 12).unwrap_or(usize::MAX).max(1);
    let (waiting_max, pages_max) = (full.waiting_max.min(share), full.pages_max.min(share));
    Limits { waiting_max, pages_max, ..full }
}

fn open_files_max() -> u64 {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Where the probes are answered. A kubelet asks at the address of the pod, from outside of it, and
/// restarts what does not answer; anywhere else the loopback is enough. The answers name no metric,
/// no tag and no sender.
fn probed(config: &Config, in_pod: bool, port: u16) -> String {
    let everywhere = in_pod || config.dogstatsd_non_local_traffic;
    format!("{}:{port}", if everywhere { "0.0.0.0" } else { "127.0.0.1" })
}

/// Probes are answered at once, whatever other clients do.
fn probes(state: &Arc<AdminState>) -> Router {
    let probe = |health: fn(&AdminState) -> Health| {
        let state = Arc::clone(state);
        direct(move |_| {
            let health = health(&state);
            Response::json(health.status(), format!("{}\n", serde_json::json!(health)))
        })
    };
    Router::new()
        .route("/live", probe(|state| Health::live(&state.liveness)))
        .route("/ready", probe(ready))
        .route("/startup", probe(|_| Health::startup()))
}

fn ready(state: &AdminState) -> Health {
    let accounting = state.forwarder.as_ref().map(|forwarder| forwarder.accounting());
    let health = Health::ready(&state.liveness, accounting.as_ref(), &state.global());
    Health { off: state.listeners_off(), ..health }
}

/// Everything else waits for locks, lanes or the flusher, so it has threads of its own.
fn pages(state: &Arc<AdminState>) -> Router {
    let page = |make: fn(&AdminState, &Request) -> Response| {
        let state = Arc::clone(state);
        page(move |request| make(&state, request))
    };
    let router = page::routes(probes(state), state)
        .route("/metrics", page(prometheus_page))
        .route("/telemetry", page(prometheus_page))
        .route("/status", page(status_page))
        .route("/debug/vars", page(|state, _| json(&AgentStatus::of(state, &state.snapshot()))))
        .route("/stats", page(live::stats))
        .route("/top", page(live::top))
        .route("/tap", page(live::tap))
        .route("/senders", page(all_senders))
        .route("/capture", page(capture::page))
        .route(
            "/contexts",
            page(|state, _| {
                contexts(state, "application/x-ndjson", |known, out| dump(&known, out))
            }),
        );
    #[cfg(feature = "zstd")]
    let router = router.route("/contexts.zstd", page(compressed_contexts));
    router
        .fallback(async || Response::text(404, format!("nothing here\n\n{INDEX}")))
        .method_not_allowed_fallback(read_only)
}

fn prometheus_page(state: &AdminState, _: &Request) -> Response {
    let page = metrics::page(state, &state.snapshot());
    Response::whole(200, prometheus::CONTENT_TYPE, page.into_bytes())
}

fn status_page(state: &AdminState, _: &Request) -> Response {
    let mut status = Status::of(state, &state.snapshot());
    loopback::name_processes(&mut status.senders, &state.listeners);
    senders::name_pods(&mut status.senders, state.tagger.as_deref());
    json(&status)
}

fn all_senders(state: &AdminState, _: &Request) -> Response {
    state.watch.refresh(&state.lanes);
    let mut rows = senders::rows(&state.watch.senders(), &state.listeners, usize::MAX);
    loopback::name_processes(&mut rows, &state.listeners);
    senders::name_pods(&mut rows, state.tagger.as_deref());
    json(&rows)
}

#[cfg(feature = "zstd")]
fn compressed_contexts(state: &AdminState, _: &Request) -> Response {
    contexts(state, "application/zstd", |known, out| {
        let mut encoder = zstd::Encoder::new(out, 1)?;
        dump(&known, &mut encoder)?;
        encoder.finish().map(drop)
    })
}

fn json(value: &impl Serialize) -> Response {
    let value = serde_json::json!(value);
    Response::json(200, format!("{value:#}\n"))
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
    for (context, common_tags) in known.all() {
        let tags = context.tags(common_tags);
        let dumped = DumpedContext {
            name: String::from_utf8_lossy(context.name()),
            host: String::from_utf8_lossy(context.host_or(&known.rules.default_host)),
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
    fn few_descriptors_mean_few_clients() {
        for (files, expect) in
            [(0, (1, 1)), (24, (2, 2)), (256, (21, 16)), (1_024, (32, 16)), (u64::MAX, (32, 16))]
        {
            let Limits { waiting_max, pages_max, .. } = limits(files);
            assert_eq!((waiting_max, pages_max), expect, "{files} files");
        }
    }

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
