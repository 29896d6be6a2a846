//! From the number of a bin to the value it stands for, for every writer.
//!
//! | writer | gamma, offset | lower bound of bin i |
//! |---|---|---|
//! | libdatadog, Python, .NET | 1.015625, 1338.5 | γ^(i − offset) |
//! | Go and Java, data streams | 1.015625, 1.8761281912861705 | same |
//! | Go, trace stats | 1.02020202020202, 0 | same |
//! | JavaScript | the same bytes | γ^(i − 1 − offset): it rounds up |
//! | Java, trace stats | linear, from the bytes | x = (i − offset) · log2 γ, e = ⌊x⌋: 2^e · (1 + x − e) |
//!
//! Clever: an exponential and a logarithm per bin would be most of what a sketch costs. The mappings that
//! clients are known to use have a table of [`TABLE_BINS`] bins per unit, made at first use; what is not
//! in a table is computed. It is the same either way: the tables are filled by the computation.

use std::sync::OnceLock;

use super::message::IndexMapping;
use super::terms::{InvalidSketch, Rounding, Unit};
use crate::sketch::key_of;

/// Values of bins beyond these bounds are refused: no clock and no size gives them.
const VALUE_MIN: f64 = 1e-300;
const VALUE_MAX: f64 = 1e300;

/// Bins in a table, from 0: a libdatadog bin of 4,095 stands for 3.7e18, one of Go for 4e35.
const TABLE_BINS: usize = 4096;

/// Gamma, offset and rounding of the writers without interpolation.
const KNOWN: [(f64, f64, Rounding); 4] = [
    (1.015625, 1338.5, Rounding::Down),
    (1.015625, 1.876_128_191_286_170_5, Rounding::Down),
    (1.02020202020202, 0.0, Rounding::Down),
    (1.02020202020202, 0.0, Rounding::Up),
];

/// For each of [`KNOWN`], one table per unit.
static TABLES: [[OnceLock<Box<[Recoded]>>; Unit::ALL.len()]; KNOWN.len()] =
    [const { [const { OnceLock::new() }; Unit::ALL.len()] }; KNOWN.len()];

/// What a bin stands for in a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Recoded {
    pub value: f64,
    /// The key of `value` in our own sketch.
    pub key: i16,
}

/// A mapping that is valid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mapping {
    gamma: f64,
    offset: f64,
    linear: bool,
    rounding: Rounding,
    /// What a value is computed with: the distance of two bins in logarithms (of base 2 when linear), and
    /// 1 + relative accuracy.
    step: f64,
    centre: f64,
}

impl Mapping {
    pub fn new(message: &IndexMapping, rounding: Rounding) -> Result<Self, InvalidSketch> {
        let IndexMapping { gamma, index_offset: offset, interpolation } = *message;
        if !(gamma > 1.0 && gamma <= 2.0) {
            return Err(InvalidSketch("gamma above 1 and at most 2"));
        }
        if !offset.is_finite() {
            return Err(InvalidSketch("a finite index offset"));
        }
        let linear = match interpolation {
            0 => false,
            1 => true,
            _ => return Err(InvalidSketch("no or linear interpolation")),
        };
        let (step, ratio) =
            if linear { (gamma.log2(), gamma.log2().exp()) } else { (gamma.ln(), gamma) };
        let centre = 2.0 - 2.0 / (1.0 + ratio);
        Ok(Mapping { gamma, offset, linear, rounding, step, centre })
    }

    /// The value that `bin` stands for.
    ///
    /// # Errors
    /// When it is beyond what a client can have measured.
    pub fn value(&self, bin: i64) -> Result<f64, InvalidSketch> {
        let rounded_up = if self.rounding == Rounding::Up { 1.0 } else { 0.0 };
        let x = (bin as f64 - rounded_up - self.offset) * self.step;
        let lower = if self.linear {
            let exponent = x.floor();
            exponent.exp2() * (1.0 + x - exponent)
        } else {
            x.exp()
        };
        let value = lower * self.centre;
        if (VALUE_MIN..=VALUE_MAX).contains(&value) {
            Ok(value)
        } else {
            Err(InvalidSketch("bins of values from 1e-300 to 1e300"))
        }
    }

    /// The bins of this mapping in `unit`.
    pub fn in_unit(&self, unit: Unit) -> InUnit<'_> {
        let known = KNOWN.iter().position(|known| self.is(*known));
        let table = known.map_or(&[][..], |place| {
            TABLES[place][unit as usize].get_or_init(|| {
                let bins = 0..TABLE_BINS as i64;
                bins.map(|bin| self.recode(bin, unit)).collect()
            })
        });
        InUnit { mapping: self, unit, table }
    }

    fn recode(&self, bin: i64, unit: Unit) -> Recoded {
        // An error only in a table, of a bin that is refused before it is looked up.
        let value = self.value(bin).unwrap_or_default() * unit.factor();
        // The bins of libdatadog are ours. Their values say so too, but for the first: its middle is a
        // hair below the smallest value that is not 0.
        let ours = unit == Unit::One && self.is(KNOWN[0]);
        let same = i16::try_from(bin).ok().filter(|key| ours && *key > 0);
        Recoded { value, key: same.unwrap_or_else(|| key_of(value)) }
    }

    fn is(&self, known: (f64, f64, Rounding)) -> bool {
        !self.linear && known == (self.gamma, self.offset, self.rounding)
    }
}

/// A mapping, and the unit that its values are turned into.
pub(super) struct InUnit<'a> {
    mapping: &'a Mapping,
    unit: Unit,
    table: &'a [Recoded],
}

impl InUnit<'_> {
    /// What a bin stands for that [`Mapping::value`] accepts.
    #[inline]
    pub fn recode(&self, bin: i64) -> Recoded {
        let place = usize::try_from(bin).ok();
        match place.and_then(|place| self.table.get(place)) {
            Some(recoded) => *recoded,
            None => self.mapping.recode(bin, self.unit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(gamma: f64, index_offset: f64, interpolation: i32, rounding: Rounding) -> Mapping {
        Mapping::new(&IndexMapping { gamma, index_offset, interpolation }, rounding).expect("valid")
    }

    #[test]
    fn a_table_says_what_the_computation_says() {
        for (gamma, offset, rounding) in KNOWN {
            let mapping = mapping(gamma, offset, 0, rounding);
            for unit in Unit::ALL {
                let in_unit = mapping.in_unit(unit);
                assert_eq!(in_unit.table.len(), TABLE_BINS);
                for bin in -10..TABLE_BINS as i64 + 10 {
                    let value = mapping.value(bin).expect("in bounds") * unit.factor();
                    let got = in_unit.recode(bin);
                    assert_eq!(got, mapping.recode(bin, unit));
                    assert_eq!(got.value, value);
                    assert!(got.key == key_of(value) || bin == 1, "{bin}: {got:?}");
                }
            }
        }
        // Other bytes, other rounding, other interpolation: no table.
        for other in [
            mapping(1.015625, 1338.25, 0, Rounding::Down),
            mapping(1.015625, 1338.5, 0, Rounding::Up),
            mapping(1.015625, 1338.5, 1, Rounding::Down),
        ] {
            assert!(other.in_unit(Unit::One).table.is_empty(), "{other:?}");
        }
    }

    #[test]
    fn values_lie_in_their_bins() {
        let close =
            |value: f64, expect: f64| assert!((value / expect - 1.0).abs() < 1e-4, "{value}");
        close(mapping(1.015625, 1338.5, 0, Rounding::Down).value(1338).expect("valid"), 1.0);
        // dd-trace-js: 1.5 is in bin 21, and its quantile is 1.5068.
        let (gamma, offset, rounding) = KNOWN[3];
        close(mapping(gamma, offset, 0, rounding).value(21).expect("valid"), 1.5068);
        close(mapping(gamma, offset, 0, Rounding::Down).value(20).expect("valid"), 1.5068);
        // Linear: bins are even steps between powers of two.
        let linear = mapping(2_f64.powf(1.0 / 64.0), 0.0, 1, Rounding::Down);
        close(linear.value(0).expect("valid") / linear.centre, 1.0);
        close(linear.value(32).expect("valid") / linear.centre, 1.5);
        close(linear.value(64 + 32).expect("valid") / linear.centre, 3.0);
        close(linear.value(-32).expect("valid") / linear.centre, 0.75);
    }
}
