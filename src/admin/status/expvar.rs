//! The Agent's expvar maps (`/debug/vars`), under the Agent's names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::admin::state::{AdminState, Snapshot};
use crate::encode::Route;
use crate::net::{ListenerCounts, Transport};
use crate::protocol::{ErrorKind, MessageType};

/// Counters by the Agent's names.
pub(crate) type AgentMap = BTreeMap<String, u64>;

/// The Agent's maps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct AgentStatus {
    pub dogstatsd: AgentMap,
    pub dogstatsd_udp: AgentMap,
    pub dogstatsd_uds: AgentMap,
    pub aggregator: AgentMap,
    pub forwarder: AgentForwarder,
}

/// The Agent's map of transactions, which are our payloads, and of keys.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct AgentForwarder {
    pub transactions: AgentTransactions,
    #[serde(rename = "APIKeyStatus")]
    pub api_key_status: BTreeMap<String, String>,
}

/// The Agent's list of transactions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct AgentTransactions {
    pub dropped: u64,
    pub errors: u64,
    pub requeued: u64,
    pub retried: u64,
    pub retry_queue_size: u64,
    pub success: u64,
    pub success_by_endpoint: AgentMap,
}

impl AgentStatus {
    /// The maps at the moment of the snapshot.
    pub fn of(state: &AdminState, snapshot: &Snapshot) -> Self {
        let totals = &snapshot.totals;
        let counts = &totals.lines;
        let refused = |wanted: MessageType| -> u64 {
            let of_type = ErrorKind::ALL.iter().filter(|kind| kind.message_type() == wanted);
            of_type.map(|kind| counts.refused[*kind as usize]).sum()
        };
        let (mut udp, mut uds) = (Packets::default(), Packets::default());
        for (listener, counts) in state.of_listeners(totals) {
            match listener.transport {
                Transport::Udp => udp.add(counts),
                Transport::UnixDatagram | Transport::UnixStream => uds.add(counts),
                Transport::Tcp | Transport::Http => {}
            }
        }
        let [(_, series), (_, sketches), (_, events), (_, checks)] = snapshot.flushed();
        let map = |entries: &[(&str, u64)]| {
            entries.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<AgentMap>()
        };
        AgentStatus {
            dogstatsd: map(&[
                ("MetricPackets", counts.metrics + counts.dropped_total()),
                ("MetricParseErrors", refused(MessageType::Metric)),
                ("EventPackets", counts.events),
                ("EventParseErrors", refused(MessageType::Event)),
                ("ServiceCheckPackets", counts.checks),
                ("ServiceCheckParseErrors", refused(MessageType::ServiceCheck)),
                ("UnterminatedMetricErrors", counts.unterminated),
            ]),
            dogstatsd_udp: map(&[
                ("Packets", udp.packets),
                ("Bytes", udp.bytes),
                ("PacketReadingErrors", udp.errors),
            ]),
            dogstatsd_uds: map(&[
                ("Packets", uds.packets),
                ("Bytes", uds.bytes),
                ("PacketReadingErrors", uds.errors),
                ("OriginDetectionErrors", uds.origin_errors),
            ]),
            aggregator: map(&[
                ("DogstatsdContexts", totals.contexts as u64),
                ("DogstatsdMetricSample", counts.values),
                ("SeriesFlushed", series),
                ("SketchesFlushed", sketches),
                ("EventsFlushed", events),
                ("ServiceCheckFlushed", checks),
                ("NumberOfFlush", totals.flushes),
            ]),
            forwarder: forwarder(snapshot),
        }
    }
}

fn forwarder(snapshot: &Snapshot) -> AgentForwarder {
    let mut maps = AgentForwarder::default();
    let sums = &mut maps.transactions;
    for endpoint in snapshot.accounting.iter().flat_map(|accounting| &accounting.endpoints) {
        for route in Route::ALL {
            let counts = endpoint.route(route);
            let refused =
                counts.statuses.iter().filter(|(status, _)| !(200..300).contains(*status));
            sums.dropped += counts.dropped_total().payloads;
            sums.errors +=
                counts.errors.iter().sum::<u64>() + refused.map(|(_, count)| count).sum::<u64>();
            sums.requeued += counts.retries;
            sums.retried += counts.retries;
            sums.retry_queue_size += counts.waiting.payloads;
            sums.success += counts.delivered.payloads;
            if counts.delivered.payloads > 0 {
                *sums.success_by_endpoint.entry(route.label().to_owned()).or_default() +=
                    counts.delivered.payloads;
            }
        }
        maps.api_key_status
            .insert(key_name(&endpoint.key_shown), format!("API Key {}", endpoint.key_status));
    }
    maps
}

/// `API key ending with bcdef`, of a key as a secret is shown: a short one shows no character.
pub(crate) fn key_name(shown: &str) -> String {
    match shown.trim_start_matches('*') {
        "" => "API key too short to show".to_owned(),
        end => format!("API key ending with {end}"),
    }
}

/// Sums of one family of listeners, as the Agent counts: failed reads are packets too.
#[derive(Default)]
struct Packets {
    packets: u64,
    bytes: u64,
    errors: u64,
    origin_errors: u64,
}

impl Packets {
    fn add(&mut self, counts: &ListenerCounts) {
        self.packets += counts.datagrams + counts.frames + counts.read_errors;
        self.bytes += counts.bytes;
        self.errors += counts.read_errors;
        self.origin_errors += counts.credentials_missing;
    }
}
