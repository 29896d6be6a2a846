//! The memory of unsettled state: beyond its limit reading pauses, below 80 % it goes on.
//!
//! Paused partitions give no barriers back, and without them nothing is posted first or settled. So when
//! nothing is under way that would free memory, the newest intervals give up their cells: they stay
//! uncommitted, and a repair reads them again once the older ones are settled.

use super::action::{Action, Notice};
use super::event::Now;
use super::settings::RESUME_PERCENT;
use super::{Owner, Pass};

impl Owner {
    pub(super) fn memory_bytes(&self) -> usize {
        let partitions: usize = self.partitions.values().map(|owned| owned.bytes).sum();
        partitions + self.pass.as_ref().map_or(0, Pass::heap_bytes)
    }

    fn resume_below(&self) -> usize {
        self.shared.settings.memory_max / 100 * RESUME_PERCENT
    }

    pub(super) fn pause_when_full(&mut self, out: &mut Vec<Action>) {
        let bytes = self.memory_bytes();
        if self.shared.paused || bytes <= self.shared.settings.memory_max {
            return;
        }
        self.shared.paused = true;
        let read = self.partitions.iter().filter(|(_, owned)| !owned.held);
        out.extend(read.map(|(number, _)| Action::Pause { partition: *number }));
        out.push(Action::Notice(Notice::MemoryPaused { bytes }));
    }

    pub(super) fn watch_memory(&mut self, now: Now, out: &mut Vec<Action>) {
        self.partitions.values_mut().for_each(|owned| owned.measure());
        self.pause_when_full(out);
        if !self.shared.paused {
            return;
        }
        let resume_below = self.resume_below();
        if self.memory_bytes() >= resume_below {
            self.partitions.values_mut().for_each(|owned| owned.sweep(now));
        }
        if self.memory_bytes() >= resume_below && self.is_stuck(now) {
            while self.memory_bytes() >= resume_below && self.give_newest(now) {}
            // What cannot be given up (one interval that is larger than the limit) is read to its end.
        } else if self.memory_bytes() >= resume_below {
            return;
        }
        self.shared.paused = false;
        let read = self.partitions.iter().filter(|(_, owned)| !owned.held);
        out.extend(read.map(|(number, _)| Action::Resume { partition: *number }));
        out.push(Action::Notice(Notice::MemoryResumed { bytes: self.memory_bytes() }));
    }

    /// True when only reading on can free memory.
    fn is_stuck(&self, now: Now) -> bool {
        let may_post = |owned: &super::Partition| owned.lease.holds(now.monotonic);
        self.pass.is_none()
            && self.shared.postings.is_empty()
            && self.partitions.values().any(may_post)
    }

    /// The newest interval of all partitions gives up its cells.
    fn give_newest(&mut self, now: Now) -> bool {
        let newest = self.partitions.values_mut();
        let newest = newest.filter_map(|owned| Some((owned.newest_full()?, owned)));
        let Some((_, owned)) = newest.max_by_key(|(start, _)| *start) else { return false };
        owned.give_newest(&mut self.shared, now);
        owned.sweep(now);
        true
    }
}
