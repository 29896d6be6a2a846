//! Capture files: what a server received, datagram by datagram, in the format of the Datadog Agent.
//!
//! In: records, or the bytes of a file. Out: the bytes of a file, or records. Promise: what is
//! written can be read by an Agent of version 3 of the format, and what an Agent wrote in versions 0
//! to 3 can be read, plain or zstd; memory is bounded for any file, and a bad file is explained with
//! the number of the record and its offset. Refusal: it opens no socket and interprets no line.
//!
//! The format, in the order of a file (all lengths little endian):
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `d4 74 d0 60 fV ff 00 00`, V the version, 0 to 3 |
//! | 4 + n | a record: its length, then a protobuf message, again and again |
//! | 4 | zero: the records end here |
//! | n + 4 | from version 2 on: a protobuf message with tags of containers, then its length |
//!
//! Timestamps are seconds up to version 2, nanoseconds in version 3. A reader of the Agent skips
//! fields it does not know, so what only whippet knows stands in fields from 100 on: the listener,
//! the address of the sender, and in the closing message what the capture missed.

#[doc(hidden)]
pub mod fuzz_api;
mod message;
mod reader;
mod writer;

pub(crate) use self::message::{Process, Summary};
pub(crate) use self::reader::{CaptureError, CaptureReader, Entry, Event};
pub(crate) use self::writer::{Record, put_end, put_header, put_heartbeat, put_record};

/// First bytes of every file; the low half of byte 4 is the version.
const HEADER: [u8; 8] = [0xd4, 0x74, 0xd0, 0x60, 0xf0, 0xff, 0x00, 0x00];
/// Where the version stands.
const VERSION_AT: usize = 4;
/// The version that is written, and the newest that is read.
const VERSION: u8 = 3;
/// From here on, a closing message follows the records.
const VERSION_WITH_STATE: u8 = 2;
/// From here on, timestamps are nanoseconds.
const VERSION_WITH_NANOSECONDS: u8 = 3;
/// First bytes of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Longest record: the longest datagram that can be configured (`dogstatsd_buffer_size`), and room
/// for the fields around it.
const RECORD_BYTES_MAX: usize = (16 << 20) + (64 << 10);
/// Longest closing message that is looked into; a longer one is skipped.
const STATE_BYTES_MAX: usize = 1 << 20;
