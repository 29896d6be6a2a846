//! The least reading of a statsd line: where its name, value, kind and tags are.

use crate::find::find;

/// A line taken apart; everything else on it was skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line<'a> {
    pub name: &'a [u8],
    /// The first letter of the type; none of two types share one.
    pub kind: u8,
    pub tags: &'a [u8],
    /// Sum of the values; a set member counts as 1.
    pub sum: f64,
}

/// Reads the next line of a datagram and moves past it; `None` at the end. A line that is no
/// statsd comes out without a name.
// page.views:1:2|c|@0.5|#env:prod⏎
#[inline(always)]
pub fn next<'a>(rest: &mut &'a [u8]) -> Option<Line<'a>> {
    let bytes = *rest;
    if bytes.is_empty() {
        return None;
    }
    let end = find(b'\n', bytes);
    let (line, behind) = bytes.split_at(end.unwrap_or(bytes.len()));
    *rest = behind.get(1..).unwrap_or_default();
    Some(read(line).unwrap_or_default())
}

#[inline(always)]
fn read(line: &[u8]) -> Option<Line<'_>> {
    let (name, value) = line.split_at(find(b':', line)?);
    let mut whole = 0_u64;
    let mut at = 1;
    while let Some(&byte) = value.get(at)
        && byte.is_ascii_digit()
    {
        whole = whole.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        at += 1;
    }
    // One conversion instruction: the number is far below 2^63.
    let mut sum = whole as i64 as f64;
    let mut rest = value.get(at..)?;
    if !(2..=DIGITS_MAX).contains(&at) || rest.first() != Some(&b'|') {
        (sum, rest) = other_values(value)?;
    }
    let [_, kind, rest @ ..] = rest else { return None };
    let (kind, fields) = (*kind, if let [b's', rest @ ..] = rest { rest } else { rest });
    let tags = match fields {
        [b'|', b'#', tags @ ..] => find(b'|', tags).map_or(tags, |end| &tags[..end]),
        _ => other_fields(fields),
    };
    Some(Line { name, kind, tags, sum })
}

/// More digits, and a 64-bit number may overflow.
const DIGITS_MAX: usize = 19;

/// Several values, fractions, members: their sum, and what follows from the `|` on.
#[cold]
#[inline(never)]
fn other_values(values: &[u8]) -> Option<(f64, &[u8])> {
    let (values, rest) = values.split_at(find(b'|', values)?);
    let one = |value| fast_float2::parse(value).unwrap_or(1.0);
    Some((values[1..].split(|byte| *byte == b':').map(one).sum(), rest))
}

/// The tags behind other fields.
#[inline(never)]
fn other_fields(mut rest: &[u8]) -> &[u8] {
    let mut tags = &b""[..];
    while let [b'|', field @ ..] = rest {
        let (field, behind) = field.split_at(find(b'|', field).unwrap_or(field.len()));
        tags = field.strip_prefix(b"#").unwrap_or(tags);
        rest = behind;
    }
    tags
}
