//! Listeners, origins, and what happens to a name on the way in.

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

/// Largest receive buffer that can be asked for: what the kernel's `int` holds.
const BUFFER_MAX: crate::config::key::Kind = Bytes { max: i32::MAX as u64 };

/// Prefixes that are never put into a namespace.
const EXEMPT: &str = "datadog.agent datadog.dogstatsd datadog.process datadog.trace_agent datadog.tracer activemq activemq_58 airflow cassandra confluent hazelcast hive ignite jboss jvm kafka presto sidekiq solr tomcat runtime";

pub(super) const KEYS: &[Key] = &[
    key("use_dogstatsd", Bool, "true", "`false` does not stop whippet: in a file or environment shared with an Agent it is how that Agent makes room for whippet. What the same source says of `health_port`, `run_path`, `forwarder_storage_path` and `log_file` is then the Agent's, and whippet leaves it alone. To run without a listener, turn each one off.").different("`false` does not stop whippet: it is how an Agent makes room for it. Ports and files that the same source gives are left to that Agent"),
    key("dogstatsd_port", Port, "8125", "UDP port. 0 turns UDP off; `__random__` takes any free port and says which (for tests). A port in use keeps whippet from starting.").different("a port in use is fatal, also while another listener works: half deaf is worse than a clear error"),
    ours("dogstatsd_tcp_port", Port, "0", "TCP port for lines that end in a newline. 0: off. It binds where UDP binds."),
    key("bind_host", Text, "", "Address or name to listen on. Unset: both loopbacks, 127.0.0.1 and ::1. Ignored with `dogstatsd_non_local_traffic`.").better("unset, both loopbacks are bound: clients that resolve `localhost` to `::1` are heard"),
    key("dogstatsd_non_local_traffic", Bool, "false", "Listen on all interfaces. Anybody who reaches the port can then send metrics: put a firewall before it.").better("said at the start, as a warning"),
    key("dogstatsd_socket", Path, SOCKET, "Unix datagram socket. An empty value in a file or flag turns it off. Without its folder whippet says so and goes on with the other listeners. A socket that a live process serves is never taken over.").better("a socket that a live process serves is never taken over; a missing folder turns the listener off and the others go on").clearable(),
    ours("dogstatsd_socket_mode", Mode, "0722", "Permissions of the datagram socket in octal. The default lets every local user send; `0720` only the group."),
    key("dogstatsd_stream_socket", Path, "", "Unix stream socket, with frames of a 4-byte little-endian length. Unset: off.").better("an empty frame is skipped instead of closing the connection; open connections are bounded (`stream_connections_max`)"),
    ours("dogstatsd_stream_socket_mode", Mode, "0722", "Permissions of the stream socket in octal."),
    key("dogstatsd_stream_log_too_big", Bool, "false", "Quote the beginning of a stream frame that is larger than `dogstatsd_buffer_size` in the log."),
    key("dogstatsd_so_rcvbuf", BUFFER_MAX, "0", "Bytes to ask of the kernel for the receive buffer of each socket. 0: 4 MiB. The kernel grants at most `net.core.rmem_max`; whippet says when it got less. Raise both when kernel drops are reported.").better("0 asks for 4 MiB instead of leaving the default of the system; whippet says what the kernel granted, and a smaller grant stops nothing"),
    key("dogstatsd_buffer_size", int(1, 16 << 20), "8192", "Longest datagram or stream frame in bytes. A longer datagram is cut: its last, incomplete line is refused and counted; a longer frame closes the connection. Raise it when clients send larger datagrams over Unix sockets.").better("what did not fit is noticed: the cut line is refused and counted instead of being read as if whole"),
    key("dogstatsd_eol_required", Transports, "", "Transports on which a last line without newline is dropped: `udp`, `uds`. For clients whose datagrams may arrive cut.").expendable(),
    key("dogstatsd_disable_verbose_logs", Bool, "false", "Log refused lines at debug level instead of warning. They are counted either way.").better("a refused line is shown with its sender, the place and what was expected, and repeats are counted instead of shown"),
    key("dogstatsd_tags", Words, "", "Tags on every metric, event and check that is received. Space separated or JSON in the environment."),
    key("dogstatsd_origin_detection", Bool, "false", "Read the credentials of senders on Unix sockets (Linux) and tag what they send with the tags of their container.").better("where credentials cannot be had the listener works without"),
    key("dogstatsd_origin_detection_client", Bool, "false", "Honour the origin fields that clients write: `c:`, `e:`, `card:`."),
    key("dogstatsd_origin_optout_enabled", Bool, "true", "Cardinality `none` removes all origin tags of a message."),
    key("dogstatsd_entity_id_precedence", Bool, "false", "An entity id in the message replaces the sender's own container instead of adding to it."),
    key("dogstatsd_tag_cardinality", Choice(Cardinality::WORDS), "low", "Which origin tags are added when a message does not say: `none`, `low`, `orchestrator`, `high`. Higher means more contexts.").expendable(),
    key("origin_detection_unified", Bool, "false", "Use only the first origin that is known for a message instead of the tags of all."),
    key("container_proc_root", Path, "", "Where the process file system of the machine is mounted; it tells the container of a sender on a Unix socket. Unset: `/host/proc` where that exists, else `/proc`."),
    key("container_cgroup_root", Path, "", "Where the control groups of the machine are mounted; they tell the container of an inode in `c:`. Unset: `/host/sys/fs/cgroup` where that exists, else `/sys/fs/cgroup`."),
    key("statsd_forward_host", Text, "", "Send a copy of every datagram, unparsed, over UDP to this host. Needs `statsd_forward_port`.").better("copies are made on a thread of their own: a slow or unknown target never slows receiving, and what it costs is counted"),
    key("statsd_forward_port", int(0, 65_535), "0", "UDP port of that host. 0: no copies."),
    key("statsd_metric_namespace", Text, "", "Prefix of every metric name; a dot is put between when it has none."),
    key("statsd_metric_namespace_blacklist", Words, EXEMPT, "Beginnings of names that get no such prefix. A list of your own replaces the default.").expendable(),
    key("dogstatsd_mapper_profiles", Profiles, "", "Rules that turn parts of names into tags: a list of `{name, prefix, mappings: [{match, match_type, name, tags}]}`, where `match_type` is `wildcard` (default) or `regex`. Only the first profile whose prefix fits is tried. Also per profile, by whippet alone: `histogram_aggregates`, `histogram_percentiles`, `gauge_ttl` (a duration), `counters_as_counts`. JSON in the environment. A bad rule is skipped, the others are used.").better("one bad rule is skipped and the others work (in the Agent one turns all mapping off); profiles have settings of their own").expendable(),
    ours("lanes", int(1, 1024), "1", "Threads that receive and aggregate. One takes millions of metrics a second; more help only with many senders. Never more than the processor quota allows."),
    ours("receive_pause", millis(Duration::from_millis(100)), "1ms", "Pause between two rounds of receiving from UDP and streams, so that one wake-up takes many datagrams. 0 turns it off: less delay, more processor time. It is skipped where the receive buffer is below 1 MiB."),
    ignored("dogstatsd_mapper_cache_size", "what the mapper made of a name is remembered with the metric, without a cache of its own; 0 does not turn the mapper off, as it does in the Agent"),
    ignored("dogstatsd_pipe_name", "a Windows pipe"),
    ignored("dogstatsd_packet_buffer_size", "tuning of the Agent's queue; whippet has none between socket and aggregation"),
    ignored("dogstatsd_packet_buffer_flush_timeout", "tuning of the Agent's queue; see receive_pause"),
    ignored("dogstatsd_queue_size", "tuning of the Agent's queue; whippet has none between socket and aggregation"),
    ignored("dogstatsd_workers_count", "a lane receives, reads and aggregates; see lanes"),
    ignored("dogstatsd_pipeline_count", "every lane is a pipeline of its own; see lanes"),
    ignored("dogstatsd_pipeline_autoadjust", "an aid to the scheduler of Go; see lanes"),
    ignored("dogstatsd_string_interner_size", "memory tuning of the Agent; see contexts_max"),
    ignored("dogstatsd_mem_based_rate_limiter.*", "memory tuning of the Agent; see contexts_max"),
    ignored("dogstatsd_experimental_http.*", "an experiment of the Agent"),
    ignored("dogstatsd_socket_fd_from", "a proposal that no Agent has"),
    ignored("dogstatsd_host_socket_path", "read by other parts of the Agent"),
    ignored("dogstatsd_windows_pipe_security_descriptor", "a Windows pipe"),
    ignored("heroku_dyno", "read by other parts of the Agent"),
    ignored("entity_id", "read by other parts of the Agent"),
    ignored("config_id", "read by other parts of the Agent"),
    ignored("provider_kind", "read by other parts of the Agent"),
];
