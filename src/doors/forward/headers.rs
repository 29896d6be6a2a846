//! Which headers of a client are passed on, and which are ours.

use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::Agent;
use crate::doors::Route;

/// Hop-by-hop headers (RFC 9110, 7.6.1, and the older ones of RFC 2616, 13.5.1).
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
];
/// The client's key is never passed on: we deliver with our own.
const KEY: HeaderName = HeaderName::from_static("dd-api-key");

/// The headers that a proxy passes on: all but those for one connection, those that `Connection`
/// names, and those that the next connection gets anew (`Host`, `Content-Length`, `Expect`).
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut named: Vec<String> = Vec::new();
    for value in headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()) {
        named.extend(value.split(',').map(|name| name.trim().to_ascii_lowercase()));
    }
    let stays = |name: &HeaderName| {
        HOP_BY_HOP.contains(name)
            || [HOST, CONTENT_LENGTH, EXPECT].contains(name)
            || name.as_str().starts_with("proxy-")
            || named.iter().any(|other| other == name.as_str())
    };
    let mut passed = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers.iter().filter(|(name, _)| !stays(name)) {
        passed.append(name, value.clone());
    }
    passed
}

/// The value of `Via` on what we pass on.
pub(crate) fn via() -> HeaderValue {
    HeaderValue::from_static(concat!("whippet ", env!("CARGO_PKG_VERSION")))
}

/// The container that sent a request, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Container {
    pub id: Option<String>,
    /// Joined by commas.
    pub tags: Option<Vec<u8>>,
}

/// The headers of a client's request as it goes on: its own, less those for one connection and its
/// key, and what the Agent would set. The key of the endpoint joins them when they are sent.
pub(super) fn passed(
    route: Route,
    headers: &HeaderMap,
    agent: &Agent,
    container: &Container,
) -> HeaderMap {
    let mut passed = end_to_end(headers);
    passed.remove(KEY);
    passed.insert(VIA, via());
    let mut set = |name: &'static str, value: &[u8]| {
        // Only control characters cannot stand in a header; such a name helps no one.
        if let Ok(value) = HeaderValue::from_bytes(value) {
            passed.insert(HeaderName::from_static(name), value);
        }
    };
    if route == Route::Telemetry {
        if !agent.hostname.is_empty() {
            set("dd-agent-hostname", agent.hostname.as_bytes());
        }
        set("dd-agent-env", agent.env.as_bytes());
        if let Some(id) = &container.id {
            set("datadog-container-id", id.as_bytes());
        }
    } else {
        let (host, env, version) = (&agent.hostname, &agent.env, env!("CARGO_PKG_VERSION"));
        let tags = format!("host:{host},default_env:{env},agent_version:{version}");
        set("x-datadog-additional-tags", tags.as_bytes());
    }
    if let Some(tags) = container.tags.as_ref().filter(|tags| !tags.is_empty()) {
        set("x-datadog-container-tags", tags);
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(rows: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in rows {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn rows(map: &HeaderMap) -> Vec<(String, String)> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut rows: Vec<_> =
            map.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        rows.sort();
        rows
    }

    fn agent() -> Agent {
        Agent { hostname: "web-1".to_owned(), env: "prod".to_owned() }
    }

    const VIA_VALUE: &str = concat!("whippet ", env!("CARGO_PKG_VERSION"));

    #[test]
    fn what_belongs_to_one_connection_stays_here() {
        for name in [
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "proxy-authorization",
            "proxy-authenticate",
            "proxy-connection",
            "proxy-anything",
            "host",
            "content-length",
            "expect",
        ] {
            assert!(end_to_end(&map(&[(name, "x")])).is_empty(), "{name}");
        }
        let sent = map(&[
            ("connection", "close, X-Mine"),
            ("connection", "x-other"),
            ("x-mine", "1"),
            ("x-other", "2"),
            ("user-agent", "ddtrace/1"),
            ("cookie", "a"),
            ("cookie", "b"),
        ]);
        let passed = [("cookie", "a"), ("cookie", "b"), ("user-agent", "ddtrace/1")];
        assert_eq!(end_to_end(&sent), map(&passed));
    }

    #[test]
    fn data_streams_go_on_as_the_agent_sends_them() {
        let sent = map(&[
            ("content-type", "application/msgpack"),
            ("content-encoding", "gzip"),
            ("dd-api-key", "of the client"),
            ("via", "something"),
            ("x-datadog-additional-tags", "host:forged"),
        ]);
        let container = Container { id: Some("abc".to_owned()), tags: Some(b"a:b,c:d".to_vec()) };
        let tags =
            format!("host:web-1,default_env:prod,agent_version:{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            passed(Route::DataStreams, &sent, &agent(), &container),
            map(&[
                ("content-type", "application/msgpack"),
                ("content-encoding", "gzip"),
                ("via", VIA_VALUE),
                ("x-datadog-additional-tags", &tags),
                ("x-datadog-container-tags", "a:b,c:d"),
            ])
        );
    }

    #[test]
    fn telemetry_goes_on_as_the_agent_sends_it() {
        let sent = map(&[("user-agent", "telemetry/1"), ("dd-telemetry-api-version", "v2")]);
        let container = Container { id: Some("abc".to_owned()), tags: None };
        assert_eq!(
            rows(&passed(Route::Telemetry, &sent, &agent(), &container)),
            rows(&map(&[
                ("user-agent", "telemetry/1"),
                ("dd-telemetry-api-version", "v2"),
                ("via", VIA_VALUE),
                ("dd-agent-hostname", "web-1"),
                ("dd-agent-env", "prod"),
                ("datadog-container-id", "abc"),
            ]))
        );
        let no_name = Agent { hostname: String::new(), env: "none".to_owned() };
        let passed = passed(Route::Telemetry, &map(&[]), &no_name, &Container::default());
        assert_eq!(rows(&passed), rows(&map(&[("via", VIA_VALUE), ("dd-agent-env", "none")])));
    }
}
