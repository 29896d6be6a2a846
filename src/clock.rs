//! Wall and manual time: what the pipeline decides by.
//!
//! Every time that decides about data (buckets, timestamps, expiry, retries) is read from a [`Clock`],
//! so that tests can hold it still. Deadlines of blocking calls, watchdogs and stopwatches of reports
//! use [`Instant`] directly.
//!
//! In: nothing. Out: the time since the Unix epoch and a monotonic reading. Promise: cloned clocks
//! agree; a manual clock moves only when it is moved. Refusal: it never sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time, cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Wall { started: Instant },
    Manual { nanos: Arc<AtomicU64> },
}

impl Clock {
    /// The clock of the machine.
    #[must_use]
    pub fn wall() -> Self {
        Clock(Kind::Wall { started: Instant::now() })
    }

    /// A clock that stands at `unix` until [`Clock::advance`] or [`Clock::set`] moves it.
    #[must_use]
    pub fn manual(unix: Duration) -> Self {
        Clock(Kind::Manual { nanos: Arc::new(AtomicU64::new(nanos_of(unix))) })
    }

    /// Time since the Unix epoch. A machine set before 1970 reads as the epoch itself.
    #[must_use]
    pub fn unix(&self) -> Duration {
        match &self.0 {
            Kind::Wall { .. } => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Kind::Manual { nanos } => Duration::from_nanos(nanos.load(Ordering::Acquire)),
        }
    }

    /// A reading that never goes back on a wall clock; only differences mean anything.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Kind::Wall { started } => started.elapsed(),
            Kind::Manual { nanos } => Duration::from_nanos(nanos.load(Ordering::Acquire)),
        }
    }

    /// Moves a manual clock forward. A wall clock ignores it.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual { nanos } = &self.0 {
            nanos.fetch_add(nanos_of(by), Ordering::AcqRel);
        }
    }

    /// Sets a manual clock, also backwards. A wall clock ignores it.
    pub fn set(&self, unix: Duration) {
        if let Kind::Manual { nanos } = &self.0 {
            nanos.store(nanos_of(unix), Ordering::Release);
        }
    }
}

/// Nanoseconds, capped where a `u64` ends (the year 2554).
fn nanos_of(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
