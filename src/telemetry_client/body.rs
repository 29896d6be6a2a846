//! The envelope of every request: who sends it, from where, and its number.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};

use serde::Serialize;

use super::payload::Payload;

/// The program that reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Application {
    /// Never empty.
    pub service_name: String,
    /// Empty when not known.
    pub service_version: String,
    /// Empty when not known.
    pub env: String,
    /// `rust`.
    pub language_name: String,
    /// The compiler's.
    pub language_version: String,
    /// The version of the library that reports; of a program that reports on itself, its own.
    pub tracer_version: String,
}

/// The machine it runs on. Everything but the name may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Never empty; `unknown` if the system does not say.
    pub hostname: String,
    /// `Linux`.
    pub os: String,
    /// `x86_64`.
    pub architecture: String,
    /// `Linux`.
    pub kernel_name: String,
    /// `6.1.0`.
    pub kernel_release: String,
    /// `#1 SMP`.
    pub kernel_version: String,
}

impl Host {
    /// What the system says.
    #[must_use]
    pub fn detect() -> Self {
        let kernel = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
            text.trim().to_owned()
        };
        let os = match std::env::consts::OS {
            "linux" => "Linux",
            "macos" => "Darwin",
            other => other,
        };
        let hostname = Some(kernel("hostname")).filter(|name| !name.is_empty());
        Host {
            hostname: hostname.unwrap_or_else(|| UNKNOWN.to_owned()),
            os: os.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            kernel_name: os.to_owned(),
            kernel_release: kernel("osrelease"),
            kernel_version: kernel("version"),
        }
    }
}

/// The name of a host that has none.
pub(super) const UNKNOWN: &str = "unknown";

/// The body of one request.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Body<'a> {
    /// `v2`.
    pub api_version: &'static str,
    /// As in the header.
    pub request_type: &'static str,
    /// Unix seconds at which the body was built.
    pub tracer_time: u64,
    /// A UUID without dashes, of this client.
    pub runtime_id: &'a str,
    /// From 1, one more for each request; attempts at several endpoints share it.
    pub seq_id: u64,
    /// Only written when true.
    #[serde(skip_serializing_if = "is_false")]
    pub debug: bool,
    /// Who sends it.
    pub application: &'a Application,
    /// From where.
    pub host: &'a Host,
    /// What is said.
    pub payload: &'a Payload,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Body<'_> {
    /// The body as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Keys are texts and no value can fail: numbers that JSON lacks were refused when they came.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A random UUID (version 4) without dashes.
pub(super) fn new_runtime_id() -> String {
    // The standard library seeds each of these from the system's randomness.
    let random = || RandomState::new().build_hasher().finish();
    let high = (random() & !0xf000) | 0x4000;
    let low = (random() & !(0b11 << 62)) | (0b10 << 62);
    format!("{high:016x}{low:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_4_and_never_the_same() {
        let ids: std::collections::BTreeSet<String> = (0..100).map(|_| new_runtime_id()).collect();
        assert_eq!(ids.len(), 100);
        for id in ids {
            assert_eq!((id.len(), &id[12..13]), (32, "4"), "{id}");
            assert!("89ab".contains(&id[16..17]), "{id}");
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
    }

    #[test]
    fn a_host_has_a_name_and_an_architecture() {
        let host = Host::detect();
        assert!(!host.hostname.is_empty());
        assert_eq!(host.architecture, std::env::consts::ARCH);
    }

    #[test]
    fn debug_is_only_written_when_it_is_on() {
        let (application, host) = (Application::default(), Host::default());
        let mut body = Body {
            api_version: "v2",
            request_type: "app-heartbeat",
            tracer_time: 5,
            runtime_id: "r",
            seq_id: 1,
            debug: false,
            application: &application,
            host: &host,
            payload: &Payload::AppHeartbeat,
        };
        let text = |body: &Body<'_>| String::from_utf8(body.to_json()).unwrap();
        assert!(!text(&body).contains("debug"), "{}", text(&body));
        body.debug = true;
        assert!(text(&body).contains(r#""seq_id":1,"debug":true"#), "{}", text(&body));
    }
}
