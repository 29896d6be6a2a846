//! Posts to the v1 routes of the API, with the answers and limits the model states.

use std::fmt;
use std::time::Duration;

use super::backoff::Backoff;
use super::body::{BODY_BYTES_MAX, series_bodies};
use super::reporter::{Delivery, ReportError, Reporter};
use super::series::{Event, Series};
use crate::clock::Clock;
use crate::encode::{Compression, Route};
use crate::forward::{
    Answer, HttpClient, HttpSettings, HttpSettingsError, KEY_HEADER, ProxySettings, Secret,
    USER_AGENT, printable,
};

/// What an event may report; checked before anything is sent.
const ALERT_TYPES: [&str; 4] = ["error", "warning", "info", "success"];
/// Statuses whose answer is read as JSON and may hold `errors`; other failures end the flush.
const EXPLAINED: [u16; 6] = [400, 401, 403, 404, 409, 429];
/// Attempts after one that could not connect; only over https, as in the model.
const CONNECT_RETRIES: u32 = 3;
/// One request, all in all.
const TIMEOUT: Duration = Duration::from_secs(60);

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
    /// Timeouts (60 s by default), proxies (by default those of the environment) and TLS.
    pub http: HttpSettings,
    /// Measures the pause after repeated timeouts.
    pub clock: Clock,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            api_key: None,
            app_key: None,
            api_host: API_HOST.to_owned(),
            hostname: None,
            compress: false,
            mute: true,
            http: http_settings(|name| std::env::var(name).ok()),
            clock: Clock::wall(),
        }
    }
}

/// Where the API is when nothing else is configured.
pub(super) const API_HOST: &str = "https://api.datadoghq.com";

/// The model's timeout, and the proxies that `variable` finds in the environment. As in the model,
/// entries of `NO_PROXY` match as domain suffix and address block too.
pub(super) fn http_settings(variable: impl Fn(&str) -> Option<String>) -> HttpSettings {
    let proxies = ProxySettings { nonexact_match: true, ..ProxySettings::default() };
    HttpSettings {
        timeout: TIMEOUT,
        connect_timeout: TIMEOUT,
        proxies: proxies.or_environment(variable),
        ..HttpSettings::default()
    }
}

/// Posts metrics to `/api/v1/series`, distributions to `/api/v1/distribution_points` and each event
/// to `/api/v1/events`, over one kept connection.
///
/// Differs: an event with an unknown alert type is left out and counted instead of failing the
/// others with it; redirects are errors; lists larger than the intake takes are split.
pub struct HttpReporter {
    options: HttpOptions,
    user_agent: String,
    /// An unusable proxy or certificate fails every request.
    client: Result<HttpClient, HttpSettingsError>,
    backoff: Backoff,
}

impl HttpReporter {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(mut options: HttpOptions) -> Self {
        let trimmed = options.api_host.trim_end_matches('/').len();
        options.api_host.truncate(trimmed);
        options.api_key = options.api_key.filter(|key| !key.is_empty());
        let client = HttpClient::new(options.http.clone());
        HttpReporter { options, user_agent: user_agent(), client, backoff: Backoff::default() }
    }

    fn post_series(&mut self, route: &str, series: &[Series]) -> Result<Delivery, ReportError> {
        let compression = match self.options.compress {
            true => Compression::preset(Route::SeriesV1),
            false => Compression::None,
        };
        let hostname = self.options.hostname.as_deref();
        let written = series_bodies(series, hostname, compression, BODY_BYTES_MAX)?;
        let mut rejected = written.too_big;
        for body in written.bodies {
            if !self.post(route, &body.body, body.encoding.header())? {
                rejected += body.points;
            }
        }
        Ok(Delivery::rejecting(rejected))
    }

    /// True if the API took it, false if it answered with errors and the reporter is muted.
    fn post(
        &mut self,
        route: &str,
        body: &[u8],
        encoding: Option<&'static str>,
    ) -> Result<bool, ReportError> {
        let options = &self.options;
        let key = options.api_key.as_ref().ok_or(ReportError::NotInitialised)?;
        let url = format!("{}{route}", options.api_host);
        self.backoff.admit(options.clock.monotonic()).map_err(ReportError::Backoff)?;
        let client = match &self.client {
            Ok(client) => client,
            Err(error) => return Err(ReportError::Transport { url, reason: error.to_string() }),
        };
        let mut headers = vec![
            (KEY_HEADER, key.expose()),
            ("Content-Type", "application/json"),
            ("User-Agent", self.user_agent.as_str()),
        ];
        headers.extend(options.app_key.iter().map(|key| ("DD-APPLICATION-KEY", key.expose())));
        headers.extend(encoding.map(|encoding| ("Content-Encoding", encoding)));
        let timeout = options.http.timeout;
        let mut retries = if url.starts_with("https://") { CONNECT_RETRIES } else { 0 };
        let result = loop {
            match client.post(&options.api_host, &url, &headers, body, timeout).0 {
                Err(failure) if retries > 0 && failure.never_connected() => retries -= 1,
                result => break result,
            }
        };
        match result {
            Ok(answer) => {
                self.backoff.answered();
                self.judge(url, &answer)
            }
            Err(failure) if failure.timed_out => {
                self.backoff.timed_out();
                Err(ReportError::Timeout { url, timeout })
            }
            Err(failure) => {
                let detail = printable(&self.redact(&failure.detail));
                let kind = failure.kind.label();
                Err(ReportError::Transport { url, reason: format!("{kind} error: {detail}") })
            }
        }
    }

    fn judge(&self, url: String, answer: &Answer) -> Result<bool, ReportError> {
        let status = answer.status;
        if !(200..300).contains(&status) && !EXPLAINED.contains(&status) {
            return Err(ReportError::Status { url, status });
        }
        if answer.body.is_empty() {
            return Ok(true);
        }
        let Ok(json) = serde_json::from_str::<serde_json::Value>(&answer.body) else {
            let start = self.redact(&answer.body).chars().take(80).collect();
            return Err(ReportError::NotJson { url, start });
        };
        let Some(errors) = json.get("errors").filter(|errors| !is_no_error(errors)) else {
            return Ok(true);
        };
        let errors = self.redact(&errors.to_string());
        if self.options.mute {
            tracing::error!(target: "threadstats", url, status, errors, "the API refused");
            return Ok(false);
        }
        Err(ReportError::Api { url, errors })
    }

    /// `text` without the keys.
    fn redact(&self, text: &str) -> String {
        let keys = [&self.options.api_key, &self.options.app_key];
        keys.into_iter().flatten().fold(text.to_owned(), |text, key| key.redact(&text))
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

/// The v2-style answer to a success is an empty list of errors.
fn is_no_error(errors: &serde_json::Value) -> bool {
    errors.as_array().is_some_and(Vec::is_empty)
}

fn event_body(event: &Event, hostname: Option<&str>) -> Result<Vec<u8>, ReportError> {
    let missing = event.host.as_deref().unwrap_or_default().is_empty();
    let attached = match hostname.filter(|_| missing) {
        Some(hostname) => &Event { host: Some(hostname.to_owned()), ..event.clone() },
        None => event,
    };
    serde_json::to_vec(attached).map_err(|error| ReportError::Other(error.to_string()))
}

/// Names the platform too, as the model does.
fn user_agent() -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{USER_AGENT} (rust; os {os}; arch {arch})")
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
}
