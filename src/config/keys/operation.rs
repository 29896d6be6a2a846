//! Logs, telemetry, and what an operator asks of a running server.

use crate::config::key::Kind::{Bool, Bytes, Choice, Path, Port, Text};
use crate::config::key::{Key, ignored, int, key, ours};
use crate::config::types::{LogLevel, Switch};

pub(super) const KEYS: &[Key] = &[
    key("log_level", Choice(LogLevel::WORDS), "info", "How much is logged: `trace`, `debug`, `info`, `warn`, `error`, `critical`, `off`."),
    key("log_file", Path, "", "File to log to, besides the console. Unset: none."),
    key("log_file_max_size", Bytes { max: 1 << 40 }, "10Mb", "Size at which the log file is rolled."),
    key("log_file_max_rolls", int(0, 1000), "1", "Rolled log files that are kept."),
    key("log_to_console", Bool, "true", "Log on standard error."),
    key("log_format_json", Bool, "false", "One JSON object per log line."),
    key("disable_file_logging", Bool, "false", "Ignore `log_file`."),
    key("log_payloads", Bool, "false", "Log every payload, decoded, at debug level. Large; for finding faults."),
    ignored("logging_frequency", "deliveries are counted; only failures are logged"),
    key("dogstatsd_metrics_stats_enable", Bool, "false", "Keep count and last time per metric and tag set, for `whippet stats`."),
    ignored("dogstatsd_capture_path", "traffic is not captured yet"),
    ignored("dogstatsd_capture_depth", "traffic is not captured yet"),
    key("health_port", Port, "0", "Port on loopback for `/live`, `/ready` and `/startup`. 0: only on `admin_address`."),
    ours("admin_address", Text, "127.0.0.1:8135", "Address, or path of a Unix socket, of the read-only admin server: `/metrics`, `/status`, `/live`, `/ready`, `/startup`. An empty value in a file or flag turns it off. In use by another process: whippet says so and goes on without.").clearable(),
    ours("self_telemetry", Choice(Switch::WORDS), "auto", "Post whippet's own counters as metrics, at most 15 series. `auto`: with the `datadog` output."),
    ours("self_service_check", Bool, "false", "Post the service check `whippet.up` (OK) every interval, beside the gauge `whippet.running`; both need `self_telemetry`."),
    ours("sender_accounts", Bool, "true", "Count packets, lines, bytes and refused lines per sender, for `whippet status` and `whippet top`. Costs less than 3 % of the instructions of a packet."),
    key("run_path", Path, "/opt/datadog-agent/run", "Folder below which whippet makes one of its own, `whippet`, for what must survive a restart. It never touches the files of an Agent beside it."),
    ignored("log_to_syslog", "log on standard error and let the service manager collect it"),
    ignored("syslog_uri", "log on standard error and let the service manager collect it"),
    ignored("syslog_rfc", "log on standard error and let the service manager collect it"),
    ignored("dogstatsd_stats_enable", "the status shows rates always"),
    ignored("dogstatsd_stats_port", "the status shows rates always"),
    ignored("dogstatsd_stats_buffer", "the status shows rates always"),
    ignored("dogstatsd_log_file", "see whippet stats and whippet tap"),
    ignored("dogstatsd_logging_enabled", "see whippet stats and whippet tap"),
    ignored("dogstatsd_log_file_max_rolls", "see whippet stats and whippet tap"),
    ignored("dogstatsd_log_file_max_size", "see whippet stats and whippet tap"),
    ignored("dogstatsd_telemetry_enabled_listener_id", "counters name their listener always"),
    ignored("telemetry.*", "the counters of /metrics are always on"),
    ignored("cmd_host", "an Agent's command port is never taken; see admin_address"),
    ignored("cmd_port", "an Agent's command port is never taken; see admin_address"),
    ignored("expvar_port", "an Agent's port is never taken; see admin_address"),
    ignored("data_plane.*", "tells an Agent that another process serves DogStatsD"),
];
