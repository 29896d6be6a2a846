//! From the bytes of a record to a part, or the reason why not.
//!
//! A record may come from anybody who can write to the log. Lengths are believed only where the bytes are
//! there, the size of the cells is checked before they are inflated and holds while they are, and a part
//! with one cell that cannot be is refused whole.

use super::decode_cell::read_cell;
use super::error::{
    HOST_BYTES_MAX, STYLE_AGGREGATES_MAX, STYLE_PERCENTILES_MAX, STYLE_TEXT_BYTES_MAX, STYLES_MAX,
};
use super::field::{doubles, number_of};
use super::unpack::Unpacker;
use super::{Barrier, Cell, Head, Key, KeyRef, Part, PartError, PartLimits, Record, Style, wire};
use crate::protobuf::{BYTES, Field, VARINT, fields, take_varint};

/// Reads one record whole, its keys copied. Who reads many [opens](open) them.
///
/// # Errors
/// When it is no sound record within the limits.
pub fn decode(bytes: &[u8], limits: &PartLimits) -> Result<Record, PartError> {
    Ok(match open(bytes, limits)? {
        Opened::Part(sealed) => {
            let mut unpacker = Unpacker::default();
            let Part { head, cells } = sealed.read(limits, &mut unpacker)?;
            let own = |Cell { key, stamp, style, value }: Cell<KeyRef<'_>>| Cell {
                key: Key::from(key),
                stamp,
                style,
                value,
            };
            Record::Part(Part { head, cells: cells.into_iter().map(own).collect() })
        }
        Opened::Barrier(barrier) => Record::Barrier(barrier),
    })
}

/// A record whose checksum and head were read.
#[derive(Clone, Debug)]
pub enum Opened<'a> {
    /// Cells that are still closed.
    Part(SealedPart<'a>),
    /// A barrier.
    Barrier(Barrier),
}

/// A part of which only the head was read: enough to see whether its cells are wanted.
#[derive(Clone, Debug)]
pub struct SealedPart<'a> {
    head: Head,
    local: &'a [u8],
    body: &'a [u8],
    is_zstd: bool,
}

/// Reads what a record says of itself, and leaves its cells closed.
///
/// # Errors
/// When it is no record, or its head is not sound or promises more than the limits.
pub fn open<'a>(bytes: &'a [u8], limits: &PartLimits) -> Result<Opened<'a>, PartError> {
    if bytes.len() > limits.record_bytes_max {
        return Err(PartError::Bound("a record is too long"));
    }
    let rest = bytes.strip_prefix(&wire::MAGIC).ok_or(PartError::Magic)?;
    let (seal, content) =
        rest.split_first_chunk::<{ wire::SEAL_BYTES - 2 }>().ok_or(PartError::Crc)?;
    let [format, flags, crc @ ..] = *seal;
    if u32::from_le_bytes(crc) != crc32fast::hash(content) {
        return Err(PartError::Crc);
    }
    if format != wire::FORMAT {
        return Err(PartError::Format(format));
    }
    match flags {
        wire::BARRIER => read_barrier(content).map(Opened::Barrier),
        0 | wire::ZSTD => {
            let cut = PartError::Head("it is cut off");
            let (length, size) = take_varint(content).ok_or(cut)?;
            let length = usize::try_from(length).map_err(|_| cut)?;
            let (head, body) = content[size..].split_at_checked(length).ok_or(cut)?;
            let (head, local) = read_head(head, limits)?;
            Ok(Opened::Part(SealedPart { head, local, body, is_zstd: flags == wire::ZSTD }))
        }
        _ => Err(PartError::Head("unknown flags")),
    }
}

fn read_barrier(content: &[u8]) -> Result<Barrier, PartError> {
    let wrong = PartError::Body("a barrier is 24 bytes");
    let (owner, number) = content.split_first_chunk().ok_or(wrong)?;
    let number = number.try_into().map_err(|_| wrong)?;
    Ok(Barrier { owner: *owner, number: u64::from_le_bytes(number) })
}

impl<'a> SealedPart<'a> {
    /// Where it comes from and belongs.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What its head has for its own host alone.
    pub(crate) fn local(&self) -> &'a [u8] {
        self.local
    }

    /// Reads the cells, whose keys stay where they were inflated.
    ///
    /// # Errors
    /// When they are not those that the head promises, or one of them is not sound.
    pub fn read<'b>(
        self,
        limits: &PartLimits,
        unpacker: &'b mut Unpacker,
    ) -> Result<Part<KeyRef<'b>>, PartError>
    where
        'a: 'b,
    {
        let cells = self.read_local(limits, unpacker, |_, _| Ok(()))?;
        Ok(Part { head: self.head, cells })
    }

    /// Reads the cells, and calls `visit` with each and what it has for its own host alone.
    pub(crate) fn read_local<'b>(
        &self,
        limits: &PartLimits,
        unpacker: &'b mut Unpacker,
        mut visit: impl FnMut(&Cell<KeyRef<'b>>, &[u8]) -> Result<(), PartError>,
    ) -> Result<Vec<Cell<KeyRef<'b>>>, PartError>
    where
        'a: 'b,
    {
        let body = self.inflate(unpacker)?;
        // The shortest cell takes six bytes.
        let mut cells = Vec::with_capacity((self.head.cells as usize).min(body.len() / 6));
        for field in fields(body) {
            let field = field.ok_or(PartError::Body("the list of cells is malformed"))?;
            if field.number != u64::from(wire::cell::CELL) {
                continue;
            }
            if field.wire != BYTES {
                return Err(PartError::Body("a cell is not a message"));
            }
            if cells.len() >= self.head.cells as usize {
                return Err(PartError::Body("more cells than the head promises"));
            }
            let (cell, local) = read_cell(field.content, self.head.styles.len(), limits)?;
            visit(&cell, local)?;
            cells.push(cell);
        }
        if cells.len() < self.head.cells as usize {
            return Err(PartError::Body("fewer cells than the head promises"));
        }
        Ok(cells)
    }

    /// As many bytes as the head promises, which the limits allow.
    fn inflate<'b>(&self, unpacker: &'b mut Unpacker) -> Result<&'b [u8], PartError>
    where
        'a: 'b,
    {
        let length = self.head.raw_bytes as usize;
        let body = if self.is_zstd { unpacker.unpack(self.body, length)? } else { self.body };
        let other = PartError::Body("its size is not the one that the head promises");
        if body.len() == length { Ok(body) } else { Err(other) }
    }
}

fn read_head<'a>(message: &'a [u8], limits: &PartLimits) -> Result<(Head, &'a [u8]), PartError> {
    use wire::head as number;
    let (mut head, mut local) = (Head::default(), &[][..]);
    let mut sender = None;
    for field in fields(message) {
        let field = field.ok_or(PartError::Head("it is malformed"))?;
        match number_of(&field) {
            number::SENDER => sender = Some(bytes_of(&field)?),
            number::HOST => head.host = text_of(&field, HOST_BYTES_MAX)?,
            number::START => head.start = varint_of(&field)?,
            number::INTERVAL => head.interval = small_of(&field)?,
            number::PARTITION => head.partition = small_of(&field)?,
            number::PARTITIONS => head.partitions = small_of(&field)?,
            number::SEQUENCE => head.sequence = small_of(&field)?,
            number::CELLS => head.cells = small_of(&field)?,
            number::RAW_BYTES => head.raw_bytes = small_of(&field)?,
            number::BUILT_MS => head.built_ms = varint_of(&field)?,
            number::STYLES => {
                if head.styles.len() >= STYLES_MAX {
                    return Err(PartError::Bound("too many styles"));
                }
                head.styles.push(read_style(bytes_of(&field)?)?);
            }
            wire::LOCAL => local = bytes_of(&field)?,
            _ => {}
        }
    }
    head.sender = sender
        .and_then(|sender| sender.try_into().ok())
        .ok_or(PartError::Head("a sender is 16 bytes"))?;
    if head.interval == 0 {
        return Err(PartError::Head("an interval without length"));
    }
    if head.partition >= head.partitions {
        return Err(PartError::Head("a partition that there is not"));
    }
    if head.cells as usize > limits.cells_max {
        return Err(PartError::Bound("too many cells"));
    }
    if head.raw_bytes as usize > limits.raw_bytes_max {
        return Err(PartError::Bound("too many bytes of cells"));
    }
    Ok((head, local))
}

fn read_style(message: &[u8]) -> Result<Style, PartError> {
    use wire::style as number;
    let mut style = Style::default();
    for field in fields(message) {
        let field = field.ok_or(PartError::Head("a style is malformed"))?;
        match number_of(&field) {
            number::AGGREGATES => {
                if style.aggregates.len() >= STYLE_AGGREGATES_MAX {
                    return Err(PartError::Bound("too many aggregates of a style"));
                }
                style.aggregates.push(text_of(&field, STYLE_TEXT_BYTES_MAX)?);
            }
            number::PERCENTILES => {
                let shares = doubles(&field).ok_or(PartError::Head("percentiles are doubles"))?;
                for share in shares {
                    if !(0.0..=1.0).contains(&share) {
                        return Err(PartError::Bound("a percentile is not between 0 and 1"));
                    }
                    if style.percentiles.len() >= STYLE_PERCENTILES_MAX {
                        return Err(PartError::Bound("too many percentiles of a style"));
                    }
                    style.percentiles.push(share);
                }
            }
            number::AS_COUNT => style.as_count = varint_of(&field)? != 0,
            number::UNIT => style.unit = text_of(&field, STYLE_TEXT_BYTES_MAX)?,
            _ => {}
        }
    }
    Ok(style)
}

const WRONG_TYPE: PartError = PartError::Head("a field is of another type");

fn bytes_of<'a>(field: &Field<'a>) -> Result<&'a [u8], PartError> {
    if field.wire == BYTES { Ok(field.content) } else { Err(WRONG_TYPE) }
}

fn varint_of(field: &Field<'_>) -> Result<u64, PartError> {
    if field.wire == VARINT { Ok(field.scalar) } else { Err(WRONG_TYPE) }
}

fn small_of(field: &Field<'_>) -> Result<u32, PartError> {
    u32::try_from(varint_of(field)?).map_err(|_| PartError::Head("a number beyond 32 bits"))
}

fn text_of(field: &Field<'_>, bytes_max: usize) -> Result<String, PartError> {
    let bytes = bytes_of(field)?;
    if bytes.len() > bytes_max {
        return Err(PartError::Bound("a text of the head is too long"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| PartError::Head("a text is not UTF-8"))?;
    Ok(text.to_owned())
}
