//! Reads a piece of one partition once more, with a consumer of its own in a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::events::EngineState;
use super::properties;
use crate::config::GlobalSettings;
use crate::global::owner::RepairId;

/// How long a broker may take to say where a time begins.
const TIMES_WITHIN: Duration = Duration::from_secs(5);
/// A pass that reads nothing for so long has failed.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Records between the thread and the owner's; each may be large.
const RECORDS_MAX: usize = 16;

/// What a pass gives.
pub(super) enum Found {
    Record { offset: i64, bytes: Vec<u8> },
    Done { complete: bool },
}

/// Passes, one at a time.
pub(super) struct Repairs {
    settings: GlobalSettings,
    topic: String,
    state: Arc<EngineState>,
    active: Option<Active>,
}

struct Active {
    repair: RepairId,
    found: Receiver<Found>,
    cancelled: Arc<AtomicBool>,
}

impl Repairs {
    pub fn new(settings: GlobalSettings, topic: &str, state: Arc<EngineState>) -> Self {
        Repairs { settings, topic: topic.to_owned(), state, active: None }
    }

    pub fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// Begins a pass; one that goes on is given up.
    pub fn start(&mut self, repair: RepairId, partition: u32, from: Duration, until: i64) {
        self.cancel_active();
        let (give, found) = mpsc::sync_channel(RECORDS_MAX);
        let cancelled = Arc::new(AtomicBool::new(false));
        let pass = Pass {
            settings: self.settings.clone(),
            topic: self.topic.clone(),
            partition: i32::try_from(partition).unwrap_or(i32::MAX),
            from,
            until,
            cancelled: Arc::clone(&cancelled),
            state: Arc::clone(&self.state),
        };
        // Without a thread the channel is closed, and the pass counts as failed.
        let thread = std::thread::Builder::new().name("global-repair".to_owned());
        if let Err(error) = thread.spawn(move || pass.run(&give)) {
            self.state.warn("repair", &format!("a repair has no thread: {error}"));
        }
        self.active = Some(Active { repair, found, cancelled });
    }

    pub fn cancel(&mut self, repair: RepairId) {
        if self.active.as_ref().is_some_and(|active| active.repair == repair) {
            self.cancel_active();
        }
    }

    fn cancel_active(&mut self) {
        if let Some(active) = self.active.take() {
            active.cancelled.store(true, Ordering::Release);
        }
    }

    /// What the pass found next, if it is there already.
    pub fn next(&mut self) -> Option<(RepairId, Found)> {
        let active = self.active.as_ref()?;
        let repair = active.repair;
        let found = match active.found.try_recv() {
            Ok(found) => found,
            Err(mpsc::TryRecvError::Empty) => return None,
            Err(mpsc::TryRecvError::Disconnected) => Found::Done { complete: false },
        };
        if matches!(found, Found::Done { .. }) {
            self.active = None;
        }
        Some((repair, found))
    }
}

impl Drop for Repairs {
    fn drop(&mut self) {
        self.cancel_active();
    }
}

struct Reader(Arc<EngineState>);

impl ClientContext for Reader {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl ConsumerContext for Reader {}

struct Pass {
    settings: GlobalSettings,
    topic: String,
    partition: i32,
    from: Duration,
    until: i64,
    cancelled: Arc<AtomicBool>,
    state: Arc<EngineState>,
}

impl Pass {
    fn run(&self, give: &SyncSender<Found>) {
        let complete = self.read(give).unwrap_or_else(|error| {
            self.state.warn("repair", &format!("reading the log again failed: {error}"));
            false
        });
        // The owner may have lost the partition meanwhile.
        let _ = give.send(Found::Done { complete });
    }

    /// True when everything up to the end was read.
    fn read(&self, give: &SyncSender<Found>) -> KafkaResult<bool> {
        let consumer: BaseConsumer<Reader> = properties::reader(&self.settings)
            .create_with_context(Reader(Arc::clone(&self.state)))?;
        let mut list = TopicPartitionList::new();
        let begin = self.begin(&consumer);
        list.add_partition_offset(&self.topic, self.partition, begin)?;
        consumer.assign(&list)?;
        let mut heard = Instant::now();
        while !self.cancelled.load(Ordering::Acquire) && heard.elapsed() < SILENCE_MAX {
            // Errors of a connection are told by its events, and end with the silence.
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
            heard = Instant::now();
            let offset = message.offset();
            if offset < self.until {
                let bytes = message.payload().unwrap_or_default().to_vec();
                if give.send(Found::Record { offset, bytes }).is_err() {
                    return Ok(false);
                }
            }
            if offset >= self.until - 1 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where the time begins by the broker's word, if that is an offset before the end.
    fn begin(&self, consumer: &BaseConsumer<Reader>) -> Offset {
        let from = i64::try_from(self.from.as_millis()).unwrap_or(i64::MAX);
        let mut times = TopicPartitionList::new();
        if times.add_partition_offset(&self.topic, self.partition, Offset::Offset(from)).is_err() {
            return Offset::Beginning;
        }
        let Ok(found) = consumer.offsets_for_times(times, TIMES_WITHIN) else {
            return Offset::Beginning;
        };
        let begin = found.elements().first().map(|one| (one.offset(), one.error().is_ok()));
        match begin {
            Some((Offset::Offset(offset), true)) if (0..self.until).contains(&offset) => {
                Offset::Offset(offset)
            }
            _ => Offset::Beginning,
        }
    }
}
