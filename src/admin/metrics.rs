//! The Prometheus page: the Agent's names where they exist, then ours, each limit beside its usage.

use super::state::{AdminState, Snapshot};
use super::status::{limit_rows, of_listeners};
use crate::admin::prometheus::{Exposition, MetricKind::Counter, MetricKind::Gauge};
use crate::context::{DropReason as LineDrop, Kind};
use crate::encode::Route;
use crate::forward::{DropReason, RouteCounts, Tally};
use crate::net::Transport;
use crate::protocol::{ErrorKind, MessageType};

pub(crate) fn page(state: &AdminState, snapshot: &Snapshot) -> String {
    let mut page = Exposition::default();
    agent_listeners(&mut page, state, snapshot);
    agent_messages(&mut page, snapshot);
    lines(&mut page, snapshot);
    sockets(&mut page, state, snapshot);
    delivery(&mut page, snapshot);
    limits(&mut page, state, snapshot);
    page.into_text()
}

fn agent_listeners(page: &mut Exposition, state: &AdminState, snapshot: &Snapshot) {
    let rows: Vec<_> = of_listeners(state, &snapshot.totals).collect();
    let udp = || rows.iter().filter(|(found, _)| found.transport == Transport::Udp);
    let uds = || {
        rows.iter().filter_map(|(found, counts)| match found.transport {
            Transport::UnixDatagram => Some(("unixgram", counts)),
            Transport::UnixStream => Some(("unix", counts)),
            Transport::Udp | Transport::Tcp => None,
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
    for (data_type, count) in super::status::flushed(snapshot) {
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

fn lines(page: &mut Exposition, snapshot: &Snapshot) {
    let totals = &snapshot.totals;
    let counts = &totals.lines;
    page.single(
        "whippet_lines_received_total",
        Counter,
        "Lines found in datagrams and frames: recorded + refused + dropped.",
        counts.received,
    );
    page.single("whippet_lines_recorded_total", Counter, "Lines recorded.", counts.recorded());
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
    for (name, help, count) in [
        (
            "whippet_values_recorded_total",
            "Values recorded; a packed line holds several.",
            counts.values,
        ),
        (
            "whippet_lines_folded_total",
            "Lines recorded in an overflow context (contexts_max).",
            counts.lines_folded,
        ),
        (
            "whippet_values_not_finite_total",
            "Values dropped for not being finite.",
            counts.values_non_finite,
        ),
        (
            "whippet_rates_invalid_total",
            "Lines whose sample rate was out of range and taken as 1.",
            counts.rates_invalid,
        ),
        (
            "whippet_type_conflicts_total",
            "Values not posted because another kind of the same series was written later.",
            totals.type_conflicts,
        ),
        (
            "whippet_sets_estimated_total",
            "Sets posted as an estimate (set_members_max).",
            totals.sets_estimated,
        ),
        (
            "whippet_histograms_folded_total",
            "Histograms of more than 1,000 samples, whose percentiles are within 1 %.",
            totals.histograms_hdr,
        ),
        ("whippet_flushes_total", "Intervals flushed.", totals.flushes),
    ] {
        page.single(name, Counter, help, count);
    }
}

fn sockets(page: &mut Exposition, state: &AdminState, snapshot: &Snapshot) {
    let rows: Vec<_> = of_listeners(state, &snapshot.totals)
        .map(|(found, counts)| (found.address.to_string(), found, counts))
        .collect();
    type Figure = fn(&crate::net::ListenerCounts) -> u64;
    let families: [(&str, &str, Figure); 7] = [
        ("whippet_datagrams_total", "Datagrams and frames read.", |c| c.datagrams + c.frames),
        ("whippet_bytes_total", "Payload bytes read.", |c| c.bytes),
        (
            "whippet_kernel_drops_total",
            "Datagrams the kernel dropped before they could be read.",
            |c| c.kernel_drops,
        ),
        (
            "whippet_datagrams_truncated_total",
            "Datagrams longer than dogstatsd_buffer_size.",
            |c| c.datagrams_truncated,
        ),
        (
            "whippet_frames_oversize_total",
            "Frames and lines longer than dogstatsd_buffer_size.",
            |c| c.frames_oversize,
        ),
        ("whippet_frames_cut_total", "Frames that ended early.", |c| c.frames_cut),
        ("whippet_connections_refused_total", "Connections past stream_connections_max.", |c| {
            c.connections_refused
        }),
    ];
    for (name, help, figure) in families {
        let mut family = page.family(name, Counter, help);
        for (address, found, counts) in &rows {
            family.sample(
                &[("transport", found.transport.label()), ("listener", address)],
                figure(counts),
            );
        }
    }
    let mut family = page.family(
        "whippet_receive_buffer_bytes",
        Gauge,
        "Receive buffer the kernel granted, per socket.",
    );
    for (address, found, _) in &rows {
        family.sample(
            &[("transport", found.transport.label()), ("listener", address)],
            found.receive_buffer_bytes,
        );
    }
    page.single(
        "whippet_receive_buffer_asked_bytes",
        Gauge,
        "Receive buffer asked for.",
        state.receive_buffer_bytes,
    );
}

fn delivery(page: &mut Exposition, snapshot: &Snapshot) {
    let Some(books) = &snapshot.books else { return };
    type Figure = fn(&RouteCounts) -> Tally;
    let states: [(&str, Figure); 3] = [
        ("built", |books| books.built),
        ("delivered", |books| books.delivered),
        ("waiting", |books| books.waiting),
    ];
    for (noun, unit, figure) in [
        ("payloads", "Payloads", (|tally| tally.payloads) as fn(Tally) -> u64),
        ("points", "Points in payloads", |tally| tally.points),
    ] {
        let help = format!("{unit}: built = delivered + waiting + dropped(reason).");
        let name = format!("whippet_{noun}");
        let mut family = page.family(&name, Gauge, &help);
        for endpoint in &books.endpoints {
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
        for endpoint in &books.endpoints {
            for reason in DropReason::ALL {
                let total = figure(endpoint.total(|route| route.dropped_for(reason)));
                family.sample(&[("endpoint", &endpoint.name), ("reason", reason.label())], total);
            }
        }
    }
    let mut family =
        page.family("whippet_requests_total", Counter, "HTTP requests, by what became of them.");
    for endpoint in &books.endpoints {
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
    for endpoint in &books.endpoints {
        if let Some(time) = endpoint.queue_full_in {
            family.sample(&[("endpoint", &endpoint.name)], time.as_secs());
        }
    }
}

fn limits(page: &mut Exposition, state: &AdminState, snapshot: &Snapshot) {
    let rows = limit_rows(state, snapshot);
    let mut family = page.family("whippet_limit_used", Gauge, "What is used of each limit.");
    rows.iter().for_each(|(name, used, _)| family.sample(&[("limit", name)], used));
    let mut family = page.family("whippet_limit_max", Gauge, "Each limit.");
    rows.iter().for_each(|(name, _, max)| family.sample(&[("limit", name)], max));
    if let Some(bytes) = snapshot.memory_bytes {
        page.single("whippet_memory_bytes", Gauge, "Resident memory of the process.", bytes);
    }
    page.single(
        "whippet_uptime_seconds",
        Gauge,
        "Time since the start.",
        state.liveness.uptime().as_secs(),
    );
    let mut family = page.family("whippet_info", Gauge, "The version.");
    family.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}
