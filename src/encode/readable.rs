//! A finished body as people read it: the JSON that stands in it, or the protobuf by the names of
//! the intake's schema.

use serde_json::{Map, Value};

use super::split::{SplitError, decompress};
use super::{Payload, Route};
use crate::protobuf::{Field, fields, take_varint, unzigzag};

/// What a field of a message holds.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Integer,
    Double,
    /// Packed, alternating around zero.
    SignedIntegers,
    /// Packed.
    Integers,
    Message(&'static [Entry]),
}

/// Number, name, whether it repeats, what it holds.
type Entry = (u64, &'static str, bool, Shape);

use Shape::{Double, Integer, Integers, Message, SignedIntegers, Text};

const ORIGIN: &[Entry] = &[
    (3, "metric_type", false, Integer),
    (4, "origin_product", false, Integer),
    (5, "origin_category", false, Integer),
    (6, "origin_service", false, Integer),
];
const METADATA: &[Entry] = &[(1, "origin", false, Message(ORIGIN))];
const RESOURCE: &[Entry] = &[(1, "type", false, Text), (2, "name", false, Text)];
const POINT: &[Entry] = &[(1, "value", false, Double), (2, "timestamp", false, Integer)];
const SERIES: &[Entry] = &[
    (1, "resources", true, Message(RESOURCE)),
    (2, "metric", false, Text),
    (3, "tags", true, Text),
    (4, "points", true, Message(POINT)),
    (5, "type", false, Integer),
    (6, "unit", false, Text),
    (7, "source_type_name", false, Text),
    (8, "interval", false, Integer),
    (9, "metadata", false, Message(METADATA)),
];
const DOGSKETCH: &[Entry] = &[
    (1, "ts", false, Integer),
    (2, "cnt", false, Integer),
    (3, "min", false, Double),
    (4, "max", false, Double),
    (5, "avg", false, Double),
    (6, "sum", false, Double),
    (7, "k", false, SignedIntegers),
    (8, "n", false, Integers),
];
const SKETCH: &[Entry] = &[
    (1, "metric", false, Text),
    (2, "host", false, Text),
    (4, "tags", true, Text),
    (7, "dogsketches", true, Message(DOGSKETCH)),
    (8, "metadata", false, Message(METADATA)),
];
const SERIES_PAYLOAD: &[Entry] = &[(1, "series", true, Message(SERIES))];
const SKETCH_PAYLOAD: &[Entry] =
    &[(1, "sketches", true, Message(SKETCH)), (2, "metadata", false, Message(&[]))];

/// The body of `payload`, unpacked and read. Numbers that protobuf leaves out because they are 0
/// are written, everything else that is absent stays absent.
///
/// # Errors
/// When the body does not unpack, or is not what its route says.
pub fn readable(payload: &Payload) -> Result<Value, SplitError> {
    let body = decompress(&payload.body, payload.encoding, payload.uncompressed_bytes)?;
    let read = match payload.route {
        Route::SeriesV2 => message(&body, SERIES_PAYLOAD),
        Route::Sketches => message(&body, SKETCH_PAYLOAD),
        Route::SeriesV1 | Route::Events | Route::ServiceChecks => {
            serde_json::from_slice(&body).ok()
        }
    };
    read.ok_or(SplitError::Malformed(payload.route.label()))
}

fn message(bytes: &[u8], entries: &[Entry]) -> Option<Value> {
    let mut object = Map::new();
    for (_, name, repeated, shape) in entries {
        if !repeated && matches!(shape, Integer | Double) {
            object.insert((*name).to_owned(), 0.into());
        }
    }
    for field in fields(bytes) {
        let field = field?;
        let (_, name, repeated, shape) = entries.iter().find(|entry| entry.0 == field.number)?;
        let value = value(&field, *shape)?;
        if *repeated {
            let list = object.entry(*name).or_insert_with(|| Value::Array(Vec::new()));
            list.as_array_mut()?.push(value);
        } else {
            object.insert((*name).to_owned(), value);
        }
    }
    Some(Value::Object(object))
}

fn value(field: &Field<'_>, shape: Shape) -> Option<Value> {
    Some(match shape {
        Text => String::from_utf8_lossy(field.content).into(),
        // int64 on the wire is its two's complement.
        Integer => field.scalar.cast_signed().into(),
        Double => f64::from_bits(field.scalar).into(),
        SignedIntegers => packed(field.content, |number| unzigzag(number).into())?,
        Integers => packed(field.content, Value::from)?,
        Message(entries) => message(field.content, entries)?,
    })
}

fn packed(mut bytes: &[u8], number: impl Fn(u64) -> Value) -> Option<Value> {
    let mut numbers = Vec::new();
    while !bytes.is_empty() {
        let (value, length) = take_varint(bytes)?;
        numbers.push(number(value));
        bytes = &bytes[length..];
    }
    Some(Value::Array(numbers))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::encode::ContentEncoding;

    #[track_caller]
    fn reads(route: Route, hex: &str, expect: Value) {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        let body: Vec<u8> = digits.chunks(2).map(byte).collect();
        let payload = Payload {
            route,
            uncompressed_bytes: body.len(),
            body: Bytes::from(body),
            encoding: ContentEncoding::Identity,
            items: 1,
            points: 1,
            built_at: 0,
        };
        assert_eq!(readable(&payload).ok(), Some(expect));
    }

    #[test]
    fn a_rate_is_read_by_name() {
        reads(
            Route::SeriesV2,
            "0a42 0a0d0a04686f737412057765622d31 120a706167652e7669657773 1a08656e763a70726f64
             220f09333333333333d33f1080e2cfaa06 2802 400a 4a060a04200a280a",
            json!({"series": [{
                "metric": "page.views", "type": 2, "interval": 10, "tags": ["env:prod"],
                "points": [{"timestamp": 1_700_000_000, "value": 0.3}],
                "resources": [{"type": "host", "name": "web-1"}],
                "metadata": {"origin": {"metric_type": 0, "origin_product": 10,
                    "origin_category": 10, "origin_service": 0}},
            }]}),
        );
    }

    #[test]
    fn a_sketch_is_read_with_its_keys_and_counts() {
        reads(
            Route::Sketches,
            "0a5d 0a077265712e647572 12057765622d31 2208656e763a70726f64
             3a39 0880e2cfaa06 1004 19000000000000f03f 210000000000002440
             290000000000000e40 310000000000002e40 3a06f414ce159e17 4203010201
             42060a04200a280a 1200",
            json!({"sketches": [{
                "metric": "req.dur", "host": "web-1", "tags": ["env:prod"],
                "dogsketches": [{"ts": 1_700_000_000, "cnt": 4, "min": 1.0, "max": 10.0,
                    "avg": 3.75, "sum": 15.0, "k": [1338, 1383, 1487], "n": [1, 2, 1]}],
                "metadata": {"origin": {"metric_type": 0, "origin_product": 10,
                    "origin_category": 10, "origin_service": 0}},
            }], "metadata": {}}),
        );
    }

    #[test]
    fn what_is_left_out_for_being_zero_is_written() {
        reads(
            Route::SeriesV2,
            "0a0a 120161 22051080e2cf0a",
            json!({"series": [{"metric": "a", "type": 0, "interval": 0,
                "points": [{"value": 0, "timestamp": 22_278_400}]}]}),
        );
    }

    #[test]
    fn a_body_of_another_kind_is_refused() {
        let payload = Payload {
            route: Route::SeriesV2,
            body: Bytes::from_static(b"{}"),
            encoding: ContentEncoding::Identity,
            items: 1,
            points: 1,
            uncompressed_bytes: 2,
            built_at: 0,
        };
        assert!(matches!(readable(&payload), Err(SplitError::Malformed("series_v2"))));
    }
}
