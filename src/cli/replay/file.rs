//! A capture file on disk, up to a number of records.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, anyhow};

use crate::capture::{CaptureError, CaptureReader, Entry, Event, Summary};

/// The records of a file.
pub(super) struct CaptureFile<'a> {
    path: &'a Path,
    reader: CaptureReader<'static>,
    left: u64,
    read: u64,
    /// What was noted at its end.
    pub summary: Option<Summary>,
}

impl<'a> CaptureFile<'a> {
    /// Opens it, to read at most so many records.
    pub fn open(path: &'a Path, records: u64) -> anyhow::Result<Self> {
        let shown = || path.display().to_string();
        let file = File::open(path).with_context(shown)?;
        let reader = CaptureReader::new(file).with_context(shown)?;
        Ok(CaptureFile { path, reader, left: records, read: 0, summary: None })
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    /// With the file, the number of the record, and the way out.
    pub fn next(&mut self) -> anyhow::Result<Option<Entry>> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            match self.reader.next() {
                Ok(Event::Record(entry)) => {
                    self.left -= 1;
                    self.read += 1;
                    return Ok(Some(entry));
                }
                Ok(Event::Heartbeat) => {}
                Ok(Event::End(summary)) => {
                    self.summary = summary;
                    return Ok(None);
                }
                Err(error) => return Err(self.explained(&error)),
            }
        }
    }

    fn explained(&self, error: &CaptureError) -> anyhow::Error {
        let path = self.path.display();
        let usable = matches!(error, CaptureError::Truncated { .. } | CaptureError::Corrupt { .. });
        match self.read {
            whole @ 1.. if usable => {
                anyhow!("{path}: {error}; --records {whole} reads only those")
            }
            _ => anyhow!("{path}: {error}"),
        }
    }
}
