//! The grammar: one envelope, and in it one message or a batch of them.
//!
//! Fields that no metric is made of are not listed, so they are skipped without a copy: texts and
//! stack traces of logs, configurations, dependencies, the host.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::json::Text;

/// The outermost object of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub request_type: Text<'a>,
    /// Unix seconds at which the client built it.
    pub tracer_time: Option<f64>,
    #[serde(borrow)]
    pub runtime_id: Text<'a>,
    #[serde(borrow)]
    pub application: Option<&'a RawValue>,
    /// A list for `message-batch`; heartbeats of libdatadog have none.
    #[serde(borrow)]
    pub payload: Option<&'a RawValue>,
}

/// The program and the client library that sent the message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Application<'a> {
    #[serde(borrow)]
    pub service_name: Text<'a>,
    #[serde(borrow)]
    pub env: Text<'a>,
    #[serde(borrow)]
    pub service_version: Text<'a>,
    #[serde(borrow)]
    pub language_name: Text<'a>,
    #[serde(borrow)]
    pub tracer_version: Text<'a>,
}

/// One message of a batch; also what an envelope holds without one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub request_type: Text<'a>,
    #[serde(borrow)]
    pub payload: Option<&'a RawValue>,
}

/// Payload of `generate-metrics`, `distributions` and `sketches`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SeriesList<'a> {
    /// Of all series that have none of their own.
    #[serde(borrow)]
    pub namespace: Text<'a>,
    #[serde(borrow)]
    pub series: Option<&'a RawValue>,
}

/// One series of any of the three.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Series<'a> {
    #[serde(borrow)]
    pub metric: Text<'a>,
    #[serde(borrow)]
    pub namespace: Text<'a>,
    /// `count`, `rate` or `gauge`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// `[second, value]` each; of a distribution values.
    #[serde(borrow)]
    pub points: Option<&'a RawValue>,
    /// Seconds.
    pub interval: Option<f64>,
    #[serde(borrow)]
    pub tags: Option<&'a RawValue>,
    /// Whether all languages have this metric; missing means so.
    pub common: Option<bool>,
    /// A sketch as protobuf in base64.
    #[serde(borrow)]
    pub sketch_b64: Text<'a>,
}

/// Payload of `logs`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LogList<'a> {
    #[serde(borrow)]
    pub logs: Option<&'a RawValue>,
}

/// What is read of one log line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Log<'a> {
    #[serde(borrow)]
    pub level: Text<'a>,
    /// How often; missing means once.
    pub count: Option<f64>,
    /// Unix seconds of the first of them.
    pub tracer_time: Option<f64>,
}

/// The types of messages that are told apart here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageType {
    Metrics,
    Distributions,
    Sketches,
    Logs,
    Batch,
    Started,
    Closing,
    /// Says only that its sender is alive.
    Other,
    /// An unknown type.
    Unknown,
}

impl MessageType {
    pub fn of(word: &str) -> Self {
        match word {
            "generate-metrics" => MessageType::Metrics,
            "distributions" => MessageType::Distributions,
            "sketches" => MessageType::Sketches,
            "logs" => MessageType::Logs,
            "message-batch" => MessageType::Batch,
            "app-started" => MessageType::Started,
            "app-closing" => MessageType::Closing,
            "app-heartbeat"
            | "app-extended-heartbeat"
            | "app-dependencies-loaded"
            | "app-integrations-change"
            | "app-client-configuration-change"
            | "app-product-change"
            | "app-endpoints" => MessageType::Other,
            _ => MessageType::Unknown,
        }
    }
}
