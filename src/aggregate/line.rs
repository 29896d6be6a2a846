//! What one line can need beyond the walk of a plain metric: several values, members, rates out of
//! range, origin fields, timestamps of the client, first sight, copies of histograms.

use std::borrow::Cow;

use super::bucket::{TimestampedPoint, TimestampedSample};
use super::shard::{Fate, Shard};
use super::write_order::WriteOrder;
use crate::context::{
    Claims, Context, Decision, DropReason, Enriched, Kind, RawKey, Rewritten, Scope,
};
use crate::protocol::{self, Message, Metric, MetricType, RATE_MIN, Values};

/// Timestamped points of one interval, per event that it may hold.
const TIMESTAMPED_PER_EVENT: usize = 100;

impl Shard {
    /// Reads one line and records it. `sender` is the container id of the sender, empty when none
    /// is known; it must hold no newline.
    #[inline(never)]
    pub fn line(&mut self, line: &[u8], sender: &[u8]) -> Fate {
        let fate = match protocol::read(line, self.settings.options) {
            Ok(Message::Metric(metric)) => self.metric(&metric, sender),
            Ok(Message::Event(event)) => self.event(&event, sender),
            Ok(Message::ServiceCheck(check)) => self.check(&check, sender),
            Err(error) => Err(Fate::Refused(error)),
        };
        self.count_fate(fate)
    }

    /// Counts a fate.
    pub(super) fn count_fate(&mut self, fate: Result<(), Fate>) -> Fate {
        match fate {
            Ok(()) => return Fate::Recorded,
            Err(Fate::Refused(error)) => self.bucket.counts.refused[error.kind as usize] += 1,
            Err(Fate::Dropped(reason)) => self.bucket.counts.dropped[reason as usize] += 1,
            Err(Fate::Recorded) => {}
        }
        fate.err().unwrap_or(Fate::Recorded)
    }

    #[inline(never)]
    fn metric(&mut self, metric: &Metric<'_>, sender: &[u8]) -> Result<(), Fate> {
        let rate = self.checked_rate(metric)?;
        let fields = &metric.origin;
        let claimed = fields.local_data.is_some()
            || fields.external_data.is_some()
            || fields.cardinality.is_some();
        if !claimed {
            // Nearly every line: the origin part of the key is the sender, which is mostly unknown.
            let raw = raw_key(metric, sender);
            return self.keyed(metric, rate, &raw, self.contexts.hash(&raw));
        }
        let mut key = std::mem::take(&mut self.origin_key);
        Claims { fields: metric.origin, sender }.write_key(&mut key);
        let raw = raw_key(metric, &key);
        let fate = self.keyed(metric, rate, &raw, self.contexts.hash(&raw));
        self.origin_key = key;
        fate
    }

    /// As [`Shard::metric`], for a metric without origin fields whose raw key is hashed already.
    pub(super) fn hashed_metric(
        &mut self,
        metric: &Metric<'_>,
        sender: &[u8],
        hash: u64,
    ) -> Result<(), Fate> {
        let rate = self.checked_rate(metric)?;
        self.keyed(metric, rate, &raw_key(metric, sender), hash)
    }

    /// The sample rate, 1 for one out of range. An error when no value of the line can be summed:
    /// checked before there is a context, so that such a line posts nothing.
    #[inline]
    fn checked_rate(&mut self, metric: &Metric<'_>) -> Result<f64, Fate> {
        // Differs: the Agent lets 0, negative, tiny and larger rates distort or poison the sum.
        let valid = metric.rate >= RATE_MIN && metric.rate <= 1.0;
        let rate = if valid { metric.rate } else { 1.0 };
        self.bucket.counts.rates_invalid += u64::from(!valid);
        let scale = if metric.timestamp.is_some() || rate == 1.0 { 1.0 } else { 1.0 / rate };
        let scale = if metric.kind == MetricType::Gauge { 1.0 } else { scale };
        if let Values::One(value) = metric.values {
            if !(value * scale).is_finite() {
                return Err(self.non_finite(1));
            }
        } else if matches!(metric.values, Values::Packed(_))
            && !metric.values.numbers().any(|value| (value * scale).is_finite())
        {
            return Err(self.non_finite(metric.values.numbers().count() as u64));
        }
        Ok(rate)
    }

    /// Records a metric whose raw key is complete.
    #[inline]
    fn keyed(
        &mut self,
        metric: &Metric<'_>,
        rate: f64,
        raw: &RawKey<'_>,
        hash: u64,
    ) -> Result<(), Fate> {
        if let Some(timestamp) = metric.timestamp {
            return self.timestamped(metric, raw, hash, rate, timestamp).map_err(Fate::Dropped);
        }
        let (context, cell) = self.locate(raw, hash).map_err(Fate::Dropped)?;
        let write_order = self.write_orders.advance();
        self.record(metric, rate, context, cell, write_order)
    }

    #[cold]
    fn non_finite(&mut self, values: u64) -> Fate {
        self.bucket.counts.values_non_finite += values;
        Fate::Dropped(DropReason::NonFinite)
    }

    /// The context of a raw key and its cell in the open bucket.
    #[inline]
    fn locate(&mut self, raw: &RawKey<'_>, hash: u64) -> Result<(u32, u32), DropReason> {
        let epoch = self.epoch;
        let known = self.contexts.alias(hash, raw).map(|alias| *alias);
        match known {
            Some(alias) if alias.epoch == epoch => Ok((alias.decision, alias.cell)),
            known => self.locate_first(hash, raw, known.map(|alias| alias.decision)),
        }
    }

    /// First touch of these bytes in this bucket, or first sight ever.
    #[cold]
    fn locate_first(
        &mut self,
        hash: u64,
        raw: &RawKey<'_>,
        known: Option<u32>,
    ) -> Result<(u32, u32), DropReason> {
        let id = self.context_of(hash, raw, known)?;
        let cell = self.cell_of(id, Kind::from(raw.kind));
        let epoch = self.epoch;
        if let Some(alias) = self.contexts.alias(hash, raw) {
            (alias.epoch, alias.cell) = (epoch, cell);
        }
        Ok((id, cell))
    }

    /// The context under which this server posts a point with a time of its own, also of a series that is
    /// global: at that second many hosts may post it, and nobody adds them up. Such lines have a raw key of
    /// their own, because the other lines of the same bytes may lead to the owner.
    fn local_context_of(&mut self, raw: &RawKey<'_>) -> Result<u32, DropReason> {
        let mut key = std::mem::take(&mut self.local_key);
        Claims::mark_timestamped(raw.origin, &mut key);
        let raw = RawKey { origin: &key, ..*raw };
        let hash = self.contexts.hash(&raw);
        let (decision, global) = match self.contexts.alias(hash, &raw) {
            Some(alias) => (Decision::from_number(alias.decision), alias.cell != 0),
            None => self.contexts.resolve_timestamped(hash, &raw, self.epoch),
        };
        self.local_key = key;
        match decision {
            Decision::Context(id) => {
                self.bucket.counts.timestamped_local += u64::from(global);
                Ok(id)
            }
            Decision::Drop(reason) => Err(reason),
        }
    }

    fn context_of(
        &mut self,
        hash: u64,
        raw: &RawKey<'_>,
        known: Option<u32>,
    ) -> Result<u32, DropReason> {
        let decision = match known {
            Some(number) => Decision::from_number(number),
            None => self.contexts.resolve(hash, raw, self.epoch),
        };
        match decision {
            Decision::Context(id) => Ok(id),
            Decision::Drop(reason) => Err(reason),
        }
    }

    /// The context's cell in the open bucket, made at its first touch.
    fn cell_of(&mut self, id: u32, kind: Kind) -> u32 {
        let epoch = self.epoch;
        if let Some(cell) = self.contexts.entry(id).cell_in(epoch) {
            return cell;
        }
        let cell = self.bucket.push_cell(kind, id, &self.state);
        self.contexts.entry(id).set_cell(epoch, cell);
        cell
    }

    fn record(
        &mut self,
        metric: &Metric<'_>,
        rate: f64,
        context: u32,
        cell: u32,
        write_order: WriteOrder,
    ) -> Result<(), Fate> {
        let scale = 1.0 / rate;
        let (recorded, refused) = match (metric.values, metric.kind) {
            (Values::Member(member), _) => {
                let set = &mut self.bucket.sets[cell as usize];
                set.insert(member, self.settings.set_members_max, &mut self.bucket.memory);
                set.write_order = write_order;
                (1, 0)
            }
            (Values::One(value), kind) => {
                let taken = self.bucket.record(kind, cell, value, rate, scale, write_order);
                (u64::from(taken), u64::from(!taken))
            }
            (Values::Packed(_), kind) => {
                metric.values.numbers().fold((0, 0), |(recorded, refused), value| {
                    let taken = self.bucket.record(kind, cell, value, rate, scale, write_order);
                    (recorded + u64::from(taken), refused + u64::from(!taken))
                })
            }
        };
        if self.settings.histogram_copy.is_some() && Kind::from(metric.kind) == Kind::Histogram {
            self.copy_to_distribution(metric, rate, context);
        }
        let counts = &mut self.bucket.counts;
        counts.values += recorded;
        counts.values_non_finite += refused;
        if recorded == 0 {
            return Err(Fate::Dropped(DropReason::NonFinite));
        }
        counts.metrics += 1;
        Ok(())
    }

    /// A second sample of type distribution, same values, rate, tags and host.
    #[cold]
    fn copy_to_distribution(&mut self, metric: &Metric<'_>, rate: f64, histogram: u32) {
        // The client did not send the copy: where filters do not want it, nothing is lost.
        let Ok(context) = self.copy_of(histogram) else { return };
        let finite = |value: &f64| (value / rate).is_finite();
        if !metric.values.numbers().any(|value| finite(&value)) {
            return;
        }
        let cell = self.cell_of(context, Kind::Distribution);
        for value in metric.values.numbers().filter(finite) {
            let taken = self.bucket.record(
                MetricType::Distribution,
                cell,
                value,
                rate,
                1.0 / rate,
                WriteOrder::default(),
            );
            self.bucket.counts.values_non_finite += u64::from(!taken);
        }
    }

    /// The distribution that copies a histogram, found once.
    fn copy_of(&mut self, histogram: u32) -> Result<u32, DropReason> {
        if let Some(known) = self.contexts.copy(histogram)
            && self.contexts.context(known).is_some_and(is_distribution)
        {
            return Ok(known);
        }
        let Some(context) = self.contexts.context(histogram).cloned() else {
            return Err(DropReason::ContextLimit);
        };
        let prefix = self.settings.histogram_copy.as_deref().unwrap_or_default();
        let rewritten = Rewritten {
            name: Cow::Owned([prefix, context.name()].concat()),
            enriched: Enriched {
                tags: context.tags(&[]).iter().map(Cow::Borrowed).collect(),
                host: context.host().map(Cow::Borrowed),
                ..Enriched::default()
            },
            // What the histogram lost as a global one, its copy has not.
            scope: if context.is_global() { Scope::GlobalByRule } else { Scope::Local },
        };
        let epoch = self.epoch;
        match self.contexts.resolve_rewritten(MetricType::Distribution, &rewritten, epoch) {
            Decision::Context(id) => {
                self.contexts.set_copy(histogram, id);
                Ok(id)
            }
            Decision::Drop(reason) => Err(reason),
        }
    }

    /// A point at a second of the client's choosing: posted as it is, never merged.
    #[cold]
    fn timestamped(
        &mut self,
        metric: &Metric<'_>,
        raw: &RawKey<'_>,
        hash: u64,
        rate: f64,
        timestamp: i64,
    ) -> Result<(), DropReason> {
        let kind = Kind::from(metric.kind);
        let copied = kind == Kind::Histogram && self.settings.histogram_copy.is_some();
        if !copied && !matches!(kind, Kind::Counter | Kind::Gauge) {
            return Err(DropReason::TimestampUnsupported);
        }
        let held = self.bucket.timestamped.len() + self.bucket.timestamped_samples.len();
        if held >= self.settings.events_max.saturating_mul(TIMESTAMPED_PER_EVENT) {
            return Err(DropReason::IntervalFull);
        }
        let context = if self.contexts.rules().scope.is_some() {
            self.local_context_of(raw)?
        } else {
            let known = self.contexts.alias(hash, raw).map(|alias| alias.decision);
            self.context_of(hash, raw, known)?
        };
        let epoch = self.epoch;
        self.contexts.entry(context).see(epoch);
        if copied {
            let context = self.copy_of(context)?;
            self.contexts.entry(context).see(epoch);
            let finite = metric.values.numbers().filter(|value| value.is_finite());
            let samples = finite.map(|value| TimestampedSample { context, timestamp, value, rate });
            self.bucket.timestamped_samples.extend(samples);
            // The histogram itself cannot carry a timestamp; its copy can.
            return Err(DropReason::TimestampUnsupported);
        }
        let (before, all) = (self.bucket.timestamped.len(), metric.values.numbers().count());
        let finite = metric.values.numbers().filter(|value| value.is_finite());
        let points = finite.map(|value| TimestampedPoint { context, timestamp, value });
        self.bucket.timestamped.extend(points);
        let recorded = self.bucket.timestamped.len() - before;
        self.bucket.counts.values += recorded as u64;
        self.bucket.counts.values_non_finite += (all - recorded) as u64;
        self.bucket.counts.metrics += 1;
        Ok(())
    }
}

fn raw_key<'a>(metric: &Metric<'a>, origin: &'a [u8]) -> RawKey<'a> {
    RawKey { kind: metric.kind, name: metric.name, tags: metric.tags, origin }
}

fn is_distribution(context: &Context) -> bool {
    context.kind() == Kind::Distribution
}
