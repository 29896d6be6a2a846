//! Any file and environment gives a configuration that can run, and problems that can be read.
//!
//! The input up to its first zero byte is the YAML file; each part after it, also ended by a zero
//! byte, is a `NAME=value` of the environment, or a metric name that the rules are given.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use whippet::config::{self, Config, Examined, Mode, Sources};
use whippet::context::{Claims, Mapper, NameFilter, Namespace, Rules, TagFilters};

thread_local! {
    static FILE: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// One input.
pub fn run(input: &[u8]) {
    // A file may name a program that resolves secrets: the one thing a fuzzer must not be given.
    let text = String::from_utf8_lossy(input).to_ascii_lowercase();
    if text.contains("backend") || text.contains("enc[") || text.contains("_file") {
        return;
    }
    let mut parts = input.split(|byte| *byte == 0);
    let yaml = parts.next().unwrap_or_default();
    let (settings, names): (Vec<&[u8]>, Vec<&[u8]>) = parts.partition(|part| part.contains(&b'='));
    let env: Vec<(String, String)> = settings
        .into_iter()
        .filter_map(|part| {
            let part = std::str::from_utf8(part).ok()?;
            part.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        })
        .filter(|(name, _)| name != config::CONFIG_ENV)
        .collect();
    let path = FILE.with_borrow_mut(|file| file.get_or_insert_with(own_file).clone());
    fs::write(&path, yaml).expect("a writable folder for temporary files");
    let Examined { loaded, problems } =
        config::examine(Sources { file: Some(path), env, flags: Vec::new(), mode: Mode::Run });
    for problem in &problems {
        assert!(!problem.to_string().trim().is_empty());
    }
    let loaded = loaded.expect("there is always a configuration");
    for (key, value, _) in loaded.effective() {
        assert!(!key.is_empty());
        if matches!(key, "api_key" | "additional_endpoints") {
            let keys = loaded.config.additional_endpoints.iter().flat_map(|one| &one.api_keys);
            for secret in keys.chain(&loaded.config.api_key) {
                let long = secret.expose().chars().count() > 12;
                let url_free = key == "api_key";
                assert!(!long || !url_free || !value.contains(secret.expose()), "{key} is shown");
            }
        }
    }
    can_run(&loaded.config);
    rules_hold(&loaded.config, &names);
}

fn own_file() -> PathBuf {
    let name = format!("whippet-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
    std::env::temp_dir().join(name)
}

/// What the server does with the values without asking again.
fn can_run(config: &Config) {
    assert!(!config.interval.is_zero() && config.lanes >= 1);
    let now = Instant::now();
    for time in [
        config.interval,
        config.stop_within(),
        config.forwarder_timeout,
        config.forwarder_apikey_validation_interval,
        config.dogstatsd_expiry_seconds,
        config.dogstatsd_context_expiry_seconds,
        config.receive_pause,
    ] {
        assert!(now.checked_add(time).is_some(), "{time:?} ends beyond the clock");
    }
    for seconds in [config.forwarder_backoff_base, config.forwarder_backoff_max] {
        let time = Duration::try_from_secs_f64(seconds).expect("a time");
        assert!(now.checked_add(time).is_some(), "{time:?} ends beyond the clock");
    }
    let _ = (config.common_tags(), config.storage_directory());
}

/// Rules are made of anything, and give every name a name, common tags and all.
fn rules_hold(config: &Config, names: &[&[u8]]) {
    let (mapper, problems) = Mapper::new(&config.dogstatsd_mapper_profiles);
    for problem in &problems {
        assert!(!problem.to_string().is_empty());
    }
    let (filtered, prefixes) = config.metric_filter();
    let rules = Rules {
        namespace: Namespace::new(
            config.statsd_metric_namespace.as_deref().unwrap_or_default(),
            &config.statsd_metric_namespace_blacklist,
        ),
        mapper,
        name_filter: NameFilter::new(filtered, prefixes),
        tag_filters: TagFilters::new(&config.metric_tag_filterlist),
        ..Rules::default()
    };
    let known: [&[u8]; 2] = [b"airflow.job.duration.a.b", b"a.1"];
    for name in known.iter().chain(names).filter(|name| !name.is_empty()) {
        let _ =
            rules.rewrite(name, b"env:prod,host:h,dd.internal.card:low,id:7", &Claims::default());
    }
}
