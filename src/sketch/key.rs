//! The logarithmic mapping between values and bin keys.
//!
//! Clever: a key is one logarithm and one division, `round_half_even(ln(v) / ln(gamma)) + BIAS`, and
//! every sample pays for it. [`key`] takes the exponent from the bits, the logarithm of the mantissa
//! from five terms of a series and multiplies by `1 / ln(gamma)`. The result is off by less than
//! 5e-8 keys (proved at [`approximate`]), so its rounding can only be wrong within [`DOUBT`] of a
//! half, and there, about twice in a million values, [`exact`] decides. Touching the series means
//! checking that bound again; the twin test below walks every boundary.

/// Relative accuracy of the Agent's sketches.
const EPS: f64 = 1.0 / 128.0;
/// The ratio of neighbouring bins.
pub(super) const GAMMA: f64 = 1.0 + 2.0 * EPS;
/// `ln_1p(2 * EPS)`.
pub(super) const LN_GAMMA: f64 = 0.015504186535965254;
/// The key of the value 1: `1 - floor(ln(1e-9) / ln(gamma))`.
pub(super) const BIAS: i32 = 1338;
/// `gamma^(1 - BIAS)`: nearer to 0 is 0.
const SMALLEST: f64 = 9.94185408912145e-10;
/// The key of everything too large for the others.
pub(super) const KEY_INFINITE: i16 = i16::MAX;

const LN_2: f64 = std::f64::consts::LN_2;
/// Distance from a half below which the approximation is not trusted.
const DOUBT: f64 = 1e-6;

/// The bin key of a finite value.
#[inline]
pub(super) fn key(value: f64) -> i16 {
    let magnitude = value.abs();
    if magnitude < SMALLEST {
        return 0;
    }
    let key = positive(magnitude);
    if value < 0.0 { -key } else { key }
}

/// The key of a value of at least [`SMALLEST`].
#[inline]
fn positive(value: f64) -> i16 {
    // At least 1, because the value is at least gamma^(1 - BIAS): truncation rounds down.
    let place = approximate(value) + (f64::from(BIAS) + 0.5);
    let key = place as i32;
    let fraction = place - f64::from(key);
    if !(DOUBT..=1.0 - DOUBT).contains(&fraction) {
        return exact(value);
    }
    clamp(key)
}

/// `ln(value) / ln(gamma)` with an error below 5e-8, for a positive normal value.
///
/// With `value = m * 2^e` and `m` in `[sqrt(1/2), sqrt(2))`, `ln(m) = 2 * atanh(s)` for
/// `s = (m - 1) / (m + 1)`, `|s| < 0.1716`. The first term left out, `2 * s^11 / 11`, is below 6.9e-10
/// and all of them together below 7.2e-10; divided by `ln(gamma)` that is 4.7e-8. Roundings of
/// 64-bit floats up to 5e4 add less than 1e-10.
#[inline]
fn approximate(value: f64) -> f64 {
    /// The bits of sqrt(1/2), rounded up: from here to its double is one period.
    const PERIOD_START: u64 = 0x3FE6_A09E_667F_3BCD;
    let bits = value.to_bits();
    let shifted = bits.wrapping_sub(PERIOD_START) as i64;
    let exponent = shifted >> 52;
    let mantissa = f64::from_bits(bits.wrapping_sub((exponent << 52) as u64));
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = 1.0 + square * (1.0 / 3.0 + square * (0.2 + square * (1.0 / 7.0 + square / 9.0)));
    exponent as f64 * (LN_2 / LN_GAMMA) + s * series * (2.0 / LN_GAMMA)
}

/// The definition, for values next to the border of two bins.
#[cold]
fn exact(value: f64) -> i16 {
    clamp((value.ln() / LN_GAMMA).round_ties_even() as i32 + BIAS)
}

fn clamp(key: i32) -> i16 {
    key.clamp(1, i32::from(KEY_INFINITE)) as i16
}

/// What the Agent calls the lower bound of a bin. Keys round, so a value may lie slightly below.
pub(super) fn lower_bound(key: i16) -> f64 {
    if key < 0 {
        return -lower_bound(key.saturating_neg());
    }
    match key {
        0 => 0.0,
        KEY_INFINITE => f64::INFINITY,
        _ => GAMMA.powi(i32::from(key) - BIAS),
    }
}

/// A key as an unsigned number in the same order.
#[inline]
pub(super) fn order(key: i16) -> u32 {
    u32::from((key as u16) ^ 0x8000)
}

/// The key in the middle of those that have this order once `coarse` bits are cut.
pub(super) fn of_order(order: u32, coarse: u8) -> i16 {
    let middle = order + ((1 << coarse) >> 1);
    (middle.min(0xFFFF) as u16 ^ 0x8000) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, without any of the shortcuts.
    fn obvious(value: f64) -> i16 {
        if value < 0.0 {
            return -obvious(-value);
        }
        if value < GAMMA.powf(f64::from(1 - BIAS)) {
            return 0;
        }
        let key = (value.ln() / (2.0 * EPS).ln_1p()).round_ties_even() + f64::from(BIAS);
        key.clamp(1.0, 32767.0) as i16
    }

    #[track_caller]
    fn maps(value: f64, expect: i16, bound: f64) {
        assert_eq!(key(value), expect, "key of {value}");
        assert_eq!(key(-value), -expect, "key of -{value}");
        let got = lower_bound(expect);
        let close = got == bound || ((got - bound) / bound).abs() < 1e-9;
        assert!(close, "lower bound of {expect}: {got}, not {bound}");
        assert_eq!(lower_bound(-expect), -got);
    }

    #[test]
    fn keys_and_bounds_are_the_agents() {
        maps(0.0, 0, 0.0);
        maps(1e-10, 0, 0.0);
        maps(9.9e-10, 0, 0.0);
        maps(1e-9, 1, 9.94185408912e-10);
        maps(1e-6, 447, 1.0012811744e-06);
        maps(0.001, 892, 9.929133138e-04);
        maps(0.5, 1293, 0.497734541);
        maps(1.0, 1338, 1.0);
        maps(2.0, 1383, 2.009103081);
        maps(3.0, 1409, 3.006562032);
        maps(10.0, 1487, 10.075671885);
        maps(42.0, 1579, 41.951280428);
        maps(99.9, 1635, 99.957330625);
        maps(100.0, 1635, 99.957330625);
        maps(1000.0, 1784, 1007.137265793);
        maps(1e6, 2229, 998720.4649);
        maps(1e9, 2675, 1.0058485983e9);
        maps(1e100, 16189, 9.9418193708e99);
        maps(1e300, 32767, f64::INFINITY);
        maps(f64::MAX, 32767, f64::INFINITY);
        maps(f64::MIN_POSITIVE / 2.0, 0, 0.0);
    }

    #[test]
    fn constants_follow_from_the_accuracy() {
        assert_eq!(LN_GAMMA, (2.0 * EPS).ln_1p());
        assert_eq!(BIAS, 1 - (1e-9_f64.ln() / LN_GAMMA).floor() as i32);
        assert_eq!(SMALLEST, GAMMA.powf(f64::from(1 - BIAS)));
    }

    #[test]
    fn every_border_between_two_bins_is_where_the_definition_has_it() {
        for step in -1338..32000 {
            let border = ((f64::from(step) + 0.5) * LN_GAMMA).exp();
            if !border.is_finite() {
                break;
            }
            for ulps in -40_i64..=40 {
                let value = f64::from_bits(border.to_bits().wrapping_add_signed(ulps));
                assert_eq!(key(value), obvious(value), "{value:e}");
            }
        }
        for ulps in -1000_i64..=1000 {
            let value = f64::from_bits(SMALLEST.to_bits().wrapping_add_signed(ulps));
            assert_eq!(key(value), obvious(value), "{value:e}");
        }
    }

    #[test]
    fn millions_of_values_of_every_size_map_as_defined() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..3_000_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let any = f64::from_bits(state);
            if any.is_finite() {
                assert_eq!(key(any), obvious(any), "{any:e}");
            }
            let everyday = (state >> 40) as f64 / 1000.0;
            assert_eq!(key(everyday), obvious(everyday), "{everyday:e}");
        }
    }

    #[test]
    fn the_approximation_keeps_its_promise() {
        for step in 0..2_000_000_u64 {
            let value = 0.5 + step as f64 * 1e-6;
            let error = (approximate(value) - value.ln() / LN_GAMMA).abs();
            assert!(error < 5e-8, "{value}: {error:e}");
        }
    }
}
