//! Sources together: precedence, problems reported, secrets never printed.

use std::path::PathBuf;

use super::*;

/// Sources of one case; `{file}` in messages stands for the file.
#[derive(Default)]
struct Case<'a> {
    yaml: Option<&'a str>,
    env: &'a [(&'a str, &'a str)],
    flags: &'a [(&'a str, &'a str)],
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Case<'_> {
    fn with<T>(&self, mode: Mode, run: impl FnOnce(Sources<Vec<(String, String)>>) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let file: Option<PathBuf> = self.yaml.map(|yaml| {
            let file = folder.path().join("w.yaml");
            std::fs::write(&file, yaml).unwrap();
            file
        });
        run(Sources { file, env: owned(self.env), flags: owned(self.flags), mode })
    }

    #[track_caller]
    fn loads(&self) -> Loaded {
        self.with(Mode::Run, |sources| load(sources).unwrap_or_else(|p| panic!("{p}")))
    }

    /// The problems as they are printed, without the folder, each marked when it stops `run` and
    /// when it fails `check-config`.
    fn problems(&self) -> Vec<String> {
        let problems = self.with(Mode::Check, |sources| examine(sources).problems);
        let mark = |flag: bool, mark: &'static str| if flag { mark } else { "-" };
        problems
            .iter()
            .map(|problem| {
                let run = mark(problem.is_error(Mode::Run), "R");
                let check = mark(problem.is_error(Mode::Check), "C");
                let text = problem.to_string();
                let short = text.find("w.yaml").map_or(text.as_str(), |at| &text[at..]);
                format!("{run}{check} {short}")
            })
            .collect()
    }

    #[track_caller]
    fn reports(&self, expect: &[&str]) {
        let problems = self.problems();
        assert_eq!(problems.len(), expect.len(), "{problems:#?}");
        for (problem, expect) in problems.iter().zip(expect) {
            assert!(problem.starts_with(expect), "{problem}\nis not\n{expect}");
        }
        let stops = expect.iter().any(|problem| problem.starts_with('R'));
        assert_eq!(self.with(Mode::Run, |sources| load(sources).is_err()), stops);
        let fails = expect.iter().any(|problem| problem[1..].starts_with('C'));
        assert_eq!(self.with(Mode::Check, |sources| load(sources).is_err()), fails);
    }
}

#[test]
fn flags_beat_environment_beats_file_beats_default() {
    let mut case = Case::default();
    assert_eq!(case.loads().config.dogstatsd_port, Port::Fixed(8125));
    case.yaml = Some("dogstatsd_port: 1");
    assert_eq!(case.loads().config.dogstatsd_port, Port::Fixed(1));
    case.env = &[("DD_DOGSTATSD_PORT", "2")];
    assert_eq!(case.loads().config.dogstatsd_port, Port::Fixed(2));
    case.flags = &[("dogstatsd_port", "3"), ("dogstatsd_port", "4")];
    let loaded = case.loads();
    assert_eq!(loaded.config.dogstatsd_port, Port::Fixed(4));
    assert_eq!(loaded.origin("dogstatsd_port"), ValueOrigin::Flag("dogstatsd_port".into()));
    assert_eq!(loaded.origin("site"), ValueOrigin::Default);
}

#[test]
fn the_proxy_of_the_system_is_weaker_than_the_file() {
    let env = &[("HTTPS_PROXY", "http://system:1"), ("no_proxy", "a.b,c.d")];
    let system = Case { env, ..Case::default() }.loads();
    assert_eq!(system.config.proxy_https.unwrap().expose(), "http://system:1");
    assert_eq!(system.config.proxy_no_proxy, ["a.b", "c.d"]);
    let file = Case { env, yaml: Some("proxy: {https: 'http://file:1'}"), flags: &[] }.loads();
    assert_eq!(file.config.proxy_https.unwrap().expose(), "http://file:1");
}

#[test]
fn names_have_other_spellings() {
    let env = [("DD_URL", "http://a:1"), ("WHIPPET_OUTPUT", "none"), ("DD_USE_V2_API_SERIES", "f")];
    let loaded = Case { env: &env, ..Case::default() }.loads();
    assert_eq!(loaded.config.dd_url.unwrap().expose(), "http://a:1");
    assert_eq!(loaded.config.output, [OutputKind::None]);
    assert!(!loaded.config.use_v2_api_series);
    let both = Case { env: &[env[0], ("DD_DD_URL", "http://b:1")], ..Case::default() }.loads();
    assert_eq!(both.config.dd_url.unwrap().expose(), "http://b:1");
    for yaml in [
        "enable_payloads.series: false",
        "enable_payloads: {series: false}",
        "Enable_Payloads: {SERIES: no}",
    ] {
        assert!(
            !Case { yaml: Some(yaml), ..Case::default() }.loads().config.enable_payloads_series
        );
    }
    let old = Case { yaml: Some("vector: {metrics: {url: 'http://v:1'}}"), ..Case::default() };
    let url = old.loads().config.observability_pipelines_worker_metrics_url;
    assert_eq!(url.unwrap().expose(), "http://v:1");
}

#[test]
fn empty_values_mean_the_default_unless_they_turn_something_off() {
    let env = &[("DD_DOGSTATSD_PORT", ""), ("DD_DOGSTATSD_SOCKET", " "), ("DD_SITE", "")];
    let loaded = Case { env, ..Case::default() }.loads();
    assert_eq!(loaded.config, Case::default().loads().config);
    let yaml =
        Some("dogstatsd_port:\nsite: ''\nlanes: ''\ndogstatsd_socket: ''\nadmin_address: ''\n");
    let loaded = Case { yaml, ..Case::default() }.loads();
    assert_eq!(loaded.config.dogstatsd_port, Port::Fixed(8125));
    assert_eq!((loaded.config.site.as_str(), loaded.config.lanes), ("datadoghq.com", 1));
    assert_eq!((loaded.config.dogstatsd_socket, loaded.config.admin_address), (None, None));
}

#[test]
fn mistyped_names_are_reported_singly_and_foreign_ones_together() {
    let yaml = "\nlogs_enabled: true\n\ndogstatsd_prot: 1\nproxy:\n  htps: x\nfoo_bar_baz: 1\nstatsd_port: 1\n";
    Case {
        yaml: Some(yaml),
        env: &[
            ("DD_DOGSTATSD_TASG", "a"),
            ("WHIPPET_CONTEXTS", "1"),
            ("DD_SERVICE", "x"),
            ("DD_APP_KEY", "x"),
            ("DD_TELEMETRY_ENABLED", "1"),
            ("PATH", "/bin"),
        ],
        flags: &[("dogstatsd_prot", "1"), ("nothing.like.it", "1")],
    }
    .reports(&[
        "-- w.yaml: ignored, unknown to whippet: foo_bar_baz, logs_enabled, statsd_port",
        "-C w.yaml:4:1: dogstatsd_prot: unknown; did you mean dogstatsd_port?",
        "-C w.yaml:6:3: proxy.htps: unknown; did you mean proxy.https?",
        "-C DD_DOGSTATSD_TASG: unknown; did you mean DD_DOGSTATSD_TAGS?",
        "-C WHIPPET_CONTEXTS: unknown; see docs/configuration.md",
        "RC --set dogstatsd_prot: unknown; did you mean dogstatsd_port?",
        "RC --set nothing.like.it: unknown; see docs/configuration.md",
    ]);
}

#[test]
fn a_section_that_does_not_exist_is_a_mistake_if_its_members_are_keys() {
    let yaml = "dogstatsd:\n  port: 1\n  tag: [a]\n  other: 1\n  origin: {detection: true}\nforwarder: {timeout: 5}\napm_config: {enabled: true, log_file: x}\nproxy_https: x\nDD_TAGS: [a]\n";
    Case { yaml: Some(yaml), ..Case::default() }.reports(&[
        "-- w.yaml: ignored, unknown to whippet: apm_config.enabled, apm_config.log_file, dogstatsd.other",
        "-C w.yaml:2:3: dogstatsd.port: unknown; did you mean dogstatsd_port? It is one name, not a member of `dogstatsd:`",
        "-C w.yaml:3:3: dogstatsd.tag: unknown; did you mean dogstatsd_tags?",
        "-C w.yaml:5:12: dogstatsd.origin.detection: unknown; did you mean dogstatsd_origin_detection?",
        "-C w.yaml:6:13: forwarder.timeout: unknown; did you mean forwarder_timeout?",
        "-C w.yaml:8:1: proxy_https: unknown; did you mean proxy.https?",
        "-C w.yaml:9:1: DD_TAGS: unknown; did you mean tags?",
    ]);
    Case { flags: &[("dogstatsd.port", "1"), ("DD_DOGSTATSD_PORT", "1")], ..Case::default() }
        .reports(&[
            "RC --set dogstatsd.port: unknown; did you mean dogstatsd_port?",
            "RC --set DD_DOGSTATSD_PORT: unknown; did you mean dogstatsd_port?",
        ]);
}

#[test]
fn a_variable_with_the_other_prefix_is_a_mistake() {
    let env = &[("WHIPPET_DOGSTATSD_PORT", "1"), ("DD_INTERVAL", "1"), ("DD_ENV", "x")];
    Case { env, ..Case::default() }.reports(&[
        "-C WHIPPET_DOGSTATSD_PORT: unknown; did you mean DD_DOGSTATSD_PORT?",
        "-C DD_INTERVAL: unknown; did you mean WHIPPET_INTERVAL?",
    ]);
}

#[test]
fn all_invalid_values_are_reported_at_once_with_their_position() {
    Case {
        yaml: Some("dogstatsd_port: x\nproxy: 5\ntags: {a: b}\nlanes: [1]\nlog_payloads: {}\n"),
        env: &[("WHIPPET_INTERVAL", "0.5"), ("DD_DD_URL", "nowhere")],
        flags: &[("lanes", "none")],
    }
    .reports(&[
        "RC w.yaml:1:17: dogstatsd_port: \"x\" is not a valid port; use a port from 1 to 65535",
        "RC w.yaml:2:8: proxy: is a section; use http, https, no_proxy",
        "RC w.yaml:3:7: tags: is a map; expected a list of strings",
        "-C w.yaml:4:8: lanes: is a list; expected a whole number",
        "RC w.yaml:5:15: log_payloads: is a map; expected true or false",
        "RC DD_DD_URL: dd_url: \"nowhere\" has no scheme",
        "RC WHIPPET_INTERVAL: interval: \"0.5\" is too short",
        "RC --set lanes: lanes: \"none\" is not a whole number",
    ]);
}

#[test]
fn a_bad_entry_degrades_run_and_fails_the_check() {
    let case = Case { yaml: Some("histogram_percentiles: [0.5, 7]"), ..Case::default() };
    case.reports(&["-C w.yaml:1:30: histogram_percentiles[1]: \"7\" is not a percentile"]);
    let loaded = case.loads();
    assert!(loaded.degraded());
    assert_eq!(loaded.config.histogram_percentiles, [0.5]);
    assert!(!Case::default().loads().degraded());
}

#[test]
fn rules_that_cannot_be_used_at_all_degrade_run_and_fail_the_check() {
    let rows = [
        (
            "dogstatsd_mapper_profiles: {a: b}",
            "dogstatsd_mapper_profiles: is a map; expected a list of mapper profiles",
        ),
        (
            "dogstatsd_mapper_profiles: airflow",
            "dogstatsd_mapper_profiles: \"airflow\"; expected a list of mapper profiles",
        ),
        (
            "metric_tag_filterlist: {x: [id]}",
            "metric_tag_filterlist: is a map; expected a list of tag filters",
        ),
        ("metric_filterlist: {a: b}", "metric_filterlist: is a map; expected a list of strings"),
        ("statsd_metric_blocklist: {a: b}", "statsd_metric_blocklist: is a map; expected"),
        (
            "statsd_metric_namespace_blacklist: {a: b}",
            "statsd_metric_namespace_blacklist: is a map; expected",
        ),
        (
            "dogstatsd_tag_cardinality: lots",
            "dogstatsd_tag_cardinality: \"lots\" is unknown; use none, low, orchestrator, high (default low)",
        ),
        (
            "dogstatsd_eol_required: {udp: true}",
            "dogstatsd_eol_required: is a map; expected a list of udp, uds",
        ),
        (
            "histogram_aggregates: {max: true}",
            "histogram_aggregates: is a map; expected a list of max, min",
        ),
        (
            "histogram_percentiles: {a: 1}",
            "histogram_percentiles: is a map; expected a list of numbers from 0 to 1",
        ),
    ];
    let default = Case::default().loads().config;
    for (yaml, expect) in rows {
        let case = Case { yaml: Some(yaml), ..Case::default() };
        let column = yaml.find(": ").unwrap() + 3;
        case.reports(&[&format!("-C w.yaml:1:{column}: {expect}")]);
        let loaded = case.loads();
        assert!(loaded.degraded(), "{yaml}");
        assert_eq!(loaded.config, default, "{yaml}");
    }
    let env = &[("DD_DOGSTATSD_MAPPER_PROFILES", "[{"), ("DD_DOGSTATSD_TAG_CARDINALITY", "most")];
    Case { env, ..Case::default() }.reports(&[
        "-C DD_DOGSTATSD_TAG_CARDINALITY: dogstatsd_tag_cardinality: \"most\" is unknown",
        "-C DD_DOGSTATSD_MAPPER_PROFILES: dogstatsd_mapper_profiles: is not valid JSON",
    ]);
}

#[test]
fn files_that_cannot_be_used_are_fatal() {
    let load = |file: &str| {
        let file = Some(PathBuf::from(file));
        load(Sources { file, env: [], flags: vec![], mode: Mode::Run })
    };
    let missing = load("/nonexistent/w.yaml").unwrap_err().to_string();
    assert!(missing.starts_with("/nonexistent/w.yaml cannot be read: "), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let empty = load(&path).unwrap_err().to_string();
    assert!(empty.contains("has no whippet.yaml, dogstatsd.yaml, datadog.yaml"), "{empty}");
    std::fs::write(folder.path().join("datadog.yaml"), "lanes: 3").unwrap();
    assert_eq!(load(&path).unwrap().config.lanes, 3);
    std::fs::write(folder.path().join("whippet.yaml"), "lanes: 4").unwrap();
    assert_eq!(load(&path).unwrap().config.lanes, 4);
    Case { env: &[("WHIPPET_CONFIG", "/nonexistent")], ..Case::default() }
        .reports(&["RC WHIPPET_CONFIG: /nonexistent cannot be read: "]);
    Case { yaml: Some("a: 1\na: 2"), ..Case::default() }
        .reports(&["RC w.yaml:2:1: is not valid YAML: the key a is there twice, first in line 1"]);
    Case { yaml: Some("- a"), ..Case::default() }.reports(&["RC w.yaml:1:1: is not a map of keys"]);
}

#[test]
fn relations_between_values_are_checked() {
    Case { flags: &[("statsd_forward_host", "x")], ..Case::default() }
        .reports(&["-- --set statsd_forward_host: statsd_forward_host: has no effect without"]);
    let worker = "observability_pipelines_worker.metrics.enabled";
    Case { flags: &[(worker, "1")], ..Case::default() }
        .reports(&["RC --set observability_pipelines_worker.metrics.enabled: "]);
    Case { flags: &[("forwarder_backoff_base", "100")], ..Case::default() }
        .reports(&["RC --set forwarder_backoff_base: forwarder_backoff_base: 100 is above"]);
    // A maximum below the default base makes every backoff the maximum.
    Case { flags: &[("forwarder_backoff_max", "1")], ..Case::default() }.reports(&[]);
}

#[test]
fn with_use_dogstatsd_false_ports_and_files_are_left_to_the_agent() {
    let yaml = "use_dogstatsd: false\nhealth_port: 5555\nrun_path: /opt/dd/run\nlog_file: /var/log/dd.log\nforwarder_storage_path: /opt/dd/spool\n";
    let case = Case { yaml: Some(yaml), ..Case::default() };
    case.reports(&[
        "-- w.yaml:1:16: use_dogstatsd: does not turn whippet off",
        "-- w.yaml:2:14: health_port: is left to the Agent because use_dogstatsd is false; whippet uses its default, 0 (off); --set health_port=… sets it",
        "-- w.yaml:3:11: run_path: is left to the Agent",
        "-- w.yaml:4:11: log_file: is left to the Agent",
        "-- w.yaml:5:25: forwarder_storage_path: is left to the Agent",
    ]);
    let config = case.loads().config;
    assert_eq!((config.health_port, &config.log_file), (Port::Off, &None));
    let spool = std::path::Path::new("/var/lib/whippet/transactions_to_retry");
    assert_eq!(config.storage_directory(), spool);
    // A source stronger than the shared file is meant for whippet.
    let env = &[("DD_RUN_PATH", "/own"), ("DD_HEALTH_PORT", "5556")];
    let flags = &[("log_file", "/own.log")];
    let own = Case { yaml: Some(yaml), env, flags }.loads().config;
    assert_eq!((own.health_port, own.run_path), (Port::Fixed(5556), "/own".into()));
    assert_eq!(own.log_file, Some("/own.log".into()));
    // The environment may be shared too; a flag may not.
    let env = &[("DD_USE_DOGSTATSD", "0"), env[0]];
    let shared = Case { yaml: Some("health_port: 1"), env, flags }.loads().config;
    assert_eq!((shared.health_port, shared.run_path), (Port::Off, "/var/lib".into()));
    assert_eq!(shared.log_file, Some("/own.log".into()));
    // Without use_dogstatsd: false the file is whippet's.
    let whole = Case { yaml: Some(&yaml[21..]), ..Case::default() };
    whole.reports(&[]);
    assert_eq!(whole.loads().config.health_port, Port::Fixed(5555));
}

#[test]
fn the_older_queue_bound_counts_alone() {
    let old = ("forwarder_retry_queue_max_size", "3");
    fn queue(flags: &[(&str, &str)]) -> u64 {
        let case = Case { flags, ..Case::default() };
        case.loads().config.forwarder_retry_queue_payloads_max_size
    }
    assert_eq!(queue(&[old]), 3 << 21);
    assert_eq!(queue(&[old, ("forwarder_retry_queue_payloads_max_size", "77")]), 77);
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn an_api_key_comes_from_its_file_when_unset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let name = path.display().to_string();
    let env = [("WHIPPET_API_KEY_FILE", name.as_str())];
    let case = Case { env: &env, ..Case::default() };
    case.reports(&["RC WHIPPET_API_KEY_FILE: api_key_file: "]);
    std::fs::write(&path, " \n").unwrap();
    case.reports(&["RC WHIPPET_API_KEY_FILE: api_key_file: "]);
    std::fs::write(&path, format!("{KEY}\n")).unwrap();
    let loaded = case.loads();
    assert_eq!(loaded.config.api_key, Some(Secret::new(KEY)));
    assert_eq!(loaded.origin("api_key"), ValueOrigin::Env("WHIPPET_API_KEY_FILE".into()));
    let env = [env[0], ("DD_API_KEY", "other")];
    let both = Case { env: &env, ..Case::default() }.loads();
    assert_eq!(both.config.api_key, Some(Secret::new("other")));
}

#[cfg(unix)]
#[test]
fn handles_of_secrets_are_resolved_or_refused() {
    let yaml = "api_key: ENC[main]\nadditional_endpoints: {'https://x': ['ENC[second]']}\n";
    Case { yaml: Some(yaml), ..Case::default() }.reports(&[
        "RC w.yaml:1:10: api_key: ENC[…] needs secret_backend_command to be resolved",
        "RC w.yaml:2:23: additional_endpoints: ENC[…] needs secret_backend_command",
    ]);
    let answer = r#"["-c", "echo '{\"main\":{\"value\":\"k1\"},\"second\":{\"value\":\"k2\"}}'"]"#;
    let env = [("DD_SECRET_BACKEND_COMMAND", "/bin/sh"), ("DD_SECRET_BACKEND_ARGUMENTS", answer)];
    let config = Case { yaml: Some(yaml), env: &env, flags: &[] }.loads().config;
    assert_eq!(config.api_key, Some(Secret::new("k1")));
    assert_eq!(config.additional_endpoints[0].api_keys, [Secret::new("k2")]);
}

#[track_caller]
fn chooses(case: Case<'_>, expect: Result<(&[OutputKind], bool), &str>) {
    let outputs = Outputs::choose(&case.loads());
    match (outputs, expect) {
        (Ok(outputs), Ok((list, implied))) => {
            assert_eq!((outputs.list.as_slice(), outputs.implied), (list, implied));
        }
        (Err(problem), Err(about)) => {
            let text = problem.to_string();
            assert!(text.starts_with("api_key: missing, but ") && text.contains(about), "{text}");
        }
        (outputs, expect) => panic!("{outputs:?} is not {expect:?}"),
    }
}

#[test]
fn without_a_key_the_console_is_implied_only_when_nothing_hints_at_a_deployment() {
    let env = |env| Case { env, ..Case::default() };
    chooses(Case::default(), Ok((&[OutputKind::Console], true)));
    chooses(env(&[("DD_API_KEY", KEY)]), Ok((&[OutputKind::Datadog], false)));
    chooses(env(&[("DD_API_KEY", "  ")]), Err("an empty DD_API_KEY suggests"));
    chooses(env(&[("DD_SITE", "datadoghq.eu")]), Err("DD_SITE"));
    chooses(env(&[("DD_URL", "http://x")]), Err("DD_URL"));
    chooses(env(&[("DD_DD_URL", "http://x")]), Err("DD_DD_URL"));
    chooses(Case { flags: &[("site", "datadoghq.eu")], ..Case::default() }, Err("--set site"));
    chooses(Case { yaml: Some("{}"), ..Case::default() }, Err("the configuration file"));
    chooses(env(&[("WHIPPET_OUTPUT", "datadog")]), Err("the datadog output needs one"));
    chooses(
        Case { yaml: Some("output: [console, none, console]"), ..Case::default() },
        Ok((&[OutputKind::Console, OutputKind::None], false)),
    );
}

/// A typical Agent file: most of it does not concern DogStatsD.
const DATADOG_YAML: &str = r#"
api_key: 0123456789abcdef0123456789abcdef
site: datadoghq.eu
hostname: web-1.example.org
tags:
  - team:web
  - env:prod
env: prod
use_dogstatsd: true
dogstatsd_port: 8125
dogstatsd_non_local_traffic: no
dogstatsd_stats_port: 5000
dogstatsd_mapper_profiles:
  - name: airflow
    prefix: "airflow."
    mappings:
      - match: "airflow.job.duration.*.*"
        name: "airflow.job.duration"
        tags: {job_type: "$1"}
statsd_metric_namespace: ""
histogram_percentiles: ["0.95", "0.99"]
proxy:
  https: http://user:hunter2secret@proxy:3128
  no_proxy: [127.0.0.1]
additional_endpoints:
  "https://app.datadoghq.com":
    - fedcba9876543210fedcba9876543210
check_runners: 4
confd_path: /etc/datadog-agent/conf.d
logs_enabled: true
logs_config:
  container_collect_all: true
  processing_rules:
    - type: mask_sequences
      name: cards
      pattern: (?:4[0-9]{12})
apm_config: &apm
  enabled: true
  apm_non_local_traffic: true
  ignore_resources: ["(GET|POST) /health"]
  obfuscation: {redis: {enabled: true}}
process_config: {process_collection: {enabled: true}}
network_config: {enabled: true}
runtime_security_config: {enabled: false}
listeners: [{name: docker}]
config_providers: [{name: docker, polling: true}]
container_exclude: ["image:.*"]
docker_labels_as_tags: {com.example.x: y}
kubernetes_pod_labels_as_tags: {app: kube_app}
jmx_custom_jars: [/a.jar]
collect_ec2_tags: true
cloud_provider_metadata: [aws]
inventories_configuration_enabled: true
otlp_config: {receiver: {protocols: {grpc: {endpoint: "0.0.0.0:4317"}}}}
log_level: WARN
log_file: /var/log/datadog/agent.log
cmd_port: 5001
GUI_port: 5002
telemetry: {enabled: true, checks: "*"}
internal_profiling: {enabled: false}
remote_configuration: {enabled: true}
"#;

#[test]
fn a_file_of_an_agent_in_use_loads_without_a_problem() {
    let case = Case { yaml: Some(DATADOG_YAML), ..Case::default() };
    case.reports(&["-- w.yaml: ignored, unknown to whippet: GUI_port, apm_config.enabled, "]);
    let loaded = case.loads();
    assert_eq!(loaded.config.site, "datadoghq.eu");
    assert_eq!(loaded.config.dogstatsd_mapper_profiles[0].mappings.len(), 1);
    assert_eq!(loaded.config.log_level, LogLevel::Warn);
    let ignored: Vec<&str> = loaded.ignored.iter().map(|(name, ..)| *name).collect();
    assert_eq!(ignored, ["dogstatsd_stats_port", "cmd_port", "telemetry.*"]);
}

/// Keys of the Agent's trace receiver that whippet does not know, as documented by the Agent.
const TRACE_KEYS: &str = "enabled receiver_addr connection_limit max_cpu_percent max_memory \
    max_traces_per_second max_events_per_second max_remote_traces_per_second target_traces_per_second \
    errors_per_second extra_sample_rate max_catalog_services trace_buffer decoders decoder_timeout \
    max_sender_retries max_requests connection_reset_interval ignore_resources log_file log_level \
    log_throttling replace_tags filter_tags.require filter_tags.reject filter_tags_regex.require \
    analyzed_spans obfuscation.enabled profiling_dd_url profiling_additional_endpoints \
    profiling_receiver_timeout debugger_dd_url debugger_additional_endpoints debugger_api_key \
    symdb_dd_url symdb_additional_endpoints evp_proxy_config internal_profiling.enabled features \
    compute_stats_by_span_kind peer_tags_aggregation peer_tags install_id install_type \
    sync_flushing watchdog_check_delay stats_writer.connection_limit trace_writer.connection_limit \
    bucket_size_seconds dd_agent_bin windows_pipe_name span_derived_primary_tags \
    rare_sampler.enabled error_tracking_standalone.enabled client_stats_flush_interval debug.port \
    additional_profile_tags probabilistic_sampler.enabled enable_rare_sampler mode \
    remote_tagger sql_obfuscation_mode opentelemetry_collector openlineage_proxy";

#[test]
fn keys_of_the_agents_trace_receiver_are_no_typing_mistakes() {
    for name in TRACE_KEYS.split_whitespace() {
        let yaml = format!("apm_config.{name}: x\n");
        Case { yaml: Some(&yaml), ..Case::default() }
            .reports(&[&format!("-- w.yaml: ignored, unknown to whippet: apm_config.{name}")]);
        let variable = format!("DD_APM_{}", name.to_uppercase().replace('.', "_"));
        Case { env: &[(&variable, "x")], ..Case::default() }.reports(&[]);
    }
    let yaml = "apm_config: {reciever_port: 1, apm_url: x}";
    Case { yaml: Some(yaml), ..Case::default() }.reports(&[
        "-- w.yaml: ignored, unknown to whippet: apm_config.apm_url",
        "-C w.yaml:1:14: apm_config.reciever_port: unknown; did you mean apm_config.receiver_port?",
    ]);
}

#[test]
fn no_secret_is_ever_printed() {
    let case = Case {
        yaml: Some(DATADOG_YAML),
        env: &[
            ("DD_DD_URL", "https://me:hunter3secret@x:99999"),
            ("DD_API_KEY", "0123456789abcdef 0123456789abcdef"),
        ],
        flags: &[
            ("proxy.http", "u:hunter4secret@p"),
            (
                "additional_endpoints",
                r#"{"http://u:hunter5secret@x:y": ["aaaabbbbccccddddeeeeffff00001111"]}"#,
            ),
        ],
    };
    let examined = case.with(Mode::Check, examine);
    let mut text = format!("{examined:?}");
    let loaded = examined.loaded.unwrap();
    text += &format!("{:?}", loaded.effective());
    examined.problems.iter().for_each(|problem| text += &problem.to_string());
    assert_eq!(examined.problems.len(), 4, "{:#?}", examined.problems);
    for secret in ["hunter", "0123456789ab", "fedcba98", "aaaabbbb"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let shown = loaded.effective().into_iter().find(|(name, ..)| *name == "api_key").unwrap();
    assert_eq!(shown.1, "*****bcdef");
}
