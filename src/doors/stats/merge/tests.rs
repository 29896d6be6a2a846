use std::io::Read as _;

use flate2::read::GzDecoder;

use super::super::Stats;
use super::super::tests::{Built, group, hex, payload};
use super::*;
use crate::ddsketch::Rounding;
use crate::doors::collected::{Collected, take};
use crate::doors::msgpack::Reader;
use crate::doors::{Door as _, Naming};
use Built::{Bin, List, Text, Uint};

const START: u64 = 1_795_715_260;
const NOW: Duration = Duration::from_secs(START + 12);

type Headers = Vec<(String, String)>;
type Fields = BTreeMap<String, String>;

/// Keeps what it is to send.
#[derive(Default)]
struct Outbox(Mutex<Vec<(Headers, Vec<u8>)>>);

impl SendStats for Outbox {
    fn send(&self, headers: &[(&'static str, &str)], body: Bytes) {
        let headers =
            headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let mut plain = Vec::new();
        GzDecoder::new(&body[..]).read_to_end(&mut plain).expect("gzip");
        self.0.lock().expect("not poisoned").push((headers, plain));
    }
}

/// A door that forwards, and what it has sent.
struct Hand {
    door: Stats,
    sent: Arc<Outbox>,
    sink: Collected,
}

impl Hand {
    fn new(local: bool, interval: u64) -> Self {
        let agent = Agent { hostname: "web-1".to_owned(), env: "prod".to_owned() };
        let sent = Arc::new(Outbox::default());
        let forward = StatsForward::new(agent, interval, Arc::clone(&sent) as Arc<dyn SendStats>);
        let naming = Naming { prefix: String::new(), env: "ours".to_owned() };
        let door = Stats::forwarding(naming, local, forward);
        Hand { door, sent, sink: Collected::default() }
    }

    fn post(&mut self, headers: &[(&'static str, &'static str)], body: &Built, now: Duration) {
        let body = body.bytes();
        take(&self.door, "/v0.6/stats", headers, &body, now, &mut self.sink).expect("taken");
    }

    /// The requests of a bucket that closes.
    fn close(&mut self, start: u64) -> Vec<Request> {
        self.close_at(start, None)
    }

    /// The same at shutdown, at the second `stop`.
    fn close_at(&mut self, start: u64, stop: Option<u64>) -> Vec<Request> {
        self.door.closing(start, stop, &mut self.sink);
        let sent = std::mem::take(&mut *self.sent.0.lock().expect("not poisoned"));
        sent.iter().map(|(headers, body)| Request::read(headers, body)).collect()
    }
}

/// A request as the intake reads it: every field as text, in the order of their names.
#[derive(Debug)]
struct Request {
    headers: Headers,
    envelope: Fields,
    payloads: Vec<(Fields, Vec<Fields>)>,
}

/// Any value as text; sketches as their bins.
fn text(reader: &mut Reader<'_>, key: &str) -> String {
    let mut again = reader.clone();
    let bytes = again.span(Reader::skip).expect("a value");
    *reader = again;
    let mut reader = Reader::new(bytes);
    if key.ends_with("Summary") {
        let sketch = DdSketch::read(reader.text().expect("bytes"), Rounding::Down).expect("valid");
        let sketch = crate::ddsketch::recode(&sketch, crate::ddsketch::Unit::Nanoseconds);
        return format!("{:?}", sketch.expect("valid").bins().collect::<Vec<_>>());
    }
    if let Ok(text) = reader.text() {
        return String::from_utf8_lossy(text).into_owned();
    }
    if let Ok(truth) = Reader::new(bytes).boolean()
        && bytes[0] & 0xfe == 0xc2
    {
        return truth.to_string();
    }
    if let Ok(number) = Reader::new(bytes).number() {
        return number.whole().expect("a whole number").to_string();
    }
    let mut items = Vec::new();
    Reader::new(bytes)
        .array(|item| {
            items.push(text(item, ""));
            Ok(())
        })
        .expect("an array");
    format!("{items:?}")
}

fn fields<'a>(reader: &mut Reader<'a>, mut stats: impl FnMut(&mut Reader<'a>)) -> Fields {
    let mut fields = BTreeMap::new();
    let read = reader.entries(|reader, key| {
        let key = String::from_utf8(key.to_vec()).expect("a name");
        if key == "Stats" {
            stats(reader);
        } else {
            let text = text(reader, &key);
            assert!(fields.insert(key, text).is_none(), "a field twice");
        }
        Ok(())
    });
    read.expect("a map");
    fields
}

impl Request {
    fn read(headers: &[(String, String)], body: &[u8]) -> Request {
        let mut payloads = Vec::new();
        let mut reader = Reader::new(body);
        let envelope = fields(&mut reader, |reader| {
            let each = reader.array(|reader| {
                let mut groups = Vec::new();
                let mut bucket = BTreeMap::new();
                let head = fields(reader, |reader| {
                    let each = reader.array(|reader| {
                        bucket = fields(reader, |reader| {
                            let each = reader.array(|reader| {
                                groups.push(fields(reader, |_| panic!("no more levels")));
                                Ok(())
                            });
                            each.expect("groups");
                        });
                        Ok(())
                    });
                    each.expect("buckets");
                });
                payloads.push((head.into_iter().chain(bucket).collect(), groups));
                Ok(())
            });
            each.expect("payloads");
        });
        reader.end().expect("nothing behind");
        Request { headers: headers.to_vec(), envelope, payloads }
    }

    /// `Name hits errors top duration ok error` of every group, payload by payload, sorted.
    fn groups(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .payloads
            .iter()
            .flat_map(|(head, groups)| groups.iter().map(move |group| (head, group)))
            .map(|(head, group)| {
                let of = |name: &str| &group[name];
                format!(
                    "{}{} {} {} {} {} {} {}",
                    head["AgentAggregation"],
                    of("Name"),
                    of("Hits"),
                    of("Errors"),
                    of("TopLevelHits"),
                    of("Duration"),
                    of("OkSummary"),
                    of("ErrorSummary")
                )
            })
            .collect();
        lines.sort();
        lines
    }
}

#[test]
fn two_processes_become_one_sum_that_is_sent_once() {
    let mut hand = Hand::new(false, 10);
    let python = [("datadog-meta-lang", "python"), ("datadog-meta-tracer-version", "4.16.0")];
    let hits = |hits: u64| {
        group().with(vec![("Hits", Uint(hits)), ("TopLevelHits", Uint(hits)), ("Errors", Uint(1))])
    };
    hand.post(&python, &payload(vec![hits(3), hits(4)]), NOW);
    let other =
        payload(vec![hits(5)]).with(vec![("RuntimeID", Text("other")), ("Sequence", Uint(7))]);
    hand.post(&python, &other, NOW);
    assert_eq!(hand.sink.lines, Vec::<String>::new(), "no metrics of our own");
    assert!(hand.close(START - 10).is_empty(), "the bucket is open");
    let requests = hand.close(START);
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert_eq!(request.groups(), ["web.request 12 3 12 3000000000 [(1338, 3)] []"]);
    let headers: Vec<(&str, &str)> =
        request.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(
        headers,
        [
            ("Content-Type", "application/msgpack"),
            ("Content-Encoding", "gzip"),
            ("X-Datadog-Reported-Languages", "python"),
        ]
    );
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        format!("{:?}", request.envelope),
        format!(
            "{{\"AgentEnv\": \"prod\", \"AgentHostname\": \"web-1\", \"AgentVersion\": \"{version}\", \
         \"ClientComputed\": \"true\", \"SplitPayload\": \"false\"}}"
        )
    );
    let (head, groups) = &request.payloads[0];
    let head: Vec<String> = head.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        head.join(" "),
        format!(
            "AgentAggregation= AgentTimeShift=0 ContainerID= Duration=10000000000 Env=prod GitCommitSha= \
         Hostname= ImageTag= Lang=python Service= Start={START}000000000 TracerVersion=4.16.0 \
         Version=1.2"
        )
    );
    let group = &groups[0];
    assert_eq!(group.len(), 22);
    assert_eq!(
        (&*group["Resource"], &*group["HTTPStatusCode"], &*group["Synthetics"]),
        ("GET /a", "200", "false")
    );
    assert!(hand.close(START).is_empty() && hand.close(START + 10).is_empty(), "only once");
}

#[test]
fn every_field_that_tells_groups_apart_goes_on() {
    let changed: Vec<(&'static str, Built, &str)> = vec![
        ("Service", Text("cart"), "cart"),
        ("Name", Text("db query"), "db query"),
        ("Resource", Text("GET /b"), "GET /b"),
        ("HTTPStatusCode", Uint(404), "404"),
        ("Type", Text("http"), "http"),
        ("DBType", Text("pg"), "pg"),
        ("Synthetics", Built::Bool(true), "true"),
        ("SpanKind", Text("server"), "server"),
        ("PeerTags", List(vec![Text("a:b"), Text("c:d")]), "[\"a:b\", \"c:d\"]"),
        ("IsTraceRoot", Uint(1), "1"),
        ("GRPCStatusCode", Text("5"), "5"),
        ("HTTPMethod", Text("GET"), "GET"),
        ("HTTPEndpoint", Text("/x"), "/x"),
        ("srv_src", Text("m"), "m"),
        ("SpanDerivedPrimaryTags", List(vec![Text("a:b")]), "[\"a:b\"]"),
        ("AdditionalMetricTags", List(vec![Text("a:b")]), "[\"a:b\"]"),
    ];
    let mut hand = Hand::new(false, 10);
    let groups = changed.iter().map(|(field, value, _)| group().with(vec![(field, value.clone())]));
    let groups: Vec<Built> = std::iter::once(group()).chain(groups).collect();
    hand.post(&[], &payload(groups.clone()), NOW);
    hand.post(&[], &payload(groups), NOW);
    let request = hand.close(START).remove(0);
    let (_, groups) = &request.payloads[0];
    assert_eq!(groups.len(), changed.len() + 1);
    for (field, _, expect) in &changed {
        let hits: Vec<&str> = groups
            .iter()
            .filter(|group| group[*field] == *expect)
            .map(|group| &*group["Hits"])
            .collect();
        assert_eq!(hits, ["2"], "{field}");
    }
}

#[test]
fn processes_of_different_kinds_stay_apart() {
    let mut hand = Hand::new(false, 10);
    hand.post(&[("datadog-meta-lang", "go")], &payload(vec![group()]), NOW);
    hand.post(&[("datadog-meta-lang", "python")], &payload(vec![group()]), NOW);
    for field in [
        "Hostname",
        "Env",
        "Version",
        "Service",
        "ContainerID",
        "GitCommitSha",
        "ImageTag",
        "TracerVersion",
        "Lang",
    ] {
        hand.post(&[], &payload(vec![group()]).with(vec![(field, Text("other"))]), NOW);
    }
    hand.post(&[], &payload(vec![group()]).with(vec![("Env", Text(""))]), NOW);
    let request = hand.close(START).remove(0);
    assert_eq!(request.payloads.len(), 12);
    assert!(request.payloads.iter().all(|(_, groups)| groups[0]["Hits"] == "1"));
    let envs = |env: &str| request.payloads.iter().filter(|(head, _)| head["Env"] == env).count();
    assert_eq!((envs("prod"), envs("other"), envs("ours")), (10, 1, 1));
    assert_eq!(request.headers[2].1, "go|other|python");
    // Without one of ours, that of the Agent.
    let mut hand = Hand::new(false, 10);
    hand.door.naming.set(Naming::default());
    hand.post(&[], &payload(vec![group()]).with(vec![("Env", Text(""))]), NOW);
    assert_eq!(hand.close(START).remove(0).payloads[0].0["Env"], "prod");
}

#[test]
fn a_sketch_of_another_mapping_goes_on_beside_the_sums() {
    let go = "0a1209fd4a815abf52f03f110000000000000000 120d1208000000000000f03f18 8e10 1a00";
    let mut hand = Hand::new(false, 10);
    let with_go = group().with(vec![("OkSummary", Bin(hex(go))), ("ErrorSummary", Bin(hex(go)))]);
    hand.post(&[], &payload(vec![group(), with_go, group()]), NOW);
    let groups = hand.close(START).remove(0).groups();
    assert_eq!(groups.len(), 2, "{groups:?}");
    // The first error sketch of the group was one of Go: only the other has no place.
    assert!(groups[0].starts_with("distributionsweb.request 0 0 0 0 [("), "{groups:?}");
    assert!(groups[0].ends_with(" []"), "{groups:?}");
    assert!(groups[1].starts_with("web.request 3 0 3 3000000000 [(1338, 2)] [("), "{groups:?}");
}

#[test]
fn more_groups_than_a_request_holds_are_split() {
    let mut hand = Hand::new(false, 10);
    let names: Vec<Built> = (0..GROUPS_MAX as u64 + 1)
        .map(|number| group().with(vec![("HTTPStatusCode", Uint(number))]))
        .collect();
    hand.post(&[], &payload(names[..GROUPS_MAX].to_vec()), NOW);
    let whole = hand.close(START);
    assert_eq!((whole.len(), &*whole[0].envelope["SplitPayload"]), (1, "false"));
    assert_eq!(whole[0].groups().len(), GROUPS_MAX);
    let later = NOW + Duration::from_secs(20);
    let start = START + 10;
    hand.post(&[], &payload(names).with(vec![("Version", Text("2"))]), later);
    hand.post(&[], &payload(vec![group()]), later);
    let parts = hand.close(start);
    assert_eq!(parts.len(), 2);
    assert!(parts.iter().all(|part| part.envelope["SplitPayload"] == "true"));
    let mut counts: Vec<usize> = parts.iter().map(|part| part.groups().len()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [2, GROUPS_MAX]);
    assert!(parts.iter().flat_map(|part| &part.payloads).all(|(_, groups)| !groups.is_empty()));
}

#[test]
fn parts_of_a_bucket_before_and_after_a_restart_have_seconds_of_their_own() {
    let start_and_shift = |stop: Option<u64>| {
        let mut hand = Hand::new(false, 10);
        hand.post(&[], &payload(vec![group()]), NOW);
        let head = hand.close_at(START, stop).remove(0).payloads.remove(0).0;
        (head["Start"].clone(), head["AgentTimeShift"].clone())
    };
    let at = |second: u64| (format!("{}000000000", START + second), format!("{second}000000000"));
    let whole = start_and_shift(None);
    assert_eq!(whole, (format!("{START}000000000"), "0".to_owned()));
    for stop in START..START + 18 {
        assert_eq!(start_and_shift(Some(stop)), at(1 + stop % 9), "stopped at {stop}");
    }
}

#[test]
fn what_comes_too_late_or_too_early_goes_into_an_open_bucket() {
    let mut hand = Hand::new(false, 10);
    hand.post(&[], &payload(vec![group()]), NOW);
    assert_eq!(hand.close(START).len(), 1);
    // Again, for the bucket that is sent.
    hand.post(&[], &payload(vec![group()]), NOW + Duration::from_secs(30));
    let late = hand.close(START + 10).remove(0);
    let (head, _) = &late.payloads[0];
    assert_eq!(head["Start"], format!("{}000000000", START + 10));
    assert_eq!(head["AgentTimeShift"], "10000000000");
    // A clock of a client that is ahead.
    hand.post(&[], &payload(vec![group()]), Duration::from_secs(START - 95));
    let mut hand = Hand::new(false, 10);
    hand.post(&[], &payload(vec![group()]), Duration::from_secs(START - 95));
    let early = hand.close(START - 100).remove(0);
    assert_eq!(early.payloads[0].0["Start"], format!("{}000000000", START - 100));
    assert_eq!(early.payloads[0].0["AgentTimeShift"], "0");
    // From long ago, and nothing was sent yet: the oldest that is open.
    let mut hand = Hand::new(false, 10);
    hand.post(&[], &payload(vec![group()]), Duration::from_secs(START + 600));
    assert_eq!(hand.close(START + 550).len(), 0);
    assert_eq!(hand.close(START + 560).len(), 1);
}

#[test]
fn buckets_are_ten_seconds_at_any_interval() {
    let mut hand = Hand::new(false, 60);
    let minute = START - START % 60;
    for seconds in [0, 9, 10, 59] {
        let body = Built::Map(vec![(
            "Stats",
            List(vec![Built::Map(vec![
                ("Start", Uint((minute + seconds) * 1_000_000_000)),
                ("Stats", List(vec![group()])),
            ])]),
        )]);
        hand.post(&[], &body, Duration::from_secs(minute + 65));
    }
    let request = hand.close(minute).remove(0);
    let starts: Vec<(String, String)> = request
        .payloads
        .iter()
        .map(|(head, groups)| (head["Start"].clone(), groups[0]["Hits"].clone()))
        .collect();
    let nanoseconds = |seconds: u64| format!("{}000000000", minute + seconds);
    assert_eq!(
        starts,
        [
            (nanoseconds(0), "2".to_owned()),
            (nanoseconds(10), "1".to_owned()),
            (nanoseconds(50), "1".to_owned()),
        ]
    );
}

#[test]
fn statements_and_bad_groups_do_not_go_on() {
    let mut hand = Hand::new(true, 10);
    let sql = group().with(vec![("Type", Text("sql")), ("Resource", Text("SELECT 'secret'"))]);
    let bad = group().with(vec![("Hits", Built::Int(-1))]);
    hand.post(&[], &payload(vec![sql.clone(), bad]), NOW);
    assert_eq!(hand.sink.lines.len(), 4, "three metrics and a refusal: {:?}", hand.sink.lines);
    let request = hand.close(START).remove(0);
    let (_, groups) = &request.payloads[0];
    assert_eq!((groups.len(), &*groups[0]["Resource"]), (1, ""));
    let later = NOW + Duration::from_secs(10);
    hand.post(&[("datadog-obfuscation-version", "1")], &payload(vec![sql]), later);
    let request = hand.close(START + 10).remove(0);
    assert_eq!(request.payloads[0].1[0]["Resource"], "SELECT 'secret'");
}

#[test]
fn memory_is_bounded_and_what_has_no_room_is_counted() {
    let mut hand = Hand::new(false, 10);
    hand.door.forward.as_mut().expect("it forwards").bytes_max = 100_000;
    let groups = |number: std::ops::Range<u64>| {
        payload(number.map(|of| group().with(vec![("HTTPStatusCode", Uint(of))])).collect())
    };
    hand.post(&[], &groups(0..1000), NOW);
    let refused = hand.sink.lines.len();
    assert!(hand.sink.lines.iter().all(|line| line == "refused limit"));
    // What is known is added all the same.
    hand.post(&[], &groups(0..10), NOW);
    assert_eq!(hand.sink.lines.len(), refused);
    // Another process finds no room either.
    hand.post(&[], &groups(0..1).with(vec![("Version", Text("2"))]), NOW);
    assert_eq!(hand.sink.lines.len(), refused + 1);
    let groups_sent = hand.close(START).remove(0).groups();
    assert_eq!(groups_sent.len() + refused, 1000);
    assert!((80..190).contains(&groups_sent.len()), "{}", groups_sent.len());
    assert_eq!(groups_sent.iter().filter(|group| group.starts_with("web.request 2 ")).count(), 10);
    // What was sent is free again.
    hand.sink.lines.clear();
    hand.post(&[], &groups(0..80), NOW);
    assert_eq!(hand.sink.lines, Vec::<String>::new());
}
