//! Orders made by hand, and what an output gets of them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::mpsc::{self, Receiver};

use ahash::RandomState;
use serde_json::Value as Json;

use super::*;
use crate::aggregate::{HistogramCell, Sample};
use crate::clock::Clock;
use crate::encode::split;
use crate::forward::{Endpoint, ForwarderConfig};
use crate::part::{Cell, Head, Histogram, Key, KeyPool, Merged, Part, Set, Style, Sum, Value};

const START: u64 = 1_700_000_000;

fn key(text: &str) -> Key {
    let mut words = text.split(',').map(str::as_bytes);
    Key::new(words.next().expect("a name"), words).expect("a key")
}

fn histogram(values: impl IntoIterator<Item = f64>) -> Value {
    let mut histogram = Histogram::default();
    for value in values {
        assert!(histogram.add(Sample { value, scale: 1.0 }));
    }
    Value::Histogram(histogram)
}

/// What several senders sent, one list each: key, place of the style from 1, value.
fn merged(styles: &[Style], parts: Vec<Vec<(&str, u32, Value)>>) -> Arc<Merged> {
    let state = RandomState::new();
    let mut keys = KeyPool::new(state.clone());
    let mut merged = Merged::new(1_000, state);
    for (sender, cells) in parts.into_iter().enumerate() {
        let head = Head {
            sender: [sender as u8; 16],
            start: START,
            interval: 10,
            styles: styles.to_vec(),
            ..Head::default()
        };
        let cells = cells.into_iter().map(|(text, style, value)| Cell {
            key: key(text),
            stamp: sender as u32,
            style,
            value,
        });
        merged.merge(Part { head, cells: cells.collect() }, &mut keys);
    }
    Arc::new(merged)
}

/// A counter of that key and style that is 0 now.
type Zero = (Key, Option<Style>);

struct Made(Arc<Merged>, Vec<Zero>);

impl Values for Made {
    fn series(&self) -> usize {
        self.0.len() + self.1.len()
    }

    fn visit(&self, visit: &mut dyn FnMut(Posted<'_>)) {
        for series in self.0.iter() {
            let (style, value) = (Some(series.style), Some(series.value));
            visit(Posted { key: series.key, style, value });
        }
        for (key, style) in &self.1 {
            visit(Posted { key, style: style.as_ref(), value: None });
        }
    }
}

fn order(id: u64, merged: Arc<Merged>, zeros: Vec<Zero>) -> Order {
    let lease = Arc::new(Lease::until(Duration::MAX));
    Order { id, start: START, interval: 10, lease, values: Box::new(Made(merged, zeros)) }
}

fn settings() -> PostingSettings {
    PostingSettings {
        histograms: HistogramSettings::default(),
        format: SeriesFormat::V2,
        compression: Compression::Zlib { level: 6 },
        limits: PayloadLimits::default(),
        enabled: true,
        logged: false,
    }
}

type Told = Receiver<(u64, PostingFate)>;

fn start(destinations: Vec<Destination>) -> (Poster, Told) {
    let (tell, told) = mpsc::channel();
    let tell = move |id, fate| tell.send((id, fate)).unwrap_or_default();
    (Poster::start(settings(), destinations, tell).expect("a thread"), told)
}

/// Posts to a file of JSON lines and reads it back.
fn lines_of(order: Order) -> Vec<Json> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lines");
    let file = fs::File::create(&path).expect("a file");
    let (poster, told) = start(vec![Destination::LinesTo(JsonLines::new(file))]);
    let id = order.id;
    poster.post(order);
    let answer = told.recv_timeout(Duration::from_secs(10));
    assert_eq!(answer, Ok((id, PostingFate::Delivered)));
    let text = fs::read_to_string(&path).expect("lines");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Name, type and value of each line.
fn values(lines: &[Json]) -> BTreeMap<String, (String, f64)> {
    let value = |line: &Json| {
        assert_eq!(line["points"][0][0], START, "{line}");
        assert_eq!((&line["host"], &line["interval"]), (&"".into(), &10.into()), "{line}");
        let kind = line["type"].as_str().expect("a type").to_owned();
        (kind, line["points"][0][1].as_f64().expect("a value"))
    };
    let name = |line: &Json| line["metric"].as_str().expect("a name").to_owned();
    lines.iter().map(|line| (name(line), value(line))).collect()
}

#[test]
fn every_kind_is_posted_whole_without_a_host_at_the_start_of_its_interval() {
    let as_count = Style { as_count: true, ..Style::default() };
    let hashes = |members: &[&str]| {
        let hashes = members.iter().map(|member| Set::hash_of(member.as_bytes())).collect();
        Value::Set(Set::of_hashes(hashes, 1_000))
    };
    let merged = merged(
        std::slice::from_ref(&as_count),
        vec![
            vec![
                ("page.views,env:prod", 0, Value::Counter(Sum::from(30.0))),
                ("orders", 1, Value::Counter(Sum::from(7.0))),
                ("temperature", 0, Value::Gauge(1.5)),
                ("users", 0, hashes(&["ann", "bob"])),
            ],
            vec![
                ("page.views,env:prod", 0, Value::Counter(Sum::from(12.0))),
                ("orders", 1, Value::Counter(Sum::from(5.0))),
                ("temperature", 0, Value::Gauge(2.5)),
                ("users", 0, hashes(&["bob", "cid"])),
            ],
        ],
    );
    let zeros = vec![(key("idle"), None), (key("idle.count"), Some(as_count))];
    let lines = lines_of(order(1, merged, zeros));
    let expected = [
        ("page.views", "rate", 4.2),
        ("orders", "count", 12.0),
        ("temperature", "gauge", 2.5),
        ("users", "gauge", 3.0),
        ("idle", "rate", 0.0),
        ("idle.count", "count", 0.0),
    ];
    let expected = expected.map(|(name, kind, value)| (name.to_owned(), (kind.to_owned(), value)));
    assert_eq!(values(&lines), BTreeMap::from(expected));
    let tagged = lines.iter().find(|line| line["metric"] == "page.views").expect("posted");
    assert_eq!(tagged["tags"], serde_json::json!(["env:prod"]));
}

/// The same samples on one node and over three senders: the same values, to the bit.
#[test]
fn percentiles_of_many_hosts_are_those_of_one() {
    let samples: Vec<f64> = (0..900).map(|n| f64::from(n * 7919 % 1_000) / 8.0).collect();
    let parts = samples.chunks(300).map(|own| vec![("d", 1, histogram(own.iter().copied()))]);
    let words = ["min", "max", "median", "avg", "sum", "count"];
    let style = Style {
        aggregates: words.map(str::to_owned).to_vec(),
        percentiles: vec![0.5, 0.75, 0.95, 0.999],
        unit: "millisecond".to_owned(),
        ..Style::default()
    };
    let lines =
        lines_of(order(1, merged(std::slice::from_ref(&style), parts.collect()), Vec::new()));

    let mut one = HistogramCell::new(0);
    samples.iter().for_each(|value| assert!(one.add(Sample { value: *value, scale: 1.0 })));
    one.sort();
    let mut styles = styles::Styles::new(HistogramSettings::default());
    let expected: BTreeMap<String, f64> = styles
        .histograms(&style)
        .values(&one, one.summary(), 10)
        .map(|(suffix, value, _)| (format!("d{suffix}"), value))
        .collect();
    assert_eq!(expected.len(), 10);
    let posted: BTreeMap<String, f64> =
        values(&lines).into_iter().map(|(name, (_, value))| (name, value)).collect();
    assert_eq!(posted, expected);
    for line in lines {
        let has_unit = line["unit"] == "millisecond";
        assert_eq!(has_unit, line["type"] == "gauge", "{line}");
    }
}

fn away() -> Arc<Forwarder> {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = unused.local_addr().expect("an address");
    drop(unused);
    let endpoint = Endpoint::at(&format!("http://{address}"), "a key").expect("a URL");
    let config = ForwarderConfig {
        waits_for_room: true,
        validation_interval: None,
        ..ForwarderConfig::new(Arc::new(|payload| Ok(split::halve(payload)?)))
    };
    Arc::new(
        Forwarder::start(vec![endpoint], config, Clock::manual(Duration::from_secs(START)))
            .expect("a thread"),
    )
}

#[test]
fn postings_whose_lease_is_withdrawn_are_told_so_wherever_they_are() {
    let (poster, told) = start(vec![Destination::Forward(away())]);
    let one = || merged(&[], vec![vec![("a", 0, Value::Counter(Sum::from(1.0)))]]);
    let orders: Vec<Order> = (0..3).map(|id| order(id, one(), Vec::new())).collect();
    let leases: Vec<_> = orders.iter().map(|order| Arc::clone(&order.lease)).collect();
    orders.into_iter().for_each(|order| poster.post(order));
    leases[..2].iter().for_each(|lease| lease.withdraw());
    poster.drop_withdrawn();
    let mut fates: Vec<_> =
        (0..2).map(|_| told.recv_timeout(Duration::from_secs(10)).expect("told")).collect();
    fates.sort_by_key(|(id, _)| *id);
    let withdrawn = |id| (id, PostingFate::Withdrawn);
    assert_eq!(fates, [withdrawn(0), withdrawn(1)]);
    assert!(told.try_recv().is_err(), "the third waits for the intake");
    let counts = poster.stop(Instant::now());
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(withdrawn(2)));
    assert_eq!((counts.postings, counts.rows, counts.queued), (3, 3, 0));
    assert!(counts.accounting.expect("an intake").balances());
    let late = order(9, one(), Vec::new());
    poster.post(late);
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(withdrawn(9)), "after the stop too");
}

#[test]
fn payloads_of_a_posting_count_their_age_from_the_end_of_its_interval() {
    let (poster, told) = start(vec![Destination::Forward(away())]);
    let one = merged(&[], vec![vec![("a", 0, Value::Counter(Sum::from(1.0)))]]);
    // Ended an hour and a second before now, which is START.
    poster.post(Order { start: START - 3_611, ..order(1, one, Vec::new()) });
    let answer = told.recv_timeout(Duration::from_secs(10));
    assert_eq!(answer, Ok((1, PostingFate::GivenUp)));
}

#[test]
fn a_server_that_posts_nothing_answers_and_counts() {
    let discarded = Arc::default();
    let (poster, told) = start(vec![Destination::Discard(Arc::clone(&discarded))]);
    let one = merged(&[], vec![vec![("a", 0, Value::Counter(Sum::from(1.0)))]]);
    poster.post(order(1, one, Vec::new()));
    let answer = told.recv_timeout(Duration::from_secs(10));
    assert_eq!(answer, Ok((1, PostingFate::Delivered)));
    let discarded = poster.counts().discarded.expect("counted");
    assert_eq!((discarded.payloads, discarded.points), (1, 1));
}
