//! `name:number|type|@rate|#tags`, the everyday form of a metric line, read by the places of its
//! separators.
//!
//! Plain warning: this is a second, smaller reader next to [`super::metric`], for speed alone. The places
//! of all `|` and newlines of a datagram are found first ([`super::blocks`]); a line is three of them,
//! and its number is read backwards from the first, so nothing is searched. What it does not take
//! (several values, set members, numbers in other notations, timestamps, honoured origin fields,
//! carriage returns, faults) it leaves to the full reader.
//!
//! What it takes means the same in the full reader **if the name is one**: it does not look for a second
//! `:` in it, nor at what `_` may begin. So trust a [`PlainMetric`] only when its name was seen in a
//! line that the full reader read. A property test below compares the two.

use super::blocks::{self, SLACK};
use super::datagram::lines;
use super::message::{Metric, MetricType, Options, OriginFields, Values};
use super::number;
use super::scan::first_of_two;

/// A metric line with one plain number and no field beyond rate and tags that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlainMetric<'a> {
    /// The bytes before the number and its `:`.
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

/// Bytes whose separators are found at once: more than most datagrams have.
pub const WINDOW_BYTES: usize = 16 << 10;

/// Where the separators of a text stand; kept for its memory, which the first text asks for.
#[derive(Debug, Default)]
pub struct Separators(Vec<u16>);

impl Separators {
    /// Begins to read the lines of a text: those that end in its first [`WINDOW_BYTES`].
    #[inline]
    pub fn read<'a>(&mut self, text: &'a [u8], options: Options) -> PlainLines<'a, '_> {
        let window = &text[..text.len().min(WINDOW_BYTES)];
        self.0.resize(WINDOW_BYTES + 2 * SLACK, 0);
        let found = blocks::index(window, &mut self.0);
        // As if a newline stood behind the end, and enough of them to always look three ahead.
        self.0[found..found + SLACK].fill(window.len() as u16);
        let ends = found + usize::from(window.len() == text.len());
        PlainLines {
            text,
            window,
            places: &self.0[..found + SLACK],
            ends,
            next: 0,
            start: 0,
            options,
        }
    }
}

/// The lines of a text, one after the other.
#[derive(Debug)]
pub struct PlainLines<'a, 's> {
    text: &'a [u8],
    window: &'a [u8],
    /// Places of `|` and newlines, then the end of the window.
    places: &'s [u16],
    /// How many places may end a line.
    ends: usize,
    /// The first place of the next line.
    next: usize,
    start: usize,
    options: Options,
}

impl<'a> PlainLines<'a, '_> {
    /// The next line if it is a plain metric. `None` means that [`PlainLines::line`] has to be asked.
    #[inline(always)]
    pub fn metric(&mut self) -> Option<PlainMetric<'a>> {
        let (window, first) = (self.window, self.next);
        let [pipe, second, third] = *self.places.get(first..)?.first_chunk()?;
        let [pipe, second, third] = [pipe, second, third].map(usize::from);
        if window.get(pipe) != Some(&b'|') || first + 1 >= self.ends {
            return None;
        }
        let (value, length) = match word_before(window, pipe).and_then(number::before) {
            Some(known) => known,
            None => self.long_number(pipe)?,
        };
        // Fails when the `:` stands in an earlier line.
        let name = window.get(self.start..pipe - length)?;
        let kind = plain_type(window, pipe + 1, second)?;
        let mut metric = PlainMetric { name, kind, value, rate: 1.0, tags: b"" };
        let last = if window.get(second) != Some(&b'|') {
            first + 1
        } else if window.get(second + 1) == Some(&b'#')
            && window.get(third) != Some(&b'|')
            && first + 2 < self.ends
        {
            metric.tags = window.get(second + 2..third)?;
            first + 2
        } else {
            self.fields(first + 1, &mut metric)?
        };
        // It belongs to the line's end, not to the tag.
        if metric.tags.last() == Some(&b'\r') {
            return None;
        }
        self.next = last + 1;
        self.start = usize::from(*self.places.get(last)?) + 1;
        Some(metric)
    }

    /// A number that is not all digits and one point in eight bytes, and how far before `pipe` its
    /// `:` stands.
    #[inline(never)]
    fn long_number(&self, pipe: usize) -> Option<(f64, usize)> {
        let head = self.window.get(self.start..pipe)?;
        let colon = self.start + first_of_two(b':', b':', head)?;
        let (rest, value) = number::plain(self.window.get(colon + 1..)?).ok()?;
        (rest.len() == self.window.len() - pipe).then_some((value, pipe - colon))
    }

    /// Reads the fields from the `|` of this place on; returns the place that ends the line.
    #[inline(never)]
    fn fields(&self, mut at: usize, metric: &mut PlainMetric<'a>) -> Option<usize> {
        let window = self.window;
        loop {
            let from = usize::from(*self.places.get(at)?);
            if window.get(from) != Some(&b'|') {
                return Some(at).filter(|at| *at < self.ends);
            }
            at += 1;
            let to = usize::from(*self.places.get(at)?);
            match window.get(from + 1..to)? {
                [b'#', tags @ ..] => metric.tags = tags,
                [b'@', ..] => {
                    let (rest, rate) = number::plain(window.get(from + 2..)?).ok()?;
                    if rest.len() != window.len() - to {
                        return None;
                    }
                    metric.rate = rate;
                }
                [b'T', ..] if self.options.timestamps => return None,
                _ if self.options.origin => return None,
                _ => {}
            }
        }
    }

    /// The next line, whatever it is, without its newline and the one carriage return before it. Empty
    /// lines are skipped. `None`: go on with [`PlainLines::rest`].
    #[inline(never)]
    pub fn line(&mut self) -> Option<&'a [u8]> {
        while self.next < self.ends {
            let end = usize::from(self.places[self.next]);
            self.next += 1;
            if self.window.get(end) == Some(&b'|') {
                continue;
            }
            let line = self.window.get(self.start..end)?;
            self.start = end + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                return Some(line);
            }
        }
        if self.start > 0 {
            return None;
        }
        // Longer than the window.
        let mut all = lines(self.text);
        let line = all.next().map(|line| line.bytes);
        self.start = self.text.len() - all.rest().len();
        line
    }

    /// How far was read, to ask [`PlainLines::between`] for what was.
    #[inline]
    #[must_use]
    pub fn mark(&self) -> usize {
        self.start
    }

    /// A line between two marks, without its newline.
    #[inline]
    #[must_use]
    pub fn between(&self, from: usize, to: usize) -> &'a [u8] {
        let line = self.window.get(from..to.min(self.window.len())).unwrap_or_default();
        line.strip_suffix(b"\n").unwrap_or(line)
    }

    /// What was not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.text.get(self.start..).unwrap_or_default()
    }
}

#[inline(always)]
fn word_before(window: &[u8], end: usize) -> Option<u64> {
    window.get(..end)?.last_chunk().map(|word| u64::from_le_bytes(*word))
}

/// The type from `at` to `end`, if its sample is a number. By a table and without a branch for each:
/// types alternate, so that it would be guessed wrong most of the time.
#[inline(always)]
fn plain_type(window: &[u8], at: usize, end: usize) -> Option<MetricType> {
    let kind = NUMERIC_TYPES[usize::from(*window.get(at)?)]?;
    let long = kind == MetricType::Timing;
    let second = window.get(at + 1).copied().unwrap_or(0);
    let fits = (end == at + 1 + usize::from(long)) & (!long | (second == b's'));
    fits.then_some(kind)
}

/// Types by their first letter, but for sets.
const NUMERIC_TYPES: [Option<MetricType>; 256] = {
    let mut types = super::metric::TYPES;
    types[b's' as usize] = None;
    types
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Message, read};
    use proptest::prelude::*;

    const ORIGIN: Options = Options { timestamps: true, origin: true };
    const SHUT: Options = Options { timestamps: false, origin: false };

    /// True when the first line is taken; then the full reader must say the same, if its name is one.
    /// All lines together must be those of the datagram.
    #[track_caller]
    fn takes(datagram: &str, options: Options) -> bool {
        let (bytes, mut separators) = (datagram.as_bytes(), Separators::default());
        let mut reader = separators.read(bytes, options);
        let mut first = None;
        for line in lines(bytes) {
            let from = reader.mark();
            let metric = reader.metric();
            first.get_or_insert(metric.is_some());
            let Some(metric) = metric else {
                assert_eq!(reader.line(), Some(line.bytes), "{datagram:?}");
                continue;
            };
            let taken = reader.between(from, reader.mark());
            assert_eq!(taken.strip_suffix(b"\r").unwrap_or(taken), line.bytes, "{datagram:?}");
            if !metric.name.is_empty() && !metric.name.contains(&b':') && metric.name[0] != b'_' {
                let full = read(line.bytes, options);
                assert_eq!(full, Ok(Message::Metric(metric.into())), "{datagram:?}");
            }
        }
        assert_eq!((reader.metric(), reader.line(), reader.rest()), (None, None, &b""[..]));
        first.unwrap_or(false)
    }

    #[test]
    fn everyday_lines_are_taken() {
        for line in [
            "page.views:1|c",
            "page.views:1|c\n",
            "pages:1|c\na:2|g\nb:3|ms",
            "page.views:1|c\nnext:2|g",
            "page.views:-1.5|ms|@0.5|#env:prod,az:1\n\n",
            "name:1|h|#a|@0.1|#b",
            "name:1|d|#|\n",
            "name:1|d||zz|c:x\r\nx",
            "name:1234567|d",
            "name:123.456|d",
            "name:12345678901|d|#a",
            "name:.5|g|@.25",
            "a.name.that.is.longer.than.any.block:12345.678901|g|#t:1,a.tag.of.some.length:and.value\n",
        ] {
            assert!(takes(line, Options::default()), "{line}");
        }
        assert!(takes("name:1|c|T5\n", SHUT));
    }

    #[test]
    fn everything_else_is_left_alone() {
        for line in [
            "",
            "\n",
            "\nn:1|c",
            "n\n:1|c",
            "n|c:1|c",
            "name:|c",
            "name|1|c",
            "name:1e3|c",
            "name:1|s",
            "name:1|x",
            "name:1|cc",
            "n:1|c\r\n",
            "n:1|c|#a\r\n",
            "n:1|c|#a\r",
            "n:1|c|@0.5\r\n",
            "name:1|c|@x",
            "name:1|c|T5",
            "n:1\n|c",
        ] {
            assert!(!takes(line, Options::default()), "{line:?}");
        }
        assert!(!takes("name:1|c|c:x", ORIGIN));
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

    #[test]
    fn lines_at_the_end_of_the_window_and_longer_ones_are_read_whole() {
        let short = "page.views:1|c|#env:prod\n".repeat(2_000);
        let long = format!("{}name:1|c|#{}\nnext:2|g", "a:1|c\n", "t".repeat(2 * WINDOW_BYTES));
        for text in [short, long] {
            let (mut rest, mut separators) = (text.as_bytes(), Separators::default());
            let mut got = Vec::new();
            while !rest.is_empty() {
                let mut reader = separators.read(rest, Options::default());
                loop {
                    let from = reader.mark();
                    if reader.metric().is_some() {
                        got.push(reader.between(from, reader.mark()));
                    } else if let Some(line) = reader.line() {
                        got.push(line);
                    } else {
                        break;
                    }
                }
                assert!(reader.rest().len() < rest.len());
                rest = reader.rest();
            }
            assert_eq!(got, lines(text.as_bytes()).map(|line| line.bytes).collect::<Vec<_>>());
        }
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
