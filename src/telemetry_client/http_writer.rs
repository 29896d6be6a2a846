//! Sending over HTTP: to the agent, and where that fails to the intake itself.

use std::time::{Duration, Instant};

use thiserror::Error;

use super::body::Body;
use super::writer::{SendAttempt, SendOutcome, SendResult, Writer};
use crate::forward::{HttpClient, HttpSettings, HttpSettingsError, KEY_HEADER, Secret, printable};

/// Of one request; a longer one is cut to it.
const TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// Where the agent is when nothing else is said.
pub const DEFAULT_AGENT_URL: &str = "http://localhost:8126";
/// The site when nothing else is said.
pub const DEFAULT_SITE: &str = "datadoghq.com";

/// The path of an agent, which passes bodies on.
const AGENT_PATH: &str = "/telemetry/proxy/api/v2/apmtelemetry";
/// The path of the intake.
const INTAKE_PATH: &str = "/api/v2/apmtelemetry";
/// The vendor's staging site has another host than all others.
const STAGING: (&str, &str) = ("datad0g.com", "https://all-http-intake.logs.datad0g.com");

/// Why there is no writer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriterError {
    /// Neither an agent nor a key.
    #[error("telemetry has nowhere to go; name the URL of an agent, or give an API key")]
    NoEndpoint,
    /// Not something to connect to.
    #[error("agent URL {0:?}: not an http or https URL such as http://localhost:8126")]
    AgentUrl(String),
    /// Proxy or certificates.
    #[error(transparent)]
    Http(#[from] HttpSettingsError),
}

/// One place to send to.
#[derive(Clone, Debug)]
struct TelemetryEndpoint {
    /// In the client's own metrics.
    label: &'static str,
    base: String,
    path: &'static str,
    api_key: Option<Secret>,
}

/// Sends each body to the first endpoint that takes it: the agent first, then the intake. The next
/// body tries the agent again, so that the client goes back to it by itself.
pub struct HttpWriter {
    client: HttpClient,
    timeout: Duration,
    endpoints: Vec<TelemetryEndpoint>,
    /// Headers that the body does not tell, such as the container's id.
    headers: Vec<(&'static str, String)>,
}

impl HttpWriter {
    /// A writer to the agent at `agent_url` (none: without an agent), then to the intake of `site` if
    /// there is a key. Opens nothing yet. Timeouts of `http` beyond 5 s are cut to 5 s.
    ///
    /// # Errors
    /// When there is no endpoint, or its URL, a proxy or a certificate cannot be read.
    pub fn new(
        agent_url: Option<&str>,
        site: &str,
        api_key: Option<Secret>,
        http: HttpSettings,
    ) -> Result<Self, WriterError> {
        let mut endpoints = Vec::new();
        if let Some(url) = agent_url {
            let base = url.trim().trim_end_matches('/');
            let scheme = base.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
            if !matches!(scheme.as_deref(), Some("http" | "https")) {
                return Err(WriterError::AgentUrl(printable(url)));
            }
            let base = base.to_owned();
            endpoints.push(TelemetryEndpoint {
                label: "agent",
                base,
                path: AGENT_PATH,
                api_key: None,
            });
        }
        if let Some(api_key) = api_key.filter(|key| !key.is_empty()) {
            let (base, api_key) = (intake(site), Some(api_key));
            let path = INTAKE_PATH;
            endpoints.push(TelemetryEndpoint { label: "agentless", base, path, api_key });
        }
        if endpoints.is_empty() {
            return Err(WriterError::NoEndpoint);
        }
        let timeout = http.timeout.min(TIMEOUT_MAX);
        let client = HttpClient::new(HttpSettings { timeout, ..http })?;
        Ok(HttpWriter { client, timeout, endpoints, headers: Vec::new() })
    }

    /// Adds a header to every request; an empty value is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.headers.push((name, value.to_owned()));
        }
        self
    }

    /// Sends to the intake at `url` instead of the site's.
    #[cfg(test)]
    fn with_intake(mut self, url: &str) -> Self {
        let of_intake = |endpoint: &&mut TelemetryEndpoint| endpoint.api_key.is_some();
        self.endpoints.iter_mut().filter(of_intake).for_each(|one| one.base = url.to_owned());
        self
    }

    fn attempt(&self, endpoint: &TelemetryEndpoint, body: &Body<'_>, json: &[u8]) -> SendAttempt {
        let url = format!("{}{}", endpoint.base, endpoint.path);
        let mut headers = vec![
            ("Content-Type", "application/json"),
            ("DD-Telemetry-API-Version", body.api_version),
            ("DD-Telemetry-Request-Type", body.request_type),
            ("DD-Client-Library-Language", body.application.language_name.as_str()),
            ("DD-Client-Library-Version", body.application.tracer_version.as_str()),
            ("DD-Session-ID", body.runtime_id),
        ];
        let optional = [
            ("DD-Agent-Env", body.application.env.as_str()),
            ("DD-Agent-Hostname", body.host.hostname.as_str()),
            ("DD-Telemetry-Debug-Enabled", if body.debug { "true" } else { "" }),
        ];
        headers.extend(optional.into_iter().filter(|(_, value)| !value.is_empty()));
        headers.extend(self.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let key = endpoint.api_key.as_ref();
        headers.extend(key.map(|key| (KEY_HEADER, key.expose())));
        let began = Instant::now();
        let (answer, _) = self.client.post(&endpoint.base, &url, &headers, json, self.timeout);
        let redact = |text: &str| match key {
            Some(key) => key.redact(text),
            None => text.to_owned(),
        };
        let outcome = match answer {
            Ok(answer) => SendOutcome::answered(answer.status, &printable(&redact(&answer.body))),
            Err(failure) if failure.timed_out => SendOutcome::TimedOut,
            Err(failure) => SendOutcome::Unreachable(printable(&redact(&failure.detail))),
        };
        let (bytes, took) = (json.len(), began.elapsed());
        SendAttempt { endpoint: endpoint.label, outcome, bytes, took }
    }
}

fn intake(site: &str) -> String {
    let site = site.trim();
    match site {
        _ if site == STAGING.0 => STAGING.1.to_owned(),
        "" => format!("https://instrumentation-telemetry-intake.{DEFAULT_SITE}"),
        site => format!("https://instrumentation-telemetry-intake.{site}"),
    }
}

impl Writer for HttpWriter {
    fn send(&self, body: &Body<'_>) -> SendResult {
        let json = body.to_json();
        let mut result = SendResult::default();
        for endpoint in &self.endpoints {
            let attempt = self.attempt(endpoint, body, &json);
            let delivered = attempt.outcome.is_success();
            result.attempts.push(attempt);
            if delivered {
                break;
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::telemetry_client::body::{Application, Host};
    use crate::telemetry_client::payload::Payload;

    /// A server that answers each request with the next of `statuses` and keeps its heads; without any
    /// left it closes the connection.
    fn server(statuses: &[u16]) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (mut statuses, kept) = (Vec::from(statuses).into_iter(), Arc::clone(&heads));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut reader = BufReader::new(connection.unwrap());
                while let Some(head) = read_head(&mut reader) {
                    kept.lock().unwrap().push(head);
                    let Some(status) = statuses.next() else { break };
                    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nno");
                    reader.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        (url, heads)
    }

    fn read_head(reader: &mut impl BufRead) -> Option<String> {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(bytes) = line.to_lowercase().strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                reader.take(length).read_to_end(&mut Vec::new()).ok()?;
                return Some(head);
            }
            head.push_str(&line);
        }
    }

    fn send(writer: &HttpWriter, debug: bool) -> SendResult {
        let application = Application {
            language_name: "rust".into(),
            tracer_version: "9.9".into(),
            env: "prod".into(),
            ..Application::default()
        };
        writer.send(&Body {
            api_version: "v2",
            request_type: "app-heartbeat",
            tracer_time: 5,
            runtime_id: "r1",
            seq_id: 1,
            debug,
            application: &application,
            host: &Host::default(),
            payload: &Payload::AppHeartbeat,
        })
    }

    fn attempts(result: &SendResult) -> Vec<(&'static str, Option<&'static str>)> {
        result.attempts.iter().map(|one| (one.endpoint, one.outcome.error_type())).collect()
    }

    fn key() -> Option<Secret> {
        Some(Secret::new("0123456789abcdef"))
    }

    #[test]
    fn the_intake_is_tried_when_the_agent_fails_and_the_agent_again_for_the_next_body() {
        let (agent, at_agent) = server(&[500, 200]);
        let (intake, at_intake) = server(&[202]);
        let writer = HttpWriter::new(Some(&agent), "", key(), HttpSettings::default()).unwrap();
        let writer = writer.with_intake(&intake);
        let first = send(&writer, false);
        assert!(first.is_delivered());
        assert_eq!(attempts(&first), [("agent", Some("status_code")), ("agentless", None)]);
        assert_eq!(attempts(&send(&writer, false)), [("agent", None)]);
        let line = |heads: &Mutex<Vec<String>>| {
            heads.lock().unwrap()[0].lines().next().unwrap().to_owned()
        };
        assert_eq!(line(&at_agent), "POST /telemetry/proxy/api/v2/apmtelemetry HTTP/1.1");
        assert_eq!(line(&at_intake), "POST /api/v2/apmtelemetry HTTP/1.1");
        assert_eq!(at_agent.lock().unwrap().len(), 2);
        // The key is for the intake alone.
        assert!(!at_agent.lock().unwrap()[0].to_lowercase().contains("dd-api-key"));
        assert!(
            at_intake.lock().unwrap()[0].to_lowercase().contains("dd-api-key: 0123456789abcdef")
        );
    }

    #[test]
    fn failures_are_told_apart() {
        let (closing, _) = server(&[]);
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        // A listener that never accepts: the connection comes about, the answer does not.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent_url = format!("http://{}", silent.local_addr().unwrap());
        let short = HttpSettings { timeout: Duration::from_millis(50), ..HttpSettings::default() };
        for (url, http, failure) in [
            (closing, HttpSettings::default(), "network"),
            (format!("http://{unused}"), HttpSettings::default(), "network"),
            (silent_url, short, "timeout"),
        ] {
            let writer = HttpWriter::new(Some(&url), "", None, http).unwrap();
            let result = send(&writer, false);
            assert_eq!(attempts(&result), [("agent", Some(failure))], "{result}");
        }
    }

    #[test]
    fn headers_say_what_the_body_is() {
        let (agent, heads) = server(&[200, 200]);
        let writer = HttpWriter::new(Some(&agent), "", None, HttpSettings::default()).unwrap();
        let writer = writer.header("Datadog-Entity-ID", "in-1").header("Datadog-Container-ID", "");
        send(&writer, false);
        send(&writer, true);
        let heads = heads.lock().unwrap();
        let lower = heads[0].to_lowercase();
        for header in [
            "content-type: application/json",
            "dd-telemetry-api-version: v2",
            "dd-telemetry-request-type: app-heartbeat",
            "dd-client-library-language: rust",
            "dd-client-library-version: 9.9",
            "dd-session-id: r1",
            "dd-agent-env: prod",
            "datadog-entity-id: in-1",
        ] {
            assert!(lower.contains(header), "{header}: {lower}");
        }
        // The receiver takes the name `telemetry/…` for a client that does not divide rates.
        assert!(lower.contains("user-agent: whippet/"), "{lower}");
        for header in ["dd-agent-hostname", "debug", "datadog-container-id", "dd-api-key"] {
            assert!(!lower.contains(header), "{header}: {lower}");
        }
        assert!(heads[1].to_lowercase().contains("dd-telemetry-debug-enabled: true"));
    }

    #[test]
    fn endpoints_follow_from_agent_site_and_key() {
        for (site, url) in [
            ("", "https://instrumentation-telemetry-intake.datadoghq.com"),
            ("datadoghq.eu", "https://instrumentation-telemetry-intake.datadoghq.eu"),
            ("us5.datadoghq.com", "https://instrumentation-telemetry-intake.us5.datadoghq.com"),
            ("datad0g.com", "https://all-http-intake.logs.datad0g.com"),
        ] {
            assert_eq!(intake(site), url);
        }
        let labels = |agent, key| {
            let writer = HttpWriter::new(agent, "", key, HttpSettings::default())?;
            Ok(writer.endpoints.iter().map(|endpoint| endpoint.label).collect::<Vec<_>>())
        };
        assert_eq!(labels(Some(DEFAULT_AGENT_URL), key()), Ok(vec!["agent", "agentless"]));
        assert_eq!(labels(Some("HTTP://h/"), None), Ok(vec!["agent"]));
        assert_eq!(labels(None, key()), Ok(vec!["agentless"]));
        assert_eq!(labels(None, Some(Secret::new(" "))), Err(WriterError::NoEndpoint));
        let wrong = labels(Some("localhost:8126"), None).unwrap_err().to_string();
        assert_eq!(
            wrong,
            "agent URL \"localhost:8126\": not an http or https URL such as http://localhost:8126"
        );
    }

    #[test]
    fn a_longer_timeout_is_cut_to_five_seconds() {
        let timeout = |seconds| {
            let timeout = Duration::from_secs(seconds);
            let http = HttpSettings { timeout, ..HttpSettings::default() };
            HttpWriter::new(Some(DEFAULT_AGENT_URL), "", None, http).unwrap().timeout
        };
        assert_eq!((timeout(20), timeout(2)), (Duration::from_secs(5), Duration::from_secs(2)));
    }
}
