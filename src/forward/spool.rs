//! The disk spool of one endpoint: a directory with one file per payload, newest read first.
//!
//! A process killed at any byte leaves either no record or a whole one. Its file goes when the
//! payload is settled: delivered, or dropped and counted. Killed between the two, a payload is
//! delivered again after the restart (at least once).

use super::accounting::Tally;
use super::outcome::DropReason;
use super::record::{FRAME, Header, header_of, read_header, read_record};
use crate::encode::{Payload, Route};
use crate::spool::{RecordError, SpoolDirectory};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use tracing::{info, warn};

/// Where payloads wait on disk, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct SpoolSettings {
    /// `forwarder_storage_path`; each endpoint gets a directory below it.
    pub path: PathBuf,
    /// `forwarder_storage_max_size_in_bytes`, per endpoint, above 0.
    pub bytes_max: u64,
    /// `forwarder_storage_max_disk_ratio`: the part of the disk that may be in use, by all programs.
    pub disk_ratio_max: f64,
}

/// Names a record: when it was built, then a number. Greater is newer.
pub(super) type RecordId = (u64, u64);

/// What is known of a record without reading it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub route: Route,
    pub tally: Tally,
    /// In memory too, on its way or in the retry queue.
    is_out: bool,
}

impl Record {
    fn new(header: &Header) -> Self {
        let tally = Tally { payloads: 1, points: header.points, bytes: header.body_bytes };
        Record { route: header.route, tally, is_out: false }
    }

    fn file_bytes(&self) -> u64 {
        SpoolDirectory::file_bytes(self.tally.bytes)
    }
}

/// A record that is gone without having been delivered, and why.
pub(super) type LostRecord = (Record, DropReason);

/// The spool of one endpoint.
#[derive(Debug)]
pub(super) struct Spool {
    directory: SpoolDirectory,
    settings: SpoolSettings,
    records: BTreeMap<RecordId, Record>,
    bytes: u64,
    next_number: u64,
}

impl Spool {
    /// Opens the directory `name` below the configured path, creates it if needed, and takes stock.
    /// Unfinished writes are removed, damaged files set aside, foreign ones left alone.
    pub fn open(settings: &SpoolSettings, name: &str) -> io::Result<Self> {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' };
        let path = settings.path.join(name.chars().map(safe).collect::<String>());
        let (directory, stock) = SpoolDirectory::open(path, FRAME)?;
        let mut spool = Spool {
            directory,
            settings: settings.clone(),
            records: BTreeMap::new(),
            bytes: 0,
            next_number: 0,
        };
        for (stem, opened) in stock.records {
            let header = read_header(&opened);
            match parse_name(&stem).ok_or(RecordError::Foreign).and_then(|id| Ok((id, header?))) {
                Ok((id, header)) => spool.take_in(id, Record::new(&header)),
                Err(error) => spool.directory.set_aside(&stem, error),
            }
        }
        if !spool.records.is_empty() {
            let (directory, records) = (spool.directory.path().display(), spool.records.len());
            info!(target: "forward", "spool {directory}: {records} payloads from an earlier run");
        }
        Ok(spool)
    }

    fn take_in(&mut self, id: RecordId, record: Record) {
        self.next_number = self.next_number.max(id.1.saturating_add(1));
        self.bytes += record.file_bytes();
        self.records.insert(id, record);
    }

    /// What it holds, per record.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes it could still take without losing a record.
    pub fn room(&self) -> u64 {
        // Without an answer of the file system, count on no room.
        self.limit().map_or(0, |limit| limit.saturating_sub(self.bytes))
    }

    /// Writes a payload. The oldest records go if the bound asks for it, and are returned, also
    /// when the write fails after all. A directory that was removed is made again; the records that
    /// went with it are among those returned.
    pub fn write_drop_oldest(
        &mut self,
        payload: &Payload,
        in_doubt: bool,
    ) -> (io::Result<RecordId>, Vec<LostRecord>) {
        let record = Record { route: payload.route, tally: Tally::of(payload), is_out: false };
        let mut lost = Vec::new();
        if self.directory.is_gone() {
            lost = self.forget_removed();
            if let Err(error) = self.directory.make_again() {
                return (Err(error), lost);
            }
        }
        let limit = match self.limit() {
            Ok(limit) if record.file_bytes() <= limit => limit,
            Ok(_) => return (Err(io::ErrorKind::StorageFull.into()), lost),
            Err(error) => return (Err(error), lost),
        };
        while self.bytes + record.file_bytes() > limit {
            match self.oldest_waiting() {
                Some(oldest) => {
                    let record = self.remove(oldest);
                    lost.extend(record.map(|record| (record, DropReason::SpoolFull)));
                }
                None => return (Err(io::ErrorKind::StorageFull.into()), lost),
            }
        }
        let id = (payload.built_at, self.next_number);
        self.next_number += 1;
        let header = header_of(payload, in_doubt);
        if let Err(error) = self.directory.write(&stem(id), &header, &payload.body) {
            return (Err(error), lost);
        }
        self.bytes += record.file_bytes();
        self.records.insert(id, record);
        (Ok(id), lost)
    }

    /// True when a record of that route waits on disk only.
    pub fn has_waiting(&self, route: Route) -> bool {
        self.records.values().any(|record| record.route == route && !record.is_out)
    }

    /// Marks a record as being in memory too.
    pub fn take_out(&mut self, id: RecordId) {
        if let Some(record) = self.records.get_mut(&id) {
            record.is_out = true;
        }
    }

    /// Reads the newest record of a route that may be tried. `Err` names those that turned out to be
    /// damaged or removed and are gone from the spool.
    pub fn read_newest(
        &mut self,
        may_try: impl Fn(Route) -> bool,
    ) -> Option<Result<(RecordId, Payload), Vec<LostRecord>>> {
        let newest = |(_, record): &(&RecordId, &Record)| !record.is_out && may_try(record.route);
        let id = *self.records.iter().rev().find(newest)?.0;
        let read = match self.directory.read(&stem(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Some(Err(self.forget_removed()));
            }
            read => read.map_err(|_| RecordError::Cut).and_then(|bytes| read_record(&bytes)),
        };
        match read {
            Ok(payload) => {
                self.take_out(id);
                Some(Ok((id, payload)))
            }
            Err(error) => {
                self.directory.set_aside(&stem(id), error);
                self.forget(id).map(|record| Err(vec![(record, DropReason::SpoolDamaged)]))
            }
        }
    }

    /// The payload left memory unsettled: its record waits again. False when its file was removed
    /// meanwhile: then the payload is nowhere but in the caller's hands.
    pub fn put_back(&mut self, id: RecordId) -> bool {
        if !self.directory.has(&stem(id)) {
            self.forget(id);
            return false;
        }
        self.records.get_mut(&id).map(|record| record.is_out = false).is_some()
    }

    /// Forgets the records whose files were removed, and returns those that were nowhere else.
    fn forget_removed(&mut self) -> Vec<LostRecord> {
        let gone = |id: &RecordId| !self.directory.has(&stem(*id));
        let gone: Vec<RecordId> = self.records.keys().copied().filter(gone).collect();
        let lost = gone.iter().filter_map(|id| self.forget(*id)).filter(|record| !record.is_out);
        let lost: Vec<_> = lost.map(|record| (record, DropReason::SpoolRemoved)).collect();
        let (directory, count) = (self.directory.path().display(), lost.len());
        warn!(target: "forward", "spool {directory}: files were removed by another program; {count} payloads are lost");
        lost
    }

    /// The payload is settled: its record goes.
    pub fn remove(&mut self, id: RecordId) -> Option<Record> {
        self.directory.remove(&stem(id));
        self.forget(id)
    }

    /// Removes what was built before the Unix second `limit` and is not in memory.
    pub fn expire(&mut self, limit: u64) -> Vec<Record> {
        let mut old = Vec::new();
        while let Some(id) = self.oldest_waiting().filter(|id| id.0 < limit) {
            old.extend(self.remove(id));
        }
        old
    }

    fn forget(&mut self, id: RecordId) -> Option<Record> {
        let record = self.records.remove(&id)?;
        self.bytes -= record.file_bytes();
        Some(record)
    }

    fn oldest_waiting(&self) -> Option<RecordId> {
        self.records.iter().find(|(_, record)| !record.is_out).map(|(id, _)| *id)
    }

    /// The bound in bytes: the configured size, or less where the disk fills up.
    fn limit(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(self.directory.path())?;
        let total = disk.f_blocks as f64 * disk.f_frsize as f64;
        let used = total - disk.f_bavail as f64 * disk.f_frsize as f64;
        let room = (total * self.settings.disk_ratio_max - used).max(0.0);
        // A float as integer saturates in Rust.
        Ok(self.settings.bytes_max.min(self.bytes.saturating_add(room as u64)))
    }
}

/// The name of a record's file, without its extension.
fn stem(id: RecordId) -> String {
    format!("{:012}-{:016x}", id.0, id.1)
}

fn parse_name(stem: &str) -> Option<RecordId> {
    let (built_at, number) = stem.split_once('-')?;
    Some((built_at.parse().ok()?, u64::from_str_radix(number, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::ContentEncoding;
    use crate::spool::HEADER_BYTES;
    use bytes::Bytes;
    use std::fs;
    use std::path::Path;
    use tempfile::TempDir;

    const BODY: usize = 1000;

    fn payload(built_at: u64) -> Payload {
        Payload {
            route: Route::ALL[built_at as usize % Route::ALL.len()],
            body: Bytes::from(vec![built_at as u8; BODY]),
            encoding: ContentEncoding::Zstd,
            items: 1,
            points: 2,
            uncompressed_bytes: 5000,
            built_at,
        }
    }

    fn settings(directory: &TempDir, records_max: u64) -> SpoolSettings {
        let each = SpoolDirectory::file_bytes(BODY as u64);
        SpoolSettings {
            path: directory.path().to_owned(),
            bytes_max: records_max * each,
            disk_ratio_max: 1.0,
        }
    }

    fn open(directory: &TempDir, records_max: u64) -> Spool {
        Spool::open(&settings(directory, records_max), "intake:8080-0").expect("a directory")
    }

    fn filled(directory: &TempDir, records_max: u64, seconds: std::ops::Range<u64>) -> Spool {
        let mut spool = open(directory, records_max);
        for second in seconds {
            let (written, lost) = spool.write_drop_oldest(&payload(second), false);
            assert!(written.is_ok() && lost.is_empty());
        }
        spool
    }

    /// Reads and settles everything, as seconds.
    fn drained(spool: &mut Spool) -> Vec<u64> {
        let mut seconds = Vec::new();
        while let Some(read) = spool.read_newest(|_| true) {
            let (id, read) = read.expect("undamaged");
            assert_eq!(read, payload(read.built_at));
            seconds.push(read.built_at);
            spool.remove(id);
        }
        assert_eq!(spool.bytes(), 0);
        seconds
    }

    fn file_names(directory: &TempDir) -> Vec<String> {
        let below = directory.path().join("intake_8080-0");
        let names = fs::read_dir(below)
            .expect("the spool")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("plain text"));
        let mut names: Vec<String> = names.filter(|name| name != "lock").collect();
        names.sort();
        names
    }

    #[test]
    fn the_next_run_finds_everything_newest_first() {
        let directory = TempDir::new().expect("a directory");
        drop(filled(&directory, 10, 100..105));
        let mut spool = open(&directory, 10);
        let points: u64 = spool.records().map(|record| record.tally.points).sum();
        assert_eq!(points, 10);
        let (written, _) = spool.write_drop_oldest(&payload(102), false);
        assert!(written.is_ok(), "a second payload of the same second");
        assert_eq!(drained(&mut spool), [104, 103, 102, 102, 101, 100]);
        assert_eq!(file_names(&directory), [] as [String; 0]);
    }

    #[test]
    fn past_the_bound_the_oldest_on_disk_only_is_lost() {
        let directory = TempDir::new().expect("a directory");
        let mut spool = filled(&directory, 3, 100..103);
        spool.take_out((100, 0));
        let (written, lost) = spool.write_drop_oldest(&payload(103), false);
        assert!(written.is_ok());
        let routes: Vec<Route> = lost.iter().map(|(record, _)| record.route).collect();
        assert_eq!(routes, [payload(101).route]);
        assert_eq!(spool.bytes(), spool.settings.bytes_max);
        let mut tiny = settings(&directory, 1);
        tiny.bytes_max -= 1;
        let mut tiny = Spool::open(&tiny, "tiny").expect("a directory");
        assert!(tiny.write_drop_oldest(&payload(1), false).0.is_err(), "larger than the bound");
    }

    #[test]
    fn a_full_disk_is_left_alone() {
        let directory = TempDir::new().expect("a directory");
        let full = SpoolSettings { disk_ratio_max: 0.0, ..settings(&directory, 10) };
        let mut spool = Spool::open(&full, "intake:8080-0").expect("a directory");
        assert_eq!(spool.room(), 0);
        assert!(spool.write_drop_oldest(&payload(1), false).0.is_err());
        assert_eq!(file_names(&directory), [] as [String; 0]);
    }

    #[test]
    fn what_is_out_is_not_read_twice_until_it_is_put_back() {
        let directory = TempDir::new().expect("a directory");
        let mut spool = filled(&directory, 10, 100..101);
        let (id, _) = spool.read_newest(|_| true).expect("one").expect("undamaged");
        assert!(spool.read_newest(|_| true).is_none());
        assert!(!spool.has_waiting(payload(100).route));
        spool.put_back(id);
        assert!(spool.read_newest(|route| route != payload(100).route).is_none());
        assert_eq!(drained(&mut spool), [100]);
    }

    #[test]
    fn what_is_too_old_goes() {
        let directory = TempDir::new().expect("a directory");
        let mut spool = filled(&directory, 4, 100..104);
        assert_eq!(spool.room(), 0);
        assert_eq!(spool.expire(102).len(), 2);
        assert_eq!(spool.room(), spool.bytes());
        assert_eq!(drained(&mut spool), [103, 102]);
    }

    #[test]
    fn damaged_files_are_set_aside_and_foreign_ones_left_alone() {
        let directory = TempDir::new().expect("a directory");
        drop(filled(&directory, 10, 100..104));
        let below = directory.path().join("intake_8080-0");
        let names = file_names(&directory);
        let cut = fs::read(below.join(&names[0])).expect("a record");
        fs::write(below.join(&names[0]), &cut[..cut.len() - 1]).expect("written");
        let mut flipped = fs::read(below.join(&names[2])).expect("a record");
        flipped[HEADER_BYTES + 10] ^= 1;
        fs::write(below.join(&names[2]), flipped).expect("written");
        fs::write(below.join("000000000001-00.tmp"), b"unfinished").expect("written");
        fs::write(below.join("nonsense.record"), b"nonsense").expect("written");
        fs::write(below.join("holiday.jpg"), b"foreign").expect("written");
        let mut spool = open(&directory, 10);
        assert_eq!(spool.records().count(), 3, "the flipped bit is noticed when read");
        let mut read = Vec::new();
        while let Some(next) = spool.read_newest(|_| true) {
            read.push(next.map(|(_, payload)| payload.built_at).map_err(|lost| {
                let [(record, reason)] = lost[..] else { panic!("{lost:?}") };
                (record.tally.points, reason)
            }));
        }
        assert_eq!(read, [Ok(103), Err((2, DropReason::SpoolDamaged)), Ok(101)]);
        let left: Vec<String> = file_names(&directory);
        let stem = |name: &String| name.replace(".record", "");
        let mut expected = vec![
            format!("{}.damaged", stem(&names[0])),
            names[1].clone(),
            format!("{}.damaged", stem(&names[2])),
            names[3].clone(),
            "holiday.jpg".to_owned(),
            "nonsense.damaged".to_owned(),
        ];
        expected.sort();
        assert_eq!(left, expected);
    }

    #[test]
    fn removed_files_are_lost_and_a_removed_folder_is_made_again() {
        let directory = TempDir::new().expect("a directory");
        let below = directory.path().join("intake_8080-0");
        let mut spool = filled(&directory, 10, 100..104);
        let (out, _) = spool.read_newest(|_| true).expect("a record").expect("undamaged");
        fs::remove_file(below.join(&file_names(&directory)[2])).expect("removed");
        let lost = spool.read_newest(|_| true).expect("a record").expect_err("removed");
        let built = |lost: &[LostRecord]| {
            assert!(lost.iter().all(|(_, reason)| *reason == DropReason::SpoolRemoved));
            lost.len()
        };
        assert_eq!(built(&lost), 1);
        assert_eq!(spool.records().count(), 3);
        fs::remove_dir_all(&below).expect("removed");
        assert!(!spool.put_back(out), "its file is gone");
        let (written, lost) = spool.write_drop_oldest(&payload(200), false);
        assert!(written.is_ok(), "{written:?}");
        assert_eq!(built(&lost), 2);
        // It is locked like the first.
        assert!(Spool::open(&settings(&directory, 10), "intake:8080-0").is_err());
        assert_eq!(drained(&mut spool), [200]);
    }

    #[test]
    fn two_processes_do_not_share_a_directory() {
        let directory = TempDir::new().expect("a directory");
        let first = open(&directory, 10);
        let second = Spool::open(&settings(&directory, 10), "intake:8080-0");
        assert_eq!(second.expect_err("in use").to_string(), "another process uses it");
        drop(first);
        open(&directory, 10);
    }

    #[cfg(unix)]
    #[test]
    fn other_users_cannot_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = TempDir::new().expect("a directory");
        drop(filled(&directory, 10, 1..2));
        let below = directory.path().join("intake_8080-0");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&below), 0o700);
        assert_eq!(mode(&below.join(&file_names(&directory)[0])), 0o600);
    }
}
