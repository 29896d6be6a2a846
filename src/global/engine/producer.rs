//! The log of a sender, and the barriers of an owner.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::check::{CheckError, check_topics};
use super::events::{EngineState, way_out};
use super::properties;
use crate::config::GlobalSettings;
use crate::global::sender::{AppendError, Log, Outcome, Report};

/// How often the topics are looked for while no broker answers.
const CHECK_EVERY: Duration = Duration::from_secs(2);
const CHECK_WITHIN: Duration = Duration::from_millis(1000);
/// The pause after a first look for reports in vain; each further one is twice as long.
const LOOK: Duration = Duration::from_millis(1);
/// Reports taken without waiting.
const LOOKS_AT_ONCE: usize = 256;

struct Events {
    state: Arc<EngineState>,
    reports: Mutex<Vec<Report>>,
}

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.state.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.state.error(&error, reason);
    }
}

impl ProducerContext for Events {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let outcome = match result {
            Ok(_) => {
                self.state.reached();
                Outcome::Acknowledged
            }
            Err((error, _)) => failed(error),
        };
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push(Report { ticket: ticket as u64, outcome });
    }
}

fn failed(error: &KafkaError) -> Outcome {
    let code = error.rdkafka_error_code();
    let what = code.map_or_else(|| error.to_string(), |code| code.to_string());
    let message = format!("{what}{}", way_out(code));
    match code {
        Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::Fenced) => Outcome::Fatal(message),
        _ => Outcome::Failed(message),
    }
}

/// A producer that can be replaced.
pub struct KafkaLog {
    settings: GlobalSettings,
    state: Arc<EngineState>,
    producer: Option<BaseProducer<Events>>,
    /// The topics are there and large enough.
    checked: bool,
    check_at: Duration,
}

impl KafkaLog {
    /// A producer that connects on its own. Until the topics were `checked` nothing is appended; it
    /// looks for them itself.
    ///
    /// # Errors
    /// What librdkafka said.
    pub fn new(
        settings: GlobalSettings,
        state: Arc<EngineState>,
        checked: bool,
    ) -> Result<Self, String> {
        let check_at = state.now() + CHECK_EVERY;
        let mut log = KafkaLog { settings, state, producer: None, checked, check_at };
        log.connect()?;
        Ok(log)
    }

    fn connect(&mut self) -> Result<(), String> {
        let events = Events { state: Arc::clone(&self.state), reports: Mutex::default() };
        let config = properties::producer(&self.settings);
        self.producer =
            Some(config.create_with_context(events).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Looks for the topics, now and then, until they are there.
    fn check(&mut self) {
        let now = self.state.now();
        if self.checked || now < self.check_at {
            return;
        }
        match check_topics(&self.settings, CHECK_WITHIN) {
            Ok(doubts) => {
                self.checked = true;
                self.state.checked_late(doubts);
            }
            Err(CheckError::Unreachable(why)) => self.state.away(&why),
            Err(CheckError::Wrong(why)) => self.state.warn("topics", &why),
        }
        self.check_at = self.state.now() + CHECK_EVERY;
    }
}

impl Log for KafkaLog {
    fn append(
        &mut self,
        topic: &str,
        partition: u32,
        record: &[u8],
        ticket: u64,
    ) -> Result<(), AppendError> {
        if !self.checked {
            return Err(AppendError::Full);
        }
        let Some(producer) = &self.producer else {
            return Err(AppendError::Fatal("there is no producer".to_owned()));
        };
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        // A ticket counts from 0 and fits a machine word for as long as a process lives.
        let record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(topic, ticket as usize).partition(partition).payload(record);
        match producer.send(record) {
            Ok(()) => Ok(()),
            Err((error, _)) => Err(match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => AppendError::Full,
                _ => match failed(&error) {
                    Outcome::Fatal(why) => AppendError::Fatal(why),
                    Outcome::Failed(why) => AppendError::Refused(why),
                    Outcome::Acknowledged => AppendError::Full,
                },
            }),
        }
    }

    fn reports(&mut self, wait: Duration, into: &mut Vec<Report>) {
        self.check();
        let Some(producer) = &self.producer else { return };
        let events = producer.context();
        let (mut waited, mut look) = (Duration::ZERO, LOOK);
        loop {
            let before = into.len();
            for _ in 0..LOOKS_AT_ONCE {
                // Asked to wait, the client would spin through the last millisecond of it.
                producer.poll(Duration::ZERO);
                let mut reports = events.reports.lock().unwrap_or_else(PoisonError::into_inner);
                if reports.is_empty() {
                    break;
                }
                into.append(&mut reports);
            }
            if into.len() > before || waited >= wait {
                return;
            }
            let pause = look.min(wait - waited);
            std::thread::sleep(pause);
            waited += pause;
            look *= 2;
        }
    }

    fn renew(&mut self) -> Result<(), String> {
        self.producer = None;
        self.connect()
    }
}
