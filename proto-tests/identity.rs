//! What is posted decides which series are one: whatever the lines say, no payload of a bucket holds
//! two items that the intake cannot tell apart, and nothing that was counted is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use whippet::context::Rules;
use whippet::encode::{
    Compression, Payload, PayloadLimits, Route, SeriesEncoder, SeriesFormat, SketchEncoder,
    readable,
};
use whippet::flush::FlushView;

use crate::posting::{House, INTERVAL, Settings};

const START: u64 = 1_700_000_000;

/// Tags whose posted forms meet: broken bytes, devices, resources, hosts, and what is common to all.
const TAGS: [&[u8]; 26] = [
    b"t:\xff",
    b"t:\xfe\xfe",
    b"t:\xef\xbf\xbd",
    b"t:\xc3",
    b"",
    b" ",
    b"device:",
    b"device:a",
    b"device:b",
    b"device:\xff",
    b"device:\xfe",
    b"device",
    b"dd.internal.resource:",
    b"dd.internal.resource:x",
    b"dd.internal.resource:x:y",
    b"dd.internal.resource:x:z",
    b"dd.internal.resource:x:\xff",
    b"dd.internal.resource:device:a",
    b"dd.internal.resource:host:host",
    b"dd.internal.resource:host:",
    b"host:",
    b"host:host",
    b"host:\xff",
    b"host:\xfe",
    b"env:prod",
    b"dd.internal.card:none",
];

const NAMES: [&[u8]; 6] = [b"n", b"n\xff", b"n\xfe", b"n\xef\xbf\xbd", b"n.avg", b"n.95percentile"];

const COMMON: [&[u8]; 4] =
    [b"env:prod", b"device:a", b"dd.internal.resource:x:y", b"t:\xef\xbf\xbd"];

/// A line of value 1, its type, and any of the tags in any order.
fn line(kinds: &'static [&'static str]) -> impl Strategy<Value = (Vec<u8>, &'static str)> {
    let tags = proptest::collection::vec(proptest::sample::select(&TAGS[..]), 0..5);
    let (name, kind) = (proptest::sample::select(&NAMES[..]), proptest::sample::select(kinds));
    (name, kind, tags).prop_map(|(name, kind, tags)| {
        ([name, b":1|", kind.as_bytes(), b"|#", &tags.join(&b","[..])].concat(), kind)
    })
}

fn rules(common: &[bool]) -> Arc<Rules> {
    let chosen = COMMON.iter().zip(common).filter(|(_, chosen)| **chosen);
    Arc::new(Rules {
        default_host: Box::from(&b"host"[..]),
        common_tags: chosen.map(|(tag, _)| Box::from(*tag)).collect(),
        ..Rules::default()
    })
}

/// The items of one flush on the series route of `format`, or of sketches.
fn items(view: &FlushView<'_>, format: Option<SeriesFormat>) -> Vec<Value> {
    let limits = PayloadLimits::default();
    let mut payloads: Vec<Payload> = Vec::new();
    let mut sink = |payload| payloads.push(payload);
    if let Some(format) = format {
        let mut encoder =
            SeriesEncoder::new(format, Compression::None, &limits).expect("an encoder");
        view.visit(&mut |row| row.series.iter().for_each(|series| encoder.push(series, &mut sink)));
        assert_eq!(encoder.finish(&mut sink).invalid_utf8, 0, "repaired on first sight");
    } else {
        let mut encoder = SketchEncoder::new(Compression::None, &limits).expect("an encoder");
        view.visit(&mut |row| row.sketch.iter().for_each(|sketch| encoder.push(sketch, &mut sink)));
        assert_eq!(encoder.finish(&mut sink).invalid_utf8, 0, "repaired on first sight");
    }
    let read = |payload: &Payload| {
        let list = if payload.route == Route::Sketches { "sketches" } else { "series" };
        readable(payload).expect("a payload that reads")[list]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    payloads.iter().flat_map(read).collect()
}

fn sorted(list: &Value) -> Vec<String> {
    let mut all: Vec<String> =
        list.as_array().into_iter().flatten().map(Value::to_string).collect();
    all.sort();
    all
}

/// What the intake knows a series by: name, host, device and resources, and the set of tags.
fn key(item: &Value) -> (String, Vec<BTreeSet<String>>) {
    let set = |list: &Value| {
        let all = sorted(list);
        let once: BTreeSet<String> = all.iter().cloned().collect();
        assert_eq!(all.len(), once.len(), "a tag or resource is posted twice: {item}");
        once
    };
    let names = format!("{} {} {}", item["metric"], item["host"], item["device"]);
    // The host is the first of the resources.
    let host = item["resources"][0].to_string();
    (names + &host, vec![set(&item["tags"]), set(&item["resources"])])
}

fn all_differ(items: &[Value]) {
    let mut seen = BTreeMap::new();
    for item in items {
        if let Some(other) = seen.insert(key(item), item) {
            panic!("posted twice\n{other}\n{item}");
        }
    }
}

/// Sends the lines through two lanes, and looks at three buckets.
fn posts_each_once(lines: &[(Vec<u8>, &str)], common: &[bool]) {
    let settings = Settings { rules: rules(common), ..Settings::default() };
    let mut house = House::new(settings, 2, START);
    for bucket in 0..3 {
        let start = START + bucket * INTERVAL;
        // In the last one half of the counters are continued with zeros.
        let lines = if bucket == 2 { &lines[..lines.len() / 2] } else { lines };
        for (at, (line, _)) in lines.iter().enumerate() {
            house.datagram(at % 2, Duration::from_secs(start + 1), line);
        }
        let counters = lines.iter().all(|(_, kind)| *kind == "c");
        let distributions = lines.iter().all(|(_, kind)| *kind == "d");
        let mut sums = [0.0; 2];
        house.flush(start + INTERVAL, &mut |flusher, flush| {
            let view = flusher.view(flush);
            for (sum, format) in sums.iter_mut().zip([SeriesFormat::V1, SeriesFormat::V2]) {
                let items = items(&view, Some(format));
                all_differ(&items);
                let value = |item: &Value| {
                    let point = &item["points"][0];
                    point[1].as_f64().or(point["value"].as_f64()).unwrap_or_default()
                };
                *sum += items.iter().map(value).sum::<f64>() * INTERVAL as f64;
            }
            let sketches = items(&view, None);
            all_differ(&sketches);
            if distributions {
                let count = |item: &Value| item["dogsketches"][0]["cnt"].as_u64().unwrap_or(0);
                assert_eq!(sketches.iter().map(count).sum::<u64>(), lines.len() as u64);
            }
        });
        if counters {
            for sum in sums {
                assert!(
                    (sum - lines.len() as f64).abs() < 1e-6,
                    "{sum} of {} counted",
                    lines.len()
                );
            }
        }
    }
}

#[test]
fn of_two_kinds_written_at_the_same_moment_by_two_lanes_one_is_posted() {
    posts_each_once(&[(b"x:1|c".to_vec(), "c"), (b"x:5|g".to_vec(), "g")], &[]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_two_series_of_a_payload_are_one_for_the_intake(
        lines in proptest::collection::vec(line(&["c", "g", "h", "ms", "s", "d"]), 1..60),
        common in proptest::collection::vec(any::<bool>(), COMMON.len()),
    ) {
        posts_each_once(&lines, &common);
    }

    #[test]
    fn counters_of_one_series_add(
        lines in proptest::collection::vec(line(&["c"]), 1..60),
        common in proptest::collection::vec(any::<bool>(), COMMON.len()),
    ) {
        posts_each_once(&lines, &common);
    }

    #[test]
    fn sketches_of_one_series_merge(
        lines in proptest::collection::vec(line(&["d"]), 1..60),
        common in proptest::collection::vec(any::<bool>(), COMMON.len()),
    ) {
        posts_each_once(&lines, &common);
    }
}
