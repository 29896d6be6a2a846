//! What librdkafka tells beside records: its log, its errors, its statistics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

use crate::clock::Clock;
use crate::forward::LogLimiter;
use crate::text::printable;

/// How one connection to the brokers does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineStatus {
    /// No broker can be reached since then (monotonic).
    pub away_since: Option<Duration>,
    /// What looks wrong about the topics, a sentence each.
    pub doubts: Vec<String>,
    /// The last error, as text.
    pub error: Option<String>,
    /// Records in the owned partitions that were not read, by the brokers' word.
    pub lag_records: Option<u64>,
    /// Rebalances of the group that touched this member.
    pub rebalances: u64,
    /// The group last answered then (monotonic): a commit was acknowledged, or partitions assigned.
    pub group_answered: Option<Duration>,
}

/// The status, shared by the clients of one purpose, and what was logged lately.
pub struct EngineState {
    /// `sender` or `owner`: whose brokers, in log lines.
    purpose: &'static str,
    clock: Clock,
    inner: Mutex<(EngineStatus, LogLimiter)>,
    /// The last error of a connection to one broker.
    connection: Mutex<Option<String>>,
}

impl EngineState {
    /// For the clients of a `sender` or an `owner`.
    #[must_use]
    pub fn new(purpose: &'static str, clock: Clock) -> Self {
        EngineState { purpose, clock, inner: Mutex::default(), connection: Mutex::default() }
    }

    /// As it is now.
    pub fn status(&self) -> EngineStatus {
        self.lock().0.clone()
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut EngineStatus)) {
        change(&mut self.lock().0);
    }

    /// The topics were looked at; so much looks wrong about them.
    pub fn checked(&self, doubts: Vec<String>) {
        self.lock().0.doubts = doubts;
    }

    /// The topics were looked at after the start.
    pub(super) fn checked_late(&self, doubts: Vec<String>) {
        doubts.iter().for_each(|doubt| self.warn("topics", doubt));
        self.checked(doubts);
        self.reached();
    }

    /// The brokers answer.
    pub(super) fn reached(&self) {
        let mut inner = self.lock();
        let since = inner.0.away_since.take();
        inner.0.error = None;
        drop(inner);
        if let Some(since) = since {
            let lasted = self.clock.monotonic().saturating_sub(since).as_secs();
            tracing::info!(target: "global", "{}: the brokers answer again after {lasted} s", self.purpose);
        }
    }

    /// No broker can be reached.
    pub(super) fn away(&self, why: &str) {
        let now = self.clock.monotonic();
        let mut inner = self.lock();
        inner.0.away_since.get_or_insert(now);
        inner.0.error = Some(why.to_owned());
        let permit = inner.1.permit("away", 0, now);
        drop(inner);
        let what = match self.purpose {
            "sender" => "global series wait",
            _ => "nothing global is posted",
        };
        if permit.is_some() {
            let why = printable(why.as_bytes(), 300);
            tracing::warn!(target: "global", "{}: no broker can be reached, {what} until one can ({why})", self.purpose);
        }
    }

    /// Warns, once a minute for each reason.
    pub(super) fn warn(&self, reason: &'static str, message: &str) {
        let now = self.clock.monotonic();
        let permit = self.lock().1.permit(reason, 0, now);
        if let Some(more) = permit {
            let message = printable(message.as_bytes(), 500);
            let more =
                if more > 0 { format!(" ({more} more in the last minute)") } else { String::new() };
            tracing::warn!(target: "global", "{}: {message}{more}", self.purpose);
        }
    }

    pub(super) fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = printable(message.as_bytes(), 500);
        match level {
            // Connections that fail are told by `error`, with what it means.
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning
            | RDKafkaLogLevel::Notice
            | RDKafkaLogLevel::Info => {
                tracing::debug!(target: "global", "librdkafka ({}) {facility}: {message}", self.purpose);
            }
            RDKafkaLogLevel::Debug => {
                tracing::trace!(target: "global", "librdkafka ({}) {facility}: {message}", self.purpose);
            }
        }
    }

    pub(super) fn error(&self, error: &KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                // Why says more than how many.
                let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
                let why = connection.clone().unwrap_or_else(|| reason.to_owned());
                drop(connection);
                self.away(&why);
            }
            // One broker of several, or one of its addresses; all of them is the case above.
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut,
            ) => {
                let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
                *connection = Some(reason.to_owned());
                drop(connection);
                self.log(RDKafkaLogLevel::Info, "error", reason);
            }
            code => self.warn("error", &format!("{reason}{}", way_out(code))),
        }
    }

    pub(super) fn statistics(&self, statistics: &Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let lags = partitions.filter(|partition| partition.fetch_state == "active");
        let lag = lags.filter_map(|partition| u64::try_from(partition.consumer_lag).ok()).sum();
        self.change(|status| status.lag_records = Some(lag));
    }

    fn lock(&self) -> MutexGuard<'_, (EngineStatus, LogLimiter)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to do about an error.
pub(super) fn way_out(code: Option<RDKafkaErrorCode>) -> &'static str {
    match code {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            "; grant senders WRITE, owners READ and WRITE on the topic"
        }
        Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
            "; grant owners READ on the group (global_group)"
        }
        Some(RDKafkaErrorCode::ClusterAuthorizationFailed) => {
            "; the brokers refuse this user; see global_sasl_username"
        }
        Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
            "; see global_sasl_mechanism, global_sasl_username and global_sasl_password"
        }
        Some(RDKafkaErrorCode::SSL) => "; see global_tls, global_ca_file and global_cert_file",
        Some(RDKafkaErrorCode::InvalidSessionTimeout) => {
            "; the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms bound global_session_timeout"
        }
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            "; let the topic take records of 1 MiB (max.message.bytes)"
        }
        Some(RDKafkaErrorCode::FencedInstanceId) => "; another owner uses the same global_owner_id",
        _ => "",
    }
}
