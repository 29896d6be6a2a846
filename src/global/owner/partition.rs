//! One owned partition: what happens with its records, and what is due at a tick.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::context::Kind;
use crate::forward::{Lease, PostingFate};
use crate::part::{
    self, Barrier, Head, KeyPool, Merged, Opened, PartError, SealedPart, SeriesNumber,
};

use super::accounting::Count;
use super::action::{Action, Differs, Notice};
use super::barrier::{Barriers, Due};
use super::commits::Commits;
use super::event::Now;
use super::floor::Floor;
use super::interval::Interval;
use super::repair::{Late, Pass};
use super::settings::{FLOOR_AHEAD_MAX, FUTURE_MAX};
use super::shared::{Place, Shared};
use super::zeros::Zeros;

/// Keys that nothing refers to any more are forgotten that often.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Partition {
    number: u32,
    pub lease: Arc<Lease>,
    /// The next offset to read.
    pub position: Option<i64>,
    floor: Floor,
    pub open: BTreeMap<u64, Interval>,
    pub late: Late,
    pub zeros: Zeros,
    barriers: Barriers,
    /// Since when a barrier would move the committed offset on.
    news_since: Option<Duration>,
    /// A record of a newer format stands here: nothing is read any more.
    pub held: bool,
    keys: KeyPool,
    swept: Duration,
    /// As last measured.
    pub bytes: usize,
}

impl Partition {
    pub fn new(number: u32, from: Option<i64>, shared: &Shared, now: Now) -> Partition {
        let state = &shared.state;
        Partition {
            number,
            lease: Arc::default(),
            position: from,
            floor: Floor::new(from),
            open: BTreeMap::new(),
            late: Late::new(state.clone()),
            zeros: Zeros::new(shared.settings.memory_max / 4, state.clone()),
            barriers: Barriers::default(),
            news_since: None,
            held: false,
            keys: KeyPool::new(state.clone()),
            swept: now.monotonic,
            bytes: 0,
        }
    }

    /// The next record. `pass` is the repair under way, if it is one of this partition.
    pub fn record(
        &mut self,
        shared: &mut Shared,
        pass: Option<&Pass>,
        (offset, bytes): (i64, &[u8]),
        now: Now,
        out: &mut Vec<Action>,
    ) {
        if self.held {
            // It was fetched before the pause.
            return;
        }
        let opened = part::open(bytes, &shared.settings.limits);
        if matches!(opened, Err(PartError::Format(_))) && !shared.settings.skip_unknown {
            self.held = true;
            out.push(Action::Pause { partition: self.number });
            out.push(Action::Notice(Notice::Held { partition: self.number, offset }));
            return;
        }
        self.position = self.position.max(Some(offset + 1));
        self.floor.read(offset, matches!(opened, Ok(Opened::Barrier(_))));
        match opened {
            Ok(Opened::Part(sealed)) => self.part(shared, pass, sealed, offset, now, out),
            Ok(Opened::Barrier(barrier)) => self.barrier(shared, barrier, offset, now),
            Err(error) => {
                shared.accounting.read += Count::UNREADABLE;
                shared.accounting.refuse(error.reason(), Count::UNREADABLE);
            }
        }
        if self.news_since.is_none() && self.floor.has_news() {
            self.news_since = Some(now.monotonic);
        }
    }

    fn part(
        &mut self,
        shared: &mut Shared,
        pass: Option<&Pass>,
        sealed: SealedPart<'_>,
        offset: i64,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let head = sealed.head();
        let (start, id, count) = (head.start, head.id(), Count::of(head));
        shared.accounting.read += count;
        if let Some(why) = self.refusal(shared, head, now) {
            if shared.senders.refused(head, why.reason(), now.wall) {
                out.push(Action::Notice(Notice::SenderRefused { host: head.host.clone(), why }));
            }
            return shared.accounting.refuse(why.reason(), count);
        }
        if let Some(skew) = shared.senders.part(head, self.barriers.is_caught_up(), now.wall) {
            out.push(Action::Notice(Notice::SenderSkewed { host: head.host.clone(), skew }));
        }
        let open = self.open.get(&start);
        if open.is_some_and(|interval| interval.ids.contains(&id))
            || pass.is_some_and(|pass| pass.has(&id))
            || self.late.has(&id)
        {
            shared.accounting.duplicate += count;
            return;
        }
        if open.is_none() && shared.is_too_old(start, now) {
            // The next ones of this interval are no more whole than this one would be.
            self.floor.pass_over(start);
            shared.accounting.too_old += count;
            return;
        }
        let is_late = match open {
            Some(interval) => interval.given_to_repair,
            None => self.floor.covers(start),
        };
        let part = match sealed.read(&shared.settings.limits, &mut shared.unpacker) {
            Ok(part) => part,
            Err(error) => return shared.accounting.refuse(error.reason(), count),
        };
        if is_late {
            shared.senders.late(&part.head.sender);
            shared.accounting.late += count;
            shared.accounting.late_waiting += count;
            self.late.collect(part, offset, now.monotonic, &mut self.keys);
        } else {
            shared.accounting.merged += count;
            let interval = self.open.entry(start);
            let interval =
                interval.or_insert_with(|| Interval::new(&shared.settings, &shared.state));
            interval.merge(part, offset, now.monotonic, &mut self.keys);
        }
    }

    fn refusal(&self, shared: &Shared, head: &Head, now: Now) -> Option<Differs> {
        let settings = &shared.settings;
        let end = settings.end(head.start);
        if head.partitions != settings.partitions {
            Some(Differs::Partitions { its: head.partitions, ours: settings.partitions })
        } else if head.partition != self.number {
            Some(Differs::Place)
        } else if head.interval != settings.interval {
            Some(Differs::Interval { its: head.interval, ours: settings.interval })
        } else if !head.start.is_multiple_of(u64::from(head.interval)) {
            Some(Differs::Unaligned)
        } else if end > now.wall + FUTURE_MAX {
            Some(Differs::Future { ahead: end.saturating_sub(now.wall).as_secs() })
        } else {
            None
        }
    }

    fn barrier(&mut self, shared: &mut Shared, barrier: Barrier, offset: i64, now: Now) {
        // What it carries is in the upper half.
        let carried = (barrier.number >> 32) as u32;
        if barrier.owner == shared.id && self.barriers.read_back(barrier.number).is_some() {
            self.floor.announced(carried, offset);
            self.news_since = self.floor.has_news().then_some(now.monotonic);
        } else if !self.barriers.is_caught_up()
            && Duration::from_secs(u64::from(carried)) <= now.wall + FLOOR_AHEAD_MAX
        {
            self.floor.inherit(carried);
            self.give_covered(shared, now);
        }
    }

    /// Intervals of which the parts in hand turn out not to be all: nothing of them was posted yet.
    fn give_covered(&mut self, shared: &mut Shared, now: Now) {
        while let Some(entry) = self.open.first_entry()
            && self.floor.covers(*entry.key())
        {
            let (start, interval) = entry.remove_entry();
            let Some(offset) = interval.first_offset else { continue };
            shared.accounting.merged -= interval.count;
            shared.accounting.late_waiting += interval.count;
            shared.accounting.late += interval.count;
            let parts = (interval.ids, interval.count, offset);
            let series = (Some(&*interval.merged), interval.merged.len());
            self.late.give(start, parts, series, now.monotonic);
        }
    }

    /// Gives up the cells of its newest interval that has any, the oldest apart. False without one.
    pub fn give_newest(&mut self, shared: &mut Shared, now: Now) -> bool {
        let oldest = self.open.keys().next().copied();
        let mut newest = self.open.iter_mut().rev();
        let full = |interval: &Interval| {
            interval.first_offset.is_some()
                && !interval.given_to_repair
                && interval.unanswered.is_none()
        };
        let Some((start, interval)) =
            newest.find(|(start, interval)| Some(**start) != oldest && full(interval))
        else {
            return false;
        };
        let count = interval.count;
        let known = interval.merged.len();
        let ids = interval.give_to_repair(&shared.settings);
        shared.accounting.merged -= count;
        shared.accounting.late_waiting += count;
        shared.accounting.late += count;
        shared.accounting.given_to_repair += 1;
        let offset = interval.first_offset.unwrap_or_default();
        self.late.give(*start, (ids, count, offset), (None, known), now.monotonic);
        true
    }

    /// The start of the newest interval that [`Partition::give_newest`] would give.
    pub fn newest_full(&self) -> Option<u64> {
        let full = |interval: &Interval| {
            interval.first_offset.is_some()
                && !interval.given_to_repair
                && interval.unanswered.is_none()
        };
        let newest = self.open.iter().skip(1).rev().find(|(_, interval)| full(interval));
        newest.map(|(start, _)| *start)
    }

    /// Everything that time or a barrier made due.
    pub fn tick(
        &mut self,
        shared: &mut Shared,
        pass: Option<&Pass>,
        commits: &mut Commits,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        self.open_empty(shared, now);
        self.post(shared, now, out);
        self.settle(shared, pass, now);
        if self.wants_barrier(shared, now) {
            self.send_barrier(shared, now, out);
        }
        if commits.is_due(now.monotonic) {
            self.commit(pass, commits, now, out);
        }
        if now.monotonic >= self.swept + SWEEP_EVERY {
            self.sweep(now);
        }
    }

    /// Intervals that ended and of which no part came, when a counter needs its zero there.
    fn open_empty(&mut self, shared: &Shared, now: Now) {
        let Some(until) = now.wall.checked_sub(shared.settings.grace) else { return };
        while let Some(start) = self.zeros.next_start(until.as_secs(), shared.settings.interval) {
            if !self.floor.covers(start) && !self.open.contains_key(&start) {
                self.open.insert(start, Interval::new(&shared.settings, &shared.state));
            }
        }
    }

    fn post(&mut self, shared: &mut Shared, now: Now, out: &mut Vec<Action>) {
        let holds = self.lease.holds(now.monotonic);
        for (start, interval) in &mut self.open {
            let place = Place::Interval { partition: self.number, start: *start };
            let first =
                !interval.posted && self.barriers.satisfy(interval.due(*start, &shared.settings));
            let correction = interval.has_correction(now.monotonic);
            if (first || correction) && !holds {
                if !std::mem::replace(&mut interval.fenced, true) {
                    shared.accounting.fenced += 1;
                }
                continue;
            }
            interval.fenced = false;
            if first {
                let zeros = self.zeros.of(*start, &interval.merged);
                interval.posted = true;
                if zeros.is_empty() && interval.merged.is_empty() {
                    continue;
                }
                note_counters(
                    &mut self.zeros,
                    &interval.merged,
                    None,
                    *start,
                    shared,
                    &mut self.keys,
                );
                let conflicts = interval.merged.iter().map(|row| row.type_conflicts as u64);
                shared.accounting.type_conflicts += conflicts.sum::<u64>();
                let id = shared.post(place, &self.lease, &interval.merged, None, zeros, out);
                interval.unanswered = Some(id);
            } else if correction {
                let chosen = interval.take_touched();
                note_counters(
                    &mut self.zeros,
                    &interval.merged,
                    Some(&chosen),
                    *start,
                    shared,
                    &mut self.keys,
                );
                shared.accounting.corrections += 1;
                let chosen = Some(chosen);
                let id = shared.post(place, &self.lease, &interval.merged, chosen, Vec::new(), out);
                interval.unanswered = Some(id);
            }
        }
    }

    /// A repaired interval is posted: its counters may need zeros from now on.
    pub fn note_repaired(&mut self, start: u64, merged: &Merged, shared: &Shared) {
        note_counters(&mut self.zeros, merged, None, start, shared, &mut self.keys);
    }

    /// In order, oldest first: posted, answered, and closed by a barrier.
    fn settle(&mut self, shared: &Shared, pass: Option<&Pass>, now: Now) {
        while let Some(entry) = self.open.first_entry() {
            let (start, interval) = (*entry.key(), entry.get());
            let in_repair =
                self.late.contains(start) || pass.is_some_and(|pass| pass.contains(start));
            if !interval.is_done() || interval.given_to_repair && in_repair {
                return;
            }
            if let Some(first) = interval.first_offset {
                if !self.barriers.satisfy(settle_due(start, shared)) {
                    return;
                }
                self.floor.settle(start, first);
                self.news_since.get_or_insert(now.monotonic);
            }
            entry.remove();
        }
    }

    fn wants_barrier(&self, shared: &Shared, now: Now) -> bool {
        if self.held || shared.paused || !self.barriers.may_send(shared.interval(), now) {
            return false;
        }
        let wanted = |due: Due| due.is_reached(now) && !self.barriers.satisfy(due);
        let first = |(start, interval): (&u64, &Interval)| {
            let waits = !interval.posted || interval.given_to_repair;
            waits && wanted(interval.due(*start, &shared.settings))
        };
        // The barriers of later intervals do for these; they are not in a hurry.
        let slack = shared.interval();
        let settle = |(start, interval): (&u64, &Interval)| {
            let due = settle_due(*start, shared);
            let last = Due { wall: due.wall + slack, ..due };
            interval.first_offset.is_some()
                && interval.is_done()
                && last.is_reached(now)
                && wanted(due)
        };
        let news = self.news_since.is_some_and(|since| now.monotonic >= since + 2 * slack);
        let repair = !self.barriers.is_caught_up() && self.late.due(now.monotonic).is_some();
        news || repair
            || self.open.first_key_value().is_some_and(settle)
            || self.open.iter().any(first)
    }

    fn send_barrier(&mut self, shared: &mut Shared, now: Now, out: &mut Vec<Action>) {
        shared.next_barrier = shared.next_barrier.wrapping_add(1);
        let number = u64::from(self.floor.carried()) << 32 | u64::from(shared.next_barrier);
        self.barriers.sent(number, now);
        shared.accounting.barriers += 1;
        let record = part::encode_barrier(&Barrier { owner: shared.id, number });
        out.push(Action::Barrier { partition: self.number, record });
    }

    /// Commits what nobody needs to read again.
    pub fn commit(
        &mut self,
        pass: Option<&Pass>,
        commits: &mut Commits,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let open = self.open.values().filter_map(|interval| interval.first_offset).min();
        let repair = pass.and_then(Pass::first_offset);
        let held = [open, self.late.first_offset(), repair].into_iter().flatten().min();
        if let Some(offset) = self.floor.commit(held) {
            commits.sent(offset, now.monotonic);
            out.push(Action::Commit { partition: self.number, offset });
        }
    }

    /// True when the interval may be rebuilt: what others appended was read, and it has ended.
    pub fn may_repair(&self, start: u64, shared: &Shared, now: Now) -> bool {
        let ended = now.wall >= shared.settings.end(start) + shared.settings.grace;
        let read = match self.open.get(&start) {
            Some(interval) => self.barriers.satisfy(interval.due(start, &shared.settings)),
            None => self.barriers.is_caught_up(),
        };
        ended && read
    }

    /// The answer to the posting of an interval.
    pub fn answered(&mut self, start: u64, fate: PostingFate) {
        if let Some(interval) = self.open.get_mut(&start) {
            interval.unanswered = None;
            if fate == PostingFate::Withdrawn {
                // Delivery ended under it, not the ownership.
                interval.posted = false;
            }
        }
    }

    pub fn sweep(&mut self, now: Now) {
        self.swept = now.monotonic;
        self.keys.sweep();
        self.measure();
    }

    pub fn measure(&mut self) {
        let open: usize = self.open.values().map(Interval::heap_bytes).sum();
        let rest = self.late.heap_bytes() + self.zeros.heap_bytes() + self.keys.heap_bytes();
        self.bytes = open + rest;
    }
}

fn settle_due(start: u64, shared: &Shared) -> Due {
    Due { wall: shared.settings.end(start) + shared.settings.late, monotonic: Duration::ZERO }
}

/// Tells the zeros which counters have a value: of these series, or of all.
fn note_counters(
    zeros: &mut Zeros,
    merged: &Merged,
    chosen: Option<&[SeriesNumber]>,
    start: u64,
    shared: &Shared,
    keys: &mut KeyPool,
) {
    let mut note = |number: SeriesNumber| {
        if let Some(row) = merged.series_at(number)
            && row.kind() == Kind::Counter
        {
            zeros.value(row.key, start, row.style, shared.settings.interval, keys);
        }
    };
    match chosen {
        Some(numbers) => numbers.iter().for_each(|number| note(*number)),
        None => (0..merged.len() as SeriesNumber).for_each(note),
    }
}
