//! Any file and environment gives a configuration that can run, and problems that can be read.
//!
//! The input up to its first zero byte is the YAML file; each part after it, also ended by a zero
//! byte, is a `NAME=value` of the environment.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use whippet::config::{self, Config, Examined, MatchType, Mode, Sources};

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
    let env: Vec<(String, String)> = parts
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
    for mapping in config.dogstatsd_mapper_profiles.iter().flat_map(|profile| &profile.mappings) {
        match mapping.match_type {
            MatchType::Wildcard => assert!(mapping.pattern.is_ascii(), "{}", mapping.pattern),
            MatchType::Regex => assert!(!mapping.pattern.is_empty()),
        }
    }
}
