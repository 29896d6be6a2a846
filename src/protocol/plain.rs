//! `name:number|type|@rate|#tags`, the everyday form of a metric line, read straight off a
//! datagram.
//!
//! Plain warning: this is a second, smaller reader next to [`super::metric`], for speed alone. It
//! searches the newline together with what ends a field, so that no byte is looked at twice, and
//! what it returns fits registers. What it does not take (several values, set members,
//! numbers in other notations, timestamps, honoured origin fields, carriage returns, faults) it
//! leaves to the full reader, and what it takes must mean the same there: a property test below
//! compares the two.

use super::message::{Metric, MetricType, Options, OriginFields, Values};
use super::metric::wire_type;
use super::number;
use super::scan::{Parsed, first_of, stop};

/// A metric line with one plain number and no field beyond rate and tags that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlainMetric<'a> {
    /// Non-empty bytes before the first `:`.
    pub name: &'a [u8],
    /// The type field; never a set.
    pub kind: MetricType,
    /// The sample, finite.
    pub value: f64,
    /// The last `@` as it was written, also when it is out of range; 1 when absent.
    pub rate: f64,
    /// The last `#` field without the `#`; empty when absent.
    pub tags: &'a [u8],
}

impl<'a> From<PlainMetric<'a>> for Metric<'a> {
    fn from(plain: PlainMetric<'a>) -> Self {
        Metric {
            name: plain.name,
            kind: plain.kind,
            values: Values::One(plain.value),
            rate: plain.rate,
            tags: plain.tags,
            timestamp: None,
            origin: OriginFields::default(),
        }
    }
}

/// Reads the first line of `datagram` if it is a plain metric. Returns the metric and what follows
/// its newline; `None` only means that [`super::read`] has to read the line.
#[inline(always)]
#[must_use]
pub fn plain_metric(datagram: &[u8], options: Options) -> Option<(PlainMetric<'_>, &[u8])> {
    let (rest, name) = name(datagram).ok()?;
    let (rest, value) = number::plain(rest).ok()?;
    let (mut rest, kind) = plain_type(rest).ok()?;
    let mut metric = PlainMetric { name, kind, value, rate: 1.0, tags: b"" };
    loop {
        let Some((end, behind)) = rest.split_first() else { return Some((metric, rest)) };
        rest = match end {
            b'\n' => return Some((metric, behind)),
            b'|' => field(behind, options, &mut metric)?,
            _ => return None,
        };
    }
}

/// Non-empty bytes and the `:` behind them; an underscore may begin an event or a check.
#[inline(always)]
fn name(line: &[u8]) -> Parsed<'_, &[u8]> {
    let end = first_of([b':', b'|', b'\n'], line);
    match line.split_at(end) {
        ([first, ..], [b':', rest @ ..]) if *first != b'_' => Ok((rest, &line[..end])),
        _ => stop(line),
    }
}

/// A `|` and a type whose sample is a number.
#[inline(always)]
fn plain_type(input: &[u8]) -> Parsed<'_, MetricType> {
    let [b'|', field @ ..] = input else { return stop(input) };
    match wire_type(field) {
        Some((kind, rest)) if kind != MetricType::Set => Ok((rest, kind)),
        _ => stop(input),
    }
}

/// Reads one optional field into the metric. Returns what follows it.
#[inline(always)]
fn field<'a>(field: &'a [u8], options: Options, metric: &mut PlainMetric<'a>) -> Option<&'a [u8]> {
    match field {
        [b'#', content @ ..] => {
            let (tags, rest) = field_end(content);
            // It belongs to the line's end, not to the tag.
            if tags.last() == Some(&b'\r') {
                return None;
            }
            metric.tags = tags;
            Some(rest)
        }
        [b'@', content @ ..] => {
            let (rest, rate) = number::plain(content).ok()?;
            metric.rate = rate;
            Some(rest)
        }
        [b'T', ..] if options.timestamps => None,
        _ if options.origin => None,
        _ => Some(field_end(field).1),
    }
}

/// The content of a field, and the rest from the `|` or newline that ends it.
#[inline(always)]
fn field_end(content: &[u8]) -> (&[u8], &[u8]) {
    content.split_at(first_of([b'|', b'\n'], content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Message, lines, read};
    use proptest::prelude::*;

    const ORIGIN: Options = Options { timestamps: true, origin: true };
    const SHUT: Options = Options { timestamps: false, origin: false };

    /// True when the line is taken; then the full reader must say the same.
    #[track_caller]
    fn takes(datagram: &str, options: Options) -> bool {
        let bytes = datagram.as_bytes();
        let Some((metric, rest)) = plain_metric(bytes, options) else { return false };
        let first = lines(bytes).next().unwrap();
        let full = read(first.bytes, options);
        assert_eq!(full, Ok(Message::Metric(metric.into())), "{datagram:?}");
        let used = bytes.len() - rest.len();
        assert!(bytes.starts_with(first.bytes), "{datagram:?}");
        assert_eq!(bytes[..used].ends_with(b"\n"), first.terminated, "{datagram:?}");
        assert_eq!(lines(rest).next().map(|line| line.bytes), lines(bytes).nth(1).map(|l| l.bytes));
        true
    }

    #[test]
    fn everyday_lines_are_taken() {
        for line in [
            "page.views:1|c",
            "page.views:1|c\n",
            "page.views:1|c\nnext:2|g",
            "page.views:-1.5|ms|@0.5|#env:prod,az:1\n\n",
            "a:1|h|#a|@0.1|#b",
            "n:1|d|#|\n",
            "n:1|d||zz|c:x\r\nx",
            "a.name.that.is.longer.than.any.block:12345.678901|g|#t:1,a.tag.of.some.length:and.value\n",
        ] {
            assert!(takes(line, Options::default()), "{line}");
        }
        assert!(takes("n:1|c|T5\n", SHUT));
    }

    #[test]
    fn everything_else_is_left_alone() {
        for line in [
            "",
            "\n",
            "\nn:1|c",
            "n\n:1|c",
            ":1|c",
            "n|c:1|c",
            "_n:1|c",
            "n:1:2|c",
            "n:1e3|c",
            "n:1|s",
            "n:1|x",
            "n:1|cc",
            "n:1|c\r\n",
            "n:1|c|#a\r\n",
            "n:1|c|#a\r",
            "n:1|c|@0.5\r\n",
            "n:1|c|@x",
            "n:1|c|T5",
            "n:1\n|c",
        ] {
            assert!(!takes(line, Options::default()), "{line:?}");
        }
        assert!(!takes("n:1|c|c:x", ORIGIN));
    }

    /// Datagrams of pieces that lines are made of, in any order.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "n",
            "page.views.of.a.long.name",
            ":",
            ":",
            "1",
            "2.5",
            "-3",
            "1e3",
            "|",
            "|",
            "|c",
            "|g",
            "|ms",
            "|s",
            "|@0.5",
            "|#",
            "a:b,c:d",
            "|T5",
            "|c:x",
            "\n",
            "\r\n",
            "_e{",
            "é",
        ]);
        prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_taken_reads_the_same_in_full(
            name in "[a-z.]{0,40}",
            value in "-?[0-9]{0,9}(\\.[0-9]{0,7})?",
            tail in pieces(),
            anything in pieces(),
        ) {
            for options in [Options::default(), ORIGIN, SHUT] {
                takes(&format!("{name}:{value}|c{tail}"), options);
                takes(&anything, options);
            }
        }
    }
}
