use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn sketch(values: &[(f64, f64)]) -> Sketch {
    let mut sketch = Sketch::default();
    for (value, rate) in values {
        assert!(sketch.insert(*value, *rate), "{value} at {rate}");
    }
    sketch
}

/// `summary` is count, min, max, sum, avg.
#[track_caller]
fn sums_up(values: &[(f64, f64)], summary: (u64, f64, f64, f64, f64), bins: &[(i16, u32)]) {
    let sketch = sketch(values);
    let (count, min, max, sum, avg) = summary;
    assert_eq!((sketch.count(), sketch.min(), sketch.max()), (count, min, max));
    assert!((sketch.sum() - sum).abs() <= 1e-12 * sum.abs(), "sum {}", sketch.sum());
    assert!((sketch.avg() - avg).abs() <= 1e-12 * avg.abs(), "avg {}", sketch.avg());
    assert_eq!(sketch.bins().collect::<Vec<_>>(), bins);
}

#[test]
fn inserts_read_as_in_the_agent() {
    sums_up(
        &[(1.0, 1.0), (2.0, 1.0), (2.0, 1.0), (10.0, 1.0)],
        (4, 1.0, 10.0, 15.0, 3.75),
        &[(1338, 1), (1383, 2), (1487, 1)],
    );
    sums_up(&[(2.0, 0.3)], (3, 2.0, 2.0, 2.0 / 0.3, 2.0), &[(1383, 3)]);
    sums_up(&[(5.0, 0.5), (7.0, 1.0)], (3, 5.0, 7.0, 17.0, 17.0 / 3.0), &[(1442, 2), (1464, 1)]);
    sums_up(
        &[(0.0, 1.0), (-1.0, 1.0), (1.0, 1.0), (1e-10, 1.0)],
        (4, -1.0, 1.0, 1e-10, 2.5e-11),
        &[(-1338, 1), (0, 2), (1338, 1)],
    );
}

#[test]
fn a_rate_outside_its_range_counts_as_one() {
    for rate in [0.0, -0.5, 1.5, f64::NAN, f64::INFINITY] {
        sums_up(&[(5.0, rate)], (1, 5.0, 5.0, 5.0, 5.0), &[(1442, 1)]);
    }
}

#[test]
fn what_would_not_be_finite_is_refused_and_changes_nothing() {
    let mut sketch = sketch(&[(f64::MAX, 1.0)]);
    let before = sketch.clone();
    for (value, rate) in [
        (f64::NAN, 1.0),
        (f64::INFINITY, 1.0),
        (f64::NEG_INFINITY, 0.5),
        (f64::MAX, 1.0),
        (1e300, 1e-9),
        (0.0, 1e-320),
        (-f64::MAX, 1.0),
    ] {
        assert!(!sketch.insert(value, rate), "{value} at {rate}");
        assert_eq!(sketch, before);
    }
}

#[test]
fn merged_sums_stay_finite() {
    let mut left = sketch(&[(f64::MAX, 1.0)]);
    left.merge(&left.clone());
    assert_eq!((left.count(), left.sum(), left.avg()), (2, f64::MAX, f64::MAX));
}

/// What is written adds up to the count.
#[track_caller]
fn adds_up(sketch: &Sketch) {
    let bins: Vec<_> = sketch.bins().collect();
    assert!(bins.len() <= BINS_MAX);
    assert_eq!(bins.iter().map(|(_, count)| u64::from(*count)).sum::<u64>(), sketch.count());
}

#[test]
fn a_count_past_what_bins_can_hold_is_refused_and_the_bins_add_up() {
    let mut whole = Sketch::default();
    assert!(!whole.insert(1.0, 1e-20) && !whole.insert(1.0, 1e-300));
    assert!(whole.is_empty());
    assert!(whole.insert(1.0, 1.0));
    let weight = f64::from(1 << 30);
    let fit = (COUNT_MAX - 1) / weight as u64;
    (0..fit).for_each(|_| assert!(whole.insert(2.0, 1.0 / weight)));
    assert!(!whole.insert(2.0, 1.0 / weight));
    assert_eq!(whole.count(), fit * weight as u64 + 1);
    adds_up(&whole);
    assert!(whole.avg() <= whole.max());
    let before = whole.clone();
    assert!(!whole.merge(&before), "left out");
    assert_eq!(whole, before);
}

#[test]
fn an_empty_sketch_holds_nothing_and_a_cleared_one_keeps_its_room() {
    let mut cleared = sketch(&[(1.0, 1.0), (2.0, 0.1)]);
    let room = cleared.heap_bytes();
    assert!((1..=16).contains(&room), "small at birth: {room}");
    cleared.clear();
    assert!(cleared.is_empty() && cleared.heap_bytes() == room);
    assert_eq!(cleared, Sketch::default());
    assert_eq!(Sketch::default().bins().count(), 0);
    assert_eq!(Sketch::default().quantile(0.5), None);
    assert_eq!(size_of::<Sketch>(), 96, "the number at the top of the file");
}

#[test]
fn an_empty_side_leaves_the_other_as_it_is() {
    let full = sketch(&[(-3.0, 1.0), (4.0, 0.25)]);
    let mut left = full.clone();
    left.merge(&Sketch::default());
    assert_eq!(left, full);
    let mut left = Sketch::default();
    left.merge(&full);
    assert_eq!(left, full);
}

#[track_caller]
fn estimates(values: &[f64], q: f64, expect: f64) {
    let mut sketch = Sketch::default();
    values.iter().for_each(|value| assert!(sketch.insert(*value, 1.0)));
    let got = sketch.quantile(q).unwrap();
    assert!((got - expect).abs() <= 1e-9 * expect.abs(), "q {q}: {got}, not {expect}");
}

#[test]
fn quantiles_interpolate_inside_a_bin() {
    let gamma = key::GAMMA;
    estimates(&[1.0, 2.0, 2.0, 10.0], 0.0, 1.0);
    estimates(&[1.0, 2.0, 2.0, 10.0], 1.0, 10.0);
    // want 2 of cumulative 3: one of the two in the bin is left, halfway up from its lower bound.
    let low = key::lower_bound(1383);
    estimates(&[1.0, 2.0, 2.0, 10.0], 0.5, low * 0.5 + low * gamma * 0.5);
    estimates(&[5.0], 0.5, 5.0);
    estimates(&[0.0, 0.0, 0.0], 0.5, 0.0);
}

/// Keys in a map, sums in order: the sketch without buffer, bins and merge.
#[derive(Default)]
struct Twin {
    bins: BTreeMap<i16, u64>,
    values: Vec<f64>,
}

impl Twin {
    fn insert(&mut self, value: f64, rate: f64) {
        let weight = if rate > 0.0 && rate < 1.0 { (1.0 / rate) as u64 } else { 1 };
        *self.bins.entry(key::key(value)).or_default() += weight;
        self.values.push(value);
    }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.001..1e4_f64,
        2 => -1e6..1e6_f64,
        1 => Just(0.0),
        // Small enough to add up.
        1 => any::<f64>().prop_map(|v| v % 1e200),
    ]
}

fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![5 => Just(1.0), 1 => 0.01..1.0_f64]
}

fn samples() -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec((value(), rate()), 0..1500)
}

fn near(left: f64, right: f64, scale: f64) -> bool {
    (left - right).abs() <= 1e-9 * scale.abs() + f64::MIN_POSITIVE
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bins_are_those_of_a_plain_map(samples in samples()) {
        let mut twin = Twin::default();
        samples.iter().for_each(|(value, rate)| twin.insert(*value, *rate));
        let sketch = sketch(&samples);
        let bins: Vec<_> = sketch.bins().map(|(key, count)| (key, u64::from(count))).collect();
        prop_assert_eq!(bins, twin.bins.into_iter().collect::<Vec<_>>());
        if let Some(min) = twin.values.iter().copied().reduce(f64::min) {
            prop_assert_eq!(sketch.min(), min);
            prop_assert_eq!(sketch.max(), twin.values.into_iter().fold(min, f64::max));
        }
    }

    #[test]
    fn without_room_a_sketch_is_coarse_and_still_adds_up(
        samples in samples(),
        bytes_max in 0..2_000_usize,
    ) {
        let limit = std::sync::Arc::new(crate::memory::MemoryLimit::new(bytes_max));
        let mut memory = MemoryShare::of(&limit);
        let (mut whole, mut tight) = (sketch(&samples), Sketch::default());
        for (value, rate) in &samples {
            prop_assert!(tight.insert_within(*value, *rate, &mut memory));
        }
        prop_assert_eq!((tight.count(), tight.sum()), (whole.count(), whole.sum()));
        prop_assert_eq!((tight.min(), tight.max()), (whole.min(), whole.max()));
        adds_up(&tight);
        // Eight bins are free, and with the first byte of room one key may wait.
        prop_assert!(tight.heap_bytes() <= 2 * bytes_max + 8 * 8 + 4);
        prop_assert!(tight.bins().is_sorted());
        whole.merge(&tight);
        adds_up(&whole);
        prop_assert_eq!(whole.is_coarse(), tight.is_coarse());
    }

    #[test]
    fn merging_in_any_grouping_agrees(a in samples(), b in samples(), c in samples()) {
        let whole = sketch(&[a.clone(), b.clone(), c.clone()].concat());
        let (a, b, c) = (sketch(&a), sketch(&b), sketch(&c));
        let mut left = a.clone();
        left.merge(&b);
        left.merge(&c);
        let mut inner = c.clone();
        inner.merge(&b);
        let mut right = inner;
        right.merge(&a);
        let scale = whole.min().abs().max(whole.max().abs()) * whole.count() as f64;
        for merged in [&left, &right] {
            prop_assert_eq!(merged.count(), whole.count());
            prop_assert_eq!((merged.min(), merged.max()), (whole.min(), whole.max()));
            prop_assert!(near(merged.sum(), whole.sum(), scale));
            prop_assert!(near(merged.avg(), whole.avg(), scale));
            prop_assert!(merged.bins().eq(whole.bins()));
        }
    }

    #[test]
    fn the_median_of_positive_values_is_within_two_percent(
        mut values in prop::collection::vec(1e-6..1e9_f64, 1..800),
    ) {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| assert!(sketch.insert(*value, 1.0)));
        values.sort_by(f64::total_cmp);
        let rank = (0.5 * (values.len() - 1) as f64).round_ties_even() as usize;
        let (got, exact) = (sketch.quantile(0.5).unwrap(), values[rank]);
        prop_assert!(((got - exact) / exact).abs() < 0.02, "{} for {}", got, exact);
    }
}

#[test]
fn bins_counted_elsewhere_make_the_sketch_of_their_values() {
    let values = [(1.0, 1.0), (2.0, 1.0), (2.0, 1.0), (10.0, 1.0)];
    let inserted = sketch(&values);
    let bins = inserted.bins().map(|(key, count)| (key, u64::from(count))).collect::<Vec<_>>();
    let same = Sketch::from_bins(bins.clone(), 15.0, 1.0, 10.0).expect("a sketch");
    assert_eq!(same, inserted);
    let parts = bins.iter().rev().flat_map(|(key, count)| vec![(*key, 1); *count as usize]);
    assert_eq!(Sketch::from_bins(parts, 15.0, 1.0, 10.0), Some(inserted.clone()));
    // Estimated bounds hold the average.
    let narrow = Sketch::from_bins([(1338, 2), (0, 0)], 2.2, 1.0, 1.0).expect("a sketch");
    assert_eq!((narrow.min(), narrow.max(), narrow.avg()), (1.0, 1.1, 1.1));
    let low = Sketch::from_bins([(1338, 2)], 1.8, 1.0, 1.0).expect("a sketch");
    assert_eq!((low.min(), low.max()), (0.9, 1.0));
    assert_eq!(Sketch::from_bins([(7, 0)], 5.0, 1.0, 1.0), Some(Sketch::default()));
    for (sum, min, max) in [(f64::NAN, 1.0, 1.0), (1.0, f64::INFINITY, 1.0), (1.0, 1.0, f64::NAN)] {
        assert_eq!(Sketch::from_bins([(1338, 1)], sum, min, max), None);
    }
    assert!(Sketch::from_bins([(1338, COUNT_MAX)], 1.0, 1.0, 1.0).is_some());
    assert_eq!(Sketch::from_bins([(1338, COUNT_MAX), (1, 1)], 1.0, 1.0, 1.0), None);
    assert_eq!(Sketch::from_bins([(1338, u64::MAX), (1, 1)], 1.0, 1.0, 1.0), None);
}
