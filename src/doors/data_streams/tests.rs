//! The rows of points and backlogs, and what clients sent.

use std::time::Duration;

use serde_json::Value as Json;

use super::super::collected::{Collected, take, take_recorded};
use super::*;

const PATH: &str = "/v0.1/pipeline_stats";
/// Of the bucket that [`payload`] makes.
const START: u64 = 1_795_188_610;
const NOW: Duration = Duration::from_secs(START + 12);

/// The mapping of libdatadog, and after it one value in bin 1145 (0.0503), and none.
const MAPPING: &str = "0a1209000000000040f03f110000000000ea9440";
const ONE: &str = "120d1208000000000000f03f18f2111a00";
const NONE: &str = "12001a00";
/// One 0.
const ZERO: &str = "12001a0021000000000000f03f";

/// JSON as msgpack; a text `hex:…` becomes bin.
fn msgpack(json: &Json, out: &mut Vec<u8>) {
    let length = |out: &mut Vec<u8>, marker: u8, length: usize| {
        out.push(marker);
        out.extend((length as u16).to_be_bytes());
    };
    match json {
        Json::Null => out.push(0xc0),
        Json::Bool(value) => out.push(0xc2 + u8::from(*value)),
        Json::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => {
                out.push(0xcf);
                out.extend(value.to_be_bytes());
            }
            (None, Some(value)) => {
                out.push(0xd3);
                out.extend(value.to_be_bytes());
            }
            (None, None) => {
                out.push(0xcb);
                out.extend(number.as_f64().expect("a float").to_be_bytes());
            }
        },
        Json::String(text) => match text.strip_prefix("hex:") {
            Some(digits) => {
                length(out, 0xc5, digits.len() / 2);
                let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex");
                out.extend((0..digits.len()).step_by(2).map(byte));
            }
            None => {
                length(out, 0xda, text.len());
                out.extend(text.as_bytes());
            }
        },
        Json::Array(list) => {
            length(out, 0xdc, list.len());
            list.iter().for_each(|element| msgpack(element, out));
        }
        Json::Object(map) => {
            length(out, 0xde, map.len());
            for (key, value) in map {
                msgpack(&Json::String(key.clone()), out);
                msgpack(value, out);
            }
        }
    }
}

/// JSON with [`MAPPING`] and so on written out.
fn body(json: &str) -> Vec<u8> {
    let json = json.replace("$one", &format!("hex:{MAPPING}{ONE}"));
    let json = json.replace("$none", &format!("hex:{MAPPING}{NONE}"));
    let json = json.replace("$zero", &format!("hex:{MAPPING}{ZERO}"));
    let json = json.replace("$start", &format!("{START}000000000"));
    let mut out = Vec::new();
    msgpack(&serde_json::from_str(&json).expect("JSON"), &mut out);
    out
}

struct Hand {
    door: DataStreams,
    headers: Vec<(&'static str, &'static str)>,
    sink: Collected,
}

impl Hand {
    fn with(naming: Naming) -> Self {
        let door = DataStreams::new(naming, 10);
        Hand { door, headers: Vec::new(), sink: Collected::default() }
    }

    fn new() -> Self {
        Self::with(Naming::default())
    }

    fn post(&mut self, json: &str) -> Vec<String> {
        let taken = take(&self.door, PATH, &self.headers, &body(json), NOW, &mut self.sink);
        assert_eq!(taken, Ok(Answer::ok()), "{json}");
        std::mem::take(&mut self.sink.lines)
    }

    /// One bucket of shop in prod.
    fn bucket(&mut self, stats: &str, backlogs: &str) -> Vec<String> {
        self.post(&format!(
            r#"{{"Stats":[{{"Backlogs":{backlogs},"Stats":{stats},"Duration":10000000000,"Start":$start}}],
                "Service":"shop","TracerVersion":"4.16.0","Lang":"python","Env":"prod","Version":"1.2","ProcessTags":["a:b"]}}"#
        ))
    }

    fn closing(&mut self, start: u64) -> Vec<String> {
        self.door.closing(start, None, &mut self.sink);
        self.sink.sorted()
    }
}

fn point(fields: &str) -> String {
    format!("[{{{fields}}}]")
}

#[track_caller]
fn gives(lines: &[String], expected: &[&str]) {
    let whole = |line: &&str| line.replace("$at", &format!("@{START}"));
    assert_eq!(lines, expected.iter().map(whole).collect::<Vec<_>>());
}

#[test]
fn a_consumed_message_has_full_and_edge_latency_size_and_throughput() {
    let lines = Hand::new().bucket(
        &point(
            r#""EdgeTags":["direction:in","manual_checkpoint:true","topic:orders","type:kafka"],"Hash":18446744073709551615,"ParentHash":1,
               "PathwayLatency":"$one","EdgeLatency":"$one","PayloadSize":"$zero""#,
        ),
        "[]",
    );
    let tags = "direction:in,manual_checkpoint:true,topic:orders,type:kafka,service:shop,env:prod";
    gives(
        &lines,
        &[
            &format!("data_streams.throughput count 1 $at {tags}"),
            &format!("data_streams.latency sketch 1 [1145:1] $at {tags},pathway_type:full"),
            &format!("data_streams.latency sketch 1 [1145:1] $at {tags},pathway_type:edge"),
            &format!("data_streams.payload_size sketch 1 [0:1] $at {tags}"),
        ],
    );
}

#[test]
fn a_message_passed_on_has_internal_latency() {
    let lines = Hand::new().bucket(
        &point(r#""EdgeTags":["direction:out"],"ParentHash":-1,"PathwayLatency":"$one","EdgeLatency":"$zero""#),
        "null",
    );
    let tags = "direction:out,service:shop,env:prod";
    gives(
        &lines,
        &[
            &format!("data_streams.throughput count 1 $at {tags}"),
            &format!("data_streams.latency sketch 1 [1145:1] $at {tags},pathway_type:full"),
            &format!("data_streams.latency sketch 1 [0:1] $at {tags},pathway_type:internal"),
        ],
    );
}

#[test]
fn an_edge_without_direction_has_no_latency_of_its_own() {
    let lines = Hand::new().bucket(
        &point(r#""EdgeTags":["topic:t","direction:sideways",""],"ParentHash":1,"PathwayLatency":"$one","EdgeLatency":"$one""#),
        "[]",
    );
    let tags = "topic:t,direction:sideways,service:shop,env:prod";
    gives(
        &lines,
        &[
            &format!("data_streams.throughput count 1 $at {tags}"),
            &format!("data_streams.latency sketch 1 [1145:1] $at {tags},pathway_type:full"),
        ],
    );
}

#[test]
fn a_pathway_that_begins_has_no_latency() {
    for parent in ["", r#""ParentHash":0,"#, r#""ParentHash":null,"#] {
        let lines = Hand::new().bucket(
            &point(&format!(
                r#"{parent}"EdgeTags":["direction:out"],"PathwayLatency":"$zero","EdgeLatency":"$zero","PayloadSize":"$one""#
            )),
            "[]",
        );
        let tags = "direction:out,service:shop,env:prod";
        gives(
            &lines,
            &[
                &format!("data_streams.throughput count 1 $at {tags}"),
                &format!("data_streams.payload_size sketch 1 [1145:1] $at {tags}"),
            ],
        );
    }
}

#[test]
fn points_of_the_time_of_origin_are_skipped() {
    for (kind, is_taken) in [("origin", false), ("current", true), ("", true)] {
        let lines = Hand::new().bucket(
            &point(&format!(
                r#""EdgeTags":["direction:in"],"TimestampType":"{kind}","PathwayLatency":"$one""#
            )),
            "[]",
        );
        assert_eq!(lines.len(), usize::from(is_taken), "{kind}");
    }
}

#[test]
fn empty_and_missing_sketches_give_nothing() {
    for sketch in [r#""PathwayLatency":"$none","EdgeLatency":"$none","PayloadSize":"$none","#, ""] {
        let stats = point(&format!(r#"{sketch}"ParentHash":1,"EdgeTags":["direction:in"]"#));
        gives(&Hand::new().bucket(&stats, "[]"), &[]);
    }
}

#[test]
fn javascript_rounds_up() {
    let mut hand = Hand::new();
    hand.headers = vec![("datadog-meta-lang", "javascript")];
    // Bin 21 of its mapping: 1.5.
    let sketch = "hex:0a1209fd4a815abf52f03f110000000000000000120c12080000000000000040182a";
    let lines = hand.bucket(
        &point(&format!(r#""EdgeTags":[],"ParentHash":1,"PathwayLatency":"{sketch}""#)),
        "[]",
    );
    gives(
        &lines,
        &[
            "data_streams.throughput count 2 $at service:shop,env:prod",
            "data_streams.latency sketch 2 [1364:2] $at service:shop,env:prod,pathway_type:full",
        ],
    );
}

#[test]
fn a_bad_sketch_is_refused_alone() {
    let lines = Hand::new().bucket(
        &point(
            r#""EdgeTags":["direction:in"],"ParentHash":1,"PathwayLatency":"hex:ff","EdgeLatency":"$one","PayloadSize":"no protobuf""#,
        ),
        "[]",
    );
    let tags = "direction:in,service:shop,env:prod,pathway_type:edge";
    gives(
        &lines,
        &[
            "refused sketch",
            &format!("data_streams.latency sketch 1 [1145:1] $at {tags}"),
            "refused sketch",
        ],
    );
}

#[test]
fn offsets_are_gauges_of_their_partition() {
    let mut hand = Hand::new();
    let lines = hand.bucket(
        "[]",
        r#"[{"Tags":["type:kafka_commit","consumer_group:g1","topic:orders","partition:1"],"Value":40},
            {"Tags":["kafka_cluster_id:k","partition:1","topic:orders","type:kafka_produce"],"Value":7},
            {"Tags":["type:kafka_high_watermark","topic:other","partition:1"],"Value":9},
            {"Tags":["type:kafka_produce","topic:orders","partition:1"],"Value":42}]"#,
    );
    gives(
        &lines,
        &[
            "data_streams.kafka.commit_offset highest 40 $at topic:orders,partition:1,consumer_group:g1,env:prod",
            "data_streams.kafka.produce_offset highest 7 $at topic:orders,partition:1,kafka_cluster_id:k,env:prod",
            "data_streams.kafka.produce_offset highest 42 $at topic:orders,partition:1,env:prod",
        ],
    );
    gives(
        &hand.closing(START),
        &[
            "data_streams.kafka.lag_messages gauge 3 $at topic:orders,partition:1,consumer_group:g1,env:prod",
            "data_streams.kafka.lag_seconds gauge 0 $at topic:orders,partition:1,consumer_group:g1,env:prod",
        ],
    );
}

#[test]
fn parts_of_a_bucket_have_the_highest_offset() {
    let mut hand = Hand::new();
    let produced = |offset: u32| {
        format!(r#"[{{"Tags":["type:kafka_produce","topic:t","partition:0"],"Value":{offset}}}]"#)
    };
    for (offset, highest) in [(42, 42), (40, 42), (43, 43)] {
        let expected = format!(
            "data_streams.kafka.produce_offset highest {highest} $at topic:t,partition:0,env:prod"
        );
        gives(&hand.bucket("[]", &produced(offset)), &[&expected]);
    }
}

#[test]
fn producer_and_consumer_meet_and_the_lag_has_the_env_of_the_consumer() {
    let mut hand = Hand::with(Naming { prefix: "own.".into(), env: "staging".into() });
    let payload = |service: &str, env: &str, tags: &str, offset: u64, start: u64| {
        format!(
            r#"{{"Service":"{service}"{env},"Stats":[{{"Start":{start}000000000,"Backlogs":[{{"Tags":["topic:t","partition:0",{tags}],"Value":{offset}}}]}}]}}"#
        )
    };
    let prod = r#","Env":"prod""#;
    for (start, offset) in [(START - 10, 100), (START, 200)] {
        hand.post(&payload("shop", prod, r#""type:kafka_produce""#, offset, start));
    }
    hand.post(&payload("pay", "", r#""type:kafka_commit","consumer_group:g""#, 151, START));
    let tags = "topic:t,partition:0,consumer_group:g,env:staging";
    gives(&hand.closing(START - 10), &[]);
    gives(
        &hand.closing(START),
        &[
            &format!("own.data_streams.kafka.lag_messages gauge 50 $at {tags}"),
            // Message 151 was written 5.1 s into the ten seconds.
            &format!("own.data_streams.kafka.lag_seconds gauge 4.9 $at {tags}"),
        ],
    );
}

#[test]
fn a_bad_backlog_is_refused_alone() {
    let good = r#"{"Tags":["type:kafka_produce","topic:t","partition:0"],"Value":1}"#;
    for bad in [
        r#"{"Tags":["type:kafka_produce","topic:t"],"Value":1}"#,
        r#"{"Tags":["type:kafka_produce","partition:0"],"Value":1}"#,
        r#"{"Tags":["type:kafka_commit","topic:t","partition:0"],"Value":1}"#,
        r#"{"Tags":["type:pulsar_produce","topic:t","partition:0"],"Value":1}"#,
        r#"{"Tags":["topic:t","partition:0"],"Value":1}"#,
        r#"{"Tags":["type:kafka_produce","topic:t","partition:0"],"Value":-1}"#,
        r#"{"Tags":["type:kafka_produce","topic:t","partition:0"],"Value":"1"}"#,
        r#"{"Tags":["type:kafka_produce","topic:t","partition:0",7],"Value":1}"#,
        r#"{"Tags":7,"Value":1}"#,
        "{}",
        "7",
    ] {
        let lines = Hand::new().bucket("[]", &format!("[{bad},{good}]"));
        let offset = "data_streams.kafka.produce_offset highest 1 $at topic:t,partition:0,env:prod";
        gives(&lines, &["refused value", offset]);
    }
    let long = "t".repeat(2000);
    let bad = format!(r#"[{{"Tags":["type:kafka_produce","topic:{long}","partition:0"]}}]"#);
    gives(&Hand::new().bucket("[]", &bad), &["refused limit"]);
}

#[test]
fn a_bad_point_or_bucket_is_refused_alone() {
    let good = r#"{"EdgeTags":["topic:t"],"PathwayLatency":"$one"}"#;
    let throughput = "data_streams.throughput count 1 $at topic:t,service:shop,env:prod";
    for bad in [
        "7",
        r#"{"EdgeTags":7}"#,
        r#"{"EdgeTags":[7]}"#,
        r#"{"PathwayLatency":7}"#,
        r#"{"ParentHash":"x"}"#,
        r#"{"TimestampType":1}"#,
    ] {
        let lines = Hand::new().bucket(&format!("[{bad},{good}]"), "[]");
        gives(&lines, &["refused value", throughput]);
    }
    gives(&Hand::new().bucket("7", "{}"), &["refused value", "refused value"]);
    for (bad, reason) in [
        ("7", "refused value"),
        (r#"{"Start":"now"}"#, "refused value"),
        (r#"{"Start":-1}"#, "refused time"),
    ] {
        let lines = Hand::new().post(&format!(
            r#"{{"Service":"shop","Env":"prod","Stats":[{bad},{{"Start":$start,"Stats":[{good}]}}]}}"#
        ));
        gives(&lines, &[reason, throughput]);
    }
    gives(&Hand::new().post(r#"{"Stats":7}"#), &["refused value"]);
}

#[test]
fn a_body_that_is_no_payload_leaves_nothing() {
    let whole = body(&format!(
        r#"{{"Service":"shop","Stats":[{{"Start":$start,"Stats":{}}}]}}"#,
        point(r#""EdgeTags":[],"PathwayLatency":"$one""#)
    ));
    let mut deep = body(r#"{"x":1}"#);
    deep.pop();
    deep.truncate(deep.len() - 8);
    deep.extend([0x91].repeat(40));
    deep.push(0x90);
    let mut long = body("{}");
    long[1..3].copy_from_slice(&[0xff, 0xff]);
    let after = [&whole[..], &[0xc0]].concat();
    let bodies = [
        &b""[..],
        b"{}",
        b"\xc0",
        &body("[]"),
        &body("7"),
        &body(r#"{"Service":7}"#),
        &deep,
        &long,
        &after,
    ];
    let cut = (1..whole.len()).map(|length| &whole[..length]);
    for input in bodies.into_iter().chain(cut) {
        let mut hand = Hand::new();
        let refusal = take(&hand.door, PATH, &[], input, NOW, &mut hand.sink).expect_err("refused");
        assert_eq!((refusal.status, refusal.reason), (400, Reason::Decode), "{input:02x?}");
        assert_eq!(hand.sink.lines, [""; 0], "{input:02x?}");
    }
    assert_eq!(
        take(&Hand::new().door, PATH, &[], &whole, NOW, &mut Collected::default()),
        Ok(Answer::ok())
    );
}

/// What unmodified clients sent of one produced and one consumed message 50 ms apart.
fn recorded(names: &[&str], latency: &str, sizes: Option<(&str, &str)>) {
    const START: u64 = 1_795_715_260;
    let door = DataStreams::new(Naming::default(), 10);
    let mut sink = Collected::default();
    for name in names {
        let now = Duration::from_secs(START + 12);
        assert_eq!(take_recorded(&door, name, now, &mut sink), Ok(Answer::ok()), "{name}");
    }
    door.closing(START, None, &mut sink);
    let edge = |direction: &str| {
        format!(
            "direction:{direction},manual_checkpoint:true,topic:orders,type:kafka,service:shop,env:prod"
        )
    };
    let (consumed, produced) = (edge("in"), edge("out"));
    let mut expected = vec![
        "kafka.commit_offset highest 40 $at topic:orders,partition:1,consumer_group:g1,env:prod"
            .into(),
        "kafka.lag_messages gauge 3 $at topic:orders,partition:1,consumer_group:g1,env:prod".into(),
        "kafka.lag_seconds gauge 0 $at topic:orders,partition:1,consumer_group:g1,env:prod".into(),
        "kafka.produce_offset highest 42 $at topic:orders,partition:1,env:prod".into(),
        format!("latency sketch 1 [{latency}] $at {consumed},pathway_type:edge"),
        format!("latency sketch 1 [{latency}] $at {consumed},pathway_type:full"),
    ];
    if let Some((of_consumed, of_produced)) = sizes {
        expected.push(format!("payload_size sketch 1 [{of_consumed}] $at {consumed}"));
        expected.push(format!("payload_size sketch 1 [{of_produced}] $at {produced}"));
    }
    expected.push(format!("throughput count 1 $at {consumed}"));
    expected.push(format!("throughput count 1 $at {produced}"));
    let whole =
        |line: String| format!("data_streams.{}", line.replace("$at", &format!("@{START}")));
    assert_eq!(sink.sorted(), expected.into_iter().map(whole).collect::<Vec<_>>());
}

#[test]
fn recorded_from_ddtrace_3() {
    recorded(&["py3/data-streams", "py3/data-streams-offsets"], "1146:1", None);
}

#[test]
fn recorded_from_ddtrace_4() {
    recorded(&["py4/data-streams"], "1147:1", Some(("0:1", "1589:1")));
}

#[test]
fn recorded_from_dd_trace_js() {
    // Its bins -147 and 201 of 2 %: 52.3 ms and 55.2 bytes.
    recorded(&["js/data-streams"], "1148:1", Some(("0:1", "1597:1")));
}
