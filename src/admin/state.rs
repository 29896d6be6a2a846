//! The state behind the admin endpoints: what is fixed at start, and where to find the rest.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::page::Observed;
use super::process::ProcessStatus;
use super::status::GlobalStatus;
use crate::aggregate::LineCounts;
use crate::clock::Clock;
use crate::config::{Config, Loaded, cgroup};
use crate::context::{Context, Rules};
use crate::doors::DoorsAccounting;
use crate::encode::Route;
use crate::forward::{ForwardAccounting, Forwarder};
use crate::http::Refusals;
use crate::memory::MemoryLimit;
use crate::net::{LaneHandle, ListenerCounts, ListenerDescription, Problem};
use crate::output::Discarded;
use crate::tagger::Tagger;
use crate::telemetry::LogRing;
use crate::watch::{Liveness, Totals, Watch};

/// Limits of the whole process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessLimits {
    pub contexts: usize,
    pub connections: usize,
    pub events: usize,
    pub spool_bytes: u64,
    pub memory_bytes: Option<u64>,
}

impl ProcessLimits {
    pub fn new(config: &Config, rules: &Rules, lanes: usize, connections: usize) -> Self {
        ProcessLimits {
            contexts: rules.limits.contexts_max * lanes,
            connections,
            events: config.events_per_interval_max * lanes,
            spool_bytes: config.forwarder_storage_max_size_in_bytes,
            memory_bytes: cgroup::limits(std::path::Path::new("/")).memory_bytes,
        }
    }
}

/// Problems of the configuration in force.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ConfigState {
    pub degraded: bool,
    pub warnings: Vec<String>,
}

impl ConfigState {
    pub fn of(loaded: &Loaded) -> Self {
        ConfigState {
            degraded: loaded.degraded(),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Every context the flusher knows. Contexts share their bytes, so the copy is cheap.
pub(crate) struct KnownContexts {
    pub contexts: Vec<Context>,
    /// Those of the doors, whose common tags are among their own.
    pub of_doors: Vec<Context>,
    pub rules: Arc<Rules>,
}

impl KnownContexts {
    /// Each context with the tags that join it where it is posted.
    pub fn all(&self) -> impl Iterator<Item = (&Context, &[Box<[u8]>])> {
        let of_lines = self.contexts.iter();
        let of_lines = of_lines.map(|context| (context, self.rules.common_tags_of(context)));
        of_lines.chain(self.of_doors.iter().map(|context| (context, &[][..])))
    }
}

pub(crate) struct AdminState {
    pub hostname: Option<String>,
    pub hostname_origin: &'static str,
    pub output: String,
    pub interval: Duration,
    pub clock: Clock,
    /// Unix time.
    pub started_at: Duration,
    pub listeners: Vec<ListenerDescription>,
    /// Default listeners that could not be bound, with the reason.
    pub listeners_off: Vec<Problem>,
    pub receive_buffer_bytes: usize,
    pub limits: ProcessLimits,
    /// What samples, members and sketches take.
    pub aggregation_memory: Arc<MemoryLimit>,
    pub liveness: Arc<Liveness>,
    pub watch: Arc<Watch>,
    /// Counts per metric are kept all the time.
    pub stats_kept: bool,
    pub lanes: Vec<LaneHandle>,
    pub totals: Arc<Mutex<Totals>>,
    pub doors: Arc<DoorsAccounting>,
    pub forwarder: Option<Arc<Forwarder>>,
    pub discarded: Option<Arc<Mutex<Discarded>>>,
    /// Asks the flusher for every context it knows; none when it does not answer in time.
    pub known_contexts: Box<dyn Fn() -> Option<KnownContexts> + Send + Sync>,
    pub config: Mutex<ConfigState>,
    /// Of the admin server.
    pub refusals: Arc<Refusals>,
    /// The last lines of the log.
    pub log: Arc<LogRing>,
    /// Names the pods of senders.
    pub tagger: Option<Arc<dyn Tagger>>,
    /// What the live page remembers.
    pub observed: Observed,
    /// Says how the global tier does; not set where it is off.
    pub global: OnceLock<GlobalSource>,
}

/// Says how the global tier does.
pub(crate) type GlobalSource = Box<dyn Fn() -> GlobalStatus + Send + Sync>;

/// What changes, copied at one moment.
pub(crate) struct Snapshot {
    /// The lines of open buckets included.
    pub totals: Totals,
    /// Of the totals, the lines in open buckets.
    pub open: LineCounts,
    /// Contexts named for the first time since the last flush; one that several lanes name is
    /// counted by each.
    pub contexts_new: usize,
    /// The same since the start.
    pub births: u64,
    /// Since the last flush; none before the first.
    pub flushed_ago: Option<Duration>,
    pub lines_per_second: f64,
    pub accounting: Option<ForwardAccounting>,
    pub discarded: Option<Discarded>,
    pub process: ProcessStatus,
}

impl AdminState {
    /// Everything counted so far, freshly gathered from the lanes: it may take a moment, so this is
    /// for pages and not for probes.
    pub fn snapshot(&self) -> Snapshot {
        self.watch.refresh(&self.lanes);
        self.as_handed_over()
    }

    /// Everything counted as of when the lanes last handed over, which they do when they close a
    /// bucket.
    pub fn as_handed_over(&self) -> Snapshot {
        let discarded = self.discarded.as_ref();
        // The flushed totals first: the lanes are never behind them.
        let flushed = self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let counted = self.watch.counted();
        let (contexts_new, births) = (counted.contexts_new, counted.births);
        let (totals, open) = counted.ahead_of(&flushed);
        let now = self.clock.monotonic();
        let flushed_ago = totals.flushed_at.map(|at| now.saturating_sub(at));
        // The last whole interval and what came since; at the start, everything.
        let window = self.interval.saturating_add(flushed_ago.unwrap_or_default());
        let window = window.min(self.liveness.uptime()).as_secs_f64();
        let lines = totals.last.received + open.received;
        Snapshot {
            totals,
            open,
            contexts_new,
            births,
            flushed_ago,
            lines_per_second: if window > 0.0 { lines as f64 / window } else { 0.0 },
            accounting: self.forwarder.as_ref().map(|forwarder| forwarder.accounting()),
            discarded: discarded.map(|sum| *sum.lock().unwrap_or_else(PoisonError::into_inner)),
            process: ProcessStatus::of(self.started_at),
        }
    }

    /// Listeners with their counts; before the first flush there are none.
    pub fn of_listeners<'a>(
        &'a self,
        totals: &'a Totals,
    ) -> impl Iterator<Item = (&'a ListenerDescription, &'a ListenerCounts)> {
        self.listeners.iter().zip(&totals.listeners)
    }

    /// `uds /var/run/datadog/dsd.socket: /var/run/datadog does not exist`, per listener that is off.
    pub fn listeners_off(&self) -> Vec<String> {
        let row =
            |off: &Problem| format!("{} {}: {}", off.transport.label(), off.place, off.detail);
        self.listeners_off.iter().map(row).collect()
    }

    /// The global tier now, with what is wrong with it.
    pub fn global(&self) -> GlobalStatus {
        let mut status = self.global.get().map(|source| source()).unwrap_or_default();
        let problems = status.problems();
        status.problems.extend(problems);
        status
    }

    pub fn config(&self) -> ConfigState {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Other problems than before, after a reload that was taken over or refused.
    pub fn set_config(&self, config: ConfigState) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

impl Snapshot {
    /// Items handed over for posting, by the Agent's data types. Without an intake, events and checks
    /// are those that were recorded.
    pub fn flushed(&self) -> [(&'static str, u64); 4] {
        let first = self.accounting.as_ref().and_then(|accounting| accounting.endpoints.first());
        let discarded =
            |route: Route| self.discarded.map_or(0, |sums| sums.points_of[route as usize]);
        let built = |route: Route| {
            first.map_or_else(|| discarded(route), |endpoint| endpoint.route(route).built.points)
        };
        [
            ("series", built(Route::SeriesV2) + built(Route::SeriesV1)),
            ("sketches", built(Route::Sketches)),
            ("events", self.totals.lines.events - self.open.events),
            ("service_checks", self.totals.lines.checks - self.open.checks),
        ]
    }
}
