//! Composes the rooms into the daemon: lanes, flusher, forwarder, signals. The only room that knows
//! all the others.
//!
//! In: a [`Loaded`] configuration and the outputs to feed. Out: a running server, and at its end a
//! sentence about every line and payload. Promise: lanes never wait for the flusher, the flusher
//! waits for delivery only within half an interval, a shutdown ends within its time. Refusal: it
//! parses nothing, sums nothing and encodes nothing itself.

mod allocator;
mod api_key_check;
mod banner;
mod by_listener;
mod descriptors;
mod door_buckets;
mod door_flushers;
mod doors;
mod doors_forward;
mod drop_events;
mod events;
#[cfg(test)]
mod fault_tests;
mod flusher;
mod forward_raw;
#[cfg(feature = "global")]
mod global;
#[cfg(feature = "global")]
mod global_status;
mod handover;
mod kernel_drops;
mod lane;
mod origins;
mod outputs;
mod preflight;
mod refusal_log;
mod self_metrics;
pub(crate) mod self_report;
pub(crate) mod settings;
mod signals;
mod summary;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ahash::RandomState;
use thiserror::Error;

pub use self::api_key_check::{KeyCheck, check_api_keys};
use self::door_buckets::DoorBuckets;
use self::door_flushers::DoorFlushers;
use self::doors::Doors;
use self::flusher::{FlusherThread, Message, Reload};
use self::forward_raw::RawForwarder;
#[cfg(feature = "global")]
use self::global::GlobalTier;
use self::handover::HandOverFile;
use self::kernel_drops::KernelDrops;
use self::lane::{FromLane, LaneParts, LaneWorker};
pub use self::preflight::preflight;
use self::self_metrics::SelfMetrics;
use self::self_report::{Parts, SelfReport};
pub use self::signals::{Signal, Signals, survive_file_size_limit};
use crate::admin::{AdminServers, AdminState, ConfigState, DoorsStatus, Observed, ProcessLimits};
use crate::aggregate::Bucket;
use crate::clock::Clock;
use crate::config::{self, Config, Loaded, OutputKind};
use crate::context::Rules;
use crate::doors::DoorsAccounting;
use crate::explain::Explainer;
use crate::flush::Flusher;
use crate::forward::{EndpointError, Forwarder, StartError};
use crate::net::{self, BindError, Bound, Lane, LaneHandle, Transport};
use crate::output::Discarded;
use crate::tagger::{LiveTagger, Tagger};
use crate::telemetry::{Hub, LogRing, Subscription};
use crate::watch::{Counting, Liveness, Totals, Watch};

/// How long a stopping lane reads what is still queued.
const DRAIN: Duration = Duration::from_millis(250);
/// How long the start waits for the first tags of workloads; lines wait in their sockets.
const FIRST_TAGS: Duration = Duration::from_secs(1);

/// Why the server could not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Listeners.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An endpoint that cannot be.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Endpoints(Vec<EndpointError>),
    /// What the doors send on, and where.
    #[error("{0}")]
    Doors(String),
    /// Delivery.
    #[error(transparent)]
    Forward(#[from] StartError),
    /// The log of the global tier.
    #[error("{0}")]
    Global(String),
    /// Opening the JSON lines file.
    #[error("output: jsonl:{path}: {error}; name a file in a writable folder")]
    JsonLines {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// Reading `ca_file`, making an encoder, or starting a thread.
    #[error("{doing}: {error}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl ServerError {
    fn system(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| ServerError::System { doing, error }
    }
}

/// What to run.
pub struct ServerSettings {
    /// The configuration, already valid.
    pub loaded: Loaded,
    /// Where flushes go.
    pub outputs: config::Outputs,
    /// The host of samples without one.
    pub hostname: Option<String>,
    /// Where that host's name comes from, in a word.
    pub hostname_origin: &'static str,
    /// The time.
    pub clock: Clock,
    /// The event bus; a default one has no subscribers and costs nothing.
    pub hub: Hub,
    /// The last lines of the log, for the pages; an empty one shows none.
    pub log: Arc<LogRing>,
}

/// A server at work.
pub struct Server {
    lanes: Vec<LaneHandle>,
    lane_threads: Vec<JoinHandle<()>>,
    flusher_thread: JoinHandle<()>,
    to_flusher: Sender<Message>,
    new_rules: Vec<Sender<Arc<Rules>>>,
    forwarder: Option<Arc<Forwarder>>,
    discarded: Option<Arc<Mutex<Discarded>>>,
    totals: Arc<Mutex<Totals>>,
    tagger: Option<Arc<LiveTagger>>,
    raw_forwarder: Option<Arc<RawForwarder>>,
    hostname: Option<String>,
    stop_within: Duration,
    console: bool,
    listeners: Vec<String>,
    /// What is in force, as text.
    effective: Mutex<Vec<(&'static str, String)>>,
    hub: Hub,
    /// The debug log, which ends with the server.
    debug_log: Mutex<Vec<Subscription>>,
    admin_state: Arc<AdminState>,
    admin: AdminServers,
    doors: Option<Doors>,
    door_buckets: Option<DoorBuckets>,
    #[cfg(feature = "global")]
    global: Option<GlobalTier>,
    /// Reports on this process (`instrumentation_telemetry`).
    self_report: Option<SelfReport>,
    /// Keeps counts per metric from start to end (`dogstatsd_metrics_stats_enable`).
    _counting: Option<Counting>,
}

impl Server {
    /// Binds, starts every thread and says so.
    ///
    /// # Errors
    /// See [`ServerError`]; nothing stays bound or running.
    pub fn start(settings: ServerSettings) -> Result<Self, ServerError> {
        let ServerSettings { loaded, outputs, hostname, hostname_origin, clock, hub, log } =
            settings;
        let debug_log = events::debug_log(&hub);
        let self_report = SelfReport::prepare(&loaded, hostname.as_deref(), &clock, &hub);
        let config = &loaded.config;
        let lanes = settings::lanes(config);
        allocator::give_back_long_lists();
        let open_max = descriptors::raise();
        let connections = descriptors::connections(config.stream_connections_max, open_max);
        let mut bound = net::bind(settings::net(&loaded, lanes, connections))?;
        let bound_doors = doors::bind(&loaded)?;
        banner::listening(&bound);
        let console = outputs.list.contains(&OutputKind::Console);
        if let Some(line) = banner::try_it(&bound).filter(|_| console) {
            tracing::info!(target: "net", "{line}");
        }
        let mailbox =
            bound_doors.as_ref().and_then(|doors| doors::mailbox(config, doors, &mut bound));
        let totals = Arc::new(Mutex::new(Totals::default()));
        let doors_accounting = Arc::new(DoorsAccounting::default());
        #[cfg_attr(not(feature = "global"), expect(unused_mut))]
        let mut delivery = outputs::start(config, &outputs, hostname.as_deref(), &clock, &hub)?;
        #[cfg(feature = "global")]
        let global = GlobalTier::start(
            config,
            &outputs,
            hostname.as_deref(),
            (&clock, &hub),
            &mut delivery.outputs,
        )?;
        let tagger = start_tagger(config)?;
        let rules = settings::rules(config, hostname.as_deref(), lanes, as_tagger(tagger.as_ref()));
        let rules = Arc::new(rules);
        let forward = match &bound_doors {
            Some(_) => doors_forward::start(config, &outputs, &rules, &doors_accounting, &clock)?,
            None => None,
        };
        let state = RandomState::new();
        let liveness = Arc::new(Liveness::new(lanes, config.interval));
        let (to_flusher, messages) = mpsc::channel();
        let watch = Arc::new(Watch::default());
        let counting = config.dogstatsd_metrics_stats_enable.then(|| watch.count());
        let shared = Shared {
            rules: Arc::clone(&rules),
            state: state.clone(),
            clock: clock.clone(),
            liveness: Arc::clone(&liveness),
            watch: Arc::clone(&watch),
            hub: hub.clone(),
            console,
        };
        let mut parts = lane_parts(config, &bound, shared);
        parts.raw_forwarder = start_raw_forwarder(config, &clock)?;
        parts.mailbox = mailbox.clone();
        let listener_names = parts.listener_names.clone();
        let (spares, mut workers) = make_workers(lanes, &parts, &to_flusher);
        let listeners = bound.listeners.clone();
        let listeners_off = bound.off().cloned().collect();
        let part_rules =
            Arc::new(settings::part_rules(config, hostname.as_deref(), as_tagger(tagger.as_ref())));
        let recorder = bound_doors.as_ref().map(|_| {
            let shared = door_buckets::Shared {
                rules: Arc::clone(&part_rules),
                state: state.clone(),
                memory: Arc::clone(&parts.settings.memory),
                accounting: Arc::clone(&doors_accounting),
                watch: Arc::clone(&watch),
            };
            door_buckets::recorder(config, shared, &clock)
        });
        let own = settings::self_telemetry(config, &outputs).then(|| {
            let forwarder = delivery.forwarder.clone();
            let shard = parts.settings.clone();
            let own = SelfMetrics::new(lanes, shard, state.clone(), clock.unix(), forwarder);
            if config.self_service_check { own.with_check(&rules) } else { own }
        });
        let mut flusher = Flusher::new(
            settings::flush(config),
            Arc::clone(&rules),
            lanes + usize::from(own.is_some()),
            state.clone(),
        );
        // Only the intake keeps the last write of a series and second, and only what is posted there
        // can be overwritten.
        let posts = outputs.list.contains(&OutputKind::Datadog);
        let handover = (posts && config.dogstatsd_flush_incomplete_buckets).then(|| {
            let interval = flusher.interval();
            let file = HandOverFile::new(&config.run_directory(), &rules, interval);
            flusher.take_over(file.read(clock.unix().as_secs(), &state));
            file
        });
        let nets = bound.into_lanes().map_err(ServerError::system("preparing the lanes"))?;
        let handles: Vec<LaneHandle> = nets.iter().map(Lane::handle).collect();
        let admin_state = Arc::new(AdminState {
            hostname: hostname.clone(),
            hostname_origin,
            output: outputs.list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            interval: config.interval,
            started_at: clock.unix(),
            clock: clock.clone(),
            listeners: listeners.clone(),
            listeners_off,
            receive_buffer_bytes: settings::net_buffer(config),
            limits: ProcessLimits::new(config, &rules, lanes, connections),
            aggregation_memory: Arc::clone(&parts.settings.memory),
            liveness: Arc::clone(&liveness),
            watch: Arc::clone(&watch),
            stats_kept: counting.is_some(),
            lanes: handles.clone(),
            totals: Arc::clone(&totals),
            doors: doors_accounting,
            forwarder: delivery.forwarder.clone(),
            discarded: delivery.discarded.clone(),
            known_contexts: flusher::known_contexts(to_flusher.clone()),
            config: Mutex::new(ConfigState::of(&loaded)),
            refusals: Arc::default(),
            log,
            tagger: as_tagger(tagger.as_ref()),
            observed: Observed::new(&loaded, explainer(&loaded, &rules, hostname_origin)),
            global: std::sync::OnceLock::new(),
        });
        #[cfg(feature = "global")]
        if let Some(global) = &global {
            // Set once, here.
            let _ = admin_state.global.set(global.source());
        }
        let flushing = FlusherThread {
            contexts_max: rules.limits.contexts_max.saturating_mul(lanes),
            flusher,
            doors: recorder.as_ref().map(|_| DoorFlushers::new(config, &part_rules, &state)),
            handover,
            own,
            outputs: delivery.outputs,
            spares,
            kernel_drops: KernelDrops::new(
                listeners.clone(),
                (settings::net_buffer(config), config.dogstatsd_buffer_size),
                config.interval.as_secs(),
            ),
            lines: BTreeMap::new(),
            descriptions: listeners,
            totals: Arc::clone(&totals),
            clock: clock.clone(),
            flush_incomplete: config.dogstatsd_flush_incomplete_buckets,
            lanes: vec![Vec::new(); lanes],
            conflict_named: false,
            trim: allocator::Trim::default(),
            hub: hub.clone(),
            liveness,
            watch,
            admin: Arc::clone(&admin_state),
        };
        let flusher_thread = spawn("flusher", move || flushing.run(&messages))?;
        let mut lane_threads = Vec::new();
        let mut new_rules = Vec::new();
        for (number, net) in nets.into_iter().enumerate().rev() {
            let Some((worker, rules)) = workers.pop() else { break };
            new_rules.push(rules);
            lane_threads.push(spawn(&format!("lane-{number}"), move || worker.run(net))?);
        }
        let inbox = mailbox.map(|mailbox| mailbox.inbox);
        if let (Some(inbox), Some(first)) = (&inbox, handles.first().cloned()) {
            inbox.on_arrival(move || first.mail());
        }
        if let Some(tagger) = &tagger {
            let handles = handles.clone();
            tagger.on_change(move || handles.iter().for_each(LaneHandle::wake));
        }
        events::listeners_changed(&hub, &listener_names, "open");
        let self_report =
            self_report.and_then(|report| report.start(&loaded, Parts::of(&admin_state)));
        let admin = AdminServers::start(config, &admin_state);
        let statsd_port = banner::udp_port(&admin_state.listeners);
        let (mut doors, mut door_buckets) = (None, None);
        if let (Some(listeners), Some(recorder)) = (bound_doors, recorder) {
            let opened = Doors::open(
                listeners,
                doors::Shared {
                    config,
                    rules,
                    clock: clock.clone(),
                    recorder: recorder.clone(),
                    forward,
                    inbox,
                    statsd_port,
                    open_max,
                },
            )?;
            let list = opened.list();
            door_buckets = Some(DoorBuckets::start(recorder, list, clock, to_flusher.clone())?);
            doors = Some(opened);
        }
        Ok(Server {
            lanes: handles,
            lane_threads,
            flusher_thread,
            to_flusher,
            new_rules,
            forwarder: delivery.forwarder,
            discarded: delivery.discarded,
            totals,
            tagger,
            raw_forwarder: parts.raw_forwarder,
            hostname,
            stop_within: config.stop_within(),
            console,
            listeners: listener_names,
            effective: Mutex::new(events::effective(&loaded)),
            hub,
            debug_log: Mutex::new(debug_log),
            admin_state,
            admin,
            doors,
            door_buckets,
            #[cfg(feature = "global")]
            global,
            self_report,
            _counting: counting,
        })
    }

    /// How long [`Server::stop`] may take.
    #[must_use]
    pub fn stop_within(&self) -> Duration {
        self.stop_within
    }

    /// A check that every thread is alive, for a watchdog; it may outlive the server.
    pub fn alive(&self) -> impl Fn() -> bool + Send + 'static {
        let liveness = Arc::clone(&self.admin_state.liveness);
        move || liveness.is_alive()
    }

    /// Takes note that the debug level was switched on or off: only while it is on are the events
    /// built that the debug log is written from.
    pub fn log_level_changed(&self) {
        let mut debug_log = self.debug_log.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of before go first, so that no event is written twice.
        debug_log.clear();
        *debug_log = events::debug_log(&self.hub);
    }

    /// The client that reports on this process, if that is on (`instrumentation_telemetry`).
    #[must_use]
    pub fn telemetry(&self) -> Option<&crate::telemetry_client::Client> {
        self.self_report.as_ref().map(SelfReport::client)
    }

    /// The kinds of listeners that a service manager passed.
    #[must_use]
    pub fn inherited(&self) -> Vec<Transport> {
        let listeners = self.admin_state.listeners.iter();
        listeners.filter(|found| found.inherited).map(|found| found.transport).collect()
    }

    /// A reload was refused: the status says why, beside the warnings of the configuration in force.
    pub fn reload_refused(&self, in_force: &Loaded, problems: &[config::Problem]) {
        let mut state = ConfigState::of(in_force);
        let refused = problems.iter().map(|problem| format!("reload refused: {problem}"));
        state.warnings.extend(refused);
        self.admin_state.set_config(state);
    }

    /// Takes over what a reload may change: names, tags and histogram aggregates. Sockets, lanes and
    /// endpoints stay as they are, except for the API keys.
    pub fn reload(&self, loaded: &Loaded) {
        let config = &loaded.config;
        let tagger = as_tagger(self.tagger.as_ref());
        let hostname = self.hostname.as_deref();
        let buckets = self.door_buckets.as_ref();
        let part_rules = buckets.map(|doors| doors.reload(config, hostname, tagger.clone()));
        let rules = settings::rules(config, hostname, self.lanes.len(), tagger);
        let rules = Arc::new(rules);
        let histograms = settings::histograms(config);
        let reload = Reload { rules: Arc::clone(&rules), histograms, part_rules };
        // A thread that is gone takes no rules; the stop will tell.
        let _ = self.to_flusher.send(Message::Reload(reload));
        for (new_rules, lane) in self.new_rules.iter().zip(self.lanes.iter().rev()) {
            let _ = new_rules.send(Arc::clone(&rules));
            lane.wake();
        }
        if let (Some(forwarder), Some(key)) = (&self.forwarder, &config.api_key) {
            forwarder.set_api_key(0, key.expose());
        }
        if let (Some(forward), Some(key)) =
            (self.doors.as_ref().and_then(Doors::forward), &config.api_key)
        {
            forward.set_api_key(key.expose());
        }
        if let Some(doors) = &self.doors {
            doors.reload(config, &rules);
        }
        #[cfg(feature = "global")]
        if let Some(global) = &self.global {
            global.reload(config);
        }
        events::config_reloaded(&self.hub, &self.effective, loaded);
        self.admin_state.set_config(ConfigState::of(loaded));
        let explainer = explainer(loaded, &rules, self.admin_state.hostname_origin);
        self.admin_state.observed.reload(loaded, explainer);
        if let Some(report) = &self.self_report {
            report.reload(loaded);
        }
    }

    /// Drains, flushes and delivers within the configured time, then says what became of every line
    /// and payload. True when every payload was delivered.
    pub fn stop(mut self) -> bool {
        let deadline = Instant::now() + self.stop_within;
        events::shutdown_started(&self.hub, self.stop_within, self.forwarder.as_deref());
        self.admin_state.liveness.stopping();
        #[cfg(feature = "global")]
        if let Some(global) = &self.global {
            global.leave();
        }
        if let Some(doors) = &mut self.doors {
            doors.close();
        }
        // After the last request, before the flusher ends.
        if let Some(buckets) = self.door_buckets.take() {
            buckets.stop();
        }
        self.lanes.iter().for_each(|lane| lane.stop(DRAIN));
        for thread in self.lane_threads {
            if thread.join().is_err() {
                tracing::error!(target: "server", "a lane thread failed while stopping");
            }
        }
        events::listeners_changed(&self.hub, &self.listeners, "closed");
        if self.flusher_thread.join().is_err() {
            tracing::error!(target: "server", "the flusher failed; what it held is lost");
            events::component_failed(&self.hub, "flusher", "it panicked", 0);
        }
        let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        summary::lines(&totals, &self.listeners);
        if let Some(forwarder) = &self.raw_forwarder {
            summary::raw_copies(forwarder);
        }
        drop(self.admin);
        // All at once: each may take all the time there is.
        let (report, handed_over) = thread::scope(|scope| {
            #[cfg(feature = "global")]
            let global = self.global.take().map(|global| scope.spawn(|| global.stop(deadline)));
            if let Some(forward) = self.doors.as_ref().and_then(Doors::forward) {
                scope.spawn(|| forward.shutdown(deadline));
            }
            let report = self.forwarder.as_ref().map(|forwarder| forwarder.shutdown(deadline));
            #[cfg(feature = "global")]
            let handed_over = global.is_none_or(|thread| thread.join().unwrap_or(false));
            #[cfg(not(feature = "global"))]
            let handed_over = true;
            (report, handed_over)
        });
        if self.admin_state.doors.is_open() {
            summary::doors(&DoorsStatus::of(&self.admin_state.doors, totals.door_contexts));
        }
        // Last, so that it tells of the deliveries too.
        if let Some(report) = self.self_report.take() {
            report.stop(deadline);
        }
        if let Some(report) = report {
            for line in report.to_string().lines() {
                tracing::info!(target: "forward", "{line}");
            }
            events::shutdown_completed(&self.hub, Some(&report));
            return report.is_clean() && handed_over;
        }
        match self.discarded {
            Some(discarded) => {
                let built = *discarded.lock().unwrap_or_else(PoisonError::into_inner);
                summary::discarded(&built, &self.admin_state.output);
            }
            None => summary::nothing_built(self.console),
        }
        events::shutdown_completed(&self.hub, None);
        handed_over
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, ServerError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map_err(ServerError::system("starting a thread"))
}

/// The tagger, after it has read its sources once or was given time to.
fn start_tagger(config: &Config) -> Result<Option<Arc<LiveTagger>>, ServerError> {
    let Some(settings) = settings::tagger(config) else { return Ok(None) };
    let tagger = LiveTagger::start(settings).map_err(ServerError::system("starting the tagger"))?;
    if !tagger.wait_ready(FIRST_TAGS) {
        tracing::info!(target: "tagger", "tags of workloads are not known yet; they apply once they are");
    }
    Ok(Some(Arc::new(tagger)))
}

/// What tells a person, for one line, what this server does with it.
fn explainer(loaded: &Loaded, rules: &Arc<Rules>, host_origin: &'static str) -> Explainer {
    Explainer {
        config: loaded.config.clone(),
        rules: Arc::clone(rules),
        shard: settings::shard(&loaded.config),
        flush: settings::flush(&loaded.config),
        host_origin,
    }
}

fn as_tagger(tagger: Option<&Arc<LiveTagger>>) -> Option<Arc<dyn Tagger>> {
    tagger.map(|tagger| Arc::clone(tagger) as Arc<dyn Tagger>)
}

fn start_raw_forwarder(
    config: &Config,
    clock: &Clock,
) -> Result<Option<Arc<RawForwarder>>, ServerError> {
    let (Some(host), port @ 1..) = (&config.statsd_forward_host, config.statsd_forward_port) else {
        return Ok(None);
    };
    let forwarder = RawForwarder::start(host, port, clock.clone());
    forwarder.map(Arc::new).map(Some).map_err(ServerError::system("statsd_forward_host"))
}

/// What all lanes have in common with the rest of the server.
struct Shared {
    rules: Arc<Rules>,
    state: RandomState,
    clock: Clock,
    liveness: Arc<Liveness>,
    watch: Arc<Watch>,
    hub: Hub,
    console: bool,
}

fn lane_parts(config: &Config, bound: &Bound, shared: Shared) -> LaneParts {
    let Shared { rules, state, clock, liveness, watch, hub, console } = shared;
    let eol_required = |transport: Transport| match transport {
        Transport::Udp => config.dogstatsd_eol_required.contains(&config::Transport::Udp),
        Transport::UnixDatagram | Transport::UnixStream => {
            config.dogstatsd_eol_required.contains(&config::Transport::Uds)
        }
        Transport::Tcp | Transport::Http => false,
    };
    LaneParts {
        settings: settings::shard(config),
        rules,
        state,
        clock,
        eol_required: bound.listeners.iter().map(|found| eol_required(found.transport)).collect(),
        transports: bound.listeners.iter().map(|found| found.transport).collect(),
        listener_names: bound
            .listeners
            .iter()
            .map(|found| format!("{} {}", found.transport, found.address))
            .collect(),
        verbose: !config.dogstatsd_disable_verbose_logs,
        oversize_shown: config.dogstatsd_stream_log_too_big,
        proc_root: settings::proc_root(config),
        raw_forwarder: None,
        mailbox: None,
        announced: console.then(|| Arc::new(AtomicUsize::new(0))),
        datagram_bytes_max: config.dogstatsd_buffer_size,
        hub,
        liveness,
        watch,
        sender_accounts: config.sender_accounts,
    }
}

type MadeWorkers = (Vec<Sender<Bucket>>, Vec<(Box<LaneWorker>, Sender<Arc<Rules>>)>);

fn make_workers(lanes: usize, parts: &LaneParts, to_flusher: &Sender<Message>) -> MadeWorkers {
    let mut spares = Vec::new();
    let mut workers = Vec::new();
    for number in 0..lanes {
        let (spare, spare_end): (Sender<Bucket>, Receiver<Bucket>) = mpsc::channel();
        let (rules, rules_end) = mpsc::channel();
        let to_flusher = to_flusher.clone();
        let tell = move |message: FromLane| to_flusher.send(Message::Lane(message)).is_ok();
        let mut parts = parts.clone();
        // A body goes to one lane; the others have nothing to ask for.
        parts.mailbox = parts.mailbox.filter(|_| number == 0);
        let worker = LaneWorker::new(number, parts, Box::new(tell), spare_end, rules_end);
        spares.push(spare);
        workers.push((worker, rules));
    }
    (spares, workers)
}
