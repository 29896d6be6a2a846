//! Keys of the Agent and of its client libraries that have nothing to do with DogStatsD but look
//! like a key of ours. Everything else that is unknown and far from our names needs no list: it is
//! accepted in silence.

/// Names at the top of `datadog.yaml`, and of `DD_` variables, that are never a typing mistake.
const KNOWN: &[&str] = &[
    "ac_exclude", "ac_include", "agent_host", "agent_ipc", "api_keys_validation", "apm_config",
    "app_key", "auth_token_file_path", "autoconf_template_dir", "autoconfig_from_environment",
    "bosh_id", "c_core_dump", "c_stacktrace_collection", "check_runners", "checks_tag_cardinality",
    "cloud_foundry", "cloud_foundry_buildpack", "cluster_agent", "cluster_checks", "collect_ec2_tags",
    "collect_gce_tags", "collect_kubernetes_events", "compliance_config", "conf_path", "confd_path",
    "config_providers", "container_cgroup_root", "container_exclude", "container_include",
    "container_labels_as_tags", "container_proc_root", "cri_socket_path", "custom_sensitive_words",
    "database_monitoring", "disable_unsafe_yaml", "docker_env_as_tags", "docker_labels_as_tags",
    "dogstatsd_host", "dogstatsd_url", "dogstatsd_disable", "dogstatsd_non_local_traffic_apm",
    "ec2_prefer_imdsv2", "ecs_agent_url", "enable_gohai", "enable_metadata_collection", "event_management",
    "evp_proxy_config", "exclude_gce_tags", "exclude_pause_container", "external_metrics",
    "external_metrics_provider", "extra_config_providers", "extra_listeners", "flare", "force_tls_12",
    "gce_metadata_timeout", "gui_port", "histogram_buckets", "host_aliases", "hostname_fqdn",
    "hostname_force_config_as_canonical", "hostname_trust_uts_namespace", "integration_check_status_enabled",
    "internal_profiling", "inventories_enabled", "ipc_address", "jmx_log_file", "jmx_use_container_support",
    "kubelet_tls_cert", "kubelet_client_crt", "kubelet_client_key", "kubelet_wait_on_missing_container",
    "kubernetes_http_kubelet_port", "kubernetes_kubelet_nodename", "kubernetes_namespace_labels_as_tags",
    "kubernetes_node_labels_as_tags", "language_detection", "listeners", "log_enabled", "log_to_file",
    "logs_config", "logs_enabled", "logs_tags", "metadata_providers", "min_tls", "network_config",
    "network_devices", "network_path", "orchestrator_explorer", "otelcollector", "otlp_config",
    "private_action_runner", "process_config", "procfs_path", "profiling", "prometheus_scrape",
    "python_version", "remote_configuration", "remote_updates", "runtime_security_config", "sbom",
    "secret_backend_config", "secret_backend_type", "secret_backend_output_max_size",
    "secret_backend_remove_trailing_line_break", "secret_backend_command_allow_group_exec_perm",
    "serverless", "service", "service_monitoring_config", "skip_validation", "snmp_listener",
    "snmp_traps_enabled", "statsd_port", "system_probe_config", "system_tests", "tag_value_split_separator",
    "tags_config", "trace_agent_url", "trace_tags", "tracemalloc_debug", "version", "vsphere",
    "windows_use_pythonpath", "workloadmeta", "logs_url", "log_url", "apm_url", "site_url", "cluster_id",
];

/// True for a name of the Agent or a client that is not ours.
pub(crate) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}
