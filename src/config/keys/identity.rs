//! Identity of the host, and where data goes.

use crate::config::key::Kind::{
    Arguments, Bool, Endpoints, Hostname, Pairs, Path, Secret, Site, Text, Url, Words,
};
use crate::config::key::{Key, SECONDS_NOT_ZERO, ignored, int, key, ours};

pub(super) const KEYS: &[Key] = &[
    key(
        "api_key",
        Secret,
        "",
        "The API key to post with. Surrounding whitespace is removed; at most its last five \
         characters are ever printed. `ENC[handle]` is resolved by `secret_backend_command`. \
         Without a key, whippet prints to the console, or refuses to start if something \
         suggests a real deployment.",
    )
    .reloads(),
    ours(
        "api_key_file",
        Path,
        "",
        "File that contains the API key, for keys mounted as secrets. Used when `api_key` is \
         unset; read at startup and at every reload.",
    )
    .reloads(),
    key(
        "site",
        Site,
        "datadoghq.com",
        "The Datadog site: `datadoghq.com`, `datadoghq.eu`, `us3.datadoghq.com`, \
         `us5.datadoghq.com`, `ap1.datadoghq.com`, `ap2.datadoghq.com`, `ddog-gov.com`. Set \
         it to your organisation's site; the intake refuses a key from another site with 403.",
    ),
    key(
        "dd_url",
        Url,
        "",
        "Base URL of the intake. Takes precedence over `site` for metrics, events, checks \
         and key validation. Set it to send through a proxying intake or to a test server.",
    )
    .also(&["DD_URL"]),
    ours("series_url", Url, "", "Base URL for series only. Unset: `dd_url`, else the site."),
    ours(
        "sketches_url",
        Url,
        "",
        "Base URL for sketches (distributions) only. Unset: `dd_url`, else the site.",
    ),
    ours("events_url", Url, "", "Base URL for events only. Unset: `dd_url`, else the site."),
    ours(
        "checks_url",
        Url,
        "",
        "Base URL for service checks only. Unset: `dd_url`, else the site.",
    ),
    key(
        "additional_endpoints",
        Endpoints,
        "",
        "Dual shipping: a map from base URL to a list of API keys. Every payload is also \
         posted once per URL and key, each with its own queue and retries. JSON in the \
         environment.",
    )
    .better(
        "every URL and key has its own queue, retries and counters; one that hangs does not \
         delay the others",
    ),
    key(
        "observability_pipelines_worker.metrics.enabled",
        Bool,
        "false",
        "Send series and sketches to an Observability Pipelines Worker instead of the main \
         intake.",
    )
    .also(&["DD_VECTOR_METRICS_ENABLED"]),
    key("observability_pipelines_worker.metrics.url", Url, "", "Base URL of that worker.")
        .also(&["DD_VECTOR_METRICS_URL"]),
    key(
        "hostname",
        Hostname,
        "",
        "Host name attached to series. Set it in containers, and wherever the machine's own \
         name is not the one you want to see. Unset: `hostname_file`, then the Kubernetes \
         node name, then the system's name; never a container's random name.",
    )
    .different(
        "when unset: `hostname_file`, the Kubernetes node, the system's name. Cloud metadata \
         is not queried, and a container's random name is never used: points then carry no \
         host",
    ),
    key(
        "hostname_file",
        Path,
        "",
        "File whose first line is the host name, for provisioned names. Used when `hostname` \
         is unset.",
    ),
    key(
        "kubernetes_kubelet_nodename",
        Text,
        "",
        "Name of the Kubernetes node, usually from the downward API (`spec.nodeName`). It \
         becomes the host name when neither `hostname` nor `hostname_file` gives one, \
         followed by `-` and `cluster_name` if that is set.",
    ),
    key(
        "cluster_name",
        Text,
        "",
        "Name of the Kubernetes cluster: part of a host name that comes from a node name, \
         and a tag on Kubernetes workloads.",
    ),
    key(
        "tags",
        Words,
        "",
        "Tags added to everything that is posted. (The Agent sends them once as host \
         metadata; whippet sends no metadata, so they go on every point, event and check.) \
         Separated by spaces or commas, or JSON, in the environment.",
    )
    .different(
        "on every point, event and check; the Agent sends them once as host metadata, which \
         whippet does not send. In the environment a comma separates too",
    )
    .reloads(),
    key(
        "extra_tags",
        Words,
        "",
        "More tags, added after `tags`: for what an orchestrator adds to a shared file.",
    )
    .different("as `tags`")
    .reloads(),
    key("env", Text, "", "Environment of the host: adds the tag `env:VALUE` to everything.")
        .different("as `tags`")
        .reloads(),
    ours(
        "instance_tag",
        Text,
        "",
        "A tag that distinguishes this process from others with the same host name, such as \
         `instance:a`. Two servers that post equal series under one host name overwrite each \
         other's counters and gauges: set it in that case, otherwise leave it unset.",
    )
    .reloads(),
    key(
        "allow_arbitrary_tags",
        Bool,
        "false",
        "Send the header `Allow-Arbitrary-Tag-Value: true`, which asks the intake to keep \
         tag values unchanged.",
    ),
    key(
        "secret_backend_command",
        Path,
        "",
        "Program that resolves `ENC[handle]` values. It receives `{\"version\": \"1.0\", \
         \"secrets\": [\"handle\"]}` on standard input and answers `{\"handle\": {\"value\": \
         \"…\", \"error\": null}}` on standard output.",
    )
    .reloads(),
    key("secret_backend_arguments", Arguments, "", "Arguments for that program.").reloads(),
    key("secret_backend_timeout", SECONDS_NOT_ZERO, "30", "How long that program may take.")
        .reloads(),
    ignored(
        "secret_refresh_interval",
        "secrets are resolved at start and at every reload: send SIGHUP as often as they \
         change",
    ),
    key(
        "kubernetes_kubelet_host",
        Text,
        "",
        "Address of the kubelet whose `/pods` provides the tags of pods. Unset: no pod tags.",
    )
    .different("unset means no pod tags: whippet does not search for a kubelet"),
    key("kubernetes_https_kubelet_port", int(1, 65_535), "10250", "HTTPS port of the kubelet."),
    key(
        "kubelet_tls_verify",
        Bool,
        "true",
        "Verify the kubelet's certificate. Turn it off only where kubelets sign their own \
         certificates and no CA is available.",
    ),
    key(
        "kubelet_auth_token_path",
        Path,
        "",
        "File with the bearer token for the kubelet. Unset: the service account's token.",
    ),
    key(
        "kubelet_client_ca",
        Path,
        "",
        "PEM file with the CA of the kubelet's certificate. Unset: the service account's CA.",
    ),
    key(
        "kubernetes_pod_labels_as_tags",
        Pairs,
        "",
        "Map from pod label to tag key. JSON in the environment.",
    ),
    key(
        "kubernetes_pod_annotations_as_tags",
        Pairs,
        "",
        "Map from pod annotation to tag key. JSON in the environment.",
    ),
    ignored("expected_tags_duration", "host tags are on every point, not only after startup"),
    ignored("convert_dd_site_fqdn.enabled", "whippet adds no trailing dot to host names"),
    ignored("multi_region_failover.*", "failover between Datadog's own regions"),
];
