//! The HTTP client of everything that delivers: keep-alive connections, timeouts, TLS, proxies, and
//! why a request failed. The forwarder and the HTTP reporter of `threadstats` share it.
//!
//! It knows no key: callers put keys on the headers of a request and redact what comes back.

use super::outcome::ErrorKind;
use super::proxy::ProxySettings;
use std::cell::Cell;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;
#[cfg(feature = "server")]
use ureq::http::HeaderMap;
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy, SendBody};

/// The `User-Agent` of every request that brings none of its own.
pub const USER_AGENT: &str = concat!("whippet/", env!("CARGO_PKG_VERSION"));

/// Bytes of an answer's body that are read; more would only be noise for the log.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Characters of an answer or error that reach the log.
const MESSAGE_CHARS_MAX: usize = 200;

/// How long an unused connection is kept: flushes come every 10 s, load balancers close after 60 s.
const IDLE_AGE_MAX: Duration = Duration::from_secs(50);

/// How connections are made and how long they may take.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// `forwarder_timeout`: the whole of one request. 20 s by default.
    pub timeout: Duration,
    /// Longest wait for an address or a connection, TLS included, where `timeout` is not shorter.
    /// 10 s by default (the Agent: 30 s to dial, 10 s for the handshake).
    pub connect_timeout: Duration,
    /// Proxies, already completed from the environment.
    pub proxies: ProxySettings,
    /// `skip_ssl_validation`: any certificate will do.
    pub skip_ssl_validation: bool,
    /// `min_tls_version: tlsv1.3`. Versions before 1.2 are never used.
    pub tls13_only: bool,
    /// PEM text of certificate authorities to trust instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            proxies: ProxySettings::default(),
            skip_ssl_validation: false,
            tls13_only: false,
            ca_pem: None,
        }
    }
}

/// A setting that no connection could be made with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HttpSettingsError {
    /// A proxy URL cannot be read. The URL is not repeated: it may hold a password.
    #[error("proxy.{0}: not a proxy URL such as http://proxy.corp:3128")]
    Proxy(&'static str),
    /// The custom authorities hold no certificate.
    #[error("custom certificate authorities: no certificate found in the PEM text")]
    NoCertificates,
}

/// A request with a body that is not sent yet.
type PostRequest = ureq::RequestBuilder<ureq::typestate::WithBody>;

/// Connections to one intake. Shared between threads; another one may interrupt a request.
#[derive(Debug)]
pub(crate) struct HttpClient {
    settings: HttpSettings,
    tls: TlsConfig,
    /// Headers such as `User-Agent` join those of a request that has none.
    own_headers: bool,
    /// One agent per base URL, since each may need another proxy.
    agents: Mutex<Vec<(String, Agent)>>,
    /// True when a connection may wait in the pool, so that a cut may mean "closed while idle".
    may_reuse: AtomicBool,
}

/// What came back, with whatever status.
pub(crate) struct Answer {
    pub status: u16,
    /// The `Retry-After` header.
    pub retry_after: Option<String>,
    /// At most the first 64 KiB.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub kind: ErrorKind,
    /// Time ran out, in whatever stage.
    pub timed_out: bool,
    /// What the transport said, free of URLs but not of keys.
    pub detail: String,
}

impl Failure {
    /// True when no connection came about although there was time: the server saw nothing.
    pub fn never_connected(&self) -> bool {
        !self.timed_out && matches!(self.kind, ErrorKind::Dns | ErrorKind::Connect)
    }
}

impl HttpClient {
    /// Prepares TLS and proxies; opens no connection yet.
    ///
    /// # Errors
    /// When a proxy URL or a certificate cannot be read.
    pub fn new(settings: HttpSettings) -> Result<Self, HttpSettingsError> {
        let proxies = &settings.proxies;
        for (name, proxy) in [("https", &proxies.https), ("http", &proxies.http)] {
            if !proxy.trim().is_empty() && Proxy::new(proxy.trim()).is_err() {
                return Err(HttpSettingsError::Proxy(name));
            }
        }
        Ok(HttpClient {
            tls: tls_config(&settings)?,
            settings,
            own_headers: true,
            agents: Mutex::default(),
            may_reuse: AtomicBool::new(false),
        })
    }

    /// As [`HttpClient::new`]; requests go out with the headers they were given and with what HTTP
    /// itself needs (`Host`, `Content-Length`), nothing else.
    ///
    /// # Errors
    /// As [`HttpClient::new`].
    #[cfg(feature = "server")]
    pub fn without_own_headers(settings: HttpSettings) -> Result<Self, HttpSettingsError> {
        Ok(HttpClient { own_headers: false, ..HttpClient::new(settings)? })
    }

    /// Posts `body` to `url`, which begins with `base`; a second time when the pooled connection
    /// turned out to be closed, which the flag says. A `timeout` longer than the setting has no
    /// effect.
    pub fn post(
        &self,
        base: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Duration,
    ) -> (Result<Answer, Failure>, bool) {
        let (result, repeated, _) = self.post_while(base, url, headers, body, timeout, None);
        (result, repeated)
    }

    /// As [`HttpClient::post`]. `may_leave` is asked before each piece of the body, that is after the
    /// connection was made, and before a second request: once it says no, nothing more leaves. The
    /// last flag says that it was so; the server has no whole request then.
    pub fn post_while(
        &self,
        base: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Duration,
        may_leave: Option<&dyn Fn() -> bool>,
    ) -> (Result<Answer, Failure>, bool, bool) {
        let with_headers = |mut request: PostRequest| {
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request
        };
        self.post_with(base, url, &with_headers, body, timeout, may_leave)
    }

    /// As [`HttpClient::post`], with headers of any bytes.
    #[cfg(feature = "server")]
    pub fn post_map(
        &self,
        base: &str,
        url: &str,
        headers: &HeaderMap,
        body: &[u8],
        timeout: Duration,
    ) -> (Result<Answer, Failure>, bool) {
        let with_headers = |mut request: PostRequest| {
            for (name, value) in headers {
                request = request.header(name, value);
            }
            request
        };
        let (result, repeated, _) = self.post_with(base, url, &with_headers, body, timeout, None);
        (result, repeated)
    }

    fn post_with(
        &self,
        base: &str,
        url: &str,
        with_headers: &dyn Fn(PostRequest) -> PostRequest,
        body: &[u8],
        timeout: Duration,
        may_leave: Option<&dyn Fn() -> bool>,
    ) -> (Result<Answer, Failure>, bool, bool) {
        let held_back = Cell::new(false);
        let send = || {
            let mut request = with_headers(self.agent(base).post(url));
            // A request with settings of its own builds its TLS setup anew, so only the hurried
            // ones of a shutdown get them.
            if timeout < self.settings.timeout {
                request = request.config().timeout_global(Some(timeout)).build();
            }
            let sent = match may_leave {
                None => request.send(body),
                Some(may_leave) => {
                    let mut guarded = Guarded { left: body, may_leave, held_back: &held_back };
                    let request = request.header("Content-Length", body.len());
                    request.send(SendBody::from_reader(&mut guarded))
                }
            };
            sent.map_err(Failure::from)
        };
        let reused = self.may_reuse.swap(false, Ordering::AcqRel);
        let mut result = send();
        let cut = result.as_ref().is_err_and(|failure| failure.kind == ErrorKind::Disconnect);
        let repeated = reused && cut && may_leave.is_none_or(|may_leave| may_leave());
        if repeated {
            result = send();
        }
        (result.and_then(|response| self.read(response)), repeated, held_back.get())
    }

    /// Gets `url`, which begins with `base`, within `timeout`.
    pub fn get(
        &self,
        base: &str,
        url: &str,
        header: (&str, &str),
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let request = self.agent(base).get(url).header(header.0, header.1);
        let response = request.config().timeout_global(Some(timeout)).build().call()?;
        self.read(response)
    }

    /// Gets `url`, which begins with `base`, for one header of the answer; none where it has none, or one
    /// that is no text.
    #[cfg(feature = "datastreams")]
    pub fn get_header(
        &self,
        base: &str,
        url: &str,
        name: &str,
        timeout: Duration,
    ) -> Result<Option<String>, Failure> {
        let request = self.agent(base).get(url);
        let response = request.config().timeout_global(Some(timeout)).build().call()?;
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        let value = value.map(str::to_owned);
        self.read(response)?;
        Ok(value)
    }

    /// Reads the answer whole, so that its connection can be used again.
    fn read(&self, response: Response<Body>) -> Result<Answer, Failure> {
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        let mut reader = response.into_body().into_reader().take(ANSWER_BYTES_MAX);
        reader.read_to_end(&mut body).map_err(|error| Failure::from(ureq::Error::from(error)))?;
        self.may_reuse.store(true, Ordering::Release);
        Ok(Answer { status, retry_after, body: String::from_utf8_lossy(&body).into_owned() })
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
        let connect = Some(self.settings.timeout.min(self.settings.connect_timeout));
        // A proxy that cannot be read was refused in `new`.
        let proxy = self.settings.proxies.proxy_for(base).and_then(|url| Proxy::new(url).ok());
        let own = |value: &'static str| if self.own_headers { value } else { "" };
        Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(own(USER_AGENT))
            .accept(own("*/*"))
            .accept_encoding(own("identity"))
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

/// A body of which nothing more leaves once it may not.
struct Guarded<'a> {
    left: &'a [u8],
    may_leave: &'a dyn Fn() -> bool,
    held_back: &'a Cell<bool>,
}

impl Read for Guarded<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.left.is_empty() && !(self.may_leave)() {
            self.held_back.set(true);
            return Err(io::Error::other("held back"));
        }
        self.left.read(into)
    }
}

fn tls_config(settings: &HttpSettings) -> Result<TlsConfig, HttpSettingsError> {
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
                return Err(HttpSettingsError::NoCertificates);
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

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        use ureq::{Error, Timeout};
        let timed_out = matches!(error, Error::Timeout(_));
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
        Failure { kind, timed_out, detail }
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

/// One short line without control characters, for the log.
pub(crate) fn printable(text: &str) -> String {
    let line: String = text.trim().chars().take(MESSAGE_CHARS_MAX).collect();
    line.escape_debug().to_string()
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
    }
}
