//! Cells of one interval and partition, cut into parts.

use bytes::Bytes;

use super::encode::{CellHead, Scratch, put_part_head};
use super::error::{HOST_BYTES_MAX, KEY_BYTES_MAX, STYLES_MAX};
use super::{Barrier, Head, Key, PartError, PartId, PartLimits, Style, Value, wire};
use crate::protobuf::{BYTES, key, put_bytes, put_varint, varint_len};

/// Bytes of cells, before compression, from which on another part begins.
pub const PART_RAW_BYTES: usize = 512 << 10;
/// Cells of a part at most, however small.
const PART_CELLS: u32 = 200_000;

/// One part as a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPart {
    /// What tells it from every other part.
    pub id: PartId,
    /// Cells in it.
    pub cells: u32,
    /// The record.
    pub bytes: Bytes,
}

/// Writes the cells of one interval and partition. A part is done when it is full or when the writer is
/// [finished](PartWriter::finish); nothing is written without cells.
#[derive(Debug)]
pub struct PartWriter {
    head: Head,
    local: Vec<u8>,
    body: Vec<u8>,
    scratch: Scratch,
}

/// Compresses bodies, one after the other, without asking for memory each time.
pub struct Packer {
    #[cfg(feature = "zstd")]
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl PartWriter {
    /// A writer for the sender, interval and partition of `head`, which counts from its sequence. Cells,
    /// bytes and styles of `head` are set by the writer.
    #[must_use]
    pub fn new(head: Head) -> PartWriter {
        PartWriter::local(head, Vec::new())
    }

    /// The same with something that other hosts skip in every head.
    pub(crate) fn local(head: Head, local: Vec<u8>) -> PartWriter {
        let mut head = Head { cells: 0, raw_bytes: 0, styles: Vec::new(), ..head };
        let end =
            (0..=HOST_BYTES_MAX.min(head.host.len())).rfind(|end| head.host.is_char_boundary(*end));
        head.host.truncate(end.unwrap_or(0));
        PartWriter { head, local, body: Vec::new(), scratch: Scratch::default() }
    }

    /// Adds a cell: `stamp` milliseconds lie between the start of the interval and the last write. Gives the
    /// part that it did not fit into any more.
    ///
    /// # Errors
    /// When no reader would take it: the key is longer than 16 KiB, or the style has more than 16 aggregates
    /// or 100 percentiles. Nothing is written then.
    pub fn push(
        &mut self,
        key: &Key,
        stamp: u32,
        style: &Style,
        value: &Value,
        packer: &mut Packer,
    ) -> Result<Option<EncodedPart>, PartError> {
        check_key(key)?;
        if !style.fits() {
            return Err(PartError::Bound("a style has too many aggregates or percentiles"));
        }
        let known = style.is_default() || self.head.styles.contains(style);
        let mut done = None;
        if !known && self.head.styles.len() >= STYLES_MAX {
            done = self.finish(packer);
        }
        let number = self.style_number(style);
        let full = self.put(&CellHead { key, stamp, style: number, local: &[] }, value, packer);
        let Some(full) = full else { return Ok(done) };
        // It opened another part, whose styles count anew.
        let number = self.style_number(style);
        let none = self.put(&CellHead { key, stamp, style: number, local: &[] }, value, packer);
        debug_assert!(none.is_none(), "the part is empty");
        debug_assert!(done.is_none(), "an empty part takes any cell");
        Ok(Some(full))
    }

    /// Adds a cell with something that other hosts skip.
    pub(crate) fn push_local(
        &mut self,
        key: &Key,
        stamp: u32,
        value: &Value,
        local: &[u8],
        packer: &mut Packer,
    ) -> Result<Option<EncodedPart>, PartError> {
        check_key(key)?;
        let head = CellHead { key, stamp, style: 0, local };
        let full = self.put(&head, value, packer);
        if full.is_some() {
            let none = self.put(&head, value, packer);
            debug_assert!(none.is_none(), "the part is empty");
        }
        Ok(full)
    }

    /// The place of a style, from 1.
    fn style_number(&mut self, style: &Style) -> u32 {
        if style.is_default() {
            return 0;
        }
        let styles = &mut self.head.styles;
        let place = styles.iter().position(|one| one == style).unwrap_or_else(|| {
            styles.push(style.clone());
            styles.len() - 1
        });
        place as u32 + 1
    }

    /// Writes a cell; or, when the part is too full for it, gives the part and writes nothing.
    fn put(
        &mut self,
        head: &CellHead<'_>,
        value: &Value,
        packer: &mut Packer,
    ) -> Option<EncodedPart> {
        let before = (self.body.len(), self.head.cells);
        let (body, cells) = (&mut self.body, &mut self.head.cells);
        self.scratch.write(head, value, |cell| {
            put_bytes(body, key(wire::cell::CELL, BYTES), cell);
            *cells += 1;
        });
        if before.1 == 0 || (self.body.len() <= PART_RAW_BYTES && self.head.cells <= PART_CELLS) {
            return None;
        }
        self.body.truncate(before.0);
        self.head.cells = before.1;
        self.finish(packer)
    }

    /// The part of the cells that are in no part yet; none without such. The writer can go on.
    pub fn finish(&mut self, packer: &mut Packer) -> Option<EncodedPart> {
        if self.head.cells == 0 {
            return None;
        }
        self.head.raw_bytes = self.body.len() as u32;
        let packed = packer.pack(&self.body);
        let flags = if packed.is_some() { wire::ZSTD } else { 0 };
        let mut head = Vec::with_capacity(128);
        put_part_head(&mut head, &self.head, &self.local);
        let body = packed.as_deref().unwrap_or(&self.body);
        let length = varint_len(head.len() as u64) + head.len() + body.len();
        let mut record = Vec::with_capacity(wire::SEAL_BYTES + length);
        begin(&mut record, flags);
        put_varint(&mut record, head.len() as u64);
        record.extend_from_slice(&head);
        record.extend_from_slice(body);
        wire::seal(&mut record);
        let (id, cells) = (self.head.id(), self.head.cells);
        self.body.clear();
        (self.head.cells, self.head.raw_bytes) = (0, 0);
        self.head.styles.clear();
        self.head.sequence = self.head.sequence.saturating_add(1);
        Some(EncodedPart { id, cells, bytes: Bytes::from(record) })
    }

    /// Heap bytes of what is not in a part yet.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.body.capacity()
    }
}

fn check_key(key: &Key) -> Result<(), PartError> {
    if key.as_bytes().len() > KEY_BYTES_MAX {
        return Err(PartError::Bound("a key is longer than 16 KiB"));
    }
    Ok(())
}

impl Packer {
    /// A compressor of the fastest useful level, where zstd is built in; else bodies stay as they are.
    #[must_use]
    pub fn new() -> Packer {
        Packer {
            #[cfg(feature = "zstd")]
            zstd: zstd::bulk::Compressor::new(1).ok(),
        }
    }

    /// One that leaves bodies as they are.
    #[cfg(test)]
    pub(crate) fn plain() -> Packer {
        Packer {
            #[cfg(feature = "zstd")]
            zstd: None,
        }
    }

    /// The body compressed; none where that gains nothing.
    fn pack(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        #[cfg(feature = "zstd")]
        if let Some(zstd) = &mut self.zstd {
            return zstd.compress(body).ok().filter(|packed| packed.len() < body.len());
        }
        let _ = body;
        None
    }
}

impl Default for Packer {
    fn default() -> Self {
        Packer::new()
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

/// A barrier as a record.
#[must_use]
pub fn encode_barrier(barrier: &Barrier) -> Vec<u8> {
    let mut record = Vec::with_capacity(wire::SEAL_BYTES + wire::BARRIER_BYTES);
    begin(&mut record, wire::BARRIER);
    record.extend_from_slice(&barrier.owner);
    record.extend_from_slice(&barrier.number.to_le_bytes());
    wire::seal(&mut record);
    record
}

fn begin(record: &mut Vec<u8>, flags: u8) {
    record.extend_from_slice(&wire::MAGIC);
    record.extend_from_slice(&[wire::FORMAT, flags, 0, 0, 0, 0]);
}

const _: () = {
    // What is written is read.
    let limits = PartLimits::new(0);
    assert!(PART_RAW_BYTES < limits.raw_bytes_max && PART_RAW_BYTES < limits.record_bytes_max);
    assert!(PART_CELLS as usize <= limits.cells_max && KEY_BYTES_MAX == limits.key_bytes_max);
};
