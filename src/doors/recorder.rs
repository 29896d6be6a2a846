//! Where the parts of all requests go: one for the whole program, shared by the threads that serve.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::RandomState;
use arc_swap::ArcSwap;

use super::grace::Grace;
use super::line_of::LineOf;
use super::{DoorsAccounting, Outcome, Part, Reason, Route, Sink};
use crate::aggregate::{
    CheckRecord, EventRecord, Misplaced, Placed, TimedPart, TimedSettings, TimedShard,
};
use crate::context::{Claims, DropReason, PartRules, utf8_bytes};
use crate::watch::{Seen, Watch};

/// What `whippet tap` calls the place where parts come in.
const LISTENER: &str = "http";

/// Records parts; cheap to clone.
#[derive(Clone)]
pub(crate) struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    accounting: Arc<DoorsAccounting>,
    watch: Arc<Watch>,
    rules: ArcSwap<PartRules>,
    /// The generation of the tagger that known series were decided with.
    tags_generation: AtomicU64,
    interval: u64,
    /// In the order of [`Grace::ALL`].
    shards: [Mutex<TimedShard>; Grace::ALL.len()],
}

/// What a [`Recorder`] shares with the rest of the program.
pub(crate) struct RecorderParts {
    /// The grace is set by the class.
    pub settings: TimedSettings,
    pub rules: Arc<PartRules>,
    /// That of the flushers.
    pub state: RandomState,
    pub accounting: Arc<DoorsAccounting>,
    pub watch: Arc<Watch>,
}

impl Recorder {
    /// `now` is the time since the epoch.
    pub fn new(parts: RecorderParts, now: Duration) -> Self {
        let RecorderParts { settings, rules, state, accounting, watch } = parts;
        let shard = |grace: Grace| {
            let settings = TimedSettings { grace: grace.seconds(), ..settings.clone() };
            Mutex::new(TimedShard::new(settings, Arc::clone(&rules), state.clone(), now))
        };
        let shared = Shared {
            accounting,
            watch,
            tags_generation: AtomicU64::new(tags_generation(&rules)),
            interval: settings.interval.max(1),
            shards: Grace::ALL.map(shard),
            rules: ArcSwap::new(rules),
        };
        Recorder { shared: Arc::new(shared) }
    }

    /// What is counted here and by those who serve.
    pub fn accounting(&self) -> &Arc<DoorsAccounting> {
        &self.shared.accounting
    }

    /// Length of a bucket in seconds.
    pub fn interval(&self) -> u64 {
        self.shared.interval
    }

    /// New rules; known series are decided again at their next part.
    pub fn set_rules(&self, rules: Arc<PartRules>) {
        self.shared.rules.store(Arc::clone(&rules));
        Grace::ALL.iter().for_each(|grace| self.shard(*grace).set_rules(Arc::clone(&rules)));
    }

    /// The buckets of a class. Held for one part at a time.
    pub(super) fn shard(&self, grace: Grace) -> MutexGuard<'_, TimedShard> {
        self.shared.shards[grace as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the parts of one request that was whole at `now` (since the epoch) and came from who
    /// `claims` says.
    pub fn sink<'a>(
        &'a self,
        route: Route,
        now: Duration,
        claims: &'a Claims<'a>,
    ) -> RequestSink<'a> {
        self.follow_tagger();
        let mut origin = Vec::new();
        claims.write_key(&mut origin);
        RequestSink { recorder: self, route, now, claims, origin }
    }

    /// The tags of senders may have changed since the last request.
    fn follow_tagger(&self) {
        let generation = tags_generation(&self.shared.rules.load());
        if self.shared.tags_generation.swap(generation, Ordering::AcqRel) != generation {
            Grace::ALL.iter().for_each(|grace| self.shard(*grace).decide_again());
        }
    }
}

/// The generation of the tagger in the rules; without one nothing ever changes.
fn tags_generation(rules: &PartRules) -> u64 {
    rules.rules.origin.as_ref().map_or(0, |origin| origin.tagger.generation())
}

/// Takes the parts of one request.
pub(crate) struct RequestSink<'a> {
    recorder: &'a Recorder,
    route: Route,
    now: Duration,
    claims: &'a Claims<'a>,
    /// The claims as part of a raw key.
    origin: Vec<u8>,
}

impl RequestSink<'_> {
    fn count(&self, outcome: Outcome) -> Outcome {
        let accounting = self.recorder.accounting();
        match outcome {
            Outcome::Recorded => accounting.part_recorded(self.route, false),
            Outcome::Late => accounting.part_recorded(self.route, true),
            Outcome::Refused(reason) => accounting.part_refused(self.route, reason),
        }
        outcome
    }

    fn record(&self, part: &Part<'_>) -> Outcome {
        if part.name.is_empty() {
            return Outcome::Refused(Reason::Value);
        }
        let (tags, tag_ends) = part.tags.raw();
        let Part { name, host, second, value, .. } = *part;
        let origin = &self.origin;
        let part = TimedPart { name, tags, tag_ends, host, origin, second, value };
        // Points of the API were given a time by someone; the others were only summed too long.
        let misplaced =
            if self.route == Route::Api { Misplaced::KeepTime } else { Misplaced::Shift };
        let placed = self.recorder.shard(Grace::of(self.route)).put(&part, self.now, misplaced);
        match placed {
            Placed::InTime => Outcome::Recorded,
            Placed::Late => Outcome::Late,
            Placed::TooFarAhead => Outcome::Refused(Reason::Time),
            Placed::Dropped(reason) => Outcome::Refused(refused_as(reason)),
        }
    }

    #[cold]
    fn show(&self, part: &Part<'_>) {
        let line = LineOf::part(part);
        let sender = String::from_utf8_lossy(self.claims.sender);
        self.recorder.shared.watch.look_at(&Seen {
            name: part.name,
            tags: &line.tags,
            line: &line.text,
            listener: LISTENER,
            sender: &sender,
            now: self.now.as_secs(),
        });
    }

    /// Tags of an event or check, with all that join them, sorted and unique.
    fn all_tags(&self, own: &[Box<[u8]>]) -> Result<Vec<Box<[u8]>>, DropReason> {
        let rules = self.recorder.shared.rules.load();
        let enriched = rules.tags(own.iter().map(|tag| &**tag), self.claims)?;
        let mut tags: Vec<Box<[u8]>> = enriched.tags.iter().map(|tag| Box::from(&**tag)).collect();
        tags.sort_unstable();
        tags.dedup();
        Ok(tags)
    }

    fn host(&self, host: &[u8]) -> Box<[u8]> {
        let rules = self.recorder.shared.rules.load();
        if host.is_empty() { rules.rules.default_host.clone() } else { text(host) }
    }

    fn check_text(&self, text: &[u8]) -> Result<(), DropReason> {
        self.recorder.shared.rules.load().rules.limits.check_text(text)
    }

    fn keep_event(&self, event: &EventRecord) -> Result<(), DropReason> {
        self.check_text(&event.title)?;
        self.check_text(&event.text)?;
        let event = EventRecord {
            title: text(&event.title),
            text: text(&event.text),
            host: self.host(&event.host),
            aggregation_key: text(&event.aggregation_key),
            source_type: text(&event.source_type),
            tags: self.all_tags(&event.tags)?,
            ..*event
        };
        self.recorder.shard(Grace::of(self.route)).event(event)
    }

    fn keep_check(&self, check: &CheckRecord) -> Result<(), DropReason> {
        self.check_text(&check.message)?;
        let check = CheckRecord {
            name: text(&check.name),
            host: self.host(&check.host),
            message: text(&check.message),
            tags: self.all_tags(&check.tags)?,
            ..*check
        };
        self.recorder.shard(Grace::of(self.route)).check(check)
    }
}

/// As it will be posted: whatever is no UTF-8 is replaced.
fn text(bytes: &[u8]) -> Box<[u8]> {
    Box::from(&*utf8_bytes(bytes, &mut 0))
}

fn refused_as(reason: DropReason) -> Reason {
    match reason {
        DropReason::Filtered => Reason::Filtered,
        DropReason::NonFinite | DropReason::TimestampUnsupported => Reason::Value,
        DropReason::TooManyTags
        | DropReason::TagTooLong
        | DropReason::NameTooLong
        | DropReason::ContextLimit
        | DropReason::TextTooLong
        | DropReason::IntervalFull => Reason::Limit,
    }
}

fn outcome(kept: Result<(), DropReason>) -> Outcome {
    kept.map_or_else(|reason| Outcome::Refused(refused_as(reason)), |()| Outcome::Recorded)
}

impl Sink for RequestSink<'_> {
    fn put(&mut self, part: &Part<'_>) -> Outcome {
        let outcome = self.record(part);
        if self.recorder.shared.watch.is_on() && !matches!(outcome, Outcome::Refused(_)) {
            self.show(part);
        }
        self.count(outcome)
    }

    fn event(&mut self, event: EventRecord) -> Outcome {
        self.count(outcome(self.keep_event(&event)))
    }

    fn check(&mut self, check: CheckRecord) -> Outcome {
        self.count(outcome(self.keep_check(&check)))
    }

    fn refuse(&mut self, reason: Reason) {
        self.count(Outcome::Refused(reason));
    }
}
