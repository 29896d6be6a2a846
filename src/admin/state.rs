//! The state behind the admin endpoints: what is fixed at start, and where to find the rest.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Config, Loaded, cgroup};
use crate::context::{Context, Rules};
use crate::encode::Route;
use crate::forward::{ForwardAccounting, Forwarder};
use crate::net::{LaneHandle, ListenerCounts, ListenerDescription};
use crate::output::Discarded;
use crate::watch::{Liveness, Totals, Watch};

/// ProcessLimits of the whole process.
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
    pub rules: Arc<Rules>,
}

pub(crate) struct AdminState {
    pub hostname: Option<String>,
    pub hostname_origin: &'static str,
    pub output: String,
    pub interval: Duration,
    pub listeners: Vec<ListenerDescription>,
    pub receive_buffer_bytes: usize,
    pub limits: ProcessLimits,
    pub liveness: Arc<Liveness>,
    pub watch: Arc<Watch>,
    /// Counts per metric are kept all the time.
    pub stats_kept: bool,
    pub lanes: Vec<LaneHandle>,
    pub totals: Arc<Mutex<Totals>>,
    pub forwarder: Option<Arc<Forwarder>>,
    pub discarded: Option<Arc<Mutex<Discarded>>>,
    /// Asks the flusher for every context it knows; none when it does not answer in time.
    pub known_contexts: Box<dyn Fn() -> Option<KnownContexts> + Send + Sync>,
    pub config: Mutex<ConfigState>,
}

/// What changes, copied at one moment.
pub(crate) struct Snapshot {
    pub totals: Totals,
    pub books: Option<ForwardAccounting>,
    pub discarded: Option<Discarded>,
    /// Resident memory of the process, where the system tells.
    pub memory_bytes: Option<u64>,
}

impl AdminState {
    pub fn snapshot(&self) -> Snapshot {
        let discarded = self.discarded.as_ref();
        Snapshot {
            totals: self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            books: self.forwarder.as_ref().map(|forwarder| forwarder.accounting()),
            discarded: discarded.map(|sum| *sum.lock().unwrap_or_else(PoisonError::into_inner)),
            memory_bytes: resident_bytes(),
        }
    }

    /// Listeners with their counts; before the first flush there are none.
    pub fn of_listeners<'a>(
        &'a self,
        totals: &'a Totals,
    ) -> impl Iterator<Item = (&'a ListenerDescription, &'a ListenerCounts)> {
        self.listeners.iter().zip(&totals.listeners)
    }

    pub fn config(&self) -> ConfigState {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A reload took over another configuration.
    pub fn set_config(&self, config: ConfigState) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

impl Snapshot {
    /// Items handed over for posting, by the Agent's data types. Without an intake, events and checks
    /// are those that were recorded.
    pub fn flushed(&self) -> [(&'static str, u64); 4] {
        let first = self.books.as_ref().and_then(|books| books.endpoints.first());
        let discarded =
            |route: Route| self.discarded.map_or(0, |sums| sums.points_of[route as usize]);
        let built = |route: Route| {
            first.map_or_else(|| discarded(route), |endpoint| endpoint.route(route).built.points)
        };
        [
            ("series", built(Route::SeriesV2) + built(Route::SeriesV1)),
            ("sketches", built(Route::Sketches)),
            ("events", self.totals.lines.events),
            ("service_checks", self.totals.lines.checks),
        ]
    }
}

/// `VmRSS` of `/proc/self/status`, in bytes.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}
