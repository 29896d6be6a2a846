//! The HTTP doors: bound before anything runs, opened when everything does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lane::Mailbox;
use super::{ServerError, settings};
use crate::clock::Clock;
use crate::config::{Config, DoorMode, Loaded, Port, TracesMode, Url};
use crate::context::Rules;
use crate::doors::{
    Api, DataStreams, DecodeOnly, Desk, DeskSettings, Dogstatsd, Door, DoorsAccounting, Forward,
    InfoSettings, LineInbox, Naming, Recorder, Route, SharedNaming, Stats, StatsForward, Telemetry,
    Traces, Upstream,
};
use crate::http::requests::{RequestLimits, RequestServer, StreamListener};
use crate::net::{
    self, BindError, Bound, HttpListener, HttpListeners, HttpSettings, ListenerAddress, SocketFile,
    Transport,
};

/// Mode of the socket's file, as for DogStatsD: every local user may send.
const SOCKET_MODE: u32 = 0o722;
/// How long a connection may be idle: clients beat every 60 s.
const IDLE: std::time::Duration = std::time::Duration::from_secs(75);
/// How long a real Agent may take for one exchange: clients give up long before.
const UPSTREAM_PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
/// Threads for bodies: decoding is bounded by the processors, not by waiting.
const THREADS_MAX: usize = 4;

/// True when the path is the default of `doors: true` and may be missing.
pub(super) fn socket_is_optional(loaded: &Loaded) -> bool {
    loaded.origin("apm_config.receiver_socket") == loaded.origin("doors")
}

/// Binds what is open; none when nothing is.
pub(super) fn bind(loaded: &Loaded) -> Result<Option<HttpListeners>, BindError> {
    let config = &loaded.config;
    if !config.doors_open() {
        return Ok(None);
    }
    let port = config.apm_config_receiver_port.unwrap_or(Port::Off);
    net::bind_http(&HttpSettings {
        tcp: settings::internet(config, port, config.apm_config_apm_non_local_traffic),
        unix: config.apm_config_receiver_socket.clone(),
        unix_mode: SOCKET_MODE,
        unix_optional: socket_is_optional(loaded),
    })
    .map(Some)
}

/// Open doors. Dropping them closes them.
pub(super) struct Doors {
    /// The first field, so that it is dropped before what its requests need.
    server: Option<RequestServer>,
    desk: Arc<Desk>,
    naming: SharedNaming,
    forward: Option<Arc<Forward>>,
    receiver_port: u16,
    statsd_port: Option<u16>,
    _file: Option<SocketFile>,
}

/// What the doors have in common with the rest of the server.
pub(super) struct Shared<'a> {
    pub config: &'a Config,
    pub rules: Arc<Rules>,
    pub clock: Clock,
    pub recorder: Recorder,
    /// Forwards requests to the vendor.
    pub forward: Option<Arc<Forward>>,
    /// Takes DogStatsD lines, when that is on.
    pub inbox: Option<Arc<LineInbox>>,
    /// Where DogStatsD is received over UDP.
    pub statsd_port: Option<u16>,
    /// Descriptors that the process may have open.
    pub open_max: usize,
}

impl Doors {
    /// Opens what was bound.
    pub fn open(listeners: HttpListeners, shared: Shared<'_>) -> Result<Self, ServerError> {
        let Shared { config, rules, clock, recorder, forward, inbox, statsd_port, open_max } =
            shared;
        let accounting = Arc::clone(recorder.accounting());
        banner(&listeners, config);
        let receiver_port = port_of(&listeners);
        let naming = SharedNaming::from(naming(config));
        let desk = Desk::new(DeskSettings {
            doors: doors(config, &naming, inbox, forward.as_ref(), &accounting, &clock),
            upstream: upstream(config),
            traces_upstream: config.doors_traces == TracesMode::Upstream,
            forward: forward.clone(),
            request_bytes_max: config.apm_config_max_payload_size,
            info: info(config, receiver_port, statsd_port),
            origin: rules.origin.clone(),
            proc_root: settings::proc_root(config),
            recorder,
            clock,
        });
        let limits = RequestLimits {
            connections_max: connections(config, open_max),
            request: config.receiver_timeout(),
            idle: IDLE,
            threads_max: THREADS_MAX,
        };
        let sockets = listeners.bound.into_iter().map(|(_, listener)| match listener {
            HttpListener::Tcp(listener) => StreamListener::Tcp(listener),
            HttpListener::Unix(listener) => StreamListener::Unix(listener),
        });
        let server =
            RequestServer::start("doors", sockets.collect(), limits, desk.router(), accounting)
                .map_err(ServerError::system("opening the doors"))?;
        let _file = listeners.file;
        Ok(Doors { server: Some(server), desk, naming, forward, receiver_port, statsd_port, _file })
    }

    /// Every door that is on, for the calls that come from the schedule and not from requests.
    pub fn list(&self) -> Vec<(Route, Arc<dyn Door>)> {
        self.desk.doors()
    }

    /// Applies what a reload may change.
    pub fn reload(&self, config: &Config, rules: &Rules) {
        // The prefix is that of the start.
        let prefix = self.naming.get().prefix.clone();
        self.naming.set(Naming { prefix, ..naming(config) });
        self.desk.reload(info(config, self.receiver_port, self.statsd_port), rules.origin.clone());
    }

    /// Forwards requests to the vendor.
    pub fn forward(&self) -> Option<&Arc<Forward>> {
        self.forward.as_ref()
    }

    /// Accepts no more requests; waits a moment for those in progress.
    pub fn close(&mut self) {
        drop(self.server.take());
    }
}

/// Where DogStatsD lines over HTTP go, and the listener they count for; none when that is off.
pub(super) fn mailbox(
    config: &Config,
    listeners: &HttpListeners,
    bound: &mut Bound,
) -> Option<Mailbox> {
    let (address, _) = listeners.bound.first()?;
    let is_on = config.doors_dogstatsd == DoorMode::Local;
    let add = || Mailbox { listener: bound.add_http(address.clone()), inbox: Arc::default() };
    is_on.then(add)
}

/// The real Agent behind us, if there is one.
fn upstream(config: &Config) -> Option<Upstream> {
    let url = config.doors_upstream.as_ref().map(Url::expose);
    url.map(|url| Upstream::new(url, UPSTREAM_PATIENCE))
}

/// What the configuration says of names and environment.
fn naming(config: &Config) -> Naming {
    Naming {
        prefix: config.doors_prefix.clone(),
        env: config.doors_env().unwrap_or_default().to_owned(),
    }
}

/// The doors that are on.
fn doors(
    config: &Config,
    naming: &SharedNaming,
    inbox: Option<Arc<LineInbox>>,
    forward: Option<&Arc<Forward>>,
    accounting: &Arc<DoorsAccounting>,
    clock: &Clock,
) -> BTreeMap<Route, Arc<dyn Door>> {
    let mut doors: BTreeMap<Route, Arc<dyn Door>> = BTreeMap::new();
    if config.doors_traces == TracesMode::Count {
        doors.insert(Route::Traces, Arc::new(Traces::new(Arc::clone(accounting))));
    }
    if config.doors_stats != DoorMode::Off {
        doors.insert(Route::Stats, Arc::new(stats(config, naming.clone(), forward)));
    }
    let streams = DataStreams::new(naming.clone(), config.interval.as_secs());
    add(&mut doors, Route::DataStreams, config.doors_data_streams, streams);
    let telemetry = Telemetry::new(naming.clone(), clock.clone(), Arc::clone(accounting));
    add(&mut doors, Route::Telemetry, config.telemetry_door(), telemetry);
    if let Some(inbox) = inbox {
        doors.insert(Route::Dogstatsd, Arc::new(Dogstatsd::new(inbox)));
    }
    if config.doors_api == DoorMode::Local {
        doors.insert(Route::Api, Arc::new(Api));
    }
    doors
}

/// Stats go on as sums, which only their door can make.
fn stats(config: &Config, naming: SharedNaming, forward: Option<&Arc<Forward>>) -> Stats {
    match forward.filter(|forward| forward.takes(Route::Stats)) {
        None => Stats::new(naming),
        Some(forward) => {
            let interval = config.interval.as_secs();
            let sums =
                StatsForward::new(forward.agent().clone(), interval, Arc::clone(forward) as _);
            Stats::forwarding(naming, config.doors_stats == DoorMode::Both, sums)
        }
    }
}

fn add<D: Door + 'static>(
    doors: &mut BTreeMap<Route, Arc<dyn Door>>,
    route: Route,
    mode: DoorMode,
    door: D,
) {
    let door: Arc<dyn Door> = match mode {
        DoorMode::Off => return,
        DoorMode::Local | DoorMode::Both => Arc::new(door),
        DoorMode::Forward => Arc::new(DecodeOnly(door)),
    };
    doors.insert(route, door);
}

fn info(config: &Config, receiver_port: u16, statsd_port: Option<u16>) -> InfoSettings {
    InfoSettings {
        on: Vec::new(),
        default_env: config.doors_env().unwrap_or_default().to_owned(),
        receiver_port,
        request_bytes_max: config.apm_config_max_payload_size,
        statsd_port,
    }
}

fn port_of(listeners: &HttpListeners) -> u16 {
    let ports = listeners.bound.iter().find_map(|(address, _)| match address {
        ListenerAddress::Internet(address) => Some(address.port()),
        ListenerAddress::Path(_) => None,
    });
    ports.unwrap_or(0)
}

/// Connections to allow: clients of the doors leave descriptors to everything else.
fn connections(config: &Config, open_max: usize) -> usize {
    let configured = config.apm_config_max_connections;
    let allowed = configured.min(open_max / 4).max(1);
    if allowed < configured {
        tracing::warn!(
            target: "doors",
            "apm_config.max_connections is {allowed} instead of {configured}: the process may open {open_max} files; raise ulimit -n (LimitNOFILE= of the unit)"
        );
    }
    allowed
}

/// Logs where the doors are, and what could not be opened.
fn banner(listeners: &HttpListeners, config: &Config) {
    let places: Vec<String> =
        listeners.bound.iter().map(|(address, _)| address.to_string()).collect();
    tracing::info!(target: "doors", "{:4} {}", Transport::Http, places.join(" "));
    for remark in &listeners.remarks {
        match remark.kind {
            // On most machines no one has made the folder of the default socket.
            net::ProblemKind::FolderMissing => {
                tracing::info!(target: "doors", "{:4} {}: off: {}", Transport::Http, remark.place, remark.detail);
            }
            _ => tracing::warn!(target: "doors", "{remark}"),
        }
    }
    for (address, _) in &listeners.bound {
        if let ListenerAddress::Internet(address) = address
            && !address.ip().is_loopback()
        {
            tracing::warn!(
                target: "doors",
                "{} {address} is open to other machines; any client that reaches it can send metrics",
                Transport::Http
            );
        }
    }
    if config.doors_upstream.is_some() {
        tracing::info!(
            target: "doors",
            "{:4} passes what no door takes to {}",
            Transport::Http,
            config.doors_upstream.as_ref().map(ToString::to_string).unwrap_or_default()
        );
    }
}
