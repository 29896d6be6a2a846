//! The smallest parsers: they find bytes and split there. All of them are `nom` parsers.
//!
//! Plain warning: [`first`] looks at 16 bytes at once, [`first_of_two`] at 8, and both are inlined.
//! What is searched here is short (names, tags: 10 to 60 bytes), where a call to `memchr` with its
//! choice of instruction set costs 70 to 90 instructions; these cost about 8 and 13 a step.

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
    input.split_at(first(stop, input).unwrap_or(input.len()))
}

/// The fields of the tail of an event or check; an empty tail is one empty field.
pub(super) fn fields(tail: &[u8]) -> impl Iterator<Item = &[u8]> {
    tail.split(|byte| *byte == b'|')
}

/// Where the first `wanted` stands: for stretches that are long or do not hold it at all.
#[inline(always)]
pub(super) fn first(wanted: u8, input: &[u8]) -> Option<usize> {
    let (blocks, tail) = input.as_chunks::<BLOCK>();
    let mut at = 0;
    for block in blocks {
        if holds(wanted, block) {
            return first_in_block(wanted, block).map(|inside| at + inside);
        }
        at += BLOCK;
    }
    if tail.is_empty() {
        return None;
    }
    // The last block overlaps bytes that are known not to match.
    match input.last_chunk::<BLOCK>() {
        Some(last) if !holds(wanted, last) => None,
        Some(last) => first_in_block(wanted, last).map(|inside| input.len() - BLOCK + inside),
        None => first_of_two(wanted, wanted, input),
    }
}

/// Bytes looked at together.
const BLOCK: usize = 16;

/// Whether the byte is in the block. The fold has no early exit so that it becomes one vector
/// comparison on every machine, without `unsafe`.
#[inline(always)]
fn holds(wanted: u8, block: &[u8; BLOCK]) -> bool {
    block.iter().fold(false, |found, byte| found | (*byte == wanted))
}

#[inline(always)]
fn first_in_block(wanted: u8, block: &[u8; BLOCK]) -> Option<usize> {
    let ([low, high], _) = block.as_chunks::<8>() else { return None };
    first_in_word(wanted, wanted, u64::from_le_bytes(*low)).or_else(|| {
        first_in_word(wanted, wanted, u64::from_le_bytes(*high)).map(|inside| 8 + inside)
    })
}

/// Where the first `a` or `b` stands: for stretches as short as a name.
#[inline(always)]
pub(super) fn first_of_two(a: u8, b: u8, input: &[u8]) -> Option<usize> {
    let (words, tail) = input.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        if let Some(inside) = first_in_word(a, b, u64::from_le_bytes(*word)) {
            return Some(at + inside);
        }
        at += 8;
    }
    tail.iter().position(|byte| *byte == a || *byte == b).map(|inside| at + inside)
}

/// Which byte of the word, counted from its lowest, is the first `a` or `b`.
#[inline(always)]
fn first_in_word(a: u8, b: u8, word: u64) -> Option<usize> {
    let found = zero_bytes(word ^ spread(a)) | zero_bytes(word ^ spread(b));
    (found != 0).then(|| (found.trailing_zeros() / 8) as usize)
}

/// `byte` in each of the eight places.
const fn spread(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The top bit of every byte that is zero. A borrow may also mark bytes *above* a zero byte, never
/// below it, so the lowest mark is exact.
#[inline(always)]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(spread(0x01)) & !word & spread(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_is_found_at_every_place_and_past_look_alikes() {
        for length in 0..100 {
            for place in 0..length {
                // 0x3b and 0x7d are the neighbours a borrow would mark.
                let mut bytes = vec![0x3b; length];
                bytes[place..].fill(0x7d);
                bytes[place] = if place % 2 == 0 { b':' } else { b'|' };
                assert_eq!(first_of_two(b':', b'|', &bytes), Some(place), "{length} {place}");
                assert_eq!(first(bytes[place], &bytes), Some(place), "{length} {place}");
                bytes[length - 1] = bytes[place];
                assert_eq!(first(bytes[place], &bytes), Some(place), "{length} {place}");
            }
            let without = vec![0xba; length];
            assert_eq!(first_of_two(b':', b'|', &without), None, "{length}");
            assert_eq!(first(b':', &without), None, "{length}");
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
