//! Our sketch as the DDSketch that libdatadog writes: same mapping, and the bins between the lowest and the
//! highest as a row. Bin numbers are our keys, so nothing is recoded.

use prost::Message as _;

use super::message::{IndexMapping, Message, Store};
use crate::sketch::Sketch;

/// The mapping of libdatadog, Python and .NET. With this offset (1 − ⌊ln 1e-9 / ln γ⌋ + ½) a bin's number is
/// the key of the Agent's distributions.
const MAPPING: IndexMapping =
    IndexMapping { gamma: 1.015625, index_offset: 1338.5, interpolation: 0 };

/// Bins of libdatadog's store at most; lower ones are counted in the lowest that is left.
const BINS_MAX: i32 = 2048;

/// The protobuf bytes of a sketch of times or sizes. Values below 0 cannot be written and are left out;
/// there are none of either.
pub(crate) fn write(sketch: &Sketch) -> Vec<u8> {
    let (mut zero_count, mut highest, mut lowest) = (0.0, i32::MIN, i32::MAX);
    for (key, count) in sketch.bins() {
        match i32::from(key) {
            0 => zero_count += f64::from(count),
            key if key > 0 => (lowest, highest) = (lowest.min(key), highest.max(key)),
            _ => {}
        }
    }
    let mut positive = Store::default();
    if lowest <= highest {
        let first = lowest.max(highest - BINS_MAX + 1);
        positive.contiguous_bin_index_offset = first;
        positive.contiguous_bin_counts = vec![0.0; (highest - first) as usize + 1];
        for (key, count) in sketch.bins().filter(|(key, _)| *key > 0) {
            let place = (i32::from(key) - first).max(0) as usize;
            positive.contiguous_bin_counts[place] += f64::from(count);
        }
    }
    let (positive, negative) = (Some(positive), Some(Store::default()));
    Message { mapping: Some(MAPPING), positive, negative, zero_count }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn writes(values: &[f64], expect: &str) {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| assert!(sketch.insert(*value, 1.0)));
        let hex: String = write(&sketch).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expect.replace(' ', ""), "{values:?}");
    }

    /// What ddtrace's own library gave for the same values.
    #[test]
    fn bytes_are_those_of_libdatadog() {
        let mapping = "0a1209000000000040f03f110000000000ea9440";
        let nothing = "0000000000000000";
        let one = "000000000000f03f";
        writes(&[], &format!("{mapping} 1200 1a00"));
        writes(&[1.0], &format!("{mapping} 120d 1208 {one} 18f414 1a00"));
        writes(
            &[1.0, 1.05],
            &format!("{mapping} 1225 1220 {one} {nothing} {nothing} {one} 18f414 1a00"),
        );
        writes(
            &[0.0, 2.0, 2.0],
            &format!("{mapping} 120d 1208 0000000000000040 18ce15 1a00 21 {one}"),
        );
    }

    #[test]
    fn values_have_the_bins_of_libdatadog() {
        for (value, bin) in [
            (1.0, 1338),
            (0.001, 892),
            (1.5, 1364),
            (7.0, 1464),
            (9.0, 1480),
            (250.0, 1694),
            (1e6, 2229),
            (1e-9, 1),
        ] {
            let mut sketch = Sketch::default();
            sketch.insert(value, 1.0);
            let message = Message::decode(&*write(&sketch)).expect("a sketch");
            let store = message.positive.expect("a store");
            assert_eq!(store.bins().collect::<Vec<_>>(), [(bin, 1.0)], "{value}");
        }
    }

    #[test]
    fn low_bins_collapse_and_no_count_is_lost() {
        let mut sketch = Sketch::default();
        for value in [0.0, 1e-9, 1e-9, 1e-6, 1.0, 1e10] {
            sketch.insert(value, 1.0);
        }
        let message = Message::decode(&*write(&sketch)).expect("a sketch");
        let store = message.positive.expect("a store");
        assert_eq!(store.len(), BINS_MAX as usize);
        let highest = i64::from(crate::sketch::key_of(1e10));
        let first = highest - i64::from(BINS_MAX) + 1;
        let bins: Vec<_> = store.bins().collect();
        assert_eq!(bins, [(first, 3.0), (1338, 1.0), (highest, 1.0)]);
        assert_eq!(message.zero_count, 1.0);
    }
}
