//! Fields of protobuf that head and cells read alike.

use crate::protobuf::{BYTES, FIXED64, Field};

/// The number of a field, 0 when it is none of ours.
pub(super) fn number_of(field: &Field<'_>) -> u8 {
    u8::try_from(field.number).unwrap_or(0)
}

/// The doubles of a repeated field, packed or one by one; none for another type.
pub(super) fn doubles<'a>(
    field: &Field<'a>,
) -> Option<impl ExactSizeIterator<Item = f64> + use<'a>> {
    Some(fixed(field)?.map(f64::from_bits))
}

/// The 64-bit numbers of a repeated field, packed or one by one; none for another type.
pub(super) fn fixed<'a>(field: &Field<'a>) -> Option<impl ExactSizeIterator<Item = u64> + use<'a>> {
    let bytes = match field.wire {
        // Its key takes one byte.
        FIXED64 => field.whole.get(field.whole.len() - 8..)?,
        BYTES => field.content,
        _ => return None,
    };
    let (chunks, rest) = bytes.as_chunks::<8>();
    rest.is_empty().then(|| chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)))
}
