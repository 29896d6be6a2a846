//! Where a flush goes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::series::{Event, Series};

/// Takes what a flush drained. The three methods are called in this order, at most once per flush
/// and never with an empty list; an error ends the flush.
///
/// The lists are gone from the client when a method is called: a reporter that retries keeps
/// them. A method may block; meanwhile other flushes are answered with
/// [`FlushOutcome::Busy`](super::FlushOutcome::Busy) and recording continues.
pub trait Reporter: Send {
    /// Gauges and rates.
    ///
    /// # Errors
    /// Whatever kept them from being delivered; they and the distributions of this flush are lost.
    fn flush_metrics(&mut self, metrics: &[Series]) -> Result<Delivery, ReportError>;

    /// Distributions.
    ///
    /// # Errors
    /// Whatever kept them from being delivered; they are lost.
    fn flush_distributions(&mut self, distributions: &[Series]) -> Result<Delivery, ReportError>;

    /// Events.
    ///
    /// # Errors
    /// Whatever kept them from being delivered; they are lost.
    fn flush_events(&mut self, events: &[Event]) -> Result<Delivery, ReportError>;

    /// The client was started (again): forget what earlier flushes left behind.
    fn restart(&mut self) {}
}

/// What became of a list without ending the flush.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Items of the list that will not arrive although nothing failed: refused by the API, or not
    /// expressible. Counted as [`Loss::Rejected`](super::Loss::Rejected).
    pub rejected: usize,
}

impl Delivery {
    /// Everything was taken.
    pub const COMPLETE: Delivery = Delivery { rejected: 0 };

    /// This many items were not taken.
    #[must_use]
    pub fn rejecting(rejected: usize) -> Self {
        Delivery { rejected }
    }
}

/// Why a list was not delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The only error that [`ThreadStats::flush`](super::ThreadStats::flush) returns.
    #[error("API key not set: give one to the builder, or set DATADOG_API_KEY or DD_API_KEY")]
    NotInitialised,
    /// The request took longer than the timeout.
    #[error("no answer from {url} within {timeout:?}")]
    Timeout {
        /// The route, without secrets.
        url: String,
        /// What was waited.
        timeout: Duration,
    },
    /// Too many timeouts in a row: nothing is sent for a while.
    #[error("backing off after repeated timeouts, {0:?} left")]
    Backoff(Duration),
    /// The connection or the exchange failed.
    #[error("{url}: {reason}")]
    Transport {
        /// The route, without secrets.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The status is neither a success nor one that the API explains in JSON.
    #[error("{url} answered with status {status}")]
    Status {
        /// The route, without secrets.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is not JSON.
    #[error("{url} answered something that is not JSON: {start:?}")]
    NotJson {
        /// The route, without secrets.
        url: String,
        /// The first characters of the answer.
        start: String,
    },
    /// The API answered with errors and the reporter is not muted.
    #[error("{url} refused: {errors}")]
    Api {
        /// The route, without secrets.
        url: String,
        /// The `errors` of the answer.
        errors: String,
    },
    /// Handing over failed on this machine.
    #[error("could not hand over: {0}")]
    Io(#[from] std::io::Error),
    /// The reporter panicked.
    #[error("the reporter panicked")]
    Panicked,
    /// Any other reason a reporter gives.
    #[error("{0}")]
    Other(String),
}

/// Keeps what it is given, for tests and for callers that deliver themselves. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryReporter(Arc<Mutex<Reported>>);

/// The lists a [`MemoryReporter`] has gathered, in the order of their arrival.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reported {
    /// Gauges and rates.
    pub metrics: Vec<Series>,
    /// Distributions.
    pub distributions: Vec<Series>,
    /// Events.
    pub events: Vec<Event>,
}

impl MemoryReporter {
    /// Takes out everything gathered so far.
    #[must_use]
    pub fn take(&self) -> Reported {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, add: impl FnOnce(&mut Reported)) -> Result<Delivery, ReportError> {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Delivery::COMPLETE)
    }
}

impl Reporter for MemoryReporter {
    fn flush_metrics(&mut self, metrics: &[Series]) -> Result<Delivery, ReportError> {
        self.keep(|reported| reported.metrics.extend_from_slice(metrics))
    }

    fn flush_distributions(&mut self, distributions: &[Series]) -> Result<Delivery, ReportError> {
        self.keep(|reported| reported.distributions.extend_from_slice(distributions))
    }

    fn flush_events(&mut self, events: &[Event]) -> Result<Delivery, ReportError> {
        self.keep(|reported| reported.events.extend_from_slice(events))
    }
}

impl fmt::Debug for dyn Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}
