//! The last lines of the log, kept for pages and archives.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// Lines kept.
const LINES_MAX: usize = 256;
/// Bytes kept of one entry, which may have several lines of text.
const ENTRY_BYTES_MAX: usize = 1_024;

/// The last entries of the log: at most 256 of 1,024 bytes each. The oldest goes when a new one
/// comes; an entry that is longer is cut.
#[derive(Debug, Default)]
pub struct LogRing {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Entries that ever came, which is the number of the next one.
    added: u64,
    kept: VecDeque<Box<str>>,
}

impl LogRing {
    /// Adds an entry; its final newline is left out.
    pub fn add(&self, entry: &str) {
        let entry = entry.trim_end_matches('\n');
        let cuts = (0..=entry.len().min(ENTRY_BYTES_MAX)).rev();
        let end = cuts.into_iter().find(|at| entry.is_char_boundary(*at)).unwrap_or_default();
        let cut = if end < entry.len() { "…" } else { "" };
        let entry = format!("{}{cut}", &entry[..end]).into_boxed_str();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.kept.len() == LINES_MAX {
            entries.kept.pop_front();
        }
        entries.kept.push_back(entry);
        entries.added += 1;
    }

    /// The entries from number `first` on that are still kept, and the number of the next one. The
    /// first entry of a process has number 0.
    #[must_use]
    pub fn since(&self, first: u64) -> (Vec<String>, u64) {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = entries.added - entries.kept.len() as u64;
        let skipped = usize::try_from(first.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let lines = entries.kept.iter().skip(skipped).map(|line| line.to_string());
        (lines.collect(), entries.added)
    }
}

/// One write is one entry, as a log layer makes them.
impl Write for &LogRing {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.add(&String::from_utf8_lossy(entry));
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_continues_where_it_was_and_old_entries_go() {
        let ring = LogRing::default();
        assert_eq!(ring.since(0), (vec![], 0));
        (0..LINES_MAX + 2).for_each(|number| ring.add(&format!("line {number}\n")));
        let (lines, next) = ring.since(0);
        assert_eq!((lines.len(), next), (LINES_MAX, LINES_MAX as u64 + 2));
        assert_eq!(lines[0], "line 2");
        assert_eq!(ring.since(next - 1).0, ["line 257"]);
        assert_eq!(ring.since(next).0, [""; 0]);
        // The number of an earlier process, or of nobody.
        assert_eq!(ring.since(u64::MAX).0, [""; 0]);
    }

    #[test]
    fn a_long_entry_is_cut_between_characters() {
        let ring = LogRing::default();
        ring.add(&"ä".repeat(ENTRY_BYTES_MAX));
        assert_eq!(ring.since(0).0, [format!("{}…", "ä".repeat(ENTRY_BYTES_MAX / 2))]);
        (&ring).write_all(b"a\nb \xff\n").unwrap();
        assert_eq!(ring.since(1).0, ["a\nb \u{fffd}"]);
    }
}
