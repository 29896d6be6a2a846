//! The dialects, the rows and the bad parts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::collected::{Collected, take, take_recorded};
use super::*;

const PATH: &str = "/telemetry/proxy/api/v2/apmtelemetry";
const NOW: Duration = Duration::from_secs(1_795_188_630);

struct Hand {
    door: Telemetry,
    clock: Clock,
    sink: Collected,
}

impl Hand {
    fn with(naming: Naming) -> Self {
        let clock = Clock::manual(NOW);
        let door = Telemetry::new(naming, clock.clone(), Arc::default());
        Hand { door, clock, sink: Collected::default() }
    }

    fn new() -> Self {
        Self::with(Naming::default())
    }

    fn post(&mut self, headers: &[(&'static str, &'static str)], body: &str) {
        let now = self.clock.unix();
        let taken = take(&self.door, PATH, headers, body.as_bytes(), now, &mut self.sink);
        assert_eq!(taken, Ok(Answer::ok()), "{body}");
    }

    /// What one message of a usual application gives.
    fn message(&mut self, kind: &str, payload: &str) -> Vec<String> {
        self.post(&[], &envelope("r1", kind, payload));
        std::mem::take(&mut self.sink.lines)
    }

    /// The gauge at the end of an interval, `seconds` from now.
    fn live(&mut self, seconds: u64) -> Vec<String> {
        self.clock.set(NOW + Duration::from_secs(seconds));
        self.door.interval_ended((NOW.as_secs() + seconds) / 10 * 10 - 10, &mut self.sink);
        self.sink.sorted()
    }
}

fn envelope(id: &str, kind: &str, payload: &str) -> String {
    format!(
        r#"{{"api_version":"v2","request_type":"{kind}","tracer_time":1795188620,"runtime_id":"{id}","seq_id":2,
            "application":{{"service_name":"shop","env":"prod","service_version":"1.2","language_name":"python","tracer_version":"3.10.2"}},
            "host":{{"hostname":"vm"}},"payload":{payload}}}"#
    )
}

const TAGS: &str = "service:shop,env:prod,version:1.2,language:python,tracer_version:3.10.2";

/// The lines of `metrics`, given as `metric kind value @second own-tags` with the vendor's prefix and the
/// application's tags left out.
#[track_caller]
fn gives(lines: &[String], expected: &[&str]) {
    let whole = |line: &&str| match line.strip_prefix("refused ") {
        Some(_) => (*line).to_owned(),
        None => {
            let tags = if line.ends_with(' ') { TAGS.into() } else { format!(",{TAGS}") };
            format!("dd.instrumentation_telemetry_data.{line}{tags}")
        }
    };
    assert_eq!(lines, expected.iter().map(whole).collect::<Vec<_>>());
}

#[test]
fn counts_gauges_and_rates_of_python() {
    let lines = Hand::new().message(
        "generate-metrics",
        r#"{"namespace":"tracers","series":[
            {"metric":"my.count","type":"count","common":true,"points":[[1795188623,3.0]],"tags":["a:b"]},
            {"metric":"my.gauge","type":"gauge","common":true,"points":[[1795188623,4.5]],"tags":[],"interval":5.0},
            {"metric":"my.rate","type":"rate","common":true,"points":[[1795188623,2.4]],"tags":[],"interval":5.0}]}"#,
    );
    gives(
        &lines,
        &[
            "tracers.my.count count 3 @1795188623 a:b",
            "tracers.my.gauge gauge 4.5 @1795188623 ",
            "tracers.my.rate count 12 @1795188623 ",
        ],
    );
}

#[test]
fn libdatadog_sends_rates_undivided() {
    let series = r#"{"request_type":"generate-metrics","payload":{"series":[
        {"namespace":"tracers","metric":"my.rate","points":[[1795188623,12.0]],"tags":[],"common":true,"type":"rate","interval":5}]}}"#;
    let mut hand = Hand::new();
    let body = envelope(
        "r1",
        "message-batch",
        &format!("[{series},{{\"request_type\":\"app-heartbeat\"}}]"),
    );
    hand.post(&[("user-agent", "telemetry/1.0.2")], &body);
    gives(&hand.sink.sorted(), &["tracers.my.rate count 12 @1795188623 "]);
    hand.post(&[("user-agent", "Go-http-client/1.1")], &body);
    gives(&hand.sink.sorted(), &["tracers.my.rate count 60 @1795188623 "]);
    assert_eq!(hand.live(10), [format!("whippet.telemetry.runtimes gauge 1 @1795188630 {TAGS}")]);
}

#[test]
fn a_rate_without_interval_is_about_10_seconds() {
    for interval in ["", r#","interval":null"#, r#","interval":0"#] {
        let payload = format!(
            r#"{{"series":[{{"metric":"r","type":"rate","points":[[1,2.5]]{interval}}}]}}"#
        );
        gives(&Hand::new().message("generate-metrics", &payload), &["general.r count 25 @1 "]);
    }
}

#[test]
fn points_of_js_have_fractions_and_the_latest_one_stands() {
    let lines = Hand::new().message(
        "generate-metrics",
        r#"{"namespace":"tracers","series":[{"metric":"heap","type":"gauge","common":true,"interval":10,
            "points":[[1795188623.9,7],[1795188622.5,6],[1795188623.822,5]],"tags":["x"]}]}"#,
    );
    gives(
        &lines,
        &[
            "tracers.heap gauge 6 @1795188622 x",
            "tracers.heap gauge 5 @1795188623 x",
            "tracers.heap gauge 7 @1795188623 x",
        ],
    );
}

#[test]
fn the_name_is_made_of_namespace_language_and_metric() {
    // namespace of the payload, series without its prefix, name without the vendor's
    for (namespace, series, name) in [
        ("null", r#""metric":"m""#, "general.m"),
        (r#""""#, r#""metric":"m","namespace":"""#, "general.m"),
        (r#""apm""#, r#""metric":"m""#, "apm.m"),
        (r#""apm""#, r#""metric":"m","namespace":"iast""#, "iast.m"),
        (r#""apm""#, r#""metric":"m","common":true"#, "apm.m"),
        (r#""apm""#, r#""metric":"m","common":null"#, "apm.m"),
        (r#""apm""#, r#""metric":"m","common":false"#, "apm.python.m"),
        (r#""apm""#, r#""metric":"python.m","common":false"#, "apm.python.m"),
        (r#""apm""#, r#""metric":"pythonic.m","common":false"#, "apm.python.pythonic.m"),
        (r#""apm""#, r#""metric":"python","common":false"#, "apm.python.python"),
    ] {
        let payload = format!(
            r#"{{"namespace":{namespace},"series":[{{{series},"type":"count","points":[[5,1]]}}]}}"#
        );
        let lines = Hand::new().message("generate-metrics", &payload);
        gives(&lines, &[&format!("{name} count 1 @5 ")]);
    }
}

#[test]
fn a_language_that_is_not_told_adds_nothing_to_a_name() {
    let mut hand = Hand::new();
    hand.post(&[], r#"{"request_type":"generate-metrics","payload":{"series":[{"metric":"m","common":false,"type":"count","points":[[5,1]]}]}}"#);
    assert_eq!(hand.sink.lines, ["dd.instrumentation_telemetry_data.general.m count 1 @5 "]);
}

#[test]
fn distributions_have_the_time_of_the_message() {
    let lines = Hand::new().message(
        "distributions",
        r#"{"namespace":"tracers","series":[{"metric":"my.dist","points":[7.0,9],"tags":[]},{"metric":"none","points":[]}]}"#,
    );
    gives(&lines, &["tracers.my.dist samples [7.0, 9.0] @1795188620 "]);
    let mut hand = Hand::new();
    hand.post(
        &[],
        r#"{"request_type":"distributions","payload":{"series":[{"metric":"d","points":[1]}]}}"#,
    );
    assert_eq!(
        hand.sink.lines,
        [format!("dd.instrumentation_telemetry_data.general.d samples [1.0] @{} ", NOW.as_secs())]
    );
}

#[test]
fn many_points_are_taken_in_pieces() {
    let points = |point: &str| vec![point; 5000].join(",");
    let payload = format!(r#"{{"series":[{{"metric":"d","points":[{}]}}]}}"#, points("1"));
    let lines = Hand::new().message("distributions", &payload);
    let values: Vec<usize> = lines.iter().map(|line| line.matches("1.0").count()).collect();
    assert_eq!(values, [4096, 904]);
    let payload =
        format!(r#"{{"series":[{{"metric":"c","type":"count","points":[{}]}}]}}"#, points("[5,1]"));
    assert_eq!(Hand::new().message("generate-metrics", &payload).len(), 5000);
}

#[test]
fn sketches_keep_their_bins() {
    // What libdatadog sent for one value of about 642.
    let sketch = "ChIJAAAAAABA8D8RAAAAAADqlEASDRIIAAAAAAAA8D8YthsaAA==";
    let payload = |sketch: &str| {
        format!(
            r#"{{"series":[{{"namespace":"tracers","metric":"trace_api.bytes","tags":["src_library:libdatadog"],"sketch_b64":"{sketch}","common":true,"interval":5,"type":"distribution"}}]}}"#
        )
    };
    let expected = "tracers.trace_api.bytes sketch 1 [1755:1] @1795188620 src_library:libdatadog";
    for sketch in [sketch, sketch.trim_end_matches('=')] {
        gives(&Hand::new().message("sketches", &payload(sketch)), &[expected]);
    }
    let empty = "ChIJAAAAAABA8D8RAAAAAADqlEASABoA";
    gives(&Hand::new().message("sketches", &payload(empty)), &[]);
    for bad in ["", "!!!", "ChIJAAAAAABA8D8", "AAAA", &sketch[..40]] {
        gives(&Hand::new().message("sketches", &payload(bad)), &["refused sketch"]);
    }
    let both =
        format!(r#"{{"series":[{{"metric":"m"}},{{"metric":"n","sketch_b64":"{sketch}"}}]}}"#);
    gives(
        &Hand::new().message("sketches", &both),
        &["refused sketch", "general.n sketch 1 [1755:1] @1795188620 "],
    );
}

#[test]
fn log_lines_are_counted_by_level_and_not_kept() {
    let lines = Hand::new().message(
        "logs",
        r#"{"logs":[
            {"message":"boom happened","level":"ERROR","count":2,"stack_trace":"st","tags":"k:v","is_sensitive":false,"is_crash":false},
            {"message":"boom happened","level":"WARN","tracer_time":1795188618,"tags":"k:v"},
            {"message":"boom happened","level":"DEBUG","count":null,"tracer_time":null},
            {"message":"boom happened"}]}"#,
    );
    let tags = |level: &str| format!("{level}{TAGS}");
    assert_eq!(
        lines,
        [
            format!("whippet.telemetry.logs count 2 @1795188620 {}", tags("level:error,")),
            format!("whippet.telemetry.logs count 1 @1795188618 {}", tags("level:warn,")),
            format!("whippet.telemetry.logs count 1 @1795188620 {}", tags("level:debug,")),
            format!("whippet.telemetry.logs count 1 @1795188620 {}", tags("")),
        ]
    );
}

#[test]
fn empty_fields_give_no_tags_and_the_configured_env_stands_in() {
    let naming = Naming { prefix: "own.".into(), env: "staging".into() };
    let body = |env: &str| {
        format!(
            r#"{{"request_type":"logs","tracer_time":5,"runtime_id":"r","application":{{"service_name":"shop","service_version":"","language_name":null,"env":{env}}},
              "payload":{{"logs":[{{"level":"ERROR"}}]}}}}"#
        )
    };
    for (sent, env) in [(r#""""#, "staging"), ("null", "staging"), (r#""prod""#, "prod")] {
        let mut hand = Hand::with(naming.clone());
        hand.post(&[], &body(sent));
        let tags = format!("service:shop,env:{env}");
        assert_eq!(
            hand.sink.sorted(),
            [format!("own.whippet.telemetry.logs count 1 @5 level:error,{tags}")]
        );
        let second = NOW.as_secs();
        assert_eq!(
            hand.live(10),
            [format!("own.whippet.telemetry.runtimes gauge 1 @{second} {tags}")]
        );
    }
    let mut hand = Hand::with(naming);
    hand.message(
        "generate-metrics",
        r#"{"series":[{"metric":"m","type":"count","points":[[5,1]]}]}"#,
    );
    hand.post(
        &[],
        &envelope(
            "r",
            "generate-metrics",
            r#"{"series":[{"metric":"m","type":"count","points":[[5,1]]}]}"#,
        ),
    );
    assert!(hand.sink.lines[0].starts_with("own.dd.instrumentation_telemetry_data.general.m "));
}

#[test]
fn a_bad_part_is_refused_alone() {
    let good = r#"{"metric":"good","type":"count","points":[[5,1]]}"#;
    for bad in [
        r#"{"metric":"","type":"count","points":[[5,1]]}"#,
        r#"{"type":"count","points":[[5,1]]}"#,
        r#"{"metric":"m","type":"histogram","points":[[5,1]]}"#,
        r#"{"metric":"m","points":[[5,1]]}"#,
        r#"{"metric":"m","type":"count","points":[[5,null]]}"#,
        r#"{"metric":"m","type":"count","points":[[5,1e999]]}"#,
        r#"{"metric":"m","type":"count","points":[[5]]}"#,
        r#"{"metric":"m","type":"count","points":[5]}"#,
        r#"{"metric":"m","type":"count","points":5}"#,
        r#"{"metric":"m","type":"count","points":[["5",1]]}"#,
        r#"{"metric":"m","type":"rate","interval":-1,"points":[[5,1]]}"#,
        r#"{"metric":"m","type":"rate","interval":1e300,"points":[[5,1e300]]}"#,
        r#"{"metric":"m","type":"count","points":[[5,1]],"tags":[7]}"#,
        r#"{"metric":"m","type":"count","points":[[5,1]],"tags":"a:b"}"#,
        r#"{"metric":7,"type":"count","points":[[5,1]]}"#,
        r#"["m","count"]"#,
        "7",
    ] {
        let payload = format!(r#"{{"series":[{bad},{good}]}}"#);
        let lines = Hand::new().message("generate-metrics", &payload);
        gives(&lines, &["refused value", "general.good count 1 @5 "]);
    }
    let payload = r#"{"series":[{"metric":"m","points":[1,"x",null,1e999,2]}]}"#;
    let refused = ["refused value"; 3];
    gives(
        &Hand::new().message("distributions", payload),
        &[&refused[..], &["general.m samples [1.0, 2.0] @1795188620 "]].concat(),
    );
    let payload = r#"{"logs":[{"count":-1},{"count":"2"},7]}"#;
    gives(&Hand::new().message("logs", payload), &refused);
}

#[test]
fn a_payload_of_another_shape_is_one_bad_part() {
    for (kind, payload) in [
        ("generate-metrics", "[]"),
        ("generate-metrics", r#"{"series":{}}"#),
        ("distributions", "7"),
        ("sketches", r#"{"series":7}"#),
        ("logs", r#"{"logs":"boom"}"#),
        ("logs", "[]"),
        ("message-batch", "{}"),
        ("message-batch", "[7]"),
    ] {
        gives(&Hand::new().message(kind, payload), &["refused value"]);
    }
}

#[test]
fn a_payload_may_be_missing_or_null() {
    for kind in ["app-heartbeat", "generate-metrics", "distributions", "logs", "app-closing"] {
        gives(&Hand::new().message(kind, "null"), &[]);
    }
    let mut hand = Hand::new();
    hand.post(&[], r#"{"request_type":"app-heartbeat","runtime_id":"r"}"#);
    assert_eq!(hand.live(10).len(), 1);
}

#[test]
fn what_cannot_be_read_is_refused_as_a_whole() {
    for body in [
        "",
        "[]",
        "null",
        "7",
        "{",
        "{}}",
        r#"{"request_type":7}"#,
        r#"{"application":7}"#,
        r#"{"application":[]}"#,
        r#"{"application":{"env":1}}"#,
        r#"{"runtime_id":[]}"#,
        r#"{"tracer_time":"now"}"#,
        "{\"payload\":\"\u{1}\"}",
    ] {
        let mut hand = Hand::new();
        let taken = take(&hand.door, PATH, &[], body.as_bytes(), NOW, &mut hand.sink);
        let refusal = taken.expect_err(body);
        assert_eq!((refusal.status, refusal.reason), (400, Reason::Decode), "{body}");
        assert!(hand.sink.lines.is_empty(), "{body}");
        assert_eq!(hand.live(10), [""; 0], "{body}");
    }
}

#[test]
fn messages_and_unknown_types_are_counted() {
    let mut hand = Hand::new();
    hand.message("app-started", r#"{"configuration":[{"name":"a","value":1}]}"#);
    hand.message("app-of-tomorrow", r#"{"x":1}"#);
    hand.message(
        "message-batch",
        r#"[{"request_type":"app-endpoints"},{"request_type":"message-batch","payload":[]},{}]"#,
    );
    hand.post(&[("dd-telemetry-request-type", "app-heartbeat")], "{}");
    let counts = &hand.door.accounting;
    assert_eq!(counts.telemetry_messages.load(Ordering::Relaxed), 6);
    assert_eq!(counts.telemetry_messages_unknown.load(Ordering::Relaxed), 3);
}

#[test]
fn the_end_of_a_process_in_a_batch_counts() {
    let mut hand = Hand::new();
    hand.message("app-started", "{}");
    hand.post(&[], &envelope("r2", "app-started", "{}"));
    let gauge = |live: u32, second: u64| {
        vec![format!("whippet.telemetry.runtimes gauge {live} @{second} {TAGS}")]
    };
    assert_eq!(hand.live(10), gauge(2, NOW.as_secs()));
    hand.message(
        "message-batch",
        r#"[{"request_type":"app-product-change","payload":{}},{"request_type":"app-closing"},{"request_type":"app-heartbeat"}]"#,
    );
    assert_eq!(hand.live(20), gauge(1, NOW.as_secs() + 10));
    hand.message("app-heartbeat", "{}");
    assert_eq!(hand.live(30), gauge(1, NOW.as_secs() + 20));
    hand.message("app-started", "{}");
    assert_eq!(hand.live(40), gauge(2, NOW.as_secs() + 30));
    hand.message("app-closing", "{}");
    // The other one was heard last at 0.
    assert_eq!(hand.live(150), gauge(1, NOW.as_secs() + 140));
    assert_eq!(hand.live(160), gauge(0, NOW.as_secs() + 150));
}

#[test]
fn a_process_without_room_is_counted_once_per_request() {
    let mut hand = Hand::new();
    let id = "1".repeat(1000);
    hand.post(
        &[],
        &envelope(
            &id,
            "message-batch",
            r#"[{"request_type":"app-started"},{"request_type":"app-heartbeat"}]"#,
        ),
    );
    assert_eq!(hand.sink.lines, ["refused limit"]);
}

/// What the metrics of the driver give that unmodified clients sent.
fn recorded(names: &[&str]) -> Vec<String> {
    let mut hand = Hand::new();
    for name in names {
        let taken = take_recorded(&hand.door, name, NOW, &mut hand.sink);
        assert_eq!(taken, Ok(Answer::ok()), "{name}");
    }
    assert_eq!(hand.door.accounting.telemetry_messages_unknown.load(Ordering::Relaxed), 0);
    hand.sink.sorted()
}

#[test]
fn recorded_from_ddtrace_3() {
    let tags = "service:shop,env:prod,version:1.2,language:python,tracer_version:3.10.2";
    let lines = recorded(&[
        "py3/telemetry-app-started",
        "py3/telemetry-app-dependencies-loaded",
        "py3/telemetry-generate-metrics",
        "py3/telemetry-distributions",
        "py3/telemetry-logs",
        "py3/telemetry-app-heartbeat",
        "py3/telemetry-app-closing",
    ]);
    let expected = [
        format!(
            "dd.instrumentation_telemetry_data.tracers.my.count count 3 @1795715266 a:b,{tags}"
        ),
        format!(
            "dd.instrumentation_telemetry_data.tracers.my.dist samples [7.0, 9.0] @1795715266 {tags}"
        ),
        format!("dd.instrumentation_telemetry_data.tracers.my.gauge gauge 4.5 @1795715266 {tags}"),
        format!("dd.instrumentation_telemetry_data.tracers.my.rate count 12 @1795715266 {tags}"),
        format!("whippet.telemetry.logs count 1 @1795715262 level:error,{tags}"),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn recorded_from_ddtrace_4() {
    let tags = "service:shop,env:prod,version:1.2,language:python,tracer_version:4.16.0";
    let mut lines = recorded(&[
        "py4/telemetry-app-started",
        "py4/telemetry-batch-app-dependencies-loaded",
        "py4/telemetry-batch-logs",
        "py4/telemetry-app-heartbeat",
        "py4/telemetry-batch-app-closing",
    ]);
    lines.retain(|line| !line.contains("spans_") && !line.contains("trace_"));
    let expected = [
        format!(
            "dd.instrumentation_telemetry_data.tracers.my.count count 3 @1795715271 a:b,{tags}"
        ),
        format!(
            "dd.instrumentation_telemetry_data.tracers.my.dist sketch 2 [1464:1 1480:1] @1795715271 {tags}"
        ),
        format!("dd.instrumentation_telemetry_data.tracers.my.gauge gauge 4.5 @1795715271 {tags}"),
        format!("dd.instrumentation_telemetry_data.tracers.my.rate count 12 @1795715271 {tags}"),
        format!("whippet.telemetry.logs count 2 @1795715271 level:error,{tags}"),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn recorded_from_dd_trace_js() {
    let tags = "service:shop,env:prod,version:1.2,language:nodejs,tracer_version:5.132.0";
    let mut lines = recorded(&[
        "js/telemetry-app-started",
        "js/telemetry-app-dependencies-loaded",
        "js/telemetry-generate-metrics",
        "js/telemetry-sketches",
        "js/telemetry-logs",
        "js/telemetry-app-heartbeat",
    ]);
    lines.retain(|line| !line.contains("spans_"));
    let expected = [
        format!(
            "dd.instrumentation_telemetry_data.tracers.my.count count 3 @1795715262 a:b,{tags}"
        ),
        // 7 and 9, read back from bins that are 2 % wide.
        format!(
            "dd.instrumentation_telemetry_data.tracers.my.dist sketch 2 [1464:1 1479:1] @1795715267 {tags}"
        ),
        format!("dd.instrumentation_telemetry_data.tracers.my.gauge gauge 4.5 @1795715262 {tags}"),
        format!("dd.instrumentation_telemetry_data.tracers.my.rate count 12 @1795715262 {tags}"),
        format!("whippet.telemetry.logs count 1 @1795715267 level:error,{tags}"),
    ];
    assert_eq!(lines, expected);
}
