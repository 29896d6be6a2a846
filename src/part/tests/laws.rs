//! Merging in any order and grouping, with encoding in between or without, gives the same bits.

use ahash::RandomState;
use proptest::prelude::*;

use super::*;
use crate::context::Kind;

fn state() -> RandomState {
    RandomState::with_seeds(1, 2, 3, 4)
}

fn merged(parts: impl IntoIterator<Item = Part>) -> Merged {
    let mut merged = Merged::new(limits().set_members_max, state());
    let mut keys = KeyPool::new(state());
    for part in parts {
        merged.merge(part, &mut keys);
    }
    merged
}

/// What a merged interval says, series by series, in the order of their keys.
fn words(merged: &Merged) -> Vec<String> {
    let word = |series: MergedSeries<'_>| {
        let value = match series.value {
            Value::Counter(sum) => format!("{:?}", sum.value()),
            Value::Gauge(value) => format!("{value:?}"),
            Value::Set(set) => format!("{} {}", set.count(), set.is_estimated()),
            Value::Histogram(histogram) => {
                let mut sorted = histogram.clone();
                sorted.sort();
                let past: Vec<f64> = (0..9).map(|rank| sorted.value_past(rank * 17)).collect();
                format!("{:?} {past:?} {}", sorted.summary(), sorted.is_folded())
            }
        };
        let (key, kind, sender) = (series.key, series.kind(), series.sender[0]);
        let (stamp, conflicts) = (series.stamp, series.type_conflicts);
        format!("{key:?} {kind:?} {stamp} {sender} {conflicts} {:?} {value}", series.style)
    };
    let mut words: Vec<String> = merged.iter().map(word).collect();
    words.sort();
    words
}

/// A merged interval as parts of one more process, kind by kind of each series.
fn as_parts(merged: &Merged) -> Vec<Part> {
    // Rows of one stamp and sender go together, as a part has one sender.
    let (mut packer, mut parts) = (Packer::new(), Vec::new());
    merged.every_kind(|series| {
        let mut writer = PartWriter::new(Head { sender: series.sender, ..head(0) });
        let pushed = writer.push(series.key, series.stamp, series.style, series.value, &mut packer);
        parts.extend(pushed.expect("it fits"));
        parts.extend(writer.finish(&mut packer));
    });
    parts.into_iter().map(|record| part(&record.bytes)).collect()
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-9..9_i32).prop_map(f64::from),
        4 => -1e3..1e3_f64,
        1 => Just(0.1),
        1 => any::<f64>().prop_filter("finite", |value| value.is_finite()),
        1 => prop_oneof![Just(1e308), Just(-1e308), Just(f64::MAX), Just(5e-324), Just(-0.0)],
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let sample = (-1e9..1e9_f64, prop_oneof![3 => Just(1.0), 1 => 1.0..9.0_f64]);
    let samples = prop_oneof![
        4 => prop::collection::vec(sample.clone(), 0..4),
        1 => prop::collection::vec(sample, 300..1_200),
    ];
    prop_oneof![
        4 => float().prop_map(|value| Value::Counter(Sum::from(value))),
        2 => float().prop_map(Value::Gauge),
        2 => prop::collection::vec(0..130_u64, 0..90).prop_map(|members| set(members.into_iter())),
        1 => (0..300_u64, 0..300_u64).prop_map(|(from, more)| set(from..from + more)),
        2 => samples.prop_map(|samples| histogram(samples.into_iter())),
    ]
}

fn some_part() -> impl Strategy<Value = Part> {
    let cell = (0..3_u8, 0..4_u32, 0..3_u32, value());
    let cells = prop::collection::vec(cell, 1..6).prop_map(|cells| {
        let cell = |(name, stamp, style, value)| Cell {
            key: key(&format!("m{name},env:prod")),
            stamp,
            style,
            value,
        };
        cells.into_iter().map(cell).collect::<Vec<_>>()
    });
    (0..3_u8, cells).prop_map(|(sender, cells)| {
        let styles = vec![
            Style { unit: "byte".to_owned(), ..Style::default() },
            Style { percentiles: vec![0.5], ..Style::default() },
        ];
        Part { head: Head { styles, cells: cells.len() as u32, ..head(sender) }, cells }
    })
}

/// The part as its bytes say.
fn through_bytes(part: &Part) -> Vec<Part> {
    let (mut writer, mut packer) = (PartWriter::new(part.head.clone()), Packer::new());
    let mut parts = Vec::new();
    for Cell { key, stamp, style, value } in &part.cells {
        let place = (*style as usize).checked_sub(1);
        let style = place.map_or_else(Style::default, |place| part.head.styles[place].clone());
        parts.extend(writer.push(key, *stamp, &style, value, &mut packer).expect("it fits"));
    }
    parts.extend(writer.finish(&mut packer));
    parts.iter().map(|record| super::part(&record.bytes)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_order_grouping_or_encoding_shows(
        parts in prop::collection::vec(some_part(), 1..7),
        order in any::<u64>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = words(&merged(parts.clone()));
        // Another order, each part through its bytes.
        let mut shuffled: Vec<(u64, Part)> = parts
            .iter()
            .enumerate()
            .map(|(at, part)| (Set::hash_of(&(order ^ at as u64).to_le_bytes()), part.clone()))
            .collect();
        shuffled.sort_by_key(|(place, _)| *place);
        let shuffled: Vec<Part> = shuffled.into_iter().map(|(_, part)| part).collect();
        prop_assert_eq!(&words(&merged(shuffled.iter().flat_map(through_bytes))), &whole);
        // Two groups, merged apart, written as parts and merged again.
        let cut = cut.index(shuffled.len());
        let (left, right) = shuffled.split_at(cut);
        let (left, right) = (as_parts(&merged(left.to_vec())), as_parts(&merged(right.to_vec())));
        prop_assert_eq!(&words(&merged(left.iter().cloned().chain(right.clone()))), &whole);
        prop_assert_eq!(&words(&merged(right.into_iter().chain(left))), &whole);
    }

    /// What does not add up is not changed by what came twice.
    #[test]
    fn gauges_and_sets_may_come_twice(parts in prop::collection::vec(some_part(), 1..6)) {
        let only = |kinds: &[Kind]| -> Vec<Part> {
            let keep = |part: &Part| {
                let cells = part.cells.iter();
                let cells = cells.filter(|cell| kinds.contains(&cell.value.kind())).cloned();
                Part { head: part.head.clone(), cells: cells.collect() }
            };
            parts.iter().map(keep).collect()
        };
        let parts = only(&[Kind::Gauge, Kind::Set]);
        let twice = merged(parts.iter().chain(parts.iter().rev()).cloned());
        prop_assert_eq!(words(&twice), words(&merged(parts)));
    }
}

fn one(sender: u8, cells: Vec<(&str, u32, Value)>) -> Part {
    let cells: Vec<Cell> = cells
        .into_iter()
        .map(|(name, stamp, value)| Cell { key: key(name), stamp, style: 0, value })
        .collect();
    Part { head: Head { cells: cells.len() as u32, ..head(sender) }, cells }
}

#[test]
fn of_two_kinds_the_later_write_is_posted_and_the_others_are_counted() {
    let counter = |stamp| ("a", stamp, Value::Counter(Sum::from(1.0)));
    let gauge = |stamp| ("a", stamp, Value::Gauge(5.0));
    let parts = [
        one(1, vec![counter(10), gauge(20)]),
        one(2, vec![counter(30)]),
        one(3, vec![("a", 5, set(0..3))]),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let merged = merged(order.map(|at: usize| parts[at].clone()));
        let series = merged.series(&key("a")).expect("it came");
        assert_eq!((series.kind(), series.stamp, series.sender), (Kind::Counter, 30, [2; 16]));
        assert_eq!(series.value, &Value::Counter(Sum::from(2.0)), "of both senders");
        assert_eq!(series.type_conflicts, 2);
    }
    // At one moment the larger sender wins, and of one sender always the same kind.
    for parts in [
        [one(1, vec![counter(9)]), one(2, vec![gauge(9)])],
        [one(2, vec![gauge(9)]), one(1, vec![counter(9)])],
    ] {
        let merged = merged(parts);
        assert_eq!(merged.series(&key("a")).expect("it came").kind(), Kind::Gauge);
    }
}

#[test]
fn a_part_says_which_series_it_touched_each_once() {
    let mut merged = Merged::new(100, state());
    let mut keys = KeyPool::new(state());
    let gauge = |name| (name, 1, Value::Gauge(1.0));
    assert_eq!(merged.merge(one(1, vec![gauge("a"), gauge("b"), gauge("a")]), &mut keys), [0, 1]);
    assert_eq!(merged.merge(one(2, vec![gauge("c"), gauge("b")]), &mut keys), [2, 1]);
    assert_eq!(merged.merge(one(2, vec![]), &mut keys), [0_u32; 0]);
    let name = |number| merged.series_at(number).map(|series| series.key.clone());
    assert_eq!([0, 1, 2, 3].map(name), [Some(key("a")), Some(key("b")), Some(key("c")), None]);
    assert_eq!((merged.len(), merged.number_of(&key("c")), keys.len()), (3, Some(2), 3));
    assert!(merged.series(&key("d")).is_none());
}

#[test]
fn intervals_share_their_keys() {
    let mut keys = KeyPool::new(state());
    let mut intervals = [Merged::new(100, state()), Merged::new(100, state())];
    for interval in &mut intervals {
        interval.merge(one(1, vec![("a", 1, Value::Gauge(1.0))]), &mut keys);
    }
    let bytes = |merged: &Merged| merged.series_at(0).map(|series| series.key.as_bytes().as_ptr());
    assert_eq!(bytes(&intervals[0]), bytes(&intervals[1]));
    drop(intervals);
    keys.sweep();
    assert!(keys.is_empty());
}

#[test]
fn a_series_costs_little_more_than_its_key_and_value() {
    let mut merged = Merged::new(100, state());
    let mut keys = KeyPool::new(state());
    let names: Vec<String> =
        (0..50_000).map(|n| format!("shop.requests.{n},env:prod,service:web")).collect();
    let cells = |names: &[String]| {
        one(1, names.iter().map(|name| (&**name, 1, Value::Counter(Sum::from(1.0)))).collect())
    };
    merged.merge(cells(&names), &mut keys);
    let (ours, with_keys) = (merged.heap_bytes(), merged.heap_bytes() + keys.heap_bytes());
    assert!(ours / names.len() < 120, "{}", ours / names.len());
    assert!(with_keys / names.len() < 300, "{}", with_keys / names.len());
    // What grows is counted: samples, then what samples fold into.
    let before = merged.heap_bytes();
    let samples = || histogram((0..500).map(|n| (f64::from(n), 1.0)));
    for _ in 0..3 {
        merged.merge(one(2, vec![("h", 1, samples())]), &mut keys);
    }
    assert!(merged.heap_bytes() > before + 1_000);
    let folded = merged.heap_bytes();
    merged.merge(one(2, vec![("h", 1, samples())]), &mut keys);
    assert_eq!(merged.heap_bytes(), folded, "the same bins");
}
