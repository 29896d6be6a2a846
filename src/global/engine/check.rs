//! Whether the topics are there, and large enough; creating one.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};
use thiserror::Error;

use super::events::way_out;
use super::properties;
use crate::config::GlobalSettings;
use crate::text::printable;

/// Longer than the age up to which anything is posted.
const RETENTION: &str = "retention.ms=14400000";
const TIMES: &str = "message.timestamp.type=LogAppendTime";
const CREATE_WITHIN: Duration = Duration::from_secs(10);
/// Of the events of a question that was not answered, so many are looked at.
const EVENTS_MAX: usize = 100;

/// Why a topic cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckError {
    /// No broker answered; they may later.
    #[error("{0}")]
    Unreachable(String),
    /// It will not work without somebody's help.
    #[error("{0}")]
    Wrong(String),
}

/// A topic, and how many partitions series are spread over.
struct Needed<'a> {
    key: &'static str,
    topic: &'a str,
    partitions: u32,
}

fn needed(settings: &GlobalSettings) -> Vec<Needed<'_>> {
    let now =
        Needed { key: "global_topic", topic: &settings.topic, partitions: settings.partitions };
    let next = settings.topic_next.as_ref().map(|next| Needed {
        key: "global_topic_next",
        topic: &next.topic,
        partitions: next.partitions,
    });
    std::iter::once(now).chain(next).collect()
}

/// Asks the brokers for the topics, at most so long, and creates those that are missing where the
/// settings say so. Gives what looks wrong, in a sentence for each topic: more partitions than the
/// settings say may be meant, or set elsewhere and forgotten here.
///
/// # Errors
/// See [`CheckError`]; the message names the way out.
pub fn check_topics(
    settings: &GlobalSettings,
    within: Duration,
) -> Result<Vec<String>, CheckError> {
    let asker: BaseProducer<Heard> = properties::client(settings)
        .create_with_context(Heard::default())
        .map_err(|error| CheckError::Wrong(format!("the global tier: {error}")))?;
    let mut doubts = Vec::new();
    for needed in needed(settings) {
        match check_topic(&asker, settings, &needed, within) {
            Err(Found::Missing(_)) if settings.create_topic => create(settings, &needed)?,
            Err(Found::Missing(message) | Found::Wrong(message)) => {
                return Err(CheckError::Wrong(message));
            }
            Err(Found::Unreachable(message)) => return Err(CheckError::Unreachable(message)),
            Ok(there) if there > needed.partitions as usize => doubts.push(more(&needed, there)),
            Ok(_) => {}
        }
    }
    Ok(doubts)
}

/// What the client said of its connections: a question that is not answered says only that.
#[derive(Default)]
struct Heard(Mutex<Vec<(RDKafkaErrorCode, String)>>);

impl ClientContext for Heard {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "global", "librdkafka (start) {level:?} {facility}: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push((code, printable(reason.as_bytes(), 300)));
        }
    }
}

impl ProducerContext for Heard {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

impl Heard {
    /// The error that says most: the last one of a login or a certificate, else the last one of a broker.
    fn telling(&self) -> Option<(RDKafkaErrorCode, String)> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let final_one = heard.iter().rfind(|(code, reason)| is_final(Some(*code), reason));
        let of_one = heard.iter().rfind(|(code, _)| *code != RDKafkaErrorCode::AllBrokersDown);
        final_one.or(of_one).cloned()
    }
}

/// True when it takes a person: the same happens at the next try.
fn is_final(code: Option<RDKafkaErrorCode>, reason: &str) -> bool {
    match code {
        Some(
            RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed,
        ) => true,
        // A connection also fails when a broker goes away, during the handshake or after it.
        Some(RDKafkaErrorCode::SSL | RDKafkaErrorCode::BrokerTransportFailure) => {
            reason.contains("certificate")
        }
        _ => false,
    }
}

enum Found {
    Missing(String),
    Wrong(String),
    Unreachable(String),
}

fn check_topic(
    asker: &BaseProducer<Heard>,
    settings: &GlobalSettings,
    needed: &Needed<'_>,
    within: Duration,
) -> Result<usize, Found> {
    let Needed { key, topic, partitions } = needed;
    let metadata = asker.client().fetch_metadata(Some(topic), within).map_err(|error| {
        // One event at a time.
        (0..EVENTS_MAX).for_each(|_| asker.poll(Duration::ZERO));
        let (code, reason) = match asker.context().telling() {
            Some((code, reason)) => (Some(code), reason),
            None => (error.rdkafka_error_code(), text_of(&error)),
        };
        let brokers = settings.brokers.join(",");
        // What is wrong with TLS may come as a connection that ends.
        let way_out =
            way_out(if reason.contains("SSL") { Some(RDKafkaErrorCode::SSL) } else { code });
        let message = format!("global_brokers: {brokers}: {reason}{way_out}");
        if is_final(code, &reason) { Found::Wrong(message) } else { Found::Unreachable(message) }
    })?;
    let found = metadata.topics().iter().find(|found| found.name() == *topic);
    let error = found.and_then(|found| found.error()).map(RDKafkaErrorCode::from);
    let there = found.map_or(0, |found| found.partitions().len());
    match error {
        None if there == 0 => Err(Found::Missing(missing(settings, needed))),
        None if there < *partitions as usize => Err(Found::Wrong(format!(
            "{key}: {topic} has {there} partitions, {partitions} are needed (global_partitions); run: {}",
            commands(settings).alter(topic, *partitions)
        ))),
        None => Ok(there),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Err(Found::Missing(missing(settings, needed)))
        }
        Some(code @ RDKafkaErrorCode::LeaderNotAvailable) => {
            Err(Found::Unreachable(format!("{key}: {topic}: {code}")))
        }
        Some(code) => Err(Found::Wrong(format!("{key}: {topic}: {code}{}", way_out(Some(code))))),
    }
}

fn more(needed: &Needed<'_>, there: usize) -> String {
    let Needed { key, topic, partitions } = needed;
    format!(
        "{key}: {topic} has {there} partitions, and global_partitions is {partitions} here: an owner with another \
         number refuses every part; set the same number on all senders and owners ({there} uses the whole topic)"
    )
}

fn missing(settings: &GlobalSettings, needed: &Needed<'_>) -> String {
    let Needed { key, topic, partitions } = needed;
    format!(
        "{key}: {topic} does not exist; run: {}   (or set global_create_topic: true)",
        commands(settings).create(topic, *partitions)
    )
}

/// What an operator runs, with the tools that come with the brokers.
pub struct Commands(String);

/// For these brokers.
#[must_use]
pub fn commands(settings: &GlobalSettings) -> Commands {
    Commands(format!("kafka-topics.sh --bootstrap-server {}", settings.brokers.join(",")))
}

impl Commands {
    /// Creates a topic.
    #[must_use]
    pub fn create(&self, topic: &str, partitions: u32) -> String {
        let tool = &self.0;
        format!(
            "{tool} --create --topic {topic} --partitions {partitions} --config {RETENTION} --config {TIMES}"
        )
    }

    /// Gives a topic more partitions.
    #[must_use]
    pub fn alter(&self, topic: &str, partitions: u32) -> String {
        format!("{} --alter --topic {topic} --partitions {partitions}", self.0)
    }
}

fn create(settings: &GlobalSettings, needed: &Needed<'_>) -> Result<(), CheckError> {
    let Needed { key, topic, partitions } = needed;
    let admin: AdminClient<DefaultClientContext> = properties::client(settings)
        .create_with_context(DefaultClientContext)
        .map_err(|error| CheckError::Wrong(format!("the global tier: {error}")))?;
    let options = AdminOptions::new().operation_timeout(Some(CREATE_WITHIN));
    let pair = |text: &'static str| text.split_once('=').unwrap_or((text, ""));
    let ((retention, for_long), (times, kind)) = (pair(RETENTION), pair(TIMES));
    let wrong = |what: String| {
        CheckError::Wrong(format!(
            "{key}: {topic} does not exist and cannot be created: {what}; run: {}",
            commands(settings).create(topic, *partitions)
        ))
    };
    let mut refused = String::new();
    // As many copies as the brokers make by default; older ones want a number.
    for copies in [-1, 3, 1] {
        let new = NewTopic::new(topic, *partitions as i32, TopicReplication::Fixed(copies))
            .set(retention, for_long)
            .set(times, kind);
        let created = block_on(admin.create_topics([&new], &options)).map_err(|error| {
            wrong(format!("{}{}", text_of(&error), way_out(error.rdkafka_error_code())))
        })?;
        match created.into_iter().next() {
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
                tracing::info!(
                    target: "global",
                    "created topic {topic} with {partitions} partitions ({RETENTION}, {TIMES})"
                );
                return Ok(());
            }
            Some(Err((_, code @ RDKafkaErrorCode::InvalidReplicationFactor))) => {
                refused = code.to_string();
            }
            Some(Err((_, code))) => return Err(wrong(format!("{code}{}", way_out(Some(code))))),
            None => return Err(wrong("the brokers did not answer".to_owned())),
        }
    }
    Err(wrong(refused))
}

/// Without the name of the operation that librdkafka puts before it.
fn text_of(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer of the admin client, which has a thread of its own.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut context, mut future) = (Context::from_waker(&waker), pin!(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
