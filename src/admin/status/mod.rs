//! What `/status` answers. One set of types for the server that writes it and the commands that
//! read it, so that a renamed field does not compile.

mod build;
mod delivery;
mod doors;
mod expvar;
mod global;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use self::delivery::RouteStatus;
pub(crate) use self::delivery::{EndpointStatus, PayloadsStatus, TallyStatus};
pub(crate) use self::doors::{DoorStatus, DoorsStatus};
pub(crate) use self::expvar::{AgentStatus, AgentTransactions, key_name};
#[cfg(feature = "global")]
pub(crate) use self::global::GlobalSenderRow;
pub(crate) use self::global::{
    GlobalCountStatus, GlobalOwnerStatus, GlobalSenderStatus, GlobalStatus,
};
use super::health::Health;
use super::process::ProcessStatus;
use super::senders::SenderStatus;
use super::state::ConfigState;
use crate::telemetry::DurationSummary;
pub(crate) use crate::watch::{Overflow, TagKey};

/// Everything about a running server. Fields that an older server does not send are zero or empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub identity: IdentityStatus,
    pub lines: LinesStatus,
    /// Of the lines received, those in buckets that are not flushed yet.
    pub lines_open: u64,
    /// Over the last whole interval and what came since.
    pub lines_per_second: f64,
    /// Values not posted because another kind of the same series was written later.
    pub type_conflicts: u64,
    /// Sets posted as an estimate.
    pub sets_estimated: u64,
    /// Histograms of more samples than are kept as they are.
    pub histograms_folded: u64,
    /// Sets, histograms and distributions posted less precisely for want of memory.
    pub cells_coarse: u64,
    /// Intervals flushed.
    pub flushes: u64,
    /// How long flushes took.
    pub flush_seconds: DurationStatus,
    /// Age of the last flush.
    pub last_flush_seconds: Option<f64>,
    pub payloads: PayloadsStatus,
    pub kernel: KernelStatus,
    pub listeners: Vec<ListenerStatus>,
    /// Default listeners that could not be bound: `uds /var/run/datadog/dsd.socket: … does not exist`.
    pub listeners_off: Vec<String>,
    pub contexts: ContextsStatus,
    pub doors: DoorsStatus,
    pub global: GlobalStatus,
    /// The busiest.
    pub senders: Vec<SenderStatus>,
    pub limits: Vec<LimitStatus>,
    pub process: ProcessStatus,
    pub admin: AdminRefusals,
    pub config: ConfigState,
    pub health: Health,
    pub agent: AgentStatus,
}

/// How long something took since the start, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DurationStatus {
    pub median: f64,
    pub p99: f64,
    pub max: f64,
}

impl From<DurationSummary> for DurationStatus {
    fn from(summary: DurationSummary) -> Self {
        let DurationSummary { median, p99, max, .. } = summary;
        let [median, p99, max] = [median, p99, max].map(|took| took.as_secs_f64());
        DurationStatus { median, p99, max }
    }
}

/// Requests to the admin server that got no page.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AdminRefusals {
    /// Connections closed to make room for newer ones.
    pub connections_evicted: u64,
    /// Connections closed because their client was too slow.
    pub connections_late: u64,
    /// Requests answered 503 because too many pages were in work.
    pub pages_refused: u64,
}

/// Which process this is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct IdentityStatus {
    pub version: String,
    pub hostname: Option<String>,
    pub hostname_origin: String,
    pub pid: u32,
    pub uptime_seconds: u64,
    pub interval_seconds: u64,
    pub output: String,
}

/// `received = recorded + refused(reason) + dropped(reason)`, in lines.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LinesStatus {
    pub received: u64,
    pub recorded: RecordedStatus,
    pub refused: ReasonsStatus<u64>,
    pub dropped: ReasonsStatus<u64>,
    pub balances: bool,
    pub values: ValuesStatus,
    /// Lines recorded in an overflow context.
    pub folded: u64,
    /// Lines whose sample rate was out of range.
    pub rates_invalid: u64,
    /// Fields of events and checks that were not understood.
    pub fields_ignored: u64,
    /// Metrics (when first seen), events and checks with text that is not UTF-8.
    pub texts_repaired: u64,
    /// Tags that no series can carry, of metrics first seen.
    pub tags_left_out: u64,
    /// Datagrams whose sender's container could not be found.
    pub origins_unreadable: u64,
    /// Lines with a time of their own whose series is global.
    pub timestamped_local: u64,
    /// Values of global series whose name or tags no owner can take.
    pub cells_unsendable: u64,
}

/// Lines recorded, by message type.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RecordedStatus {
    pub total: u64,
    pub metrics: u64,
    pub events: u64,
    pub service_checks: u64,
}

/// Values of metric lines.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ValuesStatus {
    pub recorded: u64,
    pub not_finite: u64,
}

/// A sum, and its parts by reason; reasons without a part are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ReasonsStatus<T> {
    pub total: T,
    pub reasons: BTreeMap<String, T>,
}

/// Datagrams that the kernel dropped.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct KernelStatus {
    pub dropped: u64,
    /// Listeners with drops only.
    pub listeners: Vec<KernelListenerStatus>,
}

/// Drops on one listener, and what helps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct KernelListenerStatus {
    pub listener: String,
    pub dropped: u64,
    pub remedy: String,
}

/// One listener with its counts since the start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ListenerStatus {
    pub transport: String,
    pub address: String,
    pub sockets: usize,
    pub inherited: bool,
    pub receive_buffer_bytes: usize,
    pub receive_buffer_bytes_asked: usize,
    pub datagrams: u64,
    pub frames: u64,
    pub bytes: u64,
    pub datagrams_truncated: u64,
    pub bytes_truncated: u64,
    pub read_errors: u64,
    pub credentials_missing: u64,
    pub connections_open: u64,
    pub connections_accepted: u64,
    pub connections_refused: u64,
    pub frames_oversize: u64,
    pub frames_cut: u64,
    pub kernel_drops: u64,
    /// Times a Unix socket was bound again because another program removed or replaced its file.
    pub bound_again: u64,
    /// 1 while clients do not find the Unix socket and binding again fails.
    pub socket_lost: u64,
    pub lines: LinesStatus,
}

/// Contexts alive, and who is to blame when they run out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ContextsStatus {
    /// At the last flush.
    pub live: usize,
    /// Named for the first time since; one that several lanes name is counted by each.
    pub new: usize,
    pub max: usize,
    pub by_kind: BTreeMap<String, usize>,
    pub overflow: Option<Overflow>,
}

/// A limit shared by all clients, with what is used of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LimitStatus {
    pub name: String,
    pub used: u64,
    pub max: u64,
}
