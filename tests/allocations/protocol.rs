//! Known counters and gauges are recorded without a single allocation.

use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use whippet::aggregate::{Bucket, Fate, Shard, ShardSettings};
use whippet::context::Rules;

use super::allocations_during;

const LINES: usize = 1_000_000;

/// Counters and gauges as clients send them: rates, several tags, packed values, host tags.
fn known_lines() -> Vec<String> {
    (0..1_000)
        .map(|number| match number % 5 {
            0 => format!("requests.count:1|c|#env:prod,route:/r{number},status:200"),
            1 => format!("queue.depth:{number}.5|g|#shard:{number}"),
            2 => format!("cache.hits:1:2:3|c|@0.5|#host:web-{number},zone:a"),
            3 => format!("plain.{number}:7|c"),
            _ => format!("memory.{number}:1e6|g|#b:2,a:1,b:2"),
        })
        .collect()
}

fn shard() -> Shard {
    let state = RandomState::with_seeds(1, 2, 3, 4);
    Shard::new(
        ShardSettings::default(),
        Arc::new(Rules::default()),
        state,
        Duration::from_secs(1_000),
    )
}

fn record(shard: &mut Shard, lines: &[String], count: usize) {
    for line in lines.iter().cycle().take(count) {
        assert_eq!(shard.line(line.as_bytes(), b""), Fate::Recorded, "{line}");
    }
}

#[test]
fn a_million_known_counters_and_gauges_allocate_nothing() {
    let (mut shard, lines) = (shard(), known_lines());
    record(&mut shard, &lines, lines.len());
    let allocations = allocations_during(|| {
        shard.begin_batch(Duration::from_secs(1_001));
        record(&mut shard, &lines, LINES);
    });
    assert_eq!(allocations, 0);
    assert_eq!(shard.counts().metrics, (LINES + lines.len()) as u64);
}

/// With a bucket that comes back emptied, as the flusher returns them, later intervals allocate
/// nothing either.
#[test]
fn the_next_intervals_reuse_what_the_first_ones_made() {
    let (mut shard, lines) = (shard(), known_lines());
    let mut spares = vec![Bucket::default()];
    for interval in 0..10_u64 {
        let allocations = allocations_during(|| record(&mut shard, &lines, 2 * lines.len()));
        if interval >= 3 {
            assert_eq!(allocations, 0, "interval {interval}");
        }
        let now = Duration::from_secs(1_010 + 10 * interval);
        let mut closed = shard.close(now, spares.pop().unwrap_or_default());
        assert_eq!(closed.counters.len() + closed.gauges.len(), lines.len());
        closed.recycle();
        spares.push(closed);
    }
}

#[test]
fn new_contexts_do_allocate() {
    let mut shard = shard();
    assert!(allocations_during(|| record(&mut shard, &known_lines(), 10)) > 10);
}
