//! Paths: which route a request is for, and with which methods.

use axum::http::Method;

use super::Route;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub route: Route,
    /// Methods it takes; none when every one is answered 404.
    pub methods: Methods,
}

type Methods = &'static [&'static str];

impl Place {
    pub fn takes(&self, method: &Method) -> bool {
        self.methods.contains(&method.as_str())
    }
}

/// Clients of an Agent use either (py and js send stats and traces with PUT).
const AGENT: Methods = &["POST", "PUT"];
const PAGE: Methods = &["GET", "HEAD"];
const API: Methods = &["POST"];

/// Every path that a door knows, apart from those of traces.
const PATHS: [(&str, Route, Methods); 12] = [
    ("/info", Route::Info, PAGE),
    ("/v0.6/stats", Route::Stats, AGENT),
    ("/v0.1/pipeline_stats", Route::DataStreams, AGENT),
    ("/telemetry/proxy/api/v2/apmtelemetry", Route::Telemetry, AGENT),
    ("/dogstatsd/v1/proxy", Route::Dogstatsd, AGENT),
    ("/dogstatsd/v2/proxy", Route::Dogstatsd, AGENT),
    ("/api/v1/series", Route::Api, API),
    ("/api/v1/distribution_points", Route::Api, API),
    ("/api/v1/events", Route::Api, API),
    ("/api/v1/check_run", Route::Api, API),
    ("/api/v2/series", Route::Api, API),
    ("/api/v1/validate", Route::Api, PAGE),
];

/// `/v0.1/traces` to `/v0.5/traces`, and what older clients send beside them.
fn is_of_traces(path: &str) -> bool {
    let parts = path.strip_prefix("/v0.").and_then(|rest| rest.split_once('/'));
    parts.is_some_and(|(version, kind)| {
        matches!(version, "1" | "2" | "3" | "4" | "5")
            && matches!(kind, "traces" | "spans" | "services")
    })
}

/// Without the query and one trailing `/`; nothing else is normalised.
pub(super) fn trimmed(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some(rest) if !rest.is_empty() => rest,
        _ => path,
    }
}

/// The place of a trimmed path.
pub(super) fn find(path: &str) -> Option<Place> {
    let place = |route, methods| Some(Place { route, methods });
    if is_of_traces(path) {
        return place(Route::Traces, AGENT);
    }
    match PATHS.iter().find(|(known, ..)| *known == path) {
        Some((_, route, methods)) => place(*route, methods),
        None if path.starts_with("/api/") => place(Route::Api, &[]),
        None => None,
    }
}

/// What `/info` names of a route, so that clients use it.
pub(super) fn listed(route: Route) -> &'static [&'static str] {
    match route {
        Route::Traces => &["/v0.3/traces", "/v0.4/traces", "/v0.5/traces"],
        Route::Stats => &["/v0.6/stats"],
        Route::DataStreams => &["/v0.1/pipeline_stats"],
        Route::Telemetry => &["/telemetry/proxy/"],
        Route::Dogstatsd => &["/dogstatsd/v1/proxy", "/dogstatsd/v2/proxy"],
        Route::Info | Route::Api | Route::Upstream | Route::Other => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_as_it_stands_but_for_one_slash_at_its_end() {
        let route = |path| find(trimmed(path)).map(|place| place.route);
        assert_eq!(route("/v0.6/stats"), Some(Route::Stats));
        assert_eq!(route("/v0.6/stats/"), Some(Route::Stats));
        assert_eq!(route("/v0.6/stats//"), None);
        assert_eq!(route("/x/../v0.6/stats"), None);
        assert_eq!(route("//v0.6/stats"), None);
        assert_eq!(route("/V0.6/stats"), None);
        assert_eq!(route("/"), None);
        assert_eq!(route("/api"), None);
        for path in ["/v0.1/spans", "/v0.2/services", "/v0.3/traces", "/v0.5/traces/"] {
            assert_eq!(route(path), Some(Route::Traces), "{path}");
        }
        for path in
            ["/v0.6/traces", "/v0.7/traces", "/v0.0/traces", "/v0.4/traces/x", "/v1.0/traces"]
        {
            assert_eq!(route(path), None, "{path}");
        }
        assert_eq!(find("/api/v2/logs"), Some(Place { route: Route::Api, methods: &[] }));
    }

    #[test]
    fn methods_are_whole_words() {
        let place = find("/v0.4/traces").unwrap();
        assert!(place.takes(&Method::POST) && place.takes(&Method::PUT));
        assert!(!place.takes(&Method::GET) && !place.takes(&Method::from_bytes(b"PU").unwrap()));
        assert!(find("/info").unwrap().takes(&Method::GET));
        assert!(!find("/api/v1/series").unwrap().takes(&Method::PUT));
    }

    #[test]
    fn everything_listed_leads_to_its_route() {
        for route in Route::ALL {
            for path in listed(route) {
                let whole =
                    PATHS.iter().map(|(known, ..)| *known).find(|known| known.starts_with(path));
                let found = find(whole.unwrap_or(path));
                assert_eq!(found.map(|place| place.route), Some(route), "{path}");
            }
        }
    }
}
