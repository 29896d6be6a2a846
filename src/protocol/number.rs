//! Numbers as Go's `strconv` reads them, because that is what clients were tested against.
//!
//! Plain warning: [`plain`] is the hot path. It takes short decimals by hand and leaves everything
//! else to [`super::literal`]. It is exact: a mantissa of at most 2^53 and a power of ten of at
//! most 10^22 are both floats without error, and IEEE division of the two rounds once.

use super::literal;
use super::scan::{Parsed, stop};

/// Why bytes are no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// Not the syntax of a number.
    Syntax,
    /// Larger than a 64-bit float can be.
    Range,
}

/// More digits than this may overflow a `u64`.
const DIGITS_MAX: usize = 19;

/// Every integer up to here is a float.
const MANTISSA_MAX: u64 = 1 << 53;

/// Powers of ten by the number of digits behind the point.
const POWERS: [f64; DIGITS_MAX + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19,
];

/// A 64-bit float: decimal, hexadecimal with `p` exponent, single `_` between digits, `inf`,
/// `infinity` and `nan` in any letter case. Too small is 0. The whole text must be the number.
///
/// # Errors
/// See [`NumberError`].
#[inline]
pub fn float(text: &[u8]) -> Result<f64, NumberError> {
    match plain(text) {
        Ok(([], number)) => Ok(number),
        _ => literal::float(text),
    }
}

/// The short decimal that `input` begins with: sign, digits, at most one point. What follows it is
/// not judged (`1e3` leaves `e3`), so look at the rest before trusting it.
#[inline(always)]
pub(super) fn plain(input: &[u8]) -> Parsed<'_, f64> {
    let (negative, unsigned) = match input {
        [b'-', unsigned @ ..] => (true, unsigned),
        [b'+', unsigned @ ..] => (false, unsigned),
        _ => (false, input),
    };
    let mut mantissa = 0;
    let mut at = digits(unsigned, 0, &mut mantissa);
    let mut count = at;
    let mut behind_point = 0;
    if unsigned.get(at) == Some(&b'.') {
        let first = at + 1;
        at = digits(unsigned, first, &mut mantissa);
        behind_point = at - first;
        count += behind_point;
    }
    if count.wrapping_sub(1) >= DIGITS_MAX || mantissa > MANTISSA_MAX {
        return stop(input);
    }
    // `as i64` because the signed conversion is one instruction; the mantissa is far below 2^63.
    let mut number = mantissa as i64 as f64;
    if behind_point > 0 {
        number /= POWERS[behind_point];
    }
    Ok((&unsigned[at..], if negative { -number } else { number }))
}

/// Adds the run of digits at `at` to the mantissa; returns where it ends. Overflow wraps: the
/// caller counts digits.
#[inline(always)]
fn digits(text: &[u8], mut at: usize, mantissa: &mut u64) -> usize {
    while let Some(byte) = text.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

/// A decimal integer with optional sign that fits 64 bits; anything else is `None`.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(text: &str, expect: f64) {
        let got = float(text.as_bytes()).unwrap();
        assert_eq!(got.to_bits(), expect.to_bits(), "{text}: {got:e} is not {expect:e}");
    }

    #[track_caller]
    fn is_not(text: &str, expect: NumberError) {
        assert_eq!(float(text.as_bytes()), Err(expect), "{text}");
    }

    #[test]
    fn short_decimals_are_exact() {
        is("0", 0.0);
        is("-0", -0.0);
        is("+5", 5.0);
        is(".5", 0.5);
        is("5.", 5.0);
        is("007", 7.0);
        is("0.1", 0.1);
        is("-123.456789", -123.456789);
        is("9007199254740992", 9_007_199_254_740_992.0);
        is("0.000000000000000001", 1e-18);
        is("0.0000000000000000001", 1e-19);
    }

    #[test]
    fn the_hand_path_hands_over_where_it_would_round_twice() {
        is("9007199254740993", 9_007_199_254_740_992.0);
        is("9007199254740995", 9_007_199_254_740_996.0);
        is("18446744073709551616", 18_446_744_073_709_551_616.0);
        is("0.30000000000000004", 0.300_000_000_000_000_04);
        is("00000000000000000000000000000000000000001.5", 1.5);
    }

    #[test]
    fn signs_points_and_spaces_alone_are_no_numbers() {
        for text in ["", "+", "-", ".", "+.", "--1", "+-1", " 1", "1 ", "1,5", "1.2.3", "abc", "1x"]
        {
            is_not(text, NumberError::Syntax);
        }
    }

    #[test]
    fn integers_are_those_of_64_bits() {
        let rows: [(&str, Option<i64>); 10] = [
            ("0", Some(0)),
            ("+7", Some(7)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("", None),
            ("1.5", None),
            ("1_0", None),
            (" 1", None),
            ("é", None),
        ];
        for (text, expect) in rows {
            assert_eq!(integer(text.as_bytes()), expect, "{text}");
        }
    }
}
