//! What a flush hands to a reporter.

use std::sync::Arc;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::number::Number;

/// How the intake reads a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesType {
    /// A value at a time.
    Gauge,
    /// Events per second over the interval.
    Rate,
    /// A list of raw values.
    Distribution,
}

impl SeriesType {
    /// The word of the intake.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            SeriesType::Gauge => "gauge",
            SeriesType::Rate => "rate",
            SeriesType::Distribution => "distribution",
        }
    }
}

/// The value of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum PointValue {
    /// Of a gauge or a rate.
    Number(Number),
    /// Of a distribution: every value, in the order of the calls.
    List(Vec<Number>),
}

impl From<Number> for PointValue {
    fn from(number: Number) -> Self {
        PointValue::Number(number)
    }
}

impl Serialize for PointValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            PointValue::Number(number) => number.serialize(serializer),
            PointValue::List(numbers) => numbers.serialize(serializer),
        }
    }
}

/// One series of one flush: one point, everything resolved. Serialises to the seven fields of the
/// v1 intake, numbers as they were given.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Namespace and suffix included.
    pub metric: String,
    /// Seconds: the start of the interval, an integer if its first caller gave one.
    pub timestamp: Number,
    /// The value of the interval.
    pub value: PointValue,
    /// How to read it.
    pub kind: SeriesType,
    /// As the caller passed it; none and empty are different things.
    pub host: Option<Arc<str>>,
    /// From [`StartOptions`](super::StartOptions).
    pub device: Option<Arc<str>>,
    /// The call's tags, then the constant ones; none when there are neither.
    pub tags: Option<Arc<[String]>>,
    /// Seconds: the roll-up interval.
    pub interval: Number,
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Series", 7)?;
        fields.serialize_field("metric", &self.metric)?;
        fields.serialize_field("points", &[(self.timestamp, &self.value)])?;
        fields.serialize_field("type", self.kind.word())?;
        fields.serialize_field("host", &self.host.as_deref())?;
        fields.serialize_field("device", &self.device.as_deref())?;
        fields.serialize_field("tags", &self.tags.as_deref())?;
        fields.serialize_field("interval", &self.interval)?;
        fields.end()
    }
}

/// An event as the reporter gets it. Absent fields are left out of the JSON; empty ones stay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// The title, without the namespace.
    pub title: String,
    /// The message.
    pub text: String,
    /// `error`, `warning`, `info` or `success`; anything else the HTTP reporter refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_type: Option<String>,
    /// Groups events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregation_key: Option<String>,
    /// What sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_type_name: Option<String>,
    /// Unix seconds; nothing is filled in when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_happened: Option<Number>,
    /// `normal` or `low`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// The call's tags, then the constant ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Where it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}
