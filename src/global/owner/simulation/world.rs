//! Everything around the owners: log, group, intake, senders; one step of time after the other.

use std::time::Duration;

use super::group::{Group, MemberId};
use super::intake::Intake;
use super::log::{Log, Row};
use super::process::{Faults, Process, Surroundings};
use super::random::Random;
use super::sender::{Outgoing, SimulatedSender};
use crate::global::owner::{Event, OwnerSettings};
use crate::part::PartLimits;

/// The true time at the beginning: the start of an interval.
pub const BEGIN: Duration = Duration::from_secs(1_700_000_000);

pub struct World {
    pub now: Duration,
    pub settings: OwnerSettings,
    pub log: Log,
    pub group: Group,
    pub intake: Intake,
    pub processes: Vec<Process>,
    pub senders: Vec<SimulatedSender>,
    pub outgoing: Vec<Outgoing>,
    pub random: Random,
    pub faults: Faults,
    /// The brokers are away until then.
    pub log_down_until: Duration,
    /// Records are stamped by their sender's clock, not by the broker's.
    pub stamped_by_senders: bool,
    next_member: MemberId,
}

pub fn settings(partitions: u32) -> OwnerSettings {
    OwnerSettings {
        interval: 10,
        partitions,
        grace: Duration::from_secs(5),
        late: Duration::from_secs(60),
        late_max: Duration::from_secs(3_300),
        session: Duration::from_secs(10),
        memory_max: 1 << 30,
        skip_unknown: false,
        set_members_max: 100,
        limits: PartLimits::new(100),
    }
}

impl World {
    pub fn new(settings: OwnerSettings, seed: u64) -> World {
        World {
            now: BEGIN,
            log: Log::default(),
            group: Group::new(settings.partitions, settings.session),
            intake: Intake::default(),
            processes: Vec::new(),
            senders: Vec::new(),
            outgoing: Vec::new(),
            random: Random::new(seed),
            faults: Faults::default(),
            log_down_until: Duration::ZERO,
            stamped_by_senders: false,
            next_member: 1,
            settings,
        }
    }

    /// A new owner joins; its place in `processes`.
    pub fn start(&mut self, ahead_ms: i64) -> usize {
        let id = self.next_member;
        self.next_member += 1;
        // Every boot has its own monotonic clock.
        let boot = self.now.saturating_sub(Duration::from_secs(self.random.below(100_000)));
        self.processes.push(Process::new(id, self.settings.clone(), boot, ahead_ms));
        self.group.join(id, self.now);
        self.processes.len() - 1
    }

    /// kill -9
    pub fn kill(&mut self, place: usize) -> Process {
        self.processes.remove(place)
    }

    /// SIGTERM
    pub fn stop(&mut self, place: usize) -> Process {
        self.with(place, |process, _, world| process.tell(Event::Stop, world));
        self.commit(place);
        let process = self.processes.remove(place);
        assert!(process.has_left, "it leaves at once");
        self.group.leave(process.id);
        process
    }

    fn with(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut Process, &mut Intake, &mut Surroundings<'_>),
    ) {
        let mut surroundings = Surroundings {
            now: self.now,
            log: &mut self.log,
            random: &mut self.random,
            faults: self.faults,
            log_is_down: self.now < self.log_down_until,
        };
        act(&mut self.processes[place], &mut self.intake, &mut surroundings);
    }

    /// Time goes on by `step` and everybody acts once.
    pub fn step(&mut self, step: Duration) {
        self.now += step;
        let down = self.now < self.log_down_until;
        self.send(down);
        if down {
            self.group.forgive(self.now);
        } else {
            self.group.expire(self.now);
        }
        self.intake.arrive(self.now, &self.log);
        for place in 0..self.processes.len() {
            if self.processes[place].stalled_until <= self.now {
                self.act(place, down);
            }
        }
    }

    fn send(&mut self, down: bool) {
        for sender in &mut self.senders {
            let shape = (self.settings.partitions, u64::from(self.settings.interval));
            self.outgoing.extend(sender.close(self.now, false, shape, &mut self.random));
        }
        if down {
            return;
        }
        let due = self.outgoing.extract_if(.., |part| part.due <= self.now);
        for part in due.collect::<Vec<_>>() {
            let sender = self.senders.get(part.sender);
            let stamp = match sender {
                Some(sender) if self.stamped_by_senders => sender.clock(self.now),
                _ => self.now,
            };
            if self.random.once_in(20) {
                // Appended, but its sender did not hear of it.
                let due = self.now + Duration::from_millis(self.random.below(100_000));
                self.outgoing.push(Outgoing { due, ..part.clone() });
            }
            self.log.append_part((stamp, self.now), part.id, &part.cells, part.bytes);
        }
    }

    /// What a running process does in a step, in any order.
    fn act(&mut self, place: usize, down: bool) {
        let first = self.random.below(5);
        for turn in 0..5 {
            match (first + turn) % 5 {
                0 => self.heed_group(place, down),
                1 => self.with(place, |process, _, world| process.hear_commits(world)),
                2 => self.with(place, |process, intake, world| process.deliver(intake, world)),
                3 => self.with(place, |process, _, world| process.fetch(world)),
                _ => self.with(place, |process, _, world| process.read_repair(world)),
            }
        }
        self.with(place, |process, _, world| process.tell(Event::Tick, world));
        self.commit(place);
    }

    fn heed_group(&mut self, place: usize, down: bool) {
        // What the group decided may be heard seconds after everything else.
        if down || self.random.chance(self.faults.group_unheard) {
            return;
        }
        let id = self.processes[place].id;
        if !self.group.heartbeat(id, self.now) {
            for partition in self.processes[place].partitions() {
                self.with(place, |process, _, world| process.taken(partition, true, world));
            }
            self.processes[place].commits.clear();
            self.group.join(id, self.now);
        }
        for partition in self.group.take_assigned(id) {
            let from = self.group.committed.get(&partition).copied();
            self.with(place, |process, _, world| process.assigned(partition, from, world));
        }
        for partition in self.group.take_revoked(id) {
            self.with(place, |process, _, world| process.taken(partition, false, world));
            self.commit(place);
            self.group.released(id, partition);
        }
    }

    /// The commits that a process asked for reach the group, or do not.
    fn commit(&mut self, place: usize) {
        let down = self.now < self.log_down_until;
        let process = &mut self.processes[place];
        for (partition, offset) in std::mem::take(&mut process.commits) {
            let refused = down || self.random.chance(self.faults.commits_refused);
            let accepted = !refused && self.group.commit(process.id, partition, offset);
            let heard = accepted && !self.random.chance(self.faults.commit_answers_lost);
            let slow = if self.random.once_in(4) { self.random.below(3_000) } else { 0 };
            let at = self.now + Duration::from_millis(slow);
            process.commit_answer(at, partition, offset, heard);
        }
    }

    /// Runs until `done`, at most so long.
    #[track_caller]
    pub fn run_until(&mut self, step: Duration, most: Duration, done: impl Fn(&World) -> bool) {
        let end = self.now + most;
        while !done(self) {
            assert!(self.now < end, "not done after {most:?}: {}", self.describe());
            self.step(step);
        }
    }

    pub fn run_for(&mut self, step: Duration, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step(step);
        }
    }

    pub fn is_quiet(&self) -> bool {
        self.outgoing.is_empty()
            && self.intake.under_way.is_empty()
            && (0..self.settings.partitions)
                .all(|partition| self.processes.iter().any(|process| process.owns(partition)))
            && self.processes.iter().all(|process| process.is_quiet(&self.log, self.now))
    }

    /// Rows whose last part came too late to be sure of.
    pub fn is_excused(&self, row: &Row, margin: Duration) -> bool {
        let end = self.settings.end(row.1) + self.settings.late_max;
        self.log.last_append.get(row).is_some_and(|last| *last + margin > end)
    }

    pub fn describe(&self) -> String {
        let process = |process: &Process| {
            let gauges = process.owner.gauges(process.now(self.now));
            format!("\n{gauges:?} {:?}", process.owner.accounting())
        };
        self.processes.iter().map(process).collect()
    }
}
