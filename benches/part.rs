//! What the parts of the global tier cost: bytes of a context and interval on the log, the time to write a
//! cell and to read and merge one.
//!
//! The corpus: 70 % counters, 15 % gauges, 10 % histograms of ten samples, 5 % sets of eight members; five
//! tags, one of them an endpoint of random letters; keys of about 116 bytes. 64 partitions.
//!
//! `cargo bench --bench part`; the figures are times of one cell, and the bytes stand before them. Each run
//! checks that the merged values are those that were written.

mod random;

use std::hint::black_box;

use ahash::RandomState;
use criterion::{Criterion, Throughput};
use random::Random;
use whippet::aggregate::Sample;
use whippet::part::{
    EncodedPart, Head, Histogram, Key, KeyPool, KeyRef, Merged, Opened, Packer, Part, PartLimits,
    PartWriter, Set, Style, Sum, Unpacker, Value, open,
};

const CONTEXTS: usize = 100_000;
const PARTITIONS: u32 = 64;

type Cell = (Key, Value);

fn corpus(only_counters: bool) -> Vec<Cell> {
    let mut random = Random::new(0x5EED_5EED);
    let cell = |number: usize| {
        let mut letters = |count: usize| -> String {
            (0..count).map(|_| char::from(b'a' + random.below(26) as u8)).collect()
        };
        let endpoint = format!("endpoint:/api/v2/{}/{}", letters(6), letters(8));
        let tags = [
            endpoint,
            "env:prod".to_owned(),
            format!("service:shop-{}", number % 20),
            format!("region:eu-west-{}", number % 3),
            format!("version:1.{}.0", number % 7),
        ];
        let name =
            ["requests.count", "queue.depth", "request.duration", "users.active"][number % 4];
        let name = format!("shop.checkout.{name}");
        let key = Key::new(name.as_bytes(), tags.iter().map(|tag| tag.as_bytes())).expect("a key");
        let value = match random.below(100) {
            _ if only_counters => Value::Counter(Sum::from(1.0 + random.below(1_000) as f64)),
            0..70 => Value::Counter(Sum::from(1.0 + random.below(1_000) as f64)),
            70..85 => Value::Gauge(random.below(100_000) as f64 / 100.0),
            85..95 => {
                let mut histogram = Histogram::default();
                for _ in 0..10 {
                    let value = 1.0 + random.below(100_000) as f64 / 64.0;
                    assert!(histogram.add(Sample { value, scale: 1.0 }));
                }
                Value::Histogram(histogram)
            }
            _ => {
                let member = |_| Set::hash_of(&random.next().to_le_bytes());
                Value::Set(Set::of_hashes((0..8).map(member).collect(), 1_000))
            }
        };
        (key, value)
    };
    (0..CONTEXTS).map(cell).collect()
}

/// Parts of every partition of one interval.
fn encode(cells: &[Cell], packer: &mut Packer) -> Vec<EncodedPart> {
    let head = |partition| Head {
        sender: [7; 16],
        host: "web-1".to_owned(),
        start: 1_700_000_000,
        interval: 10,
        partition,
        partitions: PARTITIONS,
        ..Head::default()
    };
    let mut writers: Vec<PartWriter> =
        (0..PARTITIONS).map(|at| PartWriter::new(head(at))).collect();
    let (mut parts, style) = (Vec::new(), Style::default());
    for (at, (key, value)) in cells.iter().enumerate() {
        let writer = &mut writers[key.partition(PARTITIONS) as usize];
        let stamp = (at * 7 % 10_000) as u32;
        parts.extend(writer.push(key, stamp, &style, value, packer).expect("it fits"));
    }
    parts.extend(writers.iter_mut().filter_map(|writer| writer.finish(packer)));
    parts
}

/// All partitions as their owners hold them.
fn merge(senders: &[&[EncodedPart]], state: &RandomState) -> (Vec<Merged>, KeyPool) {
    let mut keys = KeyPool::new(state.clone());
    let new = |_| Merged::new(1_000, state.clone());
    let mut merged: Vec<Merged> = (0..PARTITIONS).map(new).collect();
    let mut unpacker = Unpacker::default();
    for part in senders.iter().copied().flatten() {
        let part = read(part, &mut unpacker);
        merged[part.head.partition as usize].merge(part, &mut keys);
    }
    (merged, keys)
}

fn read<'a>(part: &'a EncodedPart, unpacker: &'a mut Unpacker) -> Part<KeyRef<'a>> {
    let limits = PartLimits::new(1_000);
    let Ok(Opened::Part(sealed)) = open(&part.bytes, &limits) else { panic!("a sound part") };
    sealed.read(&limits, unpacker).expect("a sound part")
}

/// Every value is the one that was written, `times` over.
fn check(cells: &[Cell], merged: &[Merged], times: f64) {
    assert_eq!(merged.iter().map(Merged::len).sum::<usize>(), cells.len());
    for (key, value) in cells {
        let series = merged[key.partition(PARTITIONS) as usize].series(key).expect("it came");
        match (value, series.value) {
            (Value::Counter(ours), Value::Counter(theirs)) => {
                assert_eq!(ours.value() * times, theirs.value());
            }
            (Value::Histogram(ours), Value::Histogram(theirs)) => {
                let (ours, theirs) = (ours.summary(), theirs.summary());
                assert_eq!((ours.count * times as u64, ours.max), (theirs.count, theirs.max));
            }
            (ours, theirs) => assert_eq!(ours, theirs),
        }
    }
}

fn main() {
    let state = RandomState::with_seeds(1, 2, 3, 4);
    let mut packer = Packer::new();
    let mut criterion = Criterion::default().configure_from_args();
    for (name, only_counters, bytes_max) in [("mixed", false, 40), ("counters", true, 25)] {
        let cells = corpus(only_counters);
        let parts = encode(&cells, &mut packer);
        let bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
        let keys: usize = cells.iter().map(|(key, _)| key.as_bytes().len()).sum();
        let (merged, pool) = merge(&[&parts, &parts], &state);
        check(&cells, &merged, 2.0);
        let held: usize = merged.iter().map(Merged::heap_bytes).sum();
        let each = |bytes: usize| bytes as f64 / cells.len() as f64;
        println!(
            "part/{name}: {:.1} bytes a context on the log (goal {bytes_max}), key {:.0}; an owner holds {:.0}, with its key {:.0}",
            each(bytes),
            each(keys),
            each(held),
            each(held + pool.heap_bytes()),
        );
        let mut bench = criterion.benchmark_group(format!("part/{name}"));
        bench.throughput(Throughput::Elements(cells.len() as u64));
        bench.sample_size(10);
        bench.bench_function("write", |bencher| {
            bencher.iter(|| black_box(encode(&cells, &mut packer)));
        });
        bench.bench_function("read", |bencher| {
            let mut unpacker = Unpacker::default();
            bencher.iter(|| {
                for part in &parts {
                    black_box(read(part, &mut unpacker));
                }
            });
        });
        bench.throughput(Throughput::Elements(4 * cells.len() as u64));
        bench.bench_function("read and merge, four senders", |bencher| {
            let four = [&parts[..]; 4];
            bencher.iter(|| black_box(merge(&four, &state)));
        });
        bench.finish();
    }
    criterion.final_summary();
}
