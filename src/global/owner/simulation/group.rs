//! The consumer group: who owns which partition, moved cooperatively, and the committed offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub type MemberId = u64;

#[derive(Debug, Default)]
struct Member {
    heartbeat: Duration,
    /// Given to it, not told yet.
    assigned: BTreeSet<u32>,
    /// To be given back.
    revoked: BTreeSet<u32>,
}

#[derive(Debug)]
pub struct Group {
    session: Duration,
    members: BTreeMap<MemberId, Member>,
    owners: BTreeMap<u32, Option<MemberId>>,
    pub committed: BTreeMap<u32, i64>,
}

impl Group {
    pub fn new(partitions: u32, session: Duration) -> Group {
        let owners = (0..partitions).map(|partition| (partition, None)).collect();
        Group { session, members: BTreeMap::new(), owners, committed: BTreeMap::new() }
    }

    pub fn join(&mut self, member: MemberId, now: Duration) {
        self.members.insert(member, Member { heartbeat: now, ..Member::default() });
        self.balance();
    }

    pub fn leave(&mut self, member: MemberId) {
        self.members.remove(&member);
        for owner in self.owners.values_mut().filter(|owner| **owner == Some(member)) {
            *owner = None;
        }
        self.balance();
    }

    /// False when the member was given up.
    pub fn heartbeat(&mut self, member: MemberId, now: Duration) -> bool {
        self.members.get_mut(&member).map(|member| member.heartbeat = now).is_some()
    }

    /// Gives up members that were not heard of for a session.
    pub fn expire(&mut self, now: Duration) {
        let silent = |member: &Member| member.heartbeat + self.session < now;
        let silent: Vec<MemberId> =
            self.members.iter().filter(|(_, member)| silent(member)).map(|(id, _)| *id).collect();
        silent.iter().for_each(|member| self.leave(*member));
    }

    /// The brokers were away: nobody is given up for it.
    pub fn forgive(&mut self, now: Duration) {
        self.members.values_mut().for_each(|member| member.heartbeat = now);
    }

    /// Free partitions go to whoever has least; who has more than one too many gives one back.
    fn balance(&mut self) {
        let mut counts: BTreeMap<MemberId, usize> =
            self.members.keys().map(|member| (*member, 0)).collect();
        for owner in self.owners.values().flatten() {
            *counts.entry(*owner).or_default() += 1;
        }
        for (partition, owner) in self.owners.iter_mut().filter(|(_, owner)| owner.is_none()) {
            let Some(least) = counts.iter().min_by_key(|(_, count)| **count) else { return };
            let least = *least.0;
            *owner = Some(least);
            *counts.entry(least).or_default() += 1;
            self.members.entry(least).or_default().assigned.insert(*partition);
        }
        for (partition, owner) in &self.owners {
            let Some(owner) = owner else { continue };
            let least = counts.values().min().copied().unwrap_or(0);
            if counts[owner] > least + 1
                && let Some(member) = self.members.get_mut(owner)
                && member.revoked.insert(*partition)
            {
                *counts.entry(*owner).or_default() -= 1;
                let least = counts.iter().min_by_key(|(_, count)| **count).map(|(id, _)| *id);
                *counts.entry(least.unwrap_or_default()).or_default() += 1;
            }
        }
    }

    pub fn take_assigned(&mut self, member: MemberId) -> BTreeSet<u32> {
        self.members
            .get_mut(&member)
            .map(|member| std::mem::take(&mut member.assigned))
            .unwrap_or_default()
    }

    pub fn take_revoked(&mut self, member: MemberId) -> BTreeSet<u32> {
        self.members
            .get_mut(&member)
            .map(|member| std::mem::take(&mut member.revoked))
            .unwrap_or_default()
    }

    /// A revoked partition was given back.
    pub fn released(&mut self, member: MemberId, partition: u32) {
        if let Some(owner) = self.owners.get_mut(&partition)
            && *owner == Some(member)
        {
            *owner = None;
            self.balance();
        }
    }

    /// Only the owner may commit.
    pub fn commit(&mut self, member: MemberId, partition: u32, offset: i64) -> bool {
        let owns = self.owners.get(&partition) == Some(&Some(member));
        if owns {
            self.committed.insert(partition, offset);
        }
        owns
    }
}
