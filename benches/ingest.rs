//! What a known metric costs, from the bytes of a datagram to its cell, next to a floor measured
//! in the same run: a loop that splits lines, finds name, value and tags, hashes them with ahash,
//! looks the key up with byte equality, reads an integer and adds.
//!
//! The corpus is seeded: lines of about 68 bytes with three tags, a third each counters, gauges
//! and timers, in datagrams of at most 1,432 bytes, contexts in random order. Every bench checks
//! that what closes equals what was fed.
//!
//! - `cargo bench --bench ingest` times one pass over the corpus (criterion).
//! - `INGEST=ratio cargo bench --bench ingest` alternates both, pass by pass, in one process and
//!   prints nanoseconds per metric and the median ratio: on a machine that others use, believe
//!   this one. `INGEST_CONTEXTS=1000000` chooses the contexts, `INGEST_KINDS=cg` leaves out timers,
//!   `INGEST_SHARDS=2` feeds two shards on two threads and compares with one alone.
//! - Instructions per metric, counted by callgrind inside `ingest_pass` and `floor_pass`:
//!   `INGEST=count cargo bench --bench ingest -- --quiet` does one warm pass and ten more; run the
//!   bench binary under `valgrind --tool=callgrind --collect-atstart=no
//!   --toggle-collect='*ingest_pass*'` (or `'*floor_pass*'`) and divide `Collected` by the number
//!   of metrics it prints.

use std::hash::{BuildHasher, Hasher};
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use ahash::RandomState;
use criterion::{Criterion, Throughput};
use whippet::aggregate::{Bucket, Shard, ShardSettings};
use whippet::context::{ContextLimits, Rules};

/// Bytes of one datagram: what fits a packet of 1,500 on the way.
const DATAGRAM_BYTES_MAX: usize = 1_432;
/// Lines of a corpus, at least.
const LINES_MIN: usize = 30_000;
/// Passes into one bucket; more would make histograms count instead of keeping samples.
const PASSES_PER_BUCKET: usize = 8;

/// xorshift64*: the same seed gives the same bytes on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// Datagrams, and what they must add up to.
struct Corpus {
    datagrams: Vec<Vec<u8>>,
    contexts: usize,
    lines: usize,
    /// Sum of all counter values of one pass.
    counted: u64,
    /// Sum of all timer values of one pass.
    timed: u64,
    /// Sum of all values of one pass, whatever their kind.
    all: u64,
}

const KINDS: [&str; 3] = ["c", "g", "ms"];
const NAMES: [&str; 4] =
    ["http.request.duration", "checkout.orders.done", "db.pool.connections", "cache.hits.by_shard"];

/// The line of one context up to its value, and what follows the value.
fn context(number: usize, kinds: usize) -> (String, String) {
    let name = NAMES[number / kinds % NAMES.len()];
    let kind = KINDS[number % kinds];
    let env = ["prod", "test"][number / 7 % 2];
    let head = format!("{name}:");
    (head, format!("|{kind}|#env:{env},service:checkout,pod:web-{number:07}\n"))
}

fn corpus(contexts: usize, kinds: usize) -> Corpus {
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    let mut order: Vec<usize> = (0..contexts).cycle().take(contexts.max(LINES_MIN)).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, random.below(at + 1));
    }
    let lines = order.len();
    let mut corpus =
        Corpus { datagrams: vec![Vec::new()], contexts, lines, counted: 0, timed: 0, all: 0 };
    for number in order {
        let value = [random.below(10), random.below(100), random.below(10_000)][random.below(3)];
        match KINDS[number % kinds] {
            "c" => corpus.counted += value as u64,
            "ms" => corpus.timed += value as u64,
            _ => {}
        }
        corpus.all += value as u64;
        let (head, tail) = context(number, kinds);
        let line = format!("{head}{value}{tail}");
        if corpus.datagrams.last().is_some_and(|last| last.len() + line.len() > DATAGRAM_BYTES_MAX)
        {
            corpus.datagrams.push(Vec::new());
        }
        corpus.datagrams.last_mut().unwrap().extend_from_slice(line.as_bytes());
    }
    corpus
}

/// A shard that is fed and closed like that of a lane.
struct Ingest {
    shard: Shard,
    spare: Bucket,
    passes: usize,
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
        let mut ingest = Ingest { shard, spare: Bucket::default(), passes: 0 };
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
        self.passes >= PASSES_PER_BUCKET
    }
}

/// Everything fed is in the bucket, and in its books.
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

/// The least that anyone must do, in plain code: an open-addressed table of keys and sums.
struct Floor {
    state: RandomState,
    slots: Vec<FloorSlot>,
}

#[derive(Clone, Default)]
struct FloorSlot {
    hash: u64,
    /// The kind, the name, the tags; empty for a free slot.
    key: Box<[u8]>,
    name_end: usize,
    sum: f64,
}

/// A line as the floor reads it.
#[derive(Clone, Copy, Default)]
struct FloorLine<'a> {
    hash: u64,
    name: &'a [u8],
    tags: &'a [u8],
    kind: u8,
    value: u64,
}

impl Floor {
    fn new(corpus: &Corpus) -> Self {
        let slots = vec![FloorSlot::default(); (corpus.contexts * 5 / 4).max(8)];
        let mut floor = Floor { state: RandomState::with_seeds(1, 2, 3, 4), slots };
        assert_eq!(floor.pass(corpus), corpus.all);
        floor
    }

    #[inline(always)]
    fn read<'a>(&self, line: &'a [u8]) -> Option<FloorLine<'a>> {
        let (name, rest) = line.split_at(memchr::memchr(b':', line)?);
        let (value, rest) = rest[1..].split_at(rest[1..].iter().position(|byte| *byte == b'|')?);
        let kind = *rest.get(1)?;
        let tags = &rest[rest.iter().position(|byte| *byte == b'#')? + 1..];
        let mut hasher = self.state.build_hasher();
        hasher.write(name);
        hasher.write(tags);
        hasher.write_u8(kind);
        let value = value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        Some(FloorLine { hash: hasher.finish(), name, tags, kind, value })
    }

    #[inline(always)]
    fn start(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    #[inline(always)]
    fn add(&mut self, line: &FloorLine<'_>) {
        let mut at = self.start(line.hash);
        loop {
            let slot = &mut self.slots[at];
            if slot.key.is_empty() {
                slot.key = [&[line.kind], line.name, line.tags].concat().into_boxed_slice();
                (slot.hash, slot.name_end) = (line.hash, 1 + line.name.len());
            }
            if slot.hash == line.hash
                && slot.key[0] == line.kind
                && slot.key[1..slot.name_end] == *line.name
                && slot.key[slot.name_end..] == *line.tags
            {
                slot.sum += line.value as f64;
                return;
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    /// Line by line in the caches; beyond them, lines wait until their slot and key are loaded.
    #[inline(always)]
    fn pass(&mut self, corpus: &Corpus) -> u64 {
        let ahead = corpus.contexts > 16_384;
        let mut all = 0;
        let mut waiting = [FloorLine::default(); 64];
        for datagram in &corpus.datagrams {
            let (mut rest, mut lines) = (&datagram[..], 0);
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let line = self.read(&rest[..end]).expect("the corpus has metrics only");
                all += line.value;
                rest = &rest[end + 1..];
                if ahead {
                    prefetch(&self.slots[self.start(line.hash)]);
                    waiting[lines] = line;
                    lines += 1;
                } else {
                    self.add(&line);
                }
            }
            for line in &waiting[..lines] {
                if let [first, .., last] = &*self.slots[self.start(line.hash)].key {
                    prefetch(first);
                    prefetch(last);
                }
            }
            waiting[..lines].iter().for_each(|line| self.add(line));
        }
        all
    }
}

#[allow(unsafe_code)]
fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint without effect on memory, at an address taken from a reference.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

#[inline(never)]
fn floor_pass(floor: &mut Floor, corpus: &Corpus) -> u64 {
    floor.pass(corpus)
}

/// Warm passes for callgrind, which counts what happens inside the two functions.
fn count(corpus: &Corpus) {
    let (mut ingest, mut floor) = (Ingest::new(corpus), Floor::new(corpus));
    for _ in 0..PASSES_PER_BUCKET - 1 {
        assert_eq!(ingest_pass(&mut ingest, black_box(corpus)), corpus.lines);
        assert_eq!(floor_pass(&mut floor, black_box(corpus)), corpus.all);
    }
    ingest.turn(corpus);
    let metrics = (PASSES_PER_BUCKET - 1) * corpus.lines;
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
    let passes = if corpus.lines > 100_000 { 21 } else { 401 };
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..passes {
        if ingest.is_full() {
            ingest.turn(corpus);
        }
        ours.push(timed(corpus, || {
            assert_eq!(ingest_pass(&mut ingest, black_box(corpus)), corpus.lines);
        }));
        floors.push(timed(corpus, || {
            assert_eq!(floor_pass(&mut floor, black_box(corpus)), corpus.all);
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
        bencher.iter(|| assert_eq!(floor_pass(&mut floor, black_box(corpus)), corpus.all));
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
