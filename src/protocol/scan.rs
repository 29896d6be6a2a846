//! The smallest parsers: they find bytes and split there. All of them are `nom` parsers.
//!
//! Plain warning: [`first_of_two`] looks at eight bytes at once. Names are short, so the call into
//! a vectorised search costs as much as the whole name; within a word the arithmetic is a handful
//! of instructions. Long stretches (tags, lines) go to `memchr`.

use nom::error::{ErrorKind as Code, ParseError as NomError};
use nom::{Err, IResult};

/// Where a parser stopped; what was expected there is known one level up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct At<'a>(pub(super) &'a [u8]);

/// What the parsers of this room return.
pub(super) type Parsed<'a, T> = IResult<&'a [u8], T, At<'a>>;

impl<'a> NomError<&'a [u8]> for At<'a> {
    #[inline]
    fn from_error_kind(input: &'a [u8], _: Code) -> Self {
        At(input)
    }

    #[inline]
    fn append(_: &'a [u8], _: Code, first: Self) -> Self {
        first
    }
}

/// No match at `input`.
#[inline]
pub(super) fn stop<T>(input: &[u8]) -> Parsed<'_, T> {
    Err(Err::Error(At(input)))
}

/// One given byte.
#[inline]
pub(super) fn byte<'a>(wanted: u8) -> impl Fn(&'a [u8]) -> Parsed<'a, u8> {
    move |input| match input.split_first() {
        Some((first, rest)) if *first == wanted => Ok((rest, wanted)),
        _ => stop(input),
    }
}

/// Everything before `stop`, or all that is left; `stop` itself is not consumed.
#[inline]
pub(super) fn until<'a>(stop: u8) -> impl Fn(&'a [u8]) -> Parsed<'a, &'a [u8]> {
    move |input| {
        let (before, rest) = split_before(stop, input);
        Ok((rest, before))
    }
}

/// The content of a field and the `|` (or nothing) that follows it.
#[inline]
pub(super) fn split_before(stop: u8, input: &[u8]) -> (&[u8], &[u8]) {
    input.split_at(memchr::memchr(stop, input).unwrap_or(input.len()))
}

/// The fields of the tail of an event or check; an empty tail is one empty field.
pub(super) fn fields(tail: &[u8]) -> impl Iterator<Item = &[u8]> {
    tail.split(|byte| *byte == b'|')
}

/// Where the first `a` or `b` stands.
#[inline]
pub(super) fn first_of_two(a: u8, b: u8, input: &[u8]) -> Option<usize> {
    let (words, tail) = input.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let found = zero_bytes(word ^ spread(a)) | zero_bytes(word ^ spread(b));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    tail.iter().position(|byte| *byte == a || *byte == b).map(|inside| at + inside)
}

/// `byte` in each of the eight places.
const fn spread(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The top bit of every byte that is zero. A borrow may also mark bytes *above* a zero byte, never
/// below it, so the lowest mark is exact.
#[inline]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(spread(0x01)) & !word & spread(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_is_found_at_every_place_and_past_look_alikes() {
        for length in 0..40 {
            for place in 0..length {
                // 0x3b and 0x7d are the neighbours a borrow would mark.
                let mut bytes = vec![0x3b; length];
                bytes[place..].fill(0x7d);
                bytes[place] = if place % 2 == 0 { b':' } else { b'|' };
                assert_eq!(first_of_two(b':', b'|', &bytes), Some(place), "{length} {place}");
            }
            assert_eq!(first_of_two(b':', b'|', &vec![0xba; length]), None, "{length}");
        }
    }

    #[test]
    fn a_field_ends_before_its_pipe_or_with_the_line() {
        assert_eq!(until(b'|')(b"a,b|@1"), Ok((&b"|@1"[..], &b"a,b"[..])));
        assert_eq!(until(b'|')(b"a,b"), Ok((&b""[..], &b"a,b"[..])));
    }

    #[test]
    fn an_empty_tail_is_one_empty_field() {
        assert_eq!(fields(b"").collect::<Vec<_>>(), [b""]);
        assert_eq!(fields(b"|a|").collect::<Vec<_>>(), [&b""[..], b"a", b""]);
    }
}
