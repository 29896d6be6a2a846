//! Delivery over HTTP for one endpoint: its URLs, the headers of a payload, the API key.
//!
//! The key is put on a request when it is sent and never reaches an error text.

use super::endpoint::Endpoint;
use super::http::{Answer, Failure, HttpClient, HttpSettings, HttpSettingsError, printable};
use super::key_status::KeyStatus;
use super::outcome::{Attempt, retry_after};
use crate::config::Secret;
use crate::encode::Payload;
use std::time::Duration;

/// The version of the agent-payload schema that our protobuf follows, as the intake expects it in
/// `DD-Agent-Payload`.
const PAYLOAD_SCHEMA_VERSION: &str = "5.0.154";

/// The header that carries the API key.
pub const KEY_HEADER: &str = "DD-API-KEY";

/// HTTP for one endpoint. Shared by its worker, the key check and the thread that interrupts it.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Endpoint,
    http: HttpClient,
    allow_arbitrary_tags: bool,
}

/// The headers that every post of `payload` carries, the key and what HTTP itself needs apart.
pub fn headers(
    payload: &Payload,
    allow_arbitrary_tags: bool,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let schema = payload.route.is_protobuf().then_some(PAYLOAD_SCHEMA_VERSION);
    [
        Some(("DD-Agent-Version", env!("CARGO_PKG_VERSION"))),
        Some(("Content-Type", payload.route.content_type())),
        payload.encoding.header().map(|encoding| ("Content-Encoding", encoding)),
        schema.map(|version| ("DD-Agent-Payload", version)),
        allow_arbitrary_tags.then_some(("Allow-Arbitrary-Tag-Value", "true")),
    ]
    .into_iter()
    .flatten()
}

/// One request's result.
pub(super) struct Posted {
    pub attempt: Attempt,
    /// True when a stale connection made a second request necessary.
    pub was_stale: bool,
    /// True when the payload was not allowed to leave any more.
    pub was_held_back: bool,
}

impl Client {
    /// Prepares TLS and proxies; opens no connection yet.
    pub fn new(
        endpoint: Endpoint,
        settings: &HttpSettings,
        allow_arbitrary_tags: bool,
    ) -> Result<Self, HttpSettingsError> {
        let http = HttpClient::new(settings.clone())?;
        Ok(Client { endpoint, http, allow_arbitrary_tags })
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Posts one payload within `timeout`, a second time when the pooled connection was stale. Where
    /// there is a `may_leave`, it has to allow each piece that leaves.
    pub fn post(
        &self,
        payload: &Payload,
        key: &Secret,
        timeout: Duration,
        unix: Duration,
        may_leave: Option<&dyn Fn() -> bool>,
    ) -> Posted {
        let (base, url) = (self.endpoint.base(payload.route), self.endpoint.url(payload.route));
        let mut all = vec![(KEY_HEADER, key.expose())];
        for header in headers(payload, self.allow_arbitrary_tags) {
            all.push(header);
        }
        let (result, was_stale, was_held_back) =
            self.http.post_while(base, &url, &all, &payload.body, timeout, may_leave);
        Posted { attempt: attempt_of(result, key, unix), was_stale, was_held_back }
    }

    /// Asks the intake about the key. The URL, which holds it, appears in no result.
    pub fn validate(&self, key: &Secret, timeout: Duration) -> KeyStatus {
        let base = self.endpoint.validate_base();
        let url = format!("{base}/api/v1/validate?api_key={}", percent_encoded(key.expose()));
        match self.http.get(base, &url, (KEY_HEADER, key.expose()), timeout) {
            Ok(answer) => match answer.status {
                200..=299 => KeyStatus::Valid,
                403 => KeyStatus::Invalid,
                status => KeyStatus::Unknown(format!("status {status}")),
            },
            Err(failure) => {
                let (kind, detail) = (failure.kind.label(), key.redact(&failure.detail));
                KeyStatus::Unknown(format!("{kind}: {}", printable(&detail)))
            }
        }
    }

    /// Cuts off what is in flight; the next request starts with fresh connections.
    pub fn interrupt(&self) {
        self.http.interrupt();
    }
}

/// What came of a request that carried `key`, without the key.
pub(crate) fn attempt_of(result: Result<Answer, Failure>, key: &Secret, unix: Duration) -> Attempt {
    match result {
        Ok(answer) => answered(answer, key, unix),
        Err(failure) => failed(&failure, key),
    }
}

fn answered(answer: Answer, key: &Secret, unix: Duration) -> Attempt {
    let Answer { status, retry_after: header, body } = answer;
    let success = (200..300).contains(&status);
    Attempt::Answered {
        status,
        retry_after: header.and_then(|value| retry_after(&value, unix)),
        message: if success { String::new() } else { printable(&key.redact(&body)) },
    }
}

fn failed(failure: &Failure, key: &Secret) -> Attempt {
    Attempt::Failed { kind: failure.kind, detail: printable(&key.redact(&failure.detail)) }
}

/// For a query value: everything but letters and digits as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_query_is_percent_encoded() {
        assert_eq!(percent_encoded("aZ9 &/"), "aZ9%20%26%2F");
    }
}
