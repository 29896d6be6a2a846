//! The rarer number literals: exponents, long mantissas, hexadecimal, `_`, infinities, NaN.

use std::borrow::Cow;

use nom::bytes::complete::{take_while, take_while1};
use nom::combinator::{eof, opt};
use nom::sequence::{preceded, terminated};
use nom::{AsChar, Parser};

use super::scan::{At, byte};

/// Why bytes are not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// Not the syntax of a number.
    Syntax,
    /// Larger than a 64-bit float can be.
    Range,
}

/// Reads any literal; out of line because next to no client sends one.
#[cold]
#[inline(never)]
pub(super) fn float(text: &[u8]) -> Result<f64, NumberError> {
    let (sign, unsigned) = match text {
        [b'-', unsigned @ ..] => (-1.0, unsigned),
        [b'+', unsigned @ ..] => (1.0, unsigned),
        _ => (1.0, text),
    };
    let is = |word: &str| unsigned.eq_ignore_ascii_case(word.as_bytes());
    if is("inf") || is("infinity") {
        return Ok(sign * f64::INFINITY);
    }
    if is("nan") {
        let signed = unsigned.len() < text.len();
        return if signed { Err(NumberError::Syntax) } else { Ok(f64::NAN) };
    }
    let magnitude = match unsigned {
        [b'0', b'x' | b'X', digits @ ..] => hexadecimal(digits)?,
        _ => decimal(unsigned)?,
    };
    Ok(sign * magnitude)
}

/// `1_000.5e-3` cut at its marks; parts may still hold underscores, each in a legal place.
struct Literal<'a> {
    integer: &'a [u8],
    fraction: &'a [u8],
    exponent: Option<Exponent<'a>>,
}

struct Exponent<'a> {
    negative: bool,
    digits: &'a [u8],
}

/// digits [ "." digits ] [ mark [ sign ] digits ], at least one digit before the mark.
fn literal(text: &[u8], is_digit: fn(u8) -> bool, mark: u8) -> Option<Literal<'_>> {
    let run = || take_while::<_, _, At<'_>>(move |at: u8| is_digit(at) || at == b'_');
    let sign = opt(byte(b'-').or(byte(b'+')));
    let digits = take_while1(|at: u8| at.is_dec_digit() || at == b'_');
    let exponent = preceded(byte(mark).or(byte(mark.to_ascii_uppercase())), (sign, digits));
    let fraction = opt(preceded(byte(b'.'), run()));
    let (_, (integer, fraction, exponent)) =
        terminated((run(), fraction, opt(exponent)), eof).parse(text).ok()?;
    let fraction = fraction.unwrap_or_default();
    let exponent = exponent.map(|(sign, digits)| Exponent { negative: sign == Some(b'-'), digits });
    (integer.len() + fraction.len() > 0).then_some(Literal { integer, fraction, exponent })
}

/// Underscores stand one at a time and between digits.
fn well_separated(run: &[u8]) -> bool {
    let outside = run.first() == Some(&b'_') || run.last() == Some(&b'_');
    !outside && memchr::memmem::find(run, b"__").is_none()
}

fn decimal(text: &[u8]) -> Result<f64, NumberError> {
    let literal = literal(text, AsChar::is_dec_digit, b'e').ok_or(NumberError::Syntax)?;
    let exponent = literal.exponent.map_or(&b""[..], |exponent| exponent.digits);
    if ![literal.integer, literal.fraction, exponent].into_iter().all(well_separated) {
        return Err(NumberError::Syntax);
    }
    let digits = match memchr::memchr(b'_', text) {
        None => Cow::Borrowed(text),
        Some(_) => text.iter().copied().filter(|at| *at != b'_').collect(),
    };
    match fast_float2::parse::<f64, _>(&digits) {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err(NumberError::Range),
        Err(_) => Err(NumberError::Syntax),
    }
}

/// An exponent is counted no further than this: no line is long enough for its digits to bring a
/// number of this size back into range.
const EXPONENT_MAX: i64 = 1 << 40;

/// What follows `0x`. One underscore may also follow the prefix; the exponent is compulsory.
fn hexadecimal(text: &[u8]) -> Result<f64, NumberError> {
    let Some(Literal { integer, fraction, exponent: Some(exponent) }) =
        literal(text, AsChar::is_hex_digit, b'p')
    else {
        return Err(NumberError::Syntax);
    };
    let behind_prefix = integer.strip_prefix(b"_").filter(|digits| !digits.is_empty());
    let parts = [behind_prefix.unwrap_or(integer), fraction, exponent.digits];
    if !parts.into_iter().all(well_separated) {
        return Err(NumberError::Syntax);
    }
    let mut power = exponent.digits.iter().filter_map(|digit| (*digit as char).to_digit(10)).fold(
        0,
        |power: i64, digit| {
            if power < EXPONENT_MAX { power * 10 + i64::from(digit) } else { power }
        },
    );
    if exponent.negative {
        power = -power;
    }
    let mut mantissa = 0_u64;
    let mut inexact = false;
    for (run, behind_point) in [(integer, 0), (fraction, 4)] {
        for digit in run.iter().filter_map(|digit| (*digit as char).to_digit(16)) {
            power -= behind_point;
            if mantissa >> 60 == 0 {
                mantissa = mantissa << 4 | u64::from(digit);
            } else {
                inexact |= digit != 0;
                power += 4;
            }
        }
    }
    round(mantissa, power, inexact).ok_or(NumberError::Range)
}

/// `mantissa * 2^power` as the nearest float, ties to even; `inexact` says that non-zero bits were
/// cut below the mantissa. None when it is too large.
fn round(mantissa: u64, power: i64, inexact: bool) -> Option<f64> {
    if mantissa == 0 {
        return Some(0.0);
    }
    let leading = mantissa.leading_zeros();
    let mantissa = mantissa << leading;
    // The value is 1.x * 2^exponent.
    let exponent = power - i64::from(leading) + 63;
    if exponent > 1023 {
        return None;
    }
    // A float has 53 bits, a subnormal one fewer for every step below 2^-1022.
    let missing = (-1022 - exponent).max(0);
    let Ok(cut @ ..=64) = u32::try_from(11 + missing.min(100)) else {
        return Some(0.0);
    };
    let kept = mantissa.checked_shr(cut).unwrap_or(0);
    let below = mantissa << (64 - cut);
    const HALF: u64 = 1 << 63;
    let up = below > HALF || below == HALF && (inexact || kept & 1 == 1);
    // Adding the kept bits, of which the top one is implied, carries into the exponent by itself.
    let biased = if missing > 0 { 0 } else { (exponent + 1022) as u64 };
    let number = f64::from_bits((biased << 52) + kept + u64::from(up));
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(text: &str, expect: f64) {
        let got = float(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(got.to_bits(), expect.to_bits(), "{text}: {got:e} is not {expect:e}");
    }

    #[track_caller]
    fn are_not(texts: &[&str], expect: NumberError) {
        for text in texts {
            assert_eq!(float(text.as_bytes()), Err(expect), "{text}");
        }
    }

    #[test]
    fn exponents_and_long_mantissas() {
        is("1e3", 1000.0);
        is("1E-3", 0.001);
        is("+1e+3", 1000.0);
        is("5e-324", 5e-324);
        is("2.2250738585072011e-308", 2.225_073_858_507_201e-308);
        is("1.7976931348623157e308", f64::MAX);
        is("1.797693134862315807e308", f64::MAX);
        is("1.00000000000000011102230246251565404236316680908203125", 1.0);
        is("1.00000000000000011102230246251565404236316680908203126", 1.0 + f64::EPSILON);
        is("0e400", 0.0);
        are_not(&["e3", "1e", "1e+", "1e1.5", "1ee1", "1e 1", ".e1"], NumberError::Syntax);
    }

    #[test]
    fn too_large_is_an_error_and_too_small_is_zero() {
        is("1e-400", 0.0);
        is("-1e-400", -0.0);
        is("0x1p-99999999999999999999", 0.0);
        are_not(
            &[
                "1e400",
                "-1e309",
                "1.797693134862315808e308",
                "1e99999999999999999999",
                "0x1p1024",
                "0x1p9999999",
            ],
            NumberError::Range,
        );
    }

    #[test]
    fn words_in_any_case_and_no_signed_nan() {
        is("inf", f64::INFINITY);
        is("+Inf", f64::INFINITY);
        is("-INFINITY", f64::NEG_INFINITY);
        assert!(float(b"NaN").unwrap().is_nan());
        are_not(
            &["+nan", "-nan", "infi", "infinit", "infinityx", "in", "nano"],
            NumberError::Syntax,
        );
    }

    #[test]
    fn hexadecimal_needs_its_exponent() {
        is("0x1p-2", 0.25);
        is("0x1p4", 16.0);
        is("0X1P+4", 16.0);
        is("-0x1.8p1", -3.0);
        is("0x.8p0", 0.5);
        is("0x10.p0", 16.0);
        is("0x0p99999", 0.0);
        are_not(&["0x10", "0x", "0xp1", "0x.p1", "0x1p", "0x1pa", "0xgp1"], NumberError::Syntax);
    }

    #[test]
    fn hexadecimal_rounds_to_even_and_into_subnormals() {
        is("0x1.fffffffffffffp1023", f64::MAX);
        is("0x1.fffffffffffff7fffp1023", f64::MAX);
        are_not(&["0x1.fffffffffffff8p1023"], NumberError::Range);
        is("0x1.00000000000008p0", 1.0);
        is("0x1.000000000000080000000001p0", 1.0 + f64::EPSILON);
        is("0x1.00000000000018p0", 1.0 + 2.0 * f64::EPSILON);
        is("0x1p-1074", 5e-324);
        is("0x1p-1075", 0.0);
        is("0x1.8p-1075", 5e-324);
        is("0x1p-1076", 0.0);
        is("0x1p-1022", f64::MIN_POSITIVE);
        is("0x0.fffffffffffffp-1022", f64::from_bits((1 << 52) - 1));
        is("0x0.fffffffffffff8p-1022", f64::MIN_POSITIVE);
        is("0x10000000000000000000000p-84", 16.0);
    }

    #[test]
    fn underscores_stand_alone_between_digits() {
        is("1_000", 1000.0);
        is("1_23.50_0_0e+1_2", 1.235e14);
        is("0_1", 1.0);
        is("0x_1_2.3_4_5p+1_2", 74565.0);
        are_not(
            &[
                "_1",
                "1_",
                "1__0",
                "1_.5",
                "1._5",
                "1.5_",
                "1_e3",
                "1e_3",
                "1e3_",
                "1e+_3",
                "_",
                "0_x1p0",
                "0x1_p0",
                "0x__1p0",
                "0x_p0",
                "0x1_.0p0",
                "0x1._0p0",
                "0x1p_0",
                "0x1p0_",
                "_inf",
                "1_000e400x",
            ],
            NumberError::Syntax,
        );
    }
}
