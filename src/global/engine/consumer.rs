//! The member of the owners' group, and the thread that drives an owner with it.
//!
//! The group's news are taken in where the group waits for them: a partition is given back only after the
//! owner has heard of it and its last commit was answered, or a second has passed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::check::{CheckError, check_topics};
use super::events::{EngineState, way_out};
use super::producer::KafkaLog;
use super::properties;
use super::repair::{Found, Repairs};
use crate::clock::Clock;
use crate::config::GlobalSettings;
use crate::forward::PostingFate;
use crate::global::owner::{Action, Event, Notice, Now, Owner, Posting, PostingId};
use crate::global::sender::{AppendError, Log};

/// A look at the group: it is polled at least that often.
const LOOK: Duration = Duration::from_millis(50);
/// The same while a repair pass gives records.
const SHORT_LOOK: Duration = Duration::from_millis(1);
/// Records are read for so long before time passes for the owner.
const TURN: Duration = Duration::from_millis(50);
/// How long the brokers may take to name committed offsets; then they are asked again.
const COMMITTED_WITHIN: Duration = Duration::from_millis(1500);
/// How long the last commit of a partition may take.
const LAST_COMMIT_WITHIN: Duration = Duration::from_secs(1);
/// How long leaving the group may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// Before another try after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the topics are looked for while no broker answers.
const CHECK_EVERY: Duration = Duration::from_secs(2);
const CHECK_WITHIN: Duration = Duration::from_secs(1);

/// What takes an owner's postings. Their fates come back through a channel.
pub trait Posts: Send {
    /// Posts these values.
    fn post(&mut self, posting: Posting);
    /// Drops what waits under leases that were withdrawn.
    fn drop_withdrawn(&mut self);
}

/// Looks at the owner, between two events.
pub type Show = Box<dyn FnMut(&Owner, Now) + Send>;

/// What an owner's thread is given.
pub struct OwnerLoop {
    /// Of the brokers and the group.
    pub settings: GlobalSettings,
    /// What it reads.
    pub topic: String,
    /// How the connection does.
    pub state: Arc<EngineState>,
    /// The time.
    pub clock: Clock,
    /// The topics are known to be there.
    pub checked: bool,
    /// The machine.
    pub owner: Owner,
    /// Its postings.
    pub posts: Box<dyn Posts>,
    /// Their fates.
    pub fates: Receiver<(PostingId, PostingFate)>,
    /// Set when the process ends.
    pub stop: Arc<AtomicBool>,
    /// Shown the owner at every turn, for pages.
    pub show: Show,
}

/// What a member hears beside records.
enum News {
    Assigned(Vec<i32>),
    Revoked { partitions: Vec<i32>, lost: bool },
    Committed { offsets: Vec<(i32, i64)>, acknowledged: bool },
}

struct Membership {
    state: Arc<EngineState>,
    news: Mutex<Vec<News>>,
    closing: AtomicBool,
}

impl Membership {
    fn push(&self, news: News) {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).push(news);
    }

    fn take(&self) -> Vec<News> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.state.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.state.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.state.statistics(&statistics);
    }
}

impl ConsumerContext for Membership {
    /// Only takes note: the group waits until the loop has answered.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Acquire) {
            answer_closing(consumer, kind, list);
            return;
        }
        let partitions = list.elements().iter().map(|one| one.partition()).collect();
        self.push(match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => News::Assigned(partitions),
            _ => News::Revoked { partitions, lost: consumer.assignment_lost() },
        });
    }
}

/// A member that leaves takes nothing and gives everything back.
fn answer_closing(
    consumer: &BaseConsumer<Membership>,
    kind: RDKafkaRespErr,
    list: &TopicPartitionList,
) {
    let revoked = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS;
    if !revoked || consumer.incremental_unassign(list).is_err() {
        // It is closed all the same.
        let _ = consumer.unassign();
    }
}

/// Why one membership ended.
enum Ended {
    Left,
    Failed(String),
}

impl OwnerLoop {
    /// Until it is told to stop. The owner, for its last numbers.
    pub fn run(mut self) -> Owner {
        if !self.wait_for_topics() {
            return self.owner;
        }
        loop {
            match self.membership() {
                Ended::Left => return self.owner,
                Ended::Failed(why) => {
                    self.state.warn("membership", &format!("joining the group again after: {why}"));
                    if self.sleep(PAUSE) {
                        return self.owner;
                    }
                }
            }
        }
    }

    /// True when it is time to stop. Only between memberships, where there is nothing to poll.
    fn sleep(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.stop.load(Ordering::Acquire) {
            std::thread::sleep(LOOK.min(time));
        }
        self.stop.load(Ordering::Acquire)
    }

    /// False when it is told to stop before they are there.
    fn wait_for_topics(&mut self) -> bool {
        while !self.checked {
            if self.sleep(CHECK_EVERY) {
                return false;
            }
            match check_topics(&self.settings, CHECK_WITHIN) {
                Ok(doubts) => {
                    self.checked = true;
                    self.state.checked_late(doubts);
                }
                Err(CheckError::Unreachable(why)) => self.state.away(&why),
                Err(CheckError::Wrong(why)) => self.state.warn("topics", &why),
            }
        }
        true
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.unix(), monotonic: self.clock.monotonic() }
    }

    /// From joining the group to leaving it.
    fn membership(&mut self) -> Ended {
        let context = Membership {
            state: Arc::clone(&self.state),
            news: Mutex::default(),
            closing: AtomicBool::new(false),
        };
        let consumer: KafkaResult<BaseConsumer<Membership>> =
            properties::consumer(&self.settings).create_with_context(context);
        let barriers = KafkaLog::new(self.settings.clone(), Arc::clone(&self.state), true);
        let (consumer, barriers) = match (consumer, barriers) {
            (Ok(consumer), Ok(barriers)) => (consumer, barriers),
            (Err(error), _) => return Ended::Failed(error.to_string()),
            (_, Err(error)) => return Ended::Failed(error),
        };
        if let Err(error) = consumer.subscribe(&[&self.topic]) {
            return Ended::Failed(error.to_string());
        }
        let consumer = Arc::new(consumer);
        let (committer, commits) = mpsc::channel();
        let (its, topic) = (Arc::clone(&consumer), self.topic.clone());
        let thread = std::thread::Builder::new().name("global-commit".to_owned());
        if let Err(error) = thread.spawn(move || commit_all(&its, &topic, &commits)) {
            return Ended::Failed(format!("starting a thread: {error}"));
        }
        let repairs = Repairs::new(self.settings.clone(), &self.topic, Arc::clone(&self.state));
        let mut member = Member {
            main: self,
            consumer,
            committer,
            barriers,
            repairs,
            unanswered: VecDeque::new(),
            to_assign: None,
            owned: Vec::new(),
            actions: Vec::new(),
            ticket: 0,
            failure: None,
            left: false,
        };
        let ended = member.run();
        member.close();
        ended
    }
}

/// Commits in a thread of its own, one after the other: the client library gives the answer to a commit only
/// to who waits for it, and while the coordinator is away that takes long. It ends with the channel.
fn commit_all(
    consumer: &BaseConsumer<Membership>,
    topic: &str,
    commits: &Receiver<Vec<(i32, i64)>>,
) {
    for offsets in commits {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in &offsets {
            // Offsets are those of records, and can be listed.
            let _ = list.add_partition_offset(topic, *partition, Offset::Offset(*offset));
        }
        let result = consumer.commit(&list, CommitMode::Sync);
        if let Err(error) = &result {
            let way_out = way_out(error.rdkafka_error_code());
            consumer.context().state.warn("commit", &format!("a commit failed: {error}{way_out}"));
        }
        consumer.context().push(News::Committed { offsets, acknowledged: result.is_ok() });
    }
}

struct Member<'a> {
    main: &'a mut OwnerLoop,
    consumer: Arc<BaseConsumer<Membership>>,
    committer: Sender<Vec<(i32, i64)>>,
    barriers: KafkaLog,
    repairs: Repairs,
    /// Commits without an answer, in order.
    unanswered: VecDeque<Vec<(i32, i64)>>,
    /// Partitions whose committed offsets are not known yet; the group waits.
    to_assign: Option<Vec<i32>>,
    owned: Vec<i32>,
    actions: Vec<Action>,
    ticket: u64,
    failure: Option<String>,
    left: bool,
}

impl Member<'_> {
    fn run(&mut self) -> Ended {
        loop {
            self.turn();
            if let Some(why) = self.failure.take() {
                return Ended::Failed(why);
            }
            if self.main.stop.load(Ordering::Acquire) {
                self.tell(Event::Stop);
                self.act();
                self.wait_for_commits();
                return Ended::Left;
            }
            if self.left {
                return Ended::Left;
            }
        }
    }

    fn turn(&mut self) {
        let began = Instant::now();
        let mut wait = if self.repairs.is_active() { SHORT_LOOK } else { LOOK };
        loop {
            let read = self.read(wait);
            self.hear();
            self.act();
            if !read || began.elapsed() > TURN || self.failure.is_some() {
                break;
            }
            wait = Duration::ZERO;
        }
        self.assign();
        while let Ok((posting, fate)) = self.main.fates.try_recv() {
            self.tell(Event::Answered { posting, fate });
        }
        let began = Instant::now();
        while began.elapsed() < TURN {
            match self.repairs.next() {
                Some((repair, Found::Record { offset, bytes })) => {
                    self.tell(Event::RepairRecord { repair, offset, bytes: &bytes });
                }
                Some((repair, Found::Done { complete })) => {
                    self.tell(Event::RepairDone { repair, complete });
                }
                None => break,
            }
        }
        self.tell(Event::Tick);
        self.act();
        self.look_at_barriers();
        let now = self.main.now();
        (self.main.show)(&self.main.owner, now);
    }

    /// Reads one record, or what else there is. True when there may be more at once.
    fn read(&mut self, wait: Duration) -> bool {
        match self.consumer.poll(wait) {
            Some(Ok(message)) => {
                let now = self.main.now();
                record(&mut self.main.owner, &message, now, &mut self.actions);
                true
            }
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                self.failure = Some(format!("{code}{}", way_out(Some(code))));
                false
            }
            // What it means was said by `EngineState::error`.
            Some(Err(_)) => true,
            None => false,
        }
    }

    fn tell(&mut self, event: Event<'_>) {
        let now = self.main.now();
        self.main.owner.handle(event, now, &mut self.actions);
    }

    /// Takes in what the group said.
    fn hear(&mut self) {
        for news in self.consumer.context().take() {
            match news {
                News::Assigned(partitions) => {
                    self.count_rebalance();
                    self.to_assign = Some(partitions);
                    self.assign();
                }
                News::Revoked { partitions, lost } => {
                    self.count_rebalance();
                    self.revoke(&partitions, lost);
                }
                News::Committed { offsets, acknowledged } => self.committed(&offsets, acknowledged),
            }
        }
    }

    fn count_rebalance(&self) {
        let now = self.main.state.now();
        self.main.state.change(|status| {
            status.rebalances += 1;
            status.group_answered = Some(now);
        });
    }

    fn committed(&mut self, offsets: &[(i32, i64)], acknowledged: bool) {
        // In the order of the commits.
        self.unanswered.pop_front();
        if acknowledged {
            let now = self.main.state.now();
            self.main.state.change(|status| status.group_answered = Some(now));
            self.main.state.reached();
        }
        for (partition, offset) in offsets {
            let (partition, offset) = (number(*partition), *offset);
            self.tell(Event::Committed { partition, offset, acknowledged });
        }
    }

    /// Takes over partitions once it is known where their last owner was.
    fn assign(&mut self) {
        let Some(partitions) = self.to_assign.take() else { return };
        let mut list = TopicPartitionList::new();
        for partition in &partitions {
            list.add_partition(&self.main.topic, *partition);
        }
        let mut from = Vec::new();
        if !partitions.is_empty() {
            let offsets = self.consumer.committed_offsets(list, COMMITTED_WITHIN);
            let known = offsets.and_then(|list| {
                let elements = list.elements();
                let one = |one: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
                    one.error().map(|()| match one.offset() {
                        Offset::Offset(offset) => (one.partition(), Some(offset)),
                        _ => (one.partition(), None),
                    })
                };
                elements.iter().map(one).collect::<KafkaResult<Vec<_>>>()
            });
            match known {
                Ok(known) => from = known,
                Err(error) => {
                    let what = format!("the committed offsets are not known yet: {error}");
                    self.main.state.warn("offsets", &what);
                    // The group waits; it is asked again at the next turn.
                    self.to_assign = Some(partitions);
                    return;
                }
            }
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in &from {
            let offset = offset.map_or(Offset::Beginning, Offset::Offset);
            // Every offset that was committed is one that can be listed.
            let _ = list.add_partition_offset(&self.main.topic, *partition, offset);
        }
        if let Err(error) = self.consumer.incremental_assign(&list) {
            self.failure = Some(format!("an assignment failed: {error}"));
            return;
        }
        for (partition, from) in from {
            self.owned.push(partition);
            self.tell(Event::Assigned { partition: number(partition), from });
        }
        tracing::info!(target: "global", "owner: partitions {} of {}", listed(&self.owned), self.main.topic);
        self.act();
    }

    fn revoke(&mut self, partitions: &[i32], lost: bool) {
        if let Some(waiting) = &mut self.to_assign {
            waiting.retain(|partition| !partitions.contains(partition));
        }
        for partition in partitions.iter().copied().map(number) {
            match lost {
                true => self.tell(Event::Lost { partition }),
                false => self.tell(Event::Revoked { partition }),
            }
        }
        self.owned.retain(|partition| !partitions.contains(partition));
        self.act();
        if !lost {
            self.wait_for_commits();
        }
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.main.topic, *partition);
        }
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            let unassigned = self.consumer.unassign();
            self.failure = Some(format!("giving partitions back failed: {error}"));
            if let Err(error) = unassigned {
                self.failure = Some(format!("giving partitions back failed: {error}"));
            }
            return;
        }
        tracing::info!(
            target: "global",
            "owner: {} partitions {}, left with {} of {}",
            if lost { "lost" } else { "gave back" },
            listed(partitions),
            listed(&self.owned),
            self.main.topic
        );
    }

    /// Polls until every commit was answered, at most for a moment.
    fn wait_for_commits(&mut self) {
        let end = Instant::now() + LAST_COMMIT_WITHIN;
        while !self.unanswered.is_empty() && Instant::now() < end {
            self.read(Duration::from_millis(10));
            let mut later = Vec::new();
            for news in self.consumer.context().take() {
                match news {
                    News::Committed { offsets, acknowledged } => {
                        self.committed(&offsets, acknowledged)
                    }
                    news => later.push(news),
                }
            }
            later.into_iter().for_each(|news| self.consumer.context().push(news));
        }
    }

    /// Does what the owner asked for.
    fn act(&mut self) {
        let mut commits = Vec::new();
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::Barrier { partition, record } => self.barrier(partition, &record),
                Action::Post(posting) => self.main.posts.post(posting),
                Action::Withdraw { .. } => self.main.posts.drop_withdrawn(),
                Action::Commit { partition, offset } => commits.push((partition as i32, offset)),
                Action::Pause { partition } => self.pause(partition, true),
                Action::Resume { partition } => self.pause(partition, false),
                Action::ReadRepair { repair, partition, from, until } => {
                    self.repairs.start(repair, partition, from, until);
                }
                Action::CancelRepair { repair } => self.repairs.cancel(repair),
                Action::Leave => self.left = true,
                Action::Notice(notice) => say(&notice, &self.main.topic, &self.main.state),
            }
        }
        if !commits.is_empty() {
            self.commit(commits);
        }
    }

    fn commit(&mut self, commits: Vec<(i32, i64)>) {
        match self.committer.send(commits.clone()) {
            Ok(()) => self.unanswered.push_back(commits),
            Err(_) => self.refuse(&commits),
        }
    }

    fn refuse(&mut self, commits: &[(i32, i64)]) {
        for (partition, offset) in commits {
            let partition = number(*partition);
            self.tell(Event::Committed { partition, offset: *offset, acknowledged: false });
        }
    }

    fn barrier(&mut self, partition: u32, record: &[u8]) {
        self.ticket += 1;
        match self.barriers.append(&self.main.topic, partition, record, self.ticket) {
            // One that is not appended is asked for again.
            Ok(()) | Err(AppendError::Full) => {}
            Err(AppendError::Refused(why)) => {
                self.main.state.warn("barrier", &format!("a barrier was not appended: {why}"));
            }
            Err(AppendError::Fatal(why)) => self.failure = Some(why),
        }
    }

    fn look_at_barriers(&mut self) {
        let mut reports = Vec::new();
        self.barriers.reports(Duration::ZERO, &mut reports);
        for report in reports {
            match report.outcome {
                crate::global::sender::Outcome::Acknowledged => {}
                crate::global::sender::Outcome::Failed(why) => {
                    self.main.state.warn("barrier", &format!("a barrier was not appended: {why}"));
                }
                crate::global::sender::Outcome::Fatal(why) => self.failure = Some(why),
            }
        }
    }

    fn pause(&self, partition: u32, pause: bool) {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.main.topic, partition as i32);
        let done = if pause { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        if let Err(error) = done {
            self.main.state.warn("pause", &format!("pausing partition {partition}: {error}"));
        }
    }

    /// Leaves the group. What was not answered will not be.
    fn close(mut self) {
        let unanswered: Vec<_> = std::mem::take(&mut self.unanswered).into();
        unanswered.iter().for_each(|commits| self.refuse(commits));
        for partition in std::mem::take(&mut self.owned) {
            self.tell(Event::Lost { partition: number(partition) });
        }
        for action in std::mem::take(&mut self.actions) {
            if matches!(action, Action::Withdraw { .. }) {
                self.main.posts.drop_withdrawn();
            }
        }
        self.consumer.context().closing.store(true, Ordering::Release);
        if self.to_assign.is_some() {
            // The group still waits for an answer.
            let _ = self.consumer.unassign();
        }
        // The thread that commits may hold the consumer a while longer; the group is left now.
        if self.consumer.close_queue().is_ok() {
            let end = Instant::now() + CLOSE_WITHIN;
            while !self.consumer.closed() && Instant::now() < end {
                self.consumer.poll(LOOK);
            }
        }
    }
}

fn record(owner: &mut Owner, message: &BorrowedMessage<'_>, now: Now, actions: &mut Vec<Action>) {
    let (partition, offset) = (number(message.partition()), message.offset());
    let bytes = message.payload().unwrap_or_default();
    owner.handle(Event::Record { partition, offset, bytes }, now, actions);
}

/// A partition that exists is not negative.
fn number(partition: i32) -> u32 {
    u32::try_from(partition).unwrap_or_default()
}

/// Numbers as ranges: `0-3, 7`.
fn listed(partitions: &[i32]) -> String {
    let mut sorted = partitions.to_vec();
    sorted.sort_unstable();
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for partition in sorted {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == partition => *end = partition,
            _ => ranges.push((partition, partition)),
        }
    }
    let text = |(from, to): &(i32, i32)| {
        if from == to { from.to_string() } else { format!("{from}-{to}") }
    };
    match &ranges[..] {
        [] => "none".to_owned(),
        ranges => ranges.iter().map(text).collect::<Vec<_>>().join(", "),
    }
}

fn say(notice: &Notice, topic: &str, state: &EngineState) {
    match notice {
        Notice::Held { partition, offset } => tracing::error!(
            target: "global",
            "owner: partition {partition} of {topic} is held at offset {offset}: a record of a newer whippet; upgrade, or set global_skip_unknown: true to skip and count such records"
        ),
        Notice::SenderSkewed { host, skew } => tracing::warn!(
            target: "global",
            "owner: the clock of {} differs from this one by {skew:.1} s; set one of them right",
            crate::text::printable(host.as_bytes(), 80)
        ),
        // Limited, since anything may stand in the log.
        Notice::SenderRefused { host, why } => {
            let host = crate::text::printable(host.as_bytes(), 80);
            state.warn(why.reason(), &format!("parts of {host} are refused: {why}"));
        }
        Notice::MemoryPaused { bytes } => tracing::warn!(
            target: "global",
            "owner: {bytes} bytes of unsettled intervals, more than global_memory_max; reading pauses, the log keeps the rest"
        ),
        Notice::MemoryResumed { bytes } => tracing::info!(
            target: "global",
            "owner: {bytes} bytes of unsettled intervals; reading goes on"
        ),
        Notice::RepairFailed { partition, parts } => tracing::warn!(
            target: "global",
            "owner: {parts} late parts of partition {partition} are not posted: the log could not be read again as far back"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn partitions_are_listed_as_ranges() {
        assert_eq!(listed(&[]), "none");
        assert_eq!(listed(&[3]), "3");
        assert_eq!(listed(&[7, 0, 2, 1, 9, 8]), "0-2, 7-9");
    }
}
