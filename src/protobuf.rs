//! As much of the protobuf wire format as the messages of the intake and of parts need. All their field
//! numbers are below 16, so that a key is one byte.

/// Wire type 0.
pub(crate) const VARINT: u8 = 0;
/// Wire type 1.
pub(crate) const FIXED64: u8 = 1;
/// Wire type 2.
pub(crate) const BYTES: u8 = 2;
/// Wire type 5, which nothing here writes.
const FIXED32: u8 = 5;

/// The key of a field; `field` is 1 to 15.
pub(crate) const fn key(field: u8, wire: u8) -> u8 {
    assert!(field >= 1 && field < 16, "keys of one byte only");
    field << 3 | wire
}

/// Bytes that `value` takes as a varint: 7 bits each, at least one.
pub(crate) const fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Appends `value`, seven bits a byte, lowest first.
#[inline]
pub(crate) fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Small magnitudes of either sign become small numbers (`sint32`).
pub(crate) const fn zigzag(value: i32) -> u64 {
    ((value << 1) ^ (value >> 31)) as u32 as u64
}

/// Back from [`zigzag`].
pub(crate) const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// The head of a length-delimited field; its `length` bytes follow.
#[inline]
pub(crate) fn put_head(into: &mut Vec<u8>, key: u8, length: usize) {
    into.push(key);
    put_varint(into, length as u64);
}

/// As [`put_head`], in an array: its bytes and how many they are.
#[inline]
pub(crate) fn head(key: u8, length: usize) -> ([u8; 11], usize) {
    let (mut bytes, mut used, mut rest) = ([key; 11], 1, length as u64);
    while rest >= 0x80 {
        bytes[used] = rest as u8 | 0x80;
        used += 1;
        rest >>= 7;
    }
    bytes[used] = rest as u8;
    (bytes, used + 1)
}

/// A length-delimited field, also when it is empty.
#[inline]
pub(crate) fn put_bytes(into: &mut Vec<u8>, key: u8, bytes: &[u8]) {
    put_head(into, key, bytes.len());
    into.extend_from_slice(bytes);
}

/// An integer field, absent when 0.
#[inline]
pub(crate) fn put_integer(into: &mut Vec<u8>, key: u8, value: u64) {
    if value != 0 {
        into.push(key);
        put_varint(into, value);
    }
}

/// A double field, absent when 0.
#[inline]
pub(crate) fn put_double(into: &mut Vec<u8>, key: u8, value: f64) {
    if value != 0.0 {
        into.push(key);
        into.extend_from_slice(&value.to_le_bytes());
    }
}

/// One field, as it is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// Its number.
    pub(crate) number: u64,
    /// Its wire type.
    pub(crate) wire: u8,
    /// Key and content.
    pub(crate) whole: &'a [u8],
    /// What a length-delimited field holds; empty for others.
    pub(crate) content: &'a [u8],
    /// What a varint or fixed field holds, as bits; 0 for others.
    pub(crate) scalar: u64,
}

/// The fields of a message; `None` in place of the first that is malformed.
pub(crate) fn fields(message: &[u8]) -> impl Iterator<Item = Option<Field<'_>>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = take_field(rest);
        rest = field.map_or(&[], |field| &rest[field.whole.len()..]);
        Some(field)
    })
}

fn take_field(bytes: &[u8]) -> Option<Field<'_>> {
    let (key, head) = take_varint(bytes)?;
    let after = bytes.get(head..)?;
    let wire = (key & 7) as u8;
    let (skipped, length, scalar) = match wire {
        VARINT => {
            let (value, size) = take_varint(after)?;
            (size, 0, value)
        }
        FIXED64 => (8, 0, u64::from_le_bytes(*after.first_chunk()?)),
        FIXED32 => (4, 0, u64::from(u32::from_le_bytes(*after.first_chunk()?))),
        BYTES => {
            let (length, size) = take_varint(after)?;
            (size, usize::try_from(length).ok()?, 0)
        }
        _ => return None,
    };
    let start = head.checked_add(skipped)?;
    let end = start.checked_add(length)?;
    let content = bytes.get(start..end)?;
    Some(Field { number: key >> 3, wire, whole: &bytes[..end], content, scalar })
}

/// The varint at the front, and how many bytes it takes.
#[inline]
pub(crate) fn take_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    match bytes {
        // Keys and most lengths.
        [byte @ 0..0x80, ..] => Some((u64::from(*byte), 1)),
        _ => take_long_varint(bytes),
    }
}

fn take_long_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn writes(value: u64, expect: &[u8]) {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, value);
        assert_eq!(bytes, expect);
        assert_eq!(varint_len(value), expect.len());
        assert_eq!(take_varint(&bytes), Some((value, expect.len())));
        let (array, used) = head(key(1, BYTES), value as usize);
        assert_eq!(array[..used], [&[key(1, BYTES)], expect].concat());
    }

    #[test]
    fn varints_grow_by_seven_bits() {
        writes(0, &[0]);
        writes(127, &[0x7F]);
        writes(128, &[0x80, 1]);
        writes(16383, &[0xFF, 0x7F]);
        writes(16384, &[0x80, 0x80, 1]);
        writes(u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }

    #[test]
    fn zigzag_alternates() {
        assert_eq!([0, -1, 1, -2, 1338, -32767].map(zigzag), [0, 1, 2, 3, 2676, 65533]);
        assert_eq!([0, 1, 2, 3, 2676, 65533].map(unzigzag), [0, -1, 1, -2, 1338, -32767]);
    }

    #[track_caller]
    fn reads(bytes: &[u8], expect: &[Option<(u64, &[u8])>]) {
        let got: Vec<_> =
            fields(bytes).map(|field| field.map(|field| (field.number, field.content))).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn fields_of_each_wire_type_are_walked_and_broken_ones_end_the_walk() {
        reads(&[], &[]);
        reads(&[0x0A, 1, b'x', 0x12, 0], &[Some((1, b"x")), Some((2, b""))]);
        reads(&[0x28, 0x80, 1, 0x0A, 0], &[Some((5, b"")), Some((1, b""))]);
        reads(&[0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x28, 1], &[Some((1, b"")), Some((5, b""))]);
        reads(&[0x0D, 1, 2, 3, 4, 0x28, 1], &[Some((1, b"")), Some((5, b""))]);
        for broken in [
            &[0x0A][..],
            &[0x0A, 2, 0],
            &[0x09, 1],
            &[0x0D, 1],
            &[0x28, 0x80],
            &[0x0B],
            &[0x80; 11],
        ] {
            reads(broken, &[None]);
        }
        reads(&[0x0A, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], &[None]);
    }
}
