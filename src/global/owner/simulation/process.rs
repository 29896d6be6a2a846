//! One process around an owner: what the engine and the delivery worker would do, with their faults.

use std::collections::BTreeMap;
use std::time::Duration;

use super::group::MemberId;
use super::intake::Intake;
use super::log::{Log, Row, Shown, row as log_row};
use super::random::Random;
use crate::forward::{Lease, PostingFate};
use crate::global::owner::{
    Action, Event, Notice, Now, Owner, OwnerSettings, PostRow, Posting, PostingId,
};
use crate::part::{self, Opened, Value};
use std::sync::Arc;

/// How often what goes wrong, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub fetch_stalls: u64,
    pub group_unheard: u64,
    pub commits_refused: u64,
    pub commit_answers_lost: u64,
    pub requests_failed: u64,
    pub requests_timed_out: u64,
    pub requests_given_up: u64,
    pub barriers_lost: u64,
    pub repairs_failed: u64,
}

/// With so much nothing is given up for want of memory.
const MEMORY_ENOUGH: usize = 1 << 30;

/// A request that times out may arrive until then.
pub const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Delivery {
    id: PostingId,
    partition: u32,
    lease: Arc<Lease>,
    rows: Vec<(Row, Shown)>,
    next: Duration,
    fate: Option<PostingFate>,
}

#[derive(Debug)]
struct Reading {
    next: i64,
    paused: bool,
    stalled_until: Duration,
    /// When the first barrier of its own was read back, by the owner's clock: what was settled before it
    /// came is known from then on.
    caught_up: Option<Duration>,
}

#[derive(Debug)]
struct RepairRead {
    repair: u64,
    partition: u32,
    next: i64,
    until: i64,
    ready: Duration,
}

#[derive(Debug)]
pub struct Process {
    pub id: MemberId,
    pub owner: Owner,
    settings: OwnerSettings,
    owner_id: [u8; 16],
    /// What its wall clock is ahead of the true time, in milliseconds.
    pub ahead_ms: i64,
    /// What it was ahead at most.
    ahead_ms_max: i64,
    boot: Duration,
    reading: BTreeMap<u32, Reading>,
    commit_answers: Vec<(Duration, u32, i64, bool)>,
    /// Commits on their way, made by the world.
    pub commits: Vec<(u32, i64)>,
    deliveries: Vec<Delivery>,
    repair: Option<RepairRead>,
    pub stalled_until: Duration,
    pub has_left: bool,
    pub notices: Vec<Notice>,
    /// Barriers and repair passes asked for.
    pub barriers: u64,
}

impl Process {
    pub fn new(id: MemberId, settings: OwnerSettings, boot: Duration, ahead_ms: i64) -> Process {
        let mut owner_id = [0; 16];
        owner_id[..8].copy_from_slice(&id.to_le_bytes());
        Process {
            id,
            owner: Owner::new(settings.clone(), owner_id),
            settings,
            owner_id,
            ahead_ms,
            ahead_ms_max: ahead_ms,
            boot,
            reading: BTreeMap::new(),
            commit_answers: Vec::new(),
            commits: Vec::new(),
            deliveries: Vec::new(),
            repair: None,
            stalled_until: Duration::ZERO,
            has_left: false,
            notices: Vec::new(),
            barriers: 0,
        }
    }

    pub fn now(&self, time: Duration) -> Now {
        let wall = time.as_millis() as i64 + self.ahead_ms;
        Now { wall: Duration::from_millis(wall as u64), monotonic: time - self.boot }
    }

    pub fn owns(&self, partition: u32) -> bool {
        self.reading.contains_key(&partition)
    }

    pub fn partitions(&self) -> Vec<u32> {
        self.reading.keys().copied().collect()
    }

    /// True when there is nothing left to read, post or repair.
    pub fn is_quiet(&self, log: &Log, time: Duration) -> bool {
        let read = self.reading.iter().all(|(partition, at)| at.next >= log.end(*partition));
        let gauges = self.owner.gauges(self.now(time));
        read && self.deliveries.is_empty()
            && gauges.intervals_open == 0
            && gauges.late_parts_waiting == 0
    }

    /// Tells the owner, and does at once what can be done at once.
    pub fn tell(&mut self, event: Event<'_>, world: &mut Surroundings<'_>) {
        let mut out = Vec::new();
        self.owner.handle(event, self.now(world.now), &mut out);
        let accounting = self.owner.accounting();
        assert!(accounting.balances(), "after {event:?}: {accounting:?}");
        out.into_iter().for_each(|action| self.act(action, world));
    }

    fn act(&mut self, action: Action, world: &mut Surroundings<'_>) {
        match action {
            Action::Barrier { partition, record } => {
                self.barriers += 1;
                if !world.log_is_down && !world.random.chance(world.faults.barriers_lost) {
                    world.log.append(partition, world.now, record);
                }
            }
            Action::Post(posting) => self.deliveries.push(delivery(&posting, world.now)),
            Action::Withdraw { partition } => {
                self.deliveries.retain(|delivery| delivery.partition != partition);
            }
            Action::Commit { partition, offset } => self.commits.push((partition, offset)),
            Action::Pause { partition } => self.pause(partition, true),
            Action::Resume { partition } => self.pause(partition, false),
            Action::ReadRepair { repair, partition, from, until } => {
                assert!(self.repair.is_none(), "one repair at a time");
                // Brokers may give an odd answer.
                let odd = world.random.once_in(10);
                let next = if odd { 0 } else { world.log.offset_at(partition, from) };
                let ready = world.now + Duration::from_millis(world.random.range(0..3_000));
                self.repair = Some(RepairRead { repair, partition, next, until, ready });
            }
            Action::CancelRepair { repair } => {
                self.repair.take_if(|read| read.repair == repair);
            }
            Action::Leave => self.has_left = true,
            Action::Notice(notice) => self.notices.push(notice),
        }
    }

    fn pause(&mut self, partition: u32, paused: bool) {
        if let Some(reading) = self.reading.get_mut(&partition) {
            reading.paused = paused;
        }
    }

    pub fn assigned(&mut self, partition: u32, from: Option<i64>, world: &mut Surroundings<'_>) {
        let next = from.unwrap_or(0);
        let reading =
            Reading { next, paused: false, stalled_until: Duration::ZERO, caught_up: None };
        self.reading.insert(partition, reading);
        self.tell(Event::Assigned { partition, from }, world);
    }

    pub fn taken(&mut self, partition: u32, lost: bool, world: &mut Surroundings<'_>) {
        self.reading.remove(&partition);
        let event = if lost { Event::Lost { partition } } else { Event::Revoked { partition } };
        self.tell(event, world);
    }

    pub fn commit_answer(&mut self, at: Duration, partition: u32, offset: i64, acknowledged: bool) {
        // In order, per partition.
        let before = self.commit_answers.iter().filter(|answer| answer.1 == partition);
        let at = before.map(|answer| answer.0).fold(at, Duration::max);
        self.commit_answers.push((at, partition, offset, acknowledged));
    }

    pub fn hear_commits(&mut self, world: &mut Surroundings<'_>) {
        let answers = std::mem::take(&mut self.commit_answers);
        for (at, partition, offset, acknowledged) in answers {
            if at <= world.now {
                self.tell(Event::Committed { partition, offset, acknowledged }, world);
            } else {
                self.commit_answers.push((at, partition, offset, acknowledged));
            }
        }
    }

    /// Reads nothing of the partition until then.
    pub fn stall_fetch(&mut self, partition: u32, until: Duration) {
        if let Some(reading) = self.reading.get_mut(&partition) {
            reading.stalled_until = until;
        }
    }

    /// The next records of every partition.
    pub fn fetch(&mut self, world: &mut Surroundings<'_>) {
        for partition in self.partitions() {
            let most = world.random.range(1..40);
            for _ in 0..most {
                let Some(reading) = self.reading.get_mut(&partition) else { break };
                if world.now < reading.stalled_until || reading.paused || world.log_is_down {
                    break;
                }
                let (offset, records) = (reading.next, world.log.records.get(&partition));
                let Some((_, bytes)) = records.and_then(|records| records.get(offset as usize))
                else {
                    break;
                };
                let bytes = bytes.clone();
                reading.next += 1;
                if world.random.once_in(50) && world.random.chance(world.faults.fetch_stalls) {
                    let stall = Duration::from_millis(world.random.range(500..20_000));
                    reading.stalled_until = world.now + stall;
                }
                let late = self.owner.accounting().late.parts;
                self.tell(Event::Record { partition, offset, bytes: &bytes }, world);
                let is_late = self.owner.accounting().late.parts > late;
                self.check_record((partition, offset), &bytes, is_late, world);
            }
        }
    }

    /// A part that was appended while its interval was to be kept open needs no repair, however late it is
    /// read: an interval is settled only when a barrier of that time or later is back. What is given to
    /// repair for want of memory is apart.
    fn check_record(
        &mut self,
        (partition, offset): (u32, i64),
        bytes: &[u8],
        is_late: bool,
        world: &Surroundings<'_>,
    ) {
        self.ahead_ms_max = self.ahead_ms_max.max(self.ahead_ms);
        let wall = self.now(world.now).wall;
        let Some(reading) = self.reading.get_mut(&partition) else { return };
        match part::open(bytes, &self.settings.limits) {
            Ok(Opened::Barrier(barrier)) if barrier.owner == self.owner_id => {
                reading.caught_up.get_or_insert(wall);
            }
            Ok(Opened::Part(part)) if is_late && self.settings.memory_max >= MEMORY_ENOUGH => {
                let begins = Duration::from_secs(part.head().start);
                let until = self.settings.end(part.head().start) + self.settings.late;
                let (Some(caught_up), Some(appended)) =
                    (reading.caught_up, world.log.appended_at(partition, offset))
                else {
                    return;
                };
                // Clocks of owners are set, by up to 5 s at a time.
                if begins > caught_up + Duration::from_secs(30) {
                    let by_its_clock = appended.as_millis() as i64 + self.ahead_ms_max;
                    assert!(
                        by_its_clock >= until.as_millis() as i64,
                        "a part of {begins:?} in {partition} came at {appended:?}, in time until {until:?}, and is late at {wall:?}"
                    );
                }
            }
            _ => {}
        }
    }

    /// The repair consumer.
    pub fn read_repair(&mut self, world: &mut Surroundings<'_>) {
        let Some(read) = self.repair.take_if(|read| read.ready <= world.now) else { return };
        let fails = world.random.chance(world.faults.repairs_failed);
        let until = if fails { (read.next + read.until) / 2 } else { read.until };
        let (repair, records) = (read.repair, world.log.records.get(&read.partition));
        let pieces: Vec<(i64, Vec<u8>)> = (read.next..until)
            .filter_map(|at| Some((at, records?.get(at as usize)?.1.clone())))
            .collect();
        for (offset, bytes) in &pieces {
            self.tell(Event::RepairRecord { repair, offset: *offset, bytes }, world);
        }
        self.tell(Event::RepairDone { repair, complete: !fails }, world);
    }

    /// The delivery worker: looks at the lease directly before each request.
    pub fn deliver(&mut self, intake: &mut Intake, world: &mut Surroundings<'_>) {
        let (now, monotonic) = (world.now, self.now(world.now).monotonic);
        let mut answers = Vec::new();
        for delivery in self.deliveries.iter_mut().filter(|delivery| delivery.next <= now) {
            if let Some(fate) = delivery.fate {
                answers.push((delivery.id, fate));
            } else if delivery.lease.holds(monotonic) {
                delivery.request(intake, world);
            }
        }
        self.deliveries.retain(|delivery| !answers.iter().any(|(id, _)| *id == delivery.id));
        for (posting, fate) in answers {
            self.tell(Event::Answered { posting, fate }, world);
        }
    }
}

impl Delivery {
    fn request(&mut self, intake: &mut Intake, world: &mut Surroundings<'_>) {
        let (random, faults) = (&mut *world.random, world.faults);
        if world.now < intake.down_until || random.chance(faults.requests_failed) {
            self.next = world.now + Duration::from_millis(random.range(200..5_000));
        } else if random.chance(faults.requests_given_up) {
            intake.give_up(&self.rows);
            (self.fate, self.next) = (Some(PostingFate::GivenUp), world.now);
        } else if random.chance(faults.requests_timed_out) {
            // It arrives before the time-out, or never, and perhaps not all of its payloads.
            let some = random.below(self.rows.len() as u64 + 1) as usize;
            let at = world.now + Duration::from_millis(random.below(TIMEOUT.as_millis() as u64));
            intake.under_way.push((at, self.rows[..some].to_vec()));
            self.next = world.now + TIMEOUT;
        } else {
            intake.write(&self.rows, world.log);
            let slow = if random.once_in(5) { random.range(0..1_900) } else { 0 };
            self.next = world.now + Duration::from_millis(slow);
            self.fate = Some(PostingFate::Delivered);
        }
    }
}

/// What a process can reach.
pub struct Surroundings<'a> {
    pub now: Duration,
    pub log: &'a mut Log,
    pub random: &'a mut Random,
    pub faults: Faults,
    pub log_is_down: bool,
}

fn delivery(posting: &Posting, now: Duration) -> Delivery {
    let row = |row: PostRow<'_>| match row {
        PostRow::Zero { key, .. } => (log_row(key, posting.start), Shown::Zero),
        PostRow::Series(series) => (log_row(series.key, posting.start), shown(series.value)),
    };
    let rows: Vec<(Row, Shown)> = posting.rows().map(row).collect();
    assert_eq!(rows.len(), posting.len());
    assert!(!rows.is_empty(), "nothing is posted without rows");
    Delivery {
        id: posting.id,
        partition: posting.partition,
        lease: Arc::clone(&posting.lease),
        rows,
        next: now,
        fate: None,
    }
}

fn shown(value: &Value) -> Shown {
    match value {
        Value::Counter(sum) => Shown::Counter(sum.value()),
        Value::Gauge(value) => Shown::Gauge(*value),
        Value::Set(set) => Shown::Set(set.count()),
        Value::Histogram(histogram) => {
            let summary = histogram.summary();
            Shown::Histogram(summary.count, summary.sum)
        }
    }
}
