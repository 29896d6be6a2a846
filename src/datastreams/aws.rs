//! SQS, SNS and Kinesis: the context is JSON in a message attribute, or in the record itself. Plain structures
//! with the names of the API take the place of an SDK.
//!
//! ```text
//! SQS      attribute _datadog = { DataType: String, StringValue: {"dd-pathway-ctx-base64": "…"} }
//! SNS      attribute _datadog = { DataType: Binary, BinaryValue: the same }
//!          and at the queue that is subscribed: in the body {"Type": "Notification", "MessageAttributes":
//!          {"_datadog": {"Type": "Binary", "Value": base64 of the same}}}, or, with raw delivery, as it was
//! Kinesis  the data, a JSON object, gains "_datadog": {"dd-pathway-ctx-base64": "…"}
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::carrier::{CarrierGet, CarrierSet};
use super::client::DataStreams;
use super::options::Options;
use super::pathway::Pathway;
use super::size;

/// The attribute, and the key in a Kinesis record, that holds the context. A receiver of SQS has to ask for it:
/// `MessageAttributeNames` must name it.
pub const DATADOG_ATTRIBUTE: &str = "_datadog";
/// Attributes that a message of SQS or SNS may have.
const ATTRIBUTES_MAX: usize = 10;
/// Bytes that the data of a Kinesis record must stay below.
const KINESIS_BYTES_MAX: usize = 1 << 20;

/// Attributes of a message, by name.
pub type MessageAttributes = BTreeMap<String, MessageAttribute>;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageAttribute {
    /// `StringValue`, of any type but `Binary`.
    Text {
        /// `String`, `Number`, or one of them with a suffix.
        data_type: String,
        /// The text.
        value: String,
    },
    /// `BinaryValue`.
    Binary {
        /// `Binary`, or it with a suffix.
        data_type: String,
        /// The bytes, without base64.
        value: Vec<u8>,
    },
}

impl MessageAttribute {
    fn size(&self) -> u64 {
        let (kind, key, value) = match self {
            MessageAttribute::Text { data_type, value } => {
                (data_type, "StringValue", value.as_bytes())
            }
            MessageAttribute::Binary { data_type, value } => (data_type, "BinaryValue", &value[..]),
        };
        size::of_all(&[b"DataType", kind.as_bytes(), key.as_bytes(), value])
    }

    fn bytes(&self) -> &[u8] {
        match self {
            MessageAttribute::Text { value, .. } => value.as_bytes(),
            MessageAttribute::Binary { value, .. } => value,
        }
    }
}

fn size_of_attributes(attributes: &MessageAttributes) -> u64 {
    attributes.iter().map(|(name, attribute)| name.len() as u64 + attribute.size()).sum()
}

/// What goes into `_datadog`: the context, beside what the caller has for it.
#[derive(Clone, Debug, Default)]
struct Datadog(Map<String, Value>);

impl Datadog {
    /// What tracing puts there, if anything.
    fn new(trace_context: &[(&str, &str)]) -> Self {
        let entries = trace_context.iter();
        Datadog(entries.map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect())
    }

    fn size(&self) -> u64 {
        let entries = self.0.iter();
        entries.map(|(key, value)| key.len() as u64 + size::of_json(value)).sum()
    }

    fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// What a JSON text holds; nothing if it is no object.
    fn of_json(json: &[u8]) -> Self {
        Datadog(serde_json::from_slice(json).unwrap_or_default())
    }
}

impl CarrierGet for Datadog {
    fn get(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        self.0.get(key).and_then(Value::as_str).map(|text| Cow::Borrowed(text.as_bytes()))
    }
}

impl CarrierSet for Datadog {
    fn set(&mut self, key: &str, value: &[u8]) {
        let value = String::from_utf8_lossy(value).into_owned();
        self.0.insert(key.to_owned(), Value::from(value));
    }
}

/// A message on its way to a queue.
#[derive(Debug)]
pub struct SqsMessage<'a> {
    /// `QueueUrl`; its last part is the name of the queue.
    pub queue_url: &'a str,
    /// `MessageBody`.
    pub body: &'a str,
    /// `MessageAttributes`, which gain the context.
    pub attributes: &'a mut MessageAttributes,
    /// Bytes of `MessageSystemAttributes`: names, types and values.
    pub system_attributes_size: u64,
    /// `MessageGroupId`; empty without one.
    pub group_id: &'a str,
    /// What else goes into the attribute: the headers of a tracer. Usually empty.
    pub trace_context: &'a [(&'a str, &'a str)],
}

/// A message on its way to a topic.
#[derive(Debug)]
pub struct SnsMessage<'a> {
    /// `TopicArn`.
    pub topic_arn: &'a str,
    /// `Message`.
    pub message: &'a str,
    /// `MessageAttributes`, which gain the context.
    pub attributes: &'a mut MessageAttributes,
    /// `Subject`; empty without one.
    pub subject: &'a str,
    /// `MessageGroupId`; empty without one.
    pub group_id: &'a str,
    /// What else goes into the attribute: the headers of a tracer. Usually empty.
    pub trace_context: &'a [(&'a str, &'a str)],
}

/// A message as a queue hands it out.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReceivedSqsMessage<'a> {
    /// `QueueUrl`; its last part is the name of the queue.
    pub queue_url: &'a str,
    /// `Body`.
    pub body: &'a str,
    /// `MessageAttributes`, if there are any.
    pub attributes: Option<&'a MessageAttributes>,
    /// `MessageGroupId`; empty without one.
    pub group_id: &'a str,
}

/// A record on its way to a stream, or from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct KinesisRecord<'a> {
    /// `StreamARN`, or else `StreamName`.
    pub stream: &'a str,
    /// `PartitionKey`.
    pub partition_key: &'a str,
    /// `ExplicitHashKey`; empty without one.
    pub explicit_hash_key: &'a str,
}

impl KinesisRecord<'_> {
    fn size(&self, data: &[u8]) -> u64 {
        size::of_all(&[data, self.explicit_hash_key.as_bytes(), self.partition_key.as_bytes()])
    }
}

impl DataStreams {
    /// A message is about to be sent to a queue: passes a checkpoint and puts the context into its attributes, if it
    /// has less than ten.
    pub fn produce_sqs(
        &self,
        message: SqsMessage<'_>,
        parent: Option<&Pathway>,
    ) -> Option<Pathway> {
        let SqsMessage { queue_url, body, attributes, system_attributes_size, group_id, .. } =
            message;
        let mut datadog = Datadog::new(message.trace_context);
        // The attribute does not have the context yet, and without anything else it does not count.
        let added = if datadog.0.is_empty() { 0 } else { added_size("String", &datadog) };
        let payload_size = size::of_all(&[body.as_bytes(), group_id.as_bytes()])
            + size_of_attributes(attributes)
            + system_attributes_size
            + added;
        let topic = format!("topic:{}", queue_name(queue_url));
        let options = Options { payload_size, ..Options::default() };
        let tags = ["direction:out", &*topic, "type:sqs"];
        let pathway = self.produce_tagged(&tags, &mut datadog, parent, &options)?;
        if attributes.len() < ATTRIBUTES_MAX {
            let (data_type, value) = ("String".to_owned(), datadog.to_json());
            let attribute = MessageAttribute::Text { data_type, value };
            attributes.insert(DATADOG_ATTRIBUTE.to_owned(), attribute);
        }
        Some(pathway)
    }

    /// A message is about to be published to a topic: passes a checkpoint and puts the context into its attributes,
    /// if it has less than ten.
    pub fn produce_sns(
        &self,
        message: SnsMessage<'_>,
        parent: Option<&Pathway>,
    ) -> Option<Pathway> {
        let SnsMessage { topic_arn, message: text, attributes, subject, group_id, .. } = message;
        let mut datadog = Datadog::new(message.trace_context);
        let texts = [text.as_bytes(), subject.as_bytes(), group_id.as_bytes()];
        let payload_size =
            size::of_all(&texts) + size_of_attributes(attributes) + added_size("Binary", &datadog);
        let topic = format!("topic:{topic_arn}");
        let options = Options { payload_size, ..Options::default() };
        let tags = ["direction:out", &*topic, "type:sns"];
        let pathway = self.produce_tagged(&tags, &mut datadog, parent, &options)?;
        if attributes.len() < ATTRIBUTES_MAX {
            let (data_type, value) = ("Binary".to_owned(), datadog.to_json().into_bytes());
            let attribute = MessageAttribute::Binary { data_type, value };
            attributes.insert(DATADOG_ATTRIBUTE.to_owned(), attribute);
        }
        Some(pathway)
    }

    /// A message came from a queue, sent to it or published to a topic that it subscribes to: passes a checkpoint
    /// that continues its context.
    pub fn consume_sqs(&self, message: &ReceivedSqsMessage<'_>) -> Option<Pathway> {
        let ReceivedSqsMessage { queue_url, body, attributes, group_id } = *message;
        if !self.is_enabled() {
            return None;
        }
        let carrier = context_of_sqs(body, attributes);
        let payload_size = size::of_all(&[body.as_bytes(), group_id.as_bytes()])
            + attributes.map_or(0, size_of_attributes);
        let topic = format!("topic:{}", queue_name(queue_url));
        let options = Options { payload_size, ..Options::default() };
        self.consume_tagged(&["direction:in", &*topic, "type:sqs"], &carrier, &options)
    }

    /// A record is about to be put into a stream: passes a checkpoint and puts the context into its data, a JSON object
    /// or base64 of one, which becomes a JSON object. Data that would have 1 MiB with the context stays as it is. What
    /// is no JSON object, or has no stream, passes no checkpoint, as in the Python client.
    pub fn produce_kinesis(
        &self,
        record: &KinesisRecord<'_>,
        data: &mut Vec<u8>,
        parent: Option<&Pathway>,
    ) -> Option<Pathway> {
        if record.stream.is_empty() || !self.is_enabled() {
            return None;
        }
        let (mut object, line_feed) = record_object(data)?;
        let mut datadog = Datadog(match object.remove(DATADOG_ATTRIBUTE) {
            Some(Value::Object(known)) => known,
            _ => Map::new(),
        });
        let known = match datadog.size() {
            0 => 0,
            size => DATADOG_ATTRIBUTE.len() as u64 + size,
        };
        let topic = format!("topic:{}", record.stream);
        let options = Options { payload_size: record.size(data) + known, ..Options::default() };
        let tags = ["direction:out", &*topic, "type:kinesis"];
        let pathway = self.produce_tagged(&tags, &mut datadog, parent, &options)?;
        object.insert(DATADOG_ATTRIBUTE.to_owned(), Value::Object(datadog.0));
        let whole = Value::Object(object).to_string() + line_feed;
        if whole.len() < KINESIS_BYTES_MAX {
            *data = whole.into_bytes();
        }
        Some(pathway)
    }

    /// A record came from a stream, where it arrived at about `arrived` (since the epoch): passes a checkpoint that
    /// continues the context in its data. Both latencies are since then, as the context's times are of a batch.
    pub fn consume_kinesis(
        &self,
        record: &KinesisRecord<'_>,
        data: &[u8],
        arrived: Duration,
    ) -> Option<Pathway> {
        if record.stream.is_empty() || !self.is_enabled() {
            return None;
        }
        let object = record_object(data);
        let carrier = match object.and_then(|(mut it, _)| it.remove(DATADOG_ATTRIBUTE)) {
            Some(Value::Object(datadog)) => Datadog(datadog),
            _ => Datadog::default(),
        };
        let topic = format!("topic:{}", record.stream);
        let (edge_start, pathway_start) = (Some(arrived), Some(arrived));
        let payload_size = record.size(data);
        let options = Options { payload_size, edge_start, pathway_start, ..Options::default() };
        self.consume_tagged(&["direction:in", &*topic, "type:kinesis"], &carrier, &options)
    }
}

/// What the attribute adds, before it has the context.
fn added_size(kind: &str, datadog: &Datadog) -> u64 {
    let value = format!("{kind}Value");
    let texts = [DATADOG_ATTRIBUTE, "DataType", kind, &value];
    texts.iter().map(|text| text.len() as u64).sum::<u64>() + datadog.size()
}

fn queue_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

fn json_object(data: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(data).ok()
}

/// The object in a Kinesis record, and the line feed behind it, if there is one.
fn record_object(data: &[u8]) -> Option<(Map<String, Value>, &'static str)> {
    let line_feed = |data: &[u8]| if data.ends_with(b"\n") { "\n" } else { "" };
    if let Some(object) = json_object(data) {
        return Some((object, line_feed(data)));
    }
    let data = STANDARD.decode(data).ok()?;
    Some((json_object(&data)?, line_feed(&data)))
}

/// From the attributes of the message, or from those of a notification in its body.
fn context_of_sqs(body: &str, attributes: Option<&MessageAttributes>) -> Datadog {
    if let Some(attribute) = attributes.and_then(|all| all.get(DATADOG_ATTRIBUTE)) {
        return Datadog::of_json(attribute.bytes());
    }
    let Some(body) = json_object(body.as_bytes()) else { return Datadog::default() };
    let [one, other] = ["MessageAttributes", "messageAttributes"].map(|key| body.get(key));
    let attribute = one.or(other).and_then(|attributes| attributes.get(DATADOG_ATTRIBUTE));
    let text = |key: &str| attribute?.get(key)?.as_str();
    if body.get("Type").and_then(Value::as_str) == Some("Notification") {
        let value = text("Value").filter(|_| text("Type") == Some("Binary"));
        let json = value.and_then(|value| STANDARD.decode(value).ok());
        return json.map(|json| Datadog::of_json(&json)).unwrap_or_default();
    }
    let json = text("StringValue").or_else(|| text("stringValue"));
    json.map(|json| Datadog::of_json(json.as_bytes())).unwrap_or_default()
}

#[cfg(test)]
mod tests;
