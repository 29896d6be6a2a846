//! Stream framing as a function from pieces of bytes to units, for fuzzing. No socket, no interface.

use super::framing::{Frames, Lines};

/// What a connection that sent these bytes would have handed on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Units in order; of lines, the chunks joined, the unfinished last line included.
    pub units: Vec<Vec<u8>>,
    /// The announced length of the frame that ended the connection.
    pub refused: Option<u32>,
    /// Lines that were too long.
    pub oversize: u64,
    /// Bytes of a frame that did not end.
    pub pending_bytes: usize,
}

/// Cuts length frames of up to `bytes_max` bytes out of what arrived in `pieces`.
#[must_use]
pub fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, bytes_max: usize) -> Cut {
    let (mut reader, mut cut) = (Frames::new(bytes_max), Cut::default());
    for piece in pieces {
        let fed = reader.feed(piece, |payload| cut.units.push(payload.to_vec()));
        if let Err(oversize) = fed {
            cut.refused = Some(oversize.length);
            return cut;
        }
    }
    cut.pending_bytes = reader.pending_bytes();
    cut
}

/// Cuts lines of up to `bytes_max` bytes, newline included, out of what arrived in `pieces`.
#[must_use]
pub fn lines<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, bytes_max: usize) -> Cut {
    let (mut reader, mut cut) = (Lines::new(bytes_max), Cut::default());
    for piece in pieces {
        let emit = |chunk: &[u8]| {
            assert!(chunk.ends_with(b"\n") && chunk.len() <= bytes_max.max(1));
            cut.units.extend(chunk.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        };
        cut.oversize += reader.feed(piece, emit);
    }
    let rest = reader.finish();
    cut.units.extend((!rest.is_empty()).then_some(rest));
    cut
}
