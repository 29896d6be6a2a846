//! [`Config`]: every value in its final type.
//!
//! The struct has one field per honoured key, named as the key with `_` for `.`. It is built only
//! from values that were read against the table of keys, so it cannot be invalid.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::secret::Secret;
use super::types::{
    AdditionalEndpoint, Aggregate, Cardinality, Compressor, DoorMode, GlobalMode, LogLevel,
    MapperProfile, OutputKind, Port, SaslMechanism, Switch, TagFilter, TlsVersion, TracesMode,
    Transport,
};
use super::url::Url;
use super::value::Value;

/// A type of a field of [`Config`]. `None` means that table and struct disagree.
pub(super) trait Field: Sized {
    fn of(value: &Value) -> Option<Self>;
}

/// Generates the struct, the list of its keys and the conversion from values, so that they agree.
macro_rules! settings {
    ($($field:ident: $type:ty = $key:literal,)+) => {
        /// The whole configuration. See `docs/configuration.md` for what each key means.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $(#[doc = concat!("The value of `", $key, "`.")] pub $field: $type,)+
        }

        /// Keys with a field, in the order of the struct.
        #[cfg(test)]
        pub(super) const FIELDS: &[&str] = &[$($key),+];

        /// Builds the struct from read values; names the key where table and struct disagree.
        // Checked before it is built: with a way out after each field, this one function was 2 % of the compiler's work.
        pub(super) fn build<'v>(
            value: &dyn Fn(&str) -> Option<&'v Value>,
        ) -> Result<Config, &'static str> {
            let types: &[(&'static str, fn(&Value) -> bool)] = &[$(($key, is::<$type>)),+];
            if let Some((key, _)) = types.iter().find(|(key, is)| !value(key).is_some_and(is)) {
                return Err(key);
            }
            Ok(Config { $($field: read(value($key)),)+ })
        }
    };
}

/// Whether a value has this type.
fn is<T: Field>(value: &Value) -> bool {
    T::of(value).is_some()
}

/// The value in its type, once [`is`] has said so.
#[inline(never)]
fn read<T: Field>(value: Option<&Value>) -> T {
    value.and_then(T::of).expect("its type has been checked")
}

settings! {
    api_key: Option<Secret> = "api_key",
    api_key_file: Option<PathBuf> = "api_key_file",
    site: String = "site",
    dd_url: Option<Url> = "dd_url",
    series_url: Option<Url> = "series_url",
    sketches_url: Option<Url> = "sketches_url",
    events_url: Option<Url> = "events_url",
    checks_url: Option<Url> = "checks_url",
    additional_endpoints: Vec<AdditionalEndpoint> = "additional_endpoints",
    observability_pipelines_worker_metrics_enabled: bool = "observability_pipelines_worker.metrics.enabled",
    observability_pipelines_worker_metrics_url: Option<Url> = "observability_pipelines_worker.metrics.url",
    hostname: Option<String> = "hostname",
    hostname_file: Option<PathBuf> = "hostname_file",
    kubernetes_kubelet_nodename: Option<String> = "kubernetes_kubelet_nodename",
    cluster_name: Option<String> = "cluster_name",
    tags: Vec<String> = "tags",
    extra_tags: Vec<String> = "extra_tags",
    env: Option<String> = "env",
    dogstatsd_tags: Vec<String> = "dogstatsd_tags",
    instance_tag: Option<String> = "instance_tag",
    allow_arbitrary_tags: bool = "allow_arbitrary_tags",
    secret_backend_command: Option<PathBuf> = "secret_backend_command",
    secret_backend_arguments: Vec<String> = "secret_backend_arguments",
    secret_backend_timeout: Duration = "secret_backend_timeout",

    use_dogstatsd: bool = "use_dogstatsd",
    dogstatsd_port: Port = "dogstatsd_port",
    dogstatsd_tcp_port: Port = "dogstatsd_tcp_port",
    bind_host: Option<String> = "bind_host",
    dogstatsd_non_local_traffic: bool = "dogstatsd_non_local_traffic",
    dogstatsd_socket: Option<PathBuf> = "dogstatsd_socket",
    dogstatsd_socket_mode: u32 = "dogstatsd_socket_mode",
    dogstatsd_stream_socket: Option<PathBuf> = "dogstatsd_stream_socket",
    dogstatsd_stream_socket_mode: u32 = "dogstatsd_stream_socket_mode",
    dogstatsd_stream_log_too_big: bool = "dogstatsd_stream_log_too_big",
    dogstatsd_so_rcvbuf: usize = "dogstatsd_so_rcvbuf",
    dogstatsd_buffer_size: usize = "dogstatsd_buffer_size",
    dogstatsd_eol_required: Vec<Transport> = "dogstatsd_eol_required",
    dogstatsd_disable_verbose_logs: bool = "dogstatsd_disable_verbose_logs",
    dogstatsd_origin_detection: bool = "dogstatsd_origin_detection",
    dogstatsd_origin_detection_client: bool = "dogstatsd_origin_detection_client",
    dogstatsd_origin_optout_enabled: bool = "dogstatsd_origin_optout_enabled",
    dogstatsd_entity_id_precedence: bool = "dogstatsd_entity_id_precedence",
    dogstatsd_tag_cardinality: Cardinality = "dogstatsd_tag_cardinality",
    origin_detection_unified: bool = "origin_detection_unified",
    container_proc_root: Option<PathBuf> = "container_proc_root",
    container_cgroup_root: Option<PathBuf> = "container_cgroup_root",
    kubernetes_kubelet_host: Option<String> = "kubernetes_kubelet_host",
    kubernetes_https_kubelet_port: u16 = "kubernetes_https_kubelet_port",
    kubelet_tls_verify: bool = "kubelet_tls_verify",
    kubelet_auth_token_path: Option<PathBuf> = "kubelet_auth_token_path",
    kubelet_client_ca: Option<PathBuf> = "kubelet_client_ca",
    kubernetes_pod_labels_as_tags: Vec<(String, String)> = "kubernetes_pod_labels_as_tags",
    kubernetes_pod_annotations_as_tags: Vec<(String, String)> = "kubernetes_pod_annotations_as_tags",
    statsd_forward_host: Option<String> = "statsd_forward_host",
    statsd_forward_port: u16 = "statsd_forward_port",
    statsd_metric_namespace: Option<String> = "statsd_metric_namespace",
    statsd_metric_namespace_blacklist: Vec<String> = "statsd_metric_namespace_blacklist",
    dogstatsd_mapper_profiles: Vec<MapperProfile> = "dogstatsd_mapper_profiles",
    lanes: usize = "lanes",
    receive_pause: Duration = "receive_pause",

    doors: Option<bool> = "doors",
    apm_config_receiver_port: Option<Port> = "apm_config.receiver_port",
    apm_config_receiver_socket: Option<PathBuf> = "apm_config.receiver_socket",
    apm_config_apm_non_local_traffic: bool = "apm_config.apm_non_local_traffic",
    doors_stats: DoorMode = "doors_stats",
    doors_data_streams: DoorMode = "doors_data_streams",
    doors_telemetry: DoorMode = "doors_telemetry",
    doors_traces: TracesMode = "doors_traces",
    doors_dogstatsd: DoorMode = "doors_dogstatsd",
    doors_api: DoorMode = "doors_api",
    doors_upstream: Option<Url> = "doors_upstream",
    apm_config_apm_dd_url: Option<Url> = "apm_config.apm_dd_url",
    apm_config_additional_endpoints: Vec<AdditionalEndpoint> = "apm_config.additional_endpoints",
    apm_config_telemetry_enabled: bool = "apm_config.telemetry.enabled",
    apm_config_telemetry_dd_url: Option<Url> = "apm_config.telemetry.dd_url",
    apm_config_telemetry_additional_endpoints: Vec<AdditionalEndpoint> = "apm_config.telemetry.additional_endpoints",
    apm_config_max_payload_size: u64 = "apm_config.max_payload_size",
    apm_config_receiver_timeout: Duration = "apm_config.receiver_timeout",
    apm_config_max_connections: usize = "apm_config.max_connections",
    apm_config_env: Option<String> = "apm_config.env",
    doors_prefix: String = "doors_prefix",

    interval: Duration = "interval",
    dogstatsd_expiry_seconds: Duration = "dogstatsd_expiry_seconds",
    dogstatsd_context_expiry_seconds: Duration = "dogstatsd_context_expiry_seconds",
    dogstatsd_flush_incomplete_buckets: bool = "dogstatsd_flush_incomplete_buckets",
    histogram_aggregates: Vec<Aggregate> = "histogram_aggregates",
    histogram_percentiles: Vec<f64> = "histogram_percentiles",
    histogram_copy_to_distribution: bool = "histogram_copy_to_distribution",
    histogram_copy_to_distribution_prefix: String = "histogram_copy_to_distribution_prefix",
    dogstatsd_no_aggregation_pipeline: bool = "dogstatsd_no_aggregation_pipeline",
    metric_filterlist: Vec<String> = "metric_filterlist",
    metric_filterlist_match_prefix: bool = "metric_filterlist_match_prefix",
    statsd_metric_blocklist: Vec<String> = "statsd_metric_blocklist",
    statsd_metric_blocklist_match_prefix: bool = "statsd_metric_blocklist_match_prefix",
    metric_tag_filterlist: Vec<TagFilter> = "metric_tag_filterlist",
    aggregator_stop_timeout: Option<Duration> = "aggregator_stop_timeout",
    contexts_max: usize = "contexts_max",
    contexts_per_name_max: usize = "contexts_per_name_max",
    tags_per_line_max: usize = "tags_per_line_max",
    name_bytes_max: usize = "name_bytes_max",
    tag_bytes_max: usize = "tag_bytes_max",
    text_bytes_max: usize = "text_bytes_max",
    set_members_max: usize = "set_members_max",
    aggregation_bytes_max: usize = "aggregation_bytes_max",
    events_per_interval_max: usize = "events_per_interval_max",
    stream_connections_max: usize = "stream_connections_max",

    output: Vec<OutputKind> = "output",
    use_v2_api_series: bool = "use_v2_api.series",
    serializer_compressor_kind: Compressor = "serializer_compressor_kind",
    serializer_zstd_compressor_level: i32 = "serializer_zstd_compressor_level",
    serializer_max_payload_size: usize = "serializer_max_payload_size",
    serializer_max_uncompressed_payload_size: usize = "serializer_max_uncompressed_payload_size",
    serializer_max_series_payload_size: usize = "serializer_max_series_payload_size",
    serializer_max_series_uncompressed_payload_size: usize = "serializer_max_series_uncompressed_payload_size",
    serializer_max_series_points_per_payload: usize = "serializer_max_series_points_per_payload",
    enable_payloads_series: bool = "enable_payloads.series",
    enable_payloads_events: bool = "enable_payloads.events",
    enable_payloads_service_checks: bool = "enable_payloads.service_checks",
    enable_payloads_sketches: bool = "enable_payloads.sketches",
    forwarder_timeout: Duration = "forwarder_timeout",
    forwarder_backoff_factor: f64 = "forwarder_backoff_factor",
    forwarder_backoff_base: f64 = "forwarder_backoff_base",
    forwarder_backoff_max: f64 = "forwarder_backoff_max",
    forwarder_recovery_interval: u32 = "forwarder_recovery_interval",
    forwarder_recovery_reset: bool = "forwarder_recovery_reset",
    forwarder_retry_queue_payloads_max_size: u64 = "forwarder_retry_queue_payloads_max_size",
    forwarder_storage_max_size_in_bytes: u64 = "forwarder_storage_max_size_in_bytes",
    forwarder_storage_path: Option<PathBuf> = "forwarder_storage_path",
    forwarder_storage_max_disk_ratio: f64 = "forwarder_storage_max_disk_ratio",
    forwarder_stop_timeout: Option<Duration> = "forwarder_stop_timeout",
    forwarder_apikey_validation_interval: Duration = "forwarder_apikey_validation_interval",
    proxy_http: Option<Url> = "proxy.http",
    proxy_https: Option<Url> = "proxy.https",
    proxy_no_proxy: Vec<String> = "proxy.no_proxy",
    no_proxy_nonexact_match: bool = "no_proxy_nonexact_match",
    skip_ssl_validation: bool = "skip_ssl_validation",
    min_tls_version: TlsVersion = "min_tls_version",
    ca_file: Option<PathBuf> = "ca_file",

    global_mode: GlobalMode = "global_mode",
    global_brokers: Vec<String> = "global_brokers",
    global_topic: String = "global_topic",
    global_create_topic: bool = "global_create_topic",
    global_partitions: u32 = "global_partitions",
    global_topic_next: Vec<(String, String)> = "global_topic_next",
    global_group: String = "global_group",
    global_owner_id: Option<String> = "global_owner_id",
    global_metrics: Vec<String> = "global_metrics",
    global_drop_tags: Vec<String> = "global_drop_tags",
    global_grace: Duration = "global_grace",
    global_late: Duration = "global_late",
    global_late_max: Duration = "global_late_max",
    global_session_timeout: Duration = "global_session_timeout",
    global_queue_max: usize = "global_queue_max",
    global_spool_path: Option<PathBuf> = "global_spool_path",
    global_spool_max: u64 = "global_spool_max",
    global_memory_max: usize = "global_memory_max",
    global_skip_unknown: bool = "global_skip_unknown",
    global_tls: bool = "global_tls",
    global_ca_file: Option<PathBuf> = "global_ca_file",
    global_cert_file: Option<PathBuf> = "global_cert_file",
    global_key_file: Option<PathBuf> = "global_key_file",
    global_sasl_mechanism: Option<SaslMechanism> = "global_sasl_mechanism",
    global_sasl_username: Option<String> = "global_sasl_username",
    global_sasl_password: Option<Secret> = "global_sasl_password",
    global_kafka: Vec<(String, String)> = "global_kafka",

    dogstatsd_capture_path: Option<PathBuf> = "dogstatsd_capture_path",

    log_level: LogLevel = "log_level",
    log_file: Option<PathBuf> = "log_file",
    log_file_max_size: u64 = "log_file_max_size",
    log_file_max_rolls: u32 = "log_file_max_rolls",
    log_to_console: bool = "log_to_console",
    log_format_json: bool = "log_format_json",
    disable_file_logging: bool = "disable_file_logging",
    log_payloads: bool = "log_payloads",
    dogstatsd_metrics_stats_enable: bool = "dogstatsd_metrics_stats_enable",
    health_port: Port = "health_port",
    admin_address: Option<String> = "admin_address",
    self_telemetry: Switch = "self_telemetry",
    self_service_check: bool = "self_service_check",
    instrumentation_telemetry: bool = "instrumentation_telemetry",
    instrumentation_telemetry_url: Option<Url> = "instrumentation_telemetry_url",
    sender_accounts: bool = "sender_accounts",
    run_path: PathBuf = "run_path",
}

/// Shutdown as a whole when neither stop timeout is set: containers are killed at 10 s.
const STOP_WITHIN: Duration = Duration::from_secs(8);
/// What a stop timeout counts as when only the other one is set (the Agent's default of both).
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

impl Config {
    /// How long the whole shutdown may take: 8 s, or the sum of the two stop timeouts as soon as
    /// one of them is set.
    #[must_use]
    pub fn stop_within(&self) -> Duration {
        match (self.aggregator_stop_timeout, self.forwarder_stop_timeout) {
            (None, None) => STOP_WITHIN,
            (first, second) => first.unwrap_or(STOP_TIMEOUT) + second.unwrap_or(STOP_TIMEOUT),
        }
    }

    /// The names to filter and whether they are prefixes: `metric_filterlist`, or the older
    /// `statsd_metric_blocklist` when that is empty.
    #[must_use]
    pub fn metric_filter(&self) -> (&[String], bool) {
        if self.metric_filterlist.is_empty() {
            (&self.statsd_metric_blocklist, self.statsd_metric_blocklist_match_prefix)
        } else {
            (&self.metric_filterlist, self.metric_filterlist_match_prefix)
        }
    }

    /// The directory for whippet's files, separate so that a `run_path` shared with an Agent does
    /// not mix the files of both.
    #[must_use]
    pub fn run_directory(&self) -> PathBuf {
        self.run_path.join("whippet")
    }

    /// The directory of the disk spool.
    #[must_use]
    pub fn storage_directory(&self) -> PathBuf {
        let own = || self.run_directory().join("transactions_to_retry");
        self.forwarder_storage_path.as_deref().map_or_else(own, Path::to_path_buf)
    }

    /// The tags on every metric, event and check: `tags`, `extra_tags`, `env:` of `env`,
    /// `dogstatsd_tags` and the instance tag, each once, in this order.
    ///
    /// Differs: the Agent sends `tags` once in the metadata of the host. whippet sends no such
    /// metadata, so they go on every point.
    #[must_use]
    pub fn common_tags(&self) -> Vec<String> {
        let env = self.env.as_ref().map(|env| format!("env:{env}"));
        let mut seen = std::collections::HashSet::new();
        self.tags
            .iter()
            .chain(&self.extra_tags)
            .chain(&env)
            .chain(&self.dogstatsd_tags)
            .chain(&self.instance_tag)
            .filter(|tag| seen.insert(tag.as_str()))
            .cloned()
            .collect()
    }
}

/// Field types with their own variant.
macro_rules! fields {
    ($($variant:ident => $type:ty,)+) => {
        $(impl Field for $type {
            fn of(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(value) => Some(value.clone()),
                    _ => None,
                }
            }
        })+
    };
}

fields! {
    Bool => bool,
    Float => f64,
    Path => PathBuf,
    Duration => Duration,
    Port => Port,
    Words => Vec<String>,
    Outputs => Vec<OutputKind>,
    Percentiles => Vec<f64>,
    Aggregates => Vec<Aggregate>,
    Transports => Vec<Transport>,
    Pairs => Vec<(String, String)>,
    Endpoints => Vec<AdditionalEndpoint>,
    Profiles => Vec<MapperProfile>,
    TagFilters => Vec<TagFilter>,
    Secret => Secret,
    Url => Url,
}

/// Integers: the range of the key keeps them within the type.
macro_rules! integers {
    ($($type:ty),+) => {
        $(impl Field for $type {
            fn of(value: &Value) -> Option<Self> {
                match value {
                    Value::Integer(number) => <$type>::try_from(*number).ok(),
                    Value::Bytes(number) => <$type>::try_from(*number).ok(),
                    Value::Mode(mode) => <$type>::try_from(*mode).ok(),
                    _ => None,
                }
            }
        })+
    };
}

integers!(u16, u32, u64, usize, i32);

impl Field for String {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

/// An unset value or an empty string is `None`.
impl<T: Field> Field for Option<T> {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Unset => Some(None),
            Value::Text(text) if text.is_empty() => Some(None),
            value => T::of(value).map(Some),
        }
    }
}

/// Enums, from their words.
macro_rules! choices {
    ($($type:ident),+) => {
        $(impl Field for $type {
            fn of(value: &Value) -> Option<Self> {
                match value {
                    Value::Word(word) => $type::of(word),
                    _ => None,
                }
            }
        })+
    };
}

choices!(
    Compressor,
    LogLevel,
    TlsVersion,
    Cardinality,
    Switch,
    DoorMode,
    TracesMode,
    GlobalMode,
    SaslMechanism
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::Status;
    use crate::config::{Mode, Sources, keys, load};

    fn config(flags: &[(&str, &str)]) -> Config {
        let flags = flags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        load(Sources { file: None, env: [], flags, mode: Mode::Run }).unwrap().config
    }

    #[test]
    fn every_honoured_key_has_a_field() {
        // Merged into the limit in bytes.
        let folded = "forwarder_retry_queue_max_size";
        for key in keys::all().filter(|key| key.status == Status::Honoured && key.name != folded) {
            assert!(FIELDS.contains(&key.name), "{} has no field", key.name);
        }
    }

    #[test]
    fn names_of_keys_and_variables_are_unique() {
        let mut names: Vec<String> = keys::all().map(|key| key.name.to_owned()).collect();
        names.extend(keys::all().flat_map(crate::config::key::Key::env));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn the_defaults_are_those_of_the_agent_but_where_documented() {
        let config = config(&[]);
        assert_eq!(config.site, "datadoghq.com");
        assert_eq!(config.dogstatsd_port, Port::Fixed(8125));
        assert_eq!(config.dogstatsd_buffer_size, 8192);
        assert_eq!(config.interval, Duration::from_secs(10));
        assert_eq!(config.dogstatsd_expiry_seconds, Duration::from_secs(300));
        assert_eq!(config.histogram_percentiles, [0.95]);
        assert_eq!(
            config.histogram_aggregates,
            [Aggregate::Max, Aggregate::Median, Aggregate::Avg, Aggregate::Count]
        );
        assert_eq!(config.statsd_metric_namespace_blacklist.len(), 21);
        assert_eq!(config.serializer_compressor_kind, Compressor::Zstd);
        assert_eq!(config.forwarder_retry_queue_payloads_max_size, 15_728_640);
        assert_eq!(config.dogstatsd_socket_mode, 0o722);
        assert_eq!(config.log_file_max_size, 10 << 20);
        assert_eq!(config.output, []);
        assert!(config.dogstatsd_flush_incomplete_buckets);
        assert!(config.tags_per_line_max >= 256 && config.name_bytes_max >= 8192);
        assert!(config.tag_bytes_max >= 8192 && config.text_bytes_max >= 8192);
        assert!(config.set_members_max >= 1000 && config.events_per_interval_max >= 1000);
        assert!(config.stream_connections_max >= 1024);
    }

    #[test]
    fn one_stop_timeout_changes_the_whole() {
        assert_eq!(config(&[]).stop_within(), Duration::from_secs(8));
        let one = config(&[("forwarder_stop_timeout", "5")]);
        assert_eq!(one.stop_within(), Duration::from_secs(7));
        let both = config(&[("forwarder_stop_timeout", "5"), ("aggregator_stop_timeout", "1")]);
        assert_eq!(both.stop_within(), Duration::from_secs(6));
    }

    #[test]
    fn the_older_filter_counts_only_without_the_newer() {
        let old = ("statsd_metric_blocklist", "a");
        let prefix = ("statsd_metric_blocklist_match_prefix", "true");
        assert_eq!(config(&[old, prefix]).metric_filter(), (&["a".to_owned()][..], true));
        let both = config(&[old, prefix, ("metric_filterlist", "b")]);
        assert_eq!(both.metric_filter(), (&["b".to_owned()][..], false));
    }

    #[test]
    fn common_tags_are_merged_in_order_and_once() {
        let config = config(&[
            ("tags", "team:x env:prod"),
            ("extra_tags", "region:eu team:x"),
            ("env", "prod"),
            ("dogstatsd_tags", "region:eu z"),
            ("instance_tag", "instance:a"),
        ]);
        assert_eq!(config.common_tags(), ["team:x", "env:prod", "region:eu", "z", "instance:a"]);
    }

    #[test]
    fn files_stay_apart_from_those_of_an_agent() {
        let shared = config(&[("run_path", "/run/dd")]);
        assert_eq!(shared.run_directory(), Path::new("/run/dd/whippet"));
        assert_eq!(shared.storage_directory(), Path::new("/run/dd/whippet/transactions_to_retry"));
        let own = config(&[("forwarder_storage_path", "/spool")]);
        assert_eq!(own.storage_directory(), Path::new("/spool"));
    }
}
