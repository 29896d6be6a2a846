//! `GET /info`: the list of what is on. Clients decide from it what to send, and fetch it again when its
//! hash changes.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::{Route, routes};
use crate::tagger::Tags;

/// What the page says about the configuration.
#[derive(Clone, Debug)]
pub(crate) struct InfoSettings {
    /// The routes with a door.
    pub on: Vec<Route>,
    /// The environment of data that comes without one; empty for none.
    pub default_env: String,
    /// TCP port of the doors; 0 without one.
    pub receiver_port: u16,
    /// Longest body of a request.
    pub request_bytes_max: u64,
    /// The UDP port of DogStatsD; `None` when UDP is off.
    pub statsd_port: Option<u16>,
}

#[derive(Serialize)]
struct Page<'a> {
    version: &'static str,
    git_commit: &'static str,
    endpoints: Vec<&'static str>,
    client_drop_p0s: bool,
    span_meta_structs: bool,
    long_running_spans: bool,
    span_events: bool,
    evp_proxy_allowed_headers: [&'static str; 0],
    peer_tags: [&'static str; 0],
    config: PageConfig<'a>,
}

/// Without `obfuscation`: libdatadog fails on a partial section, and then sends no stats.
#[derive(Serialize)]
struct PageConfig<'a> {
    default_env: &'a str,
    receiver_port: u16,
    max_request_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    statsd_port: Option<u16>,
}

/// The page and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    pub body: String,
    /// Lower-case hexadecimal SHA-256 of the body: `Datadog-Agent-State`.
    pub state: String,
}

impl Info {
    fn of(body: String) -> Self {
        let state = sha256(body.as_bytes());
        Info { body, state }
    }

    /// Our own page.
    pub fn new(settings: &InfoSettings) -> Self {
        let page = Page {
            version: env!("CARGO_PKG_VERSION"),
            git_commit: "",
            endpoints: endpoints(&settings.on),
            // Clients compute stats when the page has this and the stats endpoint.
            client_drop_p0s: settings.on.contains(&Route::Stats),
            span_meta_structs: false,
            long_running_spans: false,
            span_events: false,
            evp_proxy_allowed_headers: [],
            peer_tags: [],
            config: PageConfig {
                default_env: &settings.default_env,
                receiver_port: settings.receiver_port,
                max_request_bytes: settings.request_bytes_max,
                statsd_port: settings.statsd_port,
            },
        };
        // Numbers, strings and lists of them: nothing that JSON cannot hold.
        Self::of(serde_json::to_string(&page).unwrap_or_default())
    }

    /// The page of a real Agent, with the endpoints that are on here and without those that are off.
    /// Those of `passed` are left as the Agent lists them. `None` when it is not a valid page.
    pub fn merged(agent: &[u8], on: &[Route], passed: &[Route]) -> Option<Self> {
        let mut page: Value = serde_json::from_slice(agent).ok()?;
        let listed =
            page.as_object_mut()?.entry("endpoints").or_insert_with(|| Value::from([""; 0]));
        let theirs = listed.as_array_mut()?;
        let known: Vec<&str> = Route::ALL
            .iter()
            .filter(|route| !passed.contains(route))
            .flat_map(|route| routes::listed(*route))
            .copied()
            .collect();
        theirs.retain(|path| !path.as_str().is_some_and(|path| known.contains(&path)));
        theirs.extend(endpoints(on).into_iter().map(Value::from));
        Some(Self::of(page.to_string()))
    }
}

fn endpoints(on: &[Route]) -> Vec<&'static str> {
    let listed = Route::ALL.iter().filter(|route| on.contains(route));
    listed.flat_map(|route| routes::listed(*route)).copied().collect()
}

/// Keys of the tags that go into a container's hash.
const HASHED: [&str; 9] = [
    "kube_deployment",
    "kube_cronjob",
    "kube_container_name",
    "kube_namespace",
    "kube_app_name",
    "kube_app_managed_by",
    "service",
    "short_image",
    "kube_cluster_name",
];

/// The `Datadog-Container-Tags-Hash` of a container with these tags.
pub(super) fn container_tags_hash(tags: &[Tags]) -> String {
    let mut hashed: Vec<&[u8]> = tags
        .iter()
        .flat_map(|tags| tags.iter())
        .filter(|tag| {
            let key = tag.split(|byte| *byte == b':').next().unwrap_or_default();
            HASHED.iter().any(|known| known.as_bytes() == key)
        })
        .collect();
    hashed.sort_unstable();
    hashed.dedup();
    sha256(&hashed.join(&b','))
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tagger::{Cardinality, WorkloadBuilder};
    use std::sync::Arc;

    fn settings() -> InfoSettings {
        InfoSettings {
            on: Route::ALL.to_vec(),
            default_env: "prod".into(),
            receiver_port: 8126,
            request_bytes_max: 26_214_400,
            statsd_port: Some(8125),
        }
    }

    #[test]
    fn the_page_lists_what_is_on_in_the_form_of_an_agent() {
        let page: Value = serde_json::from_str(&Info::new(&settings()).body).unwrap();
        let expect = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"), "git_commit": "",
            "endpoints": ["/v0.3/traces", "/v0.4/traces", "/v0.5/traces", "/v0.6/stats",
                "/v0.1/pipeline_stats", "/telemetry/proxy/", "/dogstatsd/v1/proxy",
                "/dogstatsd/v2/proxy"],
            "client_drop_p0s": true, "span_meta_structs": false, "long_running_spans": false,
            "span_events": false, "evp_proxy_allowed_headers": [], "peer_tags": [],
            "config": {"default_env": "prod", "receiver_port": 8126,
                "max_request_bytes": 26_214_400, "statsd_port": 8125},
        });
        assert_eq!(page, expect);
    }

    #[test]
    fn what_is_off_is_not_listed_and_the_state_follows() {
        let all = Info::new(&settings());
        let few = Info::new(&InfoSettings {
            on: vec![Route::Info, Route::Telemetry],
            statsd_port: None,
            ..settings()
        });
        let page: Value = serde_json::from_str(&few.body).unwrap();
        assert_eq!(page["endpoints"], serde_json::json!(["/telemetry/proxy/"]));
        assert_eq!(page["client_drop_p0s"], false);
        assert_eq!(page["config"].get("statsd_port"), None);
        assert_ne!(all.state, few.state);
        assert_eq!(few.state, sha256(few.body.as_bytes()));
    }

    #[test]
    fn the_hash_is_the_one_of_the_standard() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), of_abc);
    }

    #[test]
    fn a_real_agents_page_keeps_everything_but_our_endpoints() {
        let agent = br#"{"version":"7.60.0","x":{"y":[1]},"endpoints":
            ["/v0.4/traces","/v0.6/stats","/v0.7/config","/telemetry/proxy/","/evp_proxy/v2/"]}"#;
        let merged = |on: &[Route], passed: &[Route]| -> Value {
            serde_json::from_str(&Info::merged(agent, on, passed).unwrap().body).unwrap()
        };
        let page = merged(&[Route::Stats], &[]);
        assert_eq!(
            page["endpoints"],
            serde_json::json!(["/v0.7/config", "/evp_proxy/v2/", "/v0.6/stats"])
        );
        assert_eq!(page["version"], "7.60.0");
        assert_eq!(page["x"], serde_json::json!({"y": [1]}));
        let page = merged(&[], &[Route::Traces]);
        assert_eq!(
            page["endpoints"],
            serde_json::json!(["/v0.4/traces", "/v0.7/config", "/evp_proxy/v2/"])
        );
        for broken in [&b""[..], b"[]", b"{\"endpoints\":1}", b"not json"] {
            assert_eq!(Info::merged(broken, &[], &[]), None);
        }
    }

    #[test]
    fn a_container_is_hashed_by_the_tags_that_name_its_workload() {
        let mut tags = WorkloadBuilder::default();
        tags.add(Cardinality::Low, "short_image", "web")
            .add(Cardinality::Low, "image_tag", "1")
            .add(Cardinality::Low, "kube_namespace", "shop")
            .add(Cardinality::High, "container_id", "x");
        let tags = [Arc::new(tags.build()).up_to(Cardinality::High)];
        assert_eq!(container_tags_hash(&tags), sha256(b"kube_namespace:shop,short_image:web"));
    }
}
