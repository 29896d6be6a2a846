//! Shards and flusher against a slow obvious aggregator, on random lines over random lanes.
//!
//! The reference keeps every sample of a bucket in a list and looks at it once, at the end. Values
//! and rates are such that sums are exact in any order, so that results are compared as text.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use crate::posting::{House, INTERVAL, Settings};

/// Values with the keys that the sketch's table gives them.
const VALUES: [(&str, f64, i32); 9] = [
    ("0", 0.0, 0),
    ("1", 1.0, 1338),
    ("2", 2.0, 1383),
    ("3", 3.0, 1409),
    ("10", 10.0, 1487),
    ("0.5", 0.5, 1293),
    ("42", 42.0, 1579),
    ("-1", -1.0, -1338),
    ("-10", -10.0, -1487),
];
const RATES: [(&str, f64); 4] = [("", 1.0), ("|@0.5", 2.0), ("|@0.25", 4.0), ("|@7", 1.0)];
const KINDS: [&str; 6] = ["c", "g", "s", "h", "ms", "d"];
const START: u64 = 1_700_000_000;
const BUCKETS: u64 = 3;

/// One random line and where it arrives.
#[derive(Clone, Debug)]
struct Sent {
    bucket: u64,
    lane: usize,
    name: &'static str,
    kind: &'static str,
    /// Positions in [`VALUES`].
    values: Vec<usize>,
    rate: usize,
    /// In the order of the wire, repeats included.
    tags: Vec<&'static str>,
    host: Option<&'static str>,
}

impl Sent {
    fn line(&self) -> String {
        let values: Vec<&str> = self.values.iter().map(|at| VALUES[*at].0).collect();
        let mut line =
            format!("{}:{}|{}{}", self.name, values.join(":"), self.kind, RATES[self.rate].0);
        let host = self.host.map(|host| format!("host:{host}"));
        let tags: Vec<&str> = self.tags.iter().copied().chain(host.as_deref()).collect();
        if !tags.is_empty() {
            line.push_str(&format!("|#{}", tags.join(",")));
        }
        line
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let values = prop::collection::vec(0..VALUES.len(), 1..4);
    let tags = prop::collection::vec(select(vec!["a", "b", "k:v"]), 0..4);
    let host = select(vec![None, None, Some("host"), Some("other")]);
    let line = (select(vec!["x", "y", "z"]), select(KINDS.to_vec()), values, 0..RATES.len());
    (0..BUCKETS, 0..4_usize, line, tags, host).prop_map(
        |(bucket, lane, (name, kind, values, rate), tags, host)| Sent {
            bucket,
            lane,
            name,
            kind,
            values,
            rate,
            tags,
            host,
        },
    )
}

/// Name, tags and host: what a series is to the intake.
type Identity = (&'static str, BTreeSet<&'static str>, &'static str);

/// Everything of one identity and one kind in one bucket, in order of arrival.
#[derive(Default)]
struct Samples {
    /// Position in [`VALUES`] and 1/rate.
    numbers: Vec<(usize, f64)>,
    members: BTreeSet<String>,
    /// Arrival of the last line.
    last: usize,
}

#[derive(Default)]
struct Reference {
    /// Counters seen so far.
    counters: BTreeSet<Identity>,
}

impl Reference {
    fn bucket(&mut self, start: u64, lines: &[&Sent]) -> Vec<String> {
        let mut all: BTreeMap<(Identity, &str), Samples> = BTreeMap::new();
        for (arrival, sent) in lines.iter().enumerate() {
            let tags = sent.tags.iter().copied().collect();
            let identity = (sent.name, tags, sent.host.unwrap_or("host"));
            let kind = if sent.kind == "ms" { "h" } else { sent.kind };
            let samples = all.entry((identity, kind)).or_default();
            samples.last = arrival;
            if kind == "s" {
                let values: Vec<&str> = sent.values.iter().map(|at| VALUES[*at].0).collect();
                samples.members.insert(values.join(":"));
            } else {
                samples.numbers.extend(sent.values.iter().map(|at| (*at, RATES[sent.rate].1)));
            }
        }
        let mut posted = Vec::new();
        for ((identity, kind), samples) in &all {
            let rivals = ["c", "g", "s"];
            let later = |rival: &&&str| {
                let rival = all.get(&(identity.clone(), **rival));
                rival.is_some_and(|rival| rival.last > samples.last)
            };
            if !rivals.contains(kind) || rivals.iter().find(later).is_none() {
                posted.extend(post(start, identity, kind, samples));
            }
        }
        for identity in &self.counters {
            if !["c", "g", "s"].iter().any(|kind| all.contains_key(&(identity.clone(), *kind))) {
                posted.push(point(start, identity, "", "rate", 0.0));
            }
        }
        let counters = all.keys().filter(|(_, kind)| *kind == "c");
        self.counters.extend(counters.map(|(identity, _)| identity.clone()));
        posted.sort();
        posted
    }
}

fn point(start: u64, identity: &Identity, suffix: &str, kind: &str, value: f64) -> String {
    format!("{}{suffix} {kind} {value}{} at {start}", identity.0, tail(identity))
}

fn tail((_, tags, host): &Identity) -> String {
    let tags: Vec<&str> = tags.iter().copied().collect();
    let mut tail = if tags.is_empty() { String::new() } else { format!(" #{}", tags.join(",")) };
    if *host != "host" {
        tail.push_str(&format!(" @{host}"));
    }
    tail
}

fn post(start: u64, identity: &Identity, kind: &str, samples: &Samples) -> Vec<String> {
    let numbers = &samples.numbers;
    let sum: f64 = numbers.iter().map(|(at, scale)| VALUES[*at].1 * scale).sum();
    let point = |suffix: &str, kind: &str, value: f64| point(start, identity, suffix, kind, value);
    match kind {
        "c" => vec![point("", "rate", sum / INTERVAL as f64)],
        "g" => {
            let last = numbers.last().expect("a value");
            vec![point("", "gauge", VALUES[last.0].1)]
        }
        "s" => vec![point("", "gauge", samples.members.len() as f64)],
        "h" => {
            // Each sample as often as it weighs.
            let each = |(at, scale): &(usize, f64)| vec![VALUES[*at].1; *scale as usize];
            let mut sorted: Vec<f64> = numbers.iter().flat_map(each).collect();
            sorted.sort_by(f64::total_cmp);
            let count = sorted.len();
            vec![
                point(".max", "gauge", sorted[count - 1]),
                point(".median", "gauge", sorted[(count - 1) / 2]),
                point(".avg", "gauge", sum / count as f64),
                point(".count", "rate", count as f64 / INTERVAL as f64),
                point(".95percentile", "gauge", sorted[(95 * count - 1) / 100]),
            ]
        }
        _ => {
            let mut bins: BTreeMap<i32, u64> = BTreeMap::new();
            for (at, scale) in numbers {
                *bins.entry(VALUES[*at].2).or_default() += *scale as u64;
            }
            let values = || numbers.iter().map(|(at, _)| VALUES[*at].1);
            let (min, max) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
            let count: u64 = bins.values().sum();
            let bins: Vec<String> = bins.iter().map(|(key, n)| format!("{key}:{n}")).collect();
            let (name, bins) = (identity.0, bins.join(" "));
            let tail = tail(identity);
            vec![format!(
                "{name} sketch n={count} min={min} max={max} sum={sum} [{bins}]{tail} at {start}"
            )]
        }
    }
}

/// What the rooms post of those lines, bucket by bucket, when lane `n` stands for `lanes[n]`.
fn rooms(lines: &[Sent], lanes: &[usize; 4], order: &[usize]) -> Vec<Vec<String>> {
    let mut house = House::new(Settings::default(), 4, START);
    let mut posted = Vec::new();
    for bucket in 0..BUCKETS {
        let start = START + bucket * INTERVAL;
        let sent = lines.iter().filter(|sent| sent.bucket == bucket);
        for (arrival, sent) in sent.enumerate() {
            let now = Duration::from_secs(start) + Duration::from_millis(50 * arrival as u64);
            house.datagram(lanes[sent.lane], now, sent.line().as_bytes());
        }
        // The units of timers are no part of this comparison.
        let plain = |line: String| line.replace(" millisecond", "");
        let mut lines: Vec<String> =
            house.pass(start + INTERVAL, order).into_iter().map(plain).collect();
        lines.sort();
        posted.push(lines);
    }
    posted
}

fn reference(lines: &[Sent]) -> Vec<Vec<String>> {
    let mut reference = Reference::default();
    let one = |bucket| {
        let sent: Vec<&Sent> = lines.iter().filter(|sent| sent.bucket == bucket).collect();
        reference.bucket(START + bucket * INTERVAL, &sent)
    };
    (0..BUCKETS).map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn rooms_post_what_the_slow_aggregator_posts(lines in prop::collection::vec(sent(), 0..60)) {
        prop_assert_eq!(rooms(&lines, &[0; 4], &[0, 1, 2, 3]), reference(&lines));
    }

    #[test]
    fn lanes_in_any_grouping_and_order_agree(
        lines in prop::collection::vec(sent(), 0..60),
        lanes in prop::array::uniform4(0..4_usize),
        order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
    ) {
        prop_assert_eq!(rooms(&lines, &lanes, &order), reference(&lines));
    }
}
