//! DDSketches of clients, recoded into ours.
//!
//! A count stays what it was; a value moves by the accuracy of its own bin and at
//! most half a bin of ours. Bins of libdatadog in their own unit keep their number: nothing is lost.
//! Refused is what no client can mean, before anything is allocated for it.

use prost::Message as _;

use super::mapping::Mapping;
use super::message::{Message, Store};
use super::terms::{InvalidSketch, Rounding, Unit};
use crate::sketch::{COUNT_MAX, Sketch};

/// Bins that a sketch may store, empty ones too.
pub(crate) const BINS_MAX: usize = 65536;
/// Bytes that [`BINS_MAX`] bins take at most: a number of 5 bytes, a count of 8, two keys and a head of
/// 2 each. What is longer is refused unread.
const BYTES_MAX: usize = BINS_MAX * 17 + 256;
/// Past this, floats do not count by ones.
const COUNTS_SUM_MAX: f64 = 9_007_199_254_740_992.0;

/// A sketch of a client that is valid.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DdSketch {
    message: Message,
    /// `None` without bins.
    mapping: Option<Mapping>,
}

impl DdSketch {
    /// Reads a sketch. No bytes are an empty one.
    ///
    /// # Errors
    /// What is not a DDSketch, or one with a γ that is not above 1 and at most 2, an interpolation other
    /// than none and linear, a count below 0 or not finite, counts beyond 2^53, more than [`BINS_MAX`]
    /// bins, or a bin whose value is below 1e-300 or above 1e300.
    pub fn read(bytes: &[u8], rounding: Rounding) -> Result<Self, InvalidSketch> {
        if bytes.len() > BYTES_MAX {
            return Err(InvalidSketch("at most 65536 bins"));
        }
        let message =
            Message::decode(bytes).map_err(|_| InvalidSketch("a protobuf message DDSketch"))?;
        let stores = || [&message.positive, &message.negative].into_iter().flatten();
        if stores().map(|store| store.len()).sum::<usize>() > BINS_MAX {
            return Err(InvalidSketch("at most 65536 bins"));
        }
        let mapping = message.mapping.as_ref();
        let mapping = mapping.map(|mapping| Mapping::new(mapping, rounding)).transpose()?;
        let mut sum = message.zero_count;
        let mut valid = sum >= 0.0;
        for store in stores() {
            let (mut lowest, mut highest) = (i64::MAX, i64::MIN);
            for (bin, count) in store.bins() {
                valid &= count >= 0.0;
                sum += count;
                (lowest, highest) = (lowest.min(bin), highest.max(bin));
            }
            if lowest <= highest {
                // Values grow with bins: those between are in bounds too.
                let mapping = mapping.as_ref().ok_or(InvalidSketch("a mapping"))?;
                mapping.value(lowest)?;
                mapping.value(highest)?;
            }
        }
        if !valid {
            return Err(InvalidSketch("no count below 0"));
        }
        if sum.is_nan() || sum > COUNTS_SUM_MAX {
            return Err(InvalidSketch("finite counts that add up to at most 2^53"));
        }
        Ok(DdSketch { message, mapping })
    }

    /// As [`DdSketch::read`], for what cannot be negative: times and sizes.
    ///
    /// # Errors
    /// Also when there are negative values.
    pub fn read_positive(bytes: &[u8], rounding: Rounding) -> Result<Self, InvalidSketch> {
        let sketch = Self::read(bytes, rounding)?;
        let negative = sketch.message.negative.as_ref();
        if negative.is_some_and(|store| store.bins().next().is_some()) {
            return Err(InvalidSketch("no negative values"));
        }
        Ok(sketch)
    }
}

impl DdSketch {
    /// True when it counts nothing.
    pub fn is_empty(&self) -> bool {
        let stores = [&self.message.positive, &self.message.negative];
        self.message.zero_count == 0.0
            && stores.into_iter().flatten().all(|store| store.bins().next().is_none())
    }

    /// Adds the counts of `other`; false, and nothing is changed, when its bins mean other values, or
    /// there would be more than [`BINS_MAX`].
    pub fn merge(&mut self, other: &DdSketch) -> bool {
        if other.is_empty() {
            return true;
        }
        if self.is_empty() {
            *self = other.clone();
            return true;
        }
        // Without a mapping there are zeros only.
        if self.mapping != other.mapping {
            return false;
        }
        let before = self.message.positive.clone();
        let merge = |store: &mut Option<Store>, other: &Option<Store>| {
            other
                .as_ref()
                .is_none_or(|other| store.get_or_insert_default().merge(other, BINS_MAX / 2))
        };
        if !merge(&mut self.message.positive, &other.message.positive)
            || !merge(&mut self.message.negative, &other.message.negative)
        {
            self.message.positive = before;
            return false;
        }
        self.message.zero_count += other.message.zero_count;
        true
    }

    /// The protobuf message.
    pub fn bytes(&self) -> Vec<u8> {
        self.message.encode_to_vec()
    }

    /// About how much memory it takes beside itself.
    pub fn heap_bytes(&self) -> usize {
        let stores = [&self.message.positive, &self.message.negative];
        stores.into_iter().flatten().map(Store::heap_bytes).sum()
    }
}

/// Our keys and counts of one or several sketches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recoding {
    bins: Vec<(i16, u64)>,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Recoding {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        let mut bins = std::mem::take(&mut self.bins);
        bins.clear();
        *self = Recoding { bins, ..Recoding::default() };
    }

    /// How many values, each sketch's counts rounded to a whole number.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds a sketch.
    pub fn add(&mut self, sketch: &DdSketch, unit: Unit) {
        // The running total is rounded, not each bin: of counts with fractions none gets lost.
        let (mut total, mut counted) = (0.0_f64, 0_u64);
        let mut whole = |count: f64| {
            total += count;
            let all = total.round() as u64;
            let count = all - counted;
            counted = all;
            count
        };
        self.put(0, 0.0, whole(sketch.message.zero_count));
        let Some(mapping) = &sketch.mapping else { return };
        let in_unit = mapping.in_unit(unit);
        for (bin, count) in sketch.message.positive.iter().flat_map(|store| store.bins()) {
            let recoded = in_unit.recode(bin);
            self.put(recoded.key, recoded.value, whole(count));
        }
        for (bin, count) in sketch.message.negative.iter().flat_map(|store| store.bins()) {
            let recoded = in_unit.recode(bin);
            self.put(-recoded.key, -recoded.value, whole(count));
        }
    }

    #[inline]
    fn put(&mut self, key: i16, value: f64, count: u64) {
        if count == 0 {
            return;
        }
        if self.count == 0 {
            (self.min, self.max) = (value, value);
        } else {
            (self.min, self.max) = (self.min.min(value), self.max.max(value));
        }
        self.count = self.count.saturating_add(count);
        self.sum += value * count as f64;
        match self.bins.last_mut() {
            Some((last, counted)) if *last == key => *counted = counted.saturating_add(count),
            _ => self.bins.push((key, count)),
        }
    }

    /// The sketch of all that was added: its sum is `sum` where that is known, else every bin times its
    /// value; smallest and largest are the values of the outer bins, widened to hold the average.
    ///
    /// # Errors
    /// A count beyond what ours holds, or a sum that is not finite.
    pub fn sketch(&self, sum: Option<f64>) -> Result<Sketch, InvalidSketch> {
        const { assert!(COUNT_MAX < COUNTS_SUM_MAX as u64) };
        let sum = sum.unwrap_or(self.sum);
        Sketch::from_bins(self.bins.iter().copied(), sum, self.min, self.max)
            .ok_or(InvalidSketch("at most 1.76e13 values with a finite sum"))
    }
}

/// A whole sketch recoded, its sum from its bins.
///
/// # Errors
/// As [`DdSketch::read`] and [`Recoding::sketch`].
pub(crate) fn recode(sketch: &DdSketch, unit: Unit) -> Result<Sketch, InvalidSketch> {
    let mut recoding = Recoding::default();
    recoding.add(sketch, unit);
    recoding.sketch(None)
}

#[cfg(test)]
mod tests;
