//! Reading a capture file as a stream, record by record.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use prost::Message;
use thiserror::Error;

use super::message::{Process, RecordMessage, StateMessage, Summary};
use super::{
    HEADER, RECORD_BYTES_MAX, STATE_BYTES_MAX, VERSION, VERSION_AT, VERSION_WITH_NANOSECONDS,
    VERSION_WITH_STATE, ZSTD_MAGIC,
};

/// One record of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Since the Unix epoch; whole seconds in files of versions 0 to 2.
    pub at: Duration,
    pub payload: Vec<u8>,
    /// Transport and address; empty in a file of the Agent, which captures Unix sockets.
    pub listener: Vec<u8>,
    /// The address of an internet peer; empty for none.
    pub sender: Vec<u8>,
    pub process: Option<Process>,
    pub cut_bytes: u64,
}

/// What comes next in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Record(Entry),
    /// A stream is alive and has nothing to say. Files have none.
    Heartbeat,
    /// The file is complete; with what whippet noted at its end.
    End(Option<Summary>),
}

/// What is wrong with a file, and where.
#[derive(Debug, Error)]
pub(crate) enum CaptureError {
    /// Reading failed.
    #[error("{place}: {error}")]
    Read { place: Place, error: io::Error },
    /// The file begins otherwise.
    #[error(
        "not a capture file: it begins with {begins}, a capture with d4 74 d0 60; use a file of `whippet capture` or `agent dogstatsd-capture`"
    )]
    Header { begins: String },
    /// A version that is not known.
    #[error(
        "version {version} of the capture format; versions 0 to {VERSION} can be read; update whippet"
    )]
    Version { version: u8 },
    /// It ends inside of something.
    #[error("{place}: the file is cut off: {detail}; records before it are whole")]
    Truncated { place: Place, detail: String },
    /// What is there cannot be.
    #[error("{place}: the file is damaged: {detail}; records before it are whole")]
    Corrupt { place: Place, detail: String },
    /// This build cannot unpack it.
    #[cfg(not(feature = "zstd"))]
    #[error(
        "it is compressed, but this whippet was built without zstd; decompress it first (zstd -d)"
    )]
    Compressed,
}

/// Where in a file something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the record, the first is 1.
    pub record: u64,
    /// Bytes before it, unpacked.
    pub offset: u64,
    pub compressed: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unpacked = if self.compressed { " of the decompressed data" } else { "" };
        write!(f, "record {} at byte {}{unpacked}", self.record, self.offset)
    }
}

/// Reads one file or stream.
pub(crate) struct CaptureReader<'a> {
    input: Box<dyn BufRead + 'a>,
    version: u8,
    place: Place,
    ended: bool,
}

impl fmt::Debug for CaptureReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureReader").field("place", &self.place).finish_non_exhaustive()
    }
}

impl<'a> CaptureReader<'a> {
    /// Reads the header; finds out itself whether the file is compressed.
    ///
    /// # Errors
    /// When it is no capture file, or of an unknown version.
    pub fn new(input: impl Read + 'a) -> Result<Self, CaptureError> {
        let mut input = BufReader::with_capacity(64 << 10, input);
        let place = Place { record: 0, offset: 0, compressed: false };
        let read = |error| CaptureError::Read { place, error };
        let mut begins = Vec::new();
        input.by_ref().take(HEADER.len() as u64).read_to_end(&mut begins).map_err(read)?;
        let compressed = begins.starts_with(&ZSTD_MAGIC);
        let whole = io::Cursor::new(begins.clone()).chain(input);
        let mut input: Box<dyn BufRead + 'a> =
            if compressed { unpacked(whole, place)? } else { Box::new(whole) };
        let mut header = Vec::new();
        input.by_ref().take(HEADER.len() as u64).read_to_end(&mut header).map_err(read)?;
        let version = header.get(VERSION_AT).map_or(0, |byte| byte & 0x0f);
        if let Some(byte) = header.get_mut(VERSION_AT) {
            *byte &= 0xf0;
        }
        if header != HEADER {
            if let Some(byte) = header.get_mut(VERSION_AT) {
                *byte |= version;
            }
            let hex: Vec<String> = header.iter().map(|byte| format!("{byte:02x}")).collect();
            let begins = if hex.is_empty() { "nothing".to_owned() } else { hex.join(" ") };
            return Err(CaptureError::Header { begins });
        }
        if version > VERSION {
            return Err(CaptureError::Version { version });
        }
        let place = Place { record: 1, offset: HEADER.len() as u64, compressed };
        Ok(CaptureReader { input, version, place, ended: false })
    }

    /// The next record, or the end, which comes again and again.
    ///
    /// # Errors
    /// With the place; nothing can be read after one.
    pub fn next(&mut self) -> Result<Event, CaptureError> {
        if self.ended {
            return Ok(Event::End(None));
        }
        let next = self.read();
        self.ended = !matches!(next, Ok(Event::Record(_) | Event::Heartbeat));
        next
    }

    fn read(&mut self) -> Result<Event, CaptureError> {
        let head = self.bytes(4)?;
        let Ok(length) = <[u8; 4]>::try_from(&*head) else {
            return match (head.len(), self.version) {
                // Nothing follows the records of the first versions.
                (0, version) if version < VERSION_WITH_STATE => Ok(Event::End(None)),
                (0, _) => Err(self.truncated("the closing section is missing".to_owned())),
                (read, _) => {
                    Err(self.truncated(format!("{read} of the 4 bytes of the length are there")))
                }
            };
        };
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            return self.end();
        }
        if length > RECORD_BYTES_MAX {
            return Err(self.corrupt(format!(
                "a length of {length} bytes; a record has at most {RECORD_BYTES_MAX}"
            )));
        }
        let message = self.bytes(length)?;
        if message.len() < length {
            return Err(self.truncated(format!("{} of {length} bytes are there", message.len())));
        }
        let event = self.event(&message)?;
        self.place.offset += 4 + length as u64;
        if event != Event::Heartbeat {
            self.place.record += 1;
        }
        Ok(event)
    }

    fn event(&self, message: &[u8]) -> Result<Event, CaptureError> {
        let message = RecordMessage::decode(message)
            .map_err(|error| self.corrupt(format!("not a record: {error}")))?;
        if message.heartbeat {
            return Ok(Event::Heartbeat);
        }
        let RecordMessage { timestamp, payload_size, mut payload, pid, ancillary, .. } = message;
        let size = usize::try_from(payload_size).ok().filter(|size| *size <= payload.len());
        let Some(size) = size else {
            let length = payload.len();
            return Err(self.corrupt(format!(
                "a payload of {payload_size} bytes is announced, {length} are there"
            )));
        };
        payload.truncate(size);
        let Ok(time) = u64::try_from(timestamp) else {
            return Err(self.corrupt(format!("the time {timestamp} is before 1970")));
        };
        let at = if self.version < VERSION_WITH_NANOSECONDS {
            Duration::from_secs(time)
        } else {
            Duration::from_nanos(time)
        };
        let of_pid = || (pid > 0).then_some(Process { pid, uid: 0, gid: 0 });
        let process = Process::of_ancillary(&ancillary).or_else(of_pid);
        let RecordMessage { listener, sender, cut_bytes, .. } = message;
        Ok(Event::Record(Entry { at, payload, listener, sender, process, cut_bytes }))
    }

    /// What follows the separator: the closing message and its length.
    fn end(&mut self) -> Result<Event, CaptureError> {
        if self.version < VERSION_WITH_STATE {
            return Ok(Event::End(None));
        }
        let state = self.bytes(STATE_BYTES_MAX)?;
        let (mut length, mut tail) = (state.len() as u64, state.clone());
        // More than is looked into: only its last four bytes matter.
        loop {
            let more = self.bytes(STATE_BYTES_MAX)?;
            if more.is_empty() {
                break;
            }
            length += more.len() as u64;
            tail.drain(..tail.len().saturating_sub(4));
            tail.extend_from_slice(&more);
        }
        let last = tail.len().checked_sub(4).and_then(|at| <[u8; 4]>::try_from(&tail[at..]).ok());
        let Some(last) = last else {
            let detail = "the closing section has no length at its end";
            return Err(self.truncated(detail.to_owned()));
        };
        let (said, found) = (u64::from(u32::from_le_bytes(last)), length - 4);
        if said != found {
            return Err(self.corrupt(format!(
                "the closing section announces {said} bytes, {found} are there"
            )));
        }
        let whole = (length <= STATE_BYTES_MAX as u64).then(|| &state[..state.len() - 4]);
        let read = whole.and_then(|state| StateMessage::decode(state).ok());
        Ok(Event::End(read.and_then(|state| state.summary)))
    }

    /// Up to so many bytes: fewer where the file ends. Memory grows with what is really there.
    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, CaptureError> {
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(count as u64).read_to_end(&mut bytes);
        let place = self.place;
        match read {
            Ok(_) => Ok(bytes),
            // How a zstd frame ends before its end.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.truncated("the compressed data ends early".to_owned()))
            }
            Err(error) if place.compressed && error.kind() == io::ErrorKind::Other => {
                Err(self.corrupt(format!("it does not decompress: {error}")))
            }
            Err(error) => Err(CaptureError::Read { place, error }),
        }
    }

    fn truncated(&self, detail: String) -> CaptureError {
        CaptureError::Truncated { place: self.place, detail }
    }

    fn corrupt(&self, detail: String) -> CaptureError {
        CaptureError::Corrupt { place: self.place, detail }
    }
}

#[cfg(feature = "zstd")]
fn unpacked<'a>(
    input: impl BufRead + 'a,
    place: Place,
) -> Result<Box<dyn BufRead + 'a>, CaptureError> {
    // Its window is at most 128 MiB, the library's own bound.
    let unpacked = zstd::stream::read::Decoder::with_buffer(input)
        .map_err(|error| CaptureError::Read { place, error })?;
    Ok(Box::new(BufReader::with_capacity(64 << 10, unpacked)))
}

#[cfg(not(feature = "zstd"))]
fn unpacked<'a>(_: impl BufRead + 'a, _: Place) -> Result<Box<dyn BufRead + 'a>, CaptureError> {
    Err(CaptureError::Compressed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capture::{Record, put_end, put_header, put_heartbeat, put_record};

    fn events(file: &[u8]) -> Result<Vec<Event>, CaptureError> {
        let mut reader = CaptureReader::new(file)?;
        let mut all = Vec::new();
        loop {
            all.push(reader.next()?);
            if matches!(all.last(), Some(Event::End(_))) {
                return Ok(all);
            }
        }
    }

    fn written(entries: &[Entry], summary: Summary) -> Vec<u8> {
        let mut file = Vec::new();
        put_header(&mut file);
        for entry in entries {
            let Entry { at, payload, listener, sender, process, cut_bytes } = entry;
            let (at, process, cut_bytes) = (*at, *process, *cut_bytes);
            put_record(&mut file, &Record { at, payload, listener, sender, process, cut_bytes });
            put_heartbeat(&mut file);
        }
        put_end(&mut file, summary);
        file
    }

    fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..most)
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let process = proptest::option::of((1.., any::<u32>(), any::<u32>()));
        let parts = (0..i64::MAX.cast_unsigned(), bytes(40), bytes(9), bytes(9), process, 0..9_u64);
        parts.prop_map(|(nanos, payload, listener, sender, process, cut_bytes)| Entry {
            at: Duration::from_nanos(nanos),
            payload,
            listener,
            sender,
            process: process.map(|(pid, uid, gid)| Process { pid, uid, gid }),
            cut_bytes,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_no_beginning_of_it_is_whole(
            entries in proptest::collection::vec(entry(), 0..5),
            numbers in any::<[u64; 4]>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let [records, payload_bytes, missed_records, missed_bytes] = numbers;
            let summary = Summary { records, payload_bytes, missed_records, missed_bytes };
            let file = written(&entries, summary);
            let read = events(&file).unwrap();
            let records: Vec<Entry> = read
                .iter()
                .filter_map(|event| match event {
                    Event::Record(entry) => Some(entry.clone()),
                    _ => None,
                })
                .collect();
            prop_assert_eq!(records, entries);
            prop_assert_eq!(read.last(), Some(&Event::End(Some(summary))));
            prop_assert!(events(&file[..cut.index(file.len())]).is_err());
        }

        #[test]
        fn any_bytes_end_in_records_or_a_message(bytes in bytes(200)) {
            let mut file = Vec::new();
            put_header(&mut file);
            file.extend(bytes);
            if let Err(error) = events(&file) {
                prop_assert!(error.to_string().starts_with("record "), "{error}");
            }
        }
    }

    #[test]
    fn a_closing_message_that_is_too_long_is_skipped_and_its_length_checked() {
        let mut file = Vec::new();
        put_header(&mut file);
        file.extend([0; 4]);
        let state = STATE_BYTES_MAX * 2 + 3;
        file.resize(file.len() + state, 0xff);
        let whole = [&file[..], &u32::try_from(state).unwrap().to_le_bytes()].concat();
        assert_eq!(events(&whole).unwrap(), [Event::End(None)]);
        let wrong = [&file[..], &7_u32.to_le_bytes()].concat();
        let error = events(&wrong).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "record 1 at byte 8: the file is damaged: the closing section announces 7 bytes, {state} are there; \
                 records before it are whole"
            )
        );
    }

    #[test]
    fn a_length_costs_no_more_memory_than_what_is_there() {
        let mut file = Vec::new();
        put_header(&mut file);
        file.extend(u32::try_from(RECORD_BYTES_MAX).unwrap().to_le_bytes());
        file.extend([1, 2, 3]);
        let mut reader = CaptureReader::new(&file[..]).unwrap();
        reader.bytes(4).unwrap();
        let read = reader.bytes(RECORD_BYTES_MAX).unwrap();
        assert_eq!(read, [1, 2, 3]);
        assert!(read.capacity() < 1_024, "{}", read.capacity());
    }
}
