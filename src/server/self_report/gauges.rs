//! What the server counts or measures anyway, read before each point: no event is needed for it.

use std::sync::{Mutex, PoisonError};

use super::NAMESPACE;
use super::counters::endpoint;
use crate::admin::{AdminState, DoorsStatus};
use crate::context::Kind;
use crate::net::Transport;
use crate::telemetry_client::{Client, Count, Gauge};

/// Listeners whose counts are told.
const TRANSPORTS: [Transport; 5] = [
    Transport::Udp,
    Transport::UnixDatagram,
    Transport::UnixStream,
    Transport::Tcp,
    Transport::Http,
];
/// Tags of endpoints, as `endpoint` makes them.
const ENDPOINTS: [&str; 2] = ["endpoint:datadog", "endpoint:other"];

/// Handles of all of them. The client is not among them: it holds what collects.
pub(super) struct Gauges {
    listeners: Vec<ListenerTotals>,
    contexts: Vec<Gauge>,
    created: Total,
    expired: Total,
    late: Total,
    queue: Vec<Gauge>,
    resident: Gauge,
    processor: Gauge,
    files: Gauge,
}

struct ListenerTotals {
    transport: Transport,
    packets: Total,
    bytes: Total,
    messages: Total,
    dropped: Total,
}

/// A number that only grows, and of which a count tells the growth.
struct Total {
    count: Count,
    told: Mutex<u64>,
}

impl Total {
    fn of(client: &Client, name: &str, tags: &[&str]) -> Self {
        Total { count: client.count(NAMESPACE, name, tags), told: Mutex::default() }
    }

    fn now(&self, total: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // A lane that begins anew starts at zero: nothing is told rather than nonsense.
        if total > *told {
            self.count.submit((total - *told) as f64);
            *told = total;
        }
    }
}

impl Gauges {
    pub fn of(client: &Client) -> Self {
        let total = |name: &str, tags: &[&str]| Total::of(client, name, tags);
        let gauge = |name: &str, tags: &[&str]| client.gauge(NAMESPACE, name, tags);
        let listener = |transport: &Transport| {
            let listener = format!("listener:{transport}");
            ListenerTotals {
                transport: *transport,
                packets: total("statsd.packets", &[&listener]),
                bytes: total("statsd.bytes", &[&listener]),
                messages: total("statsd.messages", &[&listener]),
                dropped: total("statsd.dropped_packets", &["cause:kernel", &listener]),
            }
        };
        let kind = |kind: &Kind| gauge("aggregator.contexts", &[&format!("type:{}", kind.word())]);
        Gauges {
            listeners: TRANSPORTS.iter().map(listener).collect(),
            contexts: Kind::ALL.iter().map(kind).collect(),
            created: total("aggregator.contexts_created", &[]),
            expired: total("aggregator.contexts_expired", &[]),
            late: total("aggregator.late_samples", &[]),
            queue: ENDPOINTS.iter().map(|tag| gauge("forwarder.queue_bytes", &[*tag])).collect(),
            resident: gauge("process.rss_bytes", &[]),
            processor: gauge("process.cpu_seconds", &[]),
            files: gauge("process.open_fds", &[]),
        }
    }

    /// Reads the server. Lanes are not asked: they hand over their counts with each bucket.
    pub fn collect(&self, state: &AdminState) {
        let now = state.as_handed_over();
        let totals = &now.totals;
        for listener in &self.listeners {
            let mut sums = [0_u64; 4];
            for (counts, lines) in totals.listeners.iter().zip(&totals.listener_lines) {
                if counts.transport == listener.transport {
                    let packets = counts.datagrams + counts.frames;
                    let more = [packets, counts.bytes, lines.received, counts.kernel_drops];
                    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                }
            }
            let told = [&listener.packets, &listener.bytes, &listener.messages, &listener.dropped];
            told.iter().zip(sums).for_each(|(total, sum)| total.now(sum));
        }
        for (gauge, known) in self.contexts.iter().zip(totals.contexts_by_kind) {
            gauge.submit(known as f64);
        }
        self.created.now(now.births);
        // What was born and is no longer known.
        self.expired.now(now.births.saturating_sub(totals.contexts as u64));
        let doors = DoorsStatus::of(&state.doors, totals.door_contexts);
        self.late.now(doors.routes.values().map(|route| route.parts.late).sum());
        if let Some(accounting) = &now.accounting {
            for (gauge, tag) in self.queue.iter().zip(ENDPOINTS) {
                let of_tag = accounting.endpoints.iter().filter(|one| endpoint(&one.name) == tag);
                let mut bytes = of_tag.map(|endpoint| endpoint.queue_bytes).peekable();
                if bytes.peek().is_some() {
                    gauge.submit(bytes.sum::<usize>() as f64);
                }
            }
        }
        self.resident.submit(now.process.resident_bytes as f64);
        self.processor.submit(now.process.cpu_seconds);
        self.files.submit(now.process.open_files as f64);
    }

    /// Every metric with the value zero.
    pub fn touch(&self) {
        for listener in &self.listeners {
            let told = [&listener.packets, &listener.bytes, &listener.messages, &listener.dropped];
            told.iter().for_each(|total| total.count.submit(0.0));
        }
        [&self.created, &self.expired, &self.late].iter().for_each(|total| total.count.submit(0.0));
        let gauges = self.contexts.iter().chain(&self.queue);
        gauges
            .chain([&self.resident, &self.processor, &self.files])
            .for_each(|one| one.submit(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry_client::MemoryWriter;

    #[test]
    fn a_total_tells_its_growth_and_never_nonsense() {
        let client = Client::builder("test").writer(MemoryWriter::default()).build().unwrap();
        let total = Total::of(&client, "c", &[]);
        let mut seen = Vec::new();
        for number in [5, 7, 7, 3, 8] {
            total.now(number);
            seen.push(total.count.get());
        }
        assert_eq!(seen, [5.0, 7.0, 7.0, 7.0, 8.0].map(Some));
    }
}
