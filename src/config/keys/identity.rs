//! Who we are, and where data goes.

use crate::config::key::Kind::{
    Bool, Endpoints, Hostname, Pairs, Path, Secret, Site, Text, Url, Words,
};
use crate::config::key::{Key, SECONDS_NOT_ZERO, ignored, int, key, ours};

pub(super) const KEYS: &[Key] = &[
    key("api_key", Secret, "", "The API key that payloads are posted under. White space around it is removed; it is never printed beyond its last four characters. `ENC[handle]` is resolved by `secret_backend_command`. Without a key whippet prints on the console, or refuses to start when something hints at a real deployment."),
    ours("api_key_file", Path, "", "A file whose content is the API key, for keys mounted as secrets. Used when `api_key` is unset; read at start and at every reload."),
    key("site",
        Site, "datadoghq.com", "The Datadog site: `datadoghq.com`, `datadoghq.eu`, `us3.datadoghq.com`, `us5.datadoghq.com`, `ap1.datadoghq.com`, `ap2.datadoghq.com`, `ddog-gov.com`. Set it to the site of your organisation; a key of another site is refused with 403."),
    key("dd_url", Url, "", "Base URL of the intake. Wins over `site` for metrics, events, checks and the check of the key; set it to send through a proxying intake or to a test server.").also(&["DD_URL"]),
    ours("series_url", Url, "", "Base URL for series alone. Unset: `dd_url`, else the site."),
    ours("sketches_url", Url, "", "Base URL for sketches (distributions) alone. Unset: `dd_url`, else the site."),
    ours("events_url", Url, "", "Base URL for events alone. Unset: `dd_url`, else the site."),
    ours("checks_url", Url, "", "Base URL for service checks alone. Unset: `dd_url`, else the site."),
    key("additional_endpoints", Endpoints, "", "Dual shipping: a map from base URL to a list of API keys. Every payload is also posted once per URL and key, each with a queue and retries of its own. JSON in the environment.").better("every URL and key has a queue, retries and books of its own; one that hangs delays no other"),
    key("observability_pipelines_worker.metrics.enabled", Bool, "false", "Send series and sketches to an Observability Pipelines Worker instead of the main intake.").also(&["DD_VECTOR_METRICS_ENABLED"]),
    key("observability_pipelines_worker.metrics.url", Url, "", "Base URL of that worker.").also(&["DD_VECTOR_METRICS_URL"]),
    key("hostname", Hostname, "", "The host that series are posted for. Set it in containers and wherever the machine's own name is not the one to see. Unset: `hostname_file`, the node's name in Kubernetes, the system's name; never the random name of a container.").different("without it: `hostname_file`, the Kubernetes node, the name of the system. No cloud metadata is asked, and the random name of a container is never taken: then points carry no host"),
    key("hostname_file", Path, "", "A file whose first line is the host name, for names that are provisioned. Used when `hostname` is unset."),
    key("kubernetes_kubelet_nodename", Text, "", "The name of the Kubernetes node, usually from the downward API (`spec.nodeName`). It is the host name when nothing above it is set, followed by `-` and `cluster_name` when that is set."),
    key("cluster_name", Text, "", "Name of the Kubernetes cluster: part of the host name that comes from a node name, and a tag of Kubernetes workloads."),
    key("tags", Words, "", "Tags on everything that is posted. (The Agent sends them once as metadata of the host; whippet sends no metadata, so they go on every point, event and check.) Space separated or JSON in the environment.").different("on every point, event and check; the Agent sends them once as metadata of the host, and whippet sends none"),
    key("extra_tags", Words, "", "More tags, after `tags`: for what an orchestrator adds to a shared file.").different("as `tags`"),
    key("env", Text, "", "Environment of the host: adds the tag `env:VALUE` to everything.").different("as `tags`"),
    ours("instance_tag", Text, "", "A tag that tells this process from others under the same host name, such as `instance:a`. Two servers that post under one host name and equal tags overwrite each other's counters and gauges: set it then, otherwise leave it unset."),
    key("allow_arbitrary_tags", Bool, "false", "Sends the header `Allow-Arbitrary-Tag-Value: true`, which tells the intake to keep tag values as they are."),
    key("secret_backend_command", Path, "", "A program that resolves `ENC[handle]` values: it gets `{\"version\": \"1.0\", \"secrets\": [\"handle\"]}` on standard input and answers `{\"handle\": {\"value\": \"…\", \"error\": null}}` on standard output."),
    key("secret_backend_arguments", Words, "", "Arguments of that program."),
    key("secret_backend_timeout", SECONDS_NOT_ZERO, "30", "How long that program may take."),
    ignored("secret_refresh_interval", "secrets are resolved at start and at every reload: send SIGHUP as often as they change"),
    key("kubernetes_kubelet_host", Text, "", "Address of the kubelet whose `/pods` gives the tags of pods. Unset: no pod tags.").different("unset means no pod tags: nothing is searched for"),
    key("kubernetes_https_kubelet_port", int(1, 65_535), "10250", "HTTPS port of the kubelet."),
    key("kubelet_tls_verify", Bool, "true", "Verify the certificate of the kubelet. Turn it off only where kubelets sign their own and no CA can be had."),
    key("kubelet_auth_token_path", Path, "", "File with the bearer token for the kubelet. Unset: the token of the service account."),
    key("kubelet_client_ca", Path, "", "PEM file with the CA of the kubelet's certificate. Unset: the CA of the service account."),
    key("kubernetes_pod_labels_as_tags", Pairs, "", "Map from pod label to tag key. JSON in the environment."),
    key("kubernetes_pod_annotations_as_tags", Pairs, "", "Map from pod annotation to tag key. JSON in the environment."),
    ignored("expected_tags_duration", "tags of the host are on every point, not only after a start"),
    ignored("convert_dd_site_fqdn.enabled", "whippet adds no trailing dot to host names"),
    ignored("multi_region_failover.*", "a failover between Datadog's own regions"),
];
