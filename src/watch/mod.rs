//! A closer look at what arrives, while an admin page wants it: counts per metric and live lines.
//!
//! Off by default, and then it costs one relaxed load per datagram. While it is on, lanes read each
//! line a second time and hand over what they found; they never wait for the reader, whose memory
//! is bounded.

mod capture;
mod history;
mod lane_counts;
mod liveness;
mod losses;
mod overflow;
mod posted;
mod samples;
mod senders;
mod totals;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use regex::bytes::Regex;

pub(crate) use self::capture::{CapturedBatch, Captures, Capturing, Recorder};
pub(crate) use self::history::{HISTORY_AGE, History, HistoryRow};
pub(crate) use self::lane_counts::{LaneCounts, add_lines};
pub(crate) use self::liveness::Liveness;
pub(crate) use self::losses::Losses;
pub(crate) use self::overflow::{Overflow, TagKey};
pub(crate) use self::posted::{Following, Posted, PostedMetric};
pub(crate) use self::samples::{Samples, Sent};
pub(crate) use self::senders::{Account, Published, SenderId, Senders};
pub(crate) use self::totals::Totals;
use crate::context::heavy_hitters::HeavyHitters;
use crate::flush::FlushView;
use crate::net::LaneHandle;
use crate::protocol::{self, Message, Options, lines};

/// Lines that wait for a slow reader of a tap; more are left out and counted.
const TAP_LINES_WAITING: usize = 4_096;
/// Taps at once.
const TAPS_MAX: usize = 4;
/// How long lanes get to hand over what they have.
const HAND_OVER_PATIENCE: Duration = Duration::from_millis(250);

/// Between two times that lanes are made to hand over.
const REFRESH_PAUSE: Duration = Duration::from_millis(50);

/// Shared by lanes and readers.
#[derive(Default)]
pub(crate) struct Watch {
    /// How many ask for anything at all: the one thing that lanes look at.
    watchers: AtomicUsize,
    /// How many ask for counts.
    counting: AtomicUsize,
    taps: ArcSwap<Vec<Arc<Tap>>>,
    handed: Mutex<Handed>,
    arrived: Condvar,
    samples: Mutex<Samples>,
    overflow: Mutex<Option<Overflow>>,
    posted: Mutex<Posted>,
    refreshed: Mutex<Option<Instant>>,
    /// Copies of whole datagrams.
    pub captures: Arc<Captures>,
}

#[derive(Default)]
struct Handed {
    /// Times that some lane handed over.
    times: u64,
    samples: Vec<Samples>,
    /// The latest of each lane.
    senders: BTreeMap<usize, Published>,
    /// The latest of each lane.
    counted: BTreeMap<usize, LaneCounts>,
    heavy: HeavyHitters,
}

/// What a lane hands over.
pub(crate) struct Findings {
    pub lane: usize,
    pub senders: Published,
    /// Who asked for contexts past a cap.
    pub heavy: HeavyHitters,
    pub counted: LaneCounts,
}

/// A value that no line carried, as a line.
pub(crate) struct Seen<'a> {
    pub name: &'a [u8],
    /// Joined by commas.
    pub tags: &'a [u8],
    pub line: &'a [u8],
    pub listener: &'static str,
    pub sender: &'a str,
    /// Unix seconds.
    pub now: u64,
}

/// A reader of live lines.
pub(crate) struct Tap {
    wanted: Option<Regex>,
    lines: SyncSender<TappedLine>,
    /// Lines that were wanted and found no room.
    missed: AtomicU64,
}

/// One line as it came.
pub(crate) struct TappedLine {
    pub listener: String,
    pub sender: String,
    pub line: Box<[u8]>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    #[inline]
    pub fn is_on(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) != 0
    }

    /// Counts per metric are kept until the guard is dropped.
    pub fn count(self: &Arc<Self>) -> Counting {
        self.counting.fetch_add(1, Ordering::AcqRel);
        self.watchers.fetch_add(1, Ordering::AcqRel);
        Counting(Arc::clone(self))
    }

    /// Shows lines that fit until the guard is dropped; none when there are too many taps.
    pub fn tap(self: &Arc<Self>, wanted: Option<Regex>) -> Option<Tapping> {
        let (lines, shown) = mpsc::sync_channel(TAP_LINES_WAITING);
        let tap = Arc::new(Tap { wanted, lines, missed: AtomicU64::new(0) });
        let before = self.taps.rcu(|taps| {
            let mut taps = Vec::clone(taps);
            if taps.len() < TAPS_MAX {
                taps.push(Arc::clone(&tap));
            }
            taps
        });
        (before.len() < TAPS_MAX).then(|| {
            self.watchers.fetch_add(1, Ordering::AcqRel);
            Tapping { watch: Arc::clone(self), tap, lines: shown }
        })
    }

    /// What was counted, freshly gathered from the lanes.
    pub fn samples(&self, lanes: &[LaneHandle]) -> Samples {
        self.refresh(lanes);
        lock(&self.samples).clone()
    }

    /// Makes every lane hand over, and waits a moment for it. What was handed over just now is
    /// fresh enough: a reader that asks without pause must not keep the lanes busy.
    pub fn refresh(&self, lanes: &[LaneHandle]) {
        let mut refreshed = lock(&self.refreshed);
        if refreshed.is_some_and(|last| last.elapsed() < REFRESH_PAUSE) {
            return;
        }
        self.gather(lanes);
        *refreshed = Some(Instant::now());
    }

    fn gather(&self, lanes: &[LaneHandle]) {
        let wanted = lock(&self.handed).times + lanes.len() as u64;
        lanes.iter().for_each(LaneHandle::wake);
        let deadline = Instant::now() + HAND_OVER_PATIENCE;
        let mut handed = lock(&self.handed);
        while handed.times < wanted {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            handed =
                self.arrived.wait_timeout(handed, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(handed);
        self.settle();
    }

    /// Adds up what lanes handed over. Called for every closed bucket too, so that nothing piles up.
    pub fn settle(&self) {
        let handed = std::mem::take(&mut lock(&self.handed).samples);
        if handed.is_empty() {
            return;
        }
        let mut samples = lock(&self.samples);
        if self.counting.load(Ordering::Acquire) == 0 {
            *samples = Samples::default();
        } else {
            handed.into_iter().for_each(|more| samples.merge(more));
        }
    }

    /// All senders, as of when lanes last handed over.
    pub fn senders(&self) -> Published {
        let lanes: Vec<Published> = lock(&self.handed).senders.values().cloned().collect();
        Published::merged(lanes.iter())
    }

    /// The counts of all lanes, as of when they last handed over. A lane hands over before its
    /// bucket goes to the flusher, so these never lag behind the flushed totals.
    pub fn counted(&self) -> LaneCounts {
        let mut sum = LaneCounts::default();
        lock(&self.handed).counted.values().for_each(|lane| sum.add(lane));
        sum
    }

    /// Who asked for contexts past a cap since the last call, in all lanes.
    pub fn take_heavy_hitters(&self) -> HeavyHitters {
        std::mem::take(&mut lock(&self.handed).heavy)
    }

    /// The last interval in which a cap on contexts was passed.
    pub fn overflow(&self) -> Option<Overflow> {
        lock(&self.overflow).clone()
    }

    pub fn set_overflow(&self, overflow: Overflow) {
        *lock(&self.overflow) = Some(overflow);
    }

    /// Shows and counts a value that came by another way than a lane; asked only while
    /// [`Watch::is_on`].
    #[cold]
    pub fn look_at(&self, seen: &Seen<'_>) {
        if self.counting.load(Ordering::Relaxed) != 0 {
            let bytes = seen.line.len();
            lock(&self.samples).record(seen.name, seen.tags, bytes, seen.now);
        }
        for tap in self.taps.load().iter() {
            tap.show(seen.line, seen.listener, &|| seen.sender.to_owned());
        }
    }

    /// What a flush posts, for plots.
    pub fn keep_posted(&self, flush: &FlushView<'_>) {
        lock(&self.posted).take(flush);
    }

    /// What was posted of a metric in the last ten minutes; from now (Unix seconds) on it is followed.
    pub fn posted(&self, name: &[u8], now: u64) -> (PostedMetric, Following) {
        lock(&self.posted).open(name, now)
    }

    /// A lane gives what it has; the lock is held for little more than a push.
    fn hand_over(&self, samples: Samples, findings: Findings) {
        let mut handed = lock(&self.handed);
        handed.times += 1;
        handed.senders.insert(findings.lane, findings.senders);
        handed.counted.insert(findings.lane, findings.counted);
        if !findings.heavy.is_empty() {
            handed.heavy.merge(findings.heavy);
        }
        if !samples.is_empty() {
            handed.samples.push(samples);
        }
        drop(handed);
        self.arrived.notify_all();
    }
}

/// Keeps counts coming.
pub(crate) struct Counting(Arc<Watch>);

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::AcqRel);
        if self.0.counting.fetch_sub(1, Ordering::AcqRel) == 1 {
            *lock(&self.0.samples) = Samples::default();
        }
    }
}

/// Keeps lines coming.
pub(crate) struct Tapping {
    watch: Arc<Watch>,
    tap: Arc<Tap>,
    /// The lines, until the guard is dropped.
    pub lines: Receiver<TappedLine>,
}

impl Tapping {
    /// Lines that were left out since the last call.
    pub fn missed(&self) -> u64 {
        self.tap.missed.swap(0, Ordering::AcqRel)
    }
}

impl Drop for Tapping {
    fn drop(&mut self) {
        self.watch.watchers.fetch_sub(1, Ordering::AcqRel);
        self.watch.taps.rcu(|taps| {
            let others = taps.iter().filter(|tap| !Arc::ptr_eq(tap, &self.tap));
            others.cloned().collect::<Vec<_>>()
        });
    }
}

/// One lane's view.
pub(crate) struct Watcher {
    pub watch: Arc<Watch>,
    options: Options,
    samples: Samples,
}

impl Watcher {
    pub fn new(watch: Arc<Watch>, options: Options) -> Self {
        Watcher { watch, options, samples: Samples::default() }
    }

    /// Looks at a datagram. `sender` names where it came from, and is only called for a tap.
    #[cold]
    pub fn look(&mut self, bytes: &[u8], now: u64, listener: &str, sender: impl Fn() -> String) {
        let counting = self.watch.counting.load(Ordering::Relaxed) != 0;
        let taps = self.watch.taps.load();
        for line in lines(bytes) {
            if counting
                && let Ok(Message::Metric(metric)) = protocol::read(line.bytes, self.options)
            {
                self.samples.record(metric.name, metric.tags, line.bytes.len(), now);
            }
            for tap in taps.iter() {
                tap.show(line.bytes, listener, &sender);
            }
        }
    }

    /// Hands the findings to the readers.
    pub fn hand_over(&mut self, findings: Findings) {
        self.watch.hand_over(std::mem::take(&mut self.samples), findings);
    }
}

impl Tap {
    fn show(&self, line: &[u8], listener: &str, sender: &impl Fn() -> String) {
        if self.wanted.as_ref().is_some_and(|wanted| !wanted.is_match(line)) {
            return;
        }
        let tapped =
            TappedLine { listener: listener.to_owned(), sender: sender(), line: line.into() };
        // A reader that went away takes its tap with it soon.
        if self.lines.try_send(tapped).is_err() {
            self.missed.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(watcher: &mut Watcher, datagram: &str) {
        watcher.look(datagram.as_bytes(), 7, "udp here", || "10.0.0.1".to_owned());
    }

    fn hand_over(watcher: &mut Watcher) {
        let (senders, heavy) = (Published::default(), HeavyHitters::default());
        let counted = LaneCounts::default();
        watcher.hand_over(Findings { lane: 0, senders, heavy, counted });
    }

    #[test]
    fn it_is_off_once_every_guard_is_gone() {
        let watch = Arc::new(Watch::default());
        let (counting, tapping) = (watch.count(), watch.tap(None).unwrap());
        drop(counting);
        assert!(watch.is_on());
        drop(tapping);
        assert!(!watch.is_on());
        assert!(watch.taps.load().is_empty());
    }

    #[test]
    fn counts_are_kept_while_a_guard_lives_and_forgotten_after() {
        let watch = Arc::new(Watch::default());
        let mut watcher = Watcher::new(Arc::clone(&watch), Options::default());
        let counting = watch.count();
        look(&mut watcher, "a:1|c|#t\na:2|c|#t\nbad\n_sc|a|0");
        hand_over(&mut watcher);
        let counted = |watch: &Watch| {
            let samples = watch.samples(&[]);
            samples.iter().map(|(_, _, sent)| sent.count).sum::<u64>()
        };
        assert_eq!(counted(&watch), 2);
        drop(counting);
        look(&mut watcher, "a:1|c");
        hand_over(&mut watcher);
        assert_eq!(counted(&watch), 0);
    }

    #[test]
    fn a_tap_shows_what_fits_and_counts_what_finds_no_room() {
        let watch = Arc::new(Watch::default());
        let mut watcher = Watcher::new(Arc::clone(&watch), Options::default());
        let tapping = watch.tap(Some(Regex::new("^a").unwrap())).unwrap();
        look(&mut watcher, "b:1|c\na:1|c\nba:1|c\n");
        let shown = tapping.lines.try_recv().unwrap();
        assert_eq!((&*shown.line, &*shown.sender), (&b"a:1|c"[..], "10.0.0.1"));
        assert!(tapping.lines.try_recv().is_err());
        look(&mut watcher, &"a:1|c\n".repeat(TAP_LINES_WAITING + 3));
        assert_eq!((tapping.missed(), tapping.missed()), (3, 0));
    }

    #[test]
    fn taps_are_bounded() {
        let watch = Arc::new(Watch::default());
        let taps: Vec<Tapping> = (0..TAPS_MAX).map(|_| watch.tap(None).unwrap()).collect();
        assert!(watch.tap(None).is_none());
        assert_eq!(watch.watchers.load(Ordering::Relaxed), TAPS_MAX);
        drop(taps);
        assert!(watch.tap(None).is_some());
    }
}
