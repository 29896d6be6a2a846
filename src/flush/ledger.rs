//! The contexts of all lanes under one number each, and how long counters are continued.

use ahash::RandomState;
use hashbrown::HashTable;

use crate::context::{Birth, Context, Kind};

/// A context as the flusher knows it.
#[derive(Debug)]
pub(super) struct Known {
    pub context: Context,
    hash: u64,
    /// Lanes in which it is alive.
    lanes: u32,
    /// Start of the last bucket that had a cell of this counter; continued with zeros from there.
    continued_from: Option<u64>,
    /// Another kind posts under the same name, host and tags.
    pub contested: bool,
}

/// Everyone the flusher has to know, by number.
#[derive(Debug)]
pub(super) struct Ledger {
    state: RandomState,
    known: Vec<Option<Known>>,
    free: Vec<u32>,
    /// By name, host and tags, not by kind: kinds that would post one series meet here.
    series: HashTable<u32>,
    /// Lane, then id in the lane, to number.
    numbers: Vec<Vec<u32>>,
    /// Counters to continue.
    counters: Vec<u32>,
    by_kind: [usize; Kind::ALL.len()],
}

/// The kinds that post a series of the bare name.
const BARE_KINDS: [Kind; 3] = [Kind::Counter, Kind::Gauge, Kind::Set];

impl Ledger {
    pub fn new(lanes: usize, state: RandomState) -> Self {
        Ledger {
            state,
            known: Vec::new(),
            free: Vec::new(),
            series: HashTable::new(),
            numbers: vec![Vec::new(); lanes],
            counters: Vec::new(),
            by_kind: [0; Kind::ALL.len()],
        }
    }

    /// Applies what a lane's bucket says of contexts: deaths first, their ids are used again.
    pub fn apply(&mut self, lane: usize, deaths: &[u32], births: &[Birth]) {
        for id in deaths {
            if let Some(number) = self.numbers[lane].get_mut(*id as usize) {
                let number = std::mem::replace(number, u32::MAX);
                self.leave(number);
            }
        }
        for birth in births {
            let number = self.enter(&birth.context);
            let numbers = &mut self.numbers[lane];
            let id = birth.id as usize;
            if numbers.len() <= id {
                numbers.resize(id + 1, u32::MAX);
            }
            numbers[id] = number;
        }
    }

    /// Forgets all contexts of a lane.
    pub fn reset(&mut self, lane: usize) {
        std::mem::take(&mut self.numbers[lane]).into_iter().for_each(|number| self.leave(number));
    }

    /// The number of a lane's context; `u32::MAX` for an id that was never born.
    #[inline]
    pub fn number(&self, lane: usize, id: u32) -> u32 {
        self.numbers[lane].get(id as usize).copied().unwrap_or(u32::MAX)
    }

    pub fn get(&self, number: u32) -> Option<&Known> {
        self.known.get(number as usize).and_then(Option::as_ref)
    }

    /// One past the largest number.
    pub fn numbers_end(&self) -> usize {
        self.known.len()
    }

    /// Contexts known, counters that are only continued included.
    pub fn len(&self) -> usize {
        self.known.len() - self.free.len()
    }

    /// As [`Ledger::len`], by kind in the order of [`Kind::ALL`].
    pub fn by_kind(&self) -> [usize; Kind::ALL.len()] {
        self.by_kind
    }

    /// Everyone known.
    pub fn contexts(&self) -> impl Iterator<Item = &Context> {
        self.known.iter().flatten().map(|known| &known.context)
    }

    fn enter(&mut self, context: &Context) -> u32 {
        let hash = context.series_hash(&self.state);
        if let Some(number) = self.find(hash, context, context.kind()) {
            if let Some(known) = self.known[number as usize].as_mut() {
                known.lanes += 1;
            }
            return number;
        }
        let contested = self.contest(hash, context);
        self.by_kind[context.kind() as usize] += 1;
        let known =
            Known { context: context.clone(), hash, lanes: 1, continued_from: None, contested };
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
        let all = &self.known;
        self.series.insert_unique(hash, number, |other| {
            all[*other as usize].as_ref().map_or(0, |known| known.hash)
        });
        number
    }

    fn find(&self, hash: u64, context: &Context, kind: Kind) -> Option<u32> {
        let is_it = |known: &Known| {
            known.hash == hash && known.context.kind() == kind && known.context.same_series(context)
        };
        self.series
            .find(hash, |number| self.known[*number as usize].as_ref().is_some_and(is_it))
            .copied()
    }

    /// Marks other kinds that would post the same series; true when there is one.
    fn contest(&mut self, hash: u64, context: &Context) -> bool {
        if !BARE_KINDS.contains(&context.kind()) {
            return false;
        }
        let rivals: Vec<u32> = BARE_KINDS
            .iter()
            .filter(|kind| **kind != context.kind())
            .filter_map(|kind| self.find(hash, context, *kind))
            .collect();
        for rival in &rivals {
            if let Some(known) = self.known[*rival as usize].as_mut() {
                known.contested = true;
            }
        }
        !rivals.is_empty()
    }

    /// What all rivals for one series share; that two contested series share it takes a collision
    /// of a keyed 64-bit hash.
    pub fn series_key(&self, number: u32) -> u64 {
        self.get(number).map_or(0, |known| known.hash)
    }

    fn leave(&mut self, number: u32) {
        let Some(known) = self.known.get_mut(number as usize).and_then(Option::as_mut) else {
            return;
        };
        known.lanes = known.lanes.saturating_sub(1);
        if known.lanes == 0 && known.continued_from.is_none() {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u32) {
        if let Some(known) = self.known[number as usize].take() {
            self.by_kind[known.context.kind() as usize] -= 1;
            if let Ok(found) = self.series.find_entry(known.hash, |other| *other == number) {
                found.remove();
            }
            self.free.push(number);
        }
    }

    /// The counter had a cell in the bucket that starts at `start`.
    #[inline]
    pub fn counted(&mut self, number: u32, start: u64) {
        if let Some(known) = self.known.get_mut(number as usize).and_then(Option::as_mut) {
            if known.continued_from.replace(start).is_none() {
                self.counters.push(number);
            }
        }
    }

    /// Calls `visit` for every counter that the bucket at `start` has to continue with 0, and
    /// forgets those whose time is over.
    pub fn continue_counters(
        &mut self,
        start: u64,
        expiry_seconds: u64,
        visit: &mut dyn FnMut(u32),
    ) {
        let mut counters = std::mem::take(&mut self.counters);
        counters.retain(|number| {
            let Some(known) = self.known[*number as usize].as_mut() else { return false };
            let from = known.continued_from.unwrap_or(0);
            if from >= start {
                return true;
            }
            if from + expiry_seconds > start {
                visit(*number);
                return true;
            }
            known.continued_from = None;
            if known.lanes == 0 {
                self.forget(*number);
            }
            false
        });
        self.counters = counters;
    }

    /// Counters that are being continued, and the latest start until which zeros go on.
    pub fn continued_until(&self, expiry_seconds: u64) -> Option<u64> {
        let starts = self.counters.iter().filter_map(|number| self.get(*number)?.continued_from);
        starts.max().map(|start| start + expiry_seconds)
    }
}
