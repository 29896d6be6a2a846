//! Composes the rooms into the daemon: lanes, flusher, forwarder, signals. The only room that knows
//! all the others.
//!
//! In: a [`Loaded`] configuration and the outputs to feed. Out: a running server, and at its end a
//! sentence about every line and payload. Promise: lanes never wait for the flusher, the flusher
//! waits for delivery only within half an interval, a shutdown ends within its time. Refusal: it
//! parses nothing, sums nothing and encodes nothing itself.

mod admin;
mod banner;
mod facts;
mod flushing;
mod health;
mod inquiry;
mod intake;
mod lane;
mod metrics_page;
mod overflow;
mod plan;
mod ranking;
mod reach;
mod refusals;
mod samples;
mod self_metrics;
mod senders;
mod signals;
mod status;
mod watch;

use std::fs::OpenOptions;
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ahash::RandomState;
use thiserror::Error;

use self::admin::Admin;
use self::facts::{Bounds, ConfigFacts, Facts};
use self::flushing::{Flushing, Message, Reload, Totals};
use self::health::Health;
use self::intake::{Delivery, Discarded, Intake};
use self::lane::{FromLane, Parts, Worker};
pub use self::reach::{Reached, reach};
use self::self_metrics::SelfMetrics;
pub use self::signals::{Signal, Signals};
use self::watch::{Counting, Watch};
use crate::aggregate::Bucket;
use crate::clock::Clock;
use crate::config::{self, Config, Loaded, Output as OutputKind};
use crate::context::Rules;
use crate::encode::EncodeCounts;
use crate::flush::Flusher;
use crate::forward::{self, EndpointError, Forwarder, StartError};
use crate::net::{self, BindError, Bound, Lane, LaneHandle, Transport};
use crate::output::{Console, JsonLines, Output, grouped};

/// How long a stopping lane reads what is still queued.
const DRAIN: Duration = Duration::from_millis(250);

/// Why the server could not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Listeners.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// An endpoint that cannot be.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Endpoints(Vec<EndpointError>),
    /// Delivery.
    #[error(transparent)]
    Forward(#[from] StartError),
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
pub struct Plan {
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
    hostname: Option<String>,
    stop_within: Duration,
    console: bool,
    facts: Arc<Facts>,
    admin: Admin,
    /// Keeps counts per metric from start to end (`dogstatsd_metrics_stats_enable`).
    _counting: Option<Counting>,
}

impl Server {
    /// Binds, starts every thread and says so.
    ///
    /// # Errors
    /// See [`ServerError`]; nothing stays bound or running.
    pub fn start(plan: Plan) -> Result<Self, ServerError> {
        let Plan { loaded, outputs, hostname, hostname_origin, clock } = plan;
        let config = &loaded.config;
        let lanes = plan::lanes(config);
        let bound = net::bind(plan::net(config, lanes))?;
        banner::listening(&bound);
        let console = outputs.list.contains(&OutputKind::Console);
        if let Some(line) = banner::try_it(&bound).filter(|_| console) {
            tracing::info!(target: "net", "{line}");
        }
        let totals = Arc::new(Mutex::new(Totals::default()));
        let delivery = start_outputs(config, &outputs, hostname.as_deref(), &clock)?;
        let rules = Arc::new(plan::rules(config, hostname.as_deref(), lanes));
        let state = RandomState::new();
        let health = Arc::new(Health::new(lanes, config.interval));
        let (to_flusher, messages) = mpsc::channel();
        let watch = Arc::new(Watch::default());
        let counting = config.dogstatsd_metrics_stats_enable.then(|| watch.count());
        let parts = lane_parts(config, &bound, &rules, &state, &clock, console, (&health, &watch));
        let (spares, mut workers) = make_workers(lanes, &parts, &to_flusher);
        let listeners = bound.listeners.clone();
        let own = plan::self_telemetry(config, &outputs).then(|| {
            let forwarder = delivery.forwarder.clone();
            SelfMetrics::new(lanes, plan::shard(config), state.clone(), clock.unix(), forwarder)
        });
        let flushing = Flushing {
            flusher: Flusher::new(
                plan::flush(config),
                Arc::clone(&rules),
                lanes + usize::from(own.is_some()),
                state,
            ),
            own,
            outputs: delivery.outputs,
            spares,
            receive_buffer_bytes: plan::net_buffer(config),
            drops_told: vec![0; bound.listeners.len()],
            descriptions: listeners.clone(),
            totals: Arc::clone(&totals),
            clock,
            flush_incomplete: config.dogstatsd_flush_incomplete_buckets,
            lanes: vec![Vec::new(); lanes],
            conflict_named: false,
            health: Arc::clone(&health),
            watch: Arc::clone(&watch),
        };
        let flusher_thread = spawn("flusher", move || flushing.run(&messages))?;
        let nets = bound.into_lanes().map_err(ServerError::system("preparing the lanes"))?;
        let handles: Vec<LaneHandle> = nets.iter().map(Lane::handle).collect();
        let mut lane_threads = Vec::new();
        let mut new_rules = Vec::new();
        for (number, net) in nets.into_iter().enumerate().rev() {
            let Some((worker, rules)) = workers.pop() else { break };
            new_rules.push(rules);
            lane_threads.push(spawn(&format!("lane-{number}"), move || worker.run(net))?);
        }
        let facts = Arc::new(Facts {
            hostname: hostname.clone(),
            hostname_origin,
            output: outputs.list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            interval: config.interval,
            listeners,
            receive_buffer_bytes: plan::net_buffer(config),
            limits: Bounds::new(config, &rules, lanes),
            health,
            watch,
            stats_kept: counting.is_some(),
            lanes: handles.clone(),
            totals: Arc::clone(&totals),
            forwarder: delivery.forwarder.clone(),
            discarded: delivery.discarded.clone(),
            to_flusher: to_flusher.clone(),
            config: Mutex::new(ConfigFacts::of(&loaded)),
        });
        let admin = Admin::start(config, &facts);
        Ok(Server {
            lanes: handles,
            lane_threads,
            flusher_thread,
            to_flusher,
            new_rules,
            forwarder: delivery.forwarder,
            discarded: delivery.discarded,
            totals,
            hostname,
            stop_within: config.stop_within(),
            console,
            facts,
            admin,
            _counting: counting,
        })
    }

    /// How long [`Server::stop`] may take.
    #[must_use]
    pub fn stop_within(&self) -> Duration {
        self.stop_within
    }

    /// Takes over what a reload may change: names, tags and histogram aggregates. Sockets, lanes and
    /// endpoints stay as they are, except for the API keys.
    pub fn reload(&self, loaded: &Loaded) {
        let config = &loaded.config;
        let rules = Arc::new(plan::rules(config, self.hostname.as_deref(), self.lanes.len()));
        let histograms = plan::histograms(config);
        let reload = Reload { rules: Arc::clone(&rules), histograms };
        // A thread that is gone takes no rules; the stop will tell.
        let _ = self.to_flusher.send(Message::Reload(reload));
        for (new_rules, lane) in self.new_rules.iter().zip(self.lanes.iter().rev()) {
            let _ = new_rules.send(Arc::clone(&rules));
            lane.wake();
        }
        if let (Some(forwarder), Some(key)) = (&self.forwarder, &config.api_key) {
            forwarder.set_api_key(0, key.expose());
        }
        self.facts.set_config(ConfigFacts::of(loaded));
    }

    /// Drains, flushes and delivers within the configured time, then says what became of every line
    /// and payload. True when every payload was delivered.
    pub fn stop(self) -> bool {
        let deadline = Instant::now() + self.stop_within;
        self.facts.health.stopping();
        self.lanes.iter().for_each(|lane| lane.stop(DRAIN));
        for thread in self.lane_threads {
            if thread.join().is_err() {
                tracing::error!(target: "server", "a lane thread failed while stopping");
            }
        }
        if self.flusher_thread.join().is_err() {
            tracing::error!(target: "server", "the flusher failed; what it held is lost");
        }
        let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        say_lines(&totals);
        drop(self.admin);
        if let Some(forwarder) = self.forwarder {
            let report = forwarder.shutdown(deadline);
            tracing::info!(target: "forward", "payloads {report}");
            return report.is_clean();
        }
        if let Some(discarded) = self.discarded {
            let built = *discarded.lock().unwrap_or_else(PoisonError::into_inner);
            tracing::info!(
                target: "forward",
                "payloads {} built ({} points, {} bytes), none delivered (output none)",
                grouped(built.payloads),
                grouped(built.points),
                grouped(built.bytes)
            );
        } else {
            let why = if self.console { "console only" } else { "no intake" };
            tracing::info!(target: "forward", "payloads none built ({why})");
        }
        true
    }
}

fn say_lines(totals: &Totals) {
    let lines = &totals.lines;
    let reasons: Vec<String> =
        lines.reasons().map(|(reason, count)| format!("{reason} {}", grouped(count))).collect();
    let reasons =
        if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    tracing::info!(
        target: "flush",
        "lines    {} received = {} recorded + {} refused + {} dropped{reasons}",
        lines.received,
        lines.recorded(),
        lines.refused_total(),
        lines.dropped_total()
    );
    if lines.values != lines.metrics {
        tracing::info!(target: "flush", "values   {} in {} metric lines", lines.values, lines.metrics);
    }
    let (kernel, read) = (totals.kernel_drops(), totals.listeners.iter());
    let cut: u64 = read.map(|listener| listener.datagrams_truncated).sum();
    if kernel + cut > 0 {
        tracing::info!(
            target: "net",
            "kernel   dropped {} datagrams before they could be read; {} were longer than dogstatsd_buffer_size",
            grouped(kernel),
            grouped(cut)
        );
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ServerError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map_err(ServerError::system("starting a thread"))
}

struct Started {
    outputs: Vec<Box<dyn Output>>,
    forwarder: Option<Arc<Forwarder>>,
    discarded: Option<Arc<Mutex<Discarded>>>,
}

fn start_outputs(
    config: &Config,
    outputs: &config::Outputs,
    hostname: Option<&str>,
    clock: &Clock,
) -> Result<Started, ServerError> {
    let mut started = Started { outputs: Vec::new(), forwarder: None, discarded: None };
    let counts = Arc::new(Mutex::new(EncodeCounts::default()));
    let intake = |delivery| {
        Intake::new(config, hostname, delivery, clock.clone(), Arc::clone(&counts))
            .map_err(ServerError::system("preparing the encoders"))
    };
    for output in &outputs.list {
        let output: Box<dyn Output> = match output {
            OutputKind::Console => Box::new(Console::new(io::stdout())),
            OutputKind::JsonLines(None) => Box::new(JsonLines::new(BufWriter::new(io::stdout()))),
            OutputKind::JsonLines(Some(path)) => Box::new(json_lines(path)?),
            OutputKind::Datadog => {
                let endpoints =
                    forward::endpoints(&plan::endpoints(config)).map_err(ServerError::Endpoints)?;
                let settings = plan::forwarder(config).map_err(ServerError::system("ca_file"))?;
                let forwarder = Arc::new(Forwarder::start(endpoints, settings, clock.clone())?);
                started.forwarder = Some(Arc::clone(&forwarder));
                Box::new(intake(Delivery::Forward(forwarder))?)
            }
            OutputKind::None => {
                let discarded = Arc::new(Mutex::new(Discarded::default()));
                started.discarded = Some(Arc::clone(&discarded));
                Box::new(intake(Delivery::Discard(discarded))?)
            }
        };
        started.outputs.push(output);
    }
    Ok(started)
}

fn json_lines(path: &Path) -> Result<JsonLines<BufWriter<std::fs::File>>, ServerError> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file =
        file.map_err(|error| ServerError::JsonLines { path: path.display().to_string(), error });
    Ok(JsonLines::new(BufWriter::new(file?)))
}

fn lane_parts(
    config: &Config,
    bound: &Bound,
    rules: &Arc<Rules>,
    state: &RandomState,
    clock: &Clock,
    console: bool,
    (health, watch): (&Arc<Health>, &Arc<Watch>),
) -> Parts {
    let eol_required = |transport: Transport| match transport {
        Transport::Udp => config.dogstatsd_eol_required.contains(&config::Transport::Udp),
        Transport::UnixDatagram | Transport::UnixStream => {
            config.dogstatsd_eol_required.contains(&config::Transport::Uds)
        }
        Transport::Tcp => false,
    };
    Parts {
        settings: plan::shard(config),
        rules: Arc::clone(rules),
        state: state.clone(),
        clock: clock.clone(),
        eol_required: bound.listeners.iter().map(|found| eol_required(found.transport)).collect(),
        listener_names: bound
            .listeners
            .iter()
            .map(|found| format!("{} {}", found.transport, found.address))
            .collect(),
        verbose: !config.dogstatsd_disable_verbose_logs,
        oversize_shown: config.dogstatsd_stream_log_too_big,
        announced: console.then(|| Arc::new(AtomicUsize::new(0))),
        health: Arc::clone(health),
        watch: Arc::clone(watch),
    }
}

type MadeWorkers = (Vec<Sender<Bucket>>, Vec<(Worker, Sender<Arc<Rules>>)>);

fn make_workers(lanes: usize, parts: &Parts, to_flusher: &Sender<Message>) -> MadeWorkers {
    let mut spares = Vec::new();
    let mut workers = Vec::new();
    for number in 0..lanes {
        let (spare, spare_end): (Sender<Bucket>, Receiver<Bucket>) = mpsc::channel();
        let (rules, rules_end) = mpsc::channel();
        let to_flusher = to_flusher.clone();
        let tell = move |message: FromLane| to_flusher.send(Message::Lane(message)).is_ok();
        let worker = Worker::new(number, parts.clone(), Box::new(tell), spare_end, rules_end);
        spares.push(spare);
        workers.push((worker, rules));
    }
    (spares, workers)
}
