//! The contexts of one shard: known, new, and expired ones.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;

use super::alias::{Alias, AliasTable};
use super::entry::{Birth, Decision, Entry, NO_CELL, NO_CONTEXT};
use super::free_ids::{FreeIds, give_back};
use super::identity::{Context, ContextParts, Kind};
use super::ids::IdTable;
use super::key::{KeySecrets, KeySeeds, RawKey, StoredKey};
use super::limits::{DropReason, OVERFLOW_CONTEXTS_MAX, OVERFLOW_TAG, PastCap, overflow_name};
use super::mapper::ProfileSettings;
use super::origin::Claims;
use super::rules::{Rewritten, Rules};
use super::scope::Scope;
use crate::context::heavy_hitters::HeavyHitters;
use crate::protocol::MetricType;

/// Entries looked at in one step of a sweep.
const SWEEP_ENTRIES: usize = 4_096;
/// What client libraries call their own counters: how much they sent and dropped.
pub const CLIENT_TELEMETRY: &[u8] = b"datadog.dogstatsd.client.";
/// What a mapper profile changes in the posting of a context.
#[derive(Debug)]
struct Settled {
    settings: Option<Arc<ProfileSettings>>,
    /// The flusher does not know it yet.
    unsent: bool,
}

/// Where what a line carries goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placing {
    /// Into the cell of the open bucket.
    Bucket,
    /// To a second of its own.
    OwnTime,
}

/// The table of contexts of one shard.
#[derive(Debug)]
pub struct Contexts {
    rules: Arc<Rules>,
    state: RandomState,
    secrets: KeySecrets,
    aliases: AliasTable,
    entries: Vec<Entry>,
    free: FreeIds,
    /// The distributions that copy histograms (`histogram_copy_to_distribution`), by the id of the histogram.
    copies: Vec<u32>,
    identities: IdTable,
    per_name: HashMap<(Kind, Box<[u8]>), usize, RandomState>,
    live: usize,
    overflow: usize,
    births: Vec<Birth>,
    deaths: Vec<u32>,
    /// Contexts that have or had settings, which most have not.
    settled: HashMap<u32, Settled, RandomState>,
    /// Those of them whose settings the flusher does not know yet.
    resettled: Vec<u32>,
    sweep: Option<Sweep>,
    arrivals: u64,
    past_cap: u64,
    client_reports: u64,
    counts: FirstSightCounts,
    heavy: HeavyHitters,
}

/// What was counted on the slow path, where a raw key is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstSightCounts {
    /// Lines folded into an overflow context.
    pub folded: u64,
    /// Raw keys that were not UTF-8 and were repaired.
    pub repaired: u64,
    /// Tags that the series of a raw key cannot carry: further or empty devices, malformed resources.
    pub tags_left_out: u64,
}

#[derive(Debug)]
struct Sweep {
    oldest: u32,
    segment: usize,
    /// Entries from here on are done: from the end, so that it can be given back.
    entry: usize,
}

impl Contexts {
    /// An empty table. `state` must be the same for every shard whose buckets meet in one flusher.
    #[must_use]
    pub fn new(rules: Arc<Rules>, state: RandomState) -> Self {
        Contexts {
            aliases: AliasTable::new(rules.limits.alias_bytes_max),
            per_name: HashMap::with_hasher(state.clone()),
            settled: HashMap::with_hasher(state.clone()),
            identities: IdTable::default(),
            rules,
            secrets: KeySecrets::of(&state),
            state,
            entries: Vec::new(),
            free: FreeIds::default(),
            copies: Vec::new(),
            live: 0,
            overflow: 0,
            births: Vec::new(),
            deaths: Vec::new(),
            resettled: Vec::new(),
            sweep: None,
            arrivals: 0,
            past_cap: 0,
            client_reports: 0,
            counts: FirstSightCounts::default(),
            heavy: HeavyHitters::default(),
        }
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// New rules: every raw key is decided again at its next line; cells stay.
    pub fn set_rules(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
        self.aliases.forget_all();
    }

    /// The tags of senders may have changed: every raw key is decided again at its next line.
    /// Contexts whose tags are the same stay the same.
    pub fn decide_again(&mut self) {
        self.aliases.forget_all();
    }

    /// What the hashes of raw keys with this origin begin from.
    #[inline]
    pub(crate) fn seeds(&self, origin: &[u8]) -> KeySeeds {
        self.secrets.for_origin(origin)
    }

    /// The hash of a raw key.
    #[must_use]
    pub fn hash(&self, raw: &RawKey<'_>) -> u64 {
        raw.hash(&self.secrets)
    }

    /// What is remembered of these bytes.
    #[inline(always)]
    pub(crate) fn known(&self, hash: u64, raw: &RawKey<'_>) -> Option<Alias> {
        self.aliases.get(hash, raw)
    }

    /// The same, to be changed.
    pub fn alias(&mut self, hash: u64, raw: &RawKey<'_>) -> Option<&mut Alias> {
        self.aliases.find(hash, raw)
    }

    /// Begins to load the alias of a raw key with this hash.
    #[inline(always)]
    pub(crate) fn prefetch_alias(&self, hash: u64) {
        self.aliases.prefetch(hash);
    }

    /// Begins to load the key bytes of an alias with this hash; more of them if it is `long`.
    #[inline(always)]
    pub(crate) fn prefetch_key(&self, hash: u64, long: bool) {
        self.aliases.prefetch_key(hash, long);
    }

    /// First sight of these bytes: decides once for all lines like it.
    #[cold]
    pub fn resolve(&mut self, hash: u64, raw: &RawKey<'_>, epoch: u32) -> Decision {
        self.resolve_for(hash, raw, epoch, Placing::Bucket).0
    }

    /// As [`Contexts::resolve`], for the point of a line that has a time of its own: it stays local even
    /// where the series is global, which the second value tells. The raw key must be no key of other lines.
    #[cold]
    pub fn resolve_timestamped(
        &mut self,
        hash: u64,
        raw: &RawKey<'_>,
        epoch: u32,
    ) -> (Decision, bool) {
        self.resolve_for(hash, raw, epoch, Placing::OwnTime)
    }

    fn resolve_for(
        &mut self,
        hash: u64,
        raw: &RawKey<'_>,
        epoch: u32,
        placing: Placing,
    ) -> (Decision, bool) {
        let rules = Arc::clone(&self.rules);
        let claims = Claims::read_key(raw.origin);
        let mut global = false;
        let decision = match rules.rewrite(raw.name, raw.tags, &claims) {
            Ok(mut rewritten) => {
                self.counts.repaired += u64::from(rewritten.enriched.repaired);
                global = rewritten.scope.is_global();
                match placing {
                    Placing::Bucket => rules.make_global(&mut rewritten),
                    Placing::OwnTime => rewritten.scope = Scope::Local,
                }
                if raw.kind != MetricType::Distribution {
                    self.counts.tags_left_out += rules.keep_posted(&mut rewritten);
                }
                self.admit(raw.kind, &rewritten, epoch)
            }
            Err(reason) => Decision::Drop(reason),
        };
        if let Decision::Context(id) = decision {
            self.settle(id, rules.mapper.settings(raw.name));
        }
        if raw.name.starts_with(CLIENT_TELEMETRY) {
            // Few, and the list of senders needs each one: never remembered, so that all
            // other lines need no check.
            self.arrivals += 1;
            self.client_reports += 1;
        } else {
            // What has a time of its own has no cell, so the place of it tells what was decided.
            let cell = u32::from(global && placing == Placing::OwnTime);
            self.remember(hash, raw, decision, cell);
        }
        (decision, global)
    }

    /// First sight of a raw key whose name and tags the caller has rewritten.
    #[cold]
    pub fn resolve_as(
        &mut self,
        hash: u64,
        raw: &RawKey<'_>,
        rewritten: Result<Rewritten<'_>, DropReason>,
        epoch: u32,
    ) -> Decision {
        let decision = match rewritten {
            Ok(mut rewritten) => {
                self.counts.repaired += u64::from(rewritten.enriched.repaired);
                if raw.kind != MetricType::Distribution {
                    self.counts.tags_left_out += self.rules.keep_posted(&mut rewritten);
                }
                self.admit(raw.kind, &rewritten, epoch)
            }
            Err(reason) => Decision::Drop(reason),
        };
        self.remember(hash, raw, decision, 0);
        decision
    }

    /// The settings of a context are those of the raw name that was decided last.
    /// The flusher learns of it once per bucket, however often they change.
    fn settle(&mut self, id: u32, settings: Option<&Arc<ProfileSettings>>) {
        if settings.is_none() && self.settled.is_empty() {
            return;
        }
        let known = self.settled.get_mut(&id);
        if known.as_ref().and_then(|known| known.settings.as_ref()) == settings {
            return;
        }
        let is_new = known.is_none_or(|known| !known.unsent);
        self.settled.insert(id, Settled { settings: settings.cloned(), unsent: true });
        if is_new {
            self.resettled.push(id);
        }
    }

    /// The context of a name and tags that no client sent, such as the copy of a histogram.
    pub fn resolve_rewritten(
        &mut self,
        kind: MetricType,
        rewritten: &Rewritten<'_>,
        epoch: u32,
    ) -> Decision {
        self.admit(kind, rewritten, epoch)
    }

    fn remember(&mut self, hash: u64, raw: &RawKey<'_>, decision: Decision, cell: u32) {
        let key = match decision {
            Decision::Context(id) => match &self.entries[id as usize].context {
                // Folded: no alias, or an attack would fill the table with them.
                Some(context) if context.is_overflow() => return,
                Some(context) if context.as_raw_key().matches(raw) && context.host().is_none() => {
                    Some(context.as_raw_key().clone())
                }
                _ => StoredKey::of_raw(raw),
            },
            Decision::Drop(DropReason::Filtered) => StoredKey::of_raw(raw),
            Decision::Drop(_) => return,
        };
        if let Some(key) = key {
            // No bucket has epoch 0: the first touch asks the entry for its cell.
            let alias = Alias { epoch: 0, cell, decision: decision.to_number() };
            self.aliases.insert(hash, key, alias);
        }
    }

    fn admit(&mut self, kind: MetricType, rewritten: &Rewritten<'_>, epoch: u32) -> Decision {
        let tags: Vec<&[u8]> = rewritten.enriched.tags.iter().map(Cow::as_ref).collect();
        let parts = ContextParts {
            kind,
            name: &rewritten.name,
            tags: &tags,
            host: rewritten.enriched.host.as_deref(),
            overflow: false,
            global: rewritten.scope.is_global(),
        };
        let Some(context) = Context::new(&parts) else {
            return Decision::Drop(DropReason::TooManyTags);
        };
        let hash = context.short_identity_hash(&self.state);
        if let Some(id) = self.lookup(hash, &context) {
            return Decision::Context(id);
        }
        if self.is_full(&context) {
            return self.past_cap(kind, &context, epoch);
        }
        Decision::Context(self.create(hash, context, epoch))
    }

    fn is_full(&self, context: &Context) -> bool {
        let limits = &self.rules.limits;
        if self.live >= limits.contexts_max {
            return true;
        }
        let per_name_max = limits.contexts_per_name_max;
        per_name_max > 0 && self.named(context) >= per_name_max
    }

    fn named(&self, context: &Context) -> usize {
        let key = (context.kind(), Box::from(context.name()));
        self.per_name.get(&key).copied().unwrap_or(0)
    }

    /// Past a cap new contexts fold into one of their name; past the cap on names, into one of all.
    fn past_cap(&mut self, kind: MetricType, context: &Context, epoch: u32) -> Decision {
        self.arrivals += 1;
        self.past_cap += 1;
        self.heavy.offer(context.name(), context.tags(&[]).iter(), &self.state);
        if PastCap::of(context.kind()) == PastCap::Drop {
            return Decision::Drop(DropReason::ContextLimit);
        }
        let of_all = overflow_name(context.kind());
        for name in [context.name(), of_all] {
            let (tags, global): (&[&[u8]], _) = (&[OVERFLOW_TAG], context.is_global());
            let parts = ContextParts { kind, name, tags, host: None, overflow: true, global };
            let Some(folded) = Context::new(&parts) else { continue };
            let hash = folded.short_identity_hash(&self.state);
            if let Some(id) = self.lookup(hash, &folded) {
                self.counts.folded += 1;
                return Decision::Context(id);
            }
            if self.overflow < OVERFLOW_CONTEXTS_MAX || name == of_all {
                self.counts.folded += 1;
                return Decision::Context(self.create(hash, folded, epoch));
            }
        }
        Decision::Drop(DropReason::ContextLimit)
    }

    fn lookup(&self, hash: u32, context: &Context) -> Option<u32> {
        let entries = &self.entries;
        self.identities.find(hash, |id| {
            let known = entries[id as usize].context.as_ref();
            known.is_some_and(|known| known == context)
        })
    }

    fn create(&mut self, hash: u32, context: Context, epoch: u32) -> u32 {
        self.arrivals += 1;
        if context.is_overflow() {
            self.overflow += 1;
        } else {
            self.live += 1;
        }
        if self.rules.limits.contexts_per_name_max > 0 {
            let key = (context.kind(), Box::from(context.name()));
            *self.per_name.entry(key).or_insert(0) += 1;
        }
        let entry = Entry { context: Some(context.clone()), epoch, cell: NO_CELL };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                // Below `DROP_BASE`: `contexts_max` and the overflow contexts bound the entries.
                (self.entries.len() - 1) as u32
            }
        };
        let (entries, state) = (&self.entries, &self.state);
        self.identities.insert(hash, id, |other| hash_of(entries, other, state));
        self.births.push(Birth { id, context, settings: None });
        id
    }

    /// The entry of a live context.
    #[inline]
    pub fn entry(&mut self, id: u32) -> &mut Entry {
        &mut self.entries[id as usize]
    }

    /// The distribution that copies a histogram, if [`Contexts::set_copy`] named one.
    #[must_use]
    pub fn copy(&self, histogram: u32) -> Option<u32> {
        self.copies.get(histogram as usize).copied().filter(|copy| *copy != NO_CONTEXT)
    }

    /// From now on this distribution copies the histogram.
    pub fn set_copy(&mut self, histogram: u32, copy: u32) {
        let at = histogram as usize;
        if self.copies.len() <= at {
            self.copies.resize(at + 1, NO_CONTEXT);
        }
        self.copies[at] = copy;
    }

    /// The identity of a live context.
    #[must_use]
    pub fn context(&self, id: u32) -> Option<&Context> {
        self.entries.get(id as usize).and_then(|entry| entry.context.as_ref())
    }

    /// Contexts alive, overflow contexts included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live + self.overflow
    }

    /// True when no context is alive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Contexts made, lines of new contexts past a cap, and reports of clients on themselves, since
    /// the start: grows with every line that the list of senders looks at twice.
    #[inline]
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// Of the [`Contexts::arrivals`], lines past a cap.
    #[must_use]
    pub fn past_cap_count(&self) -> u64 {
        self.past_cap
    }

    /// Of the [`Contexts::arrivals`], lines of [`CLIENT_TELEMETRY`].
    #[must_use]
    pub fn client_reports(&self) -> u64 {
        self.client_reports
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> FirstSightCounts {
        std::mem::take(&mut self.counts)
    }

    /// Which names asked for contexts past a cap since the last call.
    pub fn take_heavy_hitters(&mut self) -> HeavyHitters {
        std::mem::take(&mut self.heavy)
    }

    /// Remembered raw keys.
    #[must_use]
    pub fn aliases(&self) -> usize {
        self.aliases.len()
    }

    /// Contexts born since the last [`Contexts::take_changes`].
    #[must_use]
    pub fn births(&self) -> &[Birth] {
        &self.births
    }

    /// Bytes of the remembered raw keys, beyond the contexts themselves.
    #[must_use]
    pub fn alias_bytes(&self) -> usize {
        self.aliases.bytes()
    }

    /// Takes the contexts born and gone since the last call, deaths first to be applied. A context
    /// with new settings comes (again) with them, after its birth.
    pub fn take_changes(&mut self) -> (Vec<Birth>, Vec<u32>) {
        for id in std::mem::take(&mut self.resettled) {
            let Some(known) = self.settled.get_mut(&id).filter(|known| known.unsent) else {
                continue;
            };
            known.unsent = false;
            let settings = known.settings.clone();
            if settings.is_none() {
                self.settled.remove(&id);
            }
            if let Some(context) = self.entries[id as usize].context.clone() {
                self.births.push(Birth { id, context, settings });
            }
        }
        (std::mem::take(&mut self.births), std::mem::take(&mut self.deaths))
    }

    /// Starts forgetting what no bucket since `oldest` has seen. An unfinished sweep goes on with
    /// its own bound.
    pub fn start_sweep(&mut self, oldest: u32) {
        if self.sweep.is_none() {
            let entry = self.entries.len();
            self.sweep = Some(Sweep { oldest, segment: 0, entry });
        }
    }

    /// True while a sweep has more to do.
    #[must_use]
    pub fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// One bounded step of the sweep; true while there is more to do.
    ///
    /// Aliases go first: an alias is never younger than its context, so when ids are freed nothing
    /// points at them any more.
    pub fn sweep_step(&mut self) -> bool {
        let Some(sweep) = &mut self.sweep else { return false };
        if sweep.segment < self.aliases.segments() {
            self.aliases.sweep_segment(sweep.segment, sweep.oldest);
            sweep.segment += 1;
            return true;
        }
        // The end may have been given back meanwhile.
        let (to, oldest) = (sweep.entry.min(self.entries.len()), sweep.oldest);
        let from = to.saturating_sub(SWEEP_ENTRIES);
        sweep.entry = from;
        (from..to).for_each(|id| self.bury(id, oldest));
        let more = self.free.trim(&mut self.entries, SWEEP_ENTRIES);
        let finished = from == 0 && !more;
        if finished {
            self.sweep = None;
            self.give_back();
        }
        !finished
    }

    /// Of what lies beside the entries.
    fn give_back(&mut self) {
        self.copies.truncate(self.entries.len());
        give_back(&mut self.copies);
        // Moving the rest takes time, so only where hardly any is left of many.
        let is_waste = |used: usize, capacity: usize| capacity > 4_096 && used * 64 < capacity;
        if is_waste(self.settled.len(), self.settled.capacity()) {
            self.settled.shrink_to_fit();
        }
        if is_waste(self.per_name.len(), self.per_name.capacity()) {
            self.per_name.shrink_to_fit();
        }
    }

    fn bury(&mut self, id: usize, oldest: u32) {
        let entry = &mut self.entries[id];
        if entry.epoch >= oldest {
            return;
        }
        let Some(context) = entry.context.take() else { return };
        let hash = context.short_identity_hash(&self.state);
        let number = id as u32;
        let (entries, state) = (&self.entries, &self.state);
        self.identities.remove(hash, number, |other| hash_of(entries, other, state));
        if let Some(copy) = self.copies.get_mut(id) {
            *copy = NO_CONTEXT;
        }
        self.settled.remove(&number);
        if context.is_overflow() {
            self.overflow -= 1;
        } else {
            self.live -= 1;
        }
        if self.rules.limits.contexts_per_name_max > 0 {
            self.forget_name(&context);
        }
        self.free.insert(number);
        self.deaths.push(number);
    }

    fn forget_name(&mut self, context: &Context) {
        let key = (context.kind(), Box::from(context.name()));
        if let Some(count) = self.per_name.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.per_name.remove(&key);
            }
        }
    }
}

/// The hash of a number in the table of identities; 0 for an unused one, which the table never asks for.
fn hash_of(entries: &[Entry], id: u32, state: &RandomState) -> u32 {
    let known = entries.get(id as usize).and_then(|entry| entry.context.as_ref());
    known.map_or(0, |context| context.short_identity_hash(state))
}

#[cfg(test)]
mod tests;
