//! From the bytes of one cell to the cell, every bound checked.

use super::bins::{BINS_MAX, Bins};
use super::error::BIN_KEY_MAX;
use super::field::{doubles, fixed, number_of};
use super::histogram::{Folded, Form, Histogram};
use super::{Cell, KeyRef, PartError, PartLimits, Set, Sum, Value, wire};
use crate::aggregate::{EXACT_SAMPLES_MAX, REGISTERS, Sample};
use crate::protobuf::{BYTES, FIXED64, Field, VARINT, fields, take_varint, unzigzag};

const MALFORMED: PartError = PartError::Body("a cell is malformed");
const WRONG_TYPE: PartError = PartError::Body("a field of a cell is of another type");
const NOT_FINITE: PartError = PartError::Bound("a number is not finite");

/// The cell, and what it has for its own host alone.
pub(super) fn read_cell<'a>(
    message: &'a [u8],
    styles: usize,
    limits: &PartLimits,
) -> Result<(Cell<KeyRef<'a>>, &'a [u8]), PartError> {
    use wire::cell as number;
    let (mut key, mut value, mut rest) = (None, None, Sum::default());
    let (mut stamp, mut style, mut local) = (0, 0, &[][..]);
    for field in fields(message) {
        let field = field.ok_or(MALFORMED)?;
        match number_of(&field) {
            number::KEY => key = Some(bytes_of(&field)?),
            number::STAMP => stamp = small_of(&field)?,
            number::STYLE => style = small_of(&field)?,
            number @ number::COUNTER..=number::HISTOGRAM => {
                if value.is_some() {
                    return Err(PartError::Body("a cell has two values"));
                }
                value = Some(match number {
                    number::COUNTER => Value::Counter(Sum::from(finite_of(&field)?)),
                    number::GAUGE => Value::Gauge(finite_of(&field)?),
                    number::SET => Value::Set(read_set(bytes_of(&field)?, limits)?),
                    _ => Value::Histogram(read_histogram(bytes_of(&field)?, limits)?),
                });
            }
            number::REST => add_finite(&mut rest, &field)?,
            wire::LOCAL => local = bytes_of(&field)?,
            _ => {}
        }
    }
    let key = key.ok_or(PartError::Body("a cell has no key"))?;
    if key.len() > limits.key_bytes_max {
        return Err(PartError::Bound("a key is too long"));
    }
    let key = KeyRef::from_bytes(key)
        .ok_or(PartError::Body("a key is not a name and sorted tags, each once"))?;
    if style as usize > styles {
        return Err(PartError::Bound("a cell names a style that there is not"));
    }
    let mut value = value.ok_or(PartError::Body("a cell has no value"))?;
    if let Value::Counter(sum) = &mut value {
        sum.merge(&rest);
    }
    Ok((Cell { key, stamp, style, value }, local))
}

fn read_set(message: &[u8], limits: &PartLimits) -> Result<Set, PartError> {
    let (mut hashes, mut registers) = (Vec::new(), None);
    for field in fields(message) {
        let field = field.ok_or(MALFORMED)?;
        match number_of(&field) {
            wire::set::HASHES => {
                let more = fixed(&field).ok_or(WRONG_TYPE)?;
                if hashes.len() + more.len() > limits.set_members_max {
                    return Err(PartError::Bound("more hashes than set_members_max"));
                }
                hashes.extend(more);
            }
            wire::set::REGISTERS => registers = Some(bytes_of(&field)?),
            _ => {}
        }
    }
    let Some(registers) = registers else {
        return Ok(Set::of_hashes(hashes, limits.set_members_max));
    };
    if !hashes.is_empty() {
        return Err(PartError::Body("a set has both hashes and registers"));
    }
    let registers: &[u8; REGISTERS] = registers
        .try_into()
        .map_err(|_| PartError::Bound("a set has other than 16384 registers"))?;
    Set::of_registers(Box::new(*registers)).ok_or(PartError::Bound("a rank is above 51"))
}

/// The fields of a histogram as they stand.
#[derive(Default)]
struct Read {
    values: Vec<f64>,
    scales: Vec<f64>,
    count: u64,
    sum: Sum,
    min: f64,
    max: f64,
    keys: Vec<i16>,
    counts: Vec<u64>,
    /// Something was there that only counted samples have.
    is_folded: bool,
}

fn read_histogram(message: &[u8], limits: &PartLimits) -> Result<Histogram, PartError> {
    use wire::histogram as number;
    let mut read = Read::default();
    for field in fields(message) {
        let field = field.ok_or(MALFORMED)?;
        let number = number_of(&field);
        read.is_folded |= (number::COUNT..=number::REST).contains(&number);
        match number {
            number::VALUES => extend_finite(&mut read.values, &field, limits.values_max)?,
            number::SCALES => extend_finite(&mut read.scales, &field, limits.values_max)?,
            number::COUNT => read.count = varint_of(&field)?,
            number::SUM => read.sum.add(finite_of(&field)?),
            number::MIN => read.min = finite_of(&field)?,
            number::MAX => read.max = finite_of(&field)?,
            number::KEYS => each_varint(&field, |varint| {
                let fits = read.keys.len() < BINS_MAX;
                let key = fits
                    .then(|| unzigzag(varint))
                    .filter(|key| (-BIN_KEY_MAX..=BIN_KEY_MAX).contains(key));
                let bound = PartError::Bound("more than 4096 bins, or one beyond 32767");
                read.keys.push(key.and_then(|key| i16::try_from(key).ok()).ok_or(bound)?);
                Ok(())
            })?,
            number::COUNTS => each_varint(&field, |varint| {
                if read.counts.len() >= BINS_MAX {
                    return Err(PartError::Bound("more than 4096 counts of bins"));
                }
                read.counts.push(varint);
                Ok(())
            })?,
            number::REST => add_finite(&mut read.sum, &field)?,
            _ => {}
        }
    }
    if read.is_folded { read.folded() } else { read.samples() }
}

impl Read {
    fn samples(self) -> Result<Histogram, PartError> {
        if !self.scales.is_empty() && self.scales.len() != self.values.len() {
            return Err(PartError::Body("a histogram has not as many scales as values"));
        }
        if self.scales.is_empty() && self.values.len() <= EXACT_SAMPLES_MAX {
            return Ok(Histogram::of_values(self.values));
        }
        let mut histogram = Histogram::default();
        let scales = self.scales.iter().copied().chain(std::iter::repeat(1.0));
        for (value, scale) in self.values.into_iter().zip(scales) {
            if !histogram.add(Sample { value, scale }) {
                return Err(PartError::Bound("a scale is below 1 or too large for its value"));
            }
        }
        Ok(histogram)
    }

    fn folded(self) -> Result<Histogram, PartError> {
        if !self.values.is_empty() || !self.scales.is_empty() {
            return Err(PartError::Body("a histogram has both samples and bins"));
        }
        if self.keys.len() != self.counts.len() {
            return Err(PartError::Body("a histogram has not as many counts as bins"));
        }
        if !self.keys.is_sorted_by(|left, right| left < right) {
            return Err(PartError::Bound("bins do not ascend"));
        }
        let overflow = PartError::Bound("the counts of bins are beyond 64 bits");
        let total = self.counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        let total = total.ok_or(overflow)?;
        if total != self.count || total == 0 {
            return Err(PartError::Body("the counts of bins are not the count of the histogram"));
        }
        if self.min > self.max {
            return Err(PartError::Body("a minimum is above its maximum"));
        }
        Ok(Histogram(Form::Folded(Box::new(Folded {
            count: total,
            sum: self.sum,
            min: self.min + 0.0,
            max: self.max + 0.0,
            bins: Bins::of_ascending(self.keys.into_iter().zip(self.counts)),
        }))))
    }
}

fn extend_finite(list: &mut Vec<f64>, field: &Field<'_>, max: usize) -> Result<(), PartError> {
    let more = doubles(field).ok_or(WRONG_TYPE)?;
    if list.len() + more.len() > max {
        return Err(PartError::Bound("too many numbers of one cell"));
    }
    list.reserve(more.len());
    for value in more {
        list.push(Some(value).filter(|value| value.is_finite()).ok_or(NOT_FINITE)?);
    }
    Ok(())
}

fn add_finite(sum: &mut Sum, field: &Field<'_>) -> Result<(), PartError> {
    for value in doubles(field).ok_or(WRONG_TYPE)? {
        sum.add(Some(value).filter(|value| value.is_finite()).ok_or(NOT_FINITE)?);
    }
    Ok(())
}

/// Calls `take` with the varints of a repeated field, packed or one by one.
fn each_varint(
    field: &Field<'_>,
    mut take: impl FnMut(u64) -> Result<(), PartError>,
) -> Result<(), PartError> {
    if field.wire == VARINT {
        return take(field.scalar);
    }
    let mut rest = bytes_of(field)?;
    while !rest.is_empty() {
        let (varint, size) = take_varint(rest).ok_or(MALFORMED)?;
        take(varint)?;
        rest = &rest[size..];
    }
    Ok(())
}

fn bytes_of<'a>(field: &Field<'a>) -> Result<&'a [u8], PartError> {
    if field.wire == BYTES { Ok(field.content) } else { Err(WRONG_TYPE) }
}

fn varint_of(field: &Field<'_>) -> Result<u64, PartError> {
    if field.wire == VARINT { Ok(field.scalar) } else { Err(WRONG_TYPE) }
}

fn small_of(field: &Field<'_>) -> Result<u32, PartError> {
    u32::try_from(varint_of(field)?).map_err(|_| PartError::Bound("a number beyond 32 bits"))
}

fn finite_of(field: &Field<'_>) -> Result<f64, PartError> {
    if field.wire != FIXED64 {
        return Err(WRONG_TYPE);
    }
    Some(f64::from_bits(field.scalar)).filter(|value| value.is_finite()).ok_or(NOT_FINITE)
}
