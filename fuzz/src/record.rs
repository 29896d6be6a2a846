//! A file of the spool is one whole record or refused.
//!
//! Checksums would keep every mutation out, so the input is read twice: as it is, and with the
//! checksums put right (a damaged disk cannot do that, a hostile neighbour can).

use whippet::forward::{RecordError, read_record};

const HEADER_BYTES: usize = 64;

/// One input.
pub fn run(input: &[u8]) {
    look(input);
    if let Some((head, body)) = input.split_first_chunk::<HEADER_BYTES>() {
        let mut head = *head;
        look(&sealed(&mut head, body));
        head[48..56].copy_from_slice(&(body.len() as u64).to_le_bytes());
        look(&sealed(&mut head, body));
    }
}

/// The record with checksums that are right.
fn sealed(head: &mut [u8; HEADER_BYTES], body: &[u8]) -> Vec<u8> {
    head[56..60].copy_from_slice(&crc32(body).to_le_bytes());
    let crc = crc32(&head[..60]);
    head[60..].copy_from_slice(&crc.to_le_bytes());
    [&head[..], body].concat()
}

fn look(bytes: &[u8]) {
    match read_record(bytes) {
        Ok(payload) => {
            assert_eq!(&payload.body[..], &bytes[HEADER_BYTES..]);
            assert!(bytes.starts_with(b"WHIPSPL\n"));
        }
        Err(RecordError::Cut) => assert!(b"WHIPSPL\n".starts_with(&bytes[..bytes.len().min(8)])),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// CRC-32 as in IEEE 802.3, bit by bit: independent of the library that writes records.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 }
        })
    })
}
