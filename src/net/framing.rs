//! Where units begin and end in a stream of bytes: length frames and lines. Pure; no sockets.
//!
//! Whole units are handed on straight from the read buffer; only a unit that straddles two reads is
//! copied, into a buffer that grows with the bytes that really came and never past the limit.

use memchr::{memchr, memrchr};

/// Bytes of the length before each frame.
const HEADER_BYTES: usize = 4;

/// How a connection's bytes are cut into units.
#[derive(Debug)]
pub(super) enum Framing {
    /// `length payload`, length a little-endian u32.
    Frames(Frames),
    /// Lines ended by newlines.
    Lines(Lines),
}

/// A frame that announced too much; its connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Oversize<'a> {
    /// Bytes announced.
    pub(super) length: u32,
    /// Payload bytes at hand.
    pub(super) beginning: &'a [u8],
}

/// Reader of length frames.
#[derive(Debug)]
pub(super) struct Frames {
    bytes_max: usize,
    // Header and payload of a frame that has begun and is not whole yet.
    partial: Vec<u8>,
}

impl Frames {
    /// Frames of up to `bytes_max` payload bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Frames { bytes_max, partial: Vec::new() }
    }

    /// Cuts `input`, which continues what was fed before. Frames of length 0 are skipped.
    /// Differs: the Agent closes the connection on a frame of length 0.
    pub(super) fn feed<'a>(
        &mut self,
        mut input: &'a [u8],
        mut emit: impl FnMut(&[u8]),
    ) -> Result<(), Oversize<'a>> {
        while !input.is_empty() {
            if self.partial.is_empty()
                && let Some((header, rest)) = input.split_first_chunk::<HEADER_BYTES>()
            {
                let length = self.checked_length(*header, rest)?;
                if let Some((payload, rest)) = rest.split_at_checked(length) {
                    input = rest;
                    if !payload.is_empty() {
                        emit(payload);
                    }
                    continue;
                }
            }
            input = self.continue_partial(input, &mut emit)?;
        }
        Ok(())
    }

    /// Moves bytes into the partial frame, hands it on when whole, returns what is left of `input`.
    fn continue_partial<'a>(
        &mut self,
        mut input: &'a [u8],
        emit: &mut impl FnMut(&[u8]),
    ) -> Result<&'a [u8], Oversize<'a>> {
        if self.partial.len() < HEADER_BYTES {
            input = self.take_until(HEADER_BYTES, input);
        }
        let Some(header) = self.partial.first_chunk::<HEADER_BYTES>() else { return Ok(input) };
        let length = self.checked_length(*header, input)?;
        let whole = HEADER_BYTES + length;
        let input = self.take_until(whole, input);
        if self.partial.len() == whole {
            // Taken out first: if the reader panics, this frame is not handed on twice.
            let mut frame = std::mem::take(&mut self.partial);
            if length > 0 {
                emit(&frame[HEADER_BYTES..]);
            }
            frame.clear();
            self.partial = frame;
        }
        Ok(input)
    }

    fn take_until<'a>(&mut self, wanted: usize, input: &'a [u8]) -> &'a [u8] {
        let missing = wanted.saturating_sub(self.partial.len()).min(input.len());
        let (taken, rest) = input.split_at(missing);
        self.partial.extend_from_slice(taken);
        rest
    }

    fn checked_length<'a>(
        &self,
        header: [u8; HEADER_BYTES],
        beginning: &'a [u8],
    ) -> Result<usize, Oversize<'a>> {
        let length = u32::from_le_bytes(header);
        match usize::try_from(length) {
            Ok(bytes) if bytes <= self.bytes_max => Ok(bytes),
            _ => Err(Oversize { length, beginning }),
        }
    }

    /// Bytes of a frame that has begun and did not end.
    pub(super) fn pending_bytes(&self) -> usize {
        self.partial.len()
    }
}

/// Reader of lines, handed on in chunks of whole lines.
#[derive(Debug)]
pub(super) struct Lines {
    bytes_max: usize,
    partial: Vec<u8>,
    // In the middle of a line that is too long: everything up to its newline goes unread.
    skipping: bool,
}

impl Lines {
    /// Lines of up to `bytes_max` bytes with their newline; chunks are not longer either.
    pub(super) fn new(bytes_max: usize) -> Self {
        Lines { bytes_max: bytes_max.max(1), partial: Vec::new(), skipping: false }
    }

    /// Cuts `input`, which continues what was fed before; returns how many lines were too long.
    pub(super) fn feed(&mut self, mut input: &[u8], mut emit: impl FnMut(&[u8])) -> u64 {
        let mut oversize = 0;
        while !input.is_empty() {
            if self.skipping {
                let Some(end) = memchr(b'\n', input) else { return oversize };
                self.skipping = false;
                input = &input[end + 1..];
            } else if self.partial.is_empty() {
                let window = &input[..input.len().min(self.bytes_max)];
                let Some(end) = memrchr(b'\n', window) else {
                    oversize += self.begin_partial(input);
                    if self.skipping {
                        continue;
                    }
                    return oversize;
                };
                emit(&input[..=end]);
                input = &input[end + 1..];
            } else {
                let end = memchr(b'\n', input).map_or(input.len(), |end| end + 1);
                if self.partial.len() + end > self.bytes_max {
                    self.partial.clear();
                    self.skipping = true;
                    oversize += 1;
                    continue;
                }
                self.partial.extend_from_slice(&input[..end]);
                if input[end - 1] == b'\n' {
                    // Taken out first: if the reader panics, the line is not handed on twice.
                    let mut line = std::mem::take(&mut self.partial);
                    emit(&line);
                    line.clear();
                    self.partial = line;
                }
                input = &input[end..];
            }
        }
        oversize
    }

    /// Keeps a line without end, or starts skipping one that is too long already.
    fn begin_partial(&mut self, input: &[u8]) -> u64 {
        self.skipping = input.len() > self.bytes_max;
        if !self.skipping {
            self.partial.extend_from_slice(input);
        }
        u64::from(self.skipping)
    }

    /// The last line when the peer finished without a newline.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }

    /// Bytes of a line that has begun and did not end.
    pub(super) fn pending_bytes(&self) -> usize {
        self.partial.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        [&length.to_le_bytes()[..], payload].concat()
    }

    /// Feeds `stream` in the given pieces and returns the frames and whether it was refused.
    fn frames_of(pieces: &[&[u8]], bytes_max: usize) -> (Vec<Vec<u8>>, Option<u32>, usize) {
        let (mut reader, mut out) = (Frames::new(bytes_max), Vec::new());
        for piece in pieces {
            if let Err(oversize) = reader.feed(piece, |payload| out.push(payload.to_vec())) {
                return (out, Some(oversize.length), reader.pending_bytes());
            }
        }
        (out, None, reader.pending_bytes())
    }

    #[test]
    fn frames_are_the_same_wherever_the_writes_are_split() {
        let wanted: Vec<Vec<u8>> = vec![b"a:1|c\n".to_vec(), b"b".to_vec(), b"longer|g".to_vec()];
        let stream = [frame(&wanted[0]), frame(b""), frame(&wanted[1]), frame(&wanted[2])].concat();
        for i in 0..=stream.len() {
            for j in i..=stream.len() {
                let pieces = [&stream[..i], &stream[i..j], &stream[j..]];
                assert_eq!(frames_of(&pieces, 8), (wanted.clone(), None, 0), "cut at {i}, {j}");
            }
        }
    }

    #[test]
    fn the_documented_bytes_are_one_frame() {
        let bytes = [0x06, 0, 0, 0, 0x61, 0x3a, 0x31, 0x7c, 0x63, 0x0a];
        assert_eq!(frames_of(&[&bytes], 8192), (vec![b"a:1|c\n".to_vec()], None, 0));
    }

    #[test]
    fn a_frame_of_the_limit_passes_and_one_byte_more_is_refused_wherever_it_is_split() {
        assert_eq!(frames_of(&[&frame(b"12345")], 5).0.len(), 1);
        let stream = [frame(b"ok"), frame(b"123456")].concat();
        for i in 0..stream.len() {
            let (out, refused, _) = frames_of(&[&stream[..i], &stream[i..]], 5);
            assert_eq!((out.len(), refused), (1, Some(6)), "cut at {i}");
        }
    }

    #[test]
    fn an_oversize_frame_tells_its_length_and_beginning() {
        let mut reader = Frames::new(100);
        let refused = reader.feed(b"a:1|c\n", |_| unreachable!("nothing is whole"));
        assert_eq!(refused, Err(Oversize { length: 0x7c31_3a61, beginning: b"c\n" }));
    }

    #[test]
    fn an_announced_length_costs_no_memory_until_its_bytes_come() {
        let mut reader = Frames::new(1 << 30);
        reader.feed(&(1_u32 << 30).to_le_bytes(), |_| {}).unwrap();
        reader.feed(b"abc", |_| {}).unwrap();
        assert!(reader.partial.capacity() < 64, "{}", reader.partial.capacity());
        assert_eq!(reader.pending_bytes(), HEADER_BYTES + 3);
    }

    /// Feeds `text` in two pieces; returns lines, lines too long, and the unfinished rest.
    fn lines_of(text: &[u8], cut: usize, bytes_max: usize) -> (Vec<u8>, u64, Vec<u8>) {
        let (mut reader, mut out) = (Lines::new(bytes_max), Vec::new());
        let mut oversize = 0;
        for piece in [&text[..cut], &text[cut..]] {
            oversize += reader.feed(piece, |lines| {
                assert!(lines.len() <= bytes_max && lines.ends_with(b"\n"));
                out.extend_from_slice(lines);
            });
        }
        (out, oversize, reader.finish())
    }

    #[test]
    fn lines_are_the_same_wherever_the_writes_are_split_and_long_ones_are_skipped() {
        let text = b"a:1|c\nb:2|g\n\n123456789\nlast\n12345678901234567890\nz\nrest";
        for cut in 0..=text.len() {
            let (out, oversize, rest) = lines_of(text, cut, 8);
            assert_eq!(out, b"a:1|c\nb:2|g\n\nlast\nz\n", "cut at {cut}");
            assert_eq!((oversize, rest), (2, b"rest".to_vec()), "cut at {cut}");
        }
    }
}
