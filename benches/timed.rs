//! What one part of a request to a door costs where it is recorded: parts of trace stats, four of each
//! group (two counters, a sum of seconds, a sketch), in an open bucket, all of them seen before.
//!
//! `cargo bench --bench timed`; the figure is the time of one part. Each run checks the sum of a counter
//! and the count of a sketch.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use criterion::{Criterion, Throughput};
use whippet::aggregate::{Misplaced, Placed, TimedPart, TimedSettings, TimedShard, Value};
use whippet::sketch::Sketch;

/// Groups of a payload.
const GROUPS: usize = 100;
/// Payloads that differ: processes that send one after the other.
const PAYLOADS: usize = 20;
const PARTS: usize = GROUPS * PAYLOADS * 4;
const NOW: u64 = 1_700_000_045;

/// The tags of a group, as a door lays them out.
struct Group {
    tags: Vec<u8>,
    ends: Vec<u32>,
}

fn groups() -> Vec<Group> {
    let group = |number: usize| {
        let (payload, group) = (number / GROUPS, number % GROUPS);
        let tags = [
            format!("service:shop-{payload}"),
            "env:prod".to_owned(),
            "version:1.2.3".to_owned(),
            format!("resource_name:get_/api/v2/orders/{group}/items"),
            "http.status_code:200".to_owned(),
            "http.status_class:2xx".to_owned(),
            "span.kind:server".to_owned(),
        ];
        let mut built = Group { tags: Vec::new(), ends: Vec::new() };
        for tag in tags {
            built.tags.extend_from_slice(tag.as_bytes());
            built.ends.push(built.tags.len() as u32);
        }
        built
    };
    (0..GROUPS * PAYLOADS).map(group).collect()
}

/// Latencies of one group in ten seconds: 30 values over less than a decade.
fn latencies() -> Sketch {
    let mut sketch = Sketch::default();
    (0..30).for_each(|value| assert!(sketch.insert(0.01 + f64::from(value) / 500.0, 1.0)));
    sketch.finish();
    sketch
}

#[inline(never)]
fn record(shard: &mut TimedShard, groups: &[Group], sketch: &Sketch) {
    let now = Duration::from_secs(NOW);
    for group in groups {
        for (name, value) in [
            (&b"trace.web.request.hits"[..], Value::Count(3.0)),
            (b"trace.web.request.errors", Value::Count(1.0)),
            (b"trace.web.request.duration", Value::Count(0.061)),
            (b"trace.web.request", Value::Sketch(sketch)),
        ] {
            let part = TimedPart {
                name,
                tags: &group.tags,
                tag_ends: &group.ends,
                host: b"",
                origin: b"",
                second: NOW as i64 - 20,
                value,
            };
            assert_eq!(shard.put(black_box(&part), now, Misplaced::Shift), Placed::InTime);
        }
    }
}

fn main() {
    let (groups, sketch) = (groups(), latencies());
    let mut criterion = Criterion::default().configure_from_args();
    let mut bench = criterion.benchmark_group("timed");
    bench.throughput(Throughput::Elements(PARTS as u64));
    bench.bench_function("stats parts, known", |bencher| {
        let (settings, now) = (TimedSettings::default(), Duration::from_secs(NOW));
        let mut shard = TimedShard::new(settings, Arc::default(), RandomState::new(), now);
        record(&mut shard, &groups, &sketch);
        let mut times = 1_u64;
        bencher.iter(|| {
            record(&mut shard, &groups, &sketch);
            times += 1;
        });
        while shard.first_open() + 10 <= NOW - 20 {
            shard.close();
        }
        let bucket = shard.close();
        assert_eq!(bucket.counters.len(), 3 * groups.len());
        assert_eq!(bucket.counters[0].sum, 3.0 * times as f64);
        assert_eq!(bucket.distributions[0].sketch.count(), 30 * times);
    });
    bench.finish();
    criterion.final_summary();
}
