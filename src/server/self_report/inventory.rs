//! What whippet is: settings with their origins, products, sources and sinks, packages.

use std::sync::Arc;

use crate::admin::AdminState;
use crate::config::key::Key;
use crate::config::{Config, DoorMode, Loaded, OutputKind, Port, ValueOrigin, keys};
use crate::net::Transport;
use crate::telemetry_client::{Client, Dependency, Integration, Origin, Setting, SettingValue};

/// `name version` per line: what the build knows of packages.
const PACKAGES: &str = include_str!(concat!(env!("OUT_DIR"), "/dependencies.txt"));

/// What stands for the value of a secret.
const REDACTED: &str = "<redacted>";

/// Whether the parts of the server work.
pub(in crate::server) struct Parts<S = Arc<AdminState>> {
    /// Listeners that are open.
    pub open: Vec<Transport>,
    /// Default listeners that could not be opened, and why.
    pub failed: Vec<(Transport, String)>,
    /// Where the numbers are.
    pub state: S,
}

impl Parts {
    /// Of a running server.
    pub fn of(state: &Arc<AdminState>) -> Self {
        Parts {
            open: state.listeners.iter().map(|listener| listener.transport).collect(),
            failed: state
                .listeners_off
                .iter()
                .map(|off| (off.transport, off.detail.clone()))
                .collect(),
            state: Arc::clone(state),
        }
    }
}

impl Parts<()> {
    /// As configured, if everything works.
    pub fn expected(config: &Config) -> Self {
        let open = [
            (Transport::Udp, config.dogstatsd_port != Port::Off),
            (Transport::UnixDatagram, config.dogstatsd_socket.is_some()),
            (Transport::UnixStream, config.dogstatsd_stream_socket.is_some()),
            (Transport::Tcp, config.dogstatsd_tcp_port != Port::Off),
        ];
        let open = open.into_iter().filter(|(_, on)| *on).map(|(transport, _)| transport).collect();
        Parts { open, failed: Vec::new(), state: () }
    }
}

/// Tells everything.
pub(super) fn tell<S>(client: &Client, loaded: &Loaded, parts: &Parts<S>) {
    client.configuration(settings(loaded));
    products(client, loaded, parts);
    for name in integrations() {
        client.integration(Integration::new(name, env!("CARGO_PKG_VERSION")));
    }
    client.dependencies(packages);
}

/// Every effective setting. Of secrets it is told that there is one; names that say so are left out
/// by the client.
pub(super) fn settings(loaded: &Loaded) -> Vec<Setting> {
    let effective = loaded.effective().into_iter();
    effective
        .map(|(name, value, origin)| {
            let is_secret = keys::find(name).is_some_and(Key::secret);
            let value: SettingValue = match value.as_str() {
                "(unset)" => SettingValue::Null,
                _ if is_secret => REDACTED.into(),
                value => value.into(),
            };
            let origin = match origin {
                ValueOrigin::Default => Origin::Default,
                ValueOrigin::File { .. } => Origin::DdConfig,
                ValueOrigin::Env(_) => Origin::EnvVar,
                ValueOrigin::Flag(_) => Origin::Code,
            };
            Setting::new(name, value, origin)
        })
        .collect()
}

/// Listeners and outputs.
fn products<S>(client: &Client, loaded: &Loaded, parts: &Parts<S>) {
    for (name, transport) in [
        ("dogstatsd_udp", Transport::Udp),
        ("dogstatsd_uds", Transport::UnixDatagram),
        ("dogstatsd_uds_stream", Transport::UnixStream),
        ("dogstatsd_tcp", Transport::Tcp),
    ] {
        let failed = parts.failed.iter().find(|(failed, _)| *failed == transport);
        match failed {
            _ if parts.open.contains(&transport) => client.product_started(name),
            Some((_, why)) => client.product_failed(name, 0, why),
            None => client.product_stopped(name),
        }
    }
    let config = &loaded.config;
    let doors = config.doors_open();
    let posts = crate::config::Outputs::choose(loaded)
        .is_ok_and(|outputs| outputs.list.contains(&OutputKind::Datadog));
    for (name, on) in [
        ("http_intake", doors && config.doors_api != DoorMode::Off),
        ("dsm", doors && config.doors_data_streams != DoorMode::Off),
        ("trace_stats", doors && config.doors_stats != DoorMode::Off),
        ("telemetry_intake", doors && config.telemetry_door() != DoorMode::Off),
        ("forwarder", posts),
    ] {
        if on { client.product_started(name) } else { client.product_stopped(name) }
    }
}

/// Sources and sinks that are compiled in.
fn integrations() -> impl Iterator<Item = &'static str> {
    [
        ("dogstatsd", true),
        ("http_doors", true),
        ("output_console", true),
        ("output_datadog", true),
        ("output_jsonl", true),
        ("zstd", cfg!(feature = "zstd")),
        ("global", cfg!(feature = "global")),
    ]
    .into_iter()
    .filter(|(_, compiled_in)| *compiled_in)
    .map(|(name, _)| name)
}

/// The packages that are built in.
fn packages() -> Vec<Dependency> {
    let lines = PACKAGES.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(name, version)| Dependency { name: name.into(), version: version.into() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mode, Sources, load};

    const KEY: &str = "4f1c2a9b7d3e5f60718293a4b5c6d7e8";

    fn loaded(env: &[(&str, &str)]) -> Loaded {
        let env: Vec<(String, String)> =
            env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let flags = vec![("log_level".to_owned(), "warn".to_owned())];
        load(Sources { file: None, env, flags, mode: Mode::Run }).unwrap()
    }

    #[test]
    fn settings_have_values_origins_and_no_secrets() {
        let endpoints = format!(r#"{{"https://user:hunter2@other.example": ["{KEY}"]}}"#);
        let settings = settings(&loaded(&[
            ("DD_API_KEY", KEY),
            ("DD_ADDITIONAL_ENDPOINTS", &endpoints),
            ("DD_PROXY_HTTPS", "http://user:hunter2@proxy.example:3128"),
            ("DD_ENV", "prod"),
        ]));
        let find = |name: &str| {
            let found = settings.iter().find(|setting| setting.name == name).unwrap();
            (found.value.clone(), found.origin)
        };
        assert_eq!(find("env"), ("prod".into(), Origin::EnvVar));
        assert_eq!(find("log_level"), ("warn".into(), Origin::Code));
        assert_eq!(find("dogstatsd_port"), ("8125".into(), Origin::Default));
        assert_eq!(find("dd_url"), (SettingValue::Null, Origin::Default));
        assert_eq!(find("api_key"), (REDACTED.into(), Origin::EnvVar));
        assert_eq!(find("additional_endpoints"), (REDACTED.into(), Origin::EnvVar));
        let all = format!("{settings:?}");
        for secret in [KEY, &KEY[27..], "hunter2"] {
            assert!(!all.contains(secret), "{secret}: {all}");
        }
    }

    #[test]
    fn every_package_of_the_build_is_listed_once() {
        let packages = packages();
        let version =
            |name: &str| packages.iter().find(|one| one.name == name).map(|one| &one.version);
        assert!(version("serde_json").is_some_and(|version| version.starts_with("1.")));
        assert!(version("tracing").is_some() && version("mio").is_some());
        // Tests, other systems, and tools of the build.
        for other in ["criterion", "windows-sys", "cc", "whippet"] {
            assert_eq!(version(other), None, "{other}");
        }
        let mut names: Vec<String> =
            packages.iter().map(|one| format!("{} {}", one.name, one.version)).collect();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
