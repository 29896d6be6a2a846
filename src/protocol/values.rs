//! The samples of a metric line, one number after the other.

use super::literal::NumberError;
use super::message::Values;
use super::number;
use super::scan::split_before;

impl<'a> Values<'a> {
    /// Every sample of the line in order; none for a set member.
    #[inline]
    #[must_use]
    pub fn numbers(self) -> Numbers<'a> {
        match self {
            Values::One(number) => Numbers { first: Some(number), packed: b"" },
            Values::Packed(packed) => Numbers { first: None, packed },
            Values::Member(_) => Numbers { first: None, packed: b"" },
        }
    }
}

/// The numbers of [`Values`].
#[derive(Clone, Debug)]
pub struct Numbers<'a> {
    first: Option<f64>,
    packed: &'a [u8],
}

impl Iterator for Numbers<'_> {
    type Item = f64;

    #[inline(always)]
    fn next(&mut self) -> Option<f64> {
        if self.first.is_some() || self.packed.is_empty() {
            return self.first.take();
        }
        next_number(&mut self.packed)
    }
}

#[inline(never)]
fn next_number(packed: &mut &[u8]) -> Option<f64> {
    while let Some((_, number)) = next_item(packed) {
        // The reader has checked every item; text from elsewhere is skipped, not trusted.
        if let Ok(number) = number {
            return Some(number);
        }
    }
    None
}

impl std::iter::FusedIterator for Numbers<'_> {}

/// Takes the next non-empty item off a list joined by colons, and reads it.
///
/// # Errors
/// Of the item, as [`number::float`].
#[inline]
pub(super) fn next_item<'a>(packed: &mut &'a [u8]) -> Option<(&'a [u8], Result<f64, NumberError>)> {
    while let [b':', rest @ ..] = *packed {
        *packed = rest;
    }
    if packed.is_empty() {
        return None;
    }
    // Nearly every one is a short decimal, which says itself where it ends.
    if let Ok((rest @ ([] | [b':', ..]), number)) = number::plain(packed) {
        let item = &packed[..packed.len() - rest.len()];
        *packed = rest;
        return Some((item, Ok(number)));
    }
    let (item, rest) = split_before(b':', packed);
    *packed = rest;
    Some((item, number::float(item)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn holds(values: Values<'_>, expect: &[f64]) {
        assert_eq!(values.numbers().collect::<Vec<_>>(), expect);
    }

    #[test]
    fn empty_items_are_skipped_wherever_they_stand() {
        holds(Values::Packed(b"1.1::41:"), &[1.1, 41.0]);
        holds(Values::Packed(b"::1e3:0x1p4:7"), &[1000.0, 16.0, 7.0]);
        holds(Values::Packed(b"::"), &[]);
    }

    #[test]
    fn an_item_is_read_as_if_it_stood_alone() {
        let items =
            ["1", "1234567", "12345678", "0.25", "12.345678", "-7", "1e3", "inf", "x", "1_0"];
        for (item, other) in items.iter().flat_map(|item| items.map(|other| (*item, other))) {
            let text = format!("{item}:{other}");
            let mut packed = text.as_bytes();
            for expect in [item, other] {
                let read = next_item(&mut packed);
                assert_eq!(read, Some((expect.as_bytes(), number::float(expect.as_bytes()))));
            }
            assert_eq!(next_item(&mut packed), None);
        }
    }

    #[test]
    fn one_is_one_and_a_member_is_no_number() {
        holds(Values::One(3.0), &[3.0]);
        holds(Values::Member(b"3"), &[]);
    }
}
