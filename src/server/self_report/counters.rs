//! Events of the bus as counts and distributions.

use std::sync::{Arc, RwLock};

use super::NAMESPACE;
use crate::forward::host_and_port;
use crate::telemetry::{Event, EventKind, Hub, RetryCause, Subscription, Transport};
use crate::telemetry_client::{Client, Count, Distribution, LogRecord};

/// What is subscribed to: nothing that happens for each packet or each good line.
const KINDS: [EventKind; 7] = [
    EventKind::PacketTruncated,
    EventKind::ParseFailed,
    EventKind::FlushCompleted,
    EventKind::PayloadSent,
    EventKind::PayloadRetried,
    EventKind::PayloadDropped,
    EventKind::ComponentFailed,
];

/// Handles that are held; those whose tags an event brings are found by name, except the ones of lines.
#[derive(Clone)]
pub(super) struct Counters {
    series: Count,
    sketches: Count,
    events: Count,
    duration: Distribution,
    parse_errors: Arc<RwLock<Vec<(&'static str, Count)>>>,
}

/// A domain of the vendor; the hosts of others are their business.
const VENDOR_DOMAINS: [&str; 4] = ["datadoghq.com", "datadoghq.eu", "ddog-gov.com", "datad0g.com"];

impl Counters {
    pub fn of(client: &Client) -> Self {
        Counters {
            series: client.count(NAMESPACE, "flush.series", &[]),
            sketches: client.count(NAMESPACE, "flush.sketches", &[]),
            events: client.count(NAMESPACE, "flush.events", &[]),
            duration: client.distribution(NAMESPACE, "flush.duration_ms", &[]),
            parse_errors: Arc::default(),
        }
    }

    /// Counts as long as the subscriptions live.
    pub fn subscribe(&self, hub: &Hub, client: &Client) -> Vec<Subscription> {
        let subscribe = |kind: &EventKind| {
            let (counters, client) = (self.clone(), client.clone());
            hub.subscribe(*kind, Some("self_report"), move |event| counters.take(event, &client))
        };
        KINDS.iter().map(subscribe).collect()
    }

    /// Every metric with the value zero, as an event would name it.
    pub fn touch(&self, client: &Client) {
        self.take(
            &Event::FlushCompleted {
                duration: std::time::Duration::ZERO,
                series: 0,
                sketches: 0,
                events: 0,
                checks: 0,
                points: 0,
            },
            client,
        );
        for (name, tags) in [
            ("statsd.parse_errors", &["reason:bad_value"][..]),
            ("statsd.dropped_packets", &["cause:truncated", "listener:udp"]),
            ("forwarder.requests", &["endpoint:datadog"]),
            ("forwarder.responses", &["endpoint:datadog", "status_code:202"]),
            ("forwarder.errors", &["endpoint:datadog", "type:timeout"]),
            ("forwarder.dropped_items", &["reason:expired"]),
        ] {
            client.count(NAMESPACE, name, tags).submit(0.0);
        }
    }

    fn take(&self, event: &Event<'_>, client: &Client) {
        let add = |name: &str, tags: &[&str], value: usize| {
            client.count(NAMESPACE, name, tags).submit(value as f64);
        };
        match event {
            Event::PacketTruncated { transport, .. } => {
                let listener = format!("listener:{}", word(*transport));
                add("statsd.dropped_packets", &["cause:truncated", &listener], 1);
            }
            Event::ParseFailed { reason, .. } => self.parse_failed(reason, client),
            Event::FlushCompleted { duration, series, sketches, events, .. } => {
                self.series.submit(*series as f64);
                self.sketches.submit(*sketches as f64);
                self.events.submit(*events as f64);
                self.duration.submit(duration.as_secs_f64() * 1_000.0);
            }
            Event::PayloadSent { destination, status, .. } => {
                let endpoint = endpoint(destination);
                add("forwarder.requests", &[&endpoint], 1);
                let status = format!("status_code:{status}");
                add("forwarder.responses", &[&endpoint, &status], 1);
            }
            Event::PayloadRetried { destination, cause, .. } => {
                let endpoint = endpoint(destination);
                add("forwarder.requests", &[&endpoint], 1);
                match cause {
                    RetryCause::Status(status) => {
                        let status = format!("status_code:{status}");
                        add("forwarder.responses", &[&endpoint, &status], 1);
                        add("forwarder.errors", &[&endpoint, "type:status_code"], 1);
                    }
                    RetryCause::Error(kind) => {
                        add("forwarder.errors", &[&endpoint, &format!("type:{kind}")], 1);
                    }
                }
            }
            Event::PayloadDropped { reason, items, .. } => {
                add("forwarder.dropped_items", &[&format!("reason:{reason}")], *items);
            }
            // Names of threads are ours; what a panic said may quote anything.
            Event::ComponentFailed { component, .. } => {
                client.log(&LogRecord::error("a thread failed").tag("component", component));
            }
            _ => {}
        }
    }

    /// Bad lines come in floods: after the first of a reason no name is looked up.
    fn parse_failed(&self, reason: &'static str, client: &Client) {
        let known = |list: &[(&'static str, Count)]| {
            let found = list.iter().find(|(known, _)| *known == reason);
            found.map(|(_, count)| count.submit(1.0)).is_some()
        };
        let read = |lock: &RwLock<Vec<_>>| lock.read().is_ok_and(|list| known(&list));
        if read(&self.parse_errors) {
            return;
        }
        let count = client.count(NAMESPACE, "statsd.parse_errors", &[&format!("reason:{reason}")]);
        count.submit(1.0);
        if let Ok(mut list) = self.parse_errors.write()
            && !list.iter().any(|(known, _)| *known == reason)
        {
            list.push((reason, count));
        }
    }
}

fn word(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::UnixDatagram => "uds",
        Transport::UnixStream => "uds-stream",
        Transport::Tcp => "tcp",
        Transport::Http => "http",
        Transport::Embedded => "embedded",
    }
}

/// The tag of an endpoint: which of the vendor's, or that it is another.
pub(super) fn endpoint(destination: &str) -> String {
    let host = host_and_port(destination).split(':').next().unwrap_or_default();
    let of_vendor = VENDOR_DOMAINS.iter().any(|domain| {
        host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    format!("endpoint:{}", if of_vendor { "datadog" } else { "other" })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::telemetry_client::MemoryWriter;

    /// `metric tags value` of everything that a client was told, and the messages of its log lines.
    fn told(emit: impl FnOnce(&Hub)) -> Vec<String> {
        let memory = MemoryWriter::default();
        let client = Client::builder("test").writer(memory.clone()).build().unwrap();
        let hub = Hub::default();
        let subscriptions = Counters::of(&client).subscribe(&hub, &client);
        emit(&hub);
        drop(subscriptions);
        client.start_manually();
        client.flush();
        let bodies = memory.take();
        let messages = |body: &Value| match body["payload"].as_array() {
            Some(batch) => batch.clone(),
            None => vec![body.clone()],
        };
        let messages: Vec<Value> = bodies.iter().flat_map(messages).collect();
        messages.iter().flat_map(|message| rows(&message["payload"])).collect()
    }

    fn rows(payload: &Value) -> Vec<String> {
        let list = |name: &str| payload[name].as_array().cloned().unwrap_or_default();
        let series = list("series").into_iter().map(|one| {
            let value = &one["points"][0];
            let value = value.get(1).unwrap_or(value);
            let tags: Vec<&str> =
                one["tags"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
            format!("{} {} {value}", one["metric"].as_str().unwrap(), tags.join(","))
        });
        let logs = list("logs").into_iter();
        let logs = logs.map(|one| format!("log {} {}", one["message"], one["tags"]));
        series.chain(logs).collect()
    }

    #[test]
    fn events_become_counts() {
        let seconds = Duration::from_secs;
        let rows = told(|hub| {
            let emit = |event: Event<'_>| hub.emit(event.kind(), || event);
            emit(Event::PacketTruncated { transport: Transport::Udp, buffer_bytes: 8 });
            for reason in ["bad_value", "bad_value", "bad_rate"] {
                let transport = Transport::Udp;
                emit(Event::ParseFailed { transport, reason, line: b"page.views:x|c|#user:7" });
            }
            emit(Event::FlushCompleted {
                duration: seconds(2),
                series: 5,
                sketches: 6,
                events: 7,
                checks: 8,
                points: 9,
            });
            let destination = "https://7-1-2-app.agent.datadoghq.eu/api/v2/series";
            let (bytes, duration, attempt) = (1, seconds(1), 1);
            emit(Event::PayloadSent { destination, bytes, status: 202, duration, attempt });
            let destination = "http://intake.secret.corp:8080";
            let (status, error) = (RetryCause::Status(503), RetryCause::Error("timeout"));
            emit(Event::PayloadRetried { destination, cause: status, delay: None });
            emit(Event::PayloadRetried { destination, cause: error, delay: None });
            emit(Event::PayloadDropped { destination, reason: "expired", items: 3, bytes: 4 });
            emit(Event::ComponentFailed { component: "lane-0", error: "page.views", restarts: 1 });
        });
        assert_eq!(
            rows,
            [
                "log \"a thread failed\" \"component:lane-0\"",
                "flush.events  7.0",
                "flush.series  5.0",
                "flush.sketches  6.0",
                "forwarder.dropped_items reason:expired 3.0",
                "forwarder.errors endpoint:other,type:status_code 1.0",
                "forwarder.errors endpoint:other,type:timeout 1.0",
                "forwarder.requests endpoint:datadog 1.0",
                "forwarder.requests endpoint:other 2.0",
                "forwarder.responses endpoint:datadog,status_code:202 1.0",
                "forwarder.responses endpoint:other,status_code:503 1.0",
                "statsd.dropped_packets cause:truncated,listener:udp 1.0",
                "statsd.parse_errors reason:bad_rate 1.0",
                "statsd.parse_errors reason:bad_value 2.0",
                "flush.duration_ms  2000.0",
            ]
        );
    }

    #[test]
    fn nothing_of_a_packet_or_a_good_line_is_subscribed_to() {
        told(|hub| {
            assert!(!hub.wants(EventKind::PacketReceived) && !hub.wants(EventKind::MetricRejected));
            assert!(hub.wants(EventKind::FlushCompleted));
        });
    }
}
