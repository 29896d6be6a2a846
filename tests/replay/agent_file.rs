//! Capture files of a Datadog Agent, laid out byte by byte from the description of the format, and
//! the reader of one: nothing of ours writes or reads them here.

use std::path::{Path, PathBuf};

/// A record: time in the unit of its version, payload, process.
pub type Record<'a> = (u64, &'a [u8], u32);

/// A file of that version.
pub fn file(version: u8, records: &[Record<'_>]) -> Vec<u8> {
    let mut bytes = vec![0xd4, 0x74, 0xd0, 0x60, 0xf0 | version, 0xff, 0x00, 0x00];
    for record in records {
        let message = message(*record);
        bytes.extend(u32::try_from(message.len()).unwrap().to_le_bytes());
        bytes.extend(message);
    }
    if version >= 2 {
        bytes.extend([0, 0, 0, 0]);
        let state = state();
        bytes.extend(&state);
        bytes.extend(u32::try_from(state.len()).unwrap().to_le_bytes());
    }
    bytes
}

/// `UnixDogstatsdMsg`: timestamp 1, payloadSize 2, payload 3, pid 4, ancillarySize 5, ancillary 6.
pub fn message((time, payload, pid): Record<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    number(&mut bytes, 1, time);
    number(&mut bytes, 2, payload.len() as u64);
    text(&mut bytes, 3, payload);
    number(&mut bytes, 4, u64::from(pid));
    // A control message with credentials: 28 bytes long, SOL_SOCKET, SCM_CREDENTIALS.
    let mut ancillary = vec![28, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
    ancillary.extend(pid.to_le_bytes());
    ancillary.extend([0xe8, 3, 0, 0, 0xe8, 3, 0, 0, 0, 0, 0, 0]);
    number(&mut bytes, 5, ancillary.len() as u64);
    text(&mut bytes, 6, &ancillary);
    bytes
}

/// `TaggerState`: state 1 (id to entity), pidMap 2 (process to container).
fn state() -> Vec<u8> {
    let container = b"container_id://4ae5";
    let (mut id, mut entity, mut entry, mut of_pid) = (vec![], vec![], vec![], vec![]);
    text(&mut id, 1, b"container_id");
    text(&mut id, 2, b"4ae5");
    text(&mut entity, 1, &id);
    text(&mut entity, 5, b"image:web");
    text(&mut entry, 1, container);
    text(&mut entry, 2, &entity);
    number(&mut of_pid, 1, 77);
    text(&mut of_pid, 2, container);
    let mut bytes = Vec::new();
    text(&mut bytes, 1, &entry);
    text(&mut bytes, 2, &of_pid);
    bytes
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn number(bytes: &mut Vec<u8>, field: u64, value: u64) {
    varint(bytes, field << 3);
    varint(bytes, value);
}

fn text(bytes: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(bytes, field << 3 | 2);
    varint(bytes, value.len() as u64);
    bytes.extend(value);
}

/// Writes it into a folder.
pub fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// What an Agent would read of a message; fields it does not know are skipped.
#[derive(Debug, Default, PartialEq)]
pub struct Read {
    pub timestamp: u64,
    pub payload_size: u64,
    pub payload: Vec<u8>,
    pub pid: u64,
    pub ancillary_size: u64,
    pub ancillary: Vec<u8>,
}

/// Reads a plain file of version 3 as an Agent does, its closing section included.
#[track_caller]
pub fn read(file: &[u8]) -> Vec<Read> {
    assert_eq!(file[..8], [0xd4, 0x74, 0xd0, 0x60, 0xf3, 0xff, 0x00, 0x00]);
    let length = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let (mut at, mut all) = (8, Vec::new());
    while length(at) > 0 {
        let end = at + 4 + length(at);
        all.push(read_message(&file[at + 4..end]));
        at = end;
    }
    // The length of the state stands at the very end.
    assert_eq!(at + 4 + length(file.len() - 4) + 4, file.len());
    all
}

fn read_message(mut bytes: &[u8]) -> Read {
    let mut read = Read::default();
    while !bytes.is_empty() {
        let key = take(&mut bytes);
        let value = take(&mut bytes);
        let mut content = Vec::new();
        if key & 7 == 2 {
            let (taken, rest) = bytes.split_at(value as usize);
            (content, bytes) = (taken.to_vec(), rest);
        } else {
            assert_eq!(key & 7, 0, "a wire type that is not expected");
        }
        match key >> 3 {
            1 => read.timestamp = value,
            2 => read.payload_size = value,
            3 => read.payload = content,
            4 => read.pid = value,
            5 => read.ancillary_size = value,
            6 => read.ancillary = content,
            _ => {}
        }
    }
    read
}

fn take(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}
