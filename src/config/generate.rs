//! Text generated from the table of keys: the reference page, the comparison with the Agent, the
//! sample file, and the listing of `whippet config`.

use std::fmt::Write;

use super::expected::expected;
use super::key::{Key, Kind, Parity, Status};
use super::keys::{SECTIONS, Section};
use super::value::{Value, show};

const TO_TEXT: &str = "writing to a String cannot fail";

/// `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut page = include_str!("reference.md").to_owned();
    for section in SECTIONS {
        write!(page, "\n## {}\n", section.title).expect(TO_TEXT);
        for key in honoured(section) {
            write!(page, "\n### `{}`\n\n{}\n\n", key.name, wrapped(key.doc, 100).join("\n"))
                .expect(TO_TEXT);
            writeln!(page, "- Value: {}", expected(key.kind)).expect(TO_TEXT);
            writeln!(page, "- Default: {}", default(key)).expect(TO_TEXT);
            writeln!(page, "- Environment: {}", environment(key)).expect(TO_TEXT);
            if key.reloads {
                writeln!(page, "- Reload: taken over at SIGHUP").expect(TO_TEXT);
            }
        }
    }
    page.push_str("\n## Accepted without effect\n\nKeys of the Agent's DogStatsD that whippet accepts and ignores.\n\n| Key | Why |\n| --- | --- |\n");
    for key in SECTIONS.iter().flat_map(|section| section.keys) {
        if let Status::Ignored(reason) = key.status {
            writeln!(page, "| `{}` | {reason} |", key.name).expect(TO_TEXT);
        }
    }
    page
}

/// `dist/whippet.yaml`: every key with its default, commented out.
#[must_use]
pub fn sample() -> String {
    let mut file = include_str!("sample.yaml").to_owned();
    for section in SECTIONS {
        write!(file, "\n## {}\n", section.title).expect(TO_TEXT);
        for key in honoured(section) {
            file.push('\n');
            for line in wrapped(key.doc, 96) {
                writeln!(file, "# {line}").expect(TO_TEXT);
            }
            let value = super::effective::default_of(key);
            writeln!(file, "#{}: {}", key.name, in_yaml(key.kind, key.default, &value))
                .expect(TO_TEXT);
        }
    }
    file
}

/// `docs/compatibility.md`: the handwritten part, then a row for every key of the Agent.
#[must_use]
pub fn compatibility() -> String {
    let mut page = include_str!("compatibility.md").trim_end().to_owned();
    page.push_str(KEYS_INTRODUCED);
    for section in SECTIONS {
        let keys: Vec<_> = section.keys.iter().filter(|key| !key.ours()).collect();
        if keys.is_empty() {
            continue;
        }
        write!(page, "\n### {}\n\n{KEYS_HEAD}", section.title).expect(TO_TEXT);
        for key in keys {
            let (verdict, why) = verdict(key);
            let default = match key.status {
                Status::Honoured => default(key),
                Status::Ignored(_) => String::new(),
            };
            writeln!(page, "| `{}` | {default} | {verdict} | {why} |", key.name).expect(TO_TEXT);
        }
    }
    page.push_str("\n### Only in whippet\n\nThe Agent does not know these keys; in the environment they start with `WHIPPET_`.\n\n");
    let ours = SECTIONS.iter().flat_map(|section| section.keys).filter(|key| key.ours());
    let names: Vec<String> = ours.map(|key| format!("`{}`", key.name)).collect();
    for line in wrapped(&format!("{}.", names.join(", ")), 100) {
        writeln!(page, "{line}").expect(TO_TEXT);
    }
    page
}

const KEYS_INTRODUCED: &str = "\n\n## Keys\n\nEvery key of the Agent that concerns its DogStatsD server, \
and keys with similar names. [configuration.md](configuration.md) describes each one. A key with \
\"no effect\" is accepted and ignored; `check-config` lists it with the reason.\n";
const KEYS_HEAD: &str = "| Key | Default here | Here | Why |\n| --- | --- | --- | --- |\n";

/// How whippet treats a key of the Agent, and why.
fn verdict(key: &Key) -> (&'static str, &'static str) {
    match (key.status, key.parity) {
        (Status::Ignored(reason), _) => ("no effect", reason),
        (Status::Honoured, Parity::Same) => ("same", ""),
        (Status::Honoured, Parity::Better(how)) => ("better", how),
        (Status::Honoured, Parity::Different(how)) => ("different", how),
    }
}

/// One line per key for `--help`: name, default, first sentence.
#[must_use]
pub fn listing() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        writeln!(text, "{}:", section.title).expect(TO_TEXT);
        for key in honoured(section) {
            let sentence = key.doc.split_inclusive(". ").next().unwrap_or_default().trim();
            writeln!(text, "  {} [{}]\n      {sentence}", key.name, plain_default(key))
                .expect(TO_TEXT);
        }
    }
    text
}

fn honoured(section: &Section) -> impl Iterator<Item = &'static Key> {
    section.keys.iter().filter(|key| key.status == Status::Honoured)
}

fn plain_default(key: &Key) -> String {
    show(&super::effective::default_of(key))
}

fn default(key: &Key) -> String {
    match plain_default(key).as_str() {
        "(unset)" => "unset".to_owned(),
        "[]" => "an empty list".to_owned(),
        text => format!("`{text}`"),
    }
}

fn environment(key: &Key) -> String {
    let mut names: Vec<String> = key.env().iter().map(|name| format!("`{name}`")).collect();
    names.extend(key.weak.iter().map(|name| format!("`{name}` (weaker than the file)")));
    names.join(", ")
}

/// The default as YAML that reads back to the same value.
fn in_yaml(kind: Kind, written: &str, value: &Value) -> String {
    match (kind, value) {
        (Kind::Pairs | Kind::Endpoints, _) => "{}".to_owned(),
        (_, Value::Unset) => "\"\"".to_owned(),
        (_, Value::Text(text)) if text.is_empty() => "\"\"".to_owned(),
        (_, Value::Text(_) | Value::Path(_) | Value::Mode(_)) => format!("\"{written}\""),
        (_, Value::Outputs(_)) => "[]".to_owned(),
        (_, Value::Port(_)) => written.to_owned(),
        (_, Value::Bytes(_) | Value::Duration(_)) => written.to_owned(),
        (_, value) => show(value),
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        match lines[last].chars().count() {
            0 => lines[last].push_str(word),
            used if used + 1 + word.chars().count() > width => lines.push(word.to_owned()),
            _ => {
                lines[last].push(' ');
                lines[last].push_str(word);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mode, Sources, ValueOrigin, examine};

    /// Compares a committed file with the generated text, or writes it with `REGENERATE=1`.
    #[track_caller]
    fn is_current(path: &str, text: &str) {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        if std::env::var_os("REGENERATE").is_some() {
            std::fs::write(&file, text).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == text, "{path} differs from the table of keys; run make config-docs");
    }

    // The default socket differs by platform; the committed files are generated on Linux.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_reference_page_is_current() {
        is_current("docs/configuration.md", &reference());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_comparison_with_the_agent_is_current() {
        is_current("docs/compatibility.md", &compatibility());
    }

    /// Keys that the Agent's DogStatsD server reads, or that sit next to them in the same file,
    /// as listed by the Agent's documentation and configuration template.
    const OF_THE_AGENT: &str = "
        api_key site dd_url additional_endpoints hostname hostname_file tags extra_tags env
        expected_tags_duration allow_arbitrary_tags convert_dd_site_fqdn.enabled
        observability_pipelines_worker.metrics.enabled observability_pipelines_worker.metrics.url
        multi_region_failover.enabled secret_backend_command secret_backend_arguments
        secret_backend_timeout secret_refresh_interval
        use_dogstatsd dogstatsd_port bind_host dogstatsd_non_local_traffic dogstatsd_socket
        dogstatsd_stream_socket dogstatsd_stream_log_too_big dogstatsd_pipe_name
        dogstatsd_so_rcvbuf dogstatsd_buffer_size dogstatsd_packet_buffer_size
        dogstatsd_packet_buffer_flush_timeout dogstatsd_queue_size dogstatsd_workers_count
        dogstatsd_pipeline_count dogstatsd_pipeline_autoadjust dogstatsd_string_interner_size
        dogstatsd_eol_required dogstatsd_disable_verbose_logs dogstatsd_tags
        dogstatsd_origin_detection dogstatsd_origin_detection_client
        dogstatsd_origin_optout_enabled dogstatsd_entity_id_precedence dogstatsd_tag_cardinality
        origin_detection_unified dogstatsd_mem_based_rate_limiter.enabled statsd_forward_host
        statsd_forward_port statsd_metric_namespace statsd_metric_namespace_blacklist
        dogstatsd_mapper_profiles dogstatsd_mapper_cache_size dogstatsd_experimental_http.enabled
        dogstatsd_experimental_http.listen_address dogstatsd_socket_fd_from heroku_dyno
        dogstatsd_host_socket_path entity_id config_id provider_kind
        dogstatsd_expiry_seconds dogstatsd_context_expiry_seconds
        dogstatsd_flush_incomplete_buckets histogram_aggregates histogram_percentiles
        histogram_copy_to_distribution histogram_copy_to_distribution_prefix
        dogstatsd_no_aggregation_pipeline dogstatsd_no_aggregation_pipeline_batch_size
        dogstatsd_no_aggregation_pipeline_workers_count metric_filterlist
        metric_filterlist_match_prefix statsd_metric_blocklist
        statsd_metric_blocklist_match_prefix metric_tag_filterlist metric_tag_filterlist_adp_only
        aggregator_buffer_size aggregator_stop_timeout aggregator_use_tags_store
        aggregator_flush_metrics_and_serialize_in_parallel_chan_size
        aggregator_flush_metrics_and_serialize_in_parallel_buffer_size
        dogstatsd_context_limiter.limit dogstatsd_max_metrics_tags
        use_v2_api.series use_v3_api.series.enabled use_v3_api.series.endpoints
        serializer_compressor_kind serializer_zstd_compressor_level serializer_max_payload_size
        serializer_max_uncompressed_payload_size serializer_max_series_payload_size
        serializer_max_series_uncompressed_payload_size serializer_max_series_points_per_payload
        enable_payloads.series enable_payloads.events enable_payloads.service_checks
        enable_payloads.sketches enable_payloads.json_to_v1_intake forwarder_timeout
        forwarder_num_workers forwarder_max_concurrent_requests forwarder_backoff_factor
        forwarder_backoff_base forwarder_backoff_max forwarder_recovery_interval
        forwarder_recovery_reset forwarder_retry_queue_payloads_max_size
        forwarder_retry_queue_max_size forwarder_storage_max_size_in_bytes forwarder_storage_path
        forwarder_storage_max_disk_ratio forwarder_flush_to_disk_mem_ratio
        forwarder_outdated_file_in_days forwarder_stop_timeout forwarder_connection_reset_interval
        forwarder_apikey_validation_interval forwarder_http_protocol
        forwarder_high_prio_buffer_size forwarder_low_prio_buffer_size
        forwarder_requeue_buffer_size forwarder_retry_queue_capacity_time_interval_sec proxy.http
        proxy.https proxy.no_proxy no_proxy_nonexact_match use_proxy_for_cloud_metadata
        skip_ssl_validation min_tls_version sslkeylogfile tls_handshake_timeout
        log_level log_file log_file_max_size log_file_max_rolls log_to_console log_format_json
        disable_file_logging log_to_syslog syslog_uri syslog_rfc log_payloads logging_frequency
        dogstatsd_metrics_stats_enable dogstatsd_stats_enable dogstatsd_stats_port
        dogstatsd_stats_buffer dogstatsd_log_file dogstatsd_logging_enabled
        dogstatsd_log_file_max_rolls dogstatsd_log_file_max_size dogstatsd_capture_path
        dogstatsd_capture_depth dogstatsd_telemetry_enabled_listener_id telemetry.enabled
        telemetry.dogstatsd_origin telemetry.dogstatsd.listeners_latency_buckets cmd_host cmd_port
        expvar_port health_port run_path data_plane.enabled
        apm_config.receiver_port apm_config.receiver_socket apm_config.apm_non_local_traffic
        apm_config.apm_dd_url apm_config.additional_endpoints apm_config.telemetry.enabled
        apm_config.telemetry.dd_url apm_config.telemetry.additional_endpoints
        apm_config.max_payload_size apm_config.receiver_timeout apm_config.max_connections
        apm_config.env
    ";

    #[test]
    fn every_key_of_the_agents_server_has_a_row_and_no_row_is_without_a_word() {
        for name in OF_THE_AGENT.split_whitespace() {
            let key =
                crate::config::keys::find(name).unwrap_or_else(|| panic!("{name} has no row"));
            assert!(!key.ours(), "{name} is a key of the Agent");
            let (verdict, why) = verdict(key);
            assert!(verdict == "same" || !why.is_empty(), "{name}: {verdict} without a reason");
        }
        for key in crate::config::keys::all().filter(|key| key.ours()) {
            assert_eq!(key.parity, Parity::Same, "{}: there is nothing to compare", key.name);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_sample_file_is_current() {
        is_current("dist/whippet.yaml", &sample());
    }

    #[test]
    fn the_sample_uncommented_is_the_default_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("whippet.yaml");
        let keys: String = sample()
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| !line.starts_with([' ', '#']) && !line.is_empty())
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(&file, &keys).unwrap();
        let look = |file| {
            let sources = Sources { file, env: [], flags: Vec::new(), mode: Mode::Check };
            examine(sources)
        };
        let (sample, default) = (look(Some(file)), look(None));
        assert_eq!(sample.problems, []);
        let sample = sample.loaded.unwrap();
        assert_eq!(sample.config, default.loaded.unwrap().config);
        let unset: Vec<_> =
            sample.origins.iter().filter(|(_, origin)| **origin == ValueOrigin::Default).collect();
        assert_eq!(unset, [], "every key is in the sample");
    }

    #[test]
    fn the_listing_names_every_key_with_its_default() {
        let text = listing();
        assert!(text.contains("\n  dogstatsd_port [8125]\n      UDP port.\n"), "{text}");
        for section in SECTIONS {
            for key in honoured(section) {
                assert!(text.contains(&format!("  {} [", key.name)), "{}", key.name);
            }
        }
    }
}
