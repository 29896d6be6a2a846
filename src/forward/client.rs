//! HTTP for one endpoint: keep-alive connections, headers, timeouts, TLS and proxy.
//!
//! The key is put on a request when it is sent and never reaches an error text.

use super::endpoint::Endpoint;
use super::outcome::{Attempt, ErrorKind, retry_after};
use super::proxy::ProxySettings;
use super::validate::KeyStatus;
use crate::config::Secret;
use crate::encode::Payload;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};

/// The version of the agent-payload schema that our protobuf follows, as the intake expects it in
/// `DD-Agent-Payload`.
const PAYLOAD_SCHEMA_VERSION: &str = "5.0.154";

/// The header that carries the API key.
pub const KEY_HEADER: &str = "DD-API-KEY";

/// The `User-Agent` of every request.
pub const USER_AGENT: &str = concat!("whippet/", env!("CARGO_PKG_VERSION"));

/// Bytes of an answer's body that are read; more would only be noise for the log.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Characters of an answer's body that reach the log.
const MESSAGE_CHARS_MAX: usize = 200;

/// Longest wait for a connection, TLS included (the Agent: 30 s to dial, 10 s for the handshake).
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// How long an unused connection is kept: flushes come every 10 s, load balancers close after 60 s.
const IDLE_AGE_MAX: Duration = Duration::from_secs(50);

/// How HTTP is done, the same for every endpoint.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `forwarder_timeout`: the whole of one request. 20 s by default.
    pub timeout: Duration,
    /// Proxies, already completed from the environment.
    pub proxies: ProxySettings,
    /// `skip_ssl_validation`: any certificate will do.
    pub skip_ssl_validation: bool,
    /// `min_tls_version: tlsv1.3`. Versions before 1.2 are never used.
    pub tls13_only: bool,
    /// PEM text of certificate authorities to trust instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// `allow_arbitrary_tags`: sends `Allow-Arbitrary-Tag-Value: true`.
    pub allow_arbitrary_tags: bool,
}

impl Default for ClientSettings {
    fn default() -> Self {
        ClientSettings {
            timeout: Duration::from_secs(20),
            proxies: ProxySettings::default(),
            skip_ssl_validation: false,
            tls13_only: false,
            ca_pem: None,
            allow_arbitrary_tags: false,
        }
    }
}

/// A setting that no connection could be made with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// A proxy URL cannot be read. The URL is not repeated: it may hold a password.
    #[error("proxy.{0}: not a proxy URL such as http://proxy.corp:3128")]
    Proxy(&'static str),
    /// The custom authorities hold no certificate.
    #[error("custom certificate authorities: no certificate found in the PEM text")]
    NoCertificates,
}

/// HTTP for one endpoint. Shared by its worker, the key check and whoever interrupts it.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Endpoint,
    settings: ClientSettings,
    tls: TlsConfig,
    /// One agent per base URL, since each may need another proxy.
    agents: Mutex<Vec<(String, Agent)>>,
    /// True when a connection may wait in the pool, so that a cut may mean "closed while idle".
    may_reuse: AtomicBool,
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
}

impl Client {
    /// Prepares TLS and proxies; opens no connection yet.
    pub fn new(endpoint: Endpoint, settings: &ClientSettings) -> Result<Self, ClientError> {
        let proxies = &settings.proxies;
        for (name, proxy) in [("https", &proxies.https), ("http", &proxies.http)] {
            if !proxy.trim().is_empty() && Proxy::new(proxy.trim()).is_err() {
                return Err(ClientError::Proxy(name));
            }
        }
        Ok(Client {
            endpoint,
            tls: tls_config(settings)?,
            settings: settings.clone(),
            agents: Mutex::default(),
            may_reuse: AtomicBool::new(false),
        })
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Posts one payload within `timeout`, a second time when the pooled connection was stale.
    pub fn post(
        &self,
        payload: &Payload,
        key: &Secret,
        timeout: Duration,
        unix: Duration,
    ) -> Posted {
        let reused = self.may_reuse.swap(false, Ordering::AcqRel);
        let mut was_stale = false;
        let mut result = self.post_once(payload, key, timeout);
        if reused && result.as_ref().is_err_and(|failure| failure.kind == ErrorKind::Disconnect) {
            was_stale = true;
            result = self.post_once(payload, key, timeout);
        }
        let attempt = match result.and_then(|response| self.answer(response, key, unix)) {
            Ok(answered) => answered,
            Err(failure) => failure.attempt(key),
        };
        Posted { attempt, was_stale }
    }

    fn post_once(
        &self,
        payload: &Payload,
        key: &Secret,
        timeout: Duration,
    ) -> Result<Response<Body>, Failure> {
        let agent = self.agent(self.endpoint.base(payload.route));
        let mut request =
            agent.post(self.endpoint.url(payload.route)).header(KEY_HEADER, key.expose());
        for (name, value) in headers(payload, self.settings.allow_arbitrary_tags) {
            request = request.header(name, value);
        }
        // A request with settings of its own builds its TLS setup anew, so only the hurried ones
        // of a shutdown get them.
        if timeout < self.settings.timeout {
            request = request.config().timeout_global(Some(timeout)).build();
        }
        request.send(&payload.body[..]).map_err(Failure::from)
    }

    /// Reads the answer whole, so that its connection can be used again.
    fn answer(
        &self,
        response: Response<Body>,
        key: &Secret,
        unix: Duration,
    ) -> Result<Attempt, Failure> {
        let status = response.status().as_u16();
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|value| retry_after(value, unix));
        let mut body = Vec::new();
        let mut reader = response.into_body().into_reader().take(ANSWER_BYTES_MAX);
        reader.read_to_end(&mut body).map_err(|error| Failure::from(ureq::Error::from(error)))?;
        self.may_reuse.store(true, Ordering::Release);
        let success = (200..300).contains(&status);
        let message = if success { String::new() } else { printable(&key.redact(&text_of(&body))) };
        Ok(Attempt::Answered { status, retry_after, message })
    }

    /// Asks the intake about the key. The URL, which holds it, appears in no result.
    pub fn validate(&self, key: &Secret, timeout: Duration) -> KeyStatus {
        let base = self.endpoint.validate_base();
        let url = format!("{base}/api/v1/validate?api_key={}", percent_encoded(key.expose()));
        let request = self.agent(base).get(url).header(KEY_HEADER, key.expose());
        match request.config().timeout_global(Some(timeout)).build().call() {
            Ok(response) => match response.status().as_u16() {
                200..=299 => KeyStatus::Valid,
                403 => KeyStatus::Invalid,
                status => KeyStatus::Unknown(format!("status {status}")),
            },
            Err(error) => match Failure::from(error).attempt(key) {
                Attempt::Failed { kind, detail } => {
                    KeyStatus::Unknown(format!("{}: {detail}", kind.label()))
                }
                Attempt::Answered { status, .. } => KeyStatus::Unknown(format!("status {status}")),
            },
        }
    }

    /// Cuts off what is in flight; the next request starts with fresh connections.
    pub fn interrupt(&self) {
        let agents = std::mem::take(&mut *self.lock_agents());
        for (_, agent) in agents {
            agent.shutdown();
        }
    }

    fn agent(&self, base: &str) -> Agent {
        let mut agents = self.lock_agents();
        if let Some((_, agent)) = agents.iter().find(|(known, _)| known == base) {
            return agent.clone();
        }
        let agent = self.new_agent(base);
        agents.push((base.to_owned(), agent.clone()));
        agent
    }

    fn new_agent(&self, base: &str) -> Agent {
        let timeout = Some(self.settings.timeout);
        let connect = Some(self.settings.timeout.min(CONNECT_TIMEOUT_MAX));
        // A proxy that cannot be read was refused in `new`.
        let proxy = self.settings.proxies.proxy_for(base).and_then(|url| Proxy::new(url).ok());
        Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(USER_AGENT)
            .accept_encoding("identity")
            .proxy(proxy)
            .tls_config(self.tls.clone())
            .timeout_global(timeout)
            .timeout_resolve(connect)
            .timeout_connect(connect)
            .timeout_send_request(timeout)
            .timeout_send_body(timeout)
            .timeout_recv_response(timeout)
            .timeout_recv_body(timeout)
            .max_idle_age(IDLE_AGE_MAX)
            .build()
            .new_agent()
    }

    fn lock_agents(&self) -> MutexGuard<'_, Vec<(String, Agent)>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tls_config(settings: &ClientSettings) -> Result<TlsConfig, ClientError> {
    let roots = match &settings.ca_pem {
        None => RootCerts::PlatformVerifier,
        Some(pem) => {
            let certificates: Vec<_> = parse_pem(pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(ClientError::NoCertificates);
            }
            RootCerts::Specific(Arc::new(certificates))
        }
    };
    let mut provider = rustls::crypto::ring::default_provider();
    if settings.tls13_only {
        // A version without cipher suites is not offered; ureq has no setting for versions.
        let tls13 = rustls::ProtocolVersion::TLSv1_3;
        provider.cipher_suites.retain(|suite| suite.version().version == tls13);
    }
    Ok(TlsConfig::builder()
        .root_certs(roots)
        .disable_verification(settings.skip_ssl_validation)
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .build())
}

/// Why there is no answer.
struct Failure {
    kind: ErrorKind,
    detail: String,
}

impl Failure {
    fn attempt(self, key: &Secret) -> Attempt {
        Attempt::Failed { kind: self.kind, detail: printable(&key.redact(&self.detail)) }
    }
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        use ureq::{Error, Timeout};
        let (kind, detail) = match &error {
            Error::HostNotFound => (ErrorKind::Dns, "host not found".to_owned()),
            Error::Timeout(Timeout::Resolve) => (ErrorKind::Dns, "no answer in time".to_owned()),
            Error::Timeout(Timeout::Connect) => {
                (ErrorKind::Connect, "no answer in time".to_owned())
            }
            Error::Timeout(_) => (ErrorKind::Timeout, "no answer in time".to_owned()),
            Error::ConnectionFailed => (ErrorKind::Connect, "connection failed".to_owned()),
            Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) | Error::TlsRequired => {
                (ErrorKind::Tls, error.to_string())
            }
            Error::ConnectProxyFailed(_) | Error::InvalidProxyUrl => {
                (ErrorKind::Proxy, error.to_string())
            }
            Error::Io(io) => (io_kind(io), io.to_string()),
            // These quote the URL.
            Error::BadUri(_) | Error::RequireHttpsOnly(_) => {
                (ErrorKind::Other, "bad URL".to_owned())
            }
            _ => (ErrorKind::Other, error.to_string()),
        };
        Failure { kind, detail }
    }
}

fn io_kind(error: &io::Error) -> ErrorKind {
    if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        return ErrorKind::Tls;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable => ErrorKind::Connect,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::UnexpectedEof => ErrorKind::Disconnect,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorKind::Timeout,
        // The standard library gives failed look-ups no kind of their own.
        _ if error.to_string().starts_with("failed to lookup address") => ErrorKind::Dns,
        _ => ErrorKind::Other,
    }
}

fn text_of(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

/// One short line without control characters.
fn printable(text: &str) -> String {
    let line: String = text.trim().chars().take(MESSAGE_CHARS_MAX).collect();
    line.escape_debug().to_string()
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

    #[track_caller]
    fn fails(error: ureq::Error, kind: ErrorKind, detail: &str) {
        let failure = Failure::from(error);
        assert_eq!((failure.kind, failure.detail.as_str()), (kind, detail));
    }

    #[test]
    fn every_failure_has_a_kind_and_none_quotes_the_url() {
        use io::ErrorKind as Io;
        let plain = |kind: Io, text: &'static str| ureq::Error::Io(io::Error::new(kind, text));
        let look_up = "failed to lookup address information: Name or service not known";
        fails(ureq::Error::HostNotFound, ErrorKind::Dns, "host not found");
        fails(plain(Io::Other, look_up), ErrorKind::Dns, look_up);
        fails(plain(Io::ConnectionRefused, "refused"), ErrorKind::Connect, "refused");
        fails(plain(Io::HostUnreachable, "unreachable"), ErrorKind::Connect, "unreachable");
        fails(plain(Io::ConnectionReset, "reset"), ErrorKind::Disconnect, "reset");
        fails(plain(Io::UnexpectedEof, "gone"), ErrorKind::Disconnect, "gone");
        fails(plain(Io::BrokenPipe, "pipe"), ErrorKind::Disconnect, "pipe");
        fails(plain(Io::TimedOut, "slow"), ErrorKind::Timeout, "slow");
        fails(plain(Io::PermissionDenied, "no"), ErrorKind::Other, "no");
        let late = |stage| ureq::Error::Timeout(stage);
        fails(late(ureq::Timeout::Global), ErrorKind::Timeout, "no answer in time");
        fails(late(ureq::Timeout::Connect), ErrorKind::Connect, "no answer in time");
        fails(late(ureq::Timeout::Resolve), ErrorKind::Dns, "no answer in time");
        let inner = rustls::Error::General("certificate".to_owned());
        let text = inner.to_string();
        let wrapped = ureq::Error::Io(io::Error::new(Io::InvalidData, inner));
        fails(wrapped, ErrorKind::Tls, &text);
        fails(ureq::Error::BadUri("http://h/?api_key=k".to_owned()), ErrorKind::Other, "bad URL");
        let refused = ureq::Error::ConnectProxyFailed("407".to_owned());
        fails(refused, ErrorKind::Proxy, "CONNECT proxy failed: 407");
    }

    #[test]
    fn texts_from_outside_become_one_short_line() {
        assert_eq!(printable(" a\n\u{1b}[31mb "), "a\\n\\u{1b}[31mb");
        assert_eq!(printable(&"x".repeat(1000)).len(), MESSAGE_CHARS_MAX);
        assert_eq!(percent_encoded("aZ9 &/"), "aZ9%20%26%2F");
    }
}
