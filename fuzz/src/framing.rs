//! A stream is cut into the same units wherever its writes were split, and no unit passes the limit.
//!
//! The first byte of the input: bit 0 chooses lines instead of frames, the other bits the limit.
//! The second chooses the length of the first piece and of all others; the rest is the stream.

use whippet::net::fuzz_api::{self, Cut};

/// One input.
pub fn run(input: &[u8]) {
    let Some(([first, second], stream)) = input.split_first_chunk::<2>() else { return };
    let bytes_max = usize::from(first >> 1) * 8 + 1;
    let piece = usize::from(*second) + 1;
    if first & 1 == 1 {
        let whole = fuzz_api::lines([stream], bytes_max);
        same(&whole, &fuzz_api::lines(stream.chunks(piece), bytes_max));
        same(&whole, &fuzz_api::lines(stream.chunks(1), bytes_max));
        lines_hold(stream, &whole, bytes_max);
    } else {
        let whole = fuzz_api::frames([stream], bytes_max);
        same(&whole, &fuzz_api::frames(stream.chunks(piece), bytes_max));
        same(&whole, &fuzz_api::frames(stream.chunks(1), bytes_max));
        frames_hold(stream, &whole, bytes_max);
    }
}

fn same(whole: &Cut, pieces: &Cut) {
    assert_eq!(whole, pieces, "the cut depends on the writes");
}

/// The slow obvious reader: split at newlines, count what is too long.
fn lines_hold(stream: &[u8], cut: &Cut, bytes_max: usize) {
    let lines = stream.split_inclusive(|byte| *byte == b'\n');
    let (short, long): (Vec<&[u8]>, Vec<&[u8]>) = lines.partition(|line| line.len() <= bytes_max);
    assert_eq!(cut.units, short);
    assert_eq!(cut.oversize, long.len() as u64);
}

/// The slow obvious reader: length, payload, until the end or a length beyond the limit.
fn frames_hold(mut stream: &[u8], cut: &Cut, bytes_max: usize) {
    let mut units: Vec<&[u8]> = Vec::new();
    let mut refused = None;
    while let Some((header, rest)) = stream.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*header);
        if length as usize > bytes_max {
            refused = Some(length);
            break;
        }
        let Some((payload, rest)) = rest.split_at_checked(length as usize) else { break };
        units.extend((!payload.is_empty()).then_some(payload));
        stream = rest;
    }
    assert_eq!(cut.units, units);
    assert_eq!(cut.refused, refused);
    assert!(refused.is_some() || cut.pending_bytes == stream.len());
}
