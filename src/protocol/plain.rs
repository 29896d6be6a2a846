//! `name:number|type|@rate|#tags`, the everyday form of a metric line, read by the places of its
//! separators.
//!
//! Plain warning: this is a second, smaller reader next to [`super::metric`], for speed alone. The places
//! of all `|` and newlines of a datagram are found first ([`super::blocks`]); a line is three of them,
//! and its number is read backwards from the first, so nothing is searched. What it does not take
//! (several values, set members, numbers in other notations, timestamps, honoured origin fields,
//! rates out of range, carriage returns, faults) it leaves to the full reader.
//!
//! What it takes means the same in the full reader **if the name is one**: it does not look for a second
//! `:` in it, nor at what `_` may begin. So trust a [`PlainMetric`] only when its name was seen in a
//! line that the full reader read. A property test below compares the two.

use super::blocks::{self, BLOCK};
use super::datagram::lines;
use super::message::{Metric, MetricType, Options, OriginFields, RATE_MIN, Values};
use super::metric::{TYPES, wire_type};
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
    /// The last `@`, from [`RATE_MIN`] to 1; 1 when absent.
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
/// Places beyond the last separator, so that a line can always be asked for its three.
const BEYOND: usize = 4;
/// Bytes for each separator of lines that are long: some 400 a line.
const LONG_BYTES: usize = 128;
/// Where a line ends that goes on behind the window: no place in it.
const NOWHERE: u16 = u16::MAX;

const _: () = assert!(WINDOW_BYTES < NOWHERE as usize);

/// Where the separators of a text stand; kept for its memory, which the first text asks for.
#[derive(Debug, Default)]
pub struct Separators(Vec<u16>);

impl Separators {
    /// Begins to read the lines of a text: those that end in its first [`WINDOW_BYTES`].
    #[inline]
    pub fn read<'a>(&mut self, text: &'a [u8], options: Options) -> PlainLines<'a, '_> {
        let window = &text[..text.len().min(WINDOW_BYTES)];
        self.0.resize(WINDOW_BYTES + BLOCK + BEYOND, 0);
        let found = blocks::index(window, &mut self.0);
        // As if a newline stood behind the end of the text.
        let is_whole = window.len() == text.len();
        self.0[found..found + BEYOND].fill(if is_whole { window.len() as u16 } else { NOWHERE });
        let places = &self.0[..found + BEYOND];
        PlainLines { text, window, places, is_whole, start: 0, options }
    }
}

/// The lines of a text, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct PlainLines<'a, 's> {
    text: &'a [u8],
    window: &'a [u8],
    /// Places of `|` and newlines that were not read yet, then [`BEYOND`] of the end or of nowhere, of
    /// which the last line may have taken one.
    places: &'s [u16],
    is_whole: bool,
    start: usize,
    options: Options,
}

impl<'a> PlainLines<'a, '_> {
    /// The next line if it is a plain metric. `None` means that [`PlainLines::line`] has to be asked.
    // Everything is a local value, and what is called gets copies: so it all stays in registers.
    #[inline(always)]
    pub fn metric(&mut self) -> Option<PlainMetric<'a>> {
        let ([pipe, _, end], behind) = self.places.split_first_chunk()?;
        let (pipe, end) = (usize::from(*pipe), usize::from(*end));
        if let Some(metric) = tagged(self.window, self.start, pipe, end) {
            (self.places, self.start) = (behind, end + 1);
            return Some(metric);
        }
        let (metric, used) = other(self.window, self.start, self.places, self.options)?;
        let (used, behind) = self.places.split_at_checked(used)?;
        (self.places, self.start) = (behind, usize::from(*used.last()?) + 1);
        let PlainMetric { name, kind, value, rate, tags } = metric;
        Some(PlainMetric { name, kind, value, rate, tags })
    }

    /// The next line, whatever it is, without its newline and the one carriage return before it. Empty
    /// lines are skipped. `None`: go on with [`PlainLines::rest`].
    #[inline(never)]
    pub fn line(&mut self) -> Option<&'a [u8]> {
        let beyond = BEYOND - usize::from(self.is_whole);
        while self.places.len() > beyond
            && let [end, places @ ..] = self.places
        {
            self.places = places;
            let end = usize::from(*end);
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

    /// True when what was not read yet has long lines: then their bytes, not their number, take the time.
    #[inline]
    #[must_use]
    pub fn are_long(&self) -> bool {
        (self.window.len() - self.start.min(self.window.len())) / LONG_BYTES >= self.places.len()
    }

    /// Where the line of a metric begins: as the mark before it.
    #[inline]
    #[must_use]
    pub fn start_of(&self, metric: &PlainMetric<'_>) -> usize {
        metric.name.as_ptr().addr().wrapping_sub(self.window.as_ptr().addr())
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

/// Reads a line with a short number and tags alone, if it ends at the second place behind `pipe`.
#[inline(always)]
fn tagged(window: &[u8], start: usize, pipe: usize, end: usize) -> Option<PlainMetric<'_>> {
    // What decides stands around the `|`: eight bytes before it and four behind.
    let near: &[u8; 13] = window.get(pipe.wrapping_sub(8)..)?.first_chunk()?;
    let [n0, n1, n2, n3, n4, n5, n6, n7, b'|', field @ ..] = *near else { return None };
    let (value, length) = number::before(u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]))?;
    let field = u32::from_le_bytes(field);
    let wanted = &TAGGED_TYPES[usize::from(field as u8)];
    if field & wanted.mask != wanted.bytes || window.get(end) == Some(&b'|') {
        return None;
    }
    let tags = window.get(pipe + usize::from(wanted.width)..end)?;
    // Fails when the `:` stands in an earlier line.
    let name = window.get(start..pipe - length)?;
    // A carriage return belongs to the line's end, not to the tag.
    let is_plain = tags.last() != Some(&b'\r');
    is_plain.then_some(PlainMetric { name, kind: wanted.kind, value, rate: 1.0, tags })
}

/// Reads any other plain line; `places` are its own and further ones. Returns how many it takes.
#[inline(never)]
fn other<'a>(
    window: &'a [u8],
    start: usize,
    places: &[u16],
    options: Options,
) -> Option<(PlainMetric<'a>, usize)> {
    let mut places = places.iter().map(|place| usize::from(*place));
    let pipe = places.next()?;
    let mut from = places.next()?;
    if window.get(pipe) != Some(&b'|') {
        return None;
    }
    let (kind, []) = wire_type(window.get(pipe + 1..from)?)? else { return None };
    let (value, length) = match window.get(..pipe)?.last_chunk() {
        Some(word) => number::before(u64::from_le_bytes(*word)),
        None => None,
    }
    .or_else(|| long_number(window, start, pipe))?;
    let name = window.get(start..pipe - length)?;
    let (mut tags, mut rate, mut used) = (&b""[..], 1.0, 2);
    while window.get(from) == Some(&b'|') {
        let to = places.next()?;
        match window.get(from + 1..to)? {
            [b'#', text @ ..] => tags = text,
            [b'@', ..] => {
                let (behind, number) = number::plain(window.get(from + 2..)?).ok()?;
                let is_in_range = (RATE_MIN..=1.0).contains(&number);
                if behind.len() != window.len() - to || !is_in_range {
                    return None;
                }
                rate = number;
            }
            [b'T', ..] if options.timestamps => return None,
            _ if options.origin => return None,
            _ => {}
        }
        used += 1;
        from = to;
    }
    let is_plain = kind != MetricType::Set && tags.last() != Some(&b'\r') && from <= window.len();
    is_plain.then_some((PlainMetric { name, kind, value, rate, tags }, used))
}

/// A number before the `|` at `pipe` that is not all digits and one point in eight bytes, and how far
/// before it its `:` stands.
#[inline(never)]
fn long_number(window: &[u8], start: usize, pipe: usize) -> Option<(f64, usize)> {
    let head = window.get(start..pipe)?;
    let colon = start + first_of_two(b':', b':', head)?;
    let (rest, value) = number::plain(window.get(colon + 1..)?).ok()?;
    (rest.len() == window.len() - pipe).then_some((value, pipe - colon))
}

/// A type whose sample is a number, `|#` behind it.
#[derive(Clone, Copy)]
struct TaggedType {
    /// The type and the `|#`.
    bytes: u32,
    mask: u32,
    kind: MetricType,
    /// Bytes from the `|` before it to the first tag.
    width: u8,
}

/// By the first letter, but for sets. By a table and without a branch for each: types alternate, so that
/// it would be guessed wrong most of the time.
const TAGGED_TYPES: [TaggedType; 256] = {
    // No field is like those that are none.
    let none = TaggedType { bytes: 1, mask: 0, kind: MetricType::Set, width: 0 };
    let mut types = [none; 256];
    let mut letter = 0;
    while letter < types.len() {
        types[letter] = match TYPES[letter] {
            None | Some(MetricType::Set) => none,
            Some(kind @ MetricType::Timing) => {
                TaggedType { bytes: u32::from_le_bytes(*b"ms|#"), mask: u32::MAX, kind, width: 5 }
            }
            Some(kind) => {
                let bytes = u32::from_le_bytes([letter as u8, b'|', b'#', 0]);
                TaggedType { bytes, mask: 0xff_ffff, kind, width: 4 }
            }
        };
        letter += 1;
    }
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
            assert_eq!(reader.start_of(&metric), from, "{datagram:?}");
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
            "name:1|c|@0",
            "name:1|c|@2|#a",
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
