//! Independent eyes: the intake's messages as prost derives them, JSON as serde reads it.

use crate::encode::split::decompress;
use crate::encode::{Payload, Route};
use prost::Message;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Clone, PartialEq, Message)]
pub struct MetricPayload {
    #[prost(message, repeated, tag = "1")]
    pub series: Vec<MetricSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub struct MetricSeries {
    #[prost(message, repeated, tag = "1")]
    pub resources: Vec<Resource>,
    #[prost(string, tag = "2")]
    pub metric: String,
    #[prost(string, repeated, tag = "3")]
    pub tags: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub points: Vec<MetricPoint>,
    #[prost(int32, tag = "5")]
    pub kind: i32,
    #[prost(string, tag = "6")]
    pub unit: String,
    #[prost(string, tag = "7")]
    pub source_type_name: String,
    #[prost(int64, tag = "8")]
    pub interval: i64,
    #[prost(message, optional, tag = "9")]
    pub metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct MetricPoint {
    #[prost(double, tag = "1")]
    pub value: f64,
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    #[prost(message, optional, tag = "1")]
    pub origin: Option<OriginMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub struct OriginMessage {
    #[prost(uint32, tag = "4")]
    pub product: u32,
    #[prost(uint32, tag = "5")]
    pub category: u32,
    #[prost(uint32, tag = "6")]
    pub service: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct SketchPayload {
    #[prost(message, repeated, tag = "1")]
    pub sketches: Vec<SketchMessage>,
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<CommonMetadata>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CommonMetadata {}

#[derive(Clone, PartialEq, Message)]
pub struct SketchMessage {
    #[prost(string, tag = "1")]
    pub metric: String,
    #[prost(string, tag = "2")]
    pub host: String,
    #[prost(string, repeated, tag = "4")]
    pub tags: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    pub dogsketches: Vec<Dogsketch>,
    #[prost(message, optional, tag = "8")]
    pub metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Dogsketch {
    #[prost(int64, tag = "1")]
    pub ts: i64,
    #[prost(int64, tag = "2")]
    pub cnt: i64,
    #[prost(double, tag = "3")]
    pub min: f64,
    #[prost(double, tag = "4")]
    pub max: f64,
    #[prost(double, tag = "5")]
    pub avg: f64,
    #[prost(double, tag = "6")]
    pub sum: f64,
    #[prost(sint32, repeated, tag = "7")]
    pub k: Vec<i32>,
    #[prost(uint32, repeated, tag = "8")]
    pub n: Vec<u32>,
}

/// The body, unpacked; its size must be the one the payload states.
pub fn body(payload: &Payload) -> Vec<u8> {
    let body = decompress(&payload.body, payload.encoding, payload.uncompressed_bytes).unwrap();
    assert_eq!(body.len(), payload.uncompressed_bytes);
    body
}

pub fn series(payloads: &[Payload]) -> Vec<MetricSeries> {
    let read = |payload| MetricPayload::decode(body(payload).as_slice()).unwrap().series;
    payloads.iter().flat_map(read).collect()
}

pub fn sketches(payloads: &[Payload]) -> Vec<SketchMessage> {
    let read = |payload| {
        let message = SketchPayload::decode(body(payload).as_slice()).unwrap();
        assert_eq!(message.metadata, Some(CommonMetadata {}));
        message.sketches
    };
    payloads.iter().flat_map(read).collect()
}

#[derive(Deserialize)]
pub struct SeriesV1 {
    pub metric: String,
    pub tags: Vec<String>,
    /// Values as written: serde_json may read the last digit of a float otherwise.
    pub points: Vec<(i64, Box<RawValue>)>,
}

pub fn series_v1(payloads: &[Payload]) -> Vec<SeriesV1> {
    #[derive(Deserialize)]
    struct Whole {
        series: Vec<SeriesV1>,
    }
    let read = |payload| serde_json::from_slice::<Whole>(&body(payload)).unwrap().series;
    payloads.iter().flat_map(read).collect()
}

pub fn json(payload: &Payload) -> Value {
    serde_json::from_slice(&body(payload)).unwrap()
}

/// The items of a JSON payload in their order, each with its group (empty but for events).
pub fn json_items(payload: &Payload) -> Vec<(String, Value)> {
    let whole = json(payload);
    let list = |items: &Value| items.as_array().unwrap().clone();
    let plain = |items: Vec<Value>| items.into_iter().map(|item| (String::new(), item)).collect();
    match payload.route {
        Route::ServiceChecks => plain(list(&whole)),
        _ => {
            assert_eq!(whole["apiKey"], "");
            let groups = whole["events"].as_object().unwrap();
            let pairs = groups.iter().flat_map(|(group, items)| {
                list(items).into_iter().map(move |item| (group.clone(), item))
            });
            pairs.collect()
        }
    }
}
