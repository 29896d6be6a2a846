//! `name:values|type|field|field…`, the hot path of the program.
//!
//! ```text
//! page.views:1:2:3|c|@0.5|#env:prod,az:1
//! ^ name     ^ values, one or more
//!                  ^ c g h ms s d
//!                    ^ @ rate, # tags, T timestamp, c: e: card: origin; others are ignored
//! ```
//!
//! One pass from left to right; tags are found, not split. Everything unusual is out of line: what
//! costs next to nothing here is the line with one short number, a rate and tags.

use nom::Parser;
use nom::sequence::terminated;

use super::error::{ErrorKind, ParseError};
use super::literal::NumberError;
use super::message::{Metric, MetricType, Options, OriginFields, Values};
use super::number;
use super::origin;
use super::scan::{Parsed, byte, first_of_two, split_before, stop, until};
use super::values::next_item;

/// Reads a metric line.
#[inline(always)]
pub(super) fn read(line: &[u8], options: Options) -> Result<Metric<'_>, ParseError> {
    let Ok((after_name, name)) = terminated(name, byte(b':')).parse(line) else {
        return Err(bad_head(line));
    };
    let (after_values, text, one) = match number::plain(after_name) {
        Ok((from_pipe @ [b'|', rest @ ..], number)) => {
            (rest, &after_name[..after_name.len() - from_pipe.len()], Some(number))
        }
        _ => match value_text(after_name) {
            Ok((rest, text)) => (rest, text, None),
            Err(_) => return Err(bad_head(line)),
        },
    };
    let Ok((mut rest, kind)) = kind(after_values) else {
        return Err(ParseError::at(ErrorKind::UnknownType, line, after_values));
    };
    let values = match one {
        _ if kind == MetricType::Set => Values::Member(text),
        Some(number) => Values::One(number),
        None => several(line, text)?,
    };
    let mut metric = Metric {
        name,
        kind,
        values,
        rate: 1.0,
        tags: b"",
        timestamp: None,
        origin: OriginFields::default(),
    };
    while let [b'|', field @ ..] = rest {
        rest = self::field(line, field, options, &mut metric)?;
    }
    Ok(metric)
}

/// Non-empty bytes before the first `:`, which must come before any `|`.
#[inline(always)]
fn name(line: &[u8]) -> Parsed<'_, &[u8]> {
    match first_of_two(b':', b'|', line) {
        Some(end) if end > 0 => {
            let (name, rest) = line.split_at(end);
            Ok((rest, name))
        }
        _ => stop(line),
    }
}

/// Non-empty bytes before the first `|`, and the `|`.
#[inline(never)]
fn value_text(input: &[u8]) -> Parsed<'_, &[u8]> {
    match terminated(until(b'|'), byte(b'|')).parse(input) {
        Ok((_, [])) => stop(input),
        parsed => parsed,
    }
}

/// The type, which ends at a `|` or with the line.
#[inline(always)]
fn kind(input: &[u8]) -> Parsed<'_, MetricType> {
    match wire_type(input) {
        Some((kind, rest @ ([] | [b'|', ..]))) => Ok((rest, kind)),
        _ => stop(input),
    }
}

/// The type that `input` begins with, and what follows it. By a table: kinds alternate, so that a
/// branch for each would be guessed wrong most of the time.
#[inline(always)]
pub(super) fn wire_type(input: &[u8]) -> Option<(MetricType, &[u8])> {
    let (first, rest) = input.split_first()?;
    let kind = TYPES[usize::from(*first)]?;
    if kind != MetricType::Timing {
        return Some((kind, rest));
    }
    rest.strip_prefix(b"s").map(|rest| (kind, rest))
}

/// Types by their first letter.
pub(super) const TYPES: [Option<MetricType>; 256] = {
    let mut types = [None; 256];
    types[b'c' as usize] = Some(MetricType::Counter);
    types[b'g' as usize] = Some(MetricType::Gauge);
    types[b'd' as usize] = Some(MetricType::Distribution);
    types[b'h' as usize] = Some(MetricType::Histogram);
    types[b'm' as usize] = Some(MetricType::Timing);
    types[b's' as usize] = Some(MetricType::Set);
    types
};

/// Reads one optional field into the metric; a later one of its kind replaces an earlier one.
/// Returns what follows it.
#[inline(always)]
fn field<'a>(
    line: &'a [u8],
    field: &'a [u8],
    options: Options,
    metric: &mut Metric<'a>,
) -> Result<&'a [u8], ParseError> {
    match field {
        [b'#', content @ ..] => {
            let (tags, rest) = split_before(b'|', content);
            metric.tags = tags;
            Ok(rest)
        }
        [b'@', content @ ..] => {
            let (rest, rate) = match number::plain(content) {
                Ok((rest @ ([] | [b'|', ..]), rate)) => (rest, rate),
                _ => unusual_rate(line, content)?,
            };
            metric.rate = rate;
            Ok(rest)
        }
        [b'T', content @ ..] if options.timestamps => {
            let (seconds, rest) = timestamp(line, content)?;
            metric.timestamp = Some(seconds);
            Ok(rest)
        }
        _ => {
            let (content, rest) = split_before(b'|', field);
            if options.origin {
                origin::read_field(content, &mut metric.origin);
            }
            Ok(rest)
        }
    }
}

/// A rate that is not a short decimal.
#[cold]
#[inline(never)]
fn unusual_rate<'a>(line: &[u8], content: &'a [u8]) -> Result<(&'a [u8], f64), ParseError> {
    let (text, rest) = split_before(b'|', content);
    match number::float(text) {
        Ok(rate) => Ok((rest, rate)),
        Err(_) => Err(ParseError::at(ErrorKind::BadRate, line, text)),
    }
}

/// Unix seconds of at least 1.
#[inline(never)]
fn timestamp<'a>(line: &[u8], content: &'a [u8]) -> Result<(i64, &'a [u8]), ParseError> {
    let (text, rest) = split_before(b'|', content);
    match number::integer(text) {
        Some(seconds @ 1..) => Ok((seconds, rest)),
        _ => Err(ParseError::at(ErrorKind::BadTimestamp, line, text)),
    }
}

/// Checks values joined by `:`, or the one that is not a short decimal.
#[inline(never)]
fn several<'a>(line: &[u8], text: &'a [u8]) -> Result<Values<'a>, ParseError> {
    let mut items = text;
    let mut last = None;
    while let Some((item, number)) = next_item(&mut items) {
        match number {
            Ok(number) => last = Some((number, item.len())),
            Err(error) => {
                let kind = match error {
                    NumberError::Syntax => ErrorKind::BadValue,
                    NumberError::Range => ErrorKind::ValueOutOfRange,
                };
                return Err(ParseError::at(kind, line, item));
            }
        }
    }
    match last {
        Some((number, length)) if length == text.len() => Ok(Values::One(number)),
        Some(_) => Ok(Values::Packed(text)),
        None => Err(ParseError::at(ErrorKind::EmptyValue, line, text)),
    }
}

/// Names what is wrong before the type, in the order a person would fix it.
#[cold]
#[inline(never)]
fn bad_head(line: &[u8]) -> ParseError {
    let (head, from_pipe) = split_before(b'|', line);
    let (name, from_colon) = split_before(b':', head);
    if from_pipe.is_empty() {
        ParseError::at(ErrorKind::MissingType, line, from_pipe)
    } else if from_colon.is_empty() {
        ParseError::at(ErrorKind::MissingValue, line, from_pipe)
    } else if name.is_empty() {
        ParseError::at(ErrorKind::EmptyName, line, name)
    } else {
        ParseError::at(ErrorKind::EmptyValue, line, from_pipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Options = Options { timestamps: true, origin: true };

    #[track_caller]
    fn refuses(line: &str, kind: ErrorKind, offset: usize) {
        let refused = read(line.as_bytes(), Options::default());
        assert_eq!(refused, Err(ParseError { kind, offset }), "{line}");
    }

    #[test]
    fn the_place_of_a_refusal_is_where_the_fault_begins() {
        refuses("n:1", ErrorKind::MissingType, 3);
        refuses("", ErrorKind::MissingType, 0);
        refuses("n|c", ErrorKind::MissingValue, 1);
        refuses("|c:1", ErrorKind::MissingValue, 0);
        refuses(":1|c", ErrorKind::EmptyName, 0);
        refuses("n:|c", ErrorKind::EmptyValue, 2);
        refuses("n:::|c", ErrorKind::EmptyValue, 2);
        refuses("n:1|", ErrorKind::UnknownType, 4);
        refuses("n:1|m", ErrorKind::UnknownType, 4);
        refuses("n:1|cc", ErrorKind::UnknownType, 4);
        refuses("n:x|y", ErrorKind::UnknownType, 4);
        refuses("n:1:x|c", ErrorKind::BadValue, 4);
        refuses("n:1:1e400|c", ErrorKind::ValueOutOfRange, 4);
        refuses("n:1|c|#a|@x", ErrorKind::BadRate, 10);
        refuses("n:1|c|@0.5x|#a", ErrorKind::BadRate, 7);
        refuses("n:1|c|T1.5", ErrorKind::BadTimestamp, 7);
    }

    #[test]
    fn a_list_of_one_that_is_written_plainly_is_one() {
        let values = |line: &'static str| read(line.as_bytes(), ORIGIN).unwrap().values;
        assert_eq!(values("n:1e3|g"), Values::One(1000.0));
        assert_eq!(values("n:1:|g"), Values::Packed(b"1:"));
        assert_eq!(values("n:7|s"), Values::Member(b"7"));
        assert_eq!(values("n:a:b|s"), Values::Member(b"a:b"));
        assert_eq!(values("n::|s"), Values::Member(b":"));
    }

    #[test]
    fn every_field_may_repeat_and_the_last_one_counts() {
        let line = b"n:1|c|#a|@0.5|T1|c:x|e:y|card:low|zz||#b|@2|T2|c:z|e:|card:high";
        let metric = read(line, ORIGIN).unwrap();
        assert_eq!((metric.tags, metric.rate, metric.timestamp), (&b"b"[..], 2.0, Some(2)));
        let origin = OriginFields {
            local_data: Some(b"z"),
            external_data: Some(b""),
            cardinality: Some(b"high"),
        };
        assert_eq!(metric.origin, origin);
    }

    #[test]
    fn gated_fields_are_unknown_when_their_gate_is_shut() {
        let shut = Options { timestamps: false, origin: false };
        let metric = read(b"n:1|c|Tx|c:x|e:y|card:low", shut).unwrap();
        assert_eq!((metric.timestamp, metric.origin), (None, OriginFields::default()));
    }
}
