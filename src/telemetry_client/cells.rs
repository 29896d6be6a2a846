//! Where points gather: one cell per metric, shared by all handles of it.
//!
//! Clever: a count is one atomic word, `f64` bits with one pattern for "no point yet", so that adding
//! is a compare-and-swap and nothing else. A flush takes the word away and leaves the pattern; no point
//! falls between two flushes.
//!
//! Differs: in dd-trace-go a handle made before the client exists records its calls (at most 512) and
//! replays them on the real handle that it is pointed at later. Here the cell belongs to the handle from
//! the start, and starting or swapping a client means that the client begins to collect the cell: nothing
//! is lost however many calls came before, and a call never follows a pointer that may change.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::payload::MetricKind;
use super::range::Range;
use super::ring_queue::{BufferPool, RingQueue};

/// No point since the last one was taken: a NaN, which no caller can submit.
const EMPTY: u64 = u64::MAX;

/// Points that wait for a flush; a flush takes six in a minute with one every ten seconds.
const POINTS_MAX: usize = 60;

/// A rate over less than this says nothing.
const RATE_TIME_MIN: Duration = Duration::from_secs(1);

/// Values of a distribution kept between two flushes.
const VALUES: Range<usize> = Range::new(256, 16_384);

/// What names a metric. The tags are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key<K> {
    pub namespace: String,
    pub kind: K,
    pub metric: String,
    pub tags: Vec<String>,
}

impl<K> Key<K> {
    pub fn new(namespace: &str, kind: K, metric: &str, tags: &[&str]) -> Self {
        let mut tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        tags.sort_unstable();
        Key { namespace: namespace.to_owned(), kind, metric: metric.to_owned(), tags }
    }
}

/// The time, as cells need it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Unix seconds.
    pub second: u64,
    /// On the monotonic clock.
    pub monotonic: Duration,
}

/// A count, rate or gauge.
#[derive(Debug)]
pub(super) struct NumberCell {
    kind: MetricKind,
    word: AtomicU64,
    closed: Mutex<Closed>,
    refused: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
pub(super) struct Closed {
    pub points: Vec<(u64, f64)>,
    /// Seconds the last rate was divided by.
    pub interval: Option<f64>,
    /// Since when the word gathers; none until a client collects it.
    since: Option<Duration>,
}

impl NumberCell {
    pub fn new(kind: MetricKind, refused: Arc<AtomicU64>) -> Self {
        NumberCell { kind, word: AtomicU64::new(EMPTY), closed: Mutex::default(), refused }
    }

    #[inline]
    pub fn add(&self, value: f64) {
        let mut old = self.word.load(Ordering::Relaxed);
        loop {
            let sum = if old == EMPTY { value } else { f64::from_bits(old) + value };
            if !sum.is_finite() {
                return self.refuse();
            }
            let (to, order) = (sum.to_bits(), Ordering::Relaxed);
            match self.word.compare_exchange_weak(old, to, order, order) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    #[inline]
    pub fn set(&self, value: f64) {
        if !value.is_finite() {
            return self.refuse();
        }
        self.word.store(value.to_bits(), Ordering::Relaxed);
    }

    #[cold]
    fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// What was submitted since the last point: the sum, or the last value of a gauge.
    pub fn get(&self) -> Option<f64> {
        let word = self.word.load(Ordering::Relaxed);
        (word != EMPTY).then(|| f64::from_bits(word))
    }

    /// A client begins to collect: rates are measured from here.
    pub fn begin(&self, now: Now) {
        self.closed().since = Some(now.monotonic);
    }

    /// Makes a point of what came since the last one, if anything did.
    pub fn close_point(&self, now: Now) {
        let mut closed = self.closed();
        let since = *closed.since.get_or_insert(now.monotonic);
        let elapsed = now.monotonic.saturating_sub(since);
        let is_rate = self.kind == MetricKind::Rate;
        if is_rate && elapsed < RATE_TIME_MIN {
            return;
        }
        closed.since = Some(now.monotonic);
        let word = self.word.swap(EMPTY, Ordering::Relaxed);
        if word == EMPTY {
            return;
        }
        let mut value = f64::from_bits(word);
        if is_rate {
            let seconds = elapsed.as_secs_f64();
            value /= seconds;
            closed.interval = Some(seconds);
        }
        // Flushes that do not come: counts go into the last point, of others the last value stands.
        if closed.points.len() == POINTS_MAX
            && let Some(last) = closed.points.pop()
            && self.kind == MetricKind::Count
        {
            value = (value + last.1).clamp(f64::MIN, f64::MAX);
        }
        closed.points.push((now.second, value));
    }

    /// The points, which leave the cell.
    pub fn take(&self) -> (Vec<(u64, f64)>, Option<f64>) {
        let mut closed = self.closed();
        (std::mem::take(&mut closed.points), closed.interval)
    }

    fn closed(&self) -> MutexGuard<'_, Closed> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The values of a distribution.
#[derive(Debug)]
pub(super) struct ValuesCell {
    name: String,
    values: Mutex<RingQueue<f64>>,
    loss_logged: AtomicBool,
    lost: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

impl ValuesCell {
    pub fn new(
        name: String,
        pool: Arc<BufferPool<f64>>,
        lost: Arc<AtomicU64>,
        refused: Arc<AtomicU64>,
    ) -> Self {
        let values = Mutex::new(RingQueue::with_pool(VALUES, pool));
        ValuesCell { name, values, loss_logged: AtomicBool::new(false), lost, refused }
    }

    pub fn add(&self, value: f64) {
        if !value.is_finite() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let kept = self.values().enqueue(value);
        if kept {
            return;
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
        if !self.loss_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: "telemetry_client",
                "distribution {}: more than {} values between two flushes, the oldest are lost",
                self.name, VALUES.max
            );
        }
    }

    pub fn newest(&self) -> Option<f64> {
        self.values().newest().copied()
    }

    pub fn take(&self) -> Vec<f64> {
        let mut values = self.values();
        if values.is_empty() { Vec::new() } else { values.flush() }
    }

    fn values(&self) -> MutexGuard<'_, RingQueue<f64>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Now {
        let monotonic = Duration::from_secs_f64(seconds);
        Now { second: 1_000 + monotonic.as_secs(), monotonic }
    }

    fn cell(kind: MetricKind) -> NumberCell {
        let cell = NumberCell::new(kind, Arc::default());
        cell.begin(at(0.0));
        cell
    }

    #[test]
    fn a_count_is_the_sum_since_the_last_point() {
        let cell = cell(MetricKind::Count);
        cell.close_point(at(1.0));
        assert_eq!(cell.take(), (vec![], None), "no point without a call");
        cell.add(1.5);
        cell.add(2.0);
        assert_eq!(cell.get(), Some(3.5));
        cell.close_point(at(10.0));
        cell.add(0.0);
        cell.close_point(at(20.0));
        cell.close_point(at(30.0));
        assert_eq!(cell.take(), (vec![(1_010, 3.5), (1_020, 0.0)], None));
        assert_eq!(cell.get(), None);
    }

    #[test]
    fn a_gauge_is_the_last_value() {
        let cell = cell(MetricKind::Gauge);
        cell.set(1.0);
        cell.set(-4.5);
        cell.close_point(at(10.0));
        cell.close_point(at(20.0));
        assert_eq!(cell.take(), (vec![(1_010, -4.5)], None));
    }

    #[test]
    fn a_rate_is_a_sum_per_second_and_waits_for_a_whole_second() {
        let cell = cell(MetricKind::Rate);
        cell.add(3.0);
        cell.close_point(at(0.9));
        assert_eq!(cell.take(), (vec![], None));
        cell.add(9.0);
        cell.close_point(at(5.0));
        assert_eq!(cell.take(), (vec![(1_005, 2.4)], Some(5.0)));
        // A time without calls does not count for the next point.
        cell.close_point(at(10.0));
        cell.add(5.0);
        cell.close_point(at(12.5));
        assert_eq!(cell.take(), (vec![(1_012, 2.0)], Some(2.5)));
    }

    #[test]
    fn a_rate_that_began_before_its_client_is_measured_from_the_client_on() {
        let cell = NumberCell::new(MetricKind::Rate, Arc::default());
        cell.add(10.0);
        cell.begin(at(100.0));
        cell.close_point(at(105.0));
        assert_eq!(cell.take(), (vec![(1_105, 2.0)], Some(5.0)));
    }

    #[test]
    fn what_is_not_finite_is_refused_and_counted() {
        let cell = cell(MetricKind::Count);
        let values = [f64::NAN, f64::INFINITY, f64::from_bits(EMPTY)];
        values.into_iter().for_each(|value| cell.add(value));
        values.into_iter().for_each(|value| cell.set(value));
        assert_eq!(cell.get(), None);
        cell.add(f64::MAX);
        cell.add(f64::MAX);
        assert_eq!((cell.get(), cell.refused.load(Ordering::Relaxed)), (Some(f64::MAX), 7));
    }

    #[test]
    fn points_without_a_flush_are_bounded_and_no_count_is_lost() {
        let cell = cell(MetricKind::Count);
        for second in 1..=100 {
            cell.add(1.0);
            cell.close_point(at(f64::from(second)));
        }
        let (points, _) = cell.take();
        assert_eq!(points.len(), POINTS_MAX);
        assert_eq!(points.iter().map(|point| point.1).sum::<f64>(), 100.0);
        assert_eq!(points.last(), Some(&(1_100, 41.0)));
    }

    #[test]
    fn a_distribution_keeps_its_last_16384_values_and_counts_the_others() {
        let lost = Arc::new(AtomicU64::new(0));
        let refused = Arc::default();
        let cell = ValuesCell::new("d".into(), Arc::default(), lost.clone(), refused);
        assert_eq!(cell.values().slots(), 256);
        (0..16_386).for_each(|value| cell.add(f64::from(value)));
        let values = cell.take();
        assert_eq!((values.len(), values[0], values[16_383]), (16_384, 2.0, 16_385.0));
        assert_eq!(lost.load(Ordering::Relaxed), 2);
        cell.add(f64::NAN);
        assert_eq!((cell.take(), cell.refused.load(Ordering::Relaxed)), (vec![], 1));
    }
}
