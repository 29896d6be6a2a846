use std::time::Duration;

use super::*;
use crate::doors::Naming;
use crate::doors::collected::{Collected, take};
use rmp::encode;

const NOW: Duration = Duration::from_secs(1_795_715_280);
const START: u64 = 1_795_715_260;

/// The sketch of one value of 1 s.
const SECOND: &str = "0a1209000000000040f03f110000000000ea9440 120d1208000000000000f03f18e629 1a00";

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// A value of a body under construction.
#[derive(Clone)]
pub(super) enum Built {
    Text(&'static str),
    Bin(Vec<u8>),
    Uint(u64),
    Int(i64),
    Float(f64),
    Bool(bool),
    Nil,
    List(Vec<Built>),
    Map(Vec<(&'static str, Built)>),
}

use Built::{Bin, Bool, Float, Int, List, Map, Nil, Text, Uint};

impl Built {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Text(text) => encode::write_str(to, text).expect("memory"),
            Bin(bytes) => encode::write_bin(to, bytes).expect("memory"),
            Uint(value) => drop(encode::write_uint(to, *value).expect("memory")),
            Int(value) => drop(encode::write_sint(to, *value).expect("memory")),
            Float(value) => encode::write_f64(to, *value).expect("memory"),
            Bool(value) => encode::write_bool(to, *value).expect("memory"),
            Nil => encode::write_nil(to).expect("memory"),
            List(items) => {
                encode::write_array_len(to, items.len() as u32).expect("memory");
                items.iter().for_each(|item| item.write(to));
            }
            Map(entries) => {
                encode::write_map_len(to, entries.len() as u32).expect("memory");
                for (key, value) in entries {
                    encode::write_str(to, key).expect("memory");
                    value.write(to);
                }
            }
        }
    }

    /// The same map with these entries instead of those of the same key.
    pub fn with(&self, changed: Vec<(&'static str, Built)>) -> Built {
        let Map(entries) = self else { panic!("not a map") };
        let keep = entries.iter().filter(|(key, _)| changed.iter().all(|(other, _)| other != key));
        Map(keep.cloned().chain(changed.clone()).collect())
    }
}

/// A group of ddtrace 3: one request of one second.
pub(super) fn group() -> Built {
    Map(vec![
        ("Name", Text("web.request")),
        ("Resource", Text("GET /a")),
        ("Synthetics", Bool(false)),
        ("HTTPStatusCode", Uint(200)),
        ("Hits", Uint(1)),
        ("TopLevelHits", Uint(1)),
        ("Duration", Uint(1_000_000_000)),
        ("Errors", Uint(0)),
        ("OkSummary", Bin(hex(SECOND))),
        ("ErrorSummary", Bin(Vec::new())),
        ("Service", Text("shop")),
        ("Type", Text("web")),
    ])
}

pub(super) fn payload(groups: Vec<Built>) -> Built {
    let bucket = Map(vec![
        ("Start", Uint(START * 1_000_000_000)),
        ("Duration", Uint(10_000_000_000)),
        ("Stats", List(groups)),
    ]);
    Map(vec![
        ("Stats", List(vec![bucket])),
        ("Hostname", Text("")),
        ("Env", Text("prod")),
        ("Version", Text("1.2")),
    ])
}

fn door() -> Stats {
    Stats::new(Naming { prefix: String::new(), env: "ours".to_owned() })
}

#[track_caller]
fn lines(headers: &[(&'static str, &'static str)], body: &[u8]) -> Vec<String> {
    let mut sink = Collected::default();
    let answer = take(&door(), "/v0.6/stats", headers, body, NOW, &mut sink);
    assert_eq!(answer, Ok(Answer::ok()));
    sink.lines
}

/// What a payload with this one group records.
#[track_caller]
fn records(group: &Built, expect: &[&str]) {
    assert_eq!(lines(&[], &payload(vec![group.clone()]).bytes()), expect);
}

#[track_caller]
fn refuses(body: &[u8], message: &str) {
    let mut sink = Collected::default();
    let refusal = take(&door(), "/v0.6/stats", &[], body, NOW, &mut sink).expect_err("refused");
    assert_eq!((refusal.reason, refusal.status), (Reason::Decode, 400));
    assert_eq!(refusal.message, message);
    assert_eq!(sink.lines, Vec::<String>::new(), "nothing of it is recorded");
}

#[test]
fn a_group_becomes_four_metrics() {
    let tags = "service:shop,env:prod,version:1.2,resource_name:get_/a,http.status_code:200,\
                http.status_class:2xx";
    records(
        &group(),
        &[
            &format!("trace.web.request.hits count 1 @{START} {tags}"),
            &format!("trace.web.request.duration count 1 @{START} {tags}"),
            &format!("trace.web.request sketch 1 [1338:1] @{START} {tags}"),
        ],
    );
    let failed = group().with(vec![
        ("HTTPStatusCode", Uint(500)),
        ("Errors", Uint(1)),
        ("OkSummary", Nil),
        ("ErrorSummary", Bin(hex(SECOND))),
    ]);
    let tags = tags.replace("200", "500").replace("2xx", "5xx");
    records(
        &failed,
        &[
            &format!("trace.web.request.hits count 1 @{START} {tags}"),
            &format!("trace.web.request.errors count 1 @{START} {tags}"),
            &format!("trace.web.request.duration count 1 @{START} {tags}"),
            &format!("trace.web.request sketch 1 [1338:1] @{START} {tags}"),
        ],
    );
}

#[test]
fn every_tag_comes_from_its_field_and_empty_ones_are_left_out() {
    let mut full = group().with(vec![
        ("Synthetics", Bool(true)),
        ("HTTPStatusCode", Float(404.0)),
        ("SpanKind", Text("server")),
        ("GRPCStatusCode", Text("5")),
        ("PeerTags", List(vec![Text("peer.service:db"), Text(""), Bin(b"db.name:a,b".to_vec())])),
        ("SpanDerivedPrimaryTags", List(vec![Text("datacenter:us1")])),
        ("AdditionalMetricTags", List(vec![Text("team:core")])),
        ("DBType", Text("postgres")),
        ("HTTPMethod", Text("GET")),
        ("HTTPEndpoint", Text("/a")),
        ("srv_src", Text("m")),
        ("IsTraceRoot", Uint(1)),
        ("SomethingNew", Map(vec![("a", List(vec![Nil]))])),
    ]);
    let first = |group: &Built| lines(&[], &payload(vec![group.clone()]).bytes()).remove(0);
    assert_eq!(
        first(&full),
        format!(
            "trace.web.request.hits count 1 @{START} service:shop,env:prod,version:1.2,\
             resource_name:get_/a,http.status_code:404,http.status_class:4xx,span.kind:server,\
             rpc.grpc.status_code:5,synthetics:true,peer.service:db,db.name:a,b,datacenter:us1,\
             team:core"
        )
    );
    full = Map(vec![("Name", Text("a b")), ("HTTPStatusCode", Uint(99)), ("PeerTags", Nil)]);
    assert_eq!(first(&full), format!("trace.a_b.hits count 0 @{START} env:prod,version:1.2"));
}

#[test]
fn the_environment_is_ours_where_a_payload_names_none_and_a_prefix_comes_first() {
    let body = payload(vec![group()]).with(vec![("Env", Nil), ("Version", Nil)]).bytes();
    assert!(lines(&[], &body)[0].contains("service:shop,env:ours,resource_name"));
    let door = Stats::new(Naming { prefix: "w.".to_owned(), env: String::new() });
    let mut sink = Collected::default();
    take(&door, "/v0.6/stats", &[], &body, NOW, &mut sink).expect("taken");
    assert!(sink.lines[0].starts_with("w.trace.web.request.hits count 1"), "{:?}", sink.lines);
    assert!(sink.lines[0].contains("service:shop,resource_name"), "{:?}", sink.lines);
}

#[test]
fn a_statement_leaves_only_when_the_client_has_obfuscated_it() {
    let kinds = ["sql", "cassandra", "redis", "valkey", "memcached", "mongodb", "elasticsearch"];
    for kind in kinds.into_iter().chain(["opensearch", "SQL"]) {
        let statement = [("Type", Text(kind)), ("Resource", Text("SELECT 'secret'"))];
        let body = payload(vec![group().with(statement.to_vec())]).bytes();
        let has = |headers: &[(&'static str, &'static str)], expect: bool| {
            let lines = lines(headers, &body);
            let has = lines.iter().any(|line| line.contains("resource_name:select_secret"));
            assert_eq!((has, lines.len()), (expect, 3), "{kind}: {lines:?}");
            assert!(expect || !lines.iter().any(|line| line.contains("secret")));
        };
        has(&[], false);
        has(&[("datadog-obfuscation-version", "0")], false);
        has(&[("datadog-obfuscation-version", "none")], false);
        has(&[("datadog-obfuscation-version", "1")], true);
        has(&[("datadog-obfuscation-version", "2")], true);
    }
}

#[test]
fn a_sum_is_exact_when_the_sketches_count_every_hit() {
    struct Sums(Vec<(u64, f64, f64, f64)>);
    impl Sink for Sums {
        fn put(&mut self, part: &crate::doors::Part<'_>) -> crate::doors::Outcome {
            if let crate::doors::Value::Sketch(sketch) = part.value {
                self.0.push((sketch.count(), sketch.sum(), sketch.min(), sketch.max()));
            }
            crate::doors::Outcome::Recorded
        }
        fn event(&mut self, _: crate::aggregate::EventRecord) -> crate::doors::Outcome {
            unreachable!("no events here")
        }
        fn check(&mut self, _: crate::aggregate::CheckRecord) -> crate::doors::Outcome {
            unreachable!("no checks here")
        }
        fn refuse(&mut self, reason: Reason) {
            panic!("refused {reason:?}");
        }
    }
    let sums = |changed: Vec<(&'static str, Built)>| {
        let mut sums = Sums(Vec::new());
        let body = payload(vec![group().with(changed)]).bytes();
        take(&door(), "/v0.6/stats", &[], &body, NOW, &mut sums).expect("taken");
        sums.0.remove(0)
    };
    let both = [("Hits", Uint(2)), ("ErrorSummary", Bin(hex(SECOND)))];
    let exact = [&both[..], &[("Duration", Uint(2_123_456_789))]].concat();
    let (count, sum, min, max) = sums(exact);
    assert_eq!((count, sum), (2, 2.123456789));
    assert!(min < 1.0079 && max >= sum / 2.0, "{min} {max}");
    // Of 5 hits 2 were measured: their own bins say what they add up to.
    let some = [&both[..], &[("Hits", Uint(5)), ("Duration", Uint(9_000_000_000))]].concat();
    let (count, sum, min, max) = sums(some);
    assert_eq!(count, 2);
    assert!((sum / 2.0 - 1.0).abs() < 0.0079 && min == max, "{sum} {min} {max}");
}

#[test]
fn a_bad_group_harms_no_other() {
    let sketch = |hex_bytes: &str| Bin(hex(hex_bytes));
    let negative = "0a1209000000000040f03f110000000000ea9440 1a0d1208000000000000f03f18f414";
    let bad: Vec<(Vec<(&'static str, Built)>, &str)> = vec![
        (vec![("Name", Text(""))], "value"),
        (vec![("Name", Nil)], "value"),
        (vec![("Hits", Int(-1))], "value"),
        (vec![("Errors", Int(-1))], "value"),
        (vec![("Duration", Int(-1))], "value"),
        (vec![("TopLevelHits", Int(-1))], "value"),
        (vec![("Hits", Float(f64::NAN))], "value"),
        (vec![("Duration", Float(f64::INFINITY))], "value"),
        (vec![("OkSummary", sketch("ff"))], "sketch"),
        (vec![("OkSummary", Text("no sketch"))], "sketch"),
        (vec![("ErrorSummary", sketch(negative))], "sketch"),
        (vec![("OkSummary", sketch("0a09 09000000000000f03f"))], "sketch"),
    ];
    for (changed, reason) in bad {
        let good = group().with(vec![("Name", Text("good"))]);
        let body = payload(vec![good.clone(), group().with(changed), good]).bytes();
        let lines = lines(&[], &body);
        assert_eq!(lines.len(), 7, "{lines:?}");
        assert_eq!(lines[3], format!("refused {reason}"));
        assert!(lines[4].starts_with("trace.good.hits"));
    }
    let count = |changed: Vec<(&'static str, Built)>| {
        let bucket = Map(vec![("Stats", List(vec![group(), group()]))]).with(changed);
        lines(&[], &Map(vec![("Stats", List(vec![bucket]))]).bytes())
    };
    assert_eq!(count(vec![("Start", Int(-1))]), ["refused time", "refused time"]);
    assert_eq!(count(vec![("Start", Float(f64::NAN))]), ["refused time", "refused time"]);
    // A bucket without a start is one from very long ago: the buckets decide.
    assert!(count(vec![])[0].starts_with("trace.web.request.hits count 1 @0 "));
}

#[test]
fn an_answer_to_the_same_key_records_nothing() {
    let body = payload(vec![group()]).bytes();
    let door = door();
    let mut sink = Collected::default();
    let mut send = |headers: &[(&'static str, &'static str)], body: &[u8], now| {
        let answer = take(&door, "/v0.6/stats", headers, body, now, &mut sink);
        let lines = sink.sorted().len();
        (answer.map_err(|refusal| (refusal.reason, refusal.answer())), lines)
    };
    let key = [("idempotency-key", "4c1b")];
    // What was refused was not answered with success.
    assert!(send(&key, b"\x80\x80", NOW).0.is_err());
    assert_eq!(send(&key, &body, NOW), (Ok(Answer::ok()), 3));
    assert_eq!(send(&key, &body, NOW), (Err((Reason::Duplicate, Answer::ok())), 0));
    assert_eq!(send(&[("idempotency-key", "4c1c")], &body, NOW), (Ok(Answer::ok()), 3));
    assert_eq!(send(&[], &body, NOW), (Ok(Answer::ok()), 3));
    assert_eq!(send(&key, &body, NOW + Duration::from_secs(60)), (Ok(Answer::ok()), 3));
}

#[test]
fn a_body_that_is_none_is_refused_as_a_whole_and_names_the_place() {
    let whole = payload(vec![group(), group()]).bytes();
    for cut in 0..whole.len() {
        let mut sink = Collected::default();
        let cut = take(&door(), "/v0.6/stats", &[], &whole[..cut], NOW, &mut sink);
        assert_eq!(cut.expect_err("cut").status, 400);
        assert!(sink.lines.is_empty());
    }
    refuses(b"", "stats payload: the body ends inside a value at byte 0");
    refuses(b"[]", "stats payload: expected a map at byte 0");
    refuses(b"{\"Stats\":[]}", "stats payload: expected a map at byte 0");
    refuses(&List(vec![]).bytes(), "stats payload: expected a map at byte 0");
    refuses(&Nil.bytes(), "stats payload: expected a map at byte 0");
    let longer = [payload(vec![]).bytes(), vec![0xc0]].concat();
    let end = longer.len() - 1;
    refuses(&longer, &format!("stats payload: expected the end of the body at byte {end}"));
    let bad = payload(vec![group(), group().with(vec![("Hits", Text("secret"))])]).bytes();
    let place = bad.windows(6).position(|bytes| bytes == b"secret").expect("there") - 1;
    let message =
        format!("stats payload: Stats[0].Stats[1].Hits: expected a number at byte {place}");
    refuses(&bad, &message);
    refuses(
        &hex("81 a55374617473 ddffffffff"),
        "stats payload: Stats: an array is longer than the body at byte 7",
    );
    let mut deep = hex("81 a3646565");
    deep[1] = 0xa3;
    deep.truncate(2);
    deep.extend(b"new");
    deep.extend([0x91; 40]);
    deep.push(0xc0);
    refuses(
        &deep,
        "stats payload: (unknown field)[0][0][0][0][0][0][0]…: maps and arrays are nested deeper than \
         32 at byte 36",
    );
}

#[test]
fn a_payload_without_groups_is_taken() {
    // dd-trace-js sends one every 10 s.
    for body in [payload(vec![]), Map(vec![("Stats", List(vec![]))]), Map(vec![])] {
        assert_eq!(lines(&[], &body.bytes()), Vec::<String>::new());
    }
}

/// Bodies as the clients sent them, with the headers that matter.
#[test]
fn recorded_bodies_give_their_hits_and_times() {
    #[track_caller]
    fn sums(headers: &[(&'static str, &'static str)], body: &[u8]) -> (f64, f64, f64, Vec<String>) {
        let lines = lines(headers, body);
        assert!(!lines.iter().any(|line| line.contains("users")), "a statement: {lines:?}");
        let of = |suffix: &str| -> f64 {
            let of = lines
                .iter()
                .filter(|line| line.starts_with(&format!("trace.web.request{suffix} ")));
            of.map(|line| {
                line.split(' ').nth(2).expect("a value").parse::<f64>().expect("a number")
            })
            .sum()
        };
        (of(".hits"), of(".errors"), of(".duration"), lines.clone())
    }
    let python = [("datadog-meta-lang", "python")];
    let javascript = [("datadog-meta-lang", "javascript")];
    let py3 = sums(&python, include_bytes!("../../../tests/doors/bodies/py3/stats.body"));
    assert_eq!((py3.0, py3.1), (3.0, 1.0));
    assert!((py3.2 - (0.040359579 + 0.0201637)).abs() < 1e-12);
    let py4 = sums(&python, include_bytes!("../../../tests/doors/bodies/py4/stats.body"));
    assert_eq!((py4.0, py4.1), (3.0, 1.0));
    assert!((py4.2 - (0.047795525 + 0.038024437)).abs() < 1e-12);
    assert!(py4.3[0].contains(",span.kind:server"), "{:?}", py4.3);
    let js = sums(&javascript, include_bytes!("../../../tests/doors/bodies/js/stats.body"));
    assert_eq!((js.0, js.1), (3.0, 1.0));
    assert!((js.2 - (0.043575683 + 0.020150879)).abs() < 1e-12);
    // Two requests of 20.18 ms, and one: bins of 20 ms, within 2 %.
    for (lines, seconds) in [(py3.3, 0.02018), (js.3, 0.020150879)] {
        let last = lines.iter().rfind(|line| line.starts_with("trace.web.request sketch 1 "));
        let key: i32 =
            last.expect("one").split(['[', ':']).nth(1).expect("a bin").parse().expect("a key");
        let value = 1.015625_f64.powi(key - 1338);
        assert!((value / seconds - 1.0).abs() < 0.02, "{value}");
    }
    assert!(
        sums(&javascript, include_bytes!("../../../tests/doors/bodies/js/stats-idle.body"))
            .3
            .is_empty()
    );
}
