//! Payloads and their way to the intake.

use crate::config::key::Kind::{Bool, Bytes, Choice, Outputs, Path, Proxy, Words};
use crate::config::key::{Key, MINUTES, SECONDS, SECONDS_NOT_ZERO, float, ignored, int, key, ours};
use crate::config::types::{Compressor, TlsVersion};

/// Any limit above zero: what does not fit it alone is dropped and counted.
const PAYLOAD: crate::config::key::Kind = int(1, 1 << 30);
const SIZE: crate::config::key::Kind = Bytes { max: 1 << 50 };

pub(super) const KEYS: &[Key] = &[
    ours(
        "output",
        Outputs,
        "",
        "Where aggregated data goes: a list of `console` (a table on standard output), `jsonl` or `jsonl:PATH` (one JSON object per line), `datadog`, `dry-run` or `dry-run:bytes` (the requests that the intake would get, one JSON object per line, without any HTTP; with `bytes` the exact bytes of each body, too), `none` (aggregate and encode, deliver nothing). Unset: `datadog` with an API key, `console` without one when nothing hints at a real deployment.",
    ),
    key(
        "use_v2_api.series",
        Bool,
        "true",
        "Post series as protobuf (v2). False: as JSON (v1), for intakes that know nothing else.",
    ),
    key(
        "serializer_compressor_kind",
        Choice(Compressor::WORDS),
        "zstd",
        "Compression of protobuf payloads: `zstd`, `zlib`, `gzip`, `none`. With `zstd` JSON payloads are zlib, because the older routes are not known to take zstd.",
    ).different("an unknown word stops the start; the Agent goes on without compression"),
    key(
        "serializer_zstd_compressor_level",
        int(1, 22),
        "1",
        "Level of zstd. Higher takes much more processor time for a little less traffic.",
    ),
    key(
        "serializer_max_payload_size",
        PAYLOAD,
        "2621440",
        "Largest compressed payload in bytes that is not of series. Lower it when the intake answers 413.",
    ),
    key(
        "serializer_max_uncompressed_payload_size",
        PAYLOAD,
        "4194304",
        "Largest such payload in bytes before compression.",
    ),
    key(
        "serializer_max_series_payload_size",
        PAYLOAD,
        "512000",
        "Largest compressed payload of series in bytes.",
    ).better("what is too large alone is dropped by itself and counted; what the intake answers with 413 is split and sent again"),
    key(
        "serializer_max_series_uncompressed_payload_size",
        PAYLOAD,
        "5242880",
        "Largest payload of series in bytes before compression.",
    ),
    key(
        "serializer_max_series_points_per_payload",
        int(1, 10_000_000),
        "10000",
        "Most points in one payload of series.",
    ),
    key("enable_payloads.series", Bool, "true", "Post series."),
    key("enable_payloads.events", Bool, "true", "Post events."),
    key("enable_payloads.service_checks", Bool, "true", "Post service checks."),
    key("enable_payloads.sketches", Bool, "true", "Post sketches, that is distributions."),
    ignored(
        "enable_payloads.json_to_v1_intake",
        "of host and process metadata, which whippet never posts; events have enable_payloads.events",
    ),
    key(
        "forwarder_timeout",
        SECONDS_NOT_ZERO,
        "20",
        "Time for one request, from connecting to the answer.",
    ),
    ignored(
        "forwarder_num_workers",
        "one request at a time per endpoint; payloads are large and the connection is kept",
    ),
    ignored("forwarder_max_concurrent_requests", "one request at a time per endpoint"),
    key(
        "forwarder_backoff_factor",
        float(2.0, 1e6),
        "2",
        "Width of the random range of a backoff: between 1/factor of the interval and the whole.",
    ),
    key(
        "forwarder_backoff_base",
        float(0.001, 86_400.0),
        "2",
        "Shortest backoff after an error, in seconds; it doubles with every further error.",
    ),
    key("forwarder_backoff_max", float(0.001, 86_400.0), "64", "Longest backoff in seconds."),
    key(
        "forwarder_recovery_interval",
        int(1, 1_000_000),
        "2",
        "How many errors a success makes up for.",
    ),
    key("forwarder_recovery_reset", Bool, "false", "A success makes up for all errors."),
    key(
        "forwarder_retry_queue_payloads_max_size",
        SIZE,
        "15728640",
        "Memory for payloads that wait for another attempt, in bytes, per endpoint. Past it the oldest go to disk, or are dropped and counted. Raise it to bridge longer outages.",
    ),
    key(
        "forwarder_retry_queue_max_size",
        int(1, 1_000_000),
        "",
        "Older form of the bound above, in payloads of 2 MiB each. Used only when that one is not set.",
    ),
    key(
        "forwarder_storage_max_size_in_bytes",
        SIZE,
        "0",
        "Disk space for payloads that wait, per endpoint, in bytes. 0: nothing is written to disk. Set it to survive long outages and restarts.",
    ).better("files are checksummed, hold no API key and survive a kill at any moment"),
    key(
        "forwarder_storage_path",
        Path,
        "",
        "Folder for them. Unset: `transactions_to_retry` in whippet's folder below `run_path`. Left to the Agent where a shared file says `use_dogstatsd: false`.",
    ).different("unset, it is a folder of whippet alone; the Agent's is below its `run_path`"),
    key(
        "forwarder_storage_max_disk_ratio",
        float(0.0, 1.0),
        "0.80",
        "Nothing is written while the disk is fuller than this part of it.",
    ),
    ignored(
        "forwarder_flush_to_disk_mem_ratio",
        "payloads go to disk one by one, the oldest first",
    ),
    ignored(
        "forwarder_outdated_file_in_days",
        "a stored payload is dropped and counted an hour after it was built, long before any number of days",
    ),
    key(
        "forwarder_stop_timeout",
        SECONDS,
        "",
        "Time for the last deliveries at shutdown; see `aggregator_stop_timeout`.",
    ).different("as `aggregator_stop_timeout`"),
    ignored(
        "forwarder_connection_reset_interval",
        "a connection lives as long as it is used; a refused one is made anew",
    ),
    key(
        "forwarder_apikey_validation_interval",
        MINUTES,
        "60",
        "How often API keys are validated, in minutes. 0: only at start.",
    ).better("a refused key keeps its payloads until it is accepted; in the Agent they are dropped"),
    key("proxy.http", Proxy, "", "Proxy for http URLs, as `http://user:password@host:port`.").different("plain http goes through the proxy with CONNECT too, as https does")
        .weak(&["HTTP_PROXY", "http_proxy"]),
    key("proxy.https", Proxy, "", "Proxy for https URLs.").weak(&["HTTPS_PROXY", "https_proxy"]),
    key("proxy.no_proxy", Words, "", "Hosts that are reached without the proxy.")
        .weak(&["NO_PROXY", "no_proxy"]),
    key(
        "no_proxy_nonexact_match",
        Bool,
        "false",
        "Entries of `proxy.no_proxy` also match subdomains, and may be networks such as `10.0.0.0/8`.",
    ),
    key(
        "skip_ssl_validation",
        Bool,
        "false",
        "Accept any TLS certificate. Anybody on the way can then read the key: for tests only; prefer `ca_file`.",
    ),
    key(
        "min_tls_version",
        Choice(TlsVersion::WORDS),
        "tlsv1.2",
        "Oldest TLS version to speak. Versions below 1.2 are accepted and count as 1.2.",
    ).different("versions below 1.2 are not spoken; they count as 1.2"),
    ours(
        "ca_file",
        Path,
        "",
        "PEM file with certificate authorities to trust for the intake, for TLS-inspecting proxies and tests. Unset: those of the system.",
    ),
    ignored(
        "tls_handshake_timeout",
        "connecting, the handshake included, may take 10 s and counts into forwarder_timeout",
    ),
    ignored(
        "use_v3_api.*",
        "series are posted as v2 (or v1): v3 is in no public reference of the API, and every intake takes v2",
    ),
    ignored("use_v2_api.events", "events have one route"),
    ignored("use_v2_api.service_checks", "service checks have one route"),
    ignored("forwarder_http_protocol", "HTTP/1.1 is spoken always, which every intake takes"),
    ignored("forwarder_high_prio_buffer_size", "tuning of the Agent's queue"),
    ignored("forwarder_low_prio_buffer_size", "tuning of the Agent's queue"),
    ignored("forwarder_requeue_buffer_size", "tuning of the Agent's queue"),
    ignored(
        "forwarder_retry_queue_capacity_time_interval_sec",
        "the rate over the last intervals is used",
    ),
    ignored("use_proxy_for_cloud_metadata", "no metadata service of a cloud is asked"),
    ignored("sslkeylogfile", "TLS secrets are never written"),
];
