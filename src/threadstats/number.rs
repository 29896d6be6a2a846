//! Numbers that remember whether they were whole, as the aggregator model asks: `7` and `7.0` are
//! equal as interval starts and set members, and still print differently.

use std::cmp::Ordering;
use std::fmt;

use serde::{Serialize, Serializer};

/// A sample or a timestamp: an integer stays an integer until something divides it.
///
/// `==` tells `Int(1)` from `Float(1.0)`, because the intake's JSON does; [`Number::cmp_value`]
/// compares the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number, printed without a point.
    Int(i64),
    /// Any other number, printed with a point or an exponent.
    Float(f64),
}

impl Number {
    /// False for NaN and the infinities, which no intake accepts.
    #[must_use]
    pub fn is_finite(self) -> bool {
        match self {
            Number::Int(_) => true,
            Number::Float(value) => value.is_finite(),
        }
    }

    /// True for `0`, `0.0` and `-0.0`; as a timestamp they all mean "now".
    #[must_use]
    pub fn is_zero(self) -> bool {
        match self {
            Number::Int(value) => value == 0,
            Number::Float(value) => value == 0.0,
        }
    }

    /// The nearest float.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Float(value) => value,
        }
    }

    /// The opposite sign; the one integer without an opposite becomes a float.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Number::Int(value) => {
                value.checked_neg().map_or(Number::Float(-(value as f64)), Number::Int)
            }
            Number::Float(value) => Number::Float(-value),
        }
    }

    /// Compares the values exactly, also an integer with a float that cannot hold it. NaN equals
    /// everything; recording refuses it long before.
    #[must_use]
    pub fn cmp_value(self, other: Self) -> Ordering {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => a.cmp(&b),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Number::Int(a), Number::Float(b)) => cmp_int_float(a, b),
            (Number::Float(a), Number::Int(b)) => cmp_int_float(b, a).reverse(),
        }
    }

    /// `self - self mod step`, the modulo floored towards minus infinity. Two integers give an
    /// integer. Starts below the smallest `i64` become floats.
    #[must_use]
    pub fn floored_to(self, step: Number) -> Self {
        match (self, step) {
            (Number::Int(value), Number::Int(step)) if step > 0 => value
                .checked_sub(value.rem_euclid(step))
                .map_or(Number::Float(floored(value as f64, step as f64)), Number::Int),
            _ => Number::Float(floored(self.as_f64(), step.as_f64())),
        }
    }
}

fn floored(value: f64, step: f64) -> f64 {
    value - value.rem_euclid(step)
}

/// The integer part decides; where it is equal, the fraction of the float does.
fn cmp_int_float(int: i64, float: f64) -> Ordering {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0; // 2^63, the first float above every i64
    if float >= BEYOND {
        Ordering::Less
    } else if float < -BEYOND {
        Ordering::Greater
    } else {
        let whole = float.trunc();
        int.cmp(&(whole as i64)).then_with(|| whole.partial_cmp(&float).unwrap_or(Ordering::Equal))
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Number::Int(value) => serializer.serialize_i64(*value),
            Number::Float(value) => serializer.serialize_f64(*value),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(value) => value.fmt(f),
            Number::Float(value) => value.fmt(f),
        }
    }
}

macro_rules! whole {
    ($($int:ty),*) => {$(
        impl From<$int> for Number {
            fn from(value: $int) -> Self {
                Number::Int(i64::from(value))
            }
        }
    )*};
}
whole!(i8, i16, i32, i64, u8, u16, u32);

impl From<u64> for Number {
    /// Values past `i64::MAX` become the nearest float.
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Number::Float(value as f64), Number::Int)
    }
}

impl From<usize> for Number {
    /// Values past `i64::MAX` become the nearest float.
    fn from(value: usize) -> Self {
        i64::try_from(value).map_or(Number::Float(value as f64), Number::Int)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Number::Float(value)
    }
}

impl From<f32> for Number {
    fn from(value: f32) -> Self {
        Number::Float(f64::from(value))
    }
}

/// A running sum: exact while only integers came, a float from the first float on, added from left
/// to right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sum {
    Whole(i128),
    Real(f64),
}

impl Sum {
    pub(crate) const ZERO: Sum = Sum::Whole(0);

    /// Adds one number. An `i128` cannot overflow here: that takes 2^64 additions of an `i64`.
    pub(crate) fn add(&mut self, number: Number) {
        *self = match (*self, number) {
            (Sum::Whole(sum), Number::Int(value)) => Sum::Whole(sum + i128::from(value)),
            (sum, number) => Sum::Real(sum.as_f64() + number.as_f64()),
        };
    }

    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Sum::Whole(sum) => sum as f64,
            Sum::Real(sum) => sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn floors(value: impl Into<Number>, step: impl Into<Number>, expect: impl Into<Number>) {
        assert_eq!(value.into().floored_to(step.into()), expect.into());
    }

    #[test]
    fn starts_floor_downwards_and_keep_their_kind() {
        floors(105, 10, 100);
        floors(105.5, 10, 100.0);
        floors(105, 0.25, 105.0);
        floors(-5, 10, -10);
        floors(-5.0, 10, -10.0);
        floors(-10, 10, -10);
        floors(10.74, 0.25, 10.5);
        floors(i64::MIN, 10, i64::MIN as f64 - 2.0);
    }

    #[track_caller]
    fn compares(a: impl Into<Number>, b: impl Into<Number>, expect: Ordering) {
        let (a, b) = (a.into(), b.into());
        assert_eq!(a.cmp_value(b), expect, "{a} against {b}");
        assert_eq!(b.cmp_value(a), expect.reverse(), "{b} against {a}");
    }

    #[test]
    fn comparison_is_exact_where_a_float_cannot_hold_the_integer() {
        compares(1, 1.0, Ordering::Equal);
        compares(1, 1.5, Ordering::Less);
        compares(-1, -1.5, Ordering::Greater);
        compares(i64::MAX, 9_223_372_036_854_775_808.0, Ordering::Less);
        compares(9_007_199_254_740_993_i64, 9_007_199_254_740_992.0, Ordering::Greater);
        compares(i64::MIN, -9_223_372_036_854_775_808.0, Ordering::Equal);
        compares(0, -1e300, Ordering::Greater);
        compares(0, -0.0, Ordering::Equal);
    }

    #[test]
    fn sums_are_exact_until_a_float_comes() {
        let mut sum = Sum::ZERO;
        for _ in 0..3 {
            sum.add(Number::Int(i64::MAX));
        }
        assert_eq!(sum, Sum::Whole(3 * i128::from(i64::MAX)));
        sum.add(Number::Float(0.5));
        assert!(matches!(sum, Sum::Real(_)));
    }

    #[test]
    fn the_smallest_integer_has_an_opposite() {
        assert_eq!(Number::Int(i64::MIN).negated(), Number::Float(9_223_372_036_854_775_808.0));
        assert_eq!(Number::Int(3).negated(), Number::Int(-3));
        assert_eq!(Number::from(u64::MAX), Number::Float(u64::MAX as f64));
    }
}
