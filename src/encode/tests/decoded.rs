//! Independent eyes: the intake's messages as prost derives them, JSON as serde reads it.

use crate::encode::split::decompress;
use crate::encode::{Payload, Route};
use prost::Message;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[path = "../../../tests/support/messages.rs"]
mod messages;

use messages::{CommonMetadata, MetricPayload, MetricSeries, Sketch, SketchPayload};

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

pub fn sketches(payloads: &[Payload]) -> Vec<Sketch> {
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
