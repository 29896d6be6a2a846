//! Where payloads go: from the configured site, URL and keys to a list of endpoints.

use crate::config::Secret;
use crate::encode::Route;
use thiserror::Error;

/// The site used when none is configured.
const DEFAULT_SITE: &str = "datadoghq.com";

/// Domains that Datadog itself answers for, below an optional data-centre label such as `us3.`.
const DATADOG_DOMAINS: [&str; 5] =
    ["datadoghq.com", "datadoghq.eu", "datad0g.com", "datad0g.eu", "ddog-gov.com"];

/// One destination: base URLs per route and one API key. Every payload goes once to each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What logs and reports call it: the host of the series routes.
    pub name: String,
    /// The key, sent as a header; it can be exchanged while the forwarder runs.
    pub api_key: Secret,
    bases: [String; Route::ALL.len()],
    validate_base: String,
}

impl Endpoint {
    /// An endpoint that takes every route, and the key check, at one base URL.
    ///
    /// # Errors
    /// When `url` is not an absolute http or https URL.
    pub fn at(url: &str, api_key: &str) -> Result<Self, EndpointError> {
        Ok(Bases::custom("dd_url", url)?.with_key(Secret::new(api_key)))
    }

    /// The full URL of a route.
    #[must_use]
    pub fn url(&self, route: Route) -> String {
        format!("{}{}", self.bases[route as usize], route.path())
    }

    /// [`Endpoint::url`] for people: without the user and password that it may hold.
    #[must_use]
    pub fn shown_url(&self, route: Route) -> String {
        without_credentials(&self.url(route))
    }

    /// The base URL of a route, without the path and without a slash at its end.
    #[must_use]
    pub fn base(&self, route: Route) -> &str {
        &self.bases[route as usize]
    }

    /// The base URL that answers `/api/v1/validate`.
    #[must_use]
    pub fn validate_base(&self) -> &str {
        &self.validate_base
    }
}

/// The configured values that decide the endpoints.
#[derive(Clone, Debug, Default)]
pub struct EndpointSettings {
    /// `site`; empty means datadoghq.com.
    pub site: String,
    /// `dd_url`; empty means the site decides, anything else wins over it.
    pub dd_url: String,
    /// `api_key`.
    pub api_key: String,
    /// `additional_endpoints`: URL and its keys.
    pub additional_endpoints: Vec<(String, Vec<String>)>,
    /// Base URLs of single routes of the main endpoint, with the configuration key that set them.
    pub route_overrides: Vec<(&'static str, Route, String)>,
}

/// A configured value that names no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key}: {value:?} {expected}")]
pub struct EndpointError {
    /// The configuration key at fault.
    pub key: String,
    /// The value, without credentials.
    pub value: String,
    /// What is wrong and what was expected.
    pub expected: &'static str,
}

/// The endpoints that the settings describe, the main one first. Empty and repeated keys vanish;
/// an additional URL that is the main one adds its keys there.
///
/// # Errors
/// Every value at fault, each with its configuration key.
pub fn endpoints(settings: &EndpointSettings) -> Result<Vec<Endpoint>, Vec<EndpointError>> {
    let mut errors = Vec::new();
    let mut found: Vec<Endpoint> = Vec::new();
    let main = main_bases(settings).map_err(|error| errors.push(error)).ok();
    let api_key = Secret::new(&settings.api_key);
    if api_key.is_empty() {
        errors.push(error("api_key", "", "is empty; set DD_API_KEY to send"));
    }
    if let Some(main) = &main {
        found.push(main.clone().with_key(api_key));
    }
    for (url, keys) in &settings.additional_endpoints {
        let bases = match Bases::custom("additional_endpoints", url) {
            Ok(bases) => bases,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let bases = main.as_ref().filter(|main| main.is_same_place(&bases)).unwrap_or(&bases);
        for key in keys.iter().map(|key| Secret::new(key)).filter(|key| !key.is_empty()) {
            let endpoint = bases.clone().with_key(key);
            if !found.contains(&endpoint) {
                found.push(endpoint);
            }
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// The main endpoint's base URLs: `dd_url`, else the site, then overrides of single routes.
fn main_bases(settings: &EndpointSettings) -> Result<Bases, EndpointError> {
    let mut bases = if settings.dd_url.trim().is_empty() {
        Bases::of_site(&settings.site)?
    } else {
        Bases::custom("dd_url", &settings.dd_url)?
    };
    for (key, route, url) in &settings.route_overrides {
        bases.routes[*route as usize] = absolute_url(key, url)?;
    }
    Ok(bases)
}

/// An endpoint without its key.
#[derive(Clone, Debug)]
struct Bases {
    routes: [String; Route::ALL.len()],
    validate: String,
}

impl Bases {
    /// Metrics go to `api.<site>`, the documented host; events and checks to `app.<site>`, since
    /// only there `/intake/` is known to be taken.
    fn of_site(site: &str) -> Result<Self, EndpointError> {
        let site = match site.trim().trim_end_matches('.') {
            "" => DEFAULT_SITE,
            site => site,
        };
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        if !site.bytes().all(is_host) || site.split('.').any(str::is_empty) {
            return Err(error("site", site, "is not a host name such as datadoghq.eu"));
        }
        let (api, app) = (format!("https://api.{site}"), format!("https://app.{site}"));
        let routes = Route::ALL.map(|route| match route {
            Route::Events | Route::ServiceChecks => app.clone(),
            _ => api.clone(),
        });
        Ok(Bases { routes, validate: api })
    }

    fn custom(key: &str, url: &str) -> Result<Self, EndpointError> {
        let base = absolute_url(key, url)?;
        let validate = match datadog_site(host_of(&base)) {
            Some(site) => format!("https://api.{site}"),
            None => base.clone(),
        };
        Ok(Bases { routes: Route::ALL.map(|_| base.clone()), validate })
    }

    /// True when both mean one intake: the same URL, or the `app` or `api` host of one site.
    fn is_same_place(&self, other: &Bases) -> bool {
        let series = |bases: &Bases| bases.routes[Route::SeriesV2 as usize].clone();
        let owned = |url: &str| {
            let host = host_of(url);
            let site = host.strip_prefix("app.").or_else(|| host.strip_prefix("api."))?;
            datadog_site(host).filter(|found| *found == site).map(str::to_owned)
        };
        let (mine, theirs) = (series(self), series(other));
        mine == theirs || (owned(&mine).is_some() && owned(&mine) == owned(&theirs))
    }

    fn with_key(self, api_key: Secret) -> Endpoint {
        let name = host_and_port(&self.routes[Route::SeriesV2 as usize]).to_owned();
        Endpoint { name, api_key, bases: self.routes, validate_base: self.validate }
    }
}

/// Checks a base URL and takes the slashes off its end.
pub(crate) fn absolute_url(key: &str, text: &str) -> Result<String, EndpointError> {
    let url = text.trim().trim_end_matches('/');
    let scheme_end = url.find("://").unwrap_or(0);
    let scheme = url[..scheme_end].to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err(error(key, url, "is not an absolute http:// or https:// URL"));
    }
    if url.contains(['?', '#']) {
        return Err(error(key, url, "must not have a query or fragment"));
    }
    match url.parse::<ureq::http::Uri>() {
        Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(url.to_owned()),
        _ => Err(error(key, url, "is not a URL with a host")),
    }
}

/// An error that never quotes credentials out of a URL.
fn error(key: &str, value: &str, expected: &'static str) -> EndpointError {
    EndpointError { key: key.to_owned(), value: without_credentials(value), expected }
}

fn without_credentials(url: &str) -> String {
    // A query may hold a key.
    if let Some(query) = url.find(['?', '#']) {
        return format!("{}***", without_credentials(&url[..query]) + &url[query..=query]);
    }
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}://*****{}", &url[..scheme], &url[at..])
        }
        _ => url.to_owned(),
    }
}

/// `host[:port]` of a checked URL, without credentials.
pub(crate) fn host_and_port(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority)
}

/// The host of a checked URL, without port and final dot.
pub(super) fn host_of(url: &str) -> &str {
    let authority = host_and_port(url);
    let host = if authority.starts_with('[') {
        authority.split(']').next().map_or(authority, |host| &host[1..])
    } else {
        authority.split(':').next().unwrap_or(authority)
    };
    host.trim_end_matches('.')
}

/// The Datadog site a host belongs to: a known domain, with its data-centre label if there is one.
fn datadog_site(host: &str) -> Option<&str> {
    let domain = DATADOG_DOMAINS.iter().find(|domain| {
        host.strip_suffix(**domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })?;
    let rest = host[..host.len() - domain.len()].trim_end_matches('.');
    let label = rest.rsplit('.').next().unwrap_or("");
    let letters = label.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = label.len() - letters.len();
    let is_data_centre = letters.len() >= 2
        && (1..=2).contains(&digits)
        && letters.bytes().all(|b| b.is_ascii_lowercase());
    let start = host.len() - domain.len() - if is_data_centre { label.len() + 1 } else { 0 };
    Some(&host[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn settings(site: &str, dd_url: &str) -> EndpointSettings {
        EndpointSettings {
            site: site.to_owned(),
            dd_url: dd_url.to_owned(),
            api_key: KEY.to_owned(),
            ..EndpointSettings::default()
        }
    }

    #[track_caller]
    fn posts(site: &str, dd_url: &str, series: &str, events: &str, validate: &str) {
        let found = endpoints(&settings(site, dd_url)).expect("valid settings");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].url(Route::SeriesV2), format!("{series}/api/v2/series"));
        assert_eq!(found[0].url(Route::Sketches), format!("{series}/api/beta/sketches"));
        assert_eq!(found[0].url(Route::Events), format!("{events}/intake/"));
        assert_eq!(found[0].url(Route::ServiceChecks), format!("{events}/api/v1/check_run"));
        assert_eq!(found[0].validate_base(), validate);
    }

    #[test]
    fn the_site_names_two_hosts_and_dd_url_wins_over_it() {
        let api = |site: &str| format!("https://api.{site}");
        let app = |site: &str| format!("https://app.{site}");
        for (site, means) in [
            ("", "datadoghq.com"),
            ("datadoghq.eu", "datadoghq.eu"),
            (" us3.datadoghq.com. ", "us3.datadoghq.com"),
        ] {
            posts(site, "", &api(means), &app(means), &api(means));
        }
        let local = "http://127.0.0.1:8080";
        posts("datadoghq.eu", local, local, local, local);
        posts("", "http://127.0.0.1:8080/", local, local, local);
        posts("", "https://proxy.corp/dd/", "https://proxy.corp/dd", "https://proxy.corp/dd", {
            "https://proxy.corp/dd"
        });
        let owned = "https://app.us5.datadoghq.com";
        posts("", owned, owned, owned, "https://api.us5.datadoghq.com");
    }

    #[track_caller]
    fn refuses(site: &str, dd_url: &str, message: &str) {
        let errors = endpoints(&settings(site, dd_url)).expect_err("invalid settings");
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts, [message]);
    }

    #[test]
    fn a_bad_value_is_named_with_its_key_and_without_its_password() {
        let absolute = "is not an absolute http:// or https:// URL";
        refuses("", "intake.corp", &format!("dd_url: \"intake.corp\" {absolute}"));
        refuses("", "ftp://intake", &format!("dd_url: \"ftp://intake\" {absolute}"));
        refuses("", "http://", "dd_url: \"http:\" is not an absolute http:// or https:// URL");
        refuses("", "http://:80", "dd_url: \"http://:80\" is not a URL with a host");
        refuses(
            "",
            "http://u:p@h/?x",
            "dd_url: \"http://*****@h/?***\" must not have a query or fragment",
        );
        refuses("data dog", "", "site: \"data dog\" is not a host name such as datadoghq.eu");
        refuses("https://x", "", "site: \"https://x\" is not a host name such as datadoghq.eu");
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let mut bad = settings("", "nowhere");
        bad.api_key = " ".to_owned();
        bad.additional_endpoints = vec![("also nowhere".to_owned(), vec!["k".to_owned()])];
        let keys: Vec<String> = endpoints(&bad).unwrap_err().into_iter().map(|e| e.key).collect();
        assert_eq!(keys, ["dd_url", "api_key", "additional_endpoints"]);
    }

    #[test]
    fn additional_keys_join_the_same_place_and_repeats_vanish() {
        let mut dual = settings("", "");
        dual.additional_endpoints = vec![
            ("https://app.datadoghq.com".to_owned(), vec![KEY.to_owned(), "second".to_owned()]),
            ("https://app.datadoghq.eu/".to_owned(), vec![String::new(), "third".to_owned()]),
        ];
        let found = endpoints(&dual).expect("valid");
        let list: Vec<(String, &str)> =
            found.iter().map(|e| (e.url(Route::SeriesV2), e.api_key.expose())).collect();
        assert_eq!(
            list,
            [
                ("https://api.datadoghq.com/api/v2/series".to_owned(), KEY),
                ("https://api.datadoghq.com/api/v2/series".to_owned(), "second"),
                ("https://app.datadoghq.eu/api/v2/series".to_owned(), "third"),
            ]
        );
    }

    #[test]
    fn a_route_can_have_its_own_base() {
        let mut own = settings("datadoghq.eu", "");
        own.route_overrides = vec![("sketches_url", Route::Sketches, "http://side:1".to_owned())];
        let found = endpoints(&own).expect("valid");
        assert_eq!(found[0].url(Route::Sketches), "http://side:1/api/beta/sketches");
        assert_eq!(found[0].url(Route::SeriesV2), "https://api.datadoghq.eu/api/v2/series");
        own.route_overrides[0].2 = "side".to_owned();
        assert_eq!(endpoints(&own).unwrap_err()[0].key, "sketches_url");
    }
}
