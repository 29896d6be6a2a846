//! What the specification shows, byte for byte or as JSON.

use super::*;
use serde_json::json;

#[track_caller]
fn is_hex(payload: &Payload, expect: &str) {
    let hex: String = decoded::body(payload).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expect.split_whitespace().collect::<String>());
}

const AGENT: MetricOrigin = MetricOrigin { product: 10, category: 10, service: 0 };

#[test]
fn a_v2_series_is_the_worked_example() {
    let mut encoder =
        SeriesEncoder::new(SeriesFormat::V2, Compression::None, &PayloadLimits::default())
            .unwrap()
            .with_origin(Some(AGENT));
    let payloads = collect(|sink| {
        encoder.begin(1_700_000_012);
        encoder.push(&page_views(&[POINT]), sink);
        encoder.finish(sink)
    });
    is_hex(
        &payloads[0],
        "0a 42
           0a 0d 0a 04 68 6f 73 74 12 05 77 65 62 2d 31
           12 0a 70 61 67 65 2e 76 69 65 77 73
           1a 08 65 6e 76 3a 70 72 6f 64
           22 0f 09 33 33 33 33 33 33 d3 3f 10 80 e2 cf aa 06
           28 02
           40 0a
           4a 06 0a 04 20 0a 28 0a",
    );
    assert_eq!(payloads[0].uncompressed_bytes, 68);
    assert_eq!((payloads[0].items, payloads[0].points), (1, 1));
    assert_eq!((payloads[0].route, payloads[0].built_at), (Route::SeriesV2, 1_700_000_012));
}

#[test]
fn a_sketch_is_the_worked_example() {
    let mut sketch = Sketch::default();
    for value in [1.0, 2.0, 2.0, 10.0] {
        sketch.insert(value, 1.0);
    }
    let series = SketchSeries {
        name: b"req.dur",
        host: b"web-1",
        tags: Tags::from_wire(b"env:prod"),
        timestamp: 1_700_000_000,
        sketch: &sketch,
    };
    let mut encoder = SketchEncoder::new(Compression::None, &PayloadLimits::default())
        .unwrap()
        .with_origin(Some(AGENT));
    let payloads = collect(|sink| {
        encoder.push(&series, sink);
        encoder.finish(sink)
    });
    is_hex(
        &payloads[0],
        "0a 5d 0a 07 72 65 71 2e 64 75 72 12 05 77 65 62 2d 31 22 08 65 6e 76 3a 70 72 6f 64
         3a 39 08 80 e2 cf aa 06 10 04
           19 00 00 00 00 00 00 f0 3f 21 00 00 00 00 00 00 24 40
           29 00 00 00 00 00 00 0e 40 31 00 00 00 00 00 00 2e 40
           3a 06 f4 14 ce 15 9e 17
           42 03 01 02 01
         42 06 0a 04 20 0a 28 0a 12 00",
    );
    assert_eq!(payloads[0].uncompressed_bytes, 97);
}

#[test]
fn v1_series_are_the_example() {
    let device = Series {
        name: b"net.in",
        suffix: "",
        tags: Tags::from_wire(b"device:eth0"),
        kind: SeriesKind::Gauge,
        source: None,
        points: &[Point { timestamp: 1_700_000_000, value: 7.0 }],
        ..page_views(&[])
    };
    let payloads = encode_series(
        SeriesFormat::V1,
        &PayloadLimits::default(),
        &[Series { source: Some("System"), ..page_views(&[POINT]) }, device],
    );
    assert_eq!(
        decoded::json(&payloads[0]),
        json!({"series":[
         {"metric":"page.views","points":[[1700000000,0.3]],"tags":["env:prod"],"host":"web-1",
          "type":"rate","interval":10,"source_type_name":"System"},
         {"metric":"net.in","points":[[1700000000,7.0]],"tags":[],"host":"web-1","device":"eth0",
          "type":"gauge","interval":10}
        ]})
    );
}

#[test]
fn an_event_is_the_example() {
    let payloads = encode_events(&PayloadLimits::default(), &[event("jenkins"), event("")]);
    let mut plain = json!({
        "msg_title":"deploy","msg_text":"v2\ndone","timestamp":1700000003,"priority":"normal",
        "host":"web-1","tags":["env:prod"],"alert_type":"info","aggregation_key":"dep"
    });
    let mut sourced = plain.clone();
    sourced["source_type_name"] = json!("jenkins");
    let whole = decoded::json(&payloads[0]);
    assert_eq!(
        whole,
        json!({"apiKey":"","internalHostname":"web-1","events":{"api":[plain],"jenkins":[sourced]}})
    );
    assert_eq!((payloads[0].items, payloads[0].points), (2, 2));

    let bare = EventRecord {
        text: Box::default(),
        host: Box::default(),
        aggregation_key: Box::default(),
        tags: Vec::new(),
        ..event("")
    };
    let payloads = encode_events(&PayloadLimits::default(), &[bare]);
    let fields = plain.as_object_mut().unwrap();
    fields.remove("tags");
    fields.remove("aggregation_key");
    fields.insert("msg_text".into(), json!(""));
    fields.insert("host".into(), json!(""));
    assert_eq!(decoded::json(&payloads[0])["events"]["api"][0], plain);
}

#[test]
fn a_service_check_is_the_example_and_no_tags_are_null() {
    let untagged = CheckRecord {
        message: Box::default(),
        tags: Vec::new(),
        status: Status::Unknown,
        ..check()
    };
    let payloads = encode_checks(&PayloadLimits::default(), &[check(), untagged]);
    assert_eq!(
        decoded::json(&payloads[0]),
        json!([
          {"check":"app.ok","host_name":"web-1","timestamp":1700000003,"status":0,
           "message":"all good","tags":["env:prod"]},
          {"check":"app.ok","host_name":"web-1","timestamp":1700000003,"status":3,
           "message":"","tags":null}
        ])
    );
}

/// Tags as on the wire; resources and remaining tags as they are posted.
#[track_caller]
fn resources(host: &str, tags: &str, expect: &[(&str, &str)], expect_tags: &[&str]) {
    let series = Series {
        host: host.as_bytes(),
        tags: Tags::from_wire(tags.as_bytes()),
        ..page_views(&[POINT])
    };
    let payloads = encode_series(SeriesFormat::V2, &PayloadLimits::default(), &[series]);
    let read = decoded::series(&payloads).remove(0);
    let pairs: Vec<_> =
        read.resources.iter().map(|one| (one.kind.as_str(), one.name.as_str())).collect();
    assert_eq!(pairs, expect);
    assert_eq!(read.tags, expect_tags);
    let v1 = encode_series(SeriesFormat::V1, &PayloadLimits::default(), &[series]);
    let tags = decoded::json(&v1[0])["series"][0]["tags"].take();
    let tags = tags.as_array().expect("tags").iter().filter_map(serde_json::Value::as_str);
    // v1 has no resources; see `resources_stay_tags_of_version_1`.
    let plain: Vec<&str> = tags.filter(|tag| !tag.starts_with("dd.internal.resource:")).collect();
    assert_eq!(plain, expect_tags);
}

#[test]
fn resources_are_host_then_device_then_the_rest_and_leave_the_tags() {
    resources("h", "a,b:c", &[("host", "h")], &["a", "b:c"]);
    resources("", "", &[("host", "")], &[]);
    resources("h", "device:eth0,a", &[("host", "h"), ("device", "eth0")], &["a"]);
    resources(
        "h",
        "dd.internal.resource:pod:p:1,a,device:d,dd.internal.resource:x:y,device:e",
        &[("host", "h"), ("device", "e"), ("pod", "p:1"), ("x", "y")],
        &["a"],
    );
    resources("h", "device:,dd.internal.resource:x,dd.internal.resource:x:", &[("host", "h")], &[]);
    resources(
        "h",
        "devices:a,dd.internal.x:y,d",
        &[("host", "h")],
        &["devices:a", "dd.internal.x:y", "d"],
    );
    resources("h", ",a", &[("host", "h")], &["", "a"]);
}

#[test]
fn unit_and_source_are_written_and_zeros_are_not() {
    let zero = [Point { timestamp: 0, value: 0.0 }];
    let series =
        Series { unit: Some("millisecond"), source: Some("jmx"), interval: 0, ..page_views(&zero) };
    let payloads = encode_series(SeriesFormat::V2, &PayloadLimits::default(), &[series]);
    let read = decoded::series(&payloads).remove(0);
    assert_eq!((read.unit.as_str(), read.source_type_name.as_str()), ("millisecond", "jmx"));
    assert_eq!((read.interval, read.metadata), (0, None));
    let bytes = decoded::body(&payloads[0]);
    assert!(bytes.windows(2).any(|pair| pair == [0x22, 0]), "the point is an empty message");
}

#[test]
fn resources_stay_tags_of_version_1() {
    let tags = Tags::from_wire(b"a,dd.internal.resource:x:y,device:d,dd.internal.resource:x");
    let series = Series { tags, ..page_views(&[POINT]) };
    let payloads = encode_series(SeriesFormat::V1, &PayloadLimits::default(), &[series]);
    let json = decoded::json(&payloads[0]);
    let read = &json["series"][0];
    assert_eq!(read["tags"], json!(["a", "dd.internal.resource:x:y"]));
    assert_eq!(read["device"], "d");
}

#[test]
fn invalid_utf8_is_repaired_and_counted() {
    let series = Series {
        name: b"\xFF\xFEx",
        host: b"h\xC3",
        tags: Tags::from_wire(b"a:\xFF,b"),
        ..page_views(&[POINT])
    };
    for format in [SeriesFormat::V1, SeriesFormat::V2] {
        let mut encoder =
            SeriesEncoder::new(format, Compression::None, &PayloadLimits::default()).unwrap();
        let mut payloads = Vec::new();
        encoder.push(&series, &mut |payload| payloads.push(payload));
        let counts = encoder.finish(&mut |payload| payloads.push(payload));
        assert_eq!(counts, EncodeCounts { invalid_utf8: 3, ..EncodeCounts::default() });
        let text = String::from_utf8_lossy(&decoded::body(&payloads[0])).into_owned();
        assert!(text.contains("\u{FFFD}x") && text.contains("h\u{FFFD}"), "{text}");
    }
}

#[test]
fn what_is_not_finite_is_left_out_and_counted() {
    let points = [f64::NAN, 1.5, f64::INFINITY].map(|value| Point { timestamp: 7, value });
    for format in [SeriesFormat::V1, SeriesFormat::V2] {
        let mut encoder =
            SeriesEncoder::new(format, Compression::None, &PayloadLimits::default()).unwrap();
        let mut payloads = Vec::new();
        encoder.push(&page_views(&points), &mut |payload| payloads.push(payload));
        encoder.push(&page_views(&points[..1]), &mut |payload| payloads.push(payload));
        let counts = encoder.finish(&mut |payload| payloads.push(payload));
        assert_eq!(counts, EncodeCounts { points_not_finite: 3, ..EncodeCounts::default() });
        assert_eq!((payloads.len(), payloads[0].items, payloads[0].points), (1, 1, 1));
    }
}
