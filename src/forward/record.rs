//! The bytes of one spooled payload: a record of `spool` with these fields.
//!
//! ```text
//! 10  1  route                  24  8  points                 all integers little-endian
//! 11  1  content encoding       32  8  uncompressed bytes
//! 12  1  1 when in doubt        40  8  built at, Unix seconds
//! 13  3  zero                   48  .  as every record
//! 16  8  items
//! ```
//!
//! No key and no URL: both are put on a request when it is sent.

use crate::encode::{ContentEncoding, Payload, Route};
use crate::spool::{FIELD_BYTES, Frame, HEADER_BYTES, Opened, RecordError, number_at};
use bytes::Bytes;

pub(super) const FRAME: Frame = Frame { magic: b"WHIPSPL\n", version: 1 };

const ENCODINGS: [ContentEncoding; 4] = [
    ContentEncoding::Identity,
    ContentEncoding::Deflate,
    ContentEncoding::Gzip,
    ContentEncoding::Zstd,
];

/// What a record says about its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub route: Route,
    pub encoding: ContentEncoding,
    pub items: u64,
    pub points: u64,
    pub uncompressed_bytes: u64,
    pub built_at: u64,
    pub body_bytes: u64,
}

/// The bytes before the body of a payload.
pub(super) fn header_of(payload: &Payload, in_doubt: bool) -> [u8; HEADER_BYTES] {
    let encoding = ENCODINGS.iter().position(|encoding| *encoding == payload.encoding);
    let mut fields = [0; FIELD_BYTES];
    fields[0] = payload.route as u8;
    // Every encoding stands in the list; an unknown number would be refused when read.
    fields[1] = encoding.unwrap_or(usize::from(u8::MAX)) as u8;
    fields[2] = u8::from(in_doubt);
    let numbers = [
        payload.items as u64,
        payload.points as u64,
        payload.uncompressed_bytes as u64,
        payload.built_at,
    ];
    for (at, number) in numbers.into_iter().enumerate() {
        fields[6 + 8 * at..14 + 8 * at].copy_from_slice(&number.to_le_bytes());
    }
    FRAME.header(&fields, &payload.body)
}

/// Understands the fields of a record.
pub(super) fn read_header(opened: &Opened) -> Result<Header, RecordError> {
    let fields = &opened.fields;
    Ok(Header {
        route: *Route::ALL.get(usize::from(fields[0])).ok_or(RecordError::Damaged)?,
        encoding: *ENCODINGS.get(usize::from(fields[1])).ok_or(RecordError::Damaged)?,
        items: number_at(fields, 6),
        points: number_at(fields, 14),
        uncompressed_bytes: number_at(fields, 22),
        built_at: number_at(fields, 30),
        body_bytes: opened.body_bytes,
    })
}

/// Reads a whole record back as the payload it was.
///
/// # Errors
/// When the bytes are not exactly one undamaged record.
pub fn read_record(bytes: &[u8]) -> Result<Payload, RecordError> {
    let (opened, body) = FRAME.read(bytes)?;
    let header = read_header(&opened)?;
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
