//! A context table and its open bucket, owned by one thread.
//!
//! Here is what every line can need. The walk of the everyday line, a known metric with one plain
//! number, is in [`super::ingest`].

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use super::bucket::{Bucket, TimestampedPoint, TimestampedSample};
use super::event_record::{CheckRecord, EventRecord};
use super::write_order::{WriteOrder, WriteOrders};
use crate::context::heavy_hitters::HeavyHitters;
use crate::context::{
    Birth, Claims, Contexts, Decision, DropReason, Enriched, Kind, NO_CONTEXT, RawKey, Rewritten,
    Rules,
};
use crate::protocol::{
    self, Event, Message, Metric, MetricType, Options, ParseError, ServiceCheck, Values,
};

/// How a shard aggregates.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    /// Length of a bucket, whole seconds, at least one.
    pub interval: Duration,
    /// What the reader honours.
    pub options: Options,
    /// A context not seen for so long is forgotten (`dogstatsd_context_expiry_seconds`).
    pub context_expiry: Duration,
    /// Distinct set members counted exactly.
    pub set_members_max: usize,
    /// Events and checks of one interval; timestamped points may be 100 times as many.
    pub events_max: usize,
    /// Feed a distribution with every histogram, under this prefix and its name
    /// (`histogram_copy_to_distribution`).
    pub histogram_copy: Option<Box<[u8]>>,
}

impl Default for ShardSettings {
    fn default() -> Self {
        ShardSettings {
            interval: Duration::from_secs(10),
            options: Options::default(),
            context_expiry: Duration::from_secs(20),
            set_members_max: 1_000,
            events_max: 10_000,
            histogram_copy: None,
        }
    }
}

/// Timestamped points of one interval, per event that it may hold.
const TIMESTAMPED_PER_EVENT: usize = 100;
/// Tables up to here are swept in one go, which takes less than a tenth of a millisecond.
const SWEEP_AT_ONCE: usize = 1_024;

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// At least one value, the event or the check is in the bucket.
    Recorded,
    /// It does not follow the grammar.
    Refused(ParseError),
    /// It does, and was not recorded.
    Dropped(DropReason),
}

/// One shard.
#[derive(Debug)]
pub struct Shard {
    pub(super) settings: ShardSettings,
    pub(super) contexts: Contexts,
    state: RandomState,
    pub(super) bucket: Bucket,
    /// The number of the open bucket since the epoch, never 0.
    pub(super) epoch: u32,
    pub(super) write_orders: WriteOrders,
    /// Unix seconds of the batch.
    now: i64,
    /// Where the origin part of a raw key is written; kept for its memory.
    origin_key: Vec<u8>,
}

impl Shard {
    /// A shard whose first bucket is the one that holds `now` (time since the epoch). `state` must
    /// be the same for every shard of a flusher.
    #[must_use]
    pub fn new(
        settings: ShardSettings,
        rules: Arc<Rules>,
        state: RandomState,
        now: Duration,
    ) -> Self {
        let write_orders = WriteOrders::new(settings.interval);
        let contexts = Contexts::new(rules, state.clone());
        let bucket = Bucket::default();
        let mut shard = Shard {
            settings,
            contexts,
            state,
            bucket,
            epoch: 1,
            write_orders,
            now: 0,
            origin_key: Vec::new(),
        };
        shard.open(now);
        shard
    }

    fn interval_seconds(&self) -> u64 {
        self.settings.interval.as_secs().max(1)
    }

    fn open(&mut self, now: Duration) {
        let number = now.as_secs() / self.interval_seconds();
        self.bucket.start = number * self.interval_seconds();
        // Wraps after 2^32 buckets: in 2106 at one second, else later.
        self.epoch = (number as u32).max(1);
        self.write_orders.reset();
        self.begin_batch(now);
    }

    /// Tells the time of the lines that follow: read the clock once per batch.
    pub fn begin_batch(&mut self, now: Duration) {
        self.now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.write_orders.batch(now.saturating_sub(Duration::from_secs(self.bucket.start)));
    }

    /// The end of the open bucket, since the epoch. A clock that steps back leaves it open.
    #[must_use]
    pub fn bucket_end(&self) -> Duration {
        Duration::from_secs(self.bucket.start) + self.settings.interval
    }

    /// Closes the open bucket and opens the one that holds `now`, which must not lie before the
    /// end of the open one unless this is the last. `spare` is an emptied bucket for reuse.
    pub fn close(&mut self, now: Duration, spare: Bucket) -> Bucket {
        let mut closed = std::mem::replace(&mut self.bucket, spare);
        self.bucket.expect(&closed);
        (closed.births, closed.deaths) = self.contexts.take_changes();
        closed.counts.lines_folded += self.contexts.take_folded();
        self.open(now);
        self.start_sweep();
        closed
    }

    /// The open bucket's books.
    pub fn counts(&mut self) -> &mut super::LineCounts {
        &mut self.bucket.counts
    }

    /// Contexts alive.
    #[must_use]
    pub fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// Who asked for contexts past a cap since the last call.
    pub fn take_heavy_hitters(&mut self) -> HeavyHitters {
        self.contexts.take_heavy_hitters()
    }

    /// Contexts born since the last close.
    #[must_use]
    pub fn births(&self) -> &[Birth] {
        self.contexts.births()
    }

    /// New rules; known metrics are decided again at their next line, cells stay.
    pub fn set_rules(&mut self, rules: Arc<Rules>) {
        self.contexts.set_rules(rules);
    }

    /// The tags of senders may have changed; known metrics are decided again at their next line.
    pub fn decide_again(&mut self) {
        self.contexts.decide_again();
    }

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
        self.enter(fate)
    }

    /// Enters a fate in the books.
    pub(super) fn enter(&mut self, fate: Result<(), Fate>) -> Fate {
        match fate {
            Ok(()) => return Fate::Recorded,
            Err(Fate::Refused(error)) => self.bucket.counts.refused[error.kind as usize] += 1,
            Err(Fate::Dropped(reason)) => self.bucket.counts.dropped[reason as usize] += 1,
            Err(Fate::Recorded) => {}
        }
        fate.err().unwrap_or(Fate::Recorded)
    }

    #[inline(never)]
    pub(super) fn metric(&mut self, metric: &Metric<'_>, sender: &[u8]) -> Result<(), Fate> {
        // Differs: the Agent lets 0, negative and larger rates distort or poison the sum.
        let valid = metric.rate > 0.0 && metric.rate <= 1.0;
        let rate = if valid { metric.rate } else { 1.0 };
        self.bucket.counts.rates_invalid += u64::from(!valid);
        // Checked before there is a context, so that a value that cannot be summed posts nothing.
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
        let fields = &metric.origin;
        let claimed = fields.local_data.is_some()
            || fields.external_data.is_some()
            || fields.cardinality.is_some();
        if !claimed {
            // Nearly every line: the key is the sender itself, mostly nobody.
            return self.keyed(metric, rate, sender);
        }
        let mut key = std::mem::take(&mut self.origin_key);
        Claims { fields: metric.origin, sender }.write_key(&mut key);
        let fate = self.keyed(metric, rate, &key);
        self.origin_key = key;
        fate
    }

    /// Records a metric whose raw key is complete.
    #[inline]
    fn keyed(&mut self, metric: &Metric<'_>, rate: f64, origin: &[u8]) -> Result<(), Fate> {
        let raw = RawKey { kind: metric.kind, name: metric.name, tags: metric.tags, origin };
        if let Some(timestamp) = metric.timestamp {
            return self.timestamped(metric, &raw, rate, timestamp).map_err(Fate::Dropped);
        }
        let (context, cell) = self.locate(&raw).map_err(Fate::Dropped)?;
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
    fn locate(&mut self, raw: &RawKey<'_>) -> Result<(u32, u32), DropReason> {
        let hash = self.contexts.hash(raw);
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
                set.insert(member, self.settings.set_members_max);
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
        // A copy is no line of the client: where filters do not want it, nothing is lost.
        let Ok(context) = self.copy_of(histogram) else { return };
        let finite = |value: &f64| (value / rate).is_finite();
        if !metric.values.numbers().any(|value| finite(&value)) {
            return;
        }
        let cell = self.cell_of(context, Kind::Distribution);
        for value in metric.values.numbers().filter(finite) {
            let taken = self.bucket.distributions[cell as usize].sketch.insert(value, rate);
            self.bucket.counts.values_non_finite += u64::from(!taken);
        }
    }

    /// The distribution that copies a histogram, found once.
    fn copy_of(&mut self, histogram: u32) -> Result<u32, DropReason> {
        let known = self.contexts.entry(histogram).copy;
        if known != NO_CONTEXT && self.contexts.context(known).is_some_and(is_distribution) {
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
        };
        let epoch = self.epoch;
        match self.contexts.resolve_rewritten(MetricType::Distribution, &rewritten, epoch) {
            Decision::Context(id) => {
                self.contexts.entry(histogram).copy = id;
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
        let hash = self.contexts.hash(raw);
        let known = self.contexts.alias(hash, raw).map(|alias| alias.decision);
        let context = self.context_of(hash, raw, known)?;
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

    fn event(&mut self, event: &Event<'_>, sender: &[u8]) -> Result<(), Fate> {
        let rules = Arc::clone(self.contexts.rules());
        for text in [event.title, event.text] {
            rules.limits.check_text(text).map_err(Fate::Dropped)?;
        }
        let claims = Claims { fields: event.origin, sender };
        let enriched = enrich(&rules, event.tags, &claims)?;
        if self.bucket.events.len() >= self.settings.events_max {
            return Err(Fate::Dropped(DropReason::IntervalFull));
        }
        let ignored = event.ignored;
        self.bucket.counts.fields_ignored += u64::from(ignored.timestamp)
            + u64::from(ignored.priority)
            + u64::from(ignored.alert_type);
        self.bucket.events.push(EventRecord {
            title: Box::from(&*protocol::unescape(event.title)),
            text: Box::from(&*protocol::unescape(event.text)),
            timestamp: event.timestamp.filter(|time| *time != 0).unwrap_or(self.now),
            priority: event.priority,
            alert_type: event.alert_type,
            host: host_of(event.host, &enriched, &rules),
            aggregation_key: Box::from(event.aggregation_key),
            source_type: Box::from(event.source_type),
            tags: sorted_tags(&enriched, &rules),
        });
        self.bucket.counts.events += 1;
        Ok(())
    }

    fn check(&mut self, check: &ServiceCheck<'_>, sender: &[u8]) -> Result<(), Fate> {
        let rules = Arc::clone(self.contexts.rules());
        rules.limits.check_text(check.message).map_err(Fate::Dropped)?;
        let claims = Claims { fields: check.origin, sender };
        let enriched = enrich(&rules, check.tags, &claims)?;
        if self.bucket.checks.len() >= self.settings.events_max {
            return Err(Fate::Dropped(DropReason::IntervalFull));
        }
        self.bucket.counts.fields_ignored += u64::from(check.ignored.timestamp);
        self.bucket.checks.push(CheckRecord {
            name: Box::from(check.name),
            status: check.status,
            timestamp: check.timestamp.filter(|time| *time != 0).unwrap_or(self.now),
            host: host_of(check.host, &enriched, &rules),
            message: Box::from(check.message),
            tags: sorted_tags(&enriched, &rules),
        });
        self.bucket.counts.checks += 1;
        Ok(())
    }

    fn start_sweep(&mut self) {
        let interval = self.interval_seconds();
        let buckets = self.settings.context_expiry.as_secs().div_ceil(interval).max(1);
        let buckets = u32::try_from(buckets).unwrap_or(u32::MAX);
        self.contexts.start_sweep(self.epoch.saturating_sub(buckets));
        if self.contexts.len() + self.contexts.aliases() <= SWEEP_AT_ONCE {
            while self.contexts.sweep_step() {}
        }
    }

    /// True while something may still have to be forgotten.
    #[must_use]
    pub fn is_sweeping(&self) -> bool {
        self.contexts.is_sweeping()
    }

    /// One bounded step of forgetting what was not seen for long; true while there is more to do.
    pub fn sweep_some(&mut self) -> bool {
        self.contexts.sweep_step()
    }
}

fn is_distribution(context: &crate::context::Context) -> bool {
    context.kind() == Kind::Distribution
}

/// The tags of an event or check, those of its origin included.
fn enrich<'a>(rules: &Rules, tags: &'a [u8], claims: &Claims<'_>) -> Result<Enriched<'a>, Fate> {
    let mut enriched = rules.enrich(tags, claims.cardinality_given()).map_err(Fate::Dropped)?;
    rules.add_origin(claims, &mut enriched);
    Ok(enriched)
}

fn host_of(field: Option<&[u8]>, enriched: &Enriched<'_>, rules: &Rules) -> Box<[u8]> {
    let tag = || enriched.host.as_deref();
    Box::from(field.or_else(tag).unwrap_or(&rules.default_host))
}

fn sorted_tags(enriched: &Enriched<'_>, rules: &Rules) -> Vec<Box<[u8]>> {
    let own = enriched.tags.iter().map(|tag| Box::from(&**tag));
    let mut tags: Vec<Box<[u8]>> = own.chain(rules.common_tags.iter().cloned()).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}
