//! What callers may add to a call.

use super::number::Number;

/// The optional part of a metric call: time, tags, host.
///
/// Calls take `impl Into<Opts>`, so `()` means none and a slice of tags means just these tags.
///
/// ```
/// use whippet::threadstats::Opts;
///
/// let opts = Opts::tags(&["route:/x"]).at(1_700_000_000).on("web-1");
/// assert_eq!(opts.host, Some("web-1"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Opts<'a> {
    /// Unix seconds, whole or not; absent, 0 and 0.0 mean now.
    pub timestamp: Option<Number>,
    /// Identity uses the multiset, reports the order of the interval's first caller. No tags and an
    /// empty list are one series.
    pub tags: Option<&'a [&'a str]>,
    /// Part of the identity; absent and empty differ.
    pub host: Option<&'a str>,
    /// Accepted and ignored, as the model wants: nothing is dropped or scaled.
    pub sample_rate: f64,
}

impl Default for Opts<'_> {
    fn default() -> Self {
        Opts { timestamp: None, tags: None, host: None, sample_rate: 1.0 }
    }
}

impl<'a> Opts<'a> {
    /// Only tags.
    #[must_use]
    pub fn tags(tags: &'a [&'a str]) -> Self {
        Opts { tags: Some(tags), ..Opts::default() }
    }

    /// At a time, in unix seconds.
    #[must_use]
    pub fn at(self, timestamp: impl Into<Number>) -> Self {
        Opts { timestamp: Some(timestamp.into()), ..self }
    }

    /// For another host.
    #[must_use]
    pub fn on(self, host: &'a str) -> Self {
        Opts { host: Some(host), ..self }
    }
}

impl From<()> for Opts<'_> {
    fn from((): ()) -> Self {
        Opts::default()
    }
}

impl<'a> From<&'a [&'a str]> for Opts<'a> {
    fn from(tags: &'a [&'a str]) -> Self {
        Opts::tags(tags)
    }
}

impl<'a, const N: usize> From<&'a [&'a str; N]> for Opts<'a> {
    fn from(tags: &'a [&'a str; N]) -> Self {
        Opts::tags(tags)
    }
}

impl<'a> From<&Opts<'a>> for Opts<'a> {
    fn from(opts: &Opts<'a>) -> Self {
        *opts
    }
}

/// The optional part of an event. Absent fields are not sent; empty ones are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EventOpts<'a> {
    /// `error`, `warning`, `info` or `success`.
    pub alert_type: Option<&'a str>,
    /// Groups events.
    pub aggregation_key: Option<&'a str>,
    /// What sent it.
    pub source_type_name: Option<&'a str>,
    /// Unix seconds; nothing is filled in when absent.
    pub date_happened: Option<Number>,
    /// `normal` or `low`.
    pub priority: Option<&'a str>,
    /// Come before the constant tags.
    pub tags: Option<&'a [&'a str]>,
    /// Where it happened.
    pub host: Option<&'a str>,
}

/// How [`ThreadStats::start`](super::ThreadStats::start) begins to record.
#[derive(Clone, Debug, PartialEq)]
pub struct StartOptions {
    /// Seconds between automatic flushes; the first comes after one whole interval. Default 10.
    pub flush_interval: f64,
    /// Seconds of one bucket, whole or not, and what counters are divided by. Default 10.
    pub roll_up_interval: Number,
    /// Copied to every series.
    pub device: Option<String>,
    /// Flush from a background thread. Default true; without it the caller calls
    /// [`flush`](super::ThreadStats::flush), from any thread or task.
    pub flush_in_thread: bool,
    /// Accept and drop everything. Default false.
    pub disabled: bool,
}

impl Default for StartOptions {
    fn default() -> Self {
        StartOptions {
            flush_interval: 10.0,
            roll_up_interval: Number::Int(10),
            device: None,
            flush_in_thread: true,
            disabled: false,
        }
    }
}

impl StartOptions {
    /// No background thread: the caller flushes.
    #[must_use]
    pub fn manual() -> Self {
        StartOptions { flush_in_thread: false, ..StartOptions::default() }
    }

    /// With another bucket width, in seconds.
    #[must_use]
    pub fn roll_up(self, seconds: impl Into<Number>) -> Self {
        StartOptions { roll_up_interval: seconds.into(), ..self }
    }
}

/// Why [`ThreadStats::start`](super::ThreadStats::start) refused; the client stays as it was.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The roll-up interval is 0, negative or not finite.
    #[error(
        "roll_up_interval: {0} is not a valid bucket width; use a finite number of seconds above 0"
    )]
    RollUpInterval(Number),
    /// The flush interval is unusable; only checked when a thread flushes.
    #[error("flush_interval: {0} is not a valid period; use seconds above 0 and at most 1e9")]
    FlushInterval(f64),
    /// The operating system gave no thread.
    #[error("cannot start the thread of the periodic flush: {0}")]
    Thread(String),
}

/// What a client may hold between flushes. Past a limit a call is refused and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Keys times intervals not yet flushed. Default one million.
    pub series_max: usize,
    /// Distribution values and set members not yet flushed, 16 to 24 bytes each. Default ten million.
    pub values_max: usize,
    /// Events not yet flushed. Default 100 000.
    pub events_max: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        ClientLimits { series_max: 1_000_000, values_max: 10_000_000, events_max: 100_000 }
    }
}
