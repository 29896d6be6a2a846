//! How fast lines are read: a seeded corpus shaped like real traffic, its answer checked.
//!
//! `cargo bench --bench protocol` times it. For instructions per line, count them under callgrind:
//! with `COUNT_INSTRUCTIONS=known|mixed|lines|values` in the environment the program reads its
//! corpus ten times through one function that is not inlined (`reads_known`, `reads_mixed`,
//! `splits_lines`, `sums_values`) and prints the number of lines read.

mod random;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use random::Random;
use whippet::protocol::{self, Message, Options};

/// Lines per corpus.
const LINES: usize = 20_000;

fn pick<'a>(random: &mut Random, choices: &[&'a str]) -> &'a str {
    choices[random.below(choices.len())]
}

struct Corpus {
    bytes: Vec<u8>,
    /// What reading it must add up to.
    answer: Answer,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    samples: usize,
    tag_bytes: usize,
    others: usize,
    refused: usize,
}

const NAMES: [&str; 8] = [
    "page.views",
    "http.request.duration",
    "checkout.orders.completed",
    "runtime.go.mem_stats.heap_alloc",
    "db.pool.in_use",
    "queue.depth",
    "cache.hit",
    "trace.express.request.hits",
];

/// Around 68 bytes: a name, one short number, perhaps a rate, three tags.
fn known_line(random: &mut Random, answer: &mut Answer) -> String {
    let name = pick(random, &NAMES);
    let value = match random.below(4) {
        0 => "1".to_string(),
        1 => random.below(5000).to_string(),
        2 => format!("{}.{:03}", random.below(900), random.below(1000)),
        _ => random.below(100).to_string(),
    };
    let kind = pick(random, &["c", "c", "c", "g", "g", "h", "ms", "d"]);
    let rate = pick(random, &["", "", "|@0.5", "|@0.1"]);
    let tags = format!(
        "env:{},service:{},host:web-{:02}",
        pick(random, &["prod", "staging"]),
        pick(random, &["checkout", "billing-api", "search"]),
        random.below(40)
    );
    answer.samples += 1;
    answer.tag_bytes += tags.len();
    format!("{name}:{value}|{kind}{rate}|#{tags}\n")
}

/// Everything else a server sees: packing, sets, long floats, events, checks, a little junk.
fn mixed_line(random: &mut Random, answer: &mut Answer) -> String {
    match random.below(20) {
        0..=13 => known_line(random, answer),
        14 => {
            answer.samples += 4;
            format!("{}:1.5:2:3.25:17|d|T1656581400\n", pick(random, &NAMES))
        }
        15 => format!("users.unique:u{}|s\n", random.below(10_000)),
        16 => {
            answer.samples += 1;
            format!("gc.pause:{}e-3|h\n", random.below(1000) as f64 / 7.0)
        }
        17 => {
            answer.others += 1;
            "_e{6,11}:deploy|version 1.2|t:success|#env:prod\n".to_string()
        }
        18 => {
            answer.others += 1;
            "_sc|db.up|0|#env:prod|m:answers in time\n".to_string()
        }
        _ => {
            answer.refused += 1;
            "GET / HTTP/1.1\r\n".to_string()
        }
    }
}

fn corpus(line: fn(&mut Random, &mut Answer) -> String) -> Corpus {
    let mut random = Random::new(0x5eed_5eed_5eed_5eed);
    let mut answer = Answer::default();
    let bytes = (0..LINES).flat_map(|_| line(&mut random, &mut answer).into_bytes()).collect();
    Corpus { bytes, answer }
}

/// Splits and reads every line, and looks at what came out as an aggregator would.
#[inline(always)]
fn read_all(datagram: &[u8]) -> Answer {
    let mut answer = Answer::default();
    for line in protocol::lines(datagram) {
        match protocol::read(line.bytes, Options::default()) {
            Ok(Message::Metric(metric)) => {
                for number in metric.values.numbers() {
                    answer.samples += usize::from(number * metric.rate >= 0.0);
                }
                if metric.timestamp.is_none() {
                    answer.tag_bytes += metric.tags.len();
                }
            }
            Ok(message) => answer.others += usize::from(black_box(message) == message),
            Err(_) => answer.refused += 1,
        }
    }
    answer
}

#[inline(never)]
fn reads_known(datagram: &[u8]) -> Answer {
    read_all(datagram)
}

#[inline(never)]
fn reads_mixed(datagram: &[u8]) -> Answer {
    read_all(datagram)
}

#[inline(never)]
fn splits_lines(datagram: &[u8]) -> usize {
    protocol::lines(datagram).filter(|line| line.terminated).count()
}

/// The numbers of a text of packed values.
#[inline(never)]
fn sums_values(packed: &[u8]) -> f64 {
    protocol::Values::Packed(packed).numbers().sum()
}

fn packed() -> Vec<u8> {
    let mut random = Random::new(7);
    let items: Vec<String> = (0..LINES)
        .map(|_| format!("{}.{:06}", random.below(1000), random.below(1_000_000)))
        .collect();
    items.join(":").into_bytes()
}

/// One quiet pass for callgrind.
fn count_instructions(what: &str) {
    let (known, mixed) = (corpus(known_line), corpus(mixed_line));
    for _ in 0..10 {
        match what {
            "known" => assert_eq!(reads_known(black_box(&known.bytes)), known.answer),
            "mixed" => assert_eq!(reads_mixed(black_box(&mixed.bytes)), mixed.answer),
            "lines" => assert_eq!(splits_lines(black_box(&known.bytes)), LINES),
            "values" => assert!(sums_values(black_box(&packed())) > 0.0),
            other => panic!("nothing called {other}"),
        }
    }
    println!("{} lines of {} bytes on average", 10 * LINES, known.bytes.len() / LINES);
}

fn time(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("protocol");
    group.throughput(Throughput::Elements(LINES as u64));
    for (name, corpus) in [("known", corpus(known_line)), ("mixed", corpus(mixed_line))] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(read_all(black_box(&corpus.bytes)), corpus.answer));
        });
    }
    let known = corpus(known_line);
    group.bench_function("lines", |bencher| {
        bencher.iter(|| assert_eq!(splits_lines(black_box(&known.bytes)), LINES));
    });
    let packed = packed();
    group.bench_function("values", |bencher| {
        bencher.iter(|| assert!(sums_values(black_box(&packed)) > 0.0));
    });
    group.finish();
}

fn main() {
    if let Ok(what) = std::env::var("COUNT_INSTRUCTIONS") {
        return count_instructions(&what);
    }
    let mut criterion = Criterion::default().configure_from_args();
    time(&mut criterion);
    criterion.final_summary();
}
