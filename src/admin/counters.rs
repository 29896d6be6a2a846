//! The table of counters: what each is called, what it means, and where it stands in a [`Status`].
//! `/metrics` and `whippet status` are written from it; a test checks that no number of the status
//! is missing here. A new counter is one field of [`Status`] and one row below.

use super::prometheus::MetricKind::{self, Counter, Gauge};
use super::status::{ListenerStatus, Status};
use crate::net::Transport;

/// One number of the process.
pub(crate) struct ProcessCounter {
    /// The metric in `/metrics`; its unit is in the name.
    pub metric: &'static str,
    pub kind: MetricKind,
    pub help: &'static str,
    /// How `whippet status` puts it after the number, when it is above zero; empty where the page
    /// has another place for it.
    pub phrase: &'static str,
    pub of: fn(&Status) -> u64,
}

const fn counted(
    metric: &'static str,
    help: &'static str,
    phrase: &'static str,
    of: fn(&Status) -> u64,
) -> ProcessCounter {
    ProcessCounter { metric, kind: Counter, help, phrase, of }
}

const fn measured(
    metric: &'static str,
    help: &'static str,
    of: fn(&Status) -> u64,
) -> ProcessCounter {
    ProcessCounter { metric, kind: Gauge, help, phrase: "", of }
}

/// Numbers about lines, flushes and the process, in the order of the pages.
pub(crate) const PROCESS: &[ProcessCounter] = &[
    counted(
        "whippet_lines_received_total",
        "Lines found in datagrams and frames: recorded + refused + dropped.",
        "",
        |status| status.lines.received,
    ),
    counted("whippet_lines_recorded_total", "Lines recorded.", "", |status| {
        status.lines.recorded.total
    }),
    counted(
        "whippet_values_recorded_total",
        "Values recorded; a packed line holds several.",
        "",
        |status| status.lines.values.recorded,
    ),
    counted(
        "whippet_lines_folded_total",
        "Lines recorded in an overflow context (contexts_max).",
        "lines of new contexts were folded into overflow contexts (contexts_max)",
        |status| status.lines.folded,
    ),
    counted(
        "whippet_values_not_finite_total",
        "Values dropped because they, their sum or its count would leave the range of numbers.",
        "values were not finite",
        |status| status.lines.values.not_finite,
    ),
    counted(
        "whippet_rates_invalid_total",
        "Lines whose sample rate was outside [1e-9, 1] and taken as 1.",
        "sample rates were out of range and taken as 1",
        |status| status.lines.rates_invalid,
    ),
    counted(
        "whippet_fields_ignored_total",
        "Fields of events and service checks that were not understood and skipped.",
        "fields of events and service checks were not understood and skipped",
        |status| status.lines.fields_ignored,
    ),
    counted(
        "whippet_texts_repaired_total",
        "Metrics (when first seen), events and checks with bytes that are not UTF-8, replaced by U+FFFD.",
        "metrics, events and checks had bytes that are not UTF-8, replaced by U+FFFD",
        |status| status.lines.texts_repaired,
    ),
    counted(
        "whippet_tags_left_out_total",
        "Tags that no series can carry, counted when a metric is first seen: a device: that is empty or not the last, a malformed dd.internal.resource:.",
        "device: or dd.internal.resource: tags could not be posted (empty, malformed or not the last device)",
        |status| status.lines.tags_left_out,
    ),
    counted(
        "whippet_origins_unreadable_total",
        "Datagrams whose sender's container could not be found; recorded without its tags.",
        "datagrams came from senders whose container could not be found",
        |status| status.lines.origins_unreadable,
    ),
    counted(
        "whippet_global_timestamped_local_total",
        "Lines with a timestamp whose series is global: posted here with host, never merged across hosts.",
        "lines of global series have a timestamp and are posted here, not by the owner",
        |status| status.lines.timestamped_local,
    ),
    counted(
        "whippet_global_cells_unsendable_total",
        "Values of global series not forwarded, because the name or a tag holds a line break.",
        "values of global series were not forwarded: the name or a tag holds a line break",
        |status| status.lines.cells_unsendable,
    ),
    counted(
        "whippet_type_conflicts_total",
        "Values not posted because another kind of the same series was written later.",
        "values not posted: another kind of the same series came later",
        |status| status.type_conflicts,
    ),
    counted(
        "whippet_sets_estimated_total",
        "Sets posted as an estimate (set_members_max).",
        "sets were posted as an estimate (set_members_max)",
        |status| status.sets_estimated,
    ),
    counted(
        "whippet_histograms_folded_total",
        "Histograms of more than 1,000 samples, whose percentiles are within 1 %.",
        "histograms had more than 1,000 samples; their percentiles are within 1 %",
        |status| status.histograms_folded,
    ),
    counted(
        "whippet_cells_coarse_total",
        "Sets, histograms and distributions posted less precisely (aggregation_bytes_max).",
        "sets, histograms and distributions were posted less precisely (aggregation_bytes_max)",
        |status| status.cells_coarse,
    ),
    counted("whippet_flushes_total", "Intervals flushed.", "", |status| status.flushes),
    measured("whippet_lines_open", "Lines received since the last flush.", |status| {
        status.lines_open
    }),
    counted(
        "whippet_doors_telemetry_messages_total",
        "Telemetry messages to the doors; a batch holds several.",
        "telemetry messages came through the doors",
        |status| status.doors.telemetry_messages,
    ),
    counted(
        "whippet_doors_telemetry_messages_unknown_total",
        "Telemetry messages to the doors of a type that is not known, which are only counted.",
        "telemetry messages were of unknown types and only counted",
        |status| status.doors.telemetry_messages_unknown,
    ),
    counted(
        "whippet_doors_connections_refused_total",
        "Connections to the doors past apm_config.max_connections.",
        "connections to the doors refused (apm_config.max_connections)",
        |status| status.doors.connections_refused,
    ),
    measured(
        "whippet_doors_contexts",
        "Contexts of the doors when their last bucket was posted.",
        |status| status.doors.contexts as u64,
    ),
    counted(
        "whippet_admin_connections_evicted_total",
        "Admin connections closed to make room for newer ones.",
        "admin connections closed to make room for newer ones",
        |status| status.admin.connections_evicted,
    ),
    counted(
        "whippet_admin_connections_late_total",
        "Admin connections closed because their client was too slow.",
        "admin connections closed because their client was too slow",
        |status| status.admin.connections_late,
    ),
    counted(
        "whippet_admin_pages_refused_total",
        "Admin requests answered 503 because too many pages were in work.",
        "admin requests answered 503 because too many pages were in work",
        |status| status.admin.pages_refused,
    ),
    measured("process_resident_memory_bytes", "Resident memory.", |status| {
        status.process.resident_bytes
    }),
    measured("process_virtual_memory_bytes", "Virtual memory.", |status| {
        status.process.virtual_bytes
    }),
    measured("process_open_fds", "Open file descriptors.", |status| status.process.open_files),
    measured("process_max_fds", "Most file descriptors that may be open.", |status| {
        status.process.open_files_max
    }),
    measured("process_start_time_seconds", "Start of the process, Unix time.", |status| {
        status.process.started_at
    }),
];

/// One number of each listener.
pub(crate) struct ListenerCounter {
    pub metric: &'static str,
    pub kind: MetricKind,
    pub help: &'static str,
    /// How `whippet status` puts it after the number, when it is above zero; empty where the page
    /// has another place for it.
    pub phrase: &'static str,
    pub of: fn(&ListenerStatus) -> u64,
}

const RECEIVE_BUFFER: &str = "whippet_receive_buffer_bytes";

impl ListenerCounter {
    /// False for a number that the listener cannot have: lines in bodies of HTTP requests come
    /// without a receive buffer of their own.
    pub fn applies_to(&self, listener: &ListenerStatus) -> bool {
        self.metric != RECEIVE_BUFFER || listener.transport != Transport::Http.label()
    }
}

const fn heard(
    metric: &'static str,
    kind: MetricKind,
    help: &'static str,
    phrase: &'static str,
    of: fn(&ListenerStatus) -> u64,
) -> ListenerCounter {
    ListenerCounter { metric, kind, help, phrase, of }
}

/// Numbers of listeners, labelled with transport and address.
pub(crate) const LISTENER: &[ListenerCounter] = &[
    heard("whippet_datagrams_total", Counter, "Datagrams and frames read.", "", |listener| {
        listener.datagrams + listener.frames
    }),
    heard("whippet_bytes_total", Counter, "Payload bytes read.", "", |listener| listener.bytes),
    heard(
        "whippet_kernel_drops_total",
        Counter,
        "Datagrams the kernel dropped before they could be read.",
        "",
        |listener| listener.kernel_drops,
    ),
    heard(
        "whippet_datagrams_truncated_total",
        Counter,
        "Datagrams longer than dogstatsd_buffer_size.",
        "cut",
        |listener| listener.datagrams_truncated,
    ),
    heard(
        "whippet_bytes_truncated_total",
        Counter,
        "Bytes cut from datagrams longer than dogstatsd_buffer_size.",
        "bytes cut",
        |listener| listener.bytes_truncated,
    ),
    heard(
        "whippet_read_errors_total",
        Counter,
        "Reads and accepts that failed.",
        "failed reads",
        |listener| listener.read_errors,
    ),
    heard(
        "whippet_connections_open",
        Gauge,
        "Stream connections open now.",
        "connections open",
        |listener| listener.connections_open,
    ),
    heard(
        "whippet_connections_accepted_total",
        Counter,
        "Stream connections accepted.",
        "connections accepted",
        |listener| listener.connections_accepted,
    ),
    heard(
        "whippet_connections_refused_total",
        Counter,
        "Connections past stream_connections_max.",
        "connections refused",
        |listener| listener.connections_refused,
    ),
    heard(
        "whippet_frames_oversize_total",
        Counter,
        "Frames and lines longer than dogstatsd_buffer_size.",
        "frames too long",
        |listener| listener.frames_oversize,
    ),
    heard(
        "whippet_frames_cut_total",
        Counter,
        "Frames that ended early.",
        "frames cut",
        |listener| listener.frames_cut,
    ),
    heard(
        "whippet_credentials_missing_total",
        Counter,
        "Datagrams and frames without usable credentials although origin detection is on.",
        "without credentials",
        |listener| listener.credentials_missing,
    ),
    heard(
        "whippet_sockets_bound_again_total",
        Counter,
        "Times a Unix socket was bound again because another program removed or replaced its file.",
        "times bound again",
        |listener| listener.bound_again,
    ),
    heard(
        "whippet_socket_lost",
        Gauge,
        "1 while clients do not find the Unix socket and binding it again fails.",
        "socket file lost",
        |listener| listener.socket_lost,
    ),
    heard(
        RECEIVE_BUFFER,
        Gauge,
        "Receive buffer the kernel granted, per socket.",
        "",
        |listener| listener.receive_buffer_bytes as u64,
    ),
];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// A value that no other field holds.
    const MARK: u64 = 987_654_321;

    /// Paths of every number in the value, lists and maps apart.
    fn numbers(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Number(_) => found.push(path.to_owned()),
            Value::Object(fields) => {
                fields
                    .iter()
                    .for_each(|(name, field)| numbers(field, &format!("{path}/{name}"), found));
            }
            _ => {}
        }
    }

    /// The fields that no row of `reached` reads, by setting one after the other.
    fn missing<T: Default + serde::Serialize + serde::de::DeserializeOwned>(
        reached: impl Fn(&T) -> bool,
    ) -> Vec<String> {
        let blank = serde_json::to_value(T::default()).unwrap();
        let mut paths = Vec::new();
        numbers(&blank, "", &mut paths);
        assert!(paths.len() > 10, "{paths:?}");
        paths.retain(|path| {
            let mut marked = blank.clone();
            *marked.pointer_mut(path).unwrap() = MARK.into();
            !reached(&serde_json::from_value(marked).unwrap())
        });
        paths
    }

    #[test]
    fn every_number_of_the_status_has_a_row() {
        let missing = missing(|status: &Status| PROCESS.iter().any(|row| (row.of)(status) == MARK));
        // Shown with labels or elsewhere: sums by type and reason, and what is not a counter.
        let elsewhere = [
            "/lines/recorded/",
            "/lines/refused/total",
            "/lines/dropped/total",
            "/kernel/dropped",
            "/identity/",
            "/contexts/",
            "/agent/",
            "/global/",
            // Not whole numbers.
            "/process/cpu_seconds",
            "/flush_seconds/",
            "/lines_per_second",
        ];
        let unknown: Vec<&String> = missing
            .iter()
            .filter(|path| !elsewhere.iter().any(|known| path.starts_with(known)))
            .collect();
        assert!(unknown.is_empty(), "no row for {unknown:?}");
    }

    #[test]
    fn every_number_of_a_listener_has_a_row() {
        let missing =
            missing(|status: &ListenerStatus| LISTENER.iter().any(|row| (row.of)(status) == MARK));
        let unknown: Vec<&String> = missing
            .iter()
            .filter(|path| !path.starts_with("/lines/"))
            .filter(|path| !["/sockets", "/receive_buffer_bytes_asked"].contains(&path.as_str()))
            .collect();
        assert!(unknown.is_empty(), "no row for {unknown:?}");
    }

    #[test]
    fn only_sockets_with_a_receive_buffer_have_a_row_of_it() {
        let row = LISTENER.iter().find(|row| row.metric == RECEIVE_BUFFER).unwrap();
        let of = |transport: Transport| {
            let transport = transport.label().to_owned();
            row.applies_to(&ListenerStatus { transport, ..ListenerStatus::default() })
        };
        assert!(of(Transport::Udp));
        assert!(!of(Transport::Http));
    }

    #[test]
    fn names_are_unique_and_follow_the_convention() {
        let rows = PROCESS.iter().map(|row| (row.metric, row.kind));
        let mut names: Vec<&str> = Vec::new();
        for (name, kind) in rows.chain(LISTENER.iter().map(|row| (row.metric, row.kind))) {
            assert_eq!(name.ends_with("_total"), kind == Counter, "{name}");
            assert!(!names.contains(&name), "{name} twice");
            names.push(name);
        }
    }
}
