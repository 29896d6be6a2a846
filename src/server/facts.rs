//! What anybody who asks is told from: things that do not change, and where to look for the rest.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::flushing::{Ask, KnownContexts, Message, Totals};
use super::health::Health;
use super::intake::Discarded;
use super::watch::Watch;
use crate::config::{Config, Loaded, cgroup};
use crate::context::Rules;
use crate::forward::{ForwardBooks, Forwarder};
use crate::net::{LaneHandle, ListenerDescription};

/// How long a question waits for the flusher, which may be busy handing payloads over.
const FLUSHER_PATIENCE: Duration = Duration::from_secs(5);

/// Bounds of the whole process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub contexts: usize,
    pub connections: usize,
    pub events: usize,
    pub spool_bytes: u64,
    pub memory_bytes: Option<u64>,
}

impl Bounds {
    pub fn new(config: &Config, rules: &Rules, lanes: usize, connections: usize) -> Self {
        Bounds {
            contexts: rules.limits.contexts_max * lanes,
            connections,
            events: config.events_per_interval_max * lanes,
            spool_bytes: config.forwarder_storage_max_size_in_bytes,
            memory_bytes: cgroup::limits(std::path::Path::new("/")).memory_bytes,
        }
    }
}

/// What is wrong with the configuration in force.
#[derive(Clone, Debug, Default)]
pub(super) struct ConfigFacts {
    pub degraded: bool,
    pub warnings: Vec<String>,
}

impl ConfigFacts {
    pub fn of(loaded: &Loaded) -> Self {
        ConfigFacts {
            degraded: loaded.degraded(),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        }
    }
}

pub(super) struct Facts {
    pub hostname: Option<String>,
    pub hostname_origin: &'static str,
    pub output: String,
    pub interval: Duration,
    pub listeners: Vec<ListenerDescription>,
    pub receive_buffer_bytes: usize,
    pub limits: Bounds,
    pub health: Arc<Health>,
    pub watch: Arc<Watch>,
    /// Counts per metric are kept all the time.
    pub stats_kept: bool,
    pub lanes: Vec<LaneHandle>,
    pub totals: Arc<Mutex<Totals>>,
    pub forwarder: Option<Arc<Forwarder>>,
    pub discarded: Option<Arc<Mutex<Discarded>>>,
    pub to_flusher: Sender<Message>,
    pub config: Mutex<ConfigFacts>,
}

/// What changes, copied at one moment.
pub(super) struct View {
    pub totals: Totals,
    pub books: Option<ForwardBooks>,
    pub discarded: Option<Discarded>,
    /// Resident memory of the process, where the system tells.
    pub memory_bytes: Option<u64>,
}

impl Facts {
    pub fn view(&self) -> View {
        let discarded = self.discarded.as_ref();
        View {
            totals: self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            books: self.forwarder.as_ref().map(|forwarder| forwarder.books()),
            discarded: discarded.map(|sum| *sum.lock().unwrap_or_else(PoisonError::into_inner)),
            memory_bytes: resident_bytes(),
        }
    }

    pub fn config(&self) -> ConfigFacts {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A reload took over another configuration.
    pub fn set_config(&self, facts: ConfigFacts) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }

    /// Every context the flusher knows; none when it does not answer in time.
    pub fn contexts(&self) -> Option<KnownContexts> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.to_flusher.send(Message::Ask(Ask::Contexts(answer))).ok()?;
        answered.recv_timeout(FLUSHER_PATIENCE).ok()
    }
}

/// `VmRSS` of `/proc/self/status`, in bytes.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}
