//! Who sends what, as rows for people and scripts: in `/senders`, `/status` and `/top`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::config::Cardinality;
use crate::net::ListenerDescription;
use crate::tagger::{Identity, Tagger};
use crate::text::printable;
use crate::watch::{Account, Published, SenderId};

/// Characters shown of a refused line.
const BAD_LINE_WIDTH: usize = 256;
/// Characters shown of a pod's name.
const POD_WIDTH: usize = 253;

/// One sender.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SenderStatus {
    /// An address without port, or `pid 12 uid 0`.
    pub sender: String,
    /// The command name of a process that still runs; of a loopback address, the processes that are
    /// connected from it.
    pub command: Option<String>,
    /// The container id of a process.
    pub container: Option<String>,
    /// The pod of that container, once its tags are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    pub packets: u64,
    pub bytes: u64,
    pub lines: u64,
    pub refused: u64,
    /// Contexts it was the first to name.
    pub contexts_new: u64,
    /// Lines of new contexts past a cap.
    pub past_cap: u64,
    /// Unix seconds.
    pub last_seen: u64,
    /// The last lines that were refused.
    pub bad_lines: Vec<BadLineStatus>,
    /// What its client library reports of itself.
    pub client: Option<ClientStatus>,
    /// Rates, where the answer covers a stretch of time.
    #[serde(flatten)]
    pub rates: Option<SenderRates>,
}

/// What a sender sends per second.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SenderRates {
    pub packets_per_second: f64,
    pub lines_per_second: f64,
    pub bytes_per_second: f64,
}

/// A line that was refused, and why.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct BadLineStatus {
    pub line: String,
    pub reason: String,
    pub offset: usize,
    /// The message with a caret below the place.
    pub shown: String,
}

/// Sums of a client library's own telemetry.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ClientStatus {
    pub reports: u64,
    pub metrics: u64,
    pub packets_sent: u64,
    pub packets_dropped: u64,
    pub bytes_sent: u64,
    pub bytes_dropped: u64,
    /// Packets sent between the first and the last report that did not arrive.
    pub packets_missing: Option<u64>,
}

impl SenderStatus {
    fn of(id: SenderId, account: &Account, listeners: &[ListenerDescription]) -> Self {
        let client = account.client.as_ref().map(|client| ClientStatus {
            reports: client.reports,
            metrics: client.metrics,
            packets_sent: client.packets_sent,
            packets_dropped: client.packets_dropped,
            bytes_sent: client.bytes_sent,
            bytes_dropped: client.bytes_dropped,
            packets_missing: client.missing(),
        });
        let bad_lines = account.bad.iter().map(|bad| BadLineStatus {
            line: printable(&bad.line, BAD_LINE_WIDTH),
            reason: bad.error.kind.reason().to_owned(),
            offset: bad.error.offset,
            shown: bad.error.render(&bad.line).to_string(),
        });
        SenderStatus {
            sender: id.name(listeners),
            command: id.pid().and_then(command),
            container: account.container.as_deref().map(str::to_owned),
            pod: None,
            packets: account.packets,
            bytes: account.bytes,
            lines: account.lines,
            refused: account.refused,
            contexts_new: account.contexts_new,
            past_cap: account.past_cap,
            last_seen: account.last_seen,
            bad_lines: bad_lines.collect(),
            client,
            rates: None,
        }
    }
}

/// The name of a process that still runs.
pub(super) fn command(pid: i32) -> Option<String> {
    let name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(printable(name.trim_ascii_end(), 64))
}

/// Adds the names of pods to senders in containers.
pub(crate) fn name_pods(rows: &mut [SenderStatus], tagger: Option<&dyn Tagger>) {
    let Some(tagger) = tagger else { return };
    for row in rows {
        let Some(container) = &row.container else { continue };
        let tags =
            tagger.tags(Identity::Container(container.as_bytes()), Cardinality::Orchestrator);
        let pod = tags.and_then(|tags| {
            let pod = tags.iter().find_map(|tag| tag.strip_prefix(b"pod_name:"));
            pod.map(|name| printable(name, POD_WIDTH))
        });
        row.pod = pod;
    }
}

/// The busiest first, at most `count`.
pub(crate) fn rows(
    senders: &Published,
    listeners: &[ListenerDescription],
    count: usize,
) -> Vec<SenderStatus> {
    let busiest = senders.iter().take(count);
    busiest.map(|(id, account)| SenderStatus::of(*id, account, listeners)).collect()
}

/// As [`rows`], with rates of what came since `earlier`; the busiest since then first.
pub(crate) fn rates(
    (senders, earlier): (&Published, &Published),
    seconds: f64,
    listeners: &[ListenerDescription],
    count: usize,
) -> Vec<SenderStatus> {
    let before: HashMap<SenderId, &Account> =
        earlier.iter().map(|(id, account)| (*id, account)).collect();
    let figures = |account: &Account| [account.packets, account.lines, account.bytes];
    let mut since: Vec<(&(SenderId, Account), [u64; 3])> = senders
        .iter()
        .map(|entry| {
            let then = before.get(&entry.0).map_or([0; 3], |then| figures(then));
            let now = figures(&entry.1);
            (entry, std::array::from_fn(|at| now[at].saturating_sub(then[at])))
        })
        .collect();
    since.sort_by_key(|(_, [packets, ..])| std::cmp::Reverse(*packets));
    let rated = |((id, account), figures): &(&(SenderId, Account), [u64; 3])| {
        let [packets_per_second, lines_per_second, bytes_per_second] =
            figures.map(|figure| figure as f64 / seconds);
        SenderStatus {
            rates: Some(SenderRates { packets_per_second, lines_per_second, bytes_per_second }),
            ..SenderStatus::of(*id, account, listeners)
        }
    };
    since.iter().take(count).map(rated).collect()
}
