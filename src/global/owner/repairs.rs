//! The repairs of an owner: one pass at a time, for the partition that has waited longest.

use super::accounting::Count;
use super::action::{Action, Notice};
use super::event::Now;
use super::ids::RepairId;
use super::repair::Pass;
use super::settings::{REPAIR_ATTEMPTS_MAX, REPAIR_SERIES_BYTES, REPAIR_SERIES_MAX};
use super::shared::{Place, Shared};
use super::{Owner, PostingFate};
use crate::part::{self, Opened};

impl Owner {
    pub(super) fn repair(&mut self, now: Now, out: &mut Vec<Action>) {
        self.drop_expired(now);
        if self.pass.is_none() {
            self.begin_repair(now, out);
        }
        self.post_repair(now, out);
        if self.pass.as_ref().is_some_and(Pass::is_done)
            && let Some(pass) = self.pass.take()
        {
            let count = pass.count();
            self.shared.accounting.late_waiting -= count;
            self.shared.accounting.late_repaired += count;
        }
    }

    /// Late parts that waited until the intake is no longer told of their interval.
    fn drop_expired(&mut self, now: Now) {
        for owned in self.partitions.values_mut().filter(|owned| !owned.late.is_empty()) {
            let dropped = owned.late.drop_expired(|start| self.shared.is_too_old(start, now));
            self.shared.accounting.late_waiting -= dropped;
            self.shared.accounting.too_old += dropped;
        }
    }

    fn begin_repair(&mut self, now: Now, out: &mut Vec<Action>) {
        let waiting = self.partitions.iter().filter_map(|(number, owned)| {
            let since = owned.late.due(now.monotonic)?;
            let starts = owned.late.starts();
            let any = starts.into_iter().any(|start| owned.may_repair(start, &self.shared, now));
            any.then_some((since, *number))
        });
        let Some((_, number)) = waiting.min() else { return };
        let Some(owned) = self.partitions.get_mut(&number) else { return };
        let starts = owned.late.starts();
        let ready = starts.into_iter().filter(|start| owned.may_repair(*start, &self.shared, now));
        let ready: Vec<u64> = ready.collect();
        let room = self.shared.settings.memory_max / 4 / REPAIR_SERIES_BYTES;
        let series_max = REPAIR_SERIES_MAX.min(room);
        let targets = owned.late.take(|start| ready.contains(&start), series_max, now.monotonic);
        let Some(until) = owned.position else { return };
        self.next_repair += 1;
        let place = (self.next_repair, number, until);
        let pass = Pass::new(place, targets, &self.shared.settings, &self.shared.state);
        self.shared.accounting.repairs += 1;
        out.push(Action::ReadRepair {
            repair: pass.id,
            partition: number,
            from: pass.from(&self.shared.settings),
            until,
        });
        self.pass = Some(pass);
    }

    pub(super) fn repair_record(
        &mut self,
        repair: RepairId,
        offset: i64,
        bytes: &[u8],
        out: &mut Vec<Action>,
    ) {
        let Some(pass) = self.pass.as_mut().filter(|pass| pass.id == repair) else { return };
        if offset >= pass.until {
            return;
        }
        // What cannot be read was counted when it was read the first time.
        let Shared { settings, unpacker, .. } = &mut self.shared;
        let Ok(Opened::Part(sealed)) = part::open(bytes, &settings.limits) else { return };
        let head = sealed.head();
        let is_ours = head.partition == pass.partition
            && head.partitions == settings.partitions
            && head.interval == settings.interval;
        if is_ours
            && pass.needs(&head.id())
            && let Ok(part) = sealed.read(&settings.limits, unpacker)
        {
            pass.read(part);
            self.pause_when_full(out);
        }
    }

    pub(super) fn repair_done(
        &mut self,
        repair: RepairId,
        complete: bool,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let Some(pass) = self.pass.as_mut().filter(|pass| pass.id == repair && !pass.is_read)
        else {
            return;
        };
        pass.is_read = true;
        let partition = pass.partition;
        let mut again = if complete { pass.take_missed() } else { pass.take_all() };
        let mut lost = Count::default();
        if complete {
            again.iter_mut().for_each(|(_, target)| target.attempts += 1);
            again.retain(|(_, target)| {
                let retry = target.attempts < REPAIR_ATTEMPTS_MAX;
                if !retry {
                    lost += target.count;
                }
                retry
            });
        }
        if lost != Count::default() {
            self.shared.accounting.late_waiting -= lost;
            self.shared.accounting.late_unrepaired += lost;
            out.push(Action::Notice(Notice::RepairFailed { partition, parts: lost.parts }));
        }
        if let Some(owned) = self.partitions.get_mut(&partition)
            && !again.is_empty()
        {
            owned.late.put_back(again.into_iter(), now.monotonic);
        }
    }

    fn post_repair(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(pass) = self.pass.as_mut().filter(|pass| pass.is_read) else { return };
        let Some(owned) = self.partitions.get_mut(&pass.partition) else { return };
        let holds = owned.lease.holds(now.monotonic);
        for (start, rebuild) in pass.rebuilds.iter_mut().filter(|(_, rebuild)| !rebuild.posted) {
            if !holds {
                if !std::mem::replace(&mut rebuild.fenced, true) {
                    self.shared.accounting.fenced += 1;
                }
                continue;
            }
            rebuild.posted = true;
            if rebuild.merged.is_empty() {
                continue;
            }
            owned.note_repaired(*start, &rebuild.merged, &self.shared);
            self.shared.accounting.corrections += 1;
            let place = Place::Repair { partition: pass.partition, start: *start };
            let id = self.shared.post(place, &owned.lease, &rebuild.merged, None, Vec::new(), out);
            rebuild.unanswered = Some(id);
        }
    }

    pub(super) fn repair_answered(&mut self, start: u64, fate: PostingFate) {
        let rebuild = self.pass.as_mut().and_then(|pass| pass.rebuilds.get_mut(&start));
        if let Some(rebuild) = rebuild {
            rebuild.unanswered = None;
            if fate == PostingFate::Withdrawn {
                rebuild.posted = false;
            }
        }
    }
}
