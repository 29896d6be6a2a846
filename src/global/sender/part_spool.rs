//! Parts on disk, one file each: a record of `spool` with these fields, and the topic before the part.
//!
//! ```text
//! 10  2  length of the topic    24  8  cells                  all integers little-endian
//! 12  4  partition              32  4  interval, seconds
//! 16  8  start, Unix seconds    36 12  zero
//! ```
//!
//! The name of a file begins with the start of its interval, so that the oldest comes first.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::outgoing::{Described, OutgoingPart, PartKey};
use crate::spool::{
    FIELD_BYTES, Frame, HEADER_BYTES, Opened, RecordError, SpoolDirectory, number_at,
};

const FRAME: Frame = Frame { magic: b"WHIPPRT\n", version: 1 };

/// Where parts wait on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// `global_spool_path`
    pub path: PathBuf,
    /// `global_spool_max`
    pub bytes_max: u64,
}

#[derive(Debug)]
pub(super) struct PartSpool {
    directory: SpoolDirectory,
    bytes_max: u64,
    bytes: u64,
}

impl PartSpool {
    /// Opens the folder; the parts of earlier runs, in no order.
    pub fn open(settings: &SpoolSettings) -> io::Result<(Self, Vec<(PartKey, Described)>)> {
        let (directory, stock) = SpoolDirectory::open(settings.path.clone(), FRAME)?;
        let mut spool = PartSpool { directory, bytes_max: settings.bytes_max, bytes: 0 };
        let mut parts = Vec::new();
        for (stem, opened) in stock.records {
            match parse(&stem).ok_or(RecordError::Foreign).and_then(|key| describe(key, &opened)) {
                Ok((key, described)) => {
                    spool.bytes += file_bytes(&described);
                    parts.push((key, described));
                }
                Err(error) => spool.directory.set_aside(&stem, error),
            }
        }
        Ok((spool, parts))
    }

    pub fn path(&self) -> std::path::Display<'_> {
        self.directory.path().display()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the bound leaves room for this part.
    pub fn has_room_for(&self, described: &Described) -> bool {
        self.bytes + file_bytes(described) <= self.bytes_max
    }

    /// True when another program removed the folder; it is made again.
    pub fn was_removed(&mut self) -> io::Result<bool> {
        if !self.directory.is_gone() {
            return Ok(false);
        }
        self.directory.make_again().map(|()| true)
    }

    pub fn write(&mut self, key: PartKey, part: &OutgoingPart) -> io::Result<()> {
        let mut fields = [0; FIELD_BYTES];
        let topic = part.topic.as_bytes();
        let length = u16::try_from(topic.len()).map_err(io::Error::other)?;
        fields[..2].copy_from_slice(&length.to_le_bytes());
        fields[2..6].copy_from_slice(&part.partition.to_le_bytes());
        fields[6..14].copy_from_slice(&part.start.to_le_bytes());
        fields[14..22].copy_from_slice(&part.cells.to_le_bytes());
        fields[22..26].copy_from_slice(&part.interval.to_le_bytes());
        let body = [topic, &part.record].concat();
        self.directory.write(&stem(key), &FRAME.header(&fields, &body), &body)?;
        self.bytes += file_bytes(&Described::of(part));
        Ok(())
    }

    /// The topic and the record.
    pub fn read(&mut self, key: PartKey) -> io::Result<(Arc<str>, Bytes)> {
        let bytes = self.directory.read(&stem(key))?;
        let read = FRAME.read(&bytes).and_then(|(opened, body)| {
            let length = usize::from(u16::from_le_bytes([opened.fields[0], opened.fields[1]]));
            let (topic, _) = body.split_at_checked(length).ok_or(RecordError::Damaged)?;
            let topic = std::str::from_utf8(topic).map_err(|_| RecordError::Damaged)?;
            Ok((Arc::from(topic), HEADER_BYTES + length))
        });
        match read {
            Ok((topic, at)) => Ok((topic, Bytes::from(bytes).slice(at..))),
            Err(error) => {
                self.directory.set_aside(&stem(key), error);
                Err(io::Error::other(error))
            }
        }
    }

    /// The part is settled: its file goes.
    pub fn remove(&mut self, key: PartKey, described: &Described) {
        self.directory.remove(&stem(key));
        self.forget(described);
    }

    /// Its file is gone.
    pub fn forget(&mut self, described: &Described) {
        self.bytes = self.bytes.saturating_sub(file_bytes(described));
    }
}

fn file_bytes(described: &Described) -> u64 {
    SpoolDirectory::file_bytes(described.record_bytes)
}

fn describe(key: PartKey, opened: &Opened) -> Result<(PartKey, Described), RecordError> {
    let fields = &opened.fields;
    let four = |at: usize| {
        u32::from_le_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]])
    };
    let topic = u64::from(u16::from_le_bytes([fields[0], fields[1]]));
    let described = Described {
        partition: four(2),
        start: number_at(fields, 6),
        cells: number_at(fields, 14),
        interval: four(22),
        record_bytes: opened.body_bytes.checked_sub(topic).ok_or(RecordError::Damaged)?,
    };
    if described.start == key.start { Ok((key, described)) } else { Err(RecordError::Damaged) }
}

fn stem(key: PartKey) -> String {
    format!("{:012}-{:016x}", key.start, key.number)
}

fn parse(stem: &str) -> Option<PartKey> {
    let (start, number) = stem.split_once('-')?;
    Some(PartKey { start: start.parse().ok()?, number: u64::from_str_radix(number, 16).ok()? })
}
