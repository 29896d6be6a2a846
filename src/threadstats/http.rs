//! Posts to the v1 routes of the API, with the answers and limits the model states.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use ureq::Agent;

use super::backoff::Backoff;
use super::body::{BODY_BYTES_MAX, Body, series_bodies};
use super::reporter::{Delivery, ReportError, Reporter};
use super::series::{Event, Series};
use crate::clock::Clock;
use crate::forward::Secret;

/// What an event may report; checked before anything is sent.
const ALERT_TYPES: [&str; 4] = ["error", "warning", "info", "success"];
/// Statuses whose answer is read as JSON and may hold `errors`; other failures end the flush.
const EXPLAINED: [u16; 6] = [400, 401, 403, 404, 409, 429];
/// Attempts after one that could not connect; only over https, as in the model.
const CONNECT_RETRIES: u32 = 3;
/// Answers are a line or two; more is no API.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// How an [`HttpReporter`] posts.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Without one every flush that has something to report fails.
    pub api_key: Option<Secret>,
    /// Only sent when given.
    pub app_key: Option<Secret>,
    /// The base URL, with or without a slash at its end.
    pub api_host: String,
    /// Replaces empty hosts, and the missing host of an event.
    pub hostname: Option<String>,
    /// Compress bodies of metrics and distributions; never of events.
    pub compress: bool,
    /// Log and count the API's errors instead of failing.
    pub mute: bool,
    /// One request, all in all. Default 60 s.
    pub timeout: Duration,
    /// Measures the pause after repeated timeouts.
    pub clock: Clock,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            api_key: None,
            app_key: None,
            api_host: "https://api.datadoghq.com".to_owned(),
            hostname: None,
            compress: false,
            mute: true,
            timeout: Duration::from_secs(60),
            clock: Clock::wall(),
        }
    }
}

/// Posts metrics to `/api/v1/series`, distributions to `/api/v1/distribution_points` and each event
/// to `/api/v1/events`, over one kept connection.
///
/// Differs: an event with an unknown alert type is left out and counted instead of failing the
/// others with it; redirects are errors; lists larger than the intake takes are split.
pub struct HttpReporter {
    options: HttpOptions,
    agent: Agent,
    backoff: Backoff,
}

impl HttpReporter {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(mut options: HttpOptions) -> Self {
        let trimmed = options.api_host.trim_end_matches('/').len();
        options.api_host.truncate(trimmed);
        options.api_key = options.api_key.filter(|key| !key.is_empty());
        let agent = Agent::config_builder()
            .timeout_global(Some(options.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(user_agent())
            .build()
            .new_agent();
        HttpReporter { options, agent, backoff: Backoff::default() }
    }

    fn post_series(&mut self, route: &str, series: &[Series]) -> Result<Delivery, ReportError> {
        let bodies = series_bodies(series, self.options.hostname.as_deref(), BODY_BYTES_MAX);
        let mut rejected = 0;
        for Body { json, series } in bodies {
            let accepted = if self.options.compress {
                self.post(route, &deflated(&json)?, Some("deflate"))?
            } else {
                self.post(route, &json, None)?
            };
            rejected += if accepted { 0 } else { series };
        }
        Ok(Delivery::rejecting(rejected))
    }

    /// True if the API took it, false if it answered with errors and the reporter is muted.
    fn post(
        &mut self,
        route: &str,
        body: &[u8],
        encoding: Option<&str>,
    ) -> Result<bool, ReportError> {
        let key = self.options.api_key.as_ref().ok_or(ReportError::NotInitialised)?;
        let url = format!("{}{route}", self.options.api_host);
        self.backoff.admit(self.options.clock.monotonic()).map_err(ReportError::Backoff)?;
        let mut retries = if url.starts_with("https://") { CONNECT_RETRIES } else { 0 };
        let answer = loop {
            let mut request = self
                .agent
                .post(&url)
                .header("Content-Type", "application/json")
                .header("DD-API-KEY", key.expose());
            if let Some(app_key) = &self.options.app_key {
                request = request.header("DD-APPLICATION-KEY", app_key.expose());
            }
            if let Some(encoding) = encoding {
                request = request.header("Content-Encoding", encoding);
            }
            match request.send(body).and_then(read) {
                Err(error) if retries > 0 && never_connected(&error) => retries -= 1,
                answer => break answer,
            }
        };
        match answer {
            Ok(answer) => {
                self.backoff.answered();
                self.judge(url, &answer)
            }
            Err(ureq::Error::Timeout(_)) => {
                self.backoff.timed_out();
                Err(ReportError::Timeout { url, timeout: self.options.timeout })
            }
            Err(error) => Err(ReportError::Transport { url, reason: error.to_string() }),
        }
    }

    fn judge(&self, url: String, answer: &Answer) -> Result<bool, ReportError> {
        let status = answer.status;
        if !(200..300).contains(&status) && !EXPLAINED.contains(&status) {
            return Err(ReportError::Status { url, status });
        }
        if answer.text.is_empty() {
            return Ok(true);
        }
        let Ok(json) = serde_json::from_str::<serde_json::Value>(&answer.text) else {
            let start = answer.text.chars().take(80).collect();
            return Err(ReportError::NotJson { url, start });
        };
        let Some(errors) = json.get("errors").filter(|errors| !is_no_error(errors)) else {
            return Ok(true);
        };
        let errors = errors.to_string();
        if self.options.mute {
            tracing::error!(target: "threadstats", url, status, errors, "the API refused");
            return Ok(false);
        }
        Err(ReportError::Api { url, errors })
    }
}

impl Reporter for HttpReporter {
    fn flush_metrics(&mut self, metrics: &[Series]) -> Result<Delivery, ReportError> {
        self.post_series("/api/v1/series", metrics)
    }

    fn flush_distributions(&mut self, distributions: &[Series]) -> Result<Delivery, ReportError> {
        self.post_series("/api/v1/distribution_points", distributions)
    }

    fn flush_events(&mut self, events: &[Event]) -> Result<Delivery, ReportError> {
        let mut rejected = 0;
        for event in events {
            let known = |alert_type: &String| ALERT_TYPES.contains(&alert_type.as_str());
            if !event.alert_type.as_ref().is_none_or(known) {
                tracing::error!(target: "threadstats", alert_type = event.alert_type,
                    "an alert type must be error, warning, info or success: event not sent");
                rejected += 1;
                continue;
            }
            let body = event_body(event, self.options.hostname.as_deref())?;
            rejected += usize::from(!self.post("/api/v1/events", &body, None)?);
        }
        Ok(Delivery::rejecting(rejected))
    }

    fn restart(&mut self) {
        self.backoff = Backoff::default();
    }
}

struct Answer {
    status: u16,
    text: String,
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let status = response.status().as_u16();
    let bytes = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
    Ok(Answer { status, text: String::from_utf8_lossy(&bytes).into_owned() })
}

/// The v2-style answer to a success is an empty list of errors.
fn is_no_error(errors: &serde_json::Value) -> bool {
    errors.as_array().is_some_and(Vec::is_empty)
}

fn never_connected(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    match error {
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => true,
        ureq::Error::Io(error) => {
            matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
        }
        _ => false,
    }
}

fn event_body(event: &Event, hostname: Option<&str>) -> Result<Vec<u8>, ReportError> {
    let missing = event.host.as_deref().unwrap_or_default().is_empty();
    let attached = match hostname.filter(|_| missing) {
        Some(hostname) => &Event { host: Some(hostname.to_owned()), ..event.clone() },
        None => event,
    };
    serde_json::to_vec(attached).map_err(|error| ReportError::Other(error.to_string()))
}

/// A zlib stream, which the intake calls `deflate`.
fn deflated(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body)?;
    encoder.finish()
}

fn user_agent() -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("whippet/{} (rust; os {os}; arch {arch})", env!("CARGO_PKG_VERSION"))
}

impl fmt::Debug for HttpReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpReporter").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_printed() {
        let options = HttpOptions {
            api_key: Some(Secret::new("0123456789abcdef")),
            app_key: Some(Secret::new("short")),
            ..HttpOptions::default()
        };
        let text = format!("{:?}", HttpReporter::new(options));
        assert!(text.contains("***bcdef") && !text.contains("abcdef"), "{text}");
        assert!(!text.contains("shor"), "{text}");
    }

    #[test]
    fn zlib_bodies_begin_as_the_intake_expects() {
        assert_eq!(deflated(br#"{"series":[]}"#).unwrap()[..2], [0x78, 0x9c]);
    }
}
