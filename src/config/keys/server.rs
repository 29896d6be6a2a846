//! Listeners, origin detection, and rewriting of names on receipt.

use std::time::Duration;

use crate::config::key::Kind::{
    Bool, Bytes, Choice, Mode, Path, Port, Profiles, Text, Transports, Words,
};
use crate::config::key::{Key, ignored, int, key, millis, ours};
use crate::config::types::Cardinality;

#[cfg(target_os = "linux")]
const SOCKET: &str = "/var/run/datadog/dsd.socket";
#[cfg(not(target_os = "linux"))]
const SOCKET: &str = "";

/// Largest receive buffer that can be requested: the kernel takes an `int`.
const BUFFER_MAX: crate::config::key::Kind = Bytes { max: i32::MAX as u64 };

/// Prefixes of names that get no namespace.
const EXEMPT: &str = "datadog.agent datadog.dogstatsd datadog.process datadog.trace_agent \
    datadog.tracer activemq activemq_58 airflow cassandra confluent hazelcast hive ignite jboss \
    jvm kafka presto sidekiq solr tomcat runtime";

pub(super) const KEYS: &[Key] = &[
    key(
        "use_dogstatsd",
        Bool,
        "true",
        "`false` does not stop whippet: in a file or environment shared with an Agent, it \
         tells that Agent to leave DogStatsD to whippet. The same source's `health_port`, \
         `run_path`, `forwarder_storage_path` and `log_file` then belong to the Agent, and \
         whippet does not use them. To run without a listener, turn each one off.",
    )
    .different(
        "`false` does not stop whippet: it tells an Agent to leave DogStatsD to whippet. \
         Ports and files in the same source are left to that Agent",
    ),
    key(
        "dogstatsd_port",
        Port,
        "8125",
        "UDP port. 0 turns UDP off; `__random__` takes any free port and logs which (for \
         tests). whippet does not start if the port is in use.",
    )
    .different(
        "a port in use is fatal even if another listener works: a clear error beats losing \
         part of the traffic unnoticed",
    ),
    ours(
        "dogstatsd_tcp_port",
        Port,
        "0",
        "TCP port for newline-terminated lines. 0: off. It binds to the same addresses as \
         UDP.",
    ),
    key(
        "bind_host",
        Text,
        "",
        "Address or name to listen on. Unset: both loopback addresses, 127.0.0.1 and ::1. \
         Ignored with `dogstatsd_non_local_traffic`.",
    )
    .better(
        "when unset, both loopback addresses are bound, so clients that resolve `localhost` \
         to `::1` work",
    ),
    key(
        "dogstatsd_non_local_traffic",
        Bool,
        "false",
        "Listen on all interfaces. Anyone who can reach the port can then send metrics: \
         protect it with a firewall.",
    )
    .better("a warning at startup points it out"),
    key(
        "dogstatsd_socket",
        Path,
        SOCKET,
        "Unix datagram socket. An empty value in a file or flag turns it off. If it is set and \
         cannot be made, because its directory does not exist or is not writable, whippet does \
         not start; the default socket is then off, and the other listeners work. A socket that \
         a live process serves is never taken over.",
    )
    .better(
        "a socket that a live process serves is never taken over; a configured socket that \
         cannot be made is fatal, the default one is then off",
    )
    .clearable(),
    ours(
        "dogstatsd_socket_mode",
        Mode,
        "0722",
        "Permissions of the datagram socket, in octal. The default lets every local user \
         send; `0720` only the group.",
    ),
    key(
        "dogstatsd_stream_socket",
        Path,
        "",
        "Unix stream socket, with frames prefixed by a 4-byte little-endian length. Unset: \
         off. If it is set and cannot be made, whippet does not start.",
    )
    .better(
        "an empty frame is skipped instead of closing the connection; open connections are \
         limited (`stream_connections_max`)",
    ),
    ours(
        "dogstatsd_stream_socket_mode",
        Mode,
        "0722",
        "Permissions of the stream socket, in octal.",
    ),
    key(
        "dogstatsd_stream_log_too_big",
        Bool,
        "false",
        "Log the beginning of a stream frame that is larger than `dogstatsd_buffer_size`.",
    ),
    key(
        "dogstatsd_so_rcvbuf",
        BUFFER_MAX,
        "0",
        "Receive buffer to request from the kernel for each socket, in bytes. 0: 4 MiB. The \
         kernel grants at most `net.core.rmem_max`; whippet warns when it got less. Raise \
         both when kernel drops are reported.",
    )
    .better(
        "0 requests 4 MiB instead of the system default; whippet reports what the kernel \
         granted, and a smaller buffer is not an error",
    ),
    key(
        "dogstatsd_buffer_size",
        int(1, 16 << 20),
        "8192",
        "Maximum size of a datagram or stream frame, in bytes. A longer datagram is \
         truncated: its last, incomplete line is refused and counted. A longer frame closes \
         the connection. Raise it when clients send larger datagrams over Unix sockets.",
    )
    .better(
        "truncation is detected: the cut line is refused and counted instead of being parsed \
         as if complete",
    ),
    key(
        "dogstatsd_eol_required",
        Transports,
        "",
        "Transports on which a last line without a newline is dropped: `udp`, `uds`. For \
         clients whose datagrams may arrive truncated.",
    )
    .expendable(),
    key(
        "dogstatsd_disable_verbose_logs",
        Bool,
        "false",
        "Log refused lines at debug level instead of warning. They are counted either way.",
    )
    .better(
        "a refused line is logged with its sender, the position and what was expected; \
         repeats are counted instead of logged",
    ),
    key(
        "dogstatsd_tags",
        Words,
        "",
        "Tags added to every metric, event and check that is received. Separated by spaces \
         or commas, or JSON, in the environment.",
    )
    .reloads(),
    key(
        "dogstatsd_origin_detection",
        Bool,
        "false",
        "Read the credentials of senders on Unix sockets (Linux) and add the tags of the \
         sender's container to its metrics.",
    )
    .better("where credentials are not available the listener works without them"),
    key(
        "dogstatsd_origin_detection_client",
        Bool,
        "false",
        "Honour the origin fields that clients send: `c:`, `e:`, `card:`.",
    ),
    key(
        "dogstatsd_origin_optout_enabled",
        Bool,
        "true",
        "Let cardinality `none` remove all origin tags of a message.",
    )
    .reloads(),
    key(
        "dogstatsd_entity_id_precedence",
        Bool,
        "false",
        "Let an entity id in the message replace the sender's own container instead of \
         adding to it.",
    )
    .reloads(),
    key(
        "dogstatsd_tag_cardinality",
        Choice(Cardinality::WORDS),
        "low",
        "Which origin tags to add when a message does not specify: `none`, `low`, \
         `orchestrator`, `high`. Higher cardinality means more contexts.",
    )
    .expendable()
    .reloads(),
    key(
        "origin_detection_unified",
        Bool,
        "false",
        "Use only the first known origin of a message instead of the tags of all of them.",
    )
    .reloads(),
    key(
        "container_proc_root",
        Path,
        "",
        "Mount point of the host's `/proc`, used to find the container of a sender on a Unix \
         socket. Unset: `/host/proc` if it exists, else `/proc`.",
    ),
    key(
        "container_cgroup_root",
        Path,
        "",
        "Mount point of the host's cgroups, used to find the container of an inode in `c:`. \
         Unset: `/host/sys/fs/cgroup` if it exists, else `/sys/fs/cgroup`.",
    ),
    key(
        "statsd_forward_host",
        Text,
        "",
        "Host to send an unparsed copy of every datagram to, over UDP. Needs \
         `statsd_forward_port`.",
    )
    .better(
        "copies are sent on a separate thread: a slow or unknown target never slows down \
         receiving, and copies that are lost are counted",
    ),
    key("statsd_forward_port", int(0, 65_535), "0", "UDP port of that host. 0: no copies."),
    key(
        "statsd_metric_namespace",
        Text,
        "",
        "Prefix for every metric name. A dot is inserted if the prefix does not end in one.",
    )
    .reloads(),
    key(
        "statsd_metric_namespace_blacklist",
        Words,
        EXEMPT,
        "Prefixes of names that get no namespace. Your own list replaces the default.",
    )
    .expendable()
    .reloads(),
    key(
        "dogstatsd_mapper_profiles",
        Profiles,
        "",
        "Rules that turn parts of names into tags: a list of `{name, prefix, mappings: \
         [{match, match_type, name, tags}]}`, where `match_type` is `wildcard` (default) or \
         `regex`. Only the first profile whose prefix matches is tried. A profile may also \
         set, in whippet only: `histogram_aggregates`, `histogram_percentiles`, `gauge_ttl` \
         (a duration), `counters_as_counts`. JSON in the environment. An invalid rule is \
         skipped; the others are used.",
    )
    .better(
        "one invalid rule is skipped and the others work (in the Agent one turns off all \
         mapping); profiles can have their own settings",
    )
    .expendable()
    .reloads(),
    ours(
        "lanes",
        int(1, 1024),
        "1",
        "Number of threads that receive and aggregate. One handles millions of metrics a \
         second; more help only with many senders. Limited to the CPU quota.",
    ),
    ours(
        "receive_pause",
        millis(Duration::from_millis(100)),
        "1ms",
        "Pause between two rounds of receiving from UDP and streams, in milliseconds, so \
         that one wake-up handles many datagrams. 0 turns it off: lower latency, more CPU. \
         Skipped when the receive buffer is below 1 MiB.",
    ),
    ignored(
        "dogstatsd_mapper_cache_size",
        "the result of mapping is stored with the metric, so there is no separate cache; \
         unlike in the Agent, 0 does not turn the mapper off",
    ),
    ignored("dogstatsd_pipe_name", "Windows only"),
    ignored(
        "dogstatsd_packet_buffer_size",
        "tunes the Agent's queue; whippet has none between socket and aggregation",
    ),
    ignored("dogstatsd_packet_buffer_flush_timeout", "tunes the Agent's queue; see receive_pause"),
    ignored(
        "dogstatsd_queue_size",
        "tunes the Agent's queue; whippet has none between socket and aggregation",
    ),
    ignored("dogstatsd_workers_count", "a lane receives, parses and aggregates; see lanes"),
    ignored("dogstatsd_pipeline_count", "every lane is a complete pipeline; see lanes"),
    ignored("dogstatsd_pipeline_autoadjust", "tunes the Go scheduler; see lanes"),
    ignored("dogstatsd_string_interner_size", "tunes the Agent's memory; see contexts_max"),
    ignored("dogstatsd_mem_based_rate_limiter.*", "tunes the Agent's memory; see contexts_max"),
    ignored("dogstatsd_experimental_http.*", "experimental in the Agent"),
    ignored("dogstatsd_socket_fd_from", "proposed, but in no released Agent"),
    ignored("dogstatsd_host_socket_path", "used by other parts of the Agent"),
    ignored("dogstatsd_windows_pipe_security_descriptor", "Windows only"),
    ignored("heroku_dyno", "used by other parts of the Agent"),
    ignored("entity_id", "used by other parts of the Agent"),
    ignored("config_id", "used by other parts of the Agent"),
    ignored("provider_kind", "used by other parts of the Agent"),
];
