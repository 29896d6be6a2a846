//! The Prometheus page: the Agent's names where they exist, then ours, each limit beside its usage.

use super::counters::{LISTENER, PROCESS};
use super::state::{AdminState, Snapshot};
use super::status::Status;
use crate::admin::prometheus::{Exposition, MetricKind, MetricKind::Counter, MetricKind::Gauge};
use crate::context::{DropReason as LineDrop, Kind};
use crate::encode::Route;
use crate::forward::{DropReason, KeyStatus, RouteCounts, Tally};
use crate::net::Transport;
use crate::protocol::{ErrorKind, MessageType};

pub(crate) fn page(state: &AdminState, snapshot: &Snapshot) -> String {
    let mut page = Exposition::default();
    agent_listeners(&mut page, state, snapshot);
    agent_messages(&mut page, snapshot);
    let status = Status::of(state, snapshot);
    lines(&mut page, &status, snapshot);
    sockets(&mut page, state, &status);
    delivery(&mut page, snapshot);
    keys(&mut page, snapshot);
    super::door_metrics::doors(&mut page, &status.doors);
    super::global_metrics::global(&mut page, &status.global);
    limits(&mut page, &status);
    page.into_text()
}

fn agent_listeners(page: &mut Exposition, state: &AdminState, snapshot: &Snapshot) {
    let rows: Vec<_> = state.of_listeners(&snapshot.totals).collect();
    let udp = || rows.iter().filter(|(found, _)| found.transport == Transport::Udp);
    let uds = || {
        rows.iter().filter_map(|(found, counts)| match found.transport {
            Transport::UnixDatagram => Some(("unixgram", counts)),
            Transport::UnixStream => Some(("unix", counts)),
            Transport::Udp | Transport::Tcp | Transport::Http => None,
        })
    };
    let mut family = page.family("dogstatsd__udp_packets", Counter, "UDP datagrams.");
    family.sample(&[("state", "ok")], udp().map(|(_, counts)| counts.datagrams).sum::<u64>());
    family.sample(&[("state", "error")], udp().map(|(_, counts)| counts.read_errors).sum::<u64>());
    let bytes: u64 = udp().map(|(_, counts)| counts.bytes).sum();
    page.single("dogstatsd__udp_packets_bytes", Counter, "Bytes of UDP datagrams.", bytes);
    let mut family =
        page.family("dogstatsd__uds_packets", Counter, "Datagrams and frames over Unix sockets.");
    for (transport, counts) in uds() {
        let label = |state| [("listener_id", ""), ("transport", transport), ("state", state)];
        family.sample(&label("ok"), counts.datagrams + counts.frames);
        family.sample(&label("error"), counts.read_errors);
    }
    type Figure = fn(&crate::net::ListenerCounts) -> u64;
    let families: [(&str, _, &str, Figure); 3] = [
        ("dogstatsd__uds_packets_bytes", Counter, "Bytes over Unix sockets.", |c| c.bytes),
        (
            "dogstatsd__uds_origin_detection_error",
            Counter,
            "Datagrams and frames without usable credentials.",
            |c| c.credentials_missing,
        ),
        ("dogstatsd__uds_connections", Gauge, "Open stream connections.", |c| c.connections_open),
    ];
    for (name, kind, help, figure) in families {
        let mut family = page.family(name, kind, help);
        for (transport, counts) in uds() {
            family.sample(&[("listener_id", ""), ("transport", transport)], figure(counts));
        }
    }
}

fn agent_messages(page: &mut Exposition, snapshot: &Snapshot) {
    let counts = &snapshot.totals.lines;
    let refused = |wanted: MessageType| -> u64 {
        let of_type = ErrorKind::ALL.iter().filter(|kind| kind.message_type() == wanted);
        of_type.map(|kind| counts.refused[*kind as usize]).sum()
    };
    let rows = [
        ("metrics", counts.metrics, refused(MessageType::Metric)),
        ("events", counts.events, refused(MessageType::Event)),
        ("service_checks", counts.checks, refused(MessageType::ServiceCheck)),
    ];
    let mut family = page.family(
        "dogstatsd__processed",
        Counter,
        "Lines by type and whether they could be read.",
    );
    for (message_type, ok, error) in rows {
        family.sample(&[("message_type", message_type), ("state", "ok"), ("origin", "")], ok);
        family.sample(&[("message_type", message_type), ("state", "error"), ("origin", "")], error);
    }
    page.single(
        "dogstatsd__listener_filtered_points",
        Counter,
        "Lines dropped by the metric filter list.",
        counts.dropped[LineDrop::Filtered as usize],
    );
    let mut family = page.family(
        "no_aggregation__processed",
        Counter,
        "Lines with a timestamp that are of no kind for it.",
    );
    let unsupported = counts.dropped[LineDrop::TimestampUnsupported as usize];
    family.sample(&[("state", "unsupported_type")], unsupported);
    let contexts = snapshot.totals.contexts;
    let mut family = page.family("aggregator__dogstatsd_contexts", Gauge, "Contexts alive.");
    family.sample(&[("shard", "")], contexts);
    let mut family =
        page.family("aggregator__dogstatsd_contexts_by_mtype", Gauge, "Contexts alive, by kind.");
    for kind in Kind::ALL {
        let live = snapshot.totals.contexts_by_kind[kind as usize];
        family.sample(&[("shard", ""), ("metric_type", kind.word())], live);
    }
    let mut family =
        page.family("aggregator__flush", Counter, "Items handed over for posting, by type.");
    for (data_type, count) in snapshot.flushed() {
        family.sample(&[("data_type", data_type), ("state", "ok")], count);
    }
    let mut family =
        page.family("aggregator__processed", Counter, "Values, events and checks recorded.");
    for (data_type, count) in [
        ("dogstatsd_metrics", counts.values),
        ("events", counts.events),
        ("service_checks", counts.checks),
    ] {
        family.sample(&[("shard", ""), ("data_type", data_type)], count);
    }
}

/// The numbers of the table, and the reasons that have labels.
fn lines(page: &mut Exposition, status: &Status, snapshot: &Snapshot) {
    for row in PROCESS {
        page.single(row.metric, row.kind, row.help, (row.of)(status));
    }
    let mut family = page.family(
        "whippet_flush_duration_seconds",
        MetricKind::Summary,
        "Time to make the payloads of an interval and hand them over, since the start.",
    );
    family.summary(&[], &snapshot.totals.flush_durations.summary());
    let counts = &snapshot.totals.lines;
    let mut family = page.family(
        "whippet_lines_refused_total",
        Counter,
        "Lines that cannot be read, by reason.",
    );
    for kind in ErrorKind::ALL {
        family.sample(&[("reason", kind.reason())], counts.refused[kind as usize]);
    }
    family.sample(&[("reason", "unterminated")], counts.unterminated);
    family.sample(&[("reason", "truncated")], counts.truncated);
    let mut family = page.family(
        "whippet_lines_dropped_total",
        Counter,
        "Readable lines not recorded, by reason.",
    );
    for reason in LineDrop::ALL {
        family.sample(&[("reason", reason.word())], counts.dropped[reason as usize]);
    }
    family.sample(&[("reason", "lane_failed")], counts.lost);
    family.sample(&[("reason", "bucket_abandoned")], counts.abandoned);
}

fn sockets(page: &mut Exposition, state: &AdminState, status: &Status) {
    for row in LISTENER {
        let mut family = page.family(row.metric, row.kind, row.help);
        for listener in status.listeners.iter().filter(|listener| row.applies_to(listener)) {
            let labels = [("transport", &*listener.transport), ("listener", &*listener.address)];
            family.sample(&labels, (row.of)(listener));
        }
    }
    page.single(
        "whippet_receive_buffer_asked_bytes",
        Gauge,
        "Receive buffer asked for.",
        state.receive_buffer_bytes,
    );
}

fn delivery(page: &mut Exposition, snapshot: &Snapshot) {
    let Some(accounting) = &snapshot.accounting else { return };
    type Figure = fn(&RouteCounts) -> Tally;
    let states: [(&str, Figure); 3] = [
        ("built", |accounting| accounting.built),
        ("delivered", |accounting| accounting.delivered),
        ("waiting", |accounting| accounting.waiting),
    ];
    for (noun, unit, figure) in [
        ("payloads", "Payloads", (|tally| tally.payloads) as fn(Tally) -> u64),
        ("points", "Points in payloads", |tally| tally.points),
    ] {
        let help = format!("{unit}: built = delivered + waiting + dropped(reason).");
        let name = format!("whippet_{noun}");
        let mut family = page.family(&name, Gauge, &help);
        for endpoint in &accounting.endpoints {
            for route in Route::ALL {
                let label = |state| {
                    [
                        ("endpoint", endpoint.name.as_str()),
                        ("route", route.label()),
                        ("state", state),
                    ]
                };
                for (state, of_state) in states {
                    family.sample(&label(state), figure(of_state(endpoint.route(route))));
                }
            }
        }
        let name = format!("whippet_{noun}_dropped_total");
        let mut family = page.family(&name, Counter, "Given up, by reason.");
        for endpoint in &accounting.endpoints {
            // Only an owner's payloads are ever withdrawn, and those are counted apart.
            for reason in DropReason::ALL.into_iter().filter(|r| *r != DropReason::Withdrawn) {
                let total = figure(endpoint.total(|route| route.dropped_for(reason)));
                family.sample(&[("endpoint", &endpoint.name), ("reason", reason.label())], total);
            }
        }
    }
    let mut family = page.family(
        "whippet_request_duration_seconds",
        MetricKind::Summary,
        "Time from a request to its answer, since the start.",
    );
    for endpoint in &accounting.endpoints {
        family.summary(&[("endpoint", &endpoint.name)], &endpoint.answered_in);
    }
    let mut family =
        page.family("whippet_requests_total", Counter, "HTTP requests, by what became of them.");
    for endpoint in &accounting.endpoints {
        for route in Route::ALL {
            let account = endpoint.route(route);
            for (status, count) in &account.statuses {
                let status = status.to_string();
                family.sample(
                    &[("endpoint", &endpoint.name), ("route", route.label()), ("result", &status)],
                    count,
                );
            }
            for kind in crate::forward::ErrorKind::ALL {
                let count = account.errors[kind as usize];
                if count > 0 {
                    family.sample(
                        &[
                            ("endpoint", &endpoint.name),
                            ("route", route.label()),
                            ("result", kind.label()),
                        ],
                        count,
                    );
                }
            }
        }
    }
    let mut family = page.family(
        "whippet_queue_full_in_seconds",
        Gauge,
        "Time until the retry queue is full at the present rate.",
    );
    for endpoint in &accounting.endpoints {
        if let Some(time) = endpoint.queue_full_in {
            family.sample(&[("endpoint", &endpoint.name)], time.as_secs());
        }
    }
}

fn keys(page: &mut Exposition, snapshot: &Snapshot) {
    let Some(accounting) = &snapshot.accounting else { return };
    let mut family = page.family(
        "whippet_api_key_refused",
        Gauge,
        "1 while the intake refuses the API key, else 0.",
    );
    for endpoint in &accounting.endpoints {
        let refused = u8::from(endpoint.key_status == KeyStatus::Invalid);
        family.sample(&[("endpoint", &endpoint.name)], refused);
    }
}

fn limits(page: &mut Exposition, status: &Status) {
    let mut family = page.family("whippet_limit_used", Gauge, "What is used of each limit.");
    for limit in &status.limits {
        family.sample(&[("limit", &limit.name)], limit.used);
    }
    let mut family = page.family("whippet_limit_max", Gauge, "Each limit.");
    for limit in &status.limits {
        family.sample(&[("limit", &limit.name)], limit.max);
    }
    page.single(
        "process_cpu_seconds_total",
        Counter,
        "Processor time of all threads.",
        status.process.cpu_seconds,
    );
    page.single(
        "whippet_uptime_seconds",
        Gauge,
        "Time since the start.",
        status.identity.uptime_seconds,
    );
    if let Some(age) = status.last_flush_seconds {
        page.single("whippet_last_flush_age_seconds", Gauge, "Time since the last flush.", age);
    }
    let mut family = page.family("whippet_build_info", Gauge, "The program; always 1.");
    family.sample(&BUILD, 1);
}

/// Labels of the build. Packages set `WHIPPET_REVISION` to the commit they are built from.
const BUILD: [(&str, &str); 3] = [
    ("version", env!("CARGO_PKG_VERSION")),
    (
        "revision",
        match option_env!("WHIPPET_REVISION") {
            Some(revision) => revision,
            None => "",
        },
    ),
    ("arch", std::env::consts::ARCH),
];
