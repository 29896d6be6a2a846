//! Numbers: a slow reader built on the standard library, the rows Go promises, and the fast reader
//! held against both.

use proptest::prelude::*;
use whippet::protocol::{NumberError, float};

/// What a text is as a number.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    Number(f64),
    TooLarge,
    NoNumber,
}

/// The grammar in words: it strips, splits and asks the standard library.
pub fn slow(text: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(text) else { return Reading::NoNumber };
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    match unsigned.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => return Reading::Number(sign * f64::INFINITY),
        "nan" if unsigned == text => return Reading::Number(f64::NAN),
        lower => match lower.strip_prefix("0x") {
            Some(digits) => hexadecimal(digits),
            None => decimal(lower),
        },
    }
    .map_or(Reading::NoNumber, |number| {
        if number.is_finite() { Reading::Number(sign * number) } else { Reading::TooLarge }
    })
}

/// Removes underscores, each of which must have a digit on both sides.
fn without_underscores(text: &str, is_digit: fn(char) -> bool) -> Option<String> {
    let letters: Vec<char> = text.chars().collect();
    let misplaced = |at: usize| {
        let before = at.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(at + 1).copied();
        !(before.is_some_and(is_digit) && after.is_some_and(is_digit))
    };
    let wrong = (0..letters.len()).any(|at| letters[at] == '_' && misplaced(at));
    (!wrong).then(|| text.replace('_', ""))
}

fn decimal(lower: &str) -> Option<f64> {
    let text = without_underscores(lower, |letter| letter.is_ascii_digit())?;
    // The standard library would also take its own words.
    let plain = text.chars().all(|letter| letter.is_ascii_digit() || ".e+-".contains(letter));
    let unsigned = !text.starts_with(['+', '-']);
    if plain && unsigned { text.parse().ok() } else { None }
}

/// Exact where it can be: up to 13 significant digits, a power applied in steps that do not round.
/// Longer mantissas have their own rows below.
fn hexadecimal(digits: &str) -> Option<f64> {
    let (mantissa, power) = digits.split_once('p')?;
    let power = without_underscores(power, |letter| letter.is_ascii_digit())?;
    let unsigned = power.strip_prefix(['+', '-']).unwrap_or(&power);
    if unsigned.is_empty() || !unsigned.chars().all(|letter| letter.is_ascii_digit()) {
        return None;
    }
    // The prefix counts as a digit before an underscore.
    let mantissa = without_underscores(&format!("0{mantissa}"), |at| at.is_ascii_hexdigit())?;
    let (integer, fraction) = mantissa[1..].split_once('.').unwrap_or((&mantissa[1..], ""));
    let all = format!("{integer}{fraction}");
    if all.is_empty() || !all.chars().all(|letter| letter.is_ascii_hexdigit()) {
        return None;
    }
    let mut number = u64::from_str_radix(&all, 16).ok()? as f64;
    let mut power = power.parse::<i64>().ok()? - 4 * i64::try_from(fraction.len()).unwrap();
    while number != 0.0 && number.is_finite() && power != 0 {
        let step = power.clamp(-1, 1);
        number *= if step > 0 { 2.0 } else { 0.5 };
        power -= step;
    }
    Some(number)
}

#[track_caller]
fn agree(text: &[u8]) {
    let shown = String::from_utf8_lossy(text);
    match (float(text), slow(text)) {
        (Ok(fast), Reading::Number(slow)) if fast.is_nan() => assert!(slow.is_nan(), "{shown}"),
        (Ok(fast), Reading::Number(slow)) => {
            assert_eq!(fast.to_bits(), slow.to_bits(), "{shown}: {fast:e} is not {slow:e}");
        }
        (Err(NumberError::Range), Reading::TooLarge) => {}
        (Err(NumberError::Syntax), Reading::NoNumber) => {}
        (fast, slow) => panic!("{shown}: {fast:?} is not {slow:?}"),
    }
}

/// Text and value, as Go's `ParseFloat(text, 64)` has it; `!` is a syntax error, `^` a range error.
const GO: &str = "
    | ! ; 1 1 ; +1 1 ; 1x ! ; 1.1. ! ; 1e23 1e23 ; 1E23 1e23 ; 100000000000000000000000 1e23
    0x1p0 1 ; 0x1p1 2 ; 0x1p-1 0.5 ; 0x1ep-1 15 ; -0x1ep-1 -15 ; -0x1_ep-1 -15
    0x1p-200 6.223015277861142e-61 ; 0x1p200 1.6069380442589903e60 ; 0x1fFe2.p0 131042
    0x1fFe2.P0 131042 ; -0x2p3 -16 ; 0x0.fp4 15 ; 0x0.fp0 0.9375 ; 0x1e2 ! ; 1p2 !
    123456700 1.234567e8 ; 99999999999999974834176 9.999999999999997e22
    100000000000000000000001 1.0000000000000001e23 ; 100000000000000008388608 1.0000000000000001e23
    100000000000000016777215 1.0000000000000001e23 ; 100000000000000016777216 1.0000000000000003e23
    -1 -1 ; -0.1 -0.1 ; -0 -0 ; 1e-20 1e-20 ; 625e-3 0.625
    0 0 ; 0e0 0 ; -0e0 -0 ; +0e0 0 ; 0e-0 0 ; 0e+01234567890123456789 0 ; 0.00e-01234567890123456789 0
    0x0p+01234567890123456789 0 ; -0x0.00p-01234567890123456789 -0
    0e291 0 ; 0e347 0 ; -0e348 -0 ; 0x0p126 0 ; 0x0p1026 0
    nan NaN ; NaN NaN ; NAN NaN ; inf inf ; -Inf -inf ; +INF inf ; -Infinity -inf ; +INFINITY inf
    1.7976931348623157e308 1.7976931348623157e308 ; 1.7976931348623159e308 ^ ; -1.7976931348623159e308 ^
    0x1.fffffffffffffp1023 1.7976931348623157e308 ; 0x1p1024 ^ ; 0x.1p1027 8.98846567431158e307
    0x.1p1028 ^ ; 0x.02p1030 8.98846567431158e307 ; 0x.02p1031 ^
    0x1.fffffffffffff7fffp1023 1.7976931348623157e308 ; 0x1.fffffffffffff8p1023 ^
    1e308 1e308 ; 2e308 ^ ; 1e309 ^ ; 1e310 ^ ; 1e400 ^ ; -1e400 ^ ; 1e400000 ^
    1e-305 1e-305 ; 1e-310 1e-310 ; 1e-322 1e-322 ; 5e-324 5e-324 ; 4e-324 5e-324 ; 3e-324 5e-324
    2e-324 0 ; 1e-350 0 ; 1e-400000 0 ; 0x1p-1074 5e-324 ; 0x2p-1075 5e-324 ; 0x1p-1075 0
    0x1.000000000000001p-1075 5e-324 ; 0x3p-1076 5e-324 ; 0x1p-1022 2.2250738585072014e-308
    1e ! ; 1e- ! ; .e-1 ! ; 1. 1 ; .1 0.1 ; . ! ; 1\0.2 ! ; e ! ; 0x ! ; 0x. ! ; 0xp1 !
    4.9406564584124654e-324 5e-324 ; 4.630813248087435e307 4.630813248087435e307
    22.222222222222222 22.22222222222222 ; 2.2222222222222222222222222222222222e1 22.22222222222222
    2.2250738585072012e-308 2.2250738585072014e-308 ; 2.2250738585072011e-308 2.225073858507201e-308
    1.00000000000000011102230246251565404236316680908203125 1
    1.00000000000000011102230246251565404236316680908203124 1
    1.00000000000000011102230246251565404236316680908203126 1.0000000000000002
    1090544144181609348671888949248 1.0905441441816093e30
    1_23.50_0_0e+1_2 1.235e14 ; -_123.5e+12 ! ; +_123.5e+12 ! ; _123.5e+12 ! ; 1__23.5e+12 !
    123_.5e+12 ! ; 123._5e+12 ! ; 123.5_e+12 ! ; 123.5e_+12 ! ; 123.5e+_12 ! ; 123.5e_-12 !
    123.5e+1__2 ! ; 123.5e+12_ ! ; 0x_1_2.3_4_5p+1_2 74565 ; -_0x12.345p+12 ! ; +_0x12.345p+12 !
    _0x12.345p+12 ! ; 0x__12.345p+12 ! ; 0x1__2.345p+12 ! ; 0x12_.345p+12 ! ; 0x12._345p+12 !
    0x12.3__45p+12 ! ; 0x12.345_p+12 ! ; 0x12.345p_+12 ! ; 0x12.345p+_12 ! ; 0x12.345p+12_ !
";

#[test]
fn the_rows_go_promises() {
    let rows = GO.lines().flat_map(|line| line.split(" ; ")).map(str::trim);
    for row in rows.filter(|row| !row.is_empty()) {
        let (text, expect) = row.split_once(' ').expect(row);
        let text = text.replace("\\0", "\0").replace('|', "");
        match (float(text.as_bytes()), expect) {
            (Err(NumberError::Syntax), "!") | (Err(NumberError::Range), "^") => {}
            (Ok(number), "NaN") => assert!(number.is_nan(), "{text}"),
            (Ok(number), expect) => {
                let wanted: f64 = expect.parse().unwrap_or_else(|_| panic!("{text}: {number:e}"));
                assert_eq!(number.to_bits(), wanted.to_bits(), "{text}: {number:e}");
            }
            (Err(error), expect) => panic!("{text}: {error:?} is not {expect}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn every_float_survives_being_written(bits: u64) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        for text in [format!("{number}"), format!("{number:e}"), format!("{number:.6}")] {
            agree(text.as_bytes());
        }
    }

    #[test]
    fn short_decimals_agree_with_the_standard_library(
        text in "[+-]?[0-9]{0,21}(\\.[0-9]{0,21})?"
    ) {
        agree(text.as_bytes());
    }

    #[test]
    fn whatever_looks_like_a_number_agrees(
        text in "[+-]?(0x)?[0-9_]{0,4}\\.?[0-9_]{0,4}([ep][+-]?[0-9_]{0,4})?[ x]?"
    ) {
        agree(text.as_bytes());
    }

    #[test]
    fn hexadecimal_agrees(text in "-?0[xX][0-9a-f_]{0,6}(\\.[0-9A-F]{0,6})?[pP][+-]?[0-9]{1,3}") {
        agree(text.as_bytes());
    }

    #[test]
    fn any_bytes_agree(text in proptest::collection::vec(any::<u8>(), 0..12)) {
        agree(&text);
    }
}
