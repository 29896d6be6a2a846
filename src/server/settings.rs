//! From the configuration to the settings of each room.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::aggregate;
use crate::config::{
    self, Compressor, Config, Loaded, OutputKind, Outputs, Port, Switch, TlsVersion, Url,
    ValueOrigin,
};
use crate::context::{
    ContextLimits, Mapper, NameFilter, Namespace, OriginRules, PartRules, Rules, ScopeRules,
    TagFilters,
};
use crate::encode::{Compression, PayloadLimits, SeriesFormat, split};
use crate::flush::{self, Aggregate, HistogramSettings, Percentile};
use crate::forward::{
    EndpointSettings, ForwarderConfig, HttpSettings, ProxySettings, RetryPolicy, SpoolSettings,
};
use crate::memory::MemoryLimit;
use crate::net::{Addresses, InternetSettings, NetSettings, Transport};
use crate::output::{DatadogSettings, EnabledPayloads, NO_KEY};
use crate::protocol::Options;
use crate::tagger::{self, Extraction, KubeletSettings, Tagger};

/// Receive buffer asked for when the configuration leaves it to us.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Lanes to run: what is configured, never more than the CPU quota of the control group allows.
pub(super) fn lanes(config: &Config) -> usize {
    let quota = config::cgroup::limits(Path::new("/")).cpus.map_or(usize::MAX, |cpus| {
        // A quota is a small positive number.
        (cpus.ceil() as usize).max(1)
    });
    let machine = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    config.lanes.clamp(1, quota.min(machine).max(1))
}

pub(super) fn net(loaded: &Loaded, lanes: usize, connections_max: usize) -> NetSettings {
    let config = &loaded.config;
    NetSettings {
        udp: internet(config, config.dogstatsd_port, config.dogstatsd_non_local_traffic),
        unix_datagram: config.dogstatsd_socket.clone(),
        unix_stream: config.dogstatsd_stream_socket.clone(),
        tcp: internet(config, config.dogstatsd_tcp_port, config.dogstatsd_non_local_traffic),
        socket_mode: config.dogstatsd_socket_mode,
        stream_socket_mode: config.dogstatsd_stream_socket_mode,
        receive_buffer_bytes: net_buffer(config),
        datagram_bytes_max: config.dogstatsd_buffer_size,
        lanes,
        reuse_port: true,
        connections_max,
        credentials: config.dogstatsd_origin_detection,
        optional: optional_listeners(loaded),
        inherited: crate::net::inherited_sockets(),
        http_beside: config.doors_open(),
        pause: config.receive_pause,
    }
}

/// Listeners that are there by default only; the others were asked for and have to work.
pub(super) fn optional_listeners(loaded: &Loaded) -> Vec<Transport> {
    let by_default = |key: &str| loaded.origin(key) == ValueOrigin::Default;
    let mut optional = Vec::new();
    if ["dogstatsd_port", "bind_host", "dogstatsd_non_local_traffic"].into_iter().all(by_default) {
        optional.push(Transport::Udp);
    }
    if by_default("dogstatsd_socket") {
        optional.push(Transport::UnixDatagram);
    }
    optional
}

/// Bytes of receive buffer to ask for.
pub(super) fn net_buffer(config: &Config) -> usize {
    match config.dogstatsd_so_rcvbuf {
        0 => RECEIVE_BUFFER_BYTES,
        bytes => bytes,
    }
}

/// A port on the configured addresses; `everywhere` beats `bind_host`.
pub(super) fn internet(config: &Config, port: Port, everywhere: bool) -> Option<InternetSettings> {
    let port = match port {
        Port::Off => return None,
        Port::Fixed(port) => port,
        Port::Random => 0,
    };
    let addresses = match (&config.bind_host, everywhere) {
        (_, true) => Addresses::Everywhere,
        (Some(host), false) => Addresses::Host(host.clone()),
        (None, false) => Addresses::Loopback,
    };
    Some(InternetSettings { addresses, port })
}

/// Whether whippet's own numbers are posted too.
pub(super) fn self_telemetry(config: &Config, outputs: &Outputs) -> bool {
    match config.self_telemetry {
        Switch::On => true,
        Switch::Off => false,
        Switch::Auto => outputs
            .list
            .iter()
            .any(|output| matches!(output, OutputKind::Datadog | OutputKind::DryRun { .. })),
    }
}

/// What the tagger reads; `None` when no origin of a message could be known.
pub(super) fn tagger(config: &Config) -> Option<tagger::TaggerSettings> {
    let kubelet = config.kubernetes_kubelet_host.as_ref().map(|host| KubeletSettings {
        host: host.clone(),
        port: config.kubernetes_https_kubelet_port,
        tls_verify: config.kubelet_tls_verify,
        token_path: config.kubelet_auth_token_path.clone(),
        ca_path: config.kubelet_client_ca.clone(),
    });
    let detected = config.dogstatsd_origin_detection || config.dogstatsd_origin_detection_client;
    if kubelet.is_none() && !detected {
        return None;
    }
    Some(tagger::TaggerSettings {
        kubelet,
        cgroup_root: machine_path(config.container_cgroup_root.as_ref(), "sys/fs/cgroup"),
        extraction: Extraction::new(
            config.cluster_name.as_deref().unwrap_or_default(),
            &config.kubernetes_pod_labels_as_tags,
            &config.kubernetes_pod_annotations_as_tags,
        ),
    })
}

/// Where the processes of the machine are; `None` unless senders are to be looked up.
pub(super) fn proc_root(config: &Config) -> Option<PathBuf> {
    let detected = config.dogstatsd_origin_detection;
    detected.then(|| machine_path(config.container_proc_root.as_ref(), "proc"))
}

/// What is configured, else the machine's file system as containers usually mount it, else our own.
fn machine_path(configured: Option<&PathBuf>, path: &str) -> PathBuf {
    let host = Path::new("/host").join(path);
    match configured {
        Some(configured) => configured.clone(),
        None if host.exists() => host,
        None => Path::new("/").join(path),
    }
}

fn origin(config: &Config, tagger: Arc<dyn Tagger>) -> OriginRules {
    OriginRules {
        tagger,
        cardinality: config.dogstatsd_tag_cardinality,
        optout: config.dogstatsd_origin_optout_enabled,
        entity_id_precedence: config.dogstatsd_entity_id_precedence,
        unified: config.origin_detection_unified,
    }
}

pub(crate) fn rules(
    config: &Config,
    hostname: Option<&str>,
    lanes: usize,
    tagger: Option<Arc<dyn Tagger>>,
) -> Rules {
    let bytes = |text: &str| Box::from(text.as_bytes());
    let (mapper, problems) = Mapper::new(&config.dogstatsd_mapper_profiles);
    // `Config::load` has logged most of them already; nothing is skipped silently.
    problems.iter().for_each(|problem| tracing::warn!(target: "context", "{problem}"));
    let (filtered, prefixes) = config.metric_filter();
    let common_tags: Vec<Box<[u8]>> = config.common_tags().iter().map(|tag| bytes(tag)).collect();
    Rules {
        scope: config.global_mode.sends().then(|| {
            ScopeRules::new(&config.global_metrics, &config.global_drop_tags, &common_tags)
        }),
        mapper,
        name_filter: NameFilter::new(filtered, prefixes),
        tag_filters: TagFilters::new(&config.metric_tag_filterlist),
        namespace: Namespace::new(
            config.statsd_metric_namespace.as_deref().unwrap_or_default(),
            &config.statsd_metric_namespace_blacklist,
        ),
        common_tags,
        default_host: bytes(hostname.unwrap_or_default()),
        limits: ContextLimits {
            contexts_max: contexts_max(config).div_ceil(lanes),
            contexts_per_name_max: config.contexts_per_name_max.div_ceil(lanes),
            tags_max: config.tags_per_line_max,
            tag_bytes_max: config.tag_bytes_max,
            name_bytes_max: config.name_bytes_max,
            text_bytes_max: config.text_bytes_max,
            ..ContextLimits::default()
        },
        origin: tagger.map(|tagger| origin(config, tagger)),
    }
}

/// As [`rules`], for the doors: what comes there has its final name and stays local, and common tags are
/// part of the contexts. Each of the two classes of buckets has its own cap on contexts.
pub(super) fn part_rules(
    config: &Config,
    hostname: Option<&str>,
    tagger: Option<Arc<dyn Tagger>>,
) -> PartRules {
    /// Without a cap that is configured they get a quarter of what all lanes have: doors come beside them.
    const SHARE: usize = 4;
    let mut rules = rules(config, hostname, 1, tagger);
    rules.mapper = Mapper::default();
    rules.namespace = Namespace::default();
    rules.scope = None;
    if config.contexts_max == 0 {
        rules.limits.contexts_max = rules.limits.contexts_max.div_ceil(SHARE);
    }
    rules.limits.alias_bytes_max /= SHARE;
    let common_tags = std::mem::take(&mut rules.common_tags);
    PartRules { rules: Arc::new(rules), common_tags }
}

/// Contexts alive at once: what is configured, else what half the memory of the control group holds,
/// at most a million.
fn contexts_max(config: &Config) -> usize {
    /// Measured for every kind under hostile values, with a short key; what the values take beyond is
    /// bounded by `aggregation_bytes_max`.
    const BYTES_PER_CONTEXT: u64 = 800;
    const CONTEXTS_MAX: usize = 1_000_000;
    if config.contexts_max > 0 {
        return config.contexts_max;
    }
    let memory = config::cgroup::limits(Path::new("/")).memory_bytes;
    memory.map_or(CONTEXTS_MAX, |bytes| {
        usize::try_from(bytes / 2 / BYTES_PER_CONTEXT)
            .map_or(CONTEXTS_MAX, |count| count.clamp(1_000, CONTEXTS_MAX))
    })
}

/// Memory for samples, members and sketches: what is configured, else a quarter of the control group's.
fn aggregation_bytes_max(config: &Config) -> usize {
    if config.aggregation_bytes_max > 0 {
        return config.aggregation_bytes_max;
    }
    let memory = config::cgroup::limits(Path::new("/")).memory_bytes;
    let quarter = memory.map(|bytes| usize::try_from(bytes / 4).unwrap_or(usize::MAX));
    quarter.unwrap_or(aggregate::AGGREGATION_BYTES_MAX)
}

pub(crate) fn shard(config: &Config) -> aggregate::ShardSettings {
    aggregate::ShardSettings {
        interval: config.interval,
        options: Options {
            timestamps: config.dogstatsd_no_aggregation_pipeline,
            origin: config.dogstatsd_origin_detection_client,
        },
        context_expiry: config.dogstatsd_context_expiry_seconds,
        set_members_max: config.set_members_max,
        events_max: config.events_per_interval_max,
        memory: Arc::new(MemoryLimit::new(aggregation_bytes_max(config))),
        histogram_copy: config
            .histogram_copy_to_distribution
            .then(|| Box::from(config.histogram_copy_to_distribution_prefix.as_bytes())),
    }
}

pub(crate) fn flush(config: &Config) -> flush::FlushSettings {
    flush::FlushSettings {
        interval: config.interval.as_secs().max(1),
        counter_expiry: config.dogstatsd_expiry_seconds,
        set_members_max: config.set_members_max,
        histograms: histograms(config),
    }
}

pub(super) fn histograms(config: &Config) -> HistogramSettings {
    HistogramSettings {
        aggregates: config
            .histogram_aggregates
            .iter()
            .filter_map(|aggregate| Aggregate::from_word(aggregate.word()))
            .collect(),
        percentiles: Percentile::list(&config.histogram_percentiles),
    }
}

/// What an output to the Datadog API is made from.
pub(crate) fn datadog(config: &Config, hostname: Option<&str>) -> DatadogSettings {
    let (protobuf, json) = compression(config);
    DatadogSettings {
        series_format: if config.use_v2_api_series { SeriesFormat::V2 } else { SeriesFormat::V1 },
        protobuf,
        json,
        limits: PayloadLimits {
            series_compressed_bytes: config.serializer_max_series_payload_size,
            series_uncompressed_bytes: config.serializer_max_series_uncompressed_payload_size,
            series_points: config.serializer_max_series_points_per_payload,
            compressed_bytes: config.serializer_max_payload_size,
            uncompressed_bytes: config.serializer_max_uncompressed_payload_size,
        },
        host: hostname.unwrap_or_default().to_owned(),
        enabled: EnabledPayloads {
            series: config.enable_payloads_series,
            sketches: config.enable_payloads_sketches,
            events: config.enable_payloads_events,
            checks: config.enable_payloads_service_checks,
        },
        interval: config.interval,
        logged: config.log_payloads,
    }
}

/// Compression of protobuf and of JSON bodies. zstd is for protobuf: JSON stays zlib with it,
/// because the v1 routes are not documented to take zstd.
fn compression(config: &Config) -> (Compression, Compression) {
    let zlib = Compression::Zlib { level: 6 };
    let kind = config.serializer_compressor_kind;
    let level = config.serializer_zstd_compressor_level;
    let protobuf = Compression::named(kind.word(), level).unwrap_or(zlib);
    let json = if kind == Compressor::Zstd { zlib } else { protobuf };
    (protobuf, json)
}

/// As [`endpoints`]; a missing API key is replaced by words that say so, since nothing is posted.
pub(super) fn endpoints_without_key(config: &Config) -> EndpointSettings {
    let mut settings = endpoints(config);
    if settings.api_key.is_empty() {
        NO_KEY.clone_into(&mut settings.api_key);
    }
    settings
}

pub(super) fn endpoints(config: &Config) -> EndpointSettings {
    use crate::encode::Route;
    let mut route_overrides = Vec::new();
    let mut route = |key: &'static str, route: Route, url: &Option<Url>| {
        if let Some(url) = url {
            route_overrides.push((key, route, url.expose().to_owned()));
        }
    };
    let worker = &config.observability_pipelines_worker_metrics_url;
    if config.observability_pipelines_worker_metrics_enabled && worker.is_some() {
        let key = "observability_pipelines_worker.metrics.url";
        [Route::SeriesV2, Route::SeriesV1, Route::Sketches]
            .into_iter()
            .for_each(|metrics| route(key, metrics, worker));
    }
    route("series_url", Route::SeriesV2, &config.series_url);
    route("series_url", Route::SeriesV1, &config.series_url);
    route("sketches_url", Route::Sketches, &config.sketches_url);
    route("events_url", Route::Events, &config.events_url);
    route("checks_url", Route::ServiceChecks, &config.checks_url);
    EndpointSettings {
        site: config.site.clone(),
        dd_url: text(config.dd_url.as_ref()),
        api_key: config.api_key.as_ref().map(|key| key.expose().to_owned()).unwrap_or_default(),
        additional_endpoints: config
            .additional_endpoints
            .iter()
            .map(|endpoint| {
                let keys = endpoint.api_keys.iter().map(|key| key.expose().to_owned());
                (endpoint.url.expose().to_owned(), keys.collect())
            })
            .collect(),
        route_overrides,
    }
}

pub(super) fn forwarder(config: &Config) -> std::io::Result<ForwarderConfig> {
    let halve = Arc::new(|payload: &crate::encode::Payload| {
        split::halve(payload).map_err(|error| Box::new(error) as Box<dyn std::error::Error>)
    });
    let proxies = ProxySettings {
        https: text(config.proxy_https.as_ref()),
        http: text(config.proxy_http.as_ref()),
        no_proxy: config.proxy_no_proxy.clone(),
        nonexact_match: config.no_proxy_nonexact_match,
    };
    Ok(ForwarderConfig {
        retry: RetryPolicy {
            base: Duration::from_secs_f64(config.forwarder_backoff_base),
            factor: config.forwarder_backoff_factor,
            max: Duration::from_secs_f64(config.forwarder_backoff_max),
            recovery_interval: config.forwarder_recovery_interval,
            recovery_reset: config.forwarder_recovery_reset,
        },
        queue_bytes_max: usize::try_from(config.forwarder_retry_queue_payloads_max_size)
            .unwrap_or(usize::MAX),
        http: HttpSettings {
            timeout: config.forwarder_timeout,
            proxies: proxies.or_environment(|name| std::env::var(name).ok()),
            skip_ssl_validation: config.skip_ssl_validation,
            tls13_only: config.min_tls_version == TlsVersion::Tls13,
            ca_pem: config.ca_file.as_ref().map(std::fs::read).transpose()?,
            ..HttpSettings::default()
        },
        allow_arbitrary_tags: config.allow_arbitrary_tags,
        spool: (config.forwarder_storage_max_size_in_bytes > 0).then(|| SpoolSettings {
            path: config.storage_directory(),
            bytes_max: config.forwarder_storage_max_size_in_bytes,
            disk_ratio_max: config.forwarder_storage_max_disk_ratio,
        }),
        validation_interval: Some(config.forwarder_apikey_validation_interval)
            .filter(|interval| !interval.is_zero()),
        ..ForwarderConfig::new(halve)
    })
}

/// A URL to connect to, password included; empty for none.
fn text(url: Option<&Url>) -> String {
    url.map(|url| url.expose().to_owned()).unwrap_or_default()
}
