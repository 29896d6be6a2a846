//! Payloads, delivery, retries and TLS.

use crate::config::key::Kind::{Bool, Bytes, Choice, Outputs, Path, Proxy, Words};
use crate::config::key::{Key, MINUTES, SECONDS, SECONDS_NOT_ZERO, float, ignored, int, key, ours};
use crate::config::types::{Compressor, TlsVersion};

/// Any limit above zero: an item that exceeds it on its own is dropped and counted.
const PAYLOAD: crate::config::key::Kind = int(1, 1 << 30);
const SIZE: crate::config::key::Kind = Bytes { max: 1 << 50 };

pub(super) const KEYS: &[Key] = &[
    ours(
        "output",
        Outputs,
        "",
        "Where aggregated data goes: a list of `console` (a table on standard output), \
         `jsonl` or `jsonl:PATH` (one JSON object per line), `datadog`, `dry-run` or \
         `dry-run:bytes` (the requests the intake would receive, one JSON object per line, \
         without any HTTP; `bytes` adds the exact bytes of each body), `none` (aggregate and \
         encode, deliver nothing). Unset: `datadog` with an API key; `console` without one, \
         unless something suggests a real deployment.",
    ),
    key(
        "use_v2_api.series",
        Bool,
        "true",
        "Post series as protobuf (v2). False: as JSON (v1), for intakes that accept only v1.",
    ),
    key(
        "serializer_compressor_kind",
        Choice(Compressor::WORDS),
        "zstd",
        "Compression of protobuf payloads: `zstd`, `zlib`, `gzip` or `none`. With `zstd`, \
         JSON payloads use zlib, because the older routes are not known to accept zstd.",
    )
    .different("an unknown value is an error; the Agent continues without compression"),
    key(
        "serializer_zstd_compressor_level",
        int(1, 22),
        "1",
        "Compression level for zstd. Higher levels use much more CPU for slightly less \
         traffic.",
    ),
    key(
        "serializer_max_payload_size",
        PAYLOAD,
        "2621440",
        "Maximum size of a compressed payload other than series, in bytes. Lower it when the \
         intake answers 413.",
    ),
    key(
        "serializer_max_uncompressed_payload_size",
        PAYLOAD,
        "4194304",
        "Maximum size of a payload other than series before compression, in bytes.",
    ),
    key(
        "serializer_max_series_payload_size",
        PAYLOAD,
        "512000",
        "Maximum size of a compressed series payload, in bytes.",
    )
    .better(
        "an item that is too large on its own is dropped and counted; a payload refused with \
         413 is split and sent again",
    ),
    key(
        "serializer_max_series_uncompressed_payload_size",
        PAYLOAD,
        "5242880",
        "Maximum size of a series payload before compression, in bytes.",
    ),
    key(
        "serializer_max_series_points_per_payload",
        int(1, 10_000_000),
        "10000",
        "Maximum number of points in one series payload.",
    ),
    key("enable_payloads.series", Bool, "true", "Post series."),
    key("enable_payloads.events", Bool, "true", "Post events."),
    key("enable_payloads.service_checks", Bool, "true", "Post service checks."),
    key("enable_payloads.sketches", Bool, "true", "Post sketches, that is, distributions."),
    ignored(
        "enable_payloads.json_to_v1_intake",
        "concerns host and process metadata, which whippet never posts; for events see \
         enable_payloads.events",
    ),
    key(
        "forwarder_timeout",
        SECONDS_NOT_ZERO,
        "20",
        "Timeout of one request, from connecting to the complete response.",
    ),
    ignored(
        "forwarder_num_workers",
        "one request at a time per endpoint; payloads are large and the connection is kept \
         open",
    ),
    ignored("forwarder_max_concurrent_requests", "one request at a time per endpoint"),
    key(
        "forwarder_backoff_factor",
        float(2.0, 1e6),
        "2",
        "Width of the random backoff range: the wait is between interval/factor and the full \
         interval.",
    ),
    key(
        "forwarder_backoff_base",
        float(0.001, 86_400.0),
        "2",
        "Shortest backoff after an error, in seconds. It doubles with each further error.",
    ),
    key("forwarder_backoff_max", float(0.001, 86_400.0), "64", "Longest backoff, in seconds."),
    key(
        "forwarder_recovery_interval",
        int(1, 1_000_000),
        "2",
        "Number of errors that one success cancels out.",
    ),
    key("forwarder_recovery_reset", Bool, "false", "Let one success cancel out all errors."),
    key(
        "forwarder_retry_queue_payloads_max_size",
        SIZE,
        "15728640",
        "Memory for payloads waiting to be retried, in bytes, per endpoint. Beyond it, the \
         oldest go to disk, or are dropped and counted. Raise it to bridge longer outages.",
    ),
    key(
        "forwarder_retry_queue_max_size",
        int(1, 1_000_000),
        "",
        "Older form of `forwarder_retry_queue_payloads_max_size`, in payloads of 2 MiB each. \
         Used only when that key is not set.",
    ),
    key(
        "forwarder_storage_max_size_in_bytes",
        SIZE,
        "0",
        "Disk space for payloads waiting to be retried, in bytes, per endpoint. 0: nothing \
         is written to disk. Set it to survive long outages and restarts.",
    )
    .better("files are checksummed, contain no API key and survive a kill at any moment"),
    key(
        "forwarder_storage_path",
        Path,
        "",
        "Directory for those payloads. Unset: `transactions_to_retry` in whippet's directory \
         under `run_path`. Left to the Agent if a shared file sets `use_dogstatsd: false`.",
    )
    .different("unset, it is a directory of whippet's own; the Agent's is under its `run_path`"),
    key(
        "forwarder_storage_max_disk_ratio",
        float(0.0, 1.0),
        "0.80",
        "Write nothing while more than this fraction of the disk is in use.",
    ),
    ignored("forwarder_flush_to_disk_mem_ratio", "payloads go to disk one at a time, oldest first"),
    ignored(
        "forwarder_outdated_file_in_days",
        "a stored payload is dropped and counted one hour after it was built",
    ),
    key(
        "forwarder_stop_timeout",
        SECONDS,
        "",
        "Time for the last deliveries at shutdown; see `aggregator_stop_timeout`.",
    )
    .different("as `aggregator_stop_timeout`"),
    ignored(
        "forwarder_connection_reset_interval",
        "a connection is kept while it is used and reopened when it fails",
    ),
    key(
        "forwarder_apikey_validation_interval",
        MINUTES,
        "60",
        "How often API keys are validated, in minutes. 0: only at startup.",
    )
    .better(
        "payloads refused because of the key are kept until the key is accepted; the Agent \
         drops them",
    ),
    key("proxy.http", Proxy, "", "Proxy for http URLs, as `http://user:password@host:port`.")
        .different("plain http also goes through the proxy with CONNECT, like https")
        .weak(&["HTTP_PROXY", "http_proxy"]),
    key("proxy.https", Proxy, "", "Proxy for https URLs.").weak(&["HTTPS_PROXY", "https_proxy"]),
    key("proxy.no_proxy", Words, "", "Hosts to reach without the proxy.")
        .weak(&["NO_PROXY", "no_proxy"]),
    key(
        "no_proxy_nonexact_match",
        Bool,
        "false",
        "Let entries of `proxy.no_proxy` also match subdomains, and accept networks such as \
         `10.0.0.0/8`.",
    ),
    key(
        "skip_ssl_validation",
        Bool,
        "false",
        "Accept any TLS certificate. Anyone on the network path can then read the key: use \
         it for tests only, and prefer `ca_file`.",
    ),
    key(
        "min_tls_version",
        Choice(TlsVersion::WORDS),
        "tlsv1.2",
        "Lowest TLS version to use. Versions below 1.2 are accepted and treated as 1.2.",
    )
    .different("versions below 1.2 are not supported; they are treated as 1.2"),
    ours(
        "ca_file",
        Path,
        "",
        "PEM file with the certificate authorities to trust for the intake, for \
         TLS-inspecting proxies and tests. Unset: the system's authorities.",
    ),
    ignored(
        "tls_handshake_timeout",
        "connecting, including the handshake, may take 10 s and is part of forwarder_timeout",
    ),
    ignored(
        "use_v3_api.*",
        "series are posted as v2 (or v1): v3 is not in the public API reference, and every \
         intake accepts v2",
    ),
    ignored("use_v2_api.events", "events have one route"),
    ignored("use_v2_api.service_checks", "service checks have one route"),
    ignored("forwarder_http_protocol", "HTTP/1.1 is always used, and every intake accepts it"),
    ignored("forwarder_high_prio_buffer_size", "tunes the Agent's queue"),
    ignored("forwarder_low_prio_buffer_size", "tunes the Agent's queue"),
    ignored("forwarder_requeue_buffer_size", "tunes the Agent's queue"),
    ignored(
        "forwarder_retry_queue_capacity_time_interval_sec",
        "the rate over the last intervals is used",
    ),
    ignored("use_proxy_for_cloud_metadata", "no cloud metadata service is queried"),
    ignored("sslkeylogfile", "TLS secrets are never written"),
];
