//! What a known metric costs, from the bytes of a datagram to its cell, next to a floor measured
//! in the same run: the loop of `tools/floor`, which splits lines, finds name, value and tags, hashes
//! them, looks the key up with byte equality, reads an integer and adds.
//!
//! The corpus is seeded: lines of about 68 bytes with three tags, a third each counters, gauges
//! and timers, in datagrams of at most 1,432 bytes, contexts in random order. Up to 16,384 contexts a
//! bucket takes as many lines as give each timer 5,000 samples and more, as in a saturated server;
//! beyond, eight passes. Every bench checks that what closes equals what was fed.
//!
//! - `cargo bench --bench ingest` times one pass over the corpus (criterion).
//! - `INGEST=ratio cargo bench --bench ingest` alternates both, pass by pass, in one process and
//!   prints nanoseconds per metric and the median ratio: on a machine that others use, believe
//!   this one. `INGEST_CONTEXTS=1000000` chooses the contexts, `INGEST_KINDS=cg` leaves out timers,
//!   `INGEST_SHARDS=2` feeds two shards on two threads and compares with one alone.
//! - Instructions per metric, counted by callgrind inside `ingest_pass` and `floor_pass`:
//!   `INGEST=count cargo bench --bench ingest -- --quiet` does one warm pass and the rest of a bucket;
//!   run the bench binary under `valgrind --tool=callgrind --collect-atstart=no
//!   --toggle-collect='*ingest_pass*'` (or `'*floor_pass*'`) and divide `Collected` by the number
//!   of metrics it prints. `make count` does that.

mod corpus;
#[path = "../../tools/floor/find.rs"]
mod find;
mod floor;
#[path = "../../tools/floor/line.rs"]
mod line;
#[path = "../../src/context/prefetch.rs"]
mod prefetch;
#[path = "../random.rs"]
mod random;
#[path = "../../tools/floor/table.rs"]
mod table;

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use ahash::RandomState;
use corpus::{Corpus, corpus};
use criterion::{Criterion, Throughput};
use floor::Floor;
use whippet::aggregate::{Bucket, Shard, ShardSettings};
use whippet::context::{ContextLimits, Rules};

/// Lines of each context in a bucket: far beyond what histograms keep as they are.
const LINES_PER_CONTEXT: usize = 5_010;
/// Passes into one bucket where a pass touches more contexts than the caches hold.
const PASSES_MIN: usize = 8;

/// A shard that is fed and closed like that of a lane.
struct Ingest {
    shard: Shard,
    spare: Bucket,
    passes: usize,
    passes_per_bucket: usize,
}

fn passes_per_bucket(corpus: &Corpus) -> usize {
    let full = (LINES_PER_CONTEXT * corpus.contexts).div_ceil(corpus.lines);
    if corpus.contexts > 16_384 { PASSES_MIN } else { full }
}

impl Ingest {
    fn new(corpus: &Corpus) -> Self {
        let limits = ContextLimits { contexts_max: 2_000_000, ..ContextLimits::default() };
        let rules = Rules { limits, ..Rules::default() };
        let state = RandomState::with_seeds(1, 2, 3, 4);
        let shard = Shard::new(
            ShardSettings::default(),
            Arc::new(rules),
            state,
            Duration::from_secs(1_000),
        );
        let spare = Bucket::default();
        let passes_per_bucket = passes_per_bucket(corpus);
        let mut ingest = Ingest { shard, spare, passes: 0, passes_per_bucket };
        ingest.pass(corpus);
        ingest
    }

    /// One pass, not counted by callgrind: first sights and first touches.
    fn pass(&mut self, corpus: &Corpus) {
        assert_eq!(feed(&mut self.shard, corpus), corpus.lines);
        self.passes += 1;
    }

    /// Closes the bucket, checks it, and touches every context once in the next.
    fn turn(&mut self, corpus: &Corpus) {
        let end = self.shard.bucket_end();
        let mut closed = self.shard.close(end, std::mem::take(&mut self.spare));
        check(&closed, corpus, self.passes);
        closed.recycle();
        self.spare = closed;
        self.passes = 0;
        self.pass(corpus);
    }

    fn is_full(&self) -> bool {
        self.passes >= self.passes_per_bucket
    }
}

/// Everything fed is in the bucket, and in its counts.
fn check(closed: &Bucket, corpus: &Corpus, passes: usize) {
    let passes = passes as u64;
    let counted: f64 = closed.counters.iter().map(|cell| cell.sum).sum();
    let timed: f64 = closed.histograms.iter().map(|cell| cell.summary().sum).sum();
    assert_eq!(
        (counted, timed),
        ((corpus.counted * passes) as f64, (corpus.timed * passes) as f64)
    );
    let cells = closed.counters.len() + closed.gauges.len() + closed.histograms.len();
    assert_eq!(cells, corpus.contexts);
    assert_eq!(closed.counts.recorded(), corpus.lines as u64 * passes);
}

#[inline(always)]
fn feed(shard: &mut Shard, corpus: &Corpus) -> usize {
    let before = shard.counts().recorded();
    for datagram in &corpus.datagrams {
        shard.datagram(datagram, b"", false, |number, _, error| panic!("{number}: {error:?}"));
    }
    (shard.counts().recorded() - before) as usize
}

/// The measured part.
#[inline(never)]
fn ingest_pass(ingest: &mut Ingest, corpus: &Corpus) -> usize {
    ingest.passes += 1;
    feed(&mut ingest.shard, corpus)
}

#[inline(never)]
fn floor_pass(floor: &mut Floor, corpus: &Corpus) -> usize {
    floor.pass(corpus)
}

/// Warm passes for callgrind, which counts what happens inside the two functions.
fn count(corpus: &Corpus) {
    let (mut ingest, mut floor) = (Ingest::new(corpus), Floor::new(corpus));
    let passes = ingest.passes_per_bucket - 1;
    for _ in 0..passes {
        assert_eq!(ingest_pass(&mut ingest, black_box(corpus)), corpus.lines);
        assert_eq!(floor_pass(&mut floor, black_box(corpus)), corpus.lines);
    }
    ingest.turn(corpus);
    let metrics = passes * corpus.lines;
    let bytes: usize = corpus.datagrams.iter().map(Vec::len).sum();
    println!("{metrics} metrics");
    println!("{:.1} bytes a line", bytes as f64 / corpus.lines as f64);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds per metric of one pass.
fn timed(corpus: &Corpus, pass: impl FnOnce()) -> f64 {
    let start = Instant::now();
    pass();
    start.elapsed().as_nanos() as f64 / corpus.lines as f64
}

fn ratio(corpus: &Corpus) {
    let (mut ingest, mut floor) = (Ingest::new(corpus), Floor::new(corpus));
    let passes = if corpus.lines > 100_000 { 21 } else { 3 * ingest.passes_per_bucket };
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..passes {
        if ingest.is_full() {
            ingest.turn(corpus);
        }
        ours.push(timed(corpus, || {
            assert_eq!(ingest_pass(&mut ingest, black_box(corpus)), corpus.lines);
        }));
        floors.push(timed(corpus, || {
            assert_eq!(floor_pass(&mut floor, black_box(corpus)), corpus.lines);
        }));
    }
    ingest.turn(corpus);
    let ratios = ours.iter().zip(&floors).map(|(ours, floor)| ours / floor).collect();
    println!(
        "{} contexts: whippet {:.1} ns, floor {:.1} ns, ratio {:.2} (medians of {passes} pairs)",
        corpus.contexts,
        median(ours),
        median(floors),
        median(ratios)
    );
}

/// `threads` shards at once, each with a corpus of its own; nanoseconds per metric of each.
fn threads(threads: usize, contexts: usize, kinds: usize) -> f64 {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let run = || {
            let corpus = corpus(contexts, kinds);
            let mut ingest = Ingest::new(&corpus);
            barrier.wait();
            let passes = (0..401).map(|_| {
                if ingest.is_full() {
                    ingest.turn(&corpus);
                }
                timed(&corpus, || assert_eq!(ingest_pass(&mut ingest, &corpus), corpus.lines))
            });
            median(passes.collect())
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let each: Vec<f64> = running.into_iter().map(|thread| thread.join().unwrap()).collect();
        each.iter().sum::<f64>() / threads as f64
    })
}

fn time(criterion: &mut Criterion, corpus: &Corpus) {
    let mut group = criterion.benchmark_group(format!("ingest/{}", corpus.contexts));
    group.throughput(Throughput::Elements(corpus.lines as u64));
    group.bench_function("whippet", |bencher| {
        let mut ingest = Ingest::new(corpus);
        bencher.iter_custom(|passes| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..passes {
                if ingest.is_full() {
                    ingest.turn(corpus);
                }
                let start = Instant::now();
                assert_eq!(ingest_pass(&mut ingest, black_box(corpus)), corpus.lines);
                elapsed += start.elapsed();
            }
            elapsed
        });
        ingest.turn(corpus);
    });
    group.bench_function("floor", |bencher| {
        let mut floor = Floor::new(corpus);
        bencher.iter(|| assert_eq!(floor_pass(&mut floor, black_box(corpus)), corpus.lines));
    });
    group.finish();
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let contexts = number("INGEST_CONTEXTS", 1_000);
    let kinds = if std::env::var("INGEST_KINDS").is_ok_and(|kinds| kinds == "cg") { 2 } else { 3 };
    let shards = number("INGEST_SHARDS", 1);
    match std::env::var("INGEST").as_deref() {
        Ok("count") => count(&corpus(contexts, kinds)),
        Ok("ratio") if shards > 1 => {
            let (alone, together) = (threads(1, contexts, kinds), threads(shards, contexts, kinds));
            println!("one shard {alone:.1} ns; {shards} at once {together:.1} ns each");
        }
        Ok("ratio") => ratio(&corpus(contexts, kinds)),
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            time(&mut criterion, &corpus(contexts, kinds));
            criterion.final_summary();
        }
    }
}
