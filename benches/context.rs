//! What rewriting costs: lines of known metrics, and lines never seen before, without rules and with
//! 100 mapper profiles of ten mappings each, a name filter, a tag filter and a namespace.
//!
//! `cargo bench --bench context` times it. For instructions per line, count them under callgrind:
//! with `COUNT_INSTRUCTIONS=none|profiles` in the environment the program records its corpus once
//! to make every metric known, then ten times through `records_known`, which is not inlined
//! (`--toggle-collect='*records_known*'`), and prints the number of lines.

mod random;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use criterion::{BatchSize, Criterion, Throughput};
use random::Random;
use whippet::aggregate::{Bucket, Shard, ShardSettings};
use whippet::config::{MapperProfile, Mapping, MatchType, TagAction, TagFilter};
use whippet::context::{Mapper, NameFilter, Namespace, Rules, TagFilters};

/// Lines per corpus.
const LINES: usize = 20_000;
/// Distinct raw keys among them.
const KEYS: usize = 2_000;
const PROFILES: usize = 100;
const MAPPINGS: usize = 10;
const NOW: Duration = Duration::from_secs(1_700_000_000);

/// Each key once, then at random. Half of the names are under some profile, most of those match its
/// last mapping; the lengths are those of real names and tags.
fn corpus() -> Vec<String> {
    let mut random = Random::new(0x5EED);
    let key = |number: usize| match number % 4 {
        0 => format!("team{}.job.etl.step{number}.rows", number % PROFILES),
        1 => format!("team{}.queue.depth.{number}", number % PROFILES),
        _ => format!("http.requests.route{number}"),
    };
    let mut line = |number: usize| {
        let (kind, value) = (["c", "g", "c", "ms"][number / 4 % 4], random.below(1_000));
        format!("{}:{value}|{kind}|#env:prod,service:web-{},id:{number}", key(number), number % 7)
    };
    let mut lines: Vec<String> = (0..KEYS).map(&mut line).collect();
    let mut order = Random::new(0xC0FFEE);
    lines.extend((KEYS..LINES).map(|_| line(order.below(KEYS))));
    lines
}

fn profiles() -> Rules {
    let mapping = |team: usize, number: usize| Mapping {
        pattern: if number + 1 == MAPPINGS {
            format!("team{team}.job.*.*.rows")
        } else {
            format!(r"team{team}\.other{number}\.(\w+)\.(.*)")
        },
        match_type: if number + 1 == MAPPINGS { MatchType::Wildcard } else { MatchType::Regex },
        name: format!("team{team}.job.rows"),
        tags: vec![("job".into(), "$1".into()), ("step".into(), "$2".into())],
    };
    let profile = |team: usize| MapperProfile {
        name: format!("team{team}"),
        prefix: format!("team{team}."),
        mappings: (0..MAPPINGS).map(|number| mapping(team, number)).collect(),
        histogram_aggregates: None,
        histogram_percentiles: None,
        gauge_ttl: team.is_multiple_of(2).then_some(Duration::from_secs(300)),
        counters_as_counts: team.is_multiple_of(3),
    };
    let (mapper, problems) = Mapper::new(&(0..PROFILES).map(profile).collect::<Vec<_>>());
    assert!(problems.is_empty(), "{problems:?}");
    let names: Vec<String> = (0..1_000).map(|number| format!("unwanted.{number}")).collect();
    let tags = TagFilter {
        metric_name: "ns.team1.queue.depth.1".into(),
        action: TagAction::Exclude,
        tags: vec!["id".into()],
    };
    Rules {
        mapper,
        namespace: Namespace::new("ns", &[]),
        name_filter: NameFilter::new(&names, true),
        tag_filters: TagFilters::new(&[tags]),
        ..Rules::default()
    }
}

fn shard(rules: &Arc<Rules>) -> Shard {
    let state = RandomState::with_seeds(1, 2, 3, 4);
    Shard::new(ShardSettings::default(), Arc::clone(rules), state, NOW)
}

fn record(shard: &mut Shard, lines: &[String]) -> u64 {
    let before = shard.counts().metrics;
    for line in lines {
        shard.line(line.as_bytes(), b"");
    }
    shard.counts().metrics - before
}

#[inline(never)]
fn records_known(shard: &mut Shard, lines: &[String]) -> u64 {
    record(shard, lines)
}

fn rules(which: &str) -> Arc<Rules> {
    match which {
        "none" => Arc::new(Rules::default()),
        "profiles" => Arc::new(profiles()),
        _ => panic!("COUNT_INSTRUCTIONS is none or profiles, not {which}"),
    }
}

/// Every line is recorded, under the names that the rules give.
fn check(which: &str, lines: &[String]) {
    let mut shard = shard(&rules(which));
    assert_eq!(record(&mut shard, lines), LINES as u64);
    let births = shard.births();
    let mapped = births.iter().filter(|birth| birth.context.name().ends_with(b".job.rows")).count();
    let expect = if which == "profiles" { KEYS / 4 } else { 0 };
    assert_eq!((births.len(), mapped), (KEYS, expect));
}

fn count(which: &str, lines: &[String]) {
    let mut shard = shard(&rules(which));
    record(&mut shard, lines);
    let recorded: u64 = (0..10).map(|_| records_known(&mut shard, lines)).sum();
    println!("{recorded} lines");
}

fn bench(criterion: &mut Criterion, lines: &[String]) {
    let mut group = criterion.benchmark_group("context");
    group.throughput(Throughput::Elements(LINES as u64));
    for which in ["none", "profiles"] {
        check(which, lines);
        let rules = rules(which);
        let (mut known, mut now) = (shard(&rules), NOW);
        record(&mut known, lines);
        group.bench_function(format!("known/{which}"), |bencher| {
            bencher.iter(|| {
                // A bucket of its own, so that histograms do not grow from round to round.
                now += Duration::from_secs(10);
                black_box(known.close(now, Bucket::default()));
                black_box(record(&mut known, lines))
            });
        });
        let first = &lines[..KEYS];
        group.bench_function(format!("first_sight_of_{KEYS}/{which}"), |bencher| {
            let fresh = || shard(&rules);
            let sights = |mut shard: Shard| {
                black_box(record(&mut shard, first));
                shard
            };
            bencher.iter_batched(fresh, sights, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn main() {
    let lines = corpus();
    if let Ok(which) = std::env::var("COUNT_INSTRUCTIONS") {
        count(&which, &lines);
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion, &lines);
    criterion.final_summary();
}
