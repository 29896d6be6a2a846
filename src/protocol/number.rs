//! Numbers as Go's `strconv` reads them, because that is what clients were tested against.
//!
//! Plain warning: [`plain`] is the hot path. It takes short decimals by hand, those of up to seven
//! bytes with a dozen operations on one word, and leaves everything else to [`super::literal`]. It
//! is exact: a mantissa of at most 2^53 and a power of ten of at
//! most 10^22 are both floats without error, and IEEE division of the two rounds once.

use super::literal::{self, NumberError};
use super::scan::{Parsed, stop};

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
    match input.first_chunk().and_then(|word| in_word(u64::from_le_bytes(*word))) {
        Some((number, length)) => Ok((&input[length..], number)),
        None => beyond_word(input),
    }
}

/// `digits [ "." digits ]` of at most seven bytes, all of it and what ends it within one word; the
/// number and its length. Most values and nearly all rates are that short.
#[inline(always)]
fn in_word(word: u64) -> Option<(f64, usize)> {
    let word = word ^ ZEROS;
    let whole = digits_in_front(word);
    if whole == 0 || whole == 8 {
        return None;
    }
    if (word >> (8 * whole)) as u8 != b'.' ^ b'0' {
        return Some((joined_in_front(word, whole) as i64 as f64, whole as usize));
    }
    // Close the gap over the point; what moves in at the far end is not a digit.
    let before = (1 << (8 * whole)) - 1;
    let word = (word & before) | ((word >> 8) & !before) | 0xff << 56;
    let all = digits_in_front(word);
    if all == 7 {
        // What ends the number is out of sight.
        return None;
    }
    let number = joined_in_front(word, all) as i64 as f64 / POWERS[(all - whole) as usize & 7];
    Some((number, all as usize + 1))
}

/// The number that a word ends with, `:` before it: `digits [ "." digits ]`; and its length with the `:`.
/// All of that within the word.
#[inline(always)]
pub(super) fn before(word: u64) -> Option<(f64, usize)> {
    let word = word ^ ZEROS;
    let bits = digit_bits_behind(word);
    if bits == 0 {
        return None;
    }
    let number = from_before_last(word, bits);
    if number as u8 != COLON {
        return before_with_point(word, bits);
    }
    let number = joined_at_end((number ^ u64::from(COLON)) << shift_behind(bits));
    Some((number as i64 as f64, bits as usize / 8 + 1))
}

/// The same where something else than a `:` stands before `bits` of digits.
#[inline(always)]
fn before_with_point(word: u64, bits: u32) -> Option<(f64, usize)> {
    if from_before_last(word, bits) as u8 != b'.' ^ b'0' {
        return None;
    }
    // Close the gap over the point; what moves in at the near end is neither a digit nor `:`.
    let behind = !0 << (64 - bits);
    let word = (word & behind) | ((word << 8) & !behind) | 0xff;
    let all = digit_bits_behind(word);
    let number = from_before_last(word, all);
    // `.5` has none before the point.
    if all == bits || number as u8 != COLON {
        return None;
    }
    let number = joined_at_end((number ^ u64::from(COLON)) << shift_behind(all));
    Some((number as i64 as f64 / POWERS[(bits as usize / 8) & 7], all as usize / 8 + 2))
}

/// A `:` in a word after XOR with [`ZEROS`].
const COLON: u8 = b':' ^ b'0';

/// How many bits the digits take that the word ends with: 8 for each. Exact if a `:` or a `.` stands
/// before them; a carry from what is no text may make it less, and passes none of those.
#[inline(always)]
fn digit_bits_behind(word: u64) -> u32 {
    let others = (word.wrapping_add(0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080;
    others.leading_zeros()
}

/// The word from the byte before the last `bits` on. All eight bytes as digits give the last one, which is
/// a digit.
#[inline(always)]
fn from_before_last(word: u64, bits: u32) -> u64 {
    word >> shift_behind(bits)
}

/// 56 less so many bits, of which the lowest three are 0.
#[inline(always)]
fn shift_behind(bits: u32) -> u32 {
    (bits ^ 56) & 63
}

/// Eight times `0`. A word after XOR with it has 0 to 9 where digits stand.
const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);

/// How many digits the word begins with. A carry may hide bytes only behind one that is not a digit.
#[inline(always)]
fn digits_in_front(word: u64) -> u32 {
    let others = (word.wrapping_add(0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080;
    others.trailing_zeros() / 8
}

/// The first digits of a word as a number.
#[inline(always)]
fn joined_in_front(word: u64, digits: u32) -> u64 {
    joined_at_end(word << (64 - 8 * digits))
}

/// The digits that a word ends with, zeros before them: neighbours are joined to pairs, pairs to fours,
/// fours to the whole.
#[inline(always)]
fn joined_at_end(word: u64) -> u64 {
    let pairs = word.wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000 << 32 | 1) >> 32
}

/// The same for any short decimal, byte by byte.
#[inline(never)]
fn beyond_word(input: &[u8]) -> Parsed<'_, f64> {
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
    fn numbers_in_one_word_end_where_they_end() {
        let rows: [(&str, Option<(f64, usize)>); 14] = [
            ("1|c|#abc", Some((1.0, 1))),
            ("1234567|", Some((1_234_567.0, 7))),
            ("12345678", None),
            ("0.5|#abc", Some((0.5, 3))),
            ("123.456|", Some((123.456, 7))),
            ("12.45678", None),
            ("5.|g|#ab", Some((5.0, 2))),
            ("5.:.5:1|", Some((5.0, 2))),
            ("1.2.3|g|", Some((1.2, 3))),
            (".5|g|#ab", None),
            ("-5|g|#ab", None),
            ("1e3|g|#a", Some((1.0, 1))),
            ("1/2|c|#a", Some((1.0, 1))),
            ("1:2|c|#a", Some((1.0, 1))),
        ];
        for (text, expect) in rows {
            let word = u64::from_le_bytes(text.as_bytes().try_into().unwrap());
            assert_eq!(in_word(word), expect, "{text}");
        }
        for other in (0..=255).filter(|byte: &u8| !byte.is_ascii_digit() && *byte != b'.') {
            let word = u64::from_le_bytes([b'4', b'2', other, b'9', 0xff, 0, 0x80, b'|']);
            assert_eq!(in_word(word), Some((42.0, 2)), "{other:#x}");
        }
    }

    #[test]
    fn numbers_behind_a_colon_begin_where_they_begin() {
        let rows: [(&str, Option<(f64, usize)>); 15] = [
            ("|#abc:1", Some((1.0, 2))),
            (":1234567", Some((1_234_567.0, 8))),
            ("12345678", None),
            ("x:123456", Some((123_456.0, 7))),
            ("abcd:0.5", Some((0.5, 4))),
            (":123.456", Some((123.456, 8))),
            ("12.45678", None),
            ("name:5.", None),
            ("e:5:1.25", Some((1.25, 5))),
            (":1.2.345", None),
            ("name:.5", None),
            ("name:-5", None),
            ("name:1e3", None),
            ("nam:1/2", None),
            ("é:12", Some((12.0, 3))),
        ];
        for (text, expect) in rows {
            let padded = format!("{text:_>8}");
            let word = u64::from_le_bytes(*padded.as_bytes().last_chunk().unwrap());
            assert_eq!(before(word), expect, "{text}");
        }
        for other in (0..=255).filter(|byte: &u8| !byte.is_ascii_digit() && *byte != b'.') {
            for digits in 0..7 {
                let mut text = *b"12345678";
                text[7 - digits] = other;
                let word = u64::from_le_bytes(text);
                let number = std::str::from_utf8(&text[8 - digits..]).unwrap().parse::<f64>();
                let expect = (other == b':' && digits > 0).then(|| (number.unwrap(), digits + 1));
                assert_eq!(before(word), expect, "{other:#x} {digits}");
            }
        }
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
