//! All cells of one interval: filled by one shard, then moved, never copied, to the flusher.

use ahash::RandomState;

use super::counter::CounterCell;
use super::counts::LineCounts;
use super::distribution::DistributionCell;
use super::event_record::{CheckRecord, EventRecord};
use super::gauge::GaugeCell;
use super::histogram::HistogramCell;
use super::sample::Sample;
use super::set::SetCell;
use super::spares::{SpareSamples, SpareSketches};
use super::write_order::WriteOrder;
use crate::context::{Birth, Kind};
use crate::memory::MemoryShare;
use crate::protocol::MetricType;

/// A value at a second that the client chose; never merged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimestampedPoint {
    /// Its context.
    pub context: u32,
    /// Unix seconds, as the client gave them.
    pub timestamp: i64,
    /// Finite, not corrected by the sample rate.
    pub value: f64,
}

/// A sample of a distribution at a second that the client chose: the copy of a timestamped
/// histogram, which belongs in the bucket of its own time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimestampedSample {
    /// Its context.
    pub context: u32,
    /// Unix seconds, as the client gave them.
    pub timestamp: i64,
    /// Finite.
    pub value: f64,
    /// In (0, 1].
    pub rate: f64,
}

/// Everything one shard recorded in one interval. Cells name their context by its id in the shard.
#[derive(Debug, Default)]
pub struct Bucket {
    /// Unix seconds, a multiple of the interval.
    pub start: u64,
    /// Counters touched.
    pub counters: Vec<CounterCell>,
    /// Gauges touched.
    pub gauges: Vec<GaugeCell>,
    /// Sets touched.
    pub sets: Vec<SetCell>,
    /// Histograms and timers touched.
    pub histograms: Vec<HistogramCell>,
    /// Distributions touched.
    pub distributions: Vec<DistributionCell>,
    /// Points with a timestamp of their own, in order of arrival.
    pub timestamped: Vec<TimestampedPoint>,
    /// Distribution samples with a timestamp of their own.
    pub timestamped_samples: Vec<TimestampedSample>,
    /// Events, in order of arrival.
    pub events: Vec<EventRecord>,
    /// Service checks, in order of arrival.
    pub checks: Vec<CheckRecord>,
    /// Ids of contexts that expired; to be applied before `births`.
    pub deaths: Vec<u32>,
    /// Contexts the flusher does not know yet.
    pub births: Vec<Birth>,
    /// What was counted.
    pub counts: LineCounts,
    /// What the cells hold beyond their own size: samples, members, bins.
    pub(super) memory: MemoryShare,
    pub(super) spare_samples: SpareSamples,
    spare_sketches: SpareSketches,
}

/// Lists up to so many entries keep their memory.
const KEPT_MAX: usize = 16_384;

fn empty<T>(list: &mut Vec<T>) {
    if list.capacity() > KEPT_MAX {
        *list = Vec::new();
    } else {
        list.clear();
    }
}

impl Bucket {
    /// True when there is nothing to post; births and counts may be there all the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty()
            && self.gauges.is_empty()
            && self.sets.is_empty()
            && self.histograms.is_empty()
            && self.distributions.is_empty()
            && self.timestamped.is_empty()
            && self.timestamped_samples.is_empty()
            && self.events.is_empty()
            && self.checks.is_empty()
    }

    /// Empties the containers and keeps their memory for the next interval.
    ///
    /// Long lists are let go: their memory would rest for an interval, and the next bucket asks for
    /// as much of it as it fills.
    pub fn recycle(&mut self) {
        empty(&mut self.counters);
        empty(&mut self.gauges);
        empty(&mut self.sets);
        // What the last interval did not use is not needed: spares never outgrow one interval.
        self.spare_samples.clear();
        for cell in self.histograms.drain(..) {
            cell.leave(&mut self.spare_samples);
        }
        empty(&mut self.histograms);
        self.spare_sketches.replace(self.distributions.drain(..).map(|cell| cell.sketch));
        empty(&mut self.distributions);
        self.memory.release();
        empty(&mut self.timestamped);
        empty(&mut self.timestamped_samples);
        empty(&mut self.events);
        empty(&mut self.checks);
        (self.deaths, self.births) = (Vec::new(), Vec::new());
        self.counts = LineCounts::default();
    }

    /// Makes room for as many cells as the bucket before had, so that a long list never moves while it
    /// grows. Memory that is only set aside is none.
    pub(super) fn expect(&mut self, last: &Bucket) {
        self.counters.reserve(last.counters.len());
        self.gauges.reserve(last.gauges.len());
        self.sets.reserve(last.sets.len());
        self.histograms.reserve(last.histograms.len());
        self.distributions.reserve(last.distributions.len());
    }

    /// Makes the cell of a context; returns its place among those of its kind.
    pub(super) fn push_cell(&mut self, kind: Kind, context: u32, state: &RandomState) -> u32 {
        let at = match kind {
            Kind::Counter => {
                self.counters.push(CounterCell::new(context));
                self.counters.len()
            }
            Kind::Gauge => {
                self.gauges.push(GaugeCell::new(context));
                self.gauges.len()
            }
            Kind::Set => {
                self.sets.push(SetCell::new(context, state.clone()));
                self.sets.len()
            }
            Kind::Histogram => {
                self.histograms.push(HistogramCell::new(context));
                self.histograms.len()
            }
            Kind::Distribution => {
                let spare = self.spare_sketches.take(&mut self.memory);
                self.distributions.push(DistributionCell::new(context, spare));
                self.distributions.len()
            }
        };
        // At most one cell per context, and contexts are numbered in 32 bits.
        (at - 1) as u32
    }

    /// Records one number in a cell of its kind; false when it, its product with `scale` or the sum with
    /// them is not finite, or the cell can count no more. `scale` is 1 / `rate`.
    #[inline(always)]
    pub(super) fn record(
        &mut self,
        kind: MetricType,
        cell: u32,
        value: f64,
        rate: f64,
        scale: f64,
        write_order: WriteOrder,
    ) -> bool {
        let cell = cell as usize;
        match kind {
            MetricType::Counter => self.counters[cell].record(value * scale, write_order),
            MetricType::Gauge => self.gauges[cell].record(value, write_order),
            MetricType::Histogram | MetricType::Timing => {
                let sample = Sample { value, scale };
                let (spares, memory) = (&mut self.spare_samples, &mut self.memory);
                self.histograms[cell].record(sample, write_order, spares, memory)
            }
            MetricType::Distribution => {
                self.distributions[cell].sketch.insert_within(value, rate, &mut self.memory)
            }
            // Sets carry members, never numbers.
            MetricType::Set => false,
        }
    }
}
