//! The contexts of all lanes under one number each, and how long counters are continued.

use std::collections::HashMap;

use ahash::RandomState;

use super::grouped;
use super::overrides::{KnownScope, PostingOverride, PostingOverrides};
use crate::context::{Birth, Context, FreeIds, IdTable, Kind, give_back, prefetch};

/// A context as the flusher knows it. There are as many as contexts, so it is kept small: what few
/// of them have is kept in side tables.
#[derive(Debug)]
pub(super) struct Known {
    pub context: Context,
    /// Start of the last bucket that had a cell of this counter or held gauge, [`NEVER`] when it is
    /// not continued.
    continued_from: u32,
    /// Lanes in which it is alive.
    lanes: u16,
    /// Another context posts under the same name, host and tags: it, or an aggregate of it where it is a
    /// histogram.
    rivaled: bool,
    /// Who posts it.
    scope: KnownScope,
}

/// How far ahead a context's key is loaded, and by as much again its place in the list: keys of one name lie all
/// over the memory, and the processor has to find most of their pages first. 20 were 4 % faster than 8.
const AHEAD: usize = 20;

/// No start of a bucket: the last second that 32 bits can hold, in 2106.
const NEVER: u32 = u32::MAX;

/// The start of a bucket in 32 bits.
fn short(start: u64) -> u32 {
    u32::try_from(start).unwrap_or(NEVER).min(NEVER - 1)
}

impl Known {
    /// Another kind, or an aggregate of a histogram, posts its series too.
    pub fn contested(&self) -> bool {
        self.rivaled && self.context.kind() != Kind::Histogram
    }

    /// A histogram of which some aggregate is posted under the name of another context.
    pub fn shadowed(&self) -> bool {
        self.rivaled && self.context.kind() == Kind::Histogram
    }

    fn continued_from(&self) -> Option<u64> {
        (self.continued_from != NEVER).then_some(u64::from(self.continued_from))
    }
}

/// Every context the flusher has to know, by number.
#[derive(Debug)]
pub(super) struct Registry {
    state: RandomState,
    known: Vec<Option<Known>>,
    free: FreeIds,
    /// How the few are posted that are not posted as usual.
    overrides: HashMap<u32, Box<PostingOverride>, RandomState>,
    /// The last values of gauges that are continued.
    held: HashMap<u32, f64, RandomState>,
    /// By name, host and tags, not by kind: kinds that would post one series meet here.
    series: IdTable,
    /// Lane, then id in the lane, to number.
    numbers: Vec<Vec<u32>>,
    /// Counters and held gauges to continue.
    continued: Vec<u32>,
    by_kind: [usize; Kind::ALL.len()],
    /// Some context was ever contested: most servers never have one.
    any_contested: bool,
    /// Some context was ever global: only then is any cell looked at.
    any_global: bool,
    /// Two contexts of one lane may have one number: a reload made a tag that clients send common to all.
    any_united: bool,
}

/// The kinds that post a series of the bare name.
const BARE_KINDS: [Kind; 3] = [Kind::Counter, Kind::Gauge, Kind::Set];

impl Registry {
    pub fn new(lanes: usize, state: RandomState) -> Self {
        Registry {
            overrides: HashMap::with_hasher(state.clone()),
            held: HashMap::with_hasher(state.clone()),
            state,
            known: Vec::new(),
            free: FreeIds::default(),
            series: IdTable::default(),
            numbers: vec![Vec::new(); lanes],
            continued: Vec::new(),
            by_kind: [0; Kind::ALL.len()],
            any_contested: false,
            any_global: false,
            any_united: false,
        }
    }

    /// Applies what a lane's bucket says of contexts: deaths first, their ids are used again.
    /// A birth under a known id brings new settings.
    pub fn apply(
        &mut self,
        lane: usize,
        deaths: &[u32],
        births: &[Birth],
        overrides: &mut PostingOverrides,
    ) {
        for id in deaths {
            if let Some(number) = self.numbers[lane].get_mut(*id as usize) {
                let number = std::mem::replace(number, u32::MAX);
                self.leave(number);
            }
        }
        for birth in grouped::by_name(births, &self.state) {
            let known = self.number(lane, birth.id);
            let united = overrides.united(&birth.context);
            self.any_united |= united.is_some();
            let context = united.as_ref().unwrap_or(&birth.context);
            let number = if known == u32::MAX { self.enter(context, overrides) } else { known };
            self.post_as(number, overrides.of(context, birth.settings.as_ref()));
            let numbers = &mut self.numbers[lane];
            let id = birth.id as usize;
            if numbers.len() <= id {
                numbers.resize(id + 1, u32::MAX);
            }
            numbers[id] = number;
        }
        if !deaths.is_empty() {
            self.shrink(lane);
        }
    }

    /// Gives back what the dead left at the ends of lists.
    fn shrink(&mut self, lane: usize) {
        let numbers = &mut self.numbers[lane];
        let end = numbers.iter().rposition(|number| *number != u32::MAX).map_or(0, |last| last + 1);
        numbers.truncate(end);
        while give_back(numbers) {}
        while self.free.trim(&mut self.known, usize::MAX) {}
    }

    /// New rules: how each context is posted is found out again. Returns old and new numbers of the
    /// contexts that are posted under another one from now on.
    pub fn set_overrides(&mut self, overrides: &mut PostingOverrides) -> Vec<(u32, u32)> {
        let moved = self.unite(overrides);
        for number in 0..self.known.len() as u32 {
            let old = self.overrides.remove(&number);
            if let Some(known) = self.known[number as usize].as_mut() {
                known.scope = overrides.scope(&known.context);
                let own = overrides.of_known(&known.context, old);
                self.post_as(number, own);
            }
            if self.get(number).is_some_and(|known| known.context.kind() == Kind::Histogram) {
                overrides
                    .suffixes()
                    .iter()
                    .for_each(|suffix| self.shadow(number, suffix.as_bytes()));
            }
        }
        moved
    }

    /// Contexts that differ only in tags that are common to all now become one.
    fn unite(&mut self, overrides: &PostingOverrides) -> Vec<(u32, u32)> {
        let mut moved = Vec::new();
        for number in 0..self.known.len() as u32 {
            let Some(known) = self.get(number) else { continue };
            let Some(united) = overrides.united(&known.context) else { continue };
            let (lanes, from) = (known.lanes, known.continued_from());
            let (held, own) = (self.held.remove(&number), self.overrides.remove(&number));
            self.forget(number);
            // The number may be used again at once, and then nothing has to be renamed.
            let new = self.enter(&united, overrides);
            if let Some(known) = self.known[new as usize].as_mut() {
                // Entering counted one lane.
                known.lanes = known.lanes - 1 + lanes;
            }
            if let Some(from) = from {
                let known = self.get(new).and_then(Known::continued_from);
                self.counted(new, from.max(known.unwrap_or(0)));
            }
            if let Some(value) = held {
                self.held.entry(new).or_insert(value);
            }
            if let Some(own) = own {
                self.overrides.entry(new).or_insert(own);
            }
            moved.push((number, new));
        }
        if moved.is_empty() {
            return moved;
        }
        self.any_united = true;
        let new: HashMap<u32, u32, RandomState> = moved.iter().copied().collect();
        for number in self.numbers.iter_mut().flatten() {
            *number = new.get(number).copied().unwrap_or(*number);
        }
        let all = self.known.iter().enumerate();
        let goes_on = |known: &Known| known.continued_from != NEVER;
        let continued = all.filter(|(_, known)| known.as_ref().is_some_and(goes_on));
        self.continued = continued.map(|(number, _)| number as u32).collect();
        moved
    }

    /// True when a lane may have several cells of one number.
    pub fn has_united(&self) -> bool {
        self.any_united
    }

    /// True when some context is or was global.
    pub fn has_global(&self) -> bool {
        self.any_global
    }

    /// Who posts a context.
    pub fn scope(&self, number: u32) -> KnownScope {
        self.get(number).map_or(KnownScope::Local, |known| known.scope)
    }

    /// Forgets all contexts of a lane.
    pub fn reset(&mut self, lane: usize) {
        std::mem::take(&mut self.numbers[lane]).into_iter().for_each(|number| self.leave(number));
        self.shrink(lane);
    }

    /// The number of a lane's context; `u32::MAX` for an id that was never born.
    #[inline]
    pub fn number(&self, lane: usize, id: u32) -> u32 {
        self.numbers[lane].get(id as usize).copied().unwrap_or(u32::MAX)
    }

    fn post_as(&mut self, number: u32, own: Option<Box<PostingOverride>>) {
        match own {
            Some(own) => drop(self.overrides.insert(number, own)),
            None => drop(self.overrides.remove(&number)),
        }
    }

    /// How it is posted, if not as usual.
    #[inline]
    pub fn override_of(&self, number: u32) -> Option<&PostingOverride> {
        if self.overrides.is_empty() { None } else { self.overrides.get(&number).map(|own| &**own) }
    }

    fn gauge_ttl(&self, number: u32) -> u64 {
        let profile = self.override_of(number).and_then(|own| own.profile.as_ref());
        profile.map_or(0, |profile| profile.gauge_ttl)
    }

    /// Seconds for which it is continued after its last value.
    fn lasts(&self, number: u32, kind: Kind, counter_expiry: u64) -> u64 {
        match kind {
            Kind::Counter => counter_expiry,
            _ => self.gauge_ttl(number),
        }
    }

    pub fn get(&self, number: u32) -> Option<&Known> {
        self.known.get(number as usize).and_then(Option::as_ref)
    }

    /// The items in order, while what is known of the contexts of later ones is being loaded: a million of
    /// them lie all over the memory.
    pub fn ahead<'a, T>(
        &'a self,
        items: &'a [T],
        number: impl Fn(&T) -> u32 + 'a,
    ) -> impl Iterator<Item = &'a T> {
        items.iter().enumerate().map(move |(at, item)| {
            if let Some(later) = items.get(at + 2 * AHEAD)
                && let Some(known) = self.known.get(number(later) as usize)
            {
                prefetch(known);
            }
            if let Some(next) = items.get(at + AHEAD)
                && let Some(known) = self.get(number(next))
            {
                known.context.prefetch();
            }
            item
        })
    }

    /// One past the largest number.
    pub fn numbers_end(&self) -> usize {
        self.known.len()
    }

    /// Contexts known, counters that are only continued included.
    pub fn len(&self) -> usize {
        self.known.len() - self.free.len()
    }

    /// As [`Registry::len`], by kind in the order of [`Kind::ALL`].
    pub fn by_kind(&self) -> [usize; Kind::ALL.len()] {
        self.by_kind
    }

    /// Every context known.
    pub fn contexts(&self) -> impl Iterator<Item = &Context> {
        self.known.iter().flatten().map(|known| &known.context)
    }

    fn enter(&mut self, context: &Context, overrides: &PostingOverrides) -> u32 {
        let hash = context.short_series_hash(&self.state);
        if let Some(number) = self.find(hash, context, context.kind()) {
            if let Some(known) = self.known[number as usize].as_mut() {
                known.lanes += 1;
            }
            return number;
        }
        let contested = self.contest(hash, context);
        self.any_contested |= contested;
        let scope = overrides.scope(context);
        self.any_global |= scope != KnownScope::Local;
        self.by_kind[context.kind() as usize] += 1;
        let context = context.clone();
        let (continued_from, lanes, rivaled) = (NEVER, 1, contested);
        let known = Known { context, continued_from, lanes, rivaled, scope };
        let number = match self.free.pop() {
            Some(number) => {
                self.known[number as usize] = Some(known);
                number
            }
            None => {
                self.known.push(Some(known));
                (self.known.len() - 1) as u32
            }
        };
        let (all, state) = (&self.known, &self.state);
        self.series.insert(hash, number, |other| hash_of(all, other, state));
        for suffix in overrides.suffixes() {
            self.shadow(number, suffix.as_bytes());
        }
        number
    }

    /// Marks a histogram and the context that has the name of one of its aggregates, from either.
    fn shadow(&mut self, number: u32, suffix: &[u8]) {
        let Some(known) = self.get(number) else { return };
        let context = &known.context;
        // Of global series their owner posts one.
        if context.is_global() {
            return;
        }
        let rivals: Vec<(u32, u32)> = if context.kind() == Kind::Histogram {
            let name = [context.name(), suffix].concat();
            let hash = context.short_series_hash_as(&name, &self.state);
            let found =
                BARE_KINDS.iter().filter_map(|kind| self.find_as(hash, &name, context, *kind));
            found.map(|bare| (number, bare)).collect()
        } else if let Some(name) = bare_name(context).and_then(|name| name.strip_suffix(suffix)) {
            let hash = context.short_series_hash_as(name, &self.state);
            let found = self.find_as(hash, name, context, Kind::Histogram);
            found.map(|histogram| (histogram, number)).into_iter().collect()
        } else {
            return;
        };
        for (histogram, bare) in rivals {
            if let Some(known) = self.known[histogram as usize].as_mut() {
                known.rivaled = true;
            }
            if let Some(known) = self.known[bare as usize].as_mut() {
                (known.rivaled, self.any_contested) = (true, true);
            }
        }
    }

    /// The number of a context that is known.
    pub fn number_of(&self, context: &Context) -> Option<u32> {
        let hash = context.short_series_hash_as(context.name(), &self.state);
        self.find(hash, context, context.kind())
    }

    fn find(&self, hash: u32, context: &Context, kind: Kind) -> Option<u32> {
        self.find_as(hash, context.name(), context, kind)
    }

    /// The context of that kind that posts the series of `context` under another name.
    fn find_as(&self, hash: u32, name: &[u8], context: &Context, kind: Kind) -> Option<u32> {
        let is_it = |known: &Known| {
            known.context.kind() == kind && context.same_series_as(name, &known.context)
        };
        self.series.find(hash, |number| self.get(number).is_some_and(is_it))
    }

    /// Marks other kinds that would post the same series; true when there is one.
    fn contest(&mut self, hash: u32, context: &Context) -> bool {
        if !BARE_KINDS.contains(&context.kind()) || context.is_global() {
            return false;
        }
        let rivals: Vec<u32> = BARE_KINDS
            .iter()
            .filter(|kind| **kind != context.kind())
            .filter_map(|kind| self.find(hash, context, *kind))
            .collect();
        for rival in &rivals {
            if let Some(known) = self.known[*rival as usize].as_mut() {
                known.rivaled = true;
            }
        }
        !rivals.is_empty()
    }

    /// True when some context is or was contested.
    pub fn has_contested(&self) -> bool {
        self.any_contested
    }

    /// What all rivals for one series share; that two contested series share it takes a collision
    /// of a keyed 64-bit hash.
    pub fn series_key(&self, number: u32) -> u64 {
        self.get(number).map_or(0, |known| known.context.series_hash(&self.state))
    }

    /// The [`Registry::series_key`] under which a histogram posts one of its values.
    pub fn aggregate_key(&self, histogram: &Context, suffix: &str) -> u64 {
        let name = [histogram.name(), suffix.as_bytes()].concat();
        histogram.series_hash_as(&name, &self.state)
    }

    fn leave(&mut self, number: u32) {
        let Some(known) = self.known.get_mut(number as usize).and_then(Option::as_mut) else {
            return;
        };
        known.lanes = known.lanes.saturating_sub(1);
        if known.lanes == 0 && known.continued_from == NEVER {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u32) {
        if let Some(known) = self.known[number as usize].take() {
            self.by_kind[known.context.kind() as usize] -= 1;
            let hash = known.context.short_series_hash(&self.state);
            let (all, state) = (&self.known, &self.state);
            self.series.remove(hash, number, |other| hash_of(all, other, state));
            self.overrides.remove(&number);
            self.held.remove(&number);
            self.free.insert(number);
        }
    }

    /// The counter had a cell in the bucket that starts at `start`.
    #[inline]
    pub fn counted(&mut self, number: u32, start: u64) {
        let Some(known) = self.known.get_mut(number as usize).and_then(Option::as_mut) else {
            return;
        };
        if std::mem::replace(&mut known.continued_from, short(start)) == NEVER {
            self.continued.push(number);
        }
    }

    /// The gauge had this value in the bucket that starts at `start`; remembered if it is to be
    /// posted again.
    pub fn hold(&mut self, number: u32, start: u64, value: f64) {
        if self.gauge_ttl(number) > 0 {
            self.held.insert(number, value);
            self.counted(number, start);
        }
    }

    /// Calls `visit` for every counter that the bucket at `start` has to continue with 0 and every
    /// gauge with the value that it holds, and forgets those whose time is over.
    pub fn continue_all(
        &mut self,
        start: u64,
        counter_expiry: u64,
        visit: &mut dyn FnMut(u32, Continued),
    ) {
        let mut continued = std::mem::take(&mut self.continued);
        continued.retain(|number| {
            let Some(known) = self.get(*number) else { return false };
            let from = known.continued_from().unwrap_or(0);
            if from >= start {
                return true;
            }
            let kind = self.kind_continued(known);
            let filtered = self.override_of(*number).is_some_and(|own| own.filtered);
            if from.saturating_add(self.lasts(*number, kind, counter_expiry)) > start && !filtered {
                let held = self.held.get(number).filter(|_| kind == Kind::Gauge);
                visit(*number, held.map_or(Continued::Zero, |value| Continued::Held(*value)));
                return true;
            }
            self.held.remove(number);
            if let Some(known) = self.known[*number as usize].as_mut() {
                known.continued_from = NEVER;
                if known.lanes == 0 {
                    self.forget(*number);
                }
            }
            false
        });
        while give_back(&mut continued) {}
        self.continued = continued;
        while self.free.trim(&mut self.known, usize::MAX) {}
    }

    /// The latest start until which zeros of counters go on.
    pub fn counters_until(&self, counter_expiry: u64) -> Option<u64> {
        let counters =
            self.continued_known().filter(|(_, known)| self.kind_continued(known) == Kind::Counter);
        let starts = counters.filter_map(|(_, known)| known.continued_from());
        starts.max().map(|start| start + counter_expiry)
    }

    /// The latest start of a bucket that is posted for what it continues, although the clock jumped
    /// over it. Gauges are held longer than counters only in buckets that lanes have passed: a jump
    /// of the clock by a month posts no month.
    pub fn continued_until(&self, counter_expiry: u64) -> Option<u64> {
        let until = |(number, known): (u32, &Known)| {
            let lasts = self.lasts(number, self.kind_continued(known), counter_expiry);
            Some(known.continued_from()? + lasts.min(counter_expiry))
        };
        self.continued_known().filter_map(until).max()
    }

    /// The kind of a context that is continued: all but held gauges are counters. Reading it from the key
    /// of each would load a million keys.
    fn kind_continued(&self, known: &Known) -> Kind {
        if self.held.is_empty() { Kind::Counter } else { known.context.kind() }
    }

    fn continued_known(&self) -> impl Iterator<Item = (u32, &Known)> {
        self.continued.iter().filter_map(|number| Some((*number, self.get(*number)?)))
    }
}

/// The hash of a number in the table of series; 0 for an unused one, which the table never asks for.
fn hash_of(all: &[Option<Known>], number: u32, state: &RandomState) -> u32 {
    let known = all.get(number as usize).and_then(Option::as_ref);
    known.map_or(0, |known| known.context.short_series_hash(state))
}

/// The name, if its kind posts under it as it stands.
fn bare_name(context: &Context) -> Option<&[u8]> {
    BARE_KINDS.contains(&context.kind()).then(|| context.name())
}

/// How a series without new values goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Continued {
    /// A counter: nothing was counted.
    Zero,
    /// A gauge: this is still its value.
    Held(f64),
}
