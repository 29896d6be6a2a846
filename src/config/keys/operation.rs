//! Logs, telemetry, and what an operator asks of a running server.

use crate::config::key::Kind::{Bool, Bytes, Choice, Path, Port, Text};
use crate::config::key::{Key, ignored, int, key, ours};
use crate::config::types::{LogLevel, Switch};

pub(super) const KEYS: &[Key] = &[
    key("log_level", Choice(LogLevel::WORDS), "info", "How much is logged: `trace`, `debug`, `info`, `warn`, `error`, `critical`, `off`."),
    key("log_file", Path, "", "File to log to, besides the console. Unset: none. Left to the Agent where a shared file says `use_dogstatsd: false`.").different("none by default: logs go to standard error. The Agent writes below `/var/log/datadog`"),
    key("log_file_max_size", Bytes { max: 1 << 40 }, "10Mb", "Size at which the log file is rolled."),
    key("log_file_max_rolls", int(0, 1000), "1", "Rolled log files that are kept."),
    key("log_to_console", Bool, "true", "Log on standard error."),
    key("log_format_json", Bool, "false", "One JSON object per log line."),
    key("disable_file_logging", Bool, "false", "Ignore `log_file`."),
    key("log_payloads", Bool, "false", "Log every payload, decoded, at debug level. Large; for finding faults.").better("written as JSON, one line per series, sketch, event and check"),
    ignored("logging_frequency", "successful deliveries are counted, not logged; a failure is logged once per reason and interval"),
    key("dogstatsd_metrics_stats_enable", Bool, "false", "Keep count and last time per metric and tag set, for `whippet stats`.").better("`whippet stats --for SECONDS` counts without it"),
    ignored("dogstatsd_capture_path", "whippet takes no captures; whippet tap shows raw lines with listener and sender"),
    ignored("dogstatsd_capture_depth", "whippet takes no captures; a tap whose reader is slow leaves lines out and counts them"),
    key("health_port", Port, "0", "Port for `/live`, `/ready` and `/startup` alone: on loopback, and on all interfaces inside Kubernetes (a kubelet asks from outside of the pod) or with `dogstatsd_non_local_traffic`. 0: only on `admin_address`. Left to the Agent where a shared file says `use_dogstatsd: false`.").different("on loopback, and on all interfaces only inside Kubernetes or with `dogstatsd_non_local_traffic`; the Agent binds all always. In use: whippet says so and goes on"),
    ours("admin_address", Text, "127.0.0.1:8135", "Address, or path of a Unix socket, of the read-only admin server: `/metrics`, `/status`, `/live`, `/ready`, `/startup`. An empty value in a file or flag turns it off. In use by another process: whippet says so and goes on without.").clearable(),
    ours("self_telemetry", Choice(Switch::WORDS), "auto", "Post whippet's own counters as metrics, at most 15 series. `auto`: with the `datadog` output."),
    ours("self_service_check", Bool, "false", "Post the service check `whippet.up` (OK) every interval, beside the gauge `whippet.running`; both need `self_telemetry`."),
    ours("sender_accounts", Bool, "true", "Count packets, lines, bytes and refused lines per sender, for `whippet status` and `whippet top`. Costs less than 3 % of the instructions of a packet."),
    key("run_path", Path, "/var/lib", "Folder below which whippet makes one of its own, `whippet`, for what must survive a restart. (The Agent's default is `/opt/datadog-agent/run`, where whippet writes only when it is told to.) Left to the Agent where a shared file says `use_dogstatsd: false`.").different("`/var/lib` by default, and below it only the folder `whippet`; never the Agent's `/opt/datadog-agent/run` unless told to"),
    ignored("log_to_syslog", "log on standard error and let the service manager collect it"),
    ignored("syslog_uri", "log on standard error and let the service manager collect it"),
    ignored("syslog_rfc", "log on standard error and let the service manager collect it"),
    ignored("dogstatsd_stats_enable", "the status shows rates always"),
    ignored("dogstatsd_stats_port", "the status shows rates always"),
    ignored("dogstatsd_stats_buffer", "the status shows rates always"),
    ignored("dogstatsd_log_file", "no file gets a line per sample; whippet stats counts, whippet tap shows lines"),
    ignored("dogstatsd_logging_enabled", "of dogstatsd_log_file"),
    ignored("dogstatsd_log_file_max_rolls", "of dogstatsd_log_file"),
    ignored("dogstatsd_log_file_max_size", "of dogstatsd_log_file"),
    ignored("dogstatsd_telemetry_enabled_listener_id", "the counters of each listener are apart in /status, by name"),
    ignored("telemetry.*", "the counters of /metrics are always on; who sends what is in /senders"),
    ignored("cmd_host", "the command port is the Agent's; see admin_address"),
    ignored("cmd_port", "the command port is the Agent's and never taken; see admin_address"),
    ignored("expvar_port", "the port is the Agent's and never taken; /debug/vars and /telemetry are on admin_address"),
    ignored("data_plane.*", "tells an Agent that another process serves DogStatsD"),
];
