//! Logs, telemetry and the admin server.

use crate::config::key::Kind::{Bool, Bytes, Choice, Path, Port, Text, Url};
use crate::config::key::{Key, ignored, int, key, ours};
use crate::config::types::{LogLevel, Switch};

pub(super) const KEYS: &[Key] = &[
    key(
        "log_level",
        Choice(LogLevel::WORDS),
        "info",
        "Lowest level to log: `trace`, `debug`, `info`, `warn`, `error`, `critical`, `off`.",
    )
    .reloads(),
    key(
        "log_file",
        Path,
        "",
        "File to log to in addition to the console. Unset: none. Left to the Agent if a \
         shared file sets `use_dogstatsd: false`.",
    )
    .different(
        "none by default: logs go to standard error. The Agent writes to `/var/log/datadog`",
    ),
    key(
        "log_file_max_size",
        Bytes { max: 1 << 40 },
        "10Mb",
        "Size at which the log file is rotated. 0: never.",
    ),
    key("log_file_max_rolls", int(0, 1000), "1", "Number of rotated log files to keep."),
    key("log_to_console", Bool, "true", "Log to standard error."),
    key("log_format_json", Bool, "false", "Write each log line as a JSON object."),
    key("disable_file_logging", Bool, "false", "Ignore `log_file`."),
    key(
        "log_payloads",
        Bool,
        "false",
        "Log every payload, decoded, at debug level. The output is large; use it for \
         debugging.",
    )
    .better("written as JSON, one line per series, sketch, event and check"),
    ignored(
        "logging_frequency",
        "successful deliveries are counted, not logged; a failure is logged once per reason \
         and interval",
    ),
    key(
        "dogstatsd_metrics_stats_enable",
        Bool,
        "false",
        "Keep a count and last-seen time per metric and tag set, for `whippet stats`.",
    )
    .better("`whippet stats --for SECONDS` works without it"),
    key(
        "dogstatsd_capture_path",
        Path,
        "",
        "Directory in which `whippet capture` creates its files. Unset: the current one.",
    )
    .different(
        "the command writes the file, with the rights of whoever runs it, by default into the \
         current directory; the Agent's server writes into `run_path/dsd_capture`",
    ),
    ignored(
        "dogstatsd_capture_depth",
        "a lane never waits for a capture: what a slow reader has no room for is counted",
    ),
    key(
        "health_port",
        Port,
        "0",
        "Port that serves only `/live`, `/ready` and `/startup`: on loopback, and on all \
         interfaces inside Kubernetes (the kubelet probes from outside the pod) or with \
         `dogstatsd_non_local_traffic`. 0: they are served on `admin_address` only. Left to \
         the Agent if a shared file sets `use_dogstatsd: false`.",
    )
    .different(
        "on loopback, and on all interfaces only inside Kubernetes or with \
         `dogstatsd_non_local_traffic`; the Agent always binds all. If the port is in use, \
         whippet warns and continues",
    ),
    ours(
        "admin_address",
        Text,
        "127.0.0.1:8135",
        "Address, or Unix socket path, of the read-only admin server: `/metrics`, `/status`, \
         `/live`, `/ready`, `/startup`. An empty value in a file or flag turns it off. If \
         another process uses the address, whippet warns and continues without it.",
    )
    .clearable(),
    ours(
        "self_telemetry",
        Choice(Switch::WORDS),
        "auto",
        "Post whippet's own counters as metrics, at most 15 series. `auto`: with the \
         `datadog` output.",
    ),
    ours(
        "self_service_check",
        Bool,
        "false",
        "Post the service check `whippet.up` (OK) every interval, next to the gauge \
         `whippet.running`; both need `self_telemetry`.",
    ),
    ours(
        "instrumentation_telemetry",
        Bool,
        "false",
        "Report on whippet itself, as client libraries do: version, settings without secrets, \
         packages, counters and the places of errors, once per minute. `whippet telemetry \
         --dry-run` shows what is sent; docs/telemetry.md explains each field.",
    ),
    ours(
        "instrumentation_telemetry_url",
        Url,
        "",
        "Agent or collector for `instrumentation_telemetry`, and the only place it is sent to: \
         `/telemetry/proxy/api/v2/apmtelemetry` is added. Unset: `http://localhost:8126`, and \
         where that fails, the intake of `site` with `api_key`.",
    ),
    ours(
        "sender_accounts",
        Bool,
        "true",
        "Count packets, lines, bytes and refused lines per sender, for `whippet status` and \
         `whippet top`. Costs less than 3 % of the instructions of a packet.",
    ),
    key(
        "run_path",
        Path,
        "/var/lib",
        "Directory in which whippet creates its own, `whippet`, for data that must survive a \
         restart. (The Agent's default is `/opt/datadog-agent/run`; whippet writes there \
         only if configured to.) Left to the Agent if a shared file sets `use_dogstatsd: \
         false`.",
    )
    .different(
        "`/var/lib` by default, and in it only the directory `whippet`; never the Agent's \
         `/opt/datadog-agent/run` unless configured",
    ),
    ignored("log_to_syslog", "log to standard error and let the service manager collect it"),
    ignored("syslog_uri", "log to standard error and let the service manager collect it"),
    ignored("syslog_rfc", "log to standard error and let the service manager collect it"),
    ignored("dogstatsd_stats_enable", "the status always shows rates"),
    ignored("dogstatsd_stats_port", "the status always shows rates"),
    ignored("dogstatsd_stats_buffer", "the status always shows rates"),
    ignored(
        "dogstatsd_log_file",
        "whippet writes no file with a line per sample; see whippet stats and whippet tap",
    ),
    ignored("dogstatsd_logging_enabled", "belongs to dogstatsd_log_file"),
    ignored("dogstatsd_log_file_max_rolls", "belongs to dogstatsd_log_file"),
    ignored("dogstatsd_log_file_max_size", "belongs to dogstatsd_log_file"),
    ignored(
        "dogstatsd_telemetry_enabled_listener_id",
        "/status lists the counters of each listener by name",
    ),
    ignored("telemetry.*", "the counters of /metrics are always on; who sends what is in /senders"),
    ignored("cmd_host", "the command port belongs to the Agent; see admin_address"),
    ignored("cmd_port", "the command port belongs to the Agent; see admin_address"),
    ignored(
        "expvar_port",
        "the port belongs to the Agent; /debug/vars and /telemetry are on admin_address",
    ),
    ignored("data_plane.*", "tells the Agent that another process serves DogStatsD"),
];
