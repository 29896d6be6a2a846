//! The flusher thread: gathers what lanes close, feeds every output, keeps the totals.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::allocator::Trim;
use super::door_flushers::DoorFlushers;
use super::events;
use super::handover::HandOverFile;
use super::kernel_drops::KernelDrops;
use super::lane::FromLane;
use super::self_metrics::{Moment, SelfMetrics};
use crate::admin::{self, AdminState, KnownContexts};
use crate::aggregate::{Bucket, EXACT_SAMPLES_MAX, LineCounts};
use crate::clock::Clock;
use crate::context::{PartRules, Rules};
use crate::doors::DueBucket;
use crate::flush::{Closed, Flush, Flusher, HistogramSettings};
use crate::net::{ListenerCounts, ListenerDescription};
use crate::output::Output;
use crate::telemetry::Hub;
use crate::text::{grouped, printable};
use crate::watch::{Liveness, Overflow, Totals, Watch, add_lines};

/// New rules of a reload.
pub(super) struct Reload {
    pub rules: Arc<Rules>,
    pub histograms: HistogramSettings,
    /// Those of the doors; none when they are closed.
    pub part_rules: Option<Arc<PartRules>>,
}

pub(super) enum Message {
    Lane(FromLane),
    /// A bucket of the doors is to be posted.
    Door(Box<DueBucket>),
    /// The doors are closed; their last bucket came before.
    DoorsStopped,
    Reload(Reload),
    /// Every context known, for the admin endpoints.
    Contexts(SyncSender<KnownContexts>),
}

/// How long a question waits for the flusher, which may be busy handing payloads over.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Asks the flusher for every context it knows; none when it does not answer in time.
pub(super) fn known_contexts(
    to_flusher: Sender<Message>,
) -> Box<dyn Fn() -> Option<KnownContexts> + Send + Sync> {
    Box::new(move || {
        let (answer, answered) = mpsc::sync_channel(1);
        to_flusher.send(Message::Contexts(answer)).ok()?;
        answered.recv_timeout(ANSWER_PATIENCE).ok()
    })
}

pub(super) struct FlusherThread {
    pub flusher: Flusher,
    /// Those of the doors; none when they are closed.
    pub doors: Option<DoorFlushers>,
    /// Where the next run finds what this one posted of its open bucket.
    pub handover: Option<HandOverFile>,
    /// Own metrics, a lane more for the flusher.
    pub own: Option<SelfMetrics>,
    pub outputs: Vec<Box<dyn Output>>,
    pub spares: Vec<Sender<Bucket>>,
    pub descriptions: Vec<ListenerDescription>,
    pub kernel_drops: KernelDrops,
    pub totals: Arc<Mutex<Totals>>,
    pub clock: Clock,
    /// Post the open bucket at shutdown (`dogstatsd_flush_incomplete_buckets`).
    pub flush_incomplete: bool,
    /// Latest counts of each lane.
    pub lanes: Vec<Vec<ListenerCounts>>,
    /// Lines of buckets that are not flushed yet, per listener, by the start of the bucket.
    pub lines: BTreeMap<u64, Vec<LineCounts>>,
    pub conflict_named: bool,
    pub trim: Trim,
    /// Contexts that all lanes together may hold.
    pub contexts_max: usize,
    pub hub: Hub,
    pub liveness: Arc<Liveness>,
    pub watch: Arc<Watch>,
    /// Takes note of the counts after each flush, for pages that are opened later.
    pub admin: Arc<AdminState>,
}

impl FlusherThread {
    /// Until every lane has stopped and everything they left is with the outputs.
    pub fn run(mut self, messages: &Receiver<Message>) {
        let mut running = self.spares.len() + usize::from(self.doors.is_some());
        let interval = Duration::from_secs(self.flusher.interval());
        while running > 0 {
            // A bounded wait, so that an idle flusher gives a sign of life too.
            let message = messages.recv_timeout(interval);
            self.liveness.flusher();
            match message {
                Ok(Message::Lane(FromLane::Closed { closed, listeners, lines, away })) => {
                    self.note_close(away);
                    self.lanes[closed.lane] = listeners;
                    add_lines(self.lines.entry(closed.bucket.start).or_default(), &lines);
                    self.watch.settle();
                    self.take(*closed);
                    while let Some(flush) = self.flusher.complete() {
                        self.post(flush);
                    }
                }
                Ok(Message::Lane(FromLane::Restarted { lane })) => self.flusher.restart_lane(lane),
                Ok(Message::Lane(FromLane::Stopped) | Message::DoorsStopped) => running -= 1,
                Ok(Message::Door(due)) => self.post_door(*due),
                Ok(Message::Reload(Reload { rules, histograms, part_rules })) => {
                    if let (Some(doors), Some(rules)) = (&mut self.doors, part_rules) {
                        doors.set_rules(&rules, &histograms);
                    }
                    self.contexts_max = rules.limits.contexts_max.saturating_mul(self.spares.len());
                    self.flusher.set_rules(rules, histograms);
                }
                Ok(Message::Contexts(answer)) => self.answer(&answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let moment = self.moment();
        if let Some(own) = &mut self.own {
            self.flusher.take(own.finish(&self.lanes, moment));
        }
        let now = moment.now.as_secs();
        while let Some(flush) = self.flusher.finish(now) {
            let partial = flush.start + self.flusher.interval() > now;
            if partial && flush.is_empty() {
                self.gather_listeners();
            } else if self.flush_incomplete || !partial {
                self.post(flush);
            } else {
                self.abandon(&flush);
            }
        }
        if let (Some(file), Some(handover)) = (&self.handover, self.flusher.handover()) {
            file.write(handover, now);
        }
    }

    fn note_close(&self, away: Duration) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.closes += 1;
        totals.close_max = totals.close_max.max(away);
    }

    fn moment(&self) -> Moment {
        Moment { now: self.clock.unix(), contexts: self.flusher.contexts() }
    }

    /// What a lane closed, and our own bucket when all lanes have passed it.
    fn take(&mut self, closed: Closed) {
        let moment = self.moment();
        let own = self.own.as_mut().and_then(|own| own.saw(&closed, &self.lanes, moment));
        self.trim.born(closed.bucket.births.len());
        self.flusher.take(closed);
        if let Some(own) = own {
            self.flusher.take(own);
        }
    }

    fn answer(&self, answer: &SyncSender<KnownContexts>) {
        let contexts = self.flusher.known().cloned().collect();
        let rules = Arc::clone(self.flusher.rules());
        // The client may have given up.
        let of_doors = self.doors.iter().flat_map(DoorFlushers::known).cloned().collect();
        let _ = answer.try_send(KnownContexts { contexts, of_doors, rules });
    }

    fn post(&mut self, mut flush: Flush) {
        self.liveness.flusher();
        let began = self.clock.monotonic();
        events::flush_started(&self.hub, &flush);
        flush.kernel_drops = self.gather_listeners();
        for output in &mut self.outputs {
            output.flush(&self.flusher.view(&flush));
        }
        // First, so that a page that shows the lines of this bucket also names their senders.
        self.warn_of_overflow(flush.start);
        let took = self.clock.monotonic().saturating_sub(began);
        self.account(&flush, took);
        self.watch.keep_posted(&self.flusher.view(&flush));
        admin::observe(&self.admin);
        events::context_limit(&self.hub, self.contexts_max, &flush.counts);
        events::flush_completed(&self.hub, &self.flusher, &flush, (&self.clock, began));
        for (lane, mut bucket) in self.flusher.recycle(flush) {
            match self.spares.get(lane) {
                // A lane that is gone needs no spare.
                Some(spares) => drop(spares.send(bucket)),
                None => self.own.iter_mut().for_each(|own| own.reuse(std::mem::take(&mut bucket))),
            }
        }
        self.trim.after_flush(self.flusher.contexts());
    }

    /// A bucket of the doors goes to the same outputs, once; its parts were counted when they came.
    fn post_door(&mut self, due: DueBucket) {
        let Some((flusher, flush)) = self.doors.as_mut().and_then(|doors| doors.complete(due))
        else {
            return;
        };
        let began = self.clock.monotonic();
        if !flush.is_empty() {
            events::flush_started(&self.hub, &flush);
            for output in &mut self.outputs {
                output.flush(&flusher.view(&flush));
            }
            events::flush_completed(&self.hub, flusher, &flush, (&self.clock, began));
        }
        let contexts = self.doors.as_ref().map_or(0, DoorFlushers::contexts);
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.type_conflicts += flush.type_conflicts;
        totals.cells_coarse += flush.cells_coarse;
        totals.door_contexts = contexts;
        drop(totals);
        warn_of_oddities(&flush.counts);
    }

    /// The open bucket is not wanted: what it recorded is lost, and that is counted.
    fn abandon(&mut self, flush: &Flush) {
        self.gather_listeners();
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = flush.counts;
        counts.abandon_recorded();
        totals.lines.add(&counts);
        let mut lines = take_lines(&mut self.lines, flush.start);
        lines.iter_mut().for_each(LineCounts::abandon_recorded);
        add_lines(&mut totals.listener_lines, &lines);
        drop(totals);
        tracing::warn!(
            target: "flush",
            "{} recorded lines of the open bucket are not posted: dogstatsd_flush_incomplete_buckets is false",
            grouped(counts.abandoned)
        );
    }

    fn account(&mut self, flush: &Flush, took: Duration) {
        let counts = &flush.counts;
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.lines.add(counts);
        let lines = take_lines(&mut self.lines, flush.start);
        add_lines(&mut totals.listener_lines, &lines);
        totals.flushes += 1;
        totals.flush_durations.record(took);
        totals.flushed_at = Some(self.clock.monotonic());
        totals.type_conflicts += flush.type_conflicts;
        let exact_so_far = totals.sets_estimated + totals.histograms_folded == 0;
        totals.sets_estimated += flush.sets_estimated;
        totals.histograms_folded += flush.histograms_folded;
        totals.cells_coarse += flush.cells_coarse;
        totals.last = *counts;
        totals.contexts = self.flusher.contexts();
        totals.contexts_by_kind = self.flusher.contexts_by_kind();
        drop(totals);
        warn_of_oddities(counts);
        if exact_so_far && flush.sets_estimated + flush.histograms_folded > 0 {
            tracing::info!(
                target: "aggregate",
                "{} sets of more than set_members_max members are estimates, and the percentiles of {} histograms of more than {} samples are within 1 % (said once)",
                grouped(flush.sets_estimated),
                grouped(flush.histograms_folded),
                grouped(EXACT_SAMPLES_MAX as u64)
            );
        }
        if flush.cells_coarse > 0 {
            tracing::warn!(
                target: "aggregate",
                "out of memory for samples (aggregation_bytes_max): {} sets, histograms and distributions of this interval are less precise",
                grouped(flush.cells_coarse)
            );
        }
        let reasons: Vec<String> =
            counts.reasons().map(|(reason, count)| format!("{reason} {count}")).collect();
        tracing::debug!(
            target: "flush",
            "{}: {} lines = {} recorded + {} refused + {} dropped [{}], {} values, {} contexts, kernel drops {}",
            flush.start,
            counts.received,
            counts.recorded(),
            counts.refused_total(),
            counts.dropped_total(),
            reasons.join(", "),
            counts.values,
            flush.contexts,
            flush.kernel_drops
        );
        for (listener, lines) in self.descriptions.iter().zip(&lines) {
            if lines.received > 0 {
                let (transport, address) = (listener.transport, &listener.address);
                tracing::debug!(target: "flush", "{transport} {address}: lines {lines}");
            }
        }
        if let Some(context) = flush.conflict_example.as_ref().filter(|_| !self.conflict_named) {
            self.conflict_named = true;
            tracing::warn!(
                target: "flush",
                "{} is sent as more than one kind; of each interval only the kind written last is posted (said once)",
                printable(context.name(), 80)
            );
        }
    }

    /// Names the metric, the tag key and the sender when contexts ran out.
    fn warn_of_overflow(&self, start: u64) {
        let heavy = self.watch.take_heavy_hitters();
        if heavy.is_empty() {
            return;
        }
        let sender = self.watch.senders().most_past_cap(&self.descriptions);
        let overflow = Overflow::new(start, &heavy, sender);
        let contexts_max = self.flusher.rules().limits.contexts_max * self.spares.len();
        let sentence = overflow.sentence(self.flusher.interval(), contexts_max);
        self.watch.set_overflow(overflow);
        tracing::warn!(target: "context", "{sentence}");
    }

    /// Adds up the listeners over lanes, warns of what the kernel dropped or cut since, and returns
    /// the drops.
    fn gather_listeners(&mut self) -> u64 {
        let mut sums: Vec<ListenerCounts> = Vec::new();
        for lane in &self.lanes {
            for (at, counts) in lane.iter().enumerate() {
                match sums.get_mut(at) {
                    Some(sum) => sum.add(counts),
                    None => sums.push(counts.clone()),
                }
            }
        }
        let dropped = self.kernel_drops.warn(&sums);
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).listeners = sums;
        dropped
    }
}

/// The lines of every bucket up to this one.
fn take_lines(waiting: &mut BTreeMap<u64, Vec<LineCounts>>, start: u64) -> Vec<LineCounts> {
    let later = waiting.split_off(&start.saturating_add(1));
    let mut sums = Vec::new();
    std::mem::replace(waiting, later).values().for_each(|lines| add_lines(&mut sums, lines));
    sums
}

/// What was taken in another way than it was written, once per flush.
fn warn_of_oddities(counts: &LineCounts) {
    let oddities = [
        (counts.rates_invalid, "sample rates outside [1e-9, 1] counted as 1"),
        (counts.values_non_finite, "NaN or infinite values left out"),
        (
            counts.fields_ignored,
            "d:, p: or t: fields of events and checks not understood and skipped",
        ),
        (
            counts.texts_repaired,
            "metrics, events or checks with bytes that are not UTF-8, replaced by U+FFFD",
        ),
        (
            counts.tags_left_out,
            "device: or dd.internal.resource: tags left out (empty, malformed, or not the last device)",
        ),
        (
            counts.cells_unsendable,
            "values of global series not forwarded, because the name or a tag holds a line break",
        ),
        (
            counts.lines_folded,
            "lines folded into overflow contexts; raise contexts_max or send fewer tags",
        ),
    ];
    for (count, what) in oddities.iter().filter(|(count, _)| *count > 0) {
        tracing::warn!(target: "aggregate", "{} {what}", grouped(*count));
    }
}
