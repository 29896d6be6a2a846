//! Cells not yet flushed, spread over shards by key.
//!
//! All calls of one key meet in one shard, so "the first kind wins", "the last gauge wins" and the
//! order of distribution values need no more than that shard's lock. Only the order in which cells
//! came to life is global: each new cell takes the next number of one counter, and a flush sorts by
//! it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

use super::cell::{Cell, Kind};
use super::key::{Key, Wanted};
use super::losses::Loss;
use super::member::Member;
use super::number::Number;
use super::options::ClientLimits;

mod lanes;

pub(crate) use lanes::Bound;

/// More than any machine's threads need: two busy threads rarely meet.
const SHARDS: usize = 64;
/// Fewer handles are not worth looking through before a flush does.
const SWEEP_AT_MIN: usize = 64;
/// Values a shard takes from the common allowance at once.
const CREDIT: usize = 256;

/// A source of slots for full histograms: given `n`, a number below `n`.
pub(crate) type Slots = Mutex<Box<dyn FnMut(usize) -> usize + Send>>;

/// All shards of a client.
pub(crate) struct Shards {
    shards: Box<[Padded]>,
    /// Births so far; the number of a cell is its place in every report.
    births: AtomicU64,
    series: Allowance,
    values: Allowance,
    slots: Option<Slots>,
}

/// A shard alone on its cache lines, so that neighbours do not slow each other.
#[repr(align(128))]
struct Padded(Mutex<Shard>);

pub(crate) struct Shard {
    table: HashTable<u32>,
    entries: Vec<Entry>,
    bound: Vec<Arc<Bound>>,
    /// How many handles to hold before looking for dropped ones.
    sweep_at: usize,
    window: Window,
    credit: usize,
    random: u64,
}

/// One cell with what it belongs to.
pub(crate) struct Entry {
    pub(crate) start: Number,
    pub(crate) birth: u64,
    pub(crate) key: Arc<Key>,
    pub(crate) cell: Cell,
    hash: u64,
}

/// How much more may be held.
struct Allowance(AtomicUsize);

impl Allowance {
    /// Takes up to `count`, possibly nothing.
    fn take(&self, count: usize) -> usize {
        let mut taken = 0;
        let update = |left: usize| {
            taken = left.min(count);
            Some(left - taken)
        };
        // The update never declines, so both arms carry the earlier value and nothing is lost.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        taken
    }

    fn give(&self, count: usize) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

impl Shards {
    pub(crate) fn new(limits: ClientLimits, slots: Option<Slots>, seed: u64) -> Self {
        let shard = |index: u64| Shard {
            table: HashTable::new(),
            entries: Vec::new(),
            bound: Vec::new(),
            sweep_at: SWEEP_AT_MIN,
            window: Window::new(Number::Int(10)),
            credit: 0,
            // Any odd number keeps xorshift off its one fixed point, 0.
            random: seed.wrapping_add(index) | 1,
        };
        Shards {
            shards: (0..SHARDS as u64).map(|index| Padded(Mutex::new(shard(index)))).collect(),
            births: AtomicU64::new(0),
            series: Allowance(AtomicUsize::new(limits.series_max)),
            values: Allowance(AtomicUsize::new(limits.values_max)),
            slots,
        }
    }

    /// Feeds `value` at the time `timestamp` gives; a new cell becomes a `kind`.
    ///
    /// The time is read under the lock: a flush reads the clock before it drains a shard, so nothing
    /// recorded "now" falls into an interval that was already drained, where it would overwrite the
    /// point that was posted.
    pub(crate) fn record(
        &self,
        wanted: Wanted<'_>,
        timestamp: impl FnOnce() -> Number,
        kind: Kind,
        value: Member<'_>,
    ) -> Result<(), Loss> {
        let mut shard = self.lock(wanted.hash());
        let start = shard.start_of(timestamp());
        let index = self.cell(&mut shard, wanted, start, kind)?;
        self.feed(&mut shard, index, value)
    }

    /// The shard of a key.
    pub(crate) fn lock(&self, key_hash: u64) -> MutexGuard<'_, Shard> {
        // The table below uses the low bits and the top seven; these lie between.
        let index = (key_hash >> 48) as usize % SHARDS;
        self.shards[index].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of a key's cell in the interval beginning at `start`, made if need be.
    pub(crate) fn cell(
        &self,
        shard: &mut Shard,
        wanted: Wanted<'_>,
        start: Number,
        kind: Kind,
    ) -> Result<usize, Loss> {
        let hash = entry_hash(wanted.hash(), start);
        if let Some(index) = shard.find(hash, wanted, start) {
            return Ok(index);
        }
        let index = shard.entries.len();
        let Ok(slot) = u32::try_from(index) else { return Err(Loss::Full) };
        if self.series.take(1) == 0 {
            return Err(Loss::Full);
        }
        let birth = self.births.fetch_add(1, Ordering::Relaxed);
        let (key, cell) = (wanted.to_key(), Cell::new(kind));
        shard.entries.push(Entry { start, birth, key, cell, hash });
        let Shard { table, entries, .. } = shard;
        table.insert_unique(hash, slot, |slot| entries[*slot as usize].hash);
        Ok(index)
    }

    /// Feeds the cell at `index`, which [`Shards::cell`] gave under the same lock.
    pub(crate) fn feed(
        &self,
        shard: &mut Shard,
        index: usize,
        value: Member<'_>,
    ) -> Result<(), Loss> {
        if shard.entries[index].cell.grows_with(value) {
            if shard.credit == 0 {
                shard.credit = self.values.take(CREDIT);
            }
            shard.credit = shard.credit.checked_sub(1).ok_or(Loss::Full)?;
        }
        let Shard { entries, random, .. } = shard;
        match (&mut entries[index].cell, value) {
            (Cell::Set(members), member) => members.insert(member),
            (cell, value) => {
                let number = value.number().ok_or(Loss::NotANumber)?;
                cell.feed(number, |below| self.slot(random, below));
            }
        }
        Ok(())
    }

    fn slot(&self, random: &mut u64, below: usize) -> usize {
        if let Some(slots) = &self.slots {
            return slots.lock().unwrap_or_else(PoisonError::into_inner)(below);
        }
        // Marsaglia's xorshift64: cheap, and its quality is plenty to pick a victim.
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        ((u128::from(*random) * below as u128) >> 64) as usize
    }

    /// Takes every cell whose interval began before `cutoff`, in the order of their birth. `open` is
    /// the start of the open interval, where late additions of bound counters go.
    pub(crate) fn drain(&self, cutoff: Number, open: Option<Number>) -> Vec<Entry> {
        let mut drained = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.settle_bound(&mut shard, cutoff, open);
            shard.drain(cutoff, &mut drained);
        }
        self.give_back(&drained);
        drained.sort_unstable_by_key(|entry| entry.birth);
        drained
    }

    /// Moves what bound counters hold for intervals before `cutoff` into their cells.
    fn settle_bound(&self, shard: &mut Shard, cutoff: Number, open: Option<Number>) {
        let mut bound = std::mem::take(&mut shard.bound);
        bound.retain(|bound| {
            bound.settle(self, shard, cutoff, open);
            Bound::is_needed(bound)
        });
        shard.bound = bound;
    }

    /// Lets flushes settle a new handle. Callers that bind again for every call cannot grow this
    /// without end: handles dropped since are settled and forgotten.
    pub(crate) fn watch(&self, key_hash: u64, bound: &Arc<Bound>, open: Option<Number>) {
        let mut shard = self.lock(key_hash);
        if shard.bound.len() >= shard.sweep_at {
            let mut watched = std::mem::take(&mut shard.bound);
            watched.retain(|bound| {
                if Arc::strong_count(bound) == 1 {
                    bound.settle(self, &mut shard, Number::Float(f64::INFINITY), open);
                }
                Bound::is_needed(bound)
            });
            shard.sweep_at = (watched.len() * 2).max(SWEEP_AT_MIN);
            shard.bound = watched;
        }
        shard.bound.push(Arc::clone(bound));
    }

    /// Forgets every cell and takes a new bucket width; returns how many series were lost.
    pub(crate) fn restart(&self, roll_up: Number) -> usize {
        let mut discarded = 0;
        for shard in &self.shards {
            let mut shard = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            shard.bound.retain(|bound| {
                bound.forget();
                Bound::is_needed(bound)
            });
            let mut entries = Vec::new();
            shard.drain(Number::Float(f64::INFINITY), &mut entries);
            self.give_back(&entries);
            discarded += entries.len();
            shard.window = Window::new(roll_up);
        }
        discarded
    }

    fn give_back(&self, entries: &[Entry]) {
        self.series.give(entries.len());
        self.values.give(entries.iter().map(|entry| entry.cell.held()).sum());
    }
}

impl Shard {
    fn find(&self, hash: u64, wanted: Wanted<'_>, start: Number) -> Option<usize> {
        let same = |slot: &u32| {
            let entry = &self.entries[*slot as usize];
            entry.hash == hash && entry.start.cmp_value(start).is_eq() && wanted.is(&entry.key)
        };
        self.table.find(hash, same).map(|slot| *slot as usize)
    }

    /// The cell at a remembered place, if it is still the one with that birth.
    pub(crate) fn remembered(&self, index: usize, birth: u64, start: Number) -> Option<usize> {
        let entry = self.entries.get(index)?;
        (entry.birth == birth && entry.start.cmp_value(start).is_eq()).then_some(index)
    }

    pub(crate) fn entry(&self, index: usize) -> &Entry {
        &self.entries[index]
    }

    /// The start of the interval a timestamp falls into.
    pub(crate) fn start_of(&mut self, timestamp: Number) -> Number {
        self.window.start_of(timestamp)
    }

    fn drain(&mut self, cutoff: Number, drained: &mut Vec<Entry>) {
        let before = drained.len();
        drained.extend(self.entries.extract_if(.., |entry| entry.start.cmp_value(cutoff).is_lt()));
        if drained.len() == before {
            return;
        }
        self.table.clear();
        let Shard { table, entries, .. } = self;
        for (slot, entry) in entries.iter().enumerate() {
            // Fewer entries than before, and those were numbered with u32.
            table.insert_unique(entry.hash, slot as u32, |slot| entries[*slot as usize].hash);
        }
    }
}

/// The interval of the last float timestamp, which is nearly always that of the next: two
/// comparisons instead of a division.
struct Window {
    roll_up: Number,
    from: f64,
    until: f64,
}

impl Window {
    /// Past this the float after a start need not lie inside its interval.
    const EXACT_MAX: f64 = (1_u64 << 52) as f64;

    fn new(roll_up: Number) -> Self {
        Window { roll_up, from: 0.0, until: 0.0 }
    }

    fn start_of(&mut self, timestamp: Number) -> Number {
        let Number::Float(time) = timestamp else { return timestamp.floored_to(self.roll_up) };
        if self.from <= time && time < self.until {
            return Number::Float(self.from);
        }
        let start = timestamp.floored_to(self.roll_up);
        let (from, width) = (start.as_f64(), self.roll_up.as_f64());
        // Only whole widths give every timestamp of an interval the same start, to the last bit.
        if width.fract() == 0.0 && from.abs() + width < Self::EXACT_MAX {
            (self.from, self.until) = (from, from + width);
        }
        start
    }
}

/// Intervals compare by value, so the hash takes the float; an odd factor spreads its bits.
fn entry_hash(key_hash: u64, start: Number) -> u64 {
    let bits = (start.as_f64() + 0.0).to_bits(); // -0.0 becomes 0.0
    key_hash ^ (bits ^ (bits >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
impl Shards {
    pub(super) fn watched(&self) -> usize {
        let lock = |shard: &Padded| shard.0.lock().unwrap().bound.len();
        self.shards.iter().map(lock).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_intervals_start_where_division_says() {
        for roll_up in [Number::Int(10), Number::Float(7.0), Number::Float(0.1), Number::Int(1)] {
            let mut window = Window::new(roll_up);
            for step in 0..2000 {
                let timestamp = Number::Float(f64::from(step) * 0.37 - 300.0);
                assert_eq!(window.start_of(timestamp), timestamp.floored_to(roll_up));
            }
        }
    }
}
