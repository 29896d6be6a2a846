//! A directory of records, owned by one process at a time.

use super::frame::{Frame, HEADER_BYTES, Opened, RecordError};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tracing::warn;

/// Damaged files kept for inspection; further ones are removed.
const DAMAGED_KEPT: usize = 16;

/// What a file takes of the disk beside its bytes: its last block is on average half empty.
const FILE_OVERHEAD_BYTES: u64 = 2048;

/// The directory, its lock, and its damaged files.
///
/// A record is written under a temporary name and renamed when whole. Writes are not forced to the
/// platter: after a loss of power the last records may be torn, which the checksums notice.
#[derive(Debug)]
pub(crate) struct SpoolDirectory {
    path: PathBuf,
    frame: Frame,
    damaged: usize,
    /// Held as long as this lives: two processes must not share a directory.
    lock: File,
}

/// What an opened directory held.
pub(crate) struct Stock {
    /// Whole records by the stem of their file, in no order; only the headers were read.
    pub records: Vec<(String, Opened)>,
}

impl SpoolDirectory {
    /// Opens the directory, creates it if needed, and takes stock. Unfinished writes are removed,
    /// damaged files set aside, foreign ones and those of later versions left alone.
    pub fn open(path: PathBuf, frame: Frame) -> io::Result<(Self, Stock)> {
        let lock = claim(&path)?;
        let mut directory = SpoolDirectory { path, frame, damaged: 0, lock };
        let stock = directory.take_stock()?;
        Ok((directory, stock))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a record with a body of that length takes of the disk.
    pub fn file_bytes(body_bytes: u64) -> u64 {
        body_bytes.saturating_add(HEADER_BYTES as u64 + FILE_OVERHEAD_BYTES)
    }

    fn take_stock(&mut self) -> io::Result<Stock> {
        let (mut foreign, mut records) = (0_u64, Vec::new());
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("tmp") => remove_file(&path),
                Some("damaged") => self.damaged += 1,
                Some("record") => records.extend(self.take_in(&path)),
                _ if path.file_name().is_some_and(|name| name == "lock") => {}
                _ => foreign += 1,
            }
        }
        if foreign > 0 {
            let directory = self.path.display();
            warn!(target: "spool", "spool {directory}: left {foreign} foreign files alone");
        }
        Ok(Stock { records })
    }

    fn take_in(&mut self, path: &Path) -> Option<(String, Opened)> {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
        let known = stem.ok_or(RecordError::Foreign).and_then(|stem| {
            let length = fs::metadata(path).map_err(|_| RecordError::Cut)?.len();
            let opened = self.peek(path)?;
            let is_whole = length == opened.body_bytes.saturating_add(HEADER_BYTES as u64);
            if is_whole { Ok((stem, opened)) } else { Err(RecordError::Cut) }
        });
        match known {
            Ok(known) => Some(known),
            // A later version may come back and read it.
            Err(error @ RecordError::Newer(_)) => {
                warn!(target: "spool", "{}: {error}, left alone", path.display());
                None
            }
            Err(error) => {
                self.set_aside_path(path, error);
                None
            }
        }
    }

    fn peek(&self, path: &Path) -> Result<Opened, RecordError> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        let file = File::open(path).map_err(|_| RecordError::Cut)?;
        file.take(HEADER_BYTES as u64).read_to_end(&mut bytes).map_err(|_| RecordError::Cut)?;
        self.frame.open(&bytes)
    }

    /// True when the directory is gone, with every record in it.
    pub fn is_gone(&self) -> bool {
        !self.path.is_dir()
    }

    /// Makes the directory again after another program removed it.
    pub fn make_again(&mut self) -> io::Result<()> {
        self.lock = claim(&self.path)?;
        Ok(())
    }

    /// Writes a record, whole or not at all.
    pub fn write(&self, stem: &str, header: &[u8; HEADER_BYTES], body: &[u8]) -> io::Result<()> {
        let path = self.path_of(stem);
        let unfinished = path.with_extension("tmp");
        let written =
            write_private(&unfinished, header, body).and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            remove_file(&unfinished);
        }
        written
    }

    /// The bytes of a record's file.
    pub fn read(&self, stem: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path_of(stem))
    }

    /// Whether the file of a record is there.
    pub fn has(&self, stem: &str) -> bool {
        self.path_of(stem).exists()
    }

    /// Removes the file of a record. One that cannot be removed is met again at the next start.
    pub fn remove(&self, stem: &str) {
        remove_file(&self.path_of(stem));
    }

    /// Keeps a damaged file for inspection, out of the way; past a number of them it goes.
    pub fn set_aside(&mut self, stem: &str, error: RecordError) {
        self.set_aside_path(&self.path_of(stem), error);
    }

    fn set_aside_path(&mut self, path: &Path, error: RecordError) {
        self.damaged += 1;
        if self.damaged > DAMAGED_KEPT {
            remove_file(path);
            warn!(target: "spool", "{}: {error}, removed", path.display());
        } else {
            // If it cannot be renamed it is met again at the next start; nothing depends on it.
            let _ = fs::rename(path, path.with_extension("damaged"));
            warn!(target: "spool", "{}: {error}, set aside as .damaged", path.display());
        }
    }

    fn path_of(&self, stem: &str) -> PathBuf {
        self.path.join(format!("{stem}.record"))
    }
}

impl Drop for SpoolDirectory {
    /// Closing the file would do, were it not for a child process that is just being started and
    /// still has a copy of it.
    fn drop(&mut self) {
        // If it fails, the system releases the lock when the process ends.
        let _ = self.lock.unlock();
    }
}

/// Makes the directory if needed and takes its lock.
fn claim(directory: &Path) -> io::Result<File> {
    create_private(directory)?;
    let lock = File::create(directory.join("lock"))?;
    lock.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => io::Error::other("another process uses it"),
        fs::TryLockError::Error(error) => error,
    })?;
    Ok(lock)
}

fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)
}

fn write_private(path: &Path, head: &[u8], body: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.write(true).create(true).truncate(true).open(path)?;
    file.write_all(head)?;
    file.write_all(body)
}

fn remove_file(path: &Path) {
    let _ = fs::remove_file(path);
}
