use proptest::prelude::*;
use std::collections::BTreeMap;

use super::*;
use crate::ddsketch::message::IndexMapping;
use crate::sketch::key_of;

/// The mapping of libdatadog, Python and .NET.
const LIBDATADOG: &str = "0a1209000000000040f03f110000000000ea9440";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

fn libdatadog(rest: &str) -> Vec<u8> {
    hex(&format!("{LIBDATADOG}{rest}"))
}

/// What a body with these bytes holds, in the unit of the client.
#[track_caller]
fn reads(bytes: &[u8], bins: &[(i16, u32)]) -> Sketch {
    let sketch = DdSketch::read_positive(bytes, Rounding::Down).expect("a sketch");
    let sketch = recode(&sketch, Unit::One).expect("a sketch");
    assert_eq!(sketch.bins().collect::<Vec<_>>(), bins);
    sketch
}

#[track_caller]
fn refuses(message: &Message, expected: &str) {
    let error = DdSketch::read(&message.encode_to_vec(), Rounding::Down).expect_err("refused");
    assert!(error.to_string().contains(expected), "{error}");
}

fn message(gamma: f64, index_offset: f64, interpolation: i32, bins: &[(i32, f64)]) -> Message {
    let bin_counts = bins.iter().copied().collect();
    Message {
        mapping: Some(IndexMapping { gamma, index_offset, interpolation }),
        positive: Some(Store { bin_counts, ..Store::default() }),
        ..Message::default()
    }
}

#[test]
fn sketches_recorded_from_clients_keep_their_bins() {
    reads(&[], &[]);
    reads(&libdatadog("12001a00"), &[]);
    let one = reads(&libdatadog("120d1208000000000000f03f18f4141a00"), &[(1338, 1)]);
    assert!((one.sum() - 1.0).abs() < 0.0078 && one.min() == one.max(), "{one:?}");
    let gap =
        "12251220000000000000f03f 0000000000000000 0000000000000000 000000000000f03f 18f414 1a00";
    reads(&libdatadog(gap), &[(1338, 1), (1341, 1)]);
    let zero = reads(
        &libdatadog("120d1208000000000000004018ce15 1a00 21000000000000f03f"),
        &[(0, 1), (1383, 2)],
    );
    assert_eq!((zero.count(), zero.min()), (3, 0.0));
    assert!((zero.max() / 2.0 - 1.0).abs() < 0.0078);
}

#[test]
fn bins_of_libdatadog_are_our_keys() {
    for (value, bin) in [(1.0, 1338), (0.001, 892), (1.5, 1364), (7.0, 1464), (9.0, 1480)]
        .into_iter()
        .chain([(250.0, 1694), (1e6, 2229), (1e-9, 1)])
    {
        assert_eq!(key_of(value), bin, "{value}");
    }
    // Every one, in one sketch: number by number.
    let bins: Vec<(i32, f64)> = (1..=4000).map(|bin| (bin, f64::from(bin % 7 + 1))).collect();
    let bytes = message(1.015625, 1338.5, 0, &bins).encode_to_vec();
    let keys: Vec<(i16, u32)> = bins.iter().map(|(bin, n)| (*bin as i16, *n as u32)).collect();
    reads(&bytes, &keys);
}

#[test]
fn a_store_comes_as_a_map_as_a_row_and_not_packed() {
    let expect = [(1338, 1), (1341, 2)];
    let map = "0a0c 08f414 11000000000000f03f 0a0c 08fa14 110000000000000040";
    reads(&libdatadog(&format!("121c {map}")), &expect);
    let loose =
        "11000000000000f03f 110000000000000000 110000000000000000 110000000000000040 18f414";
    reads(&libdatadog(&format!("1227 {loose}")), &expect);
    // Both parts of a store add up.
    let both = format!("1229 {map} 1208000000000000f03f 18f614");
    reads(&libdatadog(&both), &[(1338, 1), (1339, 1), (1341, 2)]);
}

#[test]
fn a_writer_that_rounds_up_means_lower_values() {
    // dd-trace-js: 128 counts from bin 778, one of them 1; the zeros are no bins.
    let mut body = hex("0a1409fd4a815abf52f03f1100000000000000001800 128608 128008");
    for place in 0..128 {
        body.extend(if place == 100 { 1.0_f64 } else { 0.0 }.to_le_bytes());
    }
    body.extend(hex("18940c 1a021800 210000000000000000"));
    let value = |rounding| {
        let sketch = DdSketch::read_positive(&body, rounding).expect("a sketch");
        let sketch = recode(&sketch, Unit::Nanoseconds).expect("a sketch");
        assert_eq!(sketch.count(), 1);
        sketch.sum()
    };
    let expect = |bin: f64| (bin * 1.02020202020202_f64.ln()).exp() * 1.01 * 1e-9;
    assert!((value(Rounding::Up) / expect(877.0) - 1.0).abs() < 1e-9);
    assert!((value(Rounding::Down) / expect(878.0) - 1.0).abs() < 1e-9);
}

#[test]
fn counts_with_fractions_are_rounded_as_a_whole() {
    let halves: Vec<(i32, f64)> = (1000..1100).map(|bin| (bin, 0.4)).collect();
    let mut fractions = message(1.015625, 1338.5, 0, &halves);
    fractions.zero_count = 0.4;
    let sketch = DdSketch::read(&fractions.encode_to_vec(), Rounding::Down).expect("a sketch");
    let sketch = recode(&sketch, Unit::One).expect("a sketch");
    assert_eq!(sketch.count(), 40);
    assert_eq!(sketch.bins().map(|(_, n)| n).sum::<u32>(), 40);
    let nearly_none = message(1.015625, 1338.5, 0, &[(1338, 0.4)]).encode_to_vec();
    assert!(reads(&nearly_none, &[]).is_empty());
}

#[test]
fn several_sketches_make_one_with_a_known_sum() {
    let read =
        |rest: &str| DdSketch::read_positive(&libdatadog(rest), Rounding::Down).expect("valid");
    // The sketches of one group of ddtrace 3.10.2: 3 hits, 61.230343 ms in all.
    let ok = read("1215 1210 0000000000000040 000000000000f03f 18ee25 1a00");
    let error = read("12001a00");
    let mut recoding = Recoding::default();
    recoding.add(&ok, Unit::Nanoseconds);
    recoding.add(&error, Unit::Nanoseconds);
    assert_eq!(recoding.count(), 3);
    let sketch = recoding.sketch(Some(0.061230343)).expect("a sketch");
    assert_eq!((sketch.count(), sketch.sum()), (3, 0.061230343));
    assert!((sketch.min() / 0.0202 - 1.0).abs() < 0.014, "{}", sketch.min());
    assert!(sketch.min() <= sketch.avg() && sketch.avg() <= sketch.max());
    let estimated = recoding.sketch(None).expect("a sketch");
    assert!((estimated.sum() / 0.061230343 - 1.0).abs() < 0.0078);
    recoding.clear();
    assert_eq!(recoding.sketch(None).expect("empty"), Sketch::default());
    // Outer bins alone would not hold the average of a sum that is known.
    recoding.add(&ok, Unit::Nanoseconds);
    let wide = recoding.sketch(Some(3.0)).expect("a sketch");
    assert_eq!((wide.avg(), wide.max()), (1.0, 1.0));
}

#[test]
fn negative_values_have_negative_keys_where_they_may_be() {
    let mut both = message(1.015625, 1338.5, 0, &[(1338, 2.0)]);
    both.negative = Some(Store { bin_counts: BTreeMap::from([(1383, 1.0)]), ..Store::default() });
    let bytes = both.encode_to_vec();
    let sketch = DdSketch::read(&bytes, Rounding::Down).expect("a sketch");
    let sketch = recode(&sketch, Unit::One).expect("a sketch");
    assert_eq!(sketch.bins().collect::<Vec<_>>(), [(-1383, 1), (1338, 2)]);
    assert!(sketch.min() < -1.98 && sketch.max() > 0.99);
    let refused = DdSketch::read_positive(&bytes, Rounding::Down).expect_err("negative");
    assert!(refused.to_string().contains("no negative values"));
    // An empty store, or one of zeros, holds none.
    both.negative = Some(Store { contiguous_bin_counts: vec![0.0; 3], ..Store::default() });
    DdSketch::read_positive(&both.encode_to_vec(), Rounding::Down).expect("no negative values");
}

#[test]
fn what_no_client_can_mean_is_refused() {
    let good = || message(1.015625, 1338.5, 0, &[(1338, 1.0)]);
    DdSketch::read(&good().encode_to_vec(), Rounding::Down).expect("valid");
    for gamma in [1.0, 0.5, 0.0, -1.5, 2.0000001, f64::NAN, f64::INFINITY] {
        refuses(&message(gamma, 0.0, 0, &[]), "gamma");
    }
    for offset in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refuses(&message(1.015625, offset, 0, &[]), "offset");
    }
    for interpolation in [2, 3, 4, -1] {
        refuses(&message(1.015625, 0.0, interpolation, &[]), "interpolation");
    }
    for count in [-1.0, f64::NAN, f64::NEG_INFINITY] {
        refuses(&message(1.015625, 1338.5, 0, &[(1338, count)]), "below 0");
        refuses(&Message { zero_count: count, ..good() }, "below 0");
    }
    for count in [f64::INFINITY, 9_007_199_254_740_994.0] {
        refuses(&message(1.015625, 1338.5, 0, &[(1338, count)]), "2^53");
        refuses(&Message { zero_count: count, ..good() }, "2^53");
    }
    refuses(&message(1.015625, 1338.5, 0, &[(1, 9e15), (2, 9e15)]), "2^53");
    for bin in [i32::MIN, -50_000, 50_000, i32::MAX] {
        refuses(&message(1.015625, 1338.5, 0, &[(bin, 1.0)]), "1e-300");
        // Of a bin that counts nothing the place does not matter.
        let empty = message(1.015625, 1338.5, 0, &[(bin, 0.0)]).encode_to_vec();
        DdSketch::read(&empty, Rounding::Down).expect("empty");
    }
    refuses(&message(1.015625, 1e300, 0, &[(1, 1.0)]), "1e-300");
    refuses(&message(1.5, -1e9, 1, &[(1, 1.0)]), "1e-300");
    refuses(&Message { mapping: None, ..good() }, "a mapping");
    for bytes in [&b"\xff"[..], b"\x0a\x12\x09", b"secret"] {
        let error = DdSketch::read(bytes, Rounding::Down).expect_err("no message");
        assert_eq!(error.to_string(), "a sketch: expected a protobuf message DDSketch");
    }
    let row = |bins: usize| {
        let positive = Store { contiguous_bin_counts: vec![0.0; bins], ..Store::default() };
        Message { positive: Some(positive), ..good() }
    };
    DdSketch::read(&row(BINS_MAX).encode_to_vec(), Rounding::Down).expect("as many as allowed");
    refuses(&row(BINS_MAX + 1), "65536");
    // So long that it is not even read: it is no message at all.
    let error = DdSketch::read(&vec![0xff; BYTES_MAX + 1], Rounding::Down).expect_err("too long");
    assert!(error.to_string().contains("65536"));
    // More values than our own sketch counts.
    let many = message(1.015625, 1338.5, 0, &[(1338, 9e15)]).encode_to_vec();
    let many = DdSketch::read(&many, Rounding::Down).expect("valid");
    assert!(recode(&many, Unit::One).is_err());
}

#[test]
fn sketches_of_one_mapping_add_up_and_others_stay_apart() {
    let read = |message: &Message, rounding| {
        DdSketch::read(&message.encode_to_vec(), rounding).expect("valid")
    };
    let down = |message: &Message| read(message, Rounding::Down);
    let bins = |sketch: &DdSketch| {
        let mut bins: Vec<(i64, f64)> =
            sketch.message.positive.iter().flat_map(|store| store.bins()).collect();
        bins.sort_by_key(|(bin, _)| *bin);
        bins
    };
    let ours = |bins: &[(i32, f64)]| message(1.015625, 1338.5, 0, bins);
    let mut sum = down(&ours(&[]));
    assert!(sum.is_empty());
    let zeros = Message { zero_count: 2.0, ..ours(&[(1338, 1.0)]) };
    for next in
        [&zeros, &ours(&[]), &ours(&[(1338, 2.0), (1341, 1.0)]), &ours(&[(1340, 4.0)]), &zeros]
    {
        assert!(sum.merge(&down(next)));
    }
    assert_eq!(bins(&sum), [(1338, 4.0), (1340, 4.0), (1341, 1.0)]);
    assert_eq!(sum.message.zero_count, 4.0);
    let store = sum.message.positive.as_ref().expect("a store");
    assert_eq!((store.contiguous_bin_index_offset, store.contiguous_bin_counts.len()), (1338, 4));
    // Far away: no row of zeros between.
    assert!(sum.merge(&down(&ours(&[(30_000, 1.0)]))));
    assert_eq!(sum.message.positive.as_ref().expect("a store").len(), 4);
    assert_eq!(DdSketch::read(&sum.bytes(), Rounding::Down), Ok(sum.clone()));
    let before = sum.clone();
    for other in
        [message(1.02020202020202, 0.0, 0, &[(1, 1.0)]), message(1.015625, 0.0, 0, &[(1, 1.0)])]
    {
        assert!(!sum.merge(&down(&other)));
    }
    assert!(!sum.merge(&read(&ours(&[(1, 1.0)]), Rounding::Up)));
    assert_eq!(sum, before);
    // More bins than a sketch may have: half of them for each sign.
    let many: Vec<(i32, f64)> = (0..30_000).map(|bin| (bin * 2 - 30_000, 1.0)).collect();
    let odd: Vec<(i32, f64)> = many.iter().map(|(bin, count)| (bin + 1, *count)).collect();
    let fine = |bins: &[(i32, f64)]| down(&message(1.001, 0.0, 0, bins));
    let mut full = fine(&many);
    assert!(!full.merge(&fine(&odd)));
    assert_eq!(bins(&full).len(), 30_000);
}

/// How a client counts.
#[derive(Clone, Copy, Debug)]
struct Writer {
    gamma: f64,
    offset: f64,
    interpolation: i32,
    rounding: Rounding,
    /// How far a value may be from the middle of the bin of ours that it ends in: half of the client's
    /// bin, and half of ours unless bins are the same.
    error: f64,
    unit: Unit,
}

impl Writer {
    fn bin(self, value: f64) -> i32 {
        let place = if self.interpolation == 1 {
            let exponent = value.log2().floor();
            (exponent + value / exponent.exp2() - 1.0) / self.gamma.log2() + self.offset
        } else {
            value.ln() / self.gamma.ln() + self.offset
        };
        (if self.rounding == Rounding::Up { place.ceil() } else { place.floor() }) as i32
    }
}

fn writers() -> impl Strategy<Value = Writer> {
    let of = |gamma: f64, offset: f64, interpolation, rounding, error| Writer {
        gamma,
        offset,
        interpolation,
        rounding,
        error,
        unit: Unit::One,
    };
    // Linear: the widest bin of 1 % accuracy is at the powers of two.
    let linear = 1.02020202020202_f64.powf(std::f64::consts::LN_2);
    prop::sample::select(vec![
        of(1.015625, 1338.5, 0, Rounding::Down, 0.00785),
        Writer { unit: Unit::Nanoseconds, ..of(1.015625, 1338.5, 0, Rounding::Down, 0.014) },
        of(1.015625, 1.876_128_191_286_170_5, 0, Rounding::Down, 0.0156),
        Writer { unit: Unit::Nanoseconds, ..of(1.02020202020202, 0.0, 0, Rounding::Down, 0.018) },
        Writer { unit: Unit::Nanoseconds, ..of(1.02020202020202, 0.0, 0, Rounding::Up, 0.018) },
        of(1.02020202020202, 0.0, 0, Rounding::Up, 0.018),
        Writer { unit: Unit::Nanoseconds, ..of(linear, 0.0, 1, Rounding::Down, 0.022) },
    ])
}

proptest! {
    /// From a microsecond to an hour, in the unit of the client.
    #[test]
    fn no_value_moves_further_than_its_bins_allow(
        writer in writers(),
        seconds in prop::collection::vec(1e-6..3600.0_f64, 1..60),
    ) {
        let mut bins = BTreeMap::<i32, f64>::new();
        for seconds in &seconds {
            let value = seconds / writer.unit.factor();
            *bins.entry(writer.bin(value)).or_default() += 1.0;
        }
        let bins: Vec<(i32, f64)> = bins.into_iter().collect();
        let bytes = message(writer.gamma, writer.offset, writer.interpolation, &bins);
        let bytes = bytes.encode_to_vec();
        let sketch = DdSketch::read_positive(&bytes, writer.rounding).expect("a sketch");
        let sketch = recode(&sketch, writer.unit).expect("a sketch");
        prop_assert_eq!(sketch.count(), seconds.len() as u64);

        let mut exact = seconds.clone();
        exact.sort_by(f64::total_cmp);
        let middle = |key: i16| 1.015625_f64.powi(i32::from(key) - 1338);
        let counted = sketch.bins().flat_map(|(key, n)| std::iter::repeat_n(middle(key), n as usize));
        for (value, got) in exact.iter().zip(counted) {
            let error = (got / value - 1.0).abs();
            prop_assert!(error < writer.error, "{value} became {got}: {error}, {writer:?}");
        }
        let sum: f64 = exact.iter().sum();
        prop_assert!((sketch.sum() / sum - 1.0).abs() < writer.error);
        prop_assert!((sketch.min() / exact[0] - 1.0).abs() < writer.error);
        prop_assert!((sketch.max() / exact[exact.len() - 1] - 1.0).abs() < writer.error);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Ok(sketch) = DdSketch::read(&bytes, Rounding::Down) {
            let _ = recode(&sketch, Unit::Nanoseconds);
        }
    }
}
