//! Copies of what lanes receive, while a capture runs.
//!
//! Off, it costs a lane one relaxed load per batch and one branch per datagram. On, a lane copies each
//! datagram into a buffer of its own and hands over whole buffers through a bounded channel. It
//! never waits: what finds no room is counted. At most about 20 MiB wait for the reader, and emptied
//! buffers return to the lanes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::net::{Arrival, Credentials, LaneHandle, Sender, SocketName};

/// Bytes at which a lane hands its buffer over.
const BATCH_BYTES: usize = 256 << 10;
/// Records at which it does.
const BATCH_RECORDS: usize = 4_096;
/// Buffers that wait for the reader.
const BATCHES_WAITING: usize = 64;
/// The longest that a record waits in a lane, as long as the lane has time.
pub(crate) const HAND_OVER_AGE: Duration = Duration::from_millis(20);
/// How long lanes get to hand over the rest.
const LAST_PATIENCE: Duration = Duration::from_millis(250);

/// The place of the one capture that may run.
#[derive(Default)]
pub(crate) struct Captures {
    /// Of the running capture, 0 when none runs: the one thing lanes look at.
    number: AtomicU64,
    started: AtomicU64,
    running: ArcSwapOption<Capture>,
}

/// What lanes share with the reader.
struct Capture {
    number: u64,
    batches: SyncSender<CapturedBatch>,
    counts: Arc<Missed>,
    spares: Arc<Mutex<Vec<CapturedBatch>>>,
}

#[derive(Default)]
struct Missed {
    records: AtomicU64,
    bytes: AtomicU64,
}

/// Datagrams that one lane received, in order.
#[derive(Default)]
pub(crate) struct CapturedBatch {
    heads: Vec<Head>,
    /// The payloads, one behind the other.
    bytes: Vec<u8>,
}

/// A datagram without its payload.
#[derive(Clone, Copy)]
struct Head {
    at: Duration,
    length: usize,
    listener: u16,
    cut_bytes: usize,
    sender: SenderCopy,
}

#[derive(Clone, Copy)]
enum SenderCopy {
    Unknown,
    Internet(SocketName),
    Process(Credentials),
}

/// One datagram of a batch.
pub(crate) struct Captured<'a> {
    /// Since the Unix epoch.
    pub at: Duration,
    pub payload: &'a [u8],
    /// Position in the list of listeners.
    pub listener: u16,
    pub cut_bytes: usize,
    pub sender: Sender<'a>,
}

impl CapturedBatch {
    pub fn iter(&self) -> impl Iterator<Item = Captured<'_>> {
        let mut rest = &self.bytes[..];
        self.heads.iter().map(move |head| {
            let (payload, after) = rest.split_at(head.length);
            rest = after;
            let sender = match &head.sender {
                SenderCopy::Unknown => Sender::Unknown,
                SenderCopy::Internet(name) => Sender::Internet(name),
                SenderCopy::Process(credentials) => Sender::Process(*credentials),
            };
            let Head { at, listener, cut_bytes, .. } = *head;
            Captured { at, payload, listener, cut_bytes, sender }
        })
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES || self.heads.len() >= BATCH_RECORDS
    }

    fn clear(&mut self) {
        self.heads.clear();
        self.bytes.clear();
    }
}

impl Captures {
    /// Starts a capture until the guard is dropped; none while another one runs.
    pub fn start(self: &Arc<Self>) -> Option<Capturing> {
        let (batches, handed) = mpsc::sync_channel(BATCHES_WAITING);
        let number = self.started.fetch_add(1, Ordering::AcqRel) + 1;
        let (counts, spares) = (Arc::default(), Arc::default());
        let capture = Arc::new(Capture {
            number,
            batches,
            counts: Arc::clone(&counts),
            spares: Arc::clone(&spares),
        });
        let before =
            self.running.compare_and_swap(&None::<Arc<Capture>>, Some(Arc::clone(&capture)));
        before.is_none().then(|| {
            self.number.store(number, Ordering::Release);
            Capturing { captures: Arc::clone(self), batches: handed, counts, spares, ended: false }
        })
    }

    fn end(&self) {
        self.number.store(0, Ordering::Release);
        self.running.store(None);
    }
}

/// The reader's end of a capture.
pub(crate) struct Capturing {
    captures: Arc<Captures>,
    batches: Receiver<CapturedBatch>,
    counts: Arc<Missed>,
    spares: Arc<Mutex<Vec<CapturedBatch>>>,
    ended: bool,
}

impl Capturing {
    /// The next buffer of some lane; none when there is none in time.
    pub fn next(&self, timeout: Duration) -> Option<CapturedBatch> {
        self.batches.recv_timeout(timeout).ok()
    }

    /// Gives an emptied buffer back.
    pub fn recycle(&self, mut batch: CapturedBatch) {
        batch.clear();
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < BATCHES_WAITING {
            spares.push(batch);
        }
    }

    /// Ends the capture, and gives what lanes still have of it to `take`.
    pub fn finish(&mut self, lanes: &[LaneHandle], mut take: impl FnMut(CapturedBatch)) {
        self.captures.end();
        self.ended = true;
        lanes.iter().for_each(LaneHandle::wake);
        let until = Instant::now() + LAST_PATIENCE;
        loop {
            match self.batches.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(batch) => take(batch),
                // Every lane has let go, or took too long.
                Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => return,
            }
        }
    }

    /// Datagrams that found no room so far, and their bytes.
    pub fn missed(&self) -> (u64, u64) {
        (self.counts.records.load(Ordering::Acquire), self.counts.bytes.load(Ordering::Acquire))
    }
}

impl Drop for Capturing {
    fn drop(&mut self) {
        // After `finish` another one may run already.
        if !self.ended {
            self.captures.end();
        }
    }
}

/// One lane's part in a capture.
pub(crate) struct Recorder {
    captures: Arc<Captures>,
    /// Of the capture that the lane takes part in, 0 for none.
    number: u64,
    capture: Option<Arc<Capture>>,
    batch: CapturedBatch,
    /// Unix time of the batch in hand.
    now: Duration,
    /// On the lane's monotonic clock, when the first record of the buffer came.
    since: Duration,
}

impl Recorder {
    pub fn new(captures: Arc<Captures>) -> Self {
        Recorder {
            captures,
            number: 0,
            capture: None,
            batch: CapturedBatch::default(),
            now: Duration::ZERO,
            since: Duration::ZERO,
        }
    }

    /// A batch begins at `now`; `monotonic` is asked for only while a capture runs.
    #[inline]
    pub fn begin_batch(&mut self, now: Duration, monotonic: impl FnOnce() -> Duration) {
        if self.captures.number.load(Ordering::Relaxed) != self.number {
            self.switch();
        }
        if self.capture.is_some() {
            self.now = now;
            if self.batch.heads.is_empty() {
                self.since = monotonic();
            }
        }
    }

    /// Takes part in another capture, or in none any more.
    #[cold]
    fn switch(&mut self) {
        self.hand_over();
        self.batch = CapturedBatch::default();
        self.capture = self.captures.running.load_full();
        self.number = self.capture.as_ref().map_or(0, |capture| capture.number);
    }

    #[inline]
    pub fn is_on(&self) -> bool {
        self.capture.is_some()
    }

    /// Copies a datagram.
    pub fn add(&mut self, payload: &[u8], from: &Sender<'_>, arrival: &Arrival) {
        let sender = match from {
            Sender::Unknown => SenderCopy::Unknown,
            Sender::Internet(name) => SenderCopy::Internet(**name),
            Sender::Process(credentials) => SenderCopy::Process(*credentials),
        };
        self.batch.heads.push(Head {
            at: self.now,
            length: payload.len(),
            listener: arrival.listener.0,
            cut_bytes: arrival.cut_bytes,
            sender,
        });
        self.batch.bytes.extend_from_slice(payload);
        if self.batch.is_full() {
            self.hand_over();
        }
    }

    /// How long the lane may wait before [`Recorder::look_after`] is due, if there is something to
    /// hand over.
    pub fn due_in(&self, monotonic: impl FnOnce() -> Duration) -> Option<Duration> {
        let waits = !self.batch.heads.is_empty();
        waits.then(|| HAND_OVER_AGE.saturating_sub(monotonic().saturating_sub(self.since)))
    }

    /// Hands over what is old enough, and notices the end of a capture.
    pub fn look_after(&mut self, monotonic: impl FnOnce() -> Duration) {
        if self.due_in(monotonic).is_some_and(|due| due.is_zero()) {
            self.hand_over();
        }
        if self.captures.number.load(Ordering::Relaxed) != self.number {
            self.switch();
        }
    }

    /// Hands over what there is.
    pub fn hand_over(&mut self) {
        let Some(capture) = self.capture.as_ref().filter(|_| !self.batch.heads.is_empty()) else {
            return;
        };
        // A reader that has the lock now gives a buffer next time.
        let spare = capture.spares.try_lock().ok().and_then(|mut spares| spares.pop());
        let batch = std::mem::replace(&mut self.batch, spare.unwrap_or_default());
        // Full, or the reader is gone: then no one asks for the count.
        if let Err(error) = capture.batches.try_send(batch) {
            let (mpsc::TrySendError::Full(mut batch) | mpsc::TrySendError::Disconnected(mut batch)) =
                error;
            capture.counts.records.fetch_add(batch.heads.len() as u64, Ordering::AcqRel);
            capture.counts.bytes.fetch_add(batch.bytes.len() as u64, Ordering::AcqRel);
            batch.clear();
            self.batch = batch;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{ListenerId, Transport};

    const ARRIVAL: Arrival =
        Arrival { listener: ListenerId(3), transport: Transport::Udp, cut_bytes: 5 };

    fn lane(captures: &Arc<Captures>) -> Recorder {
        Recorder::new(Arc::clone(captures))
    }

    fn receive(lane: &mut Recorder, payload: &str, from: &Sender<'_>) {
        lane.begin_batch(Duration::from_secs(7), || Duration::ZERO);
        if lane.is_on() {
            lane.add(payload.as_bytes(), from, &ARRIVAL);
        }
    }

    fn payloads(batch: &CapturedBatch) -> Vec<String> {
        batch.iter().map(|one| String::from_utf8_lossy(one.payload).into_owned()).collect()
    }

    #[test]
    fn datagrams_come_with_all_that_is_known_of_them() {
        let captures = Arc::new(Captures::default());
        let mut lane = lane(&captures);
        receive(&mut lane, "before", &Sender::Unknown);
        let mut capturing = captures.start().unwrap();
        let name = SocketName::of("10.0.0.7:9".parse().unwrap());
        let process = Credentials { pid: 1, uid: 2, gid: 3 };
        receive(&mut lane, "a", &Sender::Internet(&name));
        receive(&mut lane, "", &Sender::Process(process));
        assert_eq!(lane.due_in(|| Duration::from_millis(5)), Some(Duration::from_millis(15)));
        lane.look_after(|| Duration::from_millis(5));
        assert!(capturing.next(Duration::ZERO).is_none());
        lane.look_after(|| HAND_OVER_AGE);
        let batch = capturing.next(Duration::ZERO).unwrap();
        assert_eq!(payloads(&batch), ["a", ""]);
        let all: Vec<Captured<'_>> = batch.iter().collect();
        assert_eq!((all[0].at, all[0].listener, all[0].cut_bytes), (Duration::from_secs(7), 3, 5));
        assert_eq!(all[0].sender.name(), "10.0.0.7:9");
        assert_eq!(all[1].sender.credentials(), Some(process));
        assert_eq!(lane.due_in(|| Duration::ZERO), None);

        receive(&mut lane, "last", &Sender::Unknown);
        capturing.captures.end();
        // As a lane does that is woken.
        lane.look_after(|| Duration::ZERO);
        let mut rest = Vec::new();
        capturing.finish(&[], |batch| rest.extend(payloads(&batch)));
        assert_eq!(rest, ["last"]);
        receive(&mut lane, "after", &Sender::Unknown);
        assert!(!lane.is_on());
        assert_eq!(capturing.missed(), (0, 0));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_the_lane_goes_on() {
        let captures = Arc::new(Captures::default());
        let mut lane = lane(&captures);
        let capturing = captures.start().unwrap();
        let full = "x".repeat(BATCH_BYTES);
        for _ in 0..BATCHES_WAITING + 2 {
            receive(&mut lane, &full, &Sender::Unknown);
        }
        assert_eq!(capturing.missed(), (2, 2 * BATCH_BYTES as u64));
        let batch = capturing.next(Duration::ZERO).unwrap();
        capturing.recycle(batch);
        receive(&mut lane, &full, &Sender::Unknown);
        assert_eq!(capturing.missed().0, 2);
        // The buffer came back.
        assert!(lane.batch.bytes.capacity() >= BATCH_BYTES);
    }

    #[test]
    fn one_capture_runs_at_a_time() {
        let captures = Arc::new(Captures::default());
        let first = captures.start().unwrap();
        assert!(captures.start().is_none());
        drop(first);
        let mut lane = lane(&captures);
        receive(&mut lane, "a", &Sender::Unknown);
        assert!(!lane.is_on());
        assert!(captures.start().is_some());
    }
}
