//! Repair: a part that came after its interval was settled, or that began below what this owner read, is
//! never posted alone. The log still has the rest: late parts are collected for 5 s, then a second
//! consumer reads the piece of the log again that holds their intervals, only their series are kept, and
//! the whole values are posted. What was not rebuilt is not posted.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use crate::part::{Key, KeyPool, KeyRef, Merged, Part, PartId};

use super::accounting::Count;
use super::ids::{PostingId, RepairId};
use super::interval::ID_BYTES;
use super::settings::{OwnerSettings, REPAIR_COLLECT, REPAIR_LEAD};

/// Which series of an interval are rebuilt.
#[derive(Debug)]
pub(super) enum Wanted {
    /// All that there are; so many were known.
    All(usize),
    Series(HashSet<Key, RandomState>),
}

/// One interval to rebuild.
#[derive(Debug)]
pub(super) struct Target {
    wanted: Wanted,
    /// Parts that the pass must find again, or it has missed something.
    ids: HashSet<PartId, RandomState>,
    /// Nothing from here on is committed before it is repaired.
    first_offset: i64,
    pub count: Count,
    pub attempts: u32,
}

/// The late parts of a partition that wait for a repair, by the start of their interval.
#[derive(Debug)]
pub(super) struct Late {
    targets: BTreeMap<u64, Target>,
    since: Duration,
    state: RandomState,
}

impl Late {
    pub fn new(state: RandomState) -> Late {
        Late { targets: BTreeMap::new(), since: Duration::ZERO, state }
    }

    /// A late part that does not wait yet.
    pub fn collect(
        &mut self,
        part: Part<KeyRef<'_>>,
        offset: i64,
        now: Duration,
        keys: &mut KeyPool,
    ) {
        let target = self.target(part.head.start, offset, now);
        target.ids.insert(part.head.id());
        target.count += Count::of(&part.head);
        if let Wanted::Series(series) = &mut target.wanted {
            for cell in part.cells {
                if !series.contains(cell.key.as_ref()) {
                    series.insert(keys.intern(cell.key));
                }
            }
        }
    }

    /// What was merged of an interval is to be rebuilt: these series of it, or all (`known` so far).
    pub fn give(
        &mut self,
        start: u64,
        (ids, count, offset): (HashSet<PartId, RandomState>, Count, i64),
        (series, known): (Option<&Merged>, usize),
        now: Duration,
    ) {
        let target = self.target(start, offset, now);
        target.count += count;
        target.ids.extend(ids);
        match (series, &mut target.wanted) {
            (None, wanted) => *wanted = Wanted::All(known),
            (Some(merged), Wanted::Series(series)) => {
                series.extend(merged.iter().map(|row| row.key.clone()));
            }
            (Some(_), Wanted::All(_)) => (),
        }
    }

    fn target(&mut self, start: u64, offset: i64, now: Duration) -> &mut Target {
        if self.targets.is_empty() {
            self.since = now;
        }
        let state = &self.state;
        let target = self.targets.entry(start).or_insert_with(|| Target {
            wanted: Wanted::Series(HashSet::with_hasher(state.clone())),
            ids: HashSet::with_hasher(state.clone()),
            first_offset: offset,
            count: Count::default(),
            attempts: 0,
        });
        target.first_offset = target.first_offset.min(offset);
        target
    }

    /// Targets of a pass that failed wait again.
    pub fn put_back(&mut self, targets: impl Iterator<Item = (u64, Target)>, now: Duration) {
        for (start, failed) in targets {
            let target = self.target(start, failed.first_offset, now);
            target.count += failed.count;
            target.attempts = target.attempts.max(failed.attempts);
            target.ids.extend(failed.ids);
            match (failed.wanted, &mut target.wanted) {
                (Wanted::All(known), wanted) => *wanted = Wanted::All(known),
                (Wanted::Series(more), Wanted::Series(series)) => series.extend(more),
                (Wanted::Series(_), Wanted::All(_)) => (),
            }
        }
        self.since = now;
    }

    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    pub fn contains(&self, start: u64) -> bool {
        self.targets.contains_key(&start)
    }

    pub fn starts(&self) -> Vec<u64> {
        self.targets.keys().copied().collect()
    }

    /// True when this part of the interval waits.
    pub fn has(&self, id: &PartId) -> bool {
        self.targets.get(&id.start).is_some_and(|target| target.ids.contains(id))
    }

    /// Since when the first of them waits, once they were collected long enough.
    pub fn due(&self, now: Duration) -> Option<Duration> {
        (!self.is_empty() && now >= self.since + REPAIR_COLLECT).then_some(self.since)
    }

    pub fn first_offset(&self) -> Option<i64> {
        self.targets.values().map(|target| target.first_offset).min()
    }

    pub fn count(&self) -> Count {
        let mut sum = Count::default();
        self.targets.values().for_each(|target| sum += target.count);
        sum
    }

    /// Drops the intervals for which `expired` holds.
    pub fn drop_expired(&mut self, expired: impl Fn(u64) -> bool) -> Count {
        let mut dropped = Count::default();
        self.targets.retain(|start, target| {
            let drop = expired(*start);
            if drop {
                dropped += target.count;
            }
            !drop
        });
        dropped
    }

    /// What one pass rebuilds: the oldest of those that are ready, at least one, and together no more
    /// series than `series_max`. The others are next, after those of partitions that have waited longer.
    pub fn take(
        &mut self,
        ready: impl Fn(u64) -> bool,
        series_max: usize,
        now: Duration,
    ) -> BTreeMap<u64, Target> {
        let mut series = 0;
        let mut chosen = Vec::new();
        for (start, target) in self.targets.iter().filter(|(start, _)| ready(**start)) {
            series += match &target.wanted {
                Wanted::All(known) => *known,
                Wanted::Series(keys) => keys.len(),
            };
            if series > series_max && !chosen.is_empty() {
                break;
            }
            chosen.push(*start);
        }
        self.since = now.saturating_sub(REPAIR_COLLECT);
        chosen.iter().filter_map(|start| self.targets.remove_entry(start)).collect()
    }

    pub fn heap_bytes(&self) -> usize {
        self.targets.values().map(Target::heap_bytes).sum()
    }
}

impl Target {
    fn heap_bytes(&self) -> usize {
        let series = match &self.wanted {
            Wanted::All(_) => 0,
            Wanted::Series(series) => series.capacity() * (size_of::<Key>() + 1),
        };
        series + self.ids.capacity() * ID_BYTES + size_of::<Self>()
    }
}

/// One interval as a pass rebuilds it.
#[derive(Debug)]
pub(super) struct Rebuild {
    pub target: Target,
    pub merged: Arc<Merged>,
    seen: HashSet<PartId, RandomState>,
    pub posted: bool,
    /// It was withheld because the lease had ended.
    pub fenced: bool,
    pub unanswered: Option<PostingId>,
}

/// The one repair pass of an owner that is under way.
#[derive(Debug)]
pub(super) struct Pass {
    pub id: RepairId,
    pub partition: u32,
    /// Ends before this offset.
    pub until: i64,
    pub rebuilds: BTreeMap<u64, Rebuild>,
    /// Every record was read; the values are posted.
    pub is_read: bool,
    keys: KeyPool,
}

impl Pass {
    pub fn new(
        (id, partition, until): (RepairId, u32, i64),
        targets: BTreeMap<u64, Target>,
        settings: &OwnerSettings,
        state: &RandomState,
    ) -> Pass {
        let rebuild = |(start, target)| {
            let rebuild = Rebuild {
                target,
                merged: Arc::new(Merged::new(settings.set_members_max, state.clone())),
                seen: HashSet::with_hasher(state.clone()),
                posted: false,
                fenced: false,
                unanswered: None,
            };
            (start, rebuild)
        };
        let rebuilds = targets.into_iter().map(rebuild).collect();
        Pass { id, partition, until, rebuilds, is_read: false, keys: KeyPool::new(state.clone()) }
    }

    /// Where it begins to read: early enough for every part of its oldest interval. After a pass that
    /// missed something: with the oldest record.
    pub fn from(&self, settings: &OwnerSettings) -> Duration {
        let retried = self.rebuilds.values().any(|rebuild| rebuild.target.attempts > 0);
        match self.rebuilds.keys().next() {
            Some(oldest) if !retried => settings.end(*oldest).saturating_sub(REPAIR_LEAD),
            _ => Duration::ZERO,
        }
    }

    /// True when the pass needs the cells of this part.
    pub fn needs(&self, id: &PartId) -> bool {
        self.rebuilds.get(&id.start).is_some_and(|rebuild| !rebuild.seen.contains(id))
    }

    /// A part that was read again and is needed.
    pub fn read(&mut self, mut part: Part<KeyRef<'_>>) {
        let Some(rebuild) = self.rebuilds.get_mut(&part.head.start) else { return };
        rebuild.seen.insert(part.head.id());
        if let Wanted::Series(series) = &rebuild.target.wanted {
            part.cells.retain(|cell| series.contains(cell.key.as_ref()));
        }
        if let Some(merged) = Arc::get_mut(&mut rebuild.merged) {
            merged.merge(part, &mut self.keys);
        }
    }

    /// The intervals of which a late part was not found, taken out.
    pub fn take_missed(&mut self) -> Vec<(u64, Target)> {
        let missed = |rebuild: &Rebuild| !rebuild.target.ids.is_subset(&rebuild.seen);
        let starts = self.rebuilds.iter().filter(|(_, rebuild)| missed(rebuild));
        let starts: Vec<u64> = starts.map(|(start, _)| *start).collect();
        let take = |start| self.rebuilds.remove(&start).map(|rebuild| (start, rebuild.target));
        starts.into_iter().filter_map(take).collect()
    }

    pub fn take_all(&mut self) -> Vec<(u64, Target)> {
        let rebuilds = std::mem::take(&mut self.rebuilds);
        rebuilds.into_iter().map(|(start, rebuild)| (start, rebuild.target)).collect()
    }

    pub fn contains(&self, start: u64) -> bool {
        self.rebuilds.contains_key(&start)
    }

    /// True when this part is one that the pass repairs.
    pub fn has(&self, id: &PartId) -> bool {
        self.rebuilds.get(&id.start).is_some_and(|rebuild| rebuild.target.ids.contains(id))
    }

    pub fn first_offset(&self) -> Option<i64> {
        self.rebuilds.values().map(|rebuild| rebuild.target.first_offset).min()
    }

    /// True when everything is posted and answered.
    pub fn is_done(&self) -> bool {
        let done = |rebuild: &Rebuild| rebuild.posted && rebuild.unanswered.is_none();
        self.is_read && self.rebuilds.values().all(done)
    }

    pub fn count(&self) -> Count {
        let mut sum = Count::default();
        self.rebuilds.values().for_each(|rebuild| sum += rebuild.target.count);
        sum
    }

    pub fn heap_bytes(&self) -> usize {
        let bytes = |rebuild: &Rebuild| {
            rebuild.target.heap_bytes()
                + rebuild.merged.heap_bytes()
                + rebuild.seen.capacity() * ID_BYTES
        };
        self.rebuilds.values().map(bytes).sum::<usize>() + self.keys.heap_bytes()
    }
}
