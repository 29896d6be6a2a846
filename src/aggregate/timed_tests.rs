use super::*;
use crate::context::{ContextLimits, NameFilter, Rules};
use crate::sketch::Sketch;

const SECOND: fn(u64) -> Duration = Duration::from_secs;
/// A start of a bucket; what is read below is relative to it.
const ZERO: u64 = 1_700_000_000;

struct Hand {
    shard: TimedShard,
    now: u64,
    misplaced: Misplaced,
}

impl Hand {
    /// Now is 40 s after [`ZERO`]: the bucket at 10 is the oldest that is open.
    fn new(rules: PartRules) -> Self {
        let state = RandomState::with_seeds(1, 2, 3, 4);
        let shard =
            TimedShard::new(TimedSettings::default(), Arc::new(rules), state, SECOND(ZERO + 40));
        Hand { shard, now: ZERO + 40, misplaced: Misplaced::Shift }
    }

    fn put_tagged(&mut self, name: &str, tags: &[&str], second: i64, value: Value<'_>) -> Placed {
        let joined = tags.concat();
        let mut end = 0;
        let ends: Vec<u32> = tags
            .iter()
            .map(|tag| {
                end += tag.len() as u32;
                end
            })
            .collect();
        let part = TimedPart {
            name: name.as_bytes(),
            tags: joined.as_bytes(),
            tag_ends: &ends,
            host: b"",
            origin: b"",
            second: ZERO as i64 + second,
            value,
        };
        self.shard.put(&part, SECOND(self.now), self.misplaced)
    }

    fn put(&mut self, name: &str, second: i64, value: Value<'_>) -> Placed {
        self.put_tagged(name, &[], second, value)
    }

    /// `start: name=value …` of the next bucket, sketches as count and sum.
    fn close(&mut self) -> String {
        let names: BTreeMap<u32, String> = (0..100)
            .filter_map(|id| {
                let context = self.shard.contexts().context(id)?;
                let tags: Vec<String> = context
                    .tags(&[])
                    .iter()
                    .map(|tag| String::from_utf8_lossy(tag).into_owned())
                    .collect();
                let name = String::from_utf8_lossy(context.name()).into_owned();
                Some((
                    id,
                    if tags.is_empty() { name } else { format!("{name}#{}", tags.join("|")) },
                ))
            })
            .collect();
        let bucket = self.shard.close();
        let mut rows: Vec<String> = Vec::new();
        for cell in &bucket.counters {
            rows.push(format!("{}={}", names[&cell.context], cell.sum));
        }
        for cell in &bucket.gauges {
            rows.push(format!("{}={}", names[&cell.context], cell.value));
        }
        for cell in &bucket.distributions {
            let (count, sum) = (cell.sketch.count(), cell.sketch.sum());
            rows.push(format!("{}={count}/{sum}", names[&cell.context]));
        }
        let second = |timestamp: i64| timestamp - ZERO as i64;
        for point in &bucket.timestamped {
            rows.push(format!(
                "{}@{}={}",
                names[&point.context],
                second(point.timestamp),
                point.value
            ));
        }
        for sample in &bucket.timestamped_samples {
            let name = &names[&sample.context];
            rows.push(format!("{name}@{}~{}", second(sample.timestamp), sample.value));
        }
        format!("{}: {}", bucket.start - ZERO, rows.join(" ")).trim_end().to_owned()
    }
}

fn count(value: f64) -> Value<'static> {
    Value::Count(value)
}

#[test]
fn each_value_goes_to_the_bucket_of_its_second_by_the_law_of_its_kind() {
    let mut hand = Hand::new(PartRules::default());
    let mut sketch = Sketch::default();
    sketch.insert(4.0, 1.0);
    for (name, second, value) in [
        ("hits", 10, count(1.0)),
        ("hits", 19, count(2.0)),
        ("hits", 20, count(4.0)),
        ("hits", 12, count(8.0)),
        ("load", 15, Value::Gauge(5.0)),
        ("load", 17, Value::Gauge(7.0)),
        ("load", 16, Value::Gauge(6.0)),
        ("load", 17, Value::Gauge(7.5)),
        ("time", 11, Value::Samples(&[1.0, 2.0])),
        ("time", 11, Value::Sketch(&sketch)),
        ("now", 40, count(1.0)),
    ] {
        assert_eq!(hand.put(name, second, value), Placed::InTime, "{name} {second}");
    }
    assert_eq!(hand.close(), "10: hits=11 load=7.5 time=3/7");
    assert_eq!(hand.close(), "20: hits=4");
    assert_eq!(hand.close(), "30:");
    assert_eq!(hand.close(), "40: now=1");
}

#[test]
fn whole_sketches_add_bin_by_bin() {
    let mut hand = Hand::new(PartRules::default());
    let mut whole = Sketch::default();
    for part in [[1.0, 5.0], [1.0, 9.0]] {
        let mut sketch = Sketch::default();
        for value in part {
            sketch.insert(value, 1.0);
            whole.insert(value, 1.0);
        }
        hand.put("time", 15, Value::Sketch(&sketch));
    }
    let bucket = hand.shard.close();
    assert!(bucket.distributions[0].sketch.bins().eq(whole.bins()));
    assert_eq!(bucket.distributions[0].sketch.sum(), 16.0);
}

#[test]
fn what_is_late_or_ahead_shifts_into_an_open_bucket() {
    let mut hand = Hand::new(PartRules::default());
    assert_eq!(hand.put("late", 9, count(1.0)), Placed::Late);
    assert_eq!(hand.put("old", -700, count(1.0)), Placed::Late);
    assert_eq!(hand.put("before", -(ZERO as i64) - 5, count(1.0)), Placed::Late);
    assert_eq!(hand.put("skew", 49, count(1.0)), Placed::InTime);
    assert_eq!(hand.put("ahead", 50, count(1.0)), Placed::Late);
    assert_eq!(hand.put("far", 5_000, count(1.0)), Placed::Late);
    assert_eq!(hand.close(), "10: late=1 old=1 before=1");
    assert_eq!(hand.put("late", 19, count(2.0)), Placed::Late);
    assert_eq!(hand.close(), "20: late=2");
    assert_eq!(hand.close(), "30:");
    assert_eq!(hand.close(), "40: skew=1 ahead=1 far=1");
}

#[test]
fn ten_minutes_are_old_even_where_the_bucket_is_open() {
    let state = RandomState::with_seeds(1, 2, 3, 4);
    let settings = TimedSettings { interval: 1_000, ..TimedSettings::default() };
    let now = SECOND(ZERO + 990);
    let shard = TimedShard::new(settings, Arc::default(), state, now);
    let mut hand = Hand { shard, now: ZERO + 990, misplaced: Misplaced::Shift };
    assert_eq!(hand.put("a", 390, count(1.0)), Placed::InTime);
    assert_eq!(hand.put("a", 389, count(1.0)), Placed::Late);
    assert_eq!(hand.close(), "0: a=2");
}

#[test]
fn a_gauge_that_is_ahead_does_not_outlast_what_comes_in_time() {
    let mut hand = Hand::new(PartRules::default());
    hand.put("g", 3_000, Value::Gauge(1.0));
    assert_eq!(hand.put("g", 40, Value::Gauge(2.0)), Placed::InTime);
    assert_eq!(hand.put("g", 9, Value::Gauge(3.0)), Placed::Late);
    assert_eq!(hand.put("g", 15, Value::Gauge(4.0)), Placed::InTime);
    assert_eq!(hand.put("g", 8, Value::Gauge(5.0)), Placed::Late);
    assert_eq!(hand.close(), "10: g=4");
    (0..2).for_each(|_| drop(hand.close()));
    assert_eq!(hand.close(), "40: g=2");
}

#[test]
fn the_highest_value_wins_whatever_its_second() {
    let mut hand = Hand::new(PartRules::default());
    assert_eq!(hand.put("h", 15, Value::Highest(-3.0)), Placed::InTime);
    assert_eq!(hand.put("h", 12, Value::Highest(-2.0)), Placed::InTime);
    assert_eq!(hand.put("h", 19, Value::Highest(-9.0)), Placed::InTime);
    assert_eq!(hand.put("late", 18, Value::Highest(3.0)), Placed::InTime);
    assert_eq!(hand.put("late", -40, Value::Highest(5.0)), Placed::Late);
    assert_eq!(hand.put("late", -40, Value::Highest(4.0)), Placed::Late);
    assert_eq!(hand.put("h", 15, Value::Highest(f64::NAN)), Placed::Dropped(DropReason::NonFinite));
    assert_eq!(hand.close(), "10: h=-2 late=5");
}

#[test]
fn points_may_keep_their_time_and_go_out_alone_with_the_next_bucket() {
    let mut hand = Hand::new(PartRules::default());
    hand.misplaced = Misplaced::KeepTime;
    assert_eq!(hand.put("a", 15, count(1.0)), Placed::InTime);
    assert_eq!(hand.put("a", 9, count(2.0)), Placed::Late);
    assert_eq!(hand.put("a", 9, count(3.0)), Placed::Late);
    assert_eq!(hand.put("a", -700, count(4.0)), Placed::Late);
    assert_eq!(hand.put("g", 8, Value::Gauge(1.0)), Placed::Late);
    assert_eq!(hand.put("g", 8, Value::Gauge(0.5)), Placed::Late);
    assert_eq!(hand.put("d", 7, Value::Samples(&[1.0, 2.0])), Placed::Late);
    assert_eq!(hand.put("a", 640, count(5.0)), Placed::Late);
    assert_eq!(hand.put("a", 641, count(5.0)), Placed::TooFarAhead);
    assert_eq!(hand.close(), "10: a=1 a@9=5 a@-700=4 g@8=0.5 a@640=5 d@7~1 d@7~2");
    assert_eq!(hand.close(), "20:");
}

#[test]
fn what_cannot_be_summed_is_dropped_and_makes_no_context() {
    let mut hand = Hand::new(PartRules::default());
    let dropped = Placed::Dropped(DropReason::NonFinite);
    for value in [
        count(f64::NAN),
        count(f64::INFINITY),
        Value::Gauge(f64::NAN),
        Value::Samples(&[1.0, f64::NAN]),
    ] {
        assert_eq!(hand.put("a", 15, value), dropped, "{value:?}");
    }
    assert_eq!(hand.shard.contexts().len(), 0);
    assert_eq!(hand.put("a", 15, count(f64::MAX)), Placed::InTime);
    assert_eq!(hand.put("a", 15, count(f64::MAX)), dropped);
    assert_eq!(hand.put("none", 15, Value::Samples(&[])), Placed::InTime);
    assert_eq!(hand.close(), format!("10: a={}", f64::MAX));
}

#[test]
fn tags_are_told_apart_whatever_bytes_they_hold() {
    let mut hand = Hand::new(PartRules::default());
    for tags in [&["a", "b"][..], &["ab"], &["a,b"], &["a,", "b"], &[]] {
        hand.put_tagged("n", tags, 15, count(1.0));
    }
    assert_eq!(hand.put_tagged("n", &["b", "a"], 15, count(10.0)), Placed::InTime);
    assert_eq!(hand.close(), "10: n#a|b=11 n#ab=1 n#a,b=1 n#a,|b=1 n=1");
}

#[test]
fn the_host_and_the_sender_are_part_of_what_is_remembered() {
    let mut hand = Hand::new(PartRules::default());
    for (host, origin) in [("", ""), ("h", ""), ("", "h"), ("h", "h")] {
        let part = TimedPart {
            name: b"n",
            tags: b"",
            tag_ends: &[],
            host: host.as_bytes(),
            origin: origin.as_bytes(),
            second: ZERO as i64 + 15,
            value: count(1.0),
        };
        hand.shard.put(&part, SECOND(hand.now), Misplaced::Shift);
    }
    // Nothing knows tags of senders here, so only the host makes a difference.
    assert_eq!((hand.shard.contexts().len(), hand.shard.contexts().aliases()), (2, 4));
}

#[test]
fn filters_and_limits_of_lines_hold() {
    let rules = Rules {
        name_filter: NameFilter::new(&["gone".to_owned()], false),
        limits: ContextLimits { contexts_max: 2, ..ContextLimits::default() },
        ..Rules::default()
    };
    let mut hand = Hand::new(PartRules { rules: Arc::new(rules), common_tags: Vec::new() });
    for _ in 0..2 {
        let filtered = Placed::Dropped(DropReason::Filtered);
        assert_eq!(hand.put("gone", 15, count(1.0)), filtered);
    }
    hand.put("a", 15, count(1.0));
    hand.put("b", 15, count(1.0));
    for tag in ["x", "y"] {
        assert_eq!(hand.put_tagged("a", &[tag], 15, count(2.0)), Placed::InTime);
        let limit = Placed::Dropped(DropReason::ContextLimit);
        assert_eq!(hand.put_tagged("g", &[tag], 15, Value::Gauge(2.0)), limit);
    }
    assert_eq!(hand.close(), "10: a=1 b=1 a#whippet.overflow:true=4");
}

#[test]
fn new_rules_decide_again_and_old_cells_stay() {
    let mut hand = Hand::new(PartRules::default());
    hand.put("n", 15, count(1.0));
    let common_tags = vec![Box::from(&b"env:x"[..])];
    hand.shard.set_rules(Arc::new(PartRules { common_tags, ..PartRules::default() }));
    hand.put("n", 15, count(2.0));
    hand.put_tagged("n", &["env:y"], 15, count(4.0));
    assert_eq!(hand.close(), "10: n=1 n#env:x=2 n#env:y=4");
}

#[test]
fn a_context_is_forgotten_only_when_no_open_bucket_needs_it() {
    let mut hand = Hand::new(PartRules::default());
    hand.put("a", 45, count(1.0));
    hand.put("a", 15, count(1.0));
    assert_eq!(hand.close(), "10: a=1");
    let mut seen = 0;
    for bucket in 2..12 {
        hand.now += 10;
        while hand.shard.sweep_some() {}
        let closed = hand.close();
        seen += usize::from(closed == "40: a=1");
        // 20 s after its last bucket, and one more because buckets are whole.
        let alive = hand.shard.contexts().len() == 1;
        assert_eq!(alive, bucket <= 6, "{closed}");
    }
    assert_eq!(seen, 1);
    hand.put("b", hand.now as i64 - ZERO as i64, count(1.0));
    let bucket = hand.shard.close();
    assert_eq!((bucket.births.len(), bucket.deaths.len()), (1, 0));
}

#[test]
fn a_short_memory_costs_precision_and_no_count() {
    let state = RandomState::with_seeds(1, 2, 3, 4);
    let memory = Arc::new(MemoryLimit::new(4_096));
    let settings = TimedSettings { memory: Arc::clone(&memory), ..TimedSettings::default() };
    let shard = TimedShard::new(settings, Arc::default(), state, SECOND(ZERO + 40));
    let mut hand = Hand { shard, now: ZERO + 40, misplaced: Misplaced::Shift };
    let mut sketch = Sketch::default();
    (1..=2_000).for_each(|value| assert!(sketch.insert(f64::from(value).powi(3), 1.0)));
    for number in 0..20 {
        hand.put(&format!("d{number}"), 15, Value::Sketch(&sketch));
    }
    let bucket = hand.shard.close();
    assert!(bucket.distributions.iter().all(|cell| cell.sketch.count() == 2_000));
    assert!(bucket.distributions.iter().any(|cell| cell.sketch.is_coarse()));
    drop(bucket);
    assert_eq!(memory.bytes_used(), 0);
}

#[test]
fn a_jump_of_the_clock_skips_what_is_empty_and_nothing_else() {
    let mut hand = Hand::new(PartRules::default());
    hand.put("a", 45, count(1.0));
    hand.shard.skip_to(ZERO + 10_000);
    assert_eq!(hand.shard.first_open(), ZERO + 40);
    assert_eq!(hand.close(), "40: a=1");
    hand.shard.skip_to(ZERO + 10_000);
    assert_eq!(hand.shard.first_open(), ZERO + 10_000);
    hand.shard.skip_to(ZERO);
    assert_eq!(hand.shard.first_open(), ZERO + 10_000);
}
