//! What a sender needs of a log.

use std::time::Duration;

use thiserror::Error;

/// A partitioned log that takes records and reports later what became of each.
pub trait Log {
    /// Hands over a record. Every record that was taken is reported once with its ticket, unless
    /// [`Log::renew`] comes first.
    ///
    /// # Errors
    /// When it takes none right now, or not this one.
    fn append(
        &mut self,
        topic: &str,
        partition: u32,
        record: &[u8],
        ticket: u64,
    ) -> Result<(), AppendError>;

    /// Waits for reports, at most so long.
    fn reports(&mut self, wait: Duration, into: &mut Vec<Report>);

    /// Starts afresh: what was on its way is forgotten, though it may arrive.
    ///
    /// # Errors
    /// What the engine said.
    fn renew(&mut self) -> Result<(), String>;
}

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// Its own queue is full; reports make room.
    #[error("the producer's queue is full")]
    Full,
    /// Not this record, or not now.
    #[error("{0}")]
    Refused(String),
    /// It takes nothing any more.
    #[error("{0}")]
    Fatal(String),
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// As handed over.
    pub ticket: u64,
    /// The answer.
    pub outcome: Outcome,
}

/// An answer of the log, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every replica that has to has it.
    Acknowledged,
    /// Refused, or no answer in time: it may have arrived all the same.
    Failed(String),
    /// The same, and the log takes nothing any more.
    Fatal(String),
}
