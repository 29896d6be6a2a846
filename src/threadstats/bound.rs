//! Handles bound to one key, for call sites that record often: no hashing, no comparing of names.
//! How a bound counter adds without a lock stands in `shard::lanes`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cell::{Cell, Kind};
use super::client::{Handle, ThreadStats};
use super::losses::Loss;
use super::member::Member;
use super::number::Number;
use super::shard::Bound;
use super::ticker::NO_EPOCH;

/// Larger steps go by the cell: this many times `i64::MAX / LANE_STEP_MAX` additions, at 5 ns each,
/// take three quarters of an hour without a flush before a lane could wrap.
const LANE_STEP_MAX: u64 = 1 << 24;
/// What every public handle is made of. It keeps its client alive.
#[derive(Clone)]
pub(crate) struct Binding {
    handle: Arc<Handle>,
    bound: Arc<Bound>,
}

impl Binding {
    pub(crate) fn new(stats: &ThreadStats, name: &str, tags: Option<&[&str]>) -> Self {
        let handle = Arc::clone(&stats.0);
        let key = handle.inner.key(name, tags);
        let hash = key.hash;
        let bound = Arc::new(Bound::new(key));
        let open = handle.inner.ticker.open().map(|(_, start)| start);
        handle.inner.shards.watch(hash, &bound, open);
        Binding { handle, bound }
    }

    #[inline]
    fn add(&self, step: i64) {
        let inner = &*self.handle.inner;
        let epoch = inner.ticker.epoch(&inner.clock);
        let lane = &self.bound.lanes[(epoch & 1) as usize];
        if lane.epoch.load(Ordering::Acquire) == epoch && step.unsigned_abs() < LANE_STEP_MAX {
            lane.sum.fetch_add(step, Ordering::Relaxed);
        } else {
            self.add_slowly(epoch, step);
        }
    }

    /// The first addition of an interval, a large step, or a client that does not record.
    #[cold]
    fn add_slowly(&self, epoch: u64, step: i64) {
        let inner = &*self.handle.inner;
        if !inner.admits(&self.bound.key.name) {
            return;
        }
        if epoch == NO_EPOCH {
            return inner.refuse(&self.bound.key.name, Loss::NotStarted);
        }
        let shards = &inner.shards;
        let mut shard = shards.lock(self.bound.key.hash);
        // Asked under the lock: a flush opens the next interval before it drains this shard, so no
        // addition falls into an interval that was already drained.
        let Some((epoch, start)) = inner.ticker.open() else {
            return inner.refuse(&self.bound.key.name, Loss::NotStarted);
        };
        let lane = &self.bound.lanes[(epoch & 1) as usize];
        let fed = self.bound.cell(shards, &mut shard, start, Kind::Counter).and_then(|index| {
            if lane.epoch.load(Ordering::Relaxed) != epoch {
                self.bound.settle_lane(shards, &mut shard, lane, Some(start));
                if matches!(shard.entry(index).cell, Cell::Counter(_)) {
                    lane.start.store(start.as_f64().to_bits(), Ordering::Relaxed);
                    lane.epoch.store(epoch, Ordering::Release);
                }
            }
            shards.feed(&mut shard, index, Member::Number(Number::Int(step)))
        });
        drop(shard);
        if let Err(loss) = fed {
            inner.refuse(&self.bound.key.name, loss);
        }
    }

    /// Any kind but the counter's integers: the shard's lock, but no hash and no names.
    fn feed(&self, kind: Kind, value: Number) {
        let inner = &*self.handle.inner;
        if !inner.admits(&self.bound.key.name) {
            return;
        }
        if !value.is_finite() {
            return inner.refuse(&self.bound.key.name, Loss::NonFinite);
        }
        let mut shard = inner.shards.lock(self.bound.key.hash);
        let start = shard.start_of(inner.now());
        let fed = self
            .bound
            .cell(&inner.shards, &mut shard, start, kind)
            .and_then(|index| inner.shards.feed(&mut shard, index, Member::Number(value)));
        drop(shard);
        if let Err(loss) = fed {
            inner.refuse(&self.bound.key.name, loss);
        }
    }
}

/// A counter bound to its name and tags; see [`ThreadStats::counter`].
#[derive(Clone)]
pub struct Counter(pub(crate) Binding);

impl Counter {
    /// Adds `step`, as [`ThreadStats::increment`] would at the time of the call.
    #[inline]
    pub fn add(&self, step: i64) {
        self.0.add(step);
    }

    /// Adds 1.
    #[inline]
    pub fn increment(&self) {
        self.0.add(1);
    }

    /// Adds any number; slower than whole steps.
    pub fn add_number(&self, step: impl Into<Number>) {
        self.0.feed(Kind::Counter, step.into());
    }
}

/// A gauge bound to its name and tags; see [`ThreadStats::bound_gauge`].
#[derive(Clone)]
pub struct Gauge(pub(crate) Binding);

impl Gauge {
    /// Sets the value, as [`ThreadStats::gauge`] would at the time of the call.
    pub fn set(&self, value: impl Into<Number>) {
        self.0.feed(Kind::Gauge, value.into());
    }
}

/// A histogram bound to its name and tags; see [`ThreadStats::bound_histogram`].
#[derive(Clone)]
pub struct Histogram(pub(crate) Binding);

impl Histogram {
    /// Takes a sample, as [`ThreadStats::histogram`] would at the time of the call.
    pub fn record(&self, value: impl Into<Number>) {
        self.0.feed(Kind::Histogram, value.into());
    }
}

/// A distribution bound to its name and tags; see [`ThreadStats::bound_distribution`].
#[derive(Clone)]
pub struct Distribution(pub(crate) Binding);

impl Distribution {
    /// Takes a value, as [`ThreadStats::distribution`] would at the time of the call.
    pub fn record(&self, value: impl Into<Number>) {
        self.0.feed(Kind::Distribution, value.into());
    }
}

/// Handles whose calls cost no hashing.
impl ThreadStats {
    /// A counter whose additions cost no hashing: a few nanoseconds where the background thread
    /// publishes the interval, a reading of the clock more where it does not (manual flushing, an
    /// injected clock, intervals below 50 ms). Shares its series with calls by name.
    ///
    /// ```
    /// # use whippet::threadstats::{MemoryReporter, StartOptions, ThreadStats};
    /// # let memory = MemoryReporter::default();
    /// # let stats = ThreadStats::builder().env(|_| None).reporter(memory.clone()).build();
    /// # stats.start(&StartOptions::manual()).unwrap();
    /// let requests = stats.counter("requests", &["route:/x"]);
    /// requests.add(1);
    /// requests.increment();
    /// # stats.flush(Some(f64::INFINITY)).unwrap();
    /// # assert_eq!(memory.take().metrics[0].metric, "requests");
    /// ```
    #[must_use]
    pub fn counter(&self, name: &str, tags: &[&str]) -> Counter {
        Counter(self.bind(name, tags))
    }

    /// A gauge whose calls cost no hashing.
    #[must_use]
    pub fn bound_gauge(&self, name: &str, tags: &[&str]) -> Gauge {
        Gauge(self.bind(name, tags))
    }

    /// A histogram whose calls cost no hashing.
    #[must_use]
    pub fn bound_histogram(&self, name: &str, tags: &[&str]) -> Histogram {
        Histogram(self.bind(name, tags))
    }

    /// A distribution whose calls cost no hashing.
    #[must_use]
    pub fn bound_distribution(&self, name: &str, tags: &[&str]) -> Distribution {
        Distribution(self.bind(name, tags))
    }

    /// No tags bind as absent, not as an empty list.
    fn bind(&self, name: &str, tags: &[&str]) -> Binding {
        Binding::new(self, name, Some(tags).filter(|tags| !tags.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::threadstats::{MemoryReporter, PointValue, StartOptions};

    fn client() -> (ThreadStats, MemoryReporter, Clock) {
        let (memory, clock) = (MemoryReporter::default(), Clock::manual(Duration::from_secs(105)));
        let stats = ThreadStats::builder()
            .env(|_| None)
            .clock(clock.clone())
            .reporter(memory.clone())
            .flush_on_drop(false)
            .build();
        stats.start(&StartOptions::manual()).unwrap();
        (stats, memory, clock)
    }

    fn reported(memory: &MemoryReporter) -> Vec<(Number, PointValue)> {
        memory.take().metrics.into_iter().map(|series| (series.timestamp, series.value)).collect()
    }

    fn rate(start: f64, per_second: f64) -> (Number, PointValue) {
        (Number::Float(start), PointValue::Number(Number::Float(per_second)))
    }

    #[test]
    fn an_addition_that_lands_after_its_flush_counts_for_the_open_interval() {
        let (stats, memory, clock) = client();
        let counter = stats.counter("c", &[]);
        counter.add(1);
        counter.add(1);
        clock.set(Duration::from_secs(112));
        stats.flush(None).unwrap();
        assert_eq!(reported(&memory), [rate(100.0, 0.2)]);
        let lanes = &counter.0.bound.lanes;
        assert!(lanes.iter().all(|lane| !lane.is_armed()));
        // What a thread does that read the epoch before the flush and was overtaken by it.
        let late = lanes.iter().find(|lane| lane.start().as_f64() == 100.0).unwrap();
        late.sum.fetch_add(5, Ordering::Relaxed);
        stats.flush(None).unwrap();
        assert_eq!(reported(&memory), [], "the open interval is held back");
        clock.set(Duration::from_secs(121));
        stats.flush(None).unwrap();
        assert_eq!(reported(&memory), [rate(110.0, 0.5)]);
    }

    #[test]
    fn binding_for_every_call_neither_grows_nor_loses() {
        let (stats, memory, _) = client();
        for _ in 0..10_000 {
            stats.counter("c", &[]).add(1);
        }
        assert!(stats.0.inner.shards.watched() <= 65);
        stats.flush(Some(110.0)).unwrap();
        assert_eq!(reported(&memory), [rate(100.0, 1000.0)]);
        stats.flush(Some(f64::INFINITY)).unwrap();
        assert_eq!(stats.0.inner.shards.watched(), 0);
    }
}
