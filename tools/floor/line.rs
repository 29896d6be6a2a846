//! The least reading of a statsd line: where its name, values, kind and tags are.

use memchr::{memchr, memchr2};

/// A line taken apart; everything else on it was skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line<'a> {
    pub name: &'a [u8],
    pub kind: &'a [u8],
    pub tags: &'a [u8],
    /// Sum of the values; a set member counts as 1.
    pub sum: f64,
}

/// Reads the next line of a datagram and moves past it; `None` at the end. A line that is no
/// statsd comes out without a name. Long fields are searched once, for their end and the line's
/// at the same time.
// page.views:1:2|c|@0.5|#env:prod⏎
#[inline]
pub fn next<'a>(rest: &mut &'a [u8]) -> Option<Line<'a>> {
    let bytes = *rest;
    if bytes.is_empty() {
        return None;
    }
    let mut line = Line::default();
    let Some(colon) = memchr2(b':', b'\n', bytes).filter(|&at| bytes[at] == b':') else {
        *rest = past_newline(bytes);
        return Some(line);
    };
    let mut at = colon;
    while bytes.get(at) == Some(&b':') {
        let end = value_end(bytes, at + 1);
        line.sum += number(&bytes[at + 1..end]);
        at = end;
    }
    if bytes.get(at) != Some(&b'|') {
        *rest = past_newline(&bytes[at..]);
        return Some(Line::default());
    }
    let kind = at + 1;
    at = kind
        + bytes[kind..].iter().position(|&b| b == b'|' || b == b'\n').unwrap_or(bytes.len() - kind);
    line.name = &bytes[..colon];
    line.kind = &bytes[kind..at];
    while bytes.get(at) == Some(&b'|') {
        let field = at + 1;
        at = field + memchr2(b'|', b'\n', &bytes[field..]).unwrap_or(bytes.len() - field);
        if bytes.get(field) == Some(&b'#') {
            line.tags = &bytes[field + 1..at];
        }
    }
    *rest = bytes.get(at + 1..).unwrap_or_default();
    Some(line)
}

#[cold]
fn past_newline(bytes: &[u8]) -> &[u8] {
    memchr(b'\n', bytes).map_or(&[], |at| &bytes[at + 1..])
}

/// Values are short: a plain loop beats a vector search that has to start up.
#[inline]
fn value_end(bytes: &[u8], from: usize) -> usize {
    let short = bytes[from..].iter().position(|&b| matches!(b, b':' | b'|' | b'\n'));
    short.map_or(bytes.len(), |length| from + length)
}

#[inline]
fn number(digits: &[u8]) -> f64 {
    let mut whole = 0u64;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 || digits.len() > 18 {
            return fast_float2::parse(digits).unwrap_or(1.0);
        }
        whole = whole * 10 + u64::from(digit);
    }
    whole as f64
}
