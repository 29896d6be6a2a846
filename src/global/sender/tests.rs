//! The queue against a log in memory and a clock in hand.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;

/// The epoch of these tests.
const T0: u64 = 1_700_000_000;
const RECORD: usize = 1000;
const CELLS: u64 = 10;

#[derive(Default)]
struct State {
    /// Taken and not reported.
    taken: VecDeque<(u64, Vec<u8>)>,
    /// What the log holds, by record.
    appended: Vec<Vec<u8>>,
    /// How appending is answered; as if all is well when empty.
    refusal: Option<AppendError>,
    /// What the next reports say; acknowledged when `None`.
    outcome: Option<Outcome>,
    /// Reports nothing.
    silent: bool,
    renewals: u32,
    topics: BTreeMap<String, u32>,
}

#[derive(Clone, Default)]
struct FakeLog(Rc<RefCell<State>>);

impl Log for FakeLog {
    fn append(
        &mut self,
        topic: &str,
        _partition: u32,
        record: &[u8],
        ticket: u64,
    ) -> Result<(), AppendError> {
        let mut state = self.0.borrow_mut();
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        *state.topics.entry(topic.to_owned()).or_default() += 1;
        state.taken.push_back((ticket, record.to_vec()));
        Ok(())
    }

    fn reports(&mut self, _wait: Duration, into: &mut Vec<Report>) {
        let mut state = self.0.borrow_mut();
        if state.silent {
            return;
        }
        while let Some((ticket, record)) = state.taken.pop_front() {
            let outcome = state.outcome.clone().unwrap_or(Outcome::Acknowledged);
            if outcome == Outcome::Acknowledged {
                state.appended.push(record);
            }
            into.push(Report { ticket, outcome });
        }
    }

    fn renew(&mut self) -> Result<(), String> {
        let mut state = self.0.borrow_mut();
        state.renewals += 1;
        state.taken.clear();
        Ok(())
    }
}

struct Bench {
    log: FakeLog,
    clock: Clock,
    folder: TempDir,
    sender: Option<Sender<FakeLog>>,
    spool_parts: Option<u64>,
    queue_parts: usize,
}

impl Bench {
    fn new(queue_parts: usize, spool_parts: Option<u64>) -> Self {
        let mut bench = Bench {
            log: FakeLog::default(),
            clock: Clock::manual(Duration::from_secs(T0)),
            folder: TempDir::new().expect("a folder"),
            sender: None,
            spool_parts,
            queue_parts,
        };
        bench.start();
        bench
    }

    /// Another run in the same folder.
    fn start(&mut self) {
        self.sender = None;
        let each = crate::spool::SpoolDirectory::file_bytes((RECORD + "topic".len()) as u64);
        let settings = SenderSettings {
            queue_bytes_max: self.queue_parts * RECORD,
            spool: self.spool_parts.map(|parts| SpoolSettings {
                path: self.folder.path().to_owned(),
                bytes_max: parts * each,
            }),
            late_max: Duration::from_secs(3300),
        };
        let sender = Sender::new(self.log.clone(), settings, self.clock.clone());
        self.sender = Some(sender.expect("a folder of ours"));
    }

    fn sender(&mut self) -> &mut Sender<FakeLog> {
        self.sender.as_mut().expect("started")
    }

    fn take(&mut self, parts: std::ops::Range<u8>) {
        for number in parts {
            self.sender().take(part(number));
            self.check();
        }
    }

    /// A turn, and whether the balance holds after it.
    fn turn(&mut self) -> SenderCounts {
        self.sender().turn(Duration::ZERO);
        self.check()
    }

    /// A turn after the pause that a failure makes.
    fn later(&mut self) -> SenderCounts {
        self.clock.advance(Duration::from_secs(1));
        self.turn()
    }

    #[track_caller]
    fn check(&mut self) -> SenderCounts {
        let sender = self.sender();
        let counts = sender.counts();
        assert!(counts.is_balanced(), "{counts}");
        let (waiting, spooled, bytes) = sender.recounted();
        assert_eq!((waiting, spooled), (counts.waiting, counts.spooled), "{counts}");
        assert_eq!(bytes, sender.bytes().0);
        counts
    }

    /// Stops with no time left.
    fn stop(&mut self) -> SenderCounts {
        let now = self.clock.monotonic();
        let counts = self.sender.take().expect("started").stop(now);
        assert!(counts.is_balanced(), "{counts}");
        counts
    }

    /// The numbers of the parts in the log, in order.
    fn appended(&self) -> Vec<u8> {
        self.log.0.borrow().appended.iter().map(|record| record[0]).collect()
    }

    fn files(&self) -> usize {
        let files = std::fs::read_dir(self.folder.path()).expect("a folder").flatten();
        files.filter(|file| file.path().extension().is_some_and(|it| it == "record")).count()
    }
}

/// Part `number` of interval `number`.
fn part(number: u8) -> OutgoingPart {
    OutgoingPart {
        topic: Arc::from("topic"),
        partition: u32::from(number) % 4,
        start: T0 + 10 * u64::from(number),
        interval: 10,
        cells: CELLS,
        record: Bytes::from(vec![number; RECORD]),
    }
}

#[test]
fn every_part_is_acknowledged_once_and_its_file_goes() {
    for spool in [None, Some(100)] {
        let mut bench = Bench::new(100, spool);
        bench.take(0..5);
        assert_eq!(bench.files(), spool.map_or(0, |_| 5), "on disk before it is handed over");
        let counts = bench.turn();
        assert_eq!((counts.encoded, counts.acked), (50, 50));
        assert_eq!(bench.appended(), [0, 1, 2, 3, 4]);
        assert_eq!(bench.files(), 0);
        assert!(bench.sender().is_done());
    }
}

#[test]
fn a_failed_part_is_handed_over_again_after_a_pause() {
    let mut bench = Bench::new(100, None);
    bench.log.0.borrow_mut().outcome = Some(Outcome::Failed("timed out".into()));
    bench.take(0..2);
    let counts = bench.turn();
    assert_eq!((counts.waiting, counts.retries), (20, 2));
    bench.log.0.borrow_mut().outcome = None;
    assert_eq!(bench.turn().acked, 0, "not at once");
    assert_eq!(bench.later().acked, 20);
    assert_eq!(bench.appended(), [0, 1]);
}

#[test]
fn three_failures_of_a_part_or_a_fatal_error_start_the_log_afresh() {
    let mut bench = Bench::new(100, None);
    bench.log.0.borrow_mut().outcome = Some(Outcome::Failed("timed out".into()));
    bench.take(0..1);
    bench.turn();
    bench.later();
    assert_eq!(bench.log.0.borrow().renewals, 0);
    bench.later();
    assert_eq!(bench.log.0.borrow().renewals, 1);
    bench.log.0.borrow_mut().outcome = Some(Outcome::Fatal("fenced".into()));
    bench.later();
    assert_eq!(bench.log.0.borrow().renewals, 2);
    bench.log.0.borrow_mut().outcome = None;
    bench.log.0.borrow_mut().refusal = Some(AppendError::Fatal("fenced".into()));
    bench.later();
    assert_eq!(bench.log.0.borrow().renewals, 3);
    bench.log.0.borrow_mut().refusal = None;
    assert_eq!(bench.later().acked, CELLS);
}

/// The report of a part that was handed over before never comes.
#[test]
fn what_was_on_its_way_when_the_log_starts_afresh_is_handed_over_again() {
    let mut bench = Bench::new(100, None);
    bench.log.0.borrow_mut().silent = true;
    bench.take(0..3);
    bench.turn();
    assert!(bench.sender().has_in_flight());
    bench.log.0.borrow_mut().refusal = Some(AppendError::Fatal("gone".into()));
    bench.take(3..4);
    bench.turn();
    assert!(!bench.sender().has_in_flight());
    *bench.log.0.borrow_mut() = State::default();
    assert_eq!(bench.later().acked, 40);
    assert_eq!(bench.appended(), [0, 1, 2, 3]);
}

#[test]
fn a_refused_part_does_not_hold_up_the_others() {
    let mut bench = Bench::new(100, None);
    bench.log.0.borrow_mut().refusal = Some(AppendError::Refused("too large".into()));
    bench.take(0..2);
    let counts = bench.turn();
    assert_eq!(counts.retries, 2, "both were tried");
}

#[test]
fn a_full_producer_is_not_a_failure() {
    let mut bench = Bench::new(100, None);
    bench.log.0.borrow_mut().refusal = Some(AppendError::Full);
    bench.take(0..2);
    assert_eq!(bench.turn().retries, 0);
    bench.log.0.borrow_mut().refusal = None;
    assert_eq!(bench.turn().acked, 20, "without a pause");
}

#[test]
fn without_a_spool_a_full_queue_drops_the_oldest() {
    let mut bench = Bench::new(4, None);
    bench.log.0.borrow_mut().refusal = Some(AppendError::Full);
    bench.take(0..10);
    let counts = bench.turn();
    assert_eq!(counts.dropped_for(DropReason::QueueFull), 60);
    assert_eq!(counts.waiting, 40);
    bench.log.0.borrow_mut().refusal = None;
    bench.turn();
    bench.turn();
    assert_eq!(bench.appended(), [6, 7, 8, 9]);
}

#[test]
fn with_a_spool_the_oldest_leave_memory_and_go_out_first() {
    let mut bench = Bench::new(4, Some(100));
    bench.log.0.borrow_mut().refusal = Some(AppendError::Full);
    bench.take(0..10);
    let counts = bench.turn();
    assert_eq!(counts.dropped_total(), 0);
    assert_eq!(counts.waiting + counts.spooled, 100);
    assert!(counts.spooled >= 60, "{counts}");
    bench.log.0.borrow_mut().refusal = None;
    while !bench.sender().is_done() {
        bench.turn();
        assert!(bench.sender().bytes().0 <= 4 * RECORD);
    }
    assert_eq!(bench.appended(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(bench.files(), 0);
}

#[test]
fn a_full_spool_drops_the_oldest() {
    let mut bench = Bench::new(2, Some(5));
    bench.log.0.borrow_mut().refusal = Some(AppendError::Full);
    bench.take(0..10);
    let counts = bench.turn();
    assert_eq!(counts.dropped_for(DropReason::SpoolFull), 50);
    assert_eq!(bench.files(), 5);
    bench.log.0.borrow_mut().refusal = None;
    while !bench.sender().is_done() {
        bench.turn();
    }
    assert_eq!(bench.appended(), [5, 6, 7, 8, 9]);
}

#[test]
fn what_is_too_old_is_dropped() {
    let mut bench = Bench::new(100, Some(100));
    bench.log.0.borrow_mut().refusal = Some(AppendError::Full);
    bench.take(0..3);
    // The end of interval 1, and all that may pass since.
    bench.clock.set(Duration::from_secs(T0 + 20 + 3300));
    let counts = bench.turn();
    assert_eq!(counts.dropped_for(DropReason::TooOld), 10);
    assert_eq!(bench.files(), 2);
    bench.clock.advance(Duration::from_secs(11));
    assert_eq!(bench.turn().dropped_for(DropReason::TooOld), 30);
}

#[test]
fn a_shutdown_without_a_spool_drops_what_waits() {
    let mut bench = Bench::new(100, None);
    bench.log.0.borrow_mut().silent = true;
    bench.take(0..3);
    bench.turn();
    let counts = bench.stop();
    assert_eq!(counts.dropped_for(DropReason::Shutdown), 30);
}

#[test]
fn the_next_run_sends_what_a_shutdown_left_with_the_same_identity() {
    let mut bench = Bench::new(100, Some(100));
    bench.log.0.borrow_mut().silent = true;
    bench.take(0..5);
    bench.turn();
    let counts = bench.stop();
    assert_eq!((counts.spooled, counts.dropped_total()), (50, 0));
    *bench.log.0.borrow_mut() = State::default();
    bench.start();
    let counts = bench.check();
    assert_eq!((counts.encoded, counts.restored, counts.spooled), (50, 50, 50));
    bench.take(5..6);
    assert_eq!(bench.turn().acked, 60);
    assert_eq!(bench.appended(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(bench.log.0.borrow().topics, [("topic".to_owned(), 6)].into());
    let records = &bench.log.0.borrow().appended;
    assert!(records.iter().all(|record| record.len() == RECORD), "the record as it was");
}

/// Nothing is called when a process is killed.
#[test]
fn a_killed_run_leaves_every_part_that_was_not_acknowledged() {
    let mut bench = Bench::new(100, Some(100));
    bench.take(0..2);
    bench.turn();
    bench.log.0.borrow_mut().silent = true;
    bench.take(2..5);
    bench.turn();
    // The lock goes with the process; here it has to be dropped.
    bench.start();
    bench.log.0.borrow_mut().taken.clear();
    bench.log.0.borrow_mut().silent = false;
    bench.turn();
    assert_eq!(bench.appended(), [0, 1, 2, 3, 4]);
}

#[test]
fn damaged_and_removed_files_are_counted() {
    let mut bench = Bench::new(100, Some(100));
    bench.log.0.borrow_mut().silent = true;
    bench.take(0..4);
    bench.stop();
    let mut files: Vec<_> = std::fs::read_dir(bench.folder.path())
        .expect("a folder")
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|it| it == "record"))
        .collect();
    files.sort();
    let cut = std::fs::read(&files[0]).expect("a record");
    std::fs::write(&files[0], &cut[..cut.len() - 1]).expect("written");
    let mut flipped = std::fs::read(&files[1]).expect("a record");
    *flipped.last_mut().expect("a byte") ^= 1;
    std::fs::write(&files[1], flipped).expect("written");
    *bench.log.0.borrow_mut() = State::default();
    bench.start();
    assert_eq!(bench.check().restored, 30, "the cut one is noticed at the start");
    std::fs::remove_file(&files[2]).expect("removed");
    let counts = bench.turn();
    assert_eq!(counts.dropped_for(DropReason::SpoolDamaged), 20);
    assert_eq!(bench.appended(), [3]);
    // A folder that is removed is made again.
    bench.log.0.borrow_mut().silent = true;
    bench.take(4..5);
    std::fs::remove_dir_all(bench.folder.path()).expect("removed");
    bench.take(5..6);
    assert_eq!(bench.files(), 1, "the newer one; the older one is in memory");
    bench.log.0.borrow_mut().silent = false;
    assert_eq!(bench.turn().acked, 30);
}

#[test]
fn a_folder_that_another_process_uses_is_refused() {
    let bench = Bench::new(100, Some(100));
    let settings = SenderSettings {
        queue_bytes_max: RECORD,
        spool: Some(SpoolSettings { path: bench.folder.path().to_owned(), bytes_max: 1 << 20 }),
        late_max: Duration::from_secs(1),
    };
    let second = Sender::new(FakeLog::default(), settings, bench.clock.clone());
    assert_eq!(second.err().expect("in use").to_string(), "another process uses it");
}
