//! The bytes of one record: a header of fixed size, then the body, both checksummed.
//!
//! ```text
//!  0  8  magic: what kind of record       all integers little-endian
//!  8  2  version of that kind
//! 10 38  fields: what the kind makes of them
//! 48  8  body length
//! 56  4  CRC-32 of the body
//! 60  4  CRC-32 of bytes 0 to 59
//! 64  .  body
//! ```

use thiserror::Error;

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 64;
/// Bytes of a header that each kind of record uses as it likes.
pub(crate) const FIELD_BYTES: usize = 38;

const FIELDS_AT: usize = 10;
const LENGTH_AT: usize = FIELDS_AT + FIELD_BYTES;

const _: () = assert!(LENGTH_AT + 8 + 4 + 4 == HEADER_BYTES);

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Something else's file.
    #[error("not a spool record")]
    Foreign,
    /// Written by a later version.
    #[error("spool version {0} is newer than this program's")]
    Newer(u16),
    /// Shorter or longer than its header says.
    #[error("cut short")]
    Cut,
    /// A checksum or a field is wrong.
    #[error("damaged")]
    Damaged,
}

/// One kind of record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub magic: &'static [u8; 8],
    pub version: u16,
}

/// A header that passed its checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub fields: [u8; FIELD_BYTES],
    pub body_bytes: u64,
    body_crc: u32,
}

impl Frame {
    /// The bytes before a body.
    pub fn header(&self, fields: &[u8; FIELD_BYTES], body: &[u8]) -> [u8; HEADER_BYTES] {
        let mut head = [0; HEADER_BYTES];
        head[..8].copy_from_slice(self.magic);
        head[8..FIELDS_AT].copy_from_slice(&self.version.to_le_bytes());
        head[FIELDS_AT..LENGTH_AT].copy_from_slice(fields);
        head[LENGTH_AT..56].copy_from_slice(&(body.len() as u64).to_le_bytes());
        head[56..60].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        let crc = crc32fast::hash(&head[..60]);
        head[60..].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// Reads a header.
    pub fn open(&self, bytes: &[u8]) -> Result<Opened, RecordError> {
        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(if self.magic.starts_with(&bytes[..bytes.len().min(8)]) {
                RecordError::Cut
            } else {
                RecordError::Foreign
            });
        };
        if &head[..8] != self.magic {
            return Err(RecordError::Foreign);
        }
        if crc32fast::hash(&head[..60]).to_le_bytes() != head[60..] {
            return Err(RecordError::Damaged);
        }
        let version = u16::from_le_bytes([head[8], head[9]]);
        if version != self.version {
            return Err(RecordError::Newer(version));
        }
        let mut fields = [0; FIELD_BYTES];
        fields.copy_from_slice(&head[FIELDS_AT..LENGTH_AT]);
        Ok(Opened {
            fields,
            body_bytes: number_at(head, LENGTH_AT),
            body_crc: u32::from_le_bytes([head[56], head[57], head[58], head[59]]),
        })
    }

    /// Reads a whole record: its header, and its body.
    pub fn read<'a>(&self, bytes: &'a [u8]) -> Result<(Opened, &'a [u8]), RecordError> {
        let opened = self.open(bytes)?;
        let body = &bytes[HEADER_BYTES..];
        if body.len() as u64 != opened.body_bytes {
            return Err(RecordError::Cut);
        }
        if crc32fast::hash(body) != opened.body_crc {
            return Err(RecordError::Damaged);
        }
        Ok((opened, body))
    }
}

/// Eight bytes as a number.
///
/// # Panics
/// When there are fewer than eight from `at` on.
pub(crate) fn number_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}
