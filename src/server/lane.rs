//! A lane at work: the receiver that its poll loop calls, and the thread that keeps it alive.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver as Channel;
use std::time::Duration;

use ahash::RandomState;

use super::by_listener::ByListener;
use super::drop_events;
use super::events;
use super::forward_raw::RawForwarder;
use super::origins::{Found, Origins};
use super::refusal_log::RefusalLog;
use crate::aggregate::{self, Bucket, LineCounts, Shard};
use crate::clock::Clock;
use crate::context::{CLIENT_TELEMETRY, Rules};
use crate::doors::LineInbox;
use crate::flush::Closed;
use crate::net::{
    Arrival, Incident, Lane, LaneEnd, ListenerCounts, ListenerId, Receiver, Sender, Transport,
};
use crate::protocol::lines;
use crate::telemetry::{EventKind, Hub};
use crate::text::{clock_time, printable};
use crate::watch::{Findings, LaneCounts, Liveness, Recorder, Senders, Watch, Watcher};

/// Contexts announced by name as they are born, over the life of the process.
const ANNOUNCED_MAX: usize = 20;
/// Time between two steps of forgetting that no batch brings.
const SWEEP_GAP: Duration = Duration::from_millis(10);

/// Bytes of lines over HTTP that are read before the sockets have their turn.
const MAIL_BYTES_PER_TURN: usize = 256 << 10;

/// Kinds of facts that are asked for with every datagram, in one question.
const EMITTED_PER_DATAGRAM: u64 = EventKind::PacketReceived.bit() | EventKind::MetricRejected.bit();

/// What a lane sends the flusher.
pub(super) enum FromLane {
    /// A bucket was passed; `away` is how long the lane did not look at its sockets for it.
    Closed {
        closed: Box<Closed>,
        listeners: Vec<ListenerCounts>,
        /// The bucket's lines, by listener.
        lines: Vec<LineCounts>,
        away: Duration,
    },
    /// The lane panicked and begins anew; the counts of the open bucket come with the next one.
    Restarted { lane: usize },
    /// The lane has stopped; its last bucket came before.
    Stopped,
}

/// Where lines arrive that come over HTTP.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    pub listener: ListenerId,
    pub inbox: Arc<LineInbox>,
}

/// What every lane is made from.
#[derive(Clone)]
pub(super) struct LaneParts {
    pub settings: aggregate::ShardSettings,
    pub rules: Arc<Rules>,
    pub state: RandomState,
    pub clock: Clock,
    /// Listeners whose last line needs a newline (`dogstatsd_eol_required`), by listener id.
    pub eol_required: Vec<bool>,
    pub listener_names: Vec<String>,
    pub transports: Vec<Transport>,
    /// Refused lines are worth a warning (else debug).
    pub verbose: bool,
    pub oversize_shown: bool,
    /// Where the processes of senders are looked up, if they are (`dogstatsd_origin_detection`).
    pub proc_root: Option<PathBuf>,
    /// Where every packet goes a second time, if it does (`statsd_forward_host`).
    pub raw_forwarder: Option<Arc<RawForwarder>>,
    /// Lines over HTTP; one lane has it.
    pub mailbox: Option<Mailbox>,
    /// Contexts announced so far; none are when the console is off.
    pub announced: Option<Arc<AtomicUsize>>,
    /// The longest datagram that is received whole.
    pub datagram_bytes_max: usize,
    pub hub: Hub,
    pub liveness: Arc<Liveness>,
    pub watch: Arc<Watch>,
    /// Count what each sender sends (`sender_accounts`).
    pub sender_accounts: bool,
}

pub(super) struct LaneWorker {
    lane: usize,
    parts: LaneParts,
    shard: Shard,
    by_listener: ByListener,
    refusals: RefusalLog,
    origins: Option<Origins>,
    /// The generation of the tagger that known metrics were decided with.
    tags_generation: u64,
    watcher: Watcher,
    recorder: Recorder,
    senders: Option<Senders>,
    /// What of the shard a sender was charged with already.
    charged: Charged,
    births_seen: usize,
    /// Contexts named for the first time in buckets that are closed.
    births_closed: u64,
    /// When the last step of forgetting was taken that no batch brought.
    swept_at: Duration,
    restarts: u32,
    tell: Tell,
    spares: Channel<Bucket>,
    new_rules: Channel<Arc<Rules>>,
}

/// What made the shard look twice, since the start.
#[derive(Clone, Copy, Default)]
struct Charged {
    /// All of it.
    arrivals: u64,
    /// Of it, lines past a cap.
    past_cap: u64,
    /// Of it, reports of clients on themselves.
    client_reports: u64,
}

/// Tells the flusher; false when it is gone.
pub(super) type Tell = Box<dyn Fn(FromLane) -> bool + Send>;

impl LaneWorker {
    /// Boxed, because it holds some 20 KiB that would lie on every stack it passes.
    pub fn new(
        lane: usize,
        parts: LaneParts,
        tell: Tell,
        spares: Channel<Bucket>,
        new_rules: Channel<Arc<Rules>>,
    ) -> Box<Self> {
        let shard = fresh_shard(&parts);
        let refusals = RefusalLog::new(parts.verbose);
        let by_listener = ByListener::new(parts.listener_names.len());
        let origins = parts.proc_root.as_deref().map(Origins::new);
        let tags_generation = tags_generation(&parts.rules);
        let watcher = Watcher::new(Arc::clone(&parts.watch), parts.settings.options);
        let recorder = Recorder::new(Arc::clone(&parts.watch.captures));
        let senders = parts.sender_accounts.then(Senders::new);
        Box::new(LaneWorker {
            lane,
            parts,
            shard,
            by_listener,
            refusals,
            origins,
            tags_generation,
            restarts: 0,
            watcher,
            recorder,
            senders,
            charged: Charged::default(),
            births_seen: 0,
            births_closed: 0,
            swept_at: Duration::ZERO,
            tell,
            spares,
            new_rules,
        })
    }

    /// Runs the lane until it is stopped; a panic costs the open bucket and nothing else.
    pub fn run(mut self: Box<Self>, mut net: Lane) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| net.run(&mut *self))) {
                Ok(LaneEnd::Stopped { drained }) => {
                    if !drained {
                        tracing::warn!(target: "net", "stopped before every socket was read to its end");
                    }
                    break;
                }
                Ok(LaneEnd::Failed(error)) => {
                    tracing::error!(target: "net", "lane {}: poll failed: {error}", self.lane);
                    events::lane_failed(&self.parts.hub, &error.to_string(), self.restarts);
                    break;
                }
                Err(panic) => self.begin_anew(events::panic_text(&*panic)),
            }
        }
        net.refresh_kernel_drops();
        self.recorder.hand_over();
        self.close(net.counts());
        // The flusher outlives the lanes; if it is gone, no one has to know.
        (self.tell)(FromLane::Stopped);
    }

    /// After a panic: the shard cannot be trusted. What it had recorded is counted as lost.
    fn begin_anew(&mut self, error: &str) {
        let mut counts = *self.shard.counts();
        let recorded = counts.recorded();
        self.by_listener.lose_recorded(&mut counts);
        tracing::error!(
            target: "server",
            "lane {} failed and starts again; {recorded} recorded lines of its open bucket are lost",
            self.lane
        );
        self.births_closed += self.shard.births().len() as u64;
        self.shard = fresh_shard(&self.parts);
        *self.shard.counts() = counts;
        self.births_seen = 0;
        self.restarts += 1;
        self.charged = Charged::default();
        (self.tell)(FromLane::Restarted { lane: self.lane });
        events::lane_failed(&self.parts.hub, error, self.restarts);
    }

    fn close(&mut self, listeners: &[ListenerCounts]) {
        let started = self.parts.clock.monotonic();
        let now = self.parts.clock.unix();
        self.announce();
        let spare = self.spares.try_recv().unwrap_or_default();
        let lines = self.by_listener.close(self.shard.counts());
        self.births_closed += self.shard.births().len() as u64;
        let bucket = self.shard.close(now, spare);
        self.births_seen = 0;
        self.refusals.close(self.parts.settings.interval);
        if let Some(origins) = &mut self.origins {
            origins.close();
        }
        self.hand_over(listeners);
        let passed = self.shard.bucket_end().saturating_sub(self.parts.settings.interval).as_secs();
        let closed = Box::new(Closed { lane: self.lane, bucket, passed });
        let listeners = listeners.to_vec();
        let away = self.parts.clock.monotonic().saturating_sub(started);
        (self.tell)(FromLane::Closed { closed, listeners, lines, away });
    }

    /// The sender of this datagram named new contexts, or sent client telemetry.
    #[cold]
    fn charge(&mut self, bytes: &[u8], from: &Sender<'_>, listener: u16) {
        let contexts = self.shard.contexts();
        let now = Charged {
            arrivals: contexts.arrivals(),
            past_cap: contexts.past_cap_count(),
            client_reports: contexts.client_reports(),
        };
        let before = std::mem::replace(&mut self.charged, now);
        let Some(senders) = &mut self.senders else { return };
        let past_cap = now.past_cap - before.past_cap;
        let reports = now.client_reports - before.client_reports;
        let contexts_new = now.arrivals - before.arrivals - past_cap - reports;
        senders.named(from, listener, contexts_new, past_cap);
        if reports > 0 {
            let options = self.parts.settings.options;
            for line in lines(bytes).filter(|line| line.bytes.starts_with(CLIENT_TELEMETRY)) {
                senders.client_telemetry(from, listener, line.bytes, options);
            }
        }
    }

    /// Gives whoever asks what was found and counted so far, the open bucket included.
    fn hand_over(&mut self, listeners: &[ListenerCounts]) {
        let now = self.parts.clock.unix().as_secs();
        let container_of = |pid| self.origins.as_ref()?.known_container(pid);
        let senders = self.senders.as_mut().map(|senders| senders.publish(now, container_of));
        let senders = senders.unwrap_or_default();
        let heavy = self.shard.take_heavy_hitters();
        let counted = LaneCounts {
            lines: self.by_listener.since_start(self.shard.counts()),
            listeners: listeners.to_vec(),
            contexts_new: self.shard.births().len(),
            births: self.births_closed + self.shard.births().len() as u64,
        };
        self.watcher.hand_over(Findings { lane: self.lane, senders, heavy, counted });
    }

    /// Rules of a reload, and tags of senders that have changed, count from the next line on.
    fn take_rules(&mut self) {
        while let Ok(rules) = self.new_rules.try_recv() {
            self.parts.rules = Arc::clone(&rules);
            self.shard.set_rules(rules);
        }
        let generation = tags_generation(&self.parts.rules);
        if std::mem::replace(&mut self.tags_generation, generation) != generation {
            self.shard.decide_again();
        }
    }

    /// Before the lines of a datagram are read; true when they are to be read one by one.
    #[inline(always)]
    fn begin_datagram(&mut self, bytes: &[u8], from: &Sender<'_>, arrival: Arrival) -> bool {
        // First, so that a capture holds what makes the lane fail, too.
        if self.recorder.is_on() {
            self.recorder.add(bytes, from, &arrival);
        }
        let mut by_line = false;
        if self.parts.hub.wants_any(EMITTED_PER_DATAGRAM) {
            events::packet_received(&self.parts.hub, bytes, from, arrival.transport);
            by_line = self.parts.hub.wants(EventKind::MetricRejected);
        }
        self.by_listener.turn(usize::from(arrival.listener.0), self.shard.counts());
        if let Some(forwarder) = &self.parts.raw_forwarder {
            forwarder.copy(bytes);
        }
        by_line
    }

    /// After the lines of a datagram were read, before which `received` were counted.
    #[inline(always)]
    fn end_datagram(&mut self, bytes: &[u8], from: &Sender<'_>, arrival: Arrival, received: u64) {
        if let Some(senders) = &mut self.senders {
            let lines = self.shard.counts().received - received;
            senders.see(from, arrival.listener.0, bytes.len(), lines);
            if self.shard.contexts().arrivals() != self.charged.arrivals {
                self.charge(bytes, from, arrival.listener.0);
            }
        }
        if self.parts.watch.is_on() {
            self.look_closer(bytes, usize::from(arrival.listener.0), from);
        }
        if arrival.cut_bytes > 0 {
            // The tail of the datagram counts as one refused line.
            let counts = self.shard.counts();
            counts.received += 1;
            counts.truncated += 1;
            events::packet_truncated(&self.parts.hub, self.parts.datagram_bytes_max, arrival);
        }
    }

    /// Lines that came over HTTP, as if each piece was a frame of a stream.
    #[cold]
    fn take_lines(&mut self, mailbox: &Mailbox, counts: &mut [ListenerCounts]) -> bool {
        let listener = mailbox.listener;
        let arrival = Arrival { listener, transport: Transport::Http, cut_bytes: 0 };
        let mut left = MAIL_BYTES_PER_TURN;
        self.begin_batch();
        while let Some(piece) = mailbox.inbox.take(self.parts.datagram_bytes_max) {
            let (bytes, from) = (&*piece.lines, &Sender::Unknown);
            if let Some(counts) = counts.get_mut(usize::from(listener.0)) {
                counts.frames += 1;
                counts.bytes += bytes.len() as u64;
            }
            let by_line = self.begin_datagram(bytes, from, arrival);
            let received = self.shard.counts().received;
            record(
                (&mut self.shard, &mut self.refusals, &self.parts, &mut self.senders),
                (bytes, &piece.container, false, by_line),
                (from, listener.0),
            );
            self.end_datagram(bytes, from, arrival, received);
            left = left.saturating_sub(bytes.len());
            if left == 0 {
                break;
            }
        }
        self.end_batch();
        !mailbox.inbox.is_empty()
    }

    /// A page wants more than totals: `top` or `tap`.
    #[cold]
    fn look_closer(&mut self, bytes: &[u8], listener: usize, from: &Sender<'_>) {
        let now = self.parts.clock.unix().as_secs();
        let name = self.parts.listener_names.get(listener).map_or("", String::as_str);
        self.watcher.look(bytes, now, name, || from.name());
    }

    /// Logs the first contexts at once, so that a newcomer sees the first line arrive.
    fn announce(&mut self) {
        let births = self.shard.births();
        let Some(announced) = &self.parts.announced else { return };
        for birth in births.get(self.births_seen..).unwrap_or_default() {
            if announced.fetch_add(1, Ordering::Relaxed) >= ANNOUNCED_MAX {
                announced.store(ANNOUNCED_MAX, Ordering::Relaxed);
                break;
            }
            let name = printable(birth.context.name(), 80);
            let kind = birth.context.kind().word();
            let end = clock_time(self.shard.bucket_end().as_secs());
            tracing::info!(target: "context", "new  {name} {kind}, first flush {end}");
        }
        self.births_seen = births.len();
    }
}

/// The generation of the tagger in the rules; without one nothing ever changes.
fn tags_generation(rules: &Rules) -> u64 {
    rules.origin.as_ref().map_or(0, |origin| origin.tagger.generation())
}

fn fresh_shard(parts: &LaneParts) -> Shard {
    let rules = Arc::clone(&parts.rules);
    Shard::new(parts.settings.clone(), rules, parts.state.clone(), parts.clock.unix())
}

/// Reads the lines of one datagram into the shard.
#[inline(always)]
fn record(
    (shard, refusals, parts, senders): (
        &mut Shard,
        &mut RefusalLog,
        &LaneParts,
        &mut Option<Senders>,
    ),
    (bytes, sender, eol_required, by_line): (&[u8], &[u8], bool, bool),
    (from, listener): (&Sender<'_>, u16),
) {
    let mut refused = |number: u64, line: &[u8], error| {
        #[cfg(test)]
        super::fault_tests::fail_on(line);
        let at = usize::from(listener);
        let name = parts.listener_names.get(at).map_or("", String::as_str);
        refusals.refused(error, line, number, name, from);
        events::parse_failed(&parts.hub, error, line, parts.transports.get(at));
        if let Some(senders) = senders {
            senders.refused(from, listener, error, line);
        }
    };
    if by_line {
        drop_events::datagram(
            (shard, &parts.hub, parts.settings.options),
            (bytes, sender, eol_required),
            &mut refused,
        );
    } else {
        shard.datagram(bytes, sender, eol_required, refused);
    }
}

impl Receiver for LaneWorker {
    fn begin_batch(&mut self) {
        // Not only when woken: a wake-up may be seen after datagrams that were sent later.
        self.take_rules();
        let now = self.parts.clock.unix();
        self.shard.begin_batch(now);
        self.recorder.begin_batch(now, || self.parts.clock.monotonic());
        if let Some(origins) = &mut self.origins {
            origins.begin_batch(self.parts.clock.monotonic());
        }
    }

    fn datagram(&mut self, bytes: &[u8], from: &Sender<'_>, arrival: Arrival) {
        let listener = usize::from(arrival.listener.0);
        let by_line = self.begin_datagram(bytes, from, arrival);
        let sender = match self.origins.as_mut().map(|origins| origins.find(from)) {
            Some(Found::Container(id)) => id,
            Some(Found::Unreadable) => {
                self.shard.counts().origins_unreadable += 1;
                b""
            }
            None => b"",
        };
        let received = self.shard.counts().received;
        let eol_required = self.parts.eol_required.get(listener).copied().unwrap_or(false);
        record(
            (&mut self.shard, &mut self.refusals, &self.parts, &mut self.senders),
            (bytes, sender, eol_required, by_line),
            (from, arrival.listener.0),
        );
        self.end_datagram(bytes, from, arrival, received);
    }

    fn end_batch(&mut self) {
        self.shard.sweep_some();
        if self.shard.births().len() > self.births_seen {
            self.announce();
        }
    }

    fn deadline(&self) -> Duration {
        let end = self.shard.bucket_end().saturating_sub(self.parts.clock.unix());
        let interval = self.parts.settings.interval;
        let since = || self.parts.clock.monotonic().saturating_sub(self.swept_at);
        // A clock that stepped back keeps the bucket open for longer than an interval. Each tick is
        // a sign of life, so it comes once per interval all the same.
        let end = if end > interval { interval.saturating_sub(since()) } else { end };
        let hand_over = self.recorder.due_in(|| self.parts.clock.monotonic());
        let end = hand_over.map_or(end, |due| end.min(due));
        if self.shard.is_sweeping() { end.min(SWEEP_GAP.saturating_sub(since())) } else { end }
    }

    fn tick(&mut self, counts: &[ListenerCounts]) {
        self.parts.liveness.lane(self.lane);
        self.recorder.look_after(|| self.parts.clock.monotonic());
        if self.parts.clock.unix() >= self.shard.bucket_end() {
            self.close(counts);
        } else {
            // One step of forgetting goes with each batch. Where few batches come, no line waits,
            // and what a flood left behind must go all the same, a little at a time.
            self.shard.sweep_some();
        }
        self.swept_at = self.parts.clock.monotonic();
    }

    fn mail(&mut self, counts: &mut [ListenerCounts]) -> bool {
        let mailbox = self.parts.mailbox.clone();
        mailbox.is_some_and(|mailbox| self.take_lines(&mailbox, counts))
    }

    fn woken(&mut self, counts: &[ListenerCounts]) {
        self.hand_over(counts);
        self.recorder.look_after(|| self.parts.clock.monotonic());
        self.take_rules();
    }

    fn incident(&mut self, listener: ListenerId, incident: &Incident<'_>) {
        let name =
            self.parts.listener_names.get(usize::from(listener.0)).map_or("", String::as_str);
        self.refusals.incident(name, incident, self.parts.oversize_shown);
    }
}

#[cfg(test)]
mod tests;
