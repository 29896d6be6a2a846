//! The bytes of one spooled payload: a header of fixed size, then the body, both checksummed.
//!
//! ```text
//!  0  8  "WHIPSPL\n"            24  8  points                 all integers little-endian
//!  8  2  version, 1             32  8  uncompressed bytes
//! 10  1  route                  40  8  built at, Unix seconds
//! 11  1  content encoding       48  8  body length
//! 12  1  1 when in doubt        56  4  CRC-32 of the body
//! 13  3  zero                   60  4  CRC-32 of bytes 0 to 59
//! 16  8  items                  64  .  body
//! ```
//!
//! No key and no URL: both are put on a request when it is sent.

use crate::encode::{ContentEncoding, Payload, Route};
use bytes::Bytes;
use thiserror::Error;

/// Bytes before the body.
pub(super) const HEADER_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"WHIPSPL\n";
const VERSION: u16 = 1;

const ENCODINGS: [ContentEncoding; 4] = [
    ContentEncoding::Identity,
    ContentEncoding::Deflate,
    ContentEncoding::Gzip,
    ContentEncoding::Zstd,
];

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

/// A header that passed its checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub route: Route,
    pub encoding: ContentEncoding,
    pub items: u64,
    pub points: u64,
    pub uncompressed_bytes: u64,
    pub built_at: u64,
    pub body_bytes: u64,
    body_crc: u32,
}

/// The bytes before the body of a payload.
pub(super) fn header_of(payload: &Payload, in_doubt: bool) -> [u8; HEADER_BYTES] {
    let encoding = ENCODINGS.iter().position(|encoding| *encoding == payload.encoding);
    let mut head = [0; HEADER_BYTES];
    head[..8].copy_from_slice(MAGIC);
    head[8..10].copy_from_slice(&VERSION.to_le_bytes());
    head[10] = payload.route as u8;
    // Every encoding stands in the list; an unknown number would be refused when read.
    head[11] = encoding.unwrap_or(usize::from(u8::MAX)) as u8;
    head[12] = u8::from(in_doubt);
    let numbers = [
        payload.items as u64,
        payload.points as u64,
        payload.uncompressed_bytes as u64,
        payload.built_at,
        payload.body.len() as u64,
    ];
    for (at, number) in numbers.into_iter().enumerate() {
        head[16 + 8 * at..24 + 8 * at].copy_from_slice(&number.to_le_bytes());
    }
    head[56..60].copy_from_slice(&crc32fast::hash(&payload.body).to_le_bytes());
    let crc = crc32fast::hash(&head[..60]);
    head[60..].copy_from_slice(&crc.to_le_bytes());
    head
}

/// Reads a header.
pub(super) fn read_header(bytes: &[u8]) -> Result<Header, RecordError> {
    let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(if MAGIC.starts_with(&bytes[..bytes.len().min(8)]) {
            RecordError::Cut
        } else {
            RecordError::Foreign
        });
    };
    if &head[..8] != MAGIC {
        return Err(RecordError::Foreign);
    }
    if crc32fast::hash(&head[..60]).to_le_bytes() != head[60..] {
        return Err(RecordError::Damaged);
    }
    let version = u16::from_le_bytes([head[8], head[9]]);
    if version != VERSION {
        return Err(RecordError::Newer(version));
    }
    let number = |at: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(eight)
    };
    Ok(Header {
        route: *Route::ALL.get(usize::from(head[10])).ok_or(RecordError::Damaged)?,
        encoding: *ENCODINGS.get(usize::from(head[11])).ok_or(RecordError::Damaged)?,
        items: number(16),
        points: number(24),
        uncompressed_bytes: number(32),
        built_at: number(40),
        body_bytes: number(48),
        body_crc: u32::from_le_bytes([head[56], head[57], head[58], head[59]]),
    })
}

/// Reads a whole record back as the payload it was.
///
/// # Errors
/// When the bytes are not exactly one undamaged record.
pub fn read_record(bytes: &[u8]) -> Result<Payload, RecordError> {
    let header = read_header(bytes)?;
    let body = &bytes[HEADER_BYTES..];
    if body.len() as u64 != header.body_bytes {
        return Err(RecordError::Cut);
    }
    if crc32fast::hash(body) != header.body_crc {
        return Err(RecordError::Damaged);
    }
    let size = |number: u64| usize::try_from(number).map_err(|_| RecordError::Damaged);
    Ok(Payload {
        route: header.route,
        body: Bytes::copy_from_slice(body),
        encoding: header.encoding,
        items: size(header.items)?,
        points: size(header.points)?,
        uncompressed_bytes: size(header.uncompressed_bytes)?,
        built_at: header.built_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(route: Route, encoding: ContentEncoding) -> (Payload, Vec<u8>) {
        let payload = Payload {
            route,
            body: Bytes::from_static(b"a body of some length"),
            encoding,
            items: 3,
            points: 7,
            uncompressed_bytes: 99,
            built_at: 1_700_000_000,
        };
        let mut bytes = header_of(&payload, true).to_vec();
        bytes.extend_from_slice(&payload.body);
        (payload, bytes)
    }

    #[test]
    fn written_then_read_is_the_same() {
        for route in Route::ALL {
            for encoding in ENCODINGS {
                let (payload, bytes) = record(route, encoding);
                assert_eq!(read_record(&bytes), Ok(payload));
            }
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let (_, bytes) = record(Route::Sketches, ContentEncoding::Zstd);
        for length in 0..bytes.len() {
            assert_eq!(read_record(&bytes[..length]), Err(RecordError::Cut), "{length} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read_record(&flipped).is_err(), "bit {bit}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(read_record(&longer), Err(RecordError::Cut));
    }

    #[test]
    fn another_version_and_another_file_are_distinguished() {
        let (_, mut bytes) = record(Route::Events, ContentEncoding::Identity);
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(read_record(&bytes), Err(RecordError::Newer(2)));
        assert_eq!(read_record(b"GIF89a"), Err(RecordError::Foreign));
        assert_eq!(read_record(&[b'x'; 100]), Err(RecordError::Foreign));
    }
}
