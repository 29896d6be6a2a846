//! The HTTP doors: where they are opened, what each does with its data, where data goes on to.

use crate::config::key::Kind::{
    Bool, Choice, Endpoints, Path, Port, Text, Upstream as UpstreamUrl, Url,
};
use crate::config::key::{Key, SECONDS, int, key, ours};
use crate::config::types::{DoorMode, TracesMode};

/// What a door may do that has nowhere to forward to.
const OFF_OR_LOCAL: &[&str] = &["off", "local"];

pub(super) const KEYS: &[Key] = &[
    ours(
        "doors",
        Bool,
        "",
        "Open the HTTP doors: `true` opens TCP port 8126 and the Unix socket \
         `/var/run/datadog/apm.socket`, where Datadog clients look for an Agent, unless \
         `apm_config.receiver_port` and `apm_config.receiver_socket` name others. `false` \
         closes everything. Unset: open is what the environment or a flag names in those two \
         keys.",
    ),
    key(
        "apm_config.receiver_port",
        Port,
        "",
        "TCP port of the doors, on the address of `bind_host`. 0: no TCP. In a file it gives \
         the port but opens nothing, because the file may be that of an Agent beside whippet: \
         set `DD_APM_RECEIVER_PORT`, or `doors: true`. whippet does not start if the port is in \
         use.",
    )
    .different("closed by default; opened by the environment, a flag or `doors`, not by a file")
    .also(&["DD_RECEIVER_PORT"]),
    key(
        "apm_config.receiver_socket",
        Path,
        "",
        "Unix stream socket of the doors, with the same HTTP and mode 0722. In a file it gives \
         the path but opens nothing, as for the port. If it is set and cannot be made, whippet \
         does not start; the default one of `doors: true` is then off. An empty value in a file \
         or flag turns it off.",
    )
    .different(
        "closed by default; opened by the environment, a flag or `doors`, not by a file. A socket \
         that a live process serves is never taken over",
    ),
    key(
        "apm_config.apm_non_local_traffic",
        Bool,
        "false",
        "Open the TCP port of the doors on all interfaces. Anyone who can reach it can then send \
         metrics: protect it with a firewall.",
    )
    .better("a warning at startup points it out"),
    ours(
        "doors_stats",
        Choice(DoorMode::WORDS),
        "local",
        "Trace statistics that clients compute: `local` makes metrics of them, `forward` sends \
         them on as an Agent would, `both` does both, `off` closes the route.",
    ),
    ours(
        "doors_data_streams",
        Choice(DoorMode::WORDS),
        "local",
        "Data streams statistics: `off`, `local`, `forward` or `both`, as for `doors_stats`.",
    ),
    ours(
        "doors_telemetry",
        Choice(DoorMode::WORDS),
        "local",
        "Telemetry of client libraries: `off`, `local`, `forward` or `both`, as for \
         `doors_stats`.",
    ),
    ours(
        "doors_traces",
        Choice(TracesMode::WORDS),
        "count",
        "Traces: `count` answers and counts them, and keeps nothing; `upstream` passes them to \
         `doors_upstream`; `off` closes the routes.",
    ),
    ours(
        "doors_dogstatsd",
        Choice(OFF_OR_LOCAL),
        "local",
        "DogStatsD lines over HTTP: `local` reads them as from any listener, `off` closes the \
         routes.",
    ),
    ours(
        "doors_api",
        Choice(OFF_OR_LOCAL),
        "local",
        "The metrics API (`/api/v1/series` and others): `local` aggregates what is posted, `off` \
         closes the routes.",
    ),
    ours(
        "doors_upstream",
        UpstreamUrl,
        "",
        "A real trace-agent, as `http://host:port` or `unix:///path`, that gets every request no \
         door takes, unchanged. Unset: such requests are answered 404.",
    ),
    key(
        "apm_config.apm_dd_url",
        Url,
        "",
        "Where trace statistics and data streams are forwarded. Unset: \
         `https://trace.agent.SITE`, with `site`.",
    ),
    key(
        "apm_config.additional_endpoints",
        Endpoints,
        "",
        "More destinations for forwarded trace statistics and data streams: a map from URL to \
         API keys, JSON in the environment. Each gets a copy.",
    ),
    key("apm_config.telemetry.enabled", Bool, "true", "`false` turns `doors_telemetry` off."),
    key(
        "apm_config.telemetry.dd_url",
        Url,
        "",
        "Where telemetry is forwarded. Unset: `https://instrumentation-telemetry-intake.SITE`, \
         with `site`.",
    ),
    key(
        "apm_config.telemetry.additional_endpoints",
        Endpoints,
        "",
        "More destinations for forwarded telemetry: a map from URL to API keys, JSON in the \
         environment. Each gets a copy.",
    ),
    key(
        "apm_config.max_payload_size",
        int(1, i64::MAX),
        "26214400",
        "Longest body of a request as sent, in bytes; a longer one is answered 413. Without its \
         content encoding a body has at most 64 MiB in any case.",
    ),
    key(
        "apm_config.receiver_timeout",
        SECONDS,
        "5",
        "Time for a client to send one whole request, in seconds; a slower one is answered 408. \
         0: 5 s.",
    )
    .better("an idle connection is kept for 75 s, so that clients that beat once a minute keep it"),
    key(
        "apm_config.max_connections",
        int(1, 65_536),
        "256",
        "Connections to the doors at once; one more is answered 503 and closed.",
    ),
    key(
        "apm_config.env",
        Text,
        "",
        "Environment (`env:`) of data that comes without one. Unset: the value of `env`.",
    )
    .reloads(),
    ours(
        "doors_prefix",
        Text,
        "",
        "Prefix of every metric name made from trace statistics, data streams and telemetry, such \
         as `whippet.`; nothing is inserted after it. For an intake that keeps the usual names, \
         such as `trace.`, for itself.",
    ),
];
