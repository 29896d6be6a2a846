//! Draining, resolving and reporting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

use super::inner::Inner;
use super::losses::Loss;
use super::number::Number;
use super::outbox::{FlushOutcome, Outbox, Run};
use super::reporter::{Delivery, ReportError, Reporter};
use super::series::{Series, SeriesType};
use super::shard::Entry;
use crate::telemetry::{Event as Fact, EventKind};

impl Inner {
    /// Flushes unless a flush is under way.
    pub(crate) fn flush(&self, timestamp: Option<f64>) -> Result<FlushOutcome, ReportError> {
        match self.outbox.reporter.try_lock() {
            Ok(mut reporter) => self.flush_with(&mut **reporter, timestamp),
            Err(TryLockError::Poisoned(poisoned)) => {
                self.flush_with(&mut **poisoned.into_inner(), timestamp)
            }
            Err(TryLockError::WouldBlock) => {
                tracing::debug!(target: "threadstats", "a flush is already under way");
                Ok(FlushOutcome::Busy)
            }
        }
    }

    /// Flushes everything, after the flush under way if there is one. Failures are logged.
    pub(crate) fn flush_last(&self) {
        if *self.outbox.flushing() == Some(std::thread::current().id()) {
            tracing::warn!(target: "threadstats", "a flush was requested from inside a flush: ignored");
            return;
        }
        let mut reporter = self.outbox.reporter.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.flush_with(&mut **reporter, Some(f64::INFINITY)) {
            tracing::error!(target: "threadstats", %error, "the last flush failed");
        }
    }

    fn flush_with(
        &self,
        reporter: &mut dyn Reporter,
        timestamp: Option<f64>,
    ) -> Result<FlushOutcome, ReportError> {
        if self.is_disabled() {
            return Ok(FlushOutcome::Disabled);
        }
        if !self.is_running() {
            tracing::error!(target: "threadstats", "flush before start: nothing to flush");
            return Ok(FlushOutcome::NotStarted);
        }
        *self.outbox.flushing() = Some(std::thread::current().id());
        let _flushing = Flushing(&self.outbox);
        if self.outbox.reporter_restarts.swap(false, Ordering::AcqRel) {
            // A reporter that cannot even restart fails again, and is counted, right below.
            let _ = guarded(|| {
                reporter.restart();
                Ok(Delivery::COMPLETE)
            });
        }
        let began = self.clock.monotonic();
        match self.drain_and_report(reporter, timestamp, began) {
            Err(error @ ReportError::NotInitialised) => Err(error),
            Err(error) => {
                tracing::error!(target: "threadstats", %error, "flush failed");
                Ok(FlushOutcome::Done)
            }
            Ok(()) => Ok(FlushOutcome::Done),
        }
    }

    fn drain_and_report(
        &self,
        reporter: &mut dyn Reporter,
        timestamp: Option<f64>,
        began: Duration,
    ) -> Result<(), ReportError> {
        let run = self.outbox.run.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let timestamp = timestamp
            .filter(|timestamp| *timestamp != 0.0)
            .map_or_else(|| self.now(), Number::Float);
        let cutoff =
            if timestamp.is_finite() { timestamp.floored_to(run.roll_up) } else { timestamp };
        // Bound counters leave the ended interval before it is drained.
        self.ticker.enter(self.clock.unix());
        let open = self.ticker.open().map(|(_, start)| start);
        let (metrics, distributions) = self.resolve(self.shards.drain(cutoff, open), &run);

        let reported =
            self.report(Loss::MetricsFailed, metrics.len(), || reporter.flush_metrics(&metrics));
        if let Err(error) = reported {
            self.lost(Loss::DistributionsFailed, distributions.len());
            return Err(error);
        }
        self.report(Loss::DistributionsFailed, distributions.len(), || {
            reporter.flush_distributions(&distributions)
        })?;
        let events = std::mem::take(&mut *self.lock_events());
        self.report(Loss::EventsFailed, events.len(), || reporter.flush_events(&events))?;
        self.hub.emit(EventKind::FlushCompleted, || Fact::FlushCompleted {
            duration: self.clock.monotonic().saturating_sub(began),
            series: metrics.len(),
            sketches: distributions.len(),
            events: events.len(),
            checks: 0,
            points: metrics.len() + distributions.len(),
        });
        Ok(())
    }

    /// Hands over one list, if it holds anything, and accounts for it.
    fn report(
        &self,
        failure: Loss,
        items: usize,
        hand_over: impl FnOnce() -> Result<Delivery, ReportError>,
    ) -> Result<(), ReportError> {
        if items == 0 {
            return Ok(());
        }
        self.flush_count.fetch_add(1, Ordering::Relaxed);
        match guarded(hand_over) {
            Ok(delivery) => {
                self.lost(Loss::Rejected, delivery.rejected.min(items));
                Ok(())
            }
            Err(error) => {
                self.lost(failure, items);
                Err(error)
            }
        }
    }

    fn lost(&self, reason: Loss, items: usize) {
        if items == 0 {
            return;
        }
        self.losses.add(reason, items);
        self.hub.emit(EventKind::PayloadDropped, || Fact::PayloadDropped {
            destination: "threadstats",
            reason: reason.label(),
            items,
            bytes: 0,
        });
    }

    /// Turns cells, already in the order of their birth, into series: intervals in the order of
    /// their first cell, cells inside them likewise.
    fn resolve(&self, entries: Vec<Entry>, run: &Run) -> (Vec<Series>, Vec<Series>) {
        let (mut metrics, mut distributions) = (Vec::new(), Vec::new());
        for (start, entry) in by_interval(entries) {
            let name = match &self.outbox.namespace {
                Some(namespace) => format!("{namespace}.{}", entry.key.name),
                None => entry.key.name.to_string(),
            };
            let tags: Option<Arc<[String]>> =
                self.with_constant_tags(entry.key.tags.as_deref()).map(|tags| Arc::from(&*tags));
            entry.cell.into_series(run.roll_up, |suffix, kind, value| {
                let list = if kind == SeriesType::Distribution {
                    &mut distributions
                } else {
                    &mut metrics
                };
                list.push(Series {
                    metric: format!("{name}{suffix}"),
                    timestamp: start,
                    value,
                    kind,
                    host: entry.key.host.clone(),
                    device: run.device.clone(),
                    tags: tags.clone(),
                    interval: run.roll_up,
                });
            });
        }
        (metrics, distributions)
    }
}

/// Groups entries by interval, keeping their order, and gives every entry the spelling of its
/// interval's first one: of 40 and 40.0 the earlier.
fn by_interval(entries: Vec<Entry>) -> Vec<(Number, Entry)> {
    let mut starts: std::collections::BTreeMap<ByValue, (u64, Number)> = Default::default();
    for entry in &entries {
        starts.entry(ByValue(entry.start)).or_insert((entry.birth, entry.start));
    }
    let mut ordered: Vec<(u64, Number, Entry)> = entries
        .into_iter()
        .map(|entry| {
            let (first, start) = starts[&ByValue(entry.start)];
            (first, start, entry)
        })
        .collect();
    ordered.sort_by_key(|(first, _, _)| *first); // stable: births stay in order inside
    ordered.into_iter().map(|(_, start, entry)| (start, entry)).collect()
}

#[derive(Clone, Copy)]
struct ByValue(Number);

impl Ord for ByValue {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp_value(other.0)
    }
}

impl PartialOrd for ByValue {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByValue {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByValue {}

/// Calls into a reporter; its panic becomes an error.
fn guarded(call: impl FnOnce() -> Result<Delivery, ReportError>) -> Result<Delivery, ReportError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(ReportError::Panicked))
}

/// Clears the mark of the flushing thread, also when a listener's propagated panic passes.
struct Flushing<'a>(&'a Outbox);

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        *self.0.flushing() = None;
    }
}
