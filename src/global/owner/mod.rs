//! The owner: a pure state machine that merges the partitions which the group gave this process, and posts
//! whole values.
//!
//! In: events, with the time: partitions that come and go, records, answers to commits, postings and repair
//! passes, ticks. Out: actions: barriers, postings, commits, pauses, repair passes. Promise: what is posted
//! of a series at a second is all that the log held of it, never a part; what is not known to be delivered
//! is not committed, so that the next owner posts it again; memory is bounded for any records. Refusal: it
//! has no clock, no thread, no broker and no intake.
//!
//! Begin with `event`, `action` and `partition`; the reasons why it is exact stand in `barrier`, `floor`,
//! `commits` and `repair`.

mod accounting;
mod action;
mod barrier;
mod commits;
mod event;
mod floor;
mod ids;
mod interval;
mod memory;
mod partition;
mod repair;
mod repairs;
mod senders;
mod settings;
mod shared;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod zeros;

use std::collections::BTreeMap;

use ahash::RandomState;

pub use accounting::{Count, OwnerAccounting, OwnerGauges};
pub use action::{Action, Differs, Notice, PostRow, Posting};
pub use event::{Event, Now};
pub use ids::{PostingId, RepairId};
pub use senders::SenderRow;
pub use settings::OwnerSettings;

use crate::forward::PostingFate;
use crate::part::{Sender, Unpacker};

use commits::Commits;
use partition::Partition;
use repair::Pass;
use senders::Senders;
use shared::{Place, Shared};

/// The owner of the partitions that a group assigns to this process.
#[derive(Debug)]
pub struct Owner {
    shared: Shared,
    partitions: BTreeMap<u32, Partition>,
    /// By partition; they outlive its assignment.
    commits: BTreeMap<u32, Commits>,
    pass: Option<Pass>,
    next_repair: RepairId,
    /// The assignment changed since the last tick.
    rebalanced: bool,
    stopped: bool,
}

impl Owner {
    /// Owns nothing yet. `id`: random, new at every start of a process.
    #[must_use]
    pub fn new(settings: OwnerSettings, id: [u8; 16]) -> Owner {
        let state = RandomState::new();
        let shared = Shared {
            settings,
            id,
            senders: Senders::new(state.clone()),
            unpacker: Unpacker::default(),
            state,
            accounting: OwnerAccounting::default(),
            postings: BTreeMap::new(),
            paused: false,
            next_posting: 0,
            next_barrier: 0,
        };
        Owner {
            shared,
            partitions: BTreeMap::new(),
            commits: BTreeMap::new(),
            pass: None,
            next_repair: 0,
            rebalanced: false,
            stopped: false,
        }
    }

    /// Takes in an event and appends what is to be done, in order.
    pub fn handle(&mut self, event: Event<'_>, now: Now, out: &mut Vec<Action>) {
        if self.stopped {
            return;
        }
        match event {
            Event::Assigned { partition, from } => self.assigned(partition, from, now, out),
            Event::Revoked { partition } => self.taken(partition, true, now, out),
            Event::Lost { partition } => self.taken(partition, false, now, out),
            Event::Record { partition, offset, bytes } => {
                let Some(owned) = self.partitions.get_mut(&partition) else { return };
                let pass = self.pass.as_ref().filter(|pass| pass.partition == partition);
                owned.record(&mut self.shared, pass, (offset, bytes), now, out);
                owned.measure();
                self.pause_when_full(out);
            }
            Event::Committed { partition, offset, acknowledged } => {
                let commits = self.commits.get_mut(&partition);
                let proof = commits.and_then(|commits| commits.answered(offset, acknowledged));
                if let (Some(sent), Some(owned)) = (proof, self.partitions.get(&partition)) {
                    owned.lease.renew(sent + self.shared.settings.session / 2);
                }
            }
            Event::Answered { posting, fate } => self.answered(posting, fate),
            Event::RepairRecord { repair, offset, bytes } => {
                self.repair_record(repair, offset, bytes, out);
            }
            Event::RepairDone { repair, complete } => {
                self.repair_done(repair, complete, now, out);
            }
            Event::Tick => self.tick(now, out),
            Event::Stop => self.stop(now, out),
        }
    }

    fn assigned(&mut self, number: u32, from: Option<i64>, now: Now, out: &mut Vec<Action>) {
        self.taken(number, false, now, out);
        self.rebalanced = true;
        self.partitions.insert(number, Partition::new(number, from, &self.shared, now));
        if self.shared.paused {
            out.push(Action::Pause { partition: number });
        }
    }

    /// Forgets a partition. Its next owner reads again whatever is not committed.
    fn taken(&mut self, number: u32, may_commit: bool, now: Now, out: &mut Vec<Action>) {
        self.commits.retain(|_, commits| !commits.is_forgotten());
        let commits = self.commits.entry(number).or_default();
        let Some(mut owned) = self.partitions.remove(&number) else {
            commits.forget();
            return;
        };
        self.rebalanced = true;
        owned.lease.withdraw();
        out.push(Action::Withdraw { partition: number });
        let pass = self.pass.take_if(|pass| pass.partition == number);
        if may_commit {
            owned.commit(pass.as_ref(), commits, now, out);
        }
        commits.forget();
        let mut waiting = owned.late.count();
        if let Some(pass) = pass {
            waiting += pass.count();
            out.push(Action::CancelRepair { repair: pass.id });
        }
        self.shared.accounting.late_waiting -= waiting;
        self.shared.accounting.late_handed_over += waiting;
        self.shared.postings.retain(|_, place| place.partition() != number);
    }

    fn answered(&mut self, posting: PostingId, fate: PostingFate) {
        let Some(place) = self.shared.postings.remove(&posting) else { return };
        if fate == PostingFate::GivenUp {
            self.shared.accounting.given_up += 1;
        }
        match place {
            Place::Interval { partition, start } => {
                if let Some(owned) = self.partitions.get_mut(&partition) {
                    owned.answered(start, fate);
                }
            }
            Place::Repair { start, .. } => self.repair_answered(start, fate),
        }
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Action>) {
        if std::mem::take(&mut self.rebalanced) {
            self.shared.accounting.rebalances += 1;
        }
        for (number, owned) in &mut self.partitions {
            let pass = self.pass.as_ref().filter(|pass| pass.partition == *number);
            let commits = self.commits.entry(*number).or_default();
            owned.tick(&mut self.shared, pass, commits, now, out);
        }
        self.repair(now, out);
        self.watch_memory(now, out);
    }

    fn stop(&mut self, now: Now, out: &mut Vec<Action>) {
        let numbers: Vec<u32> = self.partitions.keys().copied().collect();
        numbers.iter().for_each(|number| self.taken(*number, true, now, out));
        out.push(Action::Leave);
        self.stopped = true;
    }

    /// What became of all that was read.
    #[must_use]
    pub fn accounting(&self) -> &OwnerAccounting {
        &self.shared.accounting
    }

    /// The senders that were seen lately.
    pub fn senders(&self) -> impl Iterator<Item = (&Sender, &SenderRow)> {
        self.shared.senders.rows()
    }

    /// How it stands.
    #[must_use]
    pub fn gauges(&self, now: Now) -> OwnerGauges {
        let partitions = || self.partitions.values();
        let unsettled = || {
            let intervals = partitions().flat_map(|owned| owned.open.iter());
            intervals.filter(|(_, interval)| interval.first_offset.is_some())
        };
        let oldest = unsettled().map(|(start, _)| *start).min();
        let age = oldest
            .map(|start| now.wall.as_secs_f64() - self.shared.settings.end(start).as_secs_f64());
        OwnerGauges {
            partitions_owned: self.partitions.len(),
            partitions_held: partitions().filter(|owned| owned.held).count(),
            intervals_open: unsettled().count(),
            late_parts_waiting: self.shared.accounting.late_waiting.parts,
            oldest_unsettled_seconds: age.unwrap_or(0.0).max(0.0),
            memory_bytes: self.memory_bytes(),
            is_paused: self.shared.paused,
            counters_alive: partitions().map(|owned| owned.zeros.len()).sum(),
            sender_skew_seconds: self.shared.senders.worst_skew(),
        }
    }
}
