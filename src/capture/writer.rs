//! Writing a capture file, piece by piece, into a buffer of the caller.

use std::time::Duration;

use prost::Message;

use super::message::{Process, RecordMessage, StateMessage, Summary};
use super::{HEADER, VERSION, VERSION_AT};

/// One datagram or frame, as it was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    /// Since the Unix epoch.
    pub at: Duration,
    pub payload: &'a [u8],
    /// Transport and address, `udp 127.0.0.1:8125`; empty when it is not known.
    pub listener: &'a [u8],
    /// The address of an internet peer; empty for none.
    pub sender: &'a [u8],
    /// The process of a Unix peer.
    pub process: Option<Process>,
    /// Bytes that were cut off behind the payload.
    pub cut_bytes: u64,
}

/// Appends the header.
pub(crate) fn put_header(out: &mut Vec<u8>) {
    let mut header = HEADER;
    header[VERSION_AT] |= VERSION;
    out.extend_from_slice(&header);
}

/// Appends a record.
pub(crate) fn put_record(out: &mut Vec<u8>, record: &Record<'_>) {
    let ancillary = record.process.map(|process| process.ancillary().to_vec()).unwrap_or_default();
    put_message(
        out,
        &RecordMessage {
            timestamp: i64::try_from(record.at.as_nanos()).unwrap_or(i64::MAX),
            // A payload is at most 16 MiB.
            payload_size: i32::try_from(record.payload.len()).unwrap_or(i32::MAX),
            payload: record.payload.to_vec(),
            pid: record.process.map_or(0, |process| process.pid),
            ancillary_size: ancillary.len() as i32,
            ancillary,
            listener: record.listener.to_vec(),
            sender: record.sender.to_vec(),
            cut_bytes: record.cut_bytes,
            heartbeat: false,
        },
    );
}

/// Appends a sign of life, for a stream that has nothing else to say.
pub(crate) fn put_heartbeat(out: &mut Vec<u8>) {
    put_message(out, &RecordMessage { heartbeat: true, ..RecordMessage::default() });
}

/// Appends what comes after the last record.
pub(crate) fn put_end(out: &mut Vec<u8>, summary: Summary) {
    let state = StateMessage { summary: Some(summary) }.encode_to_vec();
    out.extend_from_slice(&0_u32.to_le_bytes());
    out.extend_from_slice(&state);
    out.extend_from_slice(&length(state.len()));
}

fn put_message(out: &mut Vec<u8>, message: &RecordMessage) {
    out.extend_from_slice(&length(message.encoded_len()));
    message.encode_raw(out);
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}
