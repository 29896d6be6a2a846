//! Where each route goes on to: base URLs with their keys.

use crate::config::Secret;
use crate::doors::Route;
use crate::forward::{EndpointError, absolute_url, host_and_port};

/// The site used when none is configured.
const DEFAULT_SITE: &str = "datadoghq.com";

/// The configured values that decide where requests go on to.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetSettings {
    /// `site`; empty means datadoghq.com.
    pub site: String,
    /// `api_key`.
    pub api_key: String,
    /// `apm_config.apm_dd_url`; empty means `https://trace.agent.<site>`.
    pub apm_url: String,
    /// `apm_config.additional_endpoints`: URL and its keys.
    pub apm_additional: Vec<(String, Vec<String>)>,
    /// `apm_config.telemetry.dd_url`; empty means `https://instrumentation-telemetry-intake.<site>`.
    pub telemetry_url: String,
    /// `apm_config.telemetry.additional_endpoints`.
    pub telemetry_additional: Vec<(String, Vec<String>)>,
}

/// One base URL with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Without a slash at its end.
    pub base: String,
    pub key: Secret,
    /// The key of the main endpoint, which a reload may exchange.
    pub is_main: bool,
    /// Takes telemetry, else data streams and stats.
    pub telemetry: bool,
}

impl Target {
    /// What logs and labels call it: `host[:port]`.
    pub fn name(&self) -> &str {
        host_and_port(&self.base)
    }

    pub fn takes(&self, route: Route) -> bool {
        self.telemetry == (route == Route::Telemetry)
    }
}

/// The targets of the routes asked for. Empty and repeated keys of one URL vanish.
///
/// # Errors
/// Every value that is no URL, with its key of the configuration.
pub(super) fn targets(
    settings: &TargetSettings,
    routes: &[Route],
) -> Result<Vec<Target>, Vec<EndpointError>> {
    let site = match settings.site.trim().trim_end_matches('.') {
        "" => DEFAULT_SITE,
        site => site,
    };
    let mut found: Vec<Target> = Vec::new();
    let mut errors = Vec::new();
    let mut add = |name: &str, url: &str, key: &str, is_main: bool, telemetry: bool| {
        let key = Secret::new(key);
        match absolute_url(name, url) {
            Err(error) => errors.push(error),
            Ok(_) if key.is_empty() => {}
            Ok(base) => {
                let same = |other: &Target| {
                    (&other.base, &other.key, other.telemetry) == (&base, &key, telemetry)
                };
                if !found.iter().any(same) {
                    found.push(Target { base, key, is_main, telemetry });
                }
            }
        }
    };
    let or_site = |url: &str, host: &str| match url.trim() {
        "" => format!("https://{host}.{site}"),
        url => url.to_owned(),
    };
    let main_key = &settings.api_key;
    if routes.iter().any(|route| *route != Route::Telemetry) {
        let url = or_site(&settings.apm_url, "trace.agent");
        add("apm_config.apm_dd_url", &url, main_key, true, false);
        for (url, keys) in &settings.apm_additional {
            let name = "apm_config.additional_endpoints";
            keys.iter().for_each(|key| add(name, url, key, false, false));
        }
    }
    if routes.contains(&Route::Telemetry) {
        let url = or_site(&settings.telemetry_url, "instrumentation-telemetry-intake");
        add("apm_config.telemetry.dd_url", &url, main_key, true, true);
        for (url, keys) in &settings.telemetry_additional {
            let name = "apm_config.telemetry.additional_endpoints";
            keys.iter().for_each(|key| add(name, url, key, false, true));
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn gives(settings: &TargetSettings, routes: &[Route], expect: &[&str]) {
        let found = targets(settings, routes).unwrap();
        let found: Vec<String> =
            found.iter().map(|to| format!("{} {}", to.base, to.key.expose())).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn the_site_decides_unless_a_url_does() {
        let mut settings = TargetSettings { api_key: "k".to_owned(), ..TargetSettings::default() };
        gives(&settings, &[Route::DataStreams], &["https://trace.agent.datadoghq.com k"]);
        gives(&settings, &[Route::Stats], &["https://trace.agent.datadoghq.com k"]);
        settings.site = "datadoghq.eu.".to_owned();
        let telemetry = "https://instrumentation-telemetry-intake.datadoghq.eu k";
        gives(&settings, &[Route::Telemetry], &[telemetry]);
        gives(
            &settings,
            &[Route::Telemetry, Route::Stats],
            &["https://trace.agent.datadoghq.eu k", telemetry],
        );
        settings.apm_url = "http://127.0.0.1:1/".to_owned();
        settings.telemetry_url = "http://127.0.0.1:2/base/".to_owned();
        gives(
            &settings,
            &[Route::Telemetry, Route::DataStreams],
            &["http://127.0.0.1:1 k", "http://127.0.0.1:2/base k"],
        );
        gives(&settings, &[], &[]);
    }

    #[test]
    fn additional_endpoints_have_keys_of_their_own() {
        let keys = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        let settings = TargetSettings {
            api_key: "k".to_owned(),
            apm_url: "http://a".to_owned(),
            apm_additional: vec![
                ("http://b".to_owned(), keys(&["1", "", "2", "1"])),
                ("http://a/".to_owned(), keys(&["k", "3"])),
            ],
            telemetry_url: "http://a".to_owned(),
            telemetry_additional: vec![("http://c".to_owned(), keys(&["4"]))],
            ..TargetSettings::default()
        };
        let apm = ["http://a k", "http://b 1", "http://b 2", "http://a 3"];
        gives(&settings, &[Route::DataStreams], &apm);
        gives(&settings, &[Route::Telemetry], &["http://a k", "http://c 4"]);
    }

    #[test]
    fn every_bad_url_is_named_with_its_key() {
        let settings = TargetSettings {
            api_key: "k".to_owned(),
            apm_url: "trace.example".to_owned(),
            telemetry_additional: vec![("ftp://x".to_owned(), vec!["1".to_owned()])],
            ..TargetSettings::default()
        };
        let errors = targets(&settings, &[Route::Stats, Route::Telemetry]).unwrap_err();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "apm_config.apm_dd_url: \"trace.example\" is not an absolute http:// or https:// URL",
                "apm_config.telemetry.additional_endpoints: \"ftp://x\" is not an absolute http:// \
                 or https:// URL",
            ]
        );
    }
}
