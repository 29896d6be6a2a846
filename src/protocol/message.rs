//! What a line says, borrowed from the datagram it came in.

/// The metric types of the wire. `h` and `ms` feed one histogram, but read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MetricType {
    /// `c`
    Counter,
    /// `g`
    Gauge,
    /// `h`
    Histogram,
    /// `ms`
    Timing,
    /// `s`
    Set,
    /// `d`
    Distribution,
}

/// The three kinds of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageType {
    /// `name:value|type|…`
    Metric,
    /// `_e{…}:…`
    Event,
    /// `_sc|…`
    ServiceCheck,
}

/// One line, read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Message<'a> {
    /// `name:value|type|…`
    Metric(Metric<'a>),
    /// `_e{…}:…`
    Event(Event<'a>),
    /// `_sc|…`
    ServiceCheck(ServiceCheck<'a>),
}

/// The smallest sample rate that is taken as it is: a line stands for a thousand million at most.
/// Smaller ones would make counts that floats and payloads cannot hold.
pub const RATE_MIN: f64 = 1e-9;

/// A metric line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric<'a> {
    /// Non-empty bytes before the first `:`, never validated as UTF-8.
    pub name: &'a [u8],
    /// The type field.
    pub kind: MetricType,
    /// One or more samples, all of them already checked.
    pub values: Values<'a>,
    /// The last `@` as it was written, also when it is out of range; 1 when absent.
    pub rate: f64,
    /// The last `#` field without the `#`; empty when absent.
    pub tags: &'a [u8],
    /// The last `T` field, at least 1; always absent when [`Options::timestamps`] is off.
    pub timestamp: Option<i64>,
    /// Origin fields, all absent when [`Options::origin`] is off.
    pub origin: OriginFields<'a>,
}

/// The samples of one metric line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values<'a> {
    /// One number, by far the most common; may be NaN or infinite.
    One(f64),
    /// Several numbers joined by `:` as on the wire, each of them known to parse; read them with
    /// [`Values::numbers`]. Empty items between colons are skipped.
    Packed(&'a [u8]),
    /// One opaque set member, `:` included, never empty.
    Member(&'a [u8]),
}

/// Origin fields as the client wrote them, without their prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OriginFields<'a> {
    /// `c:`
    pub local_data: Option<&'a [u8]>,
    /// `e:`
    pub external_data: Option<&'a [u8]>,
    /// `card:`
    pub cardinality: Option<&'a [u8]>,
}

/// An event line. Texts are as on the wire: `\n` is still two bytes (see [`super::unescape`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// Never empty.
    pub title: &'a [u8],
    /// May be empty.
    pub text: &'a [u8],
    /// The last `d:`, unix seconds, never 0; absent means the time of receipt.
    pub timestamp: Option<i64>,
    /// The last `h:`, never empty; wins over a `host:` tag.
    pub host: Option<&'a [u8]>,
    /// `k:`
    pub aggregation_key: &'a [u8],
    /// `p:`
    pub priority: Priority,
    /// `s:`
    pub source_type: &'a [u8],
    /// `t:`
    pub alert_type: AlertType,
    /// The last `#` field without the `#`.
    pub tags: &'a [u8],
    /// Origin fields.
    pub origin: OriginFields<'a>,
    /// Fields whose content was not understood: the line is kept, each is worth a warning.
    pub ignored: Ignored,
}

/// A service-check line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceCheck<'a> {
    /// Never empty.
    pub name: &'a [u8],
    /// The status field.
    pub status: Status,
    /// The last `d:`, unix seconds, never 0; absent means the time of receipt.
    pub timestamp: Option<i64>,
    /// The last `h:`, never empty; wins over a `host:` tag.
    pub host: Option<&'a [u8]>,
    /// `m:`, escapes untouched.
    pub message: &'a [u8],
    /// The last `#` field without the `#`.
    pub tags: &'a [u8],
    /// Origin fields.
    pub origin: OriginFields<'a>,
    /// Fields whose content was not understood.
    pub ignored: Ignored,
}

/// Which optional fields of an event or check were skipped because of their content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// `d:` is not an integer.
    pub timestamp: bool,
    /// `p:` is neither `normal` nor `low`.
    pub priority: bool,
    /// `t:` is none of the four alert types.
    pub alert_type: bool,
}

/// How urgent an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// `normal`
    #[default]
    Normal,
    /// `low`
    Low,
}

/// What an event reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlertType {
    /// `info`
    #[default]
    Info,
    /// `warning`
    Warning,
    /// `error`
    Error,
    /// `success`
    Success,
}

/// The state a service check reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// `0`
    Ok = 0,
    /// `1`
    Warning = 1,
    /// `2`
    Critical = 2,
    /// `3`
    Unknown = 3,
}

/// What the reader honours beyond protocol v1.1; everything else is an unknown field and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Read `T` (`dogstatsd_no_aggregation_pipeline`, default true).
    pub timestamps: bool,
    /// Read `c:`, `e:` and `card:` (`dogstatsd_origin_detection_client`, default false).
    pub origin: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { timestamps: true, origin: false }
    }
}

impl MetricType {
    /// The full word, as the Agent's telemetry has it: `counter`, `timing` and so on.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::Timing => "timing",
            MetricType::Set => "set",
            MetricType::Distribution => "distribution",
        }
    }
}

impl MessageType {
    /// The plural the Agent's telemetry uses as its `message_type` label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            MessageType::Metric => "metrics",
            MessageType::Event => "events",
            MessageType::ServiceCheck => "service_checks",
        }
    }
}

impl Priority {
    /// The word in the intake's JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Priority::Normal => "normal",
            Priority::Low => "low",
        }
    }
}

impl AlertType {
    /// The word on the wire and in the intake's JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            AlertType::Info => "info",
            AlertType::Warning => "warning",
            AlertType::Error => "error",
            AlertType::Success => "success",
        }
    }
}
