use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::*;
use crate::aggregate::{TimedSettings, TimedShard, Value};
use crate::clock::Clock;
use crate::context::PartRules;
use crate::sketch::Sketch;
use crate::threadstats::{MemoryReporter, StartOptions, ThreadStats};

/// The start of a bucket.
const START: u64 = 1_700_000_000;

struct Hand {
    clock: Clock,
    memory: MemoryOutput,
    streams: DataStreams,
}

impl Hand {
    fn new(service: &str, build: impl FnOnce(Builder) -> Builder) -> Self {
        let clock = Clock::manual(Duration::from_secs(START));
        let memory = MemoryOutput::default();
        let builder = DataStreams::builder(service).env("prod").clock(clock.clone());
        let streams = build(builder.output(memory.clone())).build().unwrap();
        Hand { clock, memory, streams }
    }

    fn shop() -> Self {
        Hand::new("shop", |builder| builder)
    }

    fn after(&self, seconds: f64) -> &Self {
        self.clock.advance(Duration::from_secs_f64(seconds));
        self
    }

    fn flush(&self) -> Flush {
        self.streams.flush();
        self.memory.take().pop().unwrap_or_default()
    }

    /// The points of all buckets of one flush.
    fn points(&self) -> Vec<Point> {
        self.flush().buckets.into_iter().flat_map(|bucket| bucket.points).collect()
    }
}

const AUTOMATIC: Options<'_> =
    Options { tags: &[], payload_size: 0, automatic: true, edge_start: None, pathway_start: None };

type Headers = HashMap<String, String>;

#[test]
fn checkpoints_by_hand_have_the_hashes_of_the_python_client() {
    let hand = Hand::shop();
    let mut headers = Headers::new();
    let options = Options::default();
    let produced = hand.streams.produce("kafka", "orders", &mut headers, None, &options).unwrap();
    assert_eq!(produced.to_string(), "6189836063794947354", "V3");
    assert_eq!(headers[CONTEXT_KEY], produced.to_base64());
    let consumed = hand.streams.consume("kafka", "orders", &headers, &options).unwrap();
    assert_eq!(consumed.hash(), 18_165_093_400_377_220_725, "V3b");
}

#[test]
fn checkpoints_of_integrations_have_the_hashes_of_all_clients() {
    let shop = Hand::shop();
    let mut headers = Headers::new();
    let produced = shop.streams.produce("kafka", "orders", &mut headers, None, &AUTOMATIC).unwrap();
    assert_eq!(produced.hash(), 17_073_393_891_733_492_021, "V1");
    let billing = Hand::new("billing", |builder| builder);
    let group = Options { tags: &["group:billing"], ..AUTOMATIC };
    let consumed = billing.streams.consume("kafka", "orders", &headers, &group).unwrap();
    assert_eq!(consumed.hash(), 14_149_669_132_804_983_581, "V2");
    let tags = ["type:kafka", "direction:out", "topic:orders"];
    for _ in 0..2 {
        // Any order, and from what is remembered too.
        let again = shop.streams.set_checkpoint(&tags, None, &AUTOMATIC).unwrap();
        assert_eq!(again.hash(), produced.hash());
    }
}

#[test]
fn profiles_process_tags_and_the_container_change_hashes() {
    let hash = |build: fn(Builder) -> Builder| {
        let hand = Hand::new("shop", build);
        let mut headers = Headers::new();
        hand.streams.produce("kafka", "orders", &mut headers, None, &AUTOMATIC).unwrap().hash()
    };
    let tagged = |builder: Builder| {
        // Any order; values are normalised.
        builder.process_tags([
            ("entrypoint.type", "Script"),
            ("entrypoint.name", "app"),
            ("empty", "***"),
        ])
    };
    assert_eq!(
        hash(|builder| builder.env("").hash_profile(HashProfile::Python)),
        11_222_430_815_578_021_652,
        "V5"
    );
    assert_eq!(
        hash(|builder| builder.env("").hash_profile(HashProfile::Go)),
        16_344_507_990_478_270_145,
        "V5b"
    );
    let with = |profile, container| {
        let hand = Hand::new("shop", |builder| {
            tagged(builder).hash_profile(profile).container_hash(container)
        });
        let mut headers = Headers::new();
        hand.streams.produce("kafka", "orders", &mut headers, None, &AUTOMATIC).unwrap().hash()
    };
    assert_eq!(with(HashProfile::Python, ""), 16_359_497_390_404_084_050, "V6");
    assert_eq!(with(HashProfile::Python, "abc"), 4_233_767_073_079_043_540, "V7");
    assert_eq!(with(HashProfile::Go, ""), 3_291_673_683_509_201_546, "V8");
    assert_eq!(with(HashProfile::Plain, "abc"), 17_073_393_891_733_492_021, "V1");
}

/// An output that knows the container.
struct Knowing;

impl Output for Knowing {
    fn deliver(&self, _: &Flush) -> bool {
        true
    }

    fn container_hash(&self) -> Option<String> {
        Some("abc".to_owned())
    }
}

#[test]
fn the_container_is_asked_for_and_hashed_from_then_on() {
    let hand = Hand::new("shop", |builder| {
        builder
            .hash_profile(HashProfile::Python)
            .process_tags([("entrypoint.name", "app"), ("entrypoint.type", "script")])
            .output(Knowing)
    });
    let hash = || {
        let tags = ["direction:out", "topic:orders", "type:kafka"];
        hand.streams.set_checkpoint(&tags, None, &AUTOMATIC).unwrap().hash()
    };
    assert_eq!(hash(), 16_359_497_390_404_084_050, "V6");
    hand.streams.flush();
    assert_eq!(hash(), 4_233_767_073_079_043_540, "V7");
    let process_tags = hand.flush().application.process_tags;
    assert_eq!(process_tags, ["entrypoint.name:app", "entrypoint.type:script"]);
}

#[test]
fn latencies_sizes_and_counts_are_of_their_edge_and_bucket() {
    let hand = Hand::shop();
    hand.after(2.0);
    let mut headers = Headers::new();
    let sized = Options { payload_size: 100, ..Options::default() };
    hand.streams.produce("kafka", "orders", &mut headers, None, &sized);
    hand.after(3.0);
    let consumed = hand.streams.consume("kafka", "orders", &headers, &sized).unwrap();
    hand.after(1.0);
    hand.streams.produce("kafka", "invoices", &mut Headers::new(), Some(&consumed), &sized);
    // The next bucket.
    hand.after(4.0);
    hand.streams.consume("kafka", "orders", &headers, &sized);
    let flush = hand.flush();
    let starts: Vec<u64> = flush.buckets.iter().map(|bucket| bucket.start).collect();
    assert_eq!(starts, [START * 1_000_000_000, (START + 10) * 1_000_000_000]);

    let [input, invoices, orders] = &flush.buckets[0].points[..] else { panic!("three edges") };
    let summary = |sketch: &Sketch| (sketch.count(), sketch.sum());
    let of = |point: &Point| {
        let sketches = [&point.pathway_latency, &point.edge_latency, &point.payload_size];
        sketches.map(summary)
    };
    assert_eq!(
        input.edge_tags,
        ["direction:in", "manual_checkpoint:true", "topic:orders", "type:kafka"]
    );
    // 28 characters of context and 21 of its key.
    assert_eq!(of(orders), [(1, 0.0), (1, 0.0), (1, 149.0)]);
    assert_eq!(of(input), [(1, 3.0), (1, 3.0), (1, 100.0)]);
    assert_eq!(of(invoices), [(1, 4.0), (1, 1.0), (1, 149.0)]);
    assert_eq!((orders.parent_hash, input.parent_hash), (0, orders.hash));
    assert_eq!((invoices.parent_hash, input.hash), (consumed.hash(), consumed.hash()));

    let [input] = &flush.buckets[1].points[..] else { panic!("one edge") };
    assert_eq!(of(input)[0], (1, 8.0));
    // What comes later of the same bucket is another part of it.
    hand.streams.consume("kafka", "orders", &headers, &sized);
    assert_eq!(hand.flush().buckets[0].start, flush.buckets[1].start);
    assert_eq!(hand.flush(), Flush::default(), "nothing twice");
}

#[test]
fn starts_that_are_given_count() {
    let hand = Hand::shop();
    let at = |seconds| Some(Duration::from_secs(START - seconds));
    let options = Options { edge_start: at(7), pathway_start: at(20), ..Options::default() };
    hand.streams.consume("kinesis", "s", &(), &options);
    let point = hand.points().remove(0);
    assert_eq!((point.edge_latency.sum(), point.pathway_latency.sum()), (7.0, 20.0));
}

#[test]
fn a_context_that_cannot_be_read_begins_a_pathway_and_is_counted() {
    let hand = Hand::shop();
    let options = Options::default();
    for (value, invalid) in [("", 0), ("*", 1), ("abcd", 2)] {
        let headers = Headers::from([(CONTEXT_KEY.to_owned(), value.to_owned())]);
        let pathway = hand.streams.consume("kafka", "orders", &headers, &options).unwrap();
        assert_eq!(pathway.pathway_start(), Duration::from_secs(START));
        assert_eq!(hand.streams.losses().invalid_contexts, invalid, "{value}");
    }
    let points = hand.points();
    assert_eq!((points.len(), points[0].parent_hash), (1, 0));
}

#[test]
fn points_past_the_bound_are_counted_and_their_pathways_go_on() {
    let hand = Hand::new("shop", |builder| builder.points_max(40));
    let free = Hand::shop();
    let pass = |hand: &Hand, topic: usize| {
        let topic = format!("topic:{topic}");
        let tags = ["direction:in", &*topic];
        hand.streams.set_checkpoint(&tags, None, &AUTOMATIC).unwrap().hash()
    };
    for topic in 0..50 {
        assert_eq!(pass(&hand, topic), pass(&free, topic));
    }
    assert_eq!(hand.streams.losses().points, 10);
    // Known ones still count, and the next bucket has room again.
    assert_eq!(pass(&hand, 0), pass(&free, 0));
    assert_eq!(hand.streams.losses().points, 10);
    hand.after(10.0);
    (0..40).for_each(|topic| assert_eq!(pass(&hand, topic), pass(&free, topic)));
    assert_eq!(hand.streams.losses().points, 10);
    let lengths: Vec<usize> = hand.flush().buckets.iter().map(|b| b.points.len()).collect();
    assert_eq!(lengths, [40, 40]);
    (0..40).for_each(|topic| assert_eq!(pass(&hand, topic), pass(&free, topic)));
    assert_eq!((hand.streams.losses().points, hand.points().len()), (10, 40));
}

#[test]
fn few_hashes_are_remembered_and_all_are_right() {
    let hand = Hand::new("shop", |builder| builder.points_max(10));
    let topics: Vec<String> = (0..5000).map(|topic| format!("topic:{topic}")).collect();
    let pass = |topic: &str| {
        hand.streams.set_checkpoint(&["direction:in", topic], None, &AUTOMATIC).unwrap().hash()
    };
    let first: Vec<u64> = topics.iter().map(|topic| pass(topic)).collect();
    let again: Vec<u64> = topics.iter().map(|topic| pass(topic)).collect();
    assert_eq!(first, again);
    assert!(hand.streams.hashes() <= points::HASHES_MAX, "{}", hand.streams.hashes());
    assert!(hand.streams.hashes() > 0);
    let mut distinct = first;
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), topics.len());
}

#[test]
fn tags_are_told_apart_whatever_is_in_them() {
    let hand = Hand::shop();
    let lists: [&[&str]; 4] = [&["a", "b"], &["ab"], &["a,b"], &["", "ab"]];
    for tags in lists {
        hand.streams.set_checkpoint(tags, None, &AUTOMATIC);
    }
    let mut tags: Vec<_> = hand.points().into_iter().map(|point| point.edge_tags).collect();
    tags.sort();
    assert_eq!(tags, [vec!["", "ab"], vec!["a", "b"], vec!["a,b"], vec!["ab"]]);
    let many: Vec<String> = (0..40).rev().map(|tag| format!("t{tag:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    hand.streams.set_checkpoint(&many, None, &AUTOMATIC);
    assert!(hand.points()[0].edge_tags.is_sorted());
}

#[test]
fn buckets_that_no_one_flushes_go_oldest_first() {
    let hand = Hand::shop();
    for _ in 0..8 {
        hand.streams.set_checkpoint(&["direction:in"], None, &AUTOMATIC);
        hand.streams.track_produce("t", 0, 1, None);
        hand.after(10.0);
    }
    assert_eq!(hand.streams.losses().expired, 2 + 2);
    let flush = hand.flush();
    let starts: Vec<u64> = flush.buckets.iter().map(|b| b.start / 1_000_000_000).collect();
    assert_eq!(starts, (2..8).map(|n| START + n * 10).collect::<Vec<_>>());
    assert!(flush.buckets.iter().all(|b| b.points.len() == 1 && b.backlogs.len() == 1));
}

#[test]
fn of_offsets_the_highest_stays_and_unknown_ones_are_zero() {
    let hand = Hand::new("shop", |builder| builder.points_max(4));
    for offset in [42, 41, -1] {
        hand.streams.track_produce("orders", 1, offset, None);
    }
    hand.streams.track_commit("g1", "orders", 1, -1, Some("c"));
    hand.streams.track_high_watermark("orders", 1, 50, None);
    hand.streams.track_produce("orders", 2, 7, None);
    hand.streams.track_produce("orders", 3, 8, None);
    assert_eq!(hand.streams.losses().offsets, 1);
    let flush = hand.flush();
    let backlogs = &flush.buckets[0].backlogs;
    let shown: Vec<String> =
        backlogs.iter().map(|b| format!("{}={}", b.tags().join(","), b.offset)).collect();
    assert_eq!(
        shown,
        [
            "type:kafka_commit,consumer_group:g1,topic:orders,partition:1,kafka_cluster_id:c=0",
            "type:kafka_produce,topic:orders,partition:1=42",
            "type:kafka_produce,topic:orders,partition:2=7",
            "type:kafka_high_watermark,topic:orders,partition:1=50",
        ]
    );
}

#[test]
fn data_streams_that_are_off_do_nothing() {
    let env = |name: &str| (name == "DD_DATA_STREAMS_ENABLED").then(|| "False".to_owned());
    let hand = Hand::new("shop", |builder| builder.environment(env));
    let (streams, options) = (&hand.streams, Options::default());
    let mut headers = Headers::new();
    assert!(!streams.is_enabled());
    assert_eq!(streams.produce("kafka", "t", &mut headers, None, &options), None);
    assert_eq!(streams.consume("kafka", "t", &headers, &options), None);
    assert_eq!(streams.set_checkpoint(&["direction:in"], None, &options), None);
    assert_eq!(streams.sample_schema("t"), None);
    streams.track_produce("t", 0, 1, None);
    streams.track_commit("g", "t", 0, 1, None);
    streams.start().unwrap();
    assert_eq!((headers.len(), hand.flush()), (0, Flush::default()));
}

#[test]
fn the_environment_is_that_of_the_tracers() {
    let env = |name: &str| {
        let value = match name {
            "DD_SERVICE" => "billing",
            "DD_ENV" => " stage ",
            "DD_VERSION" => "1.2",
            "DD_HOSTNAME" => "h",
            "DD_TRACE_AGENT_URL" => "no URL",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let error = DataStreams::builder("shop").environment(env).build().unwrap_err();
    assert!(error.to_string().starts_with("agent URL \"no URL\""), "{error}");
    let hand = Hand::new("shop", |builder| {
        builder.environment(move |name| env(name).filter(|_| name != "DD_TRACE_AGENT_URL"))
    });
    hand.streams.track_produce("t", 0, 1, None);
    let application = hand.flush().application;
    assert_eq!((&*application.service, &*application.env), ("billing", "stage"));
    assert_eq!((&*application.version, &*application.hostname), ("1.2", "h"));
}

#[test]
fn an_output_that_panics_or_fails_loses_its_flush_and_no_other() {
    struct Failing(bool);
    impl Output for Failing {
        fn deliver(&self, _: &Flush) -> bool {
            assert!(self.0, "a panic of an output");
            false
        }
    }
    let hand = Hand::new("shop", |builder| builder.output(Failing(false)).output(Failing(true)));
    hand.streams.track_produce("t", 0, 1, None);
    assert_eq!(hand.flush().buckets.len(), 1);
    assert_eq!(hand.streams.losses().flushes, 2);
}

#[test]
fn the_end_flushes_once_more() {
    let Hand { clock: _, memory, streams } = Hand::shop();
    streams.start().unwrap();
    let clone = streams.clone();
    thread::spawn(move || clone.track_produce("t", 0, 1, None)).join().unwrap();
    assert_eq!(memory.take(), []);
    drop(streams);
    let flushes = memory.take();
    assert_eq!((flushes.len(), flushes[0].is_last), (1, true));
    let Hand { memory, streams, .. } = Hand::shop();
    streams.start().unwrap();
    streams.track_produce("t", 0, 1, None);
    streams.stop();
    assert_eq!(memory.take().len(), 1);
}

#[test]
fn threads_count_together() {
    let hand = Hand::shop();
    thread::scope(|scope| {
        for number in 0..4 {
            let streams = &hand.streams;
            scope.spawn(move || {
                for _ in 0..500 {
                    let own = format!("topic:{number}");
                    streams.set_checkpoint(&["direction:in", "topic:all"], None, &AUTOMATIC);
                    streams.set_checkpoint(&["direction:in", &own], None, &AUTOMATIC);
                }
            });
        }
    });
    let counts: Vec<u64> = hand.points().iter().map(|p| p.pathway_latency.count()).collect();
    assert_eq!(counts, [500, 500, 500, 500, 2000]);
}

#[test]
fn everything_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<DataStreams>();
    shared::<Pathway>();
    shared::<AgentOutput>();
    shared::<MemoryOutput>();
    shared::<MetricsOutput<ThreadStats>>();
    shared::<EngineSink>();
    shared::<Flush>();
    shared::<Builder>();
}

/// Bodies as JSON, by another reader than the door's; sketches as their length.
fn json(body: &[u8]) -> serde_json::Value {
    fn value(from: &mut &[u8]) -> serde_json::Value {
        use rmp::Marker;
        use rmp::decode::{self, RmpRead};
        let marker = Marker::from_u8(from[0]);
        match marker {
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
                let length = decode::read_map_len(from).unwrap();
                let entries = (0..length).map(|_| {
                    let key = value(from).as_str().unwrap().to_owned();
                    (key, value(from))
                });
                serde_json::Value::Object(entries.collect())
            }
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
                let length = decode::read_array_len(from).unwrap();
                (0..length).map(|_| value(from)).collect()
            }
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let length = decode::read_str_len(from).unwrap() as usize;
                let mut text = vec![0; length];
                from.read_exact_buf(&mut text).unwrap();
                String::from_utf8(text).unwrap().into()
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                let length = decode::read_bin_len(from).unwrap() as usize;
                *from = &from[length..];
                format!("bin {length}").into()
            }
            Marker::U64 => decode::read_u64(from).unwrap().into(),
            _ => decode::read_int::<i64, _>(from).unwrap().into(),
        }
    }
    let mut rest = body;
    let value = value(&mut rest);
    assert!(rest.is_empty());
    value
}

#[test]
fn bodies_have_the_fields_of_the_python_client() {
    let hand = Hand::new("shop", |builder| {
        builder.version("1.2").hostname("vm").process_tags([("svc.user", "true")])
    });
    hand.streams.produce("kafka", "orders", &mut Headers::new(), None, &Options::default());
    hand.streams.track_commit("g1", "orders", 1, 40, None);
    hand.streams.track_produce("orders", 1, 42, None);
    let expected = serde_json::json!({
        "Service": "shop", "TracerVersion": env!("CARGO_PKG_VERSION"), "Lang": "rust", "Hostname": "vm",
        "Env": "prod", "Version": "1.2", "ProcessTags": ["svc.user:true"],
        "Stats": [{
            "Start": START * 1_000_000_000, "Duration": 10_000_000_000_u64,
            "Stats": [{
                "EdgeTags": ["direction:out", "manual_checkpoint:true", "topic:orders", "type:kafka"],
                "Hash": 6_189_836_063_794_947_354_u64, "ParentHash": 0,
                "PathwayLatency": "bin 33", "EdgeLatency": "bin 33", "PayloadSize": "bin 37",
            }],
            "Backlogs": [
                {"Tags": ["type:kafka_commit", "consumer_group:g1", "topic:orders", "partition:1"], "Value": 40},
                {"Tags": ["type:kafka_produce", "topic:orders", "partition:1"], "Value": 42},
            ],
        }],
    });
    assert_eq!(json(&hand.flush().to_msgpack()), expected);
    // Only where they are set.
    let bare = Hand::new("shop", |builder| builder.env(""));
    bare.streams.track_produce("orders", 1, 42, None);
    let body = json(&bare.flush().to_msgpack());
    let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["Hostname", "Lang", "Service", "Stats", "TracerVersion"]);
}

/// Metrics as lines of their own.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl MetricSink for Lines {
    fn put(&self, metric: &Metric<'_>) {
        let value = match metric.value {
            Value::Count(value) => format!("count {value}"),
            Value::Gauge(value) => format!("gauge {value}"),
            Value::Highest(value) => format!("highest {value}"),
            Value::Samples(values) => format!("samples {values:?}"),
            Value::Sketch(sketch) => {
                let bins: Vec<_> = sketch.bins().map(|(key, n)| format!("{key}:{n}")).collect();
                format!("sketch [{}]", bins.join(" "))
            }
        };
        let (name, tags, second) = (metric.name, metric.tags.join(","), metric.second - START);
        self.0.lock().unwrap().push(format!("{name} {value} @{second} {tags}"));
    }
}

fn message_and_offsets(hand: &Hand) {
    let mut headers = Headers::new();
    hand.streams.produce("kafka", "orders", &mut headers, None, &AUTOMATIC);
    hand.after(1.0);
    let consumed = hand.streams.consume("kafka", "orders", &headers, &AUTOMATIC);
    hand.streams.produce("kafka", "invoices", &mut headers, consumed.as_ref(), &AUTOMATIC);
    hand.streams.track_produce("orders", 1, 42, None);
    hand.streams.track_commit("g1", "orders", 1, 40, Some(""));
}

#[test]
fn flushes_become_the_series_that_the_door_makes_of_them() {
    let lines = Lines::default();
    let hand = Hand::new("shop", |builder| builder.output(MetricsOutput::new(lines.clone())));
    message_and_offsets(&hand);
    hand.streams.flush();
    let take = || std::mem::take(&mut *lines.0.lock().unwrap());
    let input = "direction:in,topic:orders,type:kafka,service:shop,env:prod";
    let invoices = "direction:out,topic:invoices,type:kafka,service:shop,env:prod";
    let orders = "direction:out,topic:orders,type:kafka,service:shop,env:prod";
    let partition = "topic:orders,partition:1";
    assert_eq!(
        take(),
        [
            format!("data_streams.throughput count 1 @0 {input}"),
            format!("data_streams.payload_size sketch [0:1] @0 {input}"),
            format!("data_streams.latency sketch [1338:1] @0 {input},pathway_type:full"),
            format!("data_streams.latency sketch [1338:1] @0 {input},pathway_type:edge"),
            format!("data_streams.throughput count 1 @0 {invoices}"),
            format!("data_streams.payload_size sketch [1589:1] @0 {invoices}"),
            format!("data_streams.latency sketch [1338:1] @0 {invoices},pathway_type:full"),
            format!("data_streams.latency sketch [0:1] @0 {invoices},pathway_type:internal"),
            format!("data_streams.throughput count 1 @0 {orders}"),
            format!("data_streams.payload_size sketch [1589:1] @0 {orders}"),
            format!(
                "data_streams.kafka.commit_offset highest 40 @0 {partition},consumer_group:g1,env:prod"
            ),
            format!("data_streams.kafka.produce_offset highest 42 @0 {partition},env:prod"),
        ]
    );
    // The lag is that at the end of a bucket, and is repeated while nothing else is known.
    let lags = |second: u64, seconds: u64| {
        let tags = format!("{partition},consumer_group:g1,env:prod");
        [
            format!("data_streams.kafka.lag_messages gauge 3 @{second} {tags}"),
            format!("data_streams.kafka.lag_seconds gauge {seconds} @{second} {tags}"),
        ]
    };
    hand.after(10.0).streams.flush();
    assert_eq!(take(), lags(0, 0));
    hand.streams.flush();
    assert_eq!(take(), [""; 0]);
    hand.after(10.0).streams.flush();
    assert_eq!(take(), lags(10, 10));
}

#[test]
fn lines_carry_every_bin_and_its_count() {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&lines);
    let sink = LineMetrics::new(move |line: &[u8]| {
        kept.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
    });
    let mut sketch = Sketch::default();
    for value in [1.0, 1.0, 1.0, 0.0, 2.0] {
        sketch.insert(value, 1.0);
    }
    for value in [Value::Count(3.0), Value::Highest(7.0), Value::Sketch(&sketch)] {
        sink.put(&Metric { name: "m", tags: &["a:b", "c|d,e"], second: START, value });
    }
    sink.put(&Metric { name: "m", tags: &[], second: START, value: Value::Gauge(1.5) });
    let two = crate::sketch::value_of(crate::sketch::key_of(2.0));
    assert_eq!(
        *lines.lock().unwrap(),
        [
            "m:3|c|#a:b,c_d_e|T1700000000",
            "m:7|g|#a:b,c_d_e|T1700000000",
            &format!("m:0:{two}|d|#a:b,c_d_e"),
            "m:1|d|@0.3333333333333333|#a:b,c_d_e",
            "m:1.5|g|T1700000000",
        ]
    );
}

#[test]
fn the_engine_in_this_process_has_the_same_sketches() {
    let clock = Clock::manual(Duration::from_secs(START));
    let settings = TimedSettings::default();
    let (rules, state) = (Arc::new(PartRules::default()), ahash::RandomState::new());
    let shard = TimedShard::new(settings, rules, state, clock.unix());
    let shard = Arc::new(Mutex::new(shard));
    let sink = EngineSink::new(Arc::clone(&shard), clock);
    let hand = Hand::new("shop", |builder| builder.output(MetricsOutput::new(sink.clone())));
    message_and_offsets(&hand);
    hand.streams.flush();
    assert_eq!(sink.dropped(), 0);
    let shard = shard.lock().unwrap();
    // Three edges with throughput and size, two with two latencies each, two offsets.
    assert_eq!(shard.contexts().len(), 3 * 2 + 2 * 2 + 2);
    assert_eq!(shard.first_filled(), Some(START));
}

#[test]
fn thread_stats_post_the_same_names() {
    let memory = MemoryReporter::default();
    let stats = ThreadStats::builder().env(|_| None).reporter(memory.clone()).build();
    stats.start(&StartOptions::manual()).unwrap();
    let hand = Hand::new("shop", |builder| builder.output(MetricsOutput::new(stats.clone())));
    message_and_offsets(&hand);
    hand.streams.flush();
    stats.flush(Some(f64::INFINITY)).unwrap();
    let taken = memory.take();
    let all = [taken.metrics, taken.distributions].concat();
    let mut names: Vec<_> = all.iter().map(|series| series.metric.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(
        names,
        [
            "data_streams.kafka.commit_offset",
            "data_streams.kafka.produce_offset",
            "data_streams.latency",
            "data_streams.payload_size",
            "data_streams.throughput",
        ]
    );
    assert!(all.iter().all(|series| series.timestamp.as_f64() == START as f64));
}
