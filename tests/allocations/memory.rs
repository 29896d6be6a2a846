//! What contexts of each kind weigh under hostile values: their own documented bytes, and
//! `aggregation_bytes_max` for all of them together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use whippet::aggregate::{Bucket, Shard, ShardSettings};
use whippet::context::{ContextLimits, Rules};
use whippet::flush::{Closed, FlushSettings, Flusher, HistogramSettings};
use whippet::memory::MemoryLimit;

use super::live_bytes;

/// A context, whatever its kind and values, in all its places: table, registry, and the cells of the
/// open bucket and of the one that is being flushed. The key here is some 20 bytes.
const BYTES_PER_CONTEXT: usize = 800;

/// Values that ask for as much memory as a line can: for the sum to be watched, for weights, for bins far
/// apart, for members that are long.
const HOSTILE: [(&str, &str); 6] = [
    ("c", "1e306"),
    ("g", "1e306"),
    ("s", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    ("h", "1e306:-1e306:1e-300:7:1e306:-1e-12:3:1e20:-1e99:5:6:1e7"),
    ("h", "1e300:-1e300:1e-300:7|@0.5"),
    ("d", "1e306:-1e306:1e-300:7:1e30:-1e-12:3:1e20:-1e99:5:6:1e7"),
];

/// Most bytes alive per context while `contexts` of each kind get `rounds` hostile lines in each of two
/// intervals, and bytes alive when all is forgotten.
fn weigh(contexts: usize, rounds: usize, bytes_max: usize) -> Vec<(String, usize, usize)> {
    HOSTILE
        .iter()
        .map(|(kind, value)| {
            let before = live_bytes();
            let settings = ShardSettings {
                memory: Arc::new(MemoryLimit::new(bytes_max)),
                ..ShardSettings::default()
            };
            let limits = ContextLimits { contexts_max: contexts, ..ContextLimits::default() };
            let rules = Arc::new(Rules { limits, ..Rules::default() });
            let state = RandomState::with_seeds(1, 2, 3, 4);
            let second = Duration::from_secs;
            let mut shard =
                Shard::new(settings.clone(), Arc::clone(&rules), state.clone(), second(1_000));
            let flush_settings = FlushSettings {
                interval: 10,
                counter_expiry: second(0),
                set_members_max: 1_000,
                histograms: HistogramSettings::default(),
            };
            let mut flusher = Flusher::new(flush_settings, rules, 1, state);
            let (value, rate) = value.split_once('|').unwrap_or((value, ""));
            let rate = if rate.is_empty() { String::new() } else { format!("|{rate}") };
            let (mut most, mut spare, mut line) = (0, Bucket::default(), String::new());
            let mut fill = |shard: &mut Shard, round: usize| {
                for context in 0..contexts {
                    use std::fmt::Write;
                    line.clear();
                    let member =
                        if *kind == "s" { format!("{value}{round}") } else { value.to_owned() };
                    write!(line, "x:{member}|{kind}{rate}|#n:{context}").expect("a string");
                    shard.line(line.as_bytes(), b"");
                }
            };
            for interval in 0..2_u64 {
                (0..rounds).for_each(|round| fill(&mut shard, round));
                most = most.max(live_bytes() - before);
                let now = 1_010 + 10 * interval;
                let bucket = shard.close(second(now), std::mem::take(&mut spare));
                flusher.take(Closed { lane: 0, bucket, passed: now });
                // The next interval fills while this one is flushed.
                let flush = flusher.complete().expect("one lane");
                fill(&mut shard, 0);
                most = most.max(live_bytes() - before);
                spare = flusher.recycle(flush).next().expect("its bucket").1;
            }
            // Two silent intervals later everything is forgotten.
            for now in [1_030, 1_040, 1_050, 1_060] {
                let bucket = shard.close(second(now), std::mem::take(&mut spare));
                while shard.sweep_some() {}
                flusher.take(Closed { lane: 0, bucket, passed: now });
                while let Some(flush) = flusher.complete() {
                    spare = flusher.recycle(flush).next().expect("its bucket").1;
                }
            }
            assert_eq!(settings.memory.bytes_used(), 0);
            (format!("{value}|{kind}"), most, live_bytes() - before)
        })
        .collect()
}

#[track_caller]
fn stays_within(contexts: usize, rounds: usize, bytes_max: usize) {
    let began = Instant::now();
    for (what, most, after) in weigh(contexts, rounds, bytes_max) {
        println!(
            "{contexts} contexts of {what:.20}: {} MiB at most, {} bytes each beyond {} MiB; {} MiB after",
            most >> 20,
            most.saturating_sub(bytes_max) / contexts,
            bytes_max >> 20,
            after >> 20
        );
        assert!(most <= contexts * BYTES_PER_CONTEXT + bytes_max, "{what}: {most} bytes");
        assert!(after <= contexts * 64 + (8 << 20), "{what}: {after} bytes are left");
    }
    println!("{:.1} s", began.elapsed().as_secs_f64());
}

#[test]
fn hostile_values_stay_within_the_documented_bytes() {
    stays_within(2_000, 3, 1 << 17);
}

/// The default cap.
#[test]
#[ignore = "a gigabyte of memory: make memory"]
fn a_million_contexts_of_each_kind_stay_within_the_documented_bytes() {
    stays_within(1_000_000, 2, 512 << 20);
}
