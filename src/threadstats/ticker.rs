//! Which interval is open: published once, so that a bound counter need not divide and, where a
//! timer publishes, need not even read the clock.
//!
//! Clever: intervals are numbered by epochs, and the bounds of epoch `e` stand in place `e % 2`,
//! written before the epoch is. A reader that is overtaken between its two loads sees either a range
//! that does not hold its time (and takes the slow way) or an interval that ended that instant.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::number::Number;
use crate::clock::Clock;

/// The epoch that is never armed: the client does not record.
pub(crate) const NO_EPOCH: u64 = 0;

/// The open interval. Alone on its cache lines: every bound call reads it.
#[repr(align(128))]
pub(crate) struct Ticker {
    epoch: AtomicU64,
    by_timer: AtomicBool,
    bounds: [Bounds; 2],
    /// None while the client does not record.
    roll_up: Mutex<Option<Number>>,
}

#[derive(Default)]
struct Bounds {
    /// The bits of the start in seconds.
    start: AtomicU64,
    from_nanos: AtomicU64,
    until_nanos: AtomicU64,
}

impl Ticker {
    pub(crate) fn new() -> Self {
        Ticker {
            epoch: AtomicU64::new(NO_EPOCH),
            by_timer: AtomicBool::new(false),
            bounds: [Bounds::default(), Bounds::default()],
            roll_up: Mutex::new(None),
        }
    }

    /// The epoch of now, [`NO_EPOCH`] while the client does not record.
    #[inline]
    pub(crate) fn epoch(&self, clock: &Clock) -> u64 {
        let epoch = self.epoch.load(Ordering::Acquire);
        if self.by_timer.load(Ordering::Relaxed) {
            return epoch;
        }
        let now = clock.unix();
        let nanos = nanos(now);
        let bounds = &self.bounds[(epoch & 1) as usize];
        let open = bounds.from_nanos.load(Ordering::Relaxed) <= nanos
            && nanos < bounds.until_nanos.load(Ordering::Relaxed);
        if open { epoch } else { self.enter(now) }
    }

    /// Opens the interval of `now` unless it is open; returns its epoch.
    #[cold]
    pub(crate) fn enter(&self, now: Duration) -> u64 {
        let roll_up = self.roll_up.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(roll_up) = *roll_up else { return NO_EPOCH };
        let start = Number::Float(now.as_secs_f64()).floored_to(roll_up).as_f64();
        let epoch = self.epoch.load(Ordering::Relaxed);
        let open = &self.bounds[(epoch & 1) as usize];
        if epoch != NO_EPOCH
            && open.start.load(Ordering::Relaxed) == start.to_bits()
            && open.until_nanos.load(Ordering::Relaxed) > 0
        {
            return epoch;
        }
        let next = &self.bounds[((epoch + 1) & 1) as usize];
        next.start.store(start.to_bits(), Ordering::Relaxed);
        next.from_nanos.store((start * 1e9) as u64, Ordering::Relaxed);
        next.until_nanos.store(((start + roll_up.as_f64()) * 1e9) as u64, Ordering::Relaxed);
        self.epoch.store(epoch + 1, Ordering::Release);
        epoch + 1
    }

    /// The latest epoch and the start of its interval, none while the client does not record.
    pub(crate) fn open(&self) -> Option<(u64, Number)> {
        let roll_up = self.roll_up.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = self.epoch.load(Ordering::Relaxed);
        if roll_up.is_none() || epoch == NO_EPOCH {
            return None;
        }
        let start = self.bounds[(epoch & 1) as usize].start.load(Ordering::Relaxed);
        Some((epoch, Number::Float(f64::from_bits(start))))
    }

    /// Begins to number intervals of `roll_up` seconds, or stops with none. Epochs never repeat, so
    /// nothing armed before stays armed.
    pub(crate) fn restart(&self, roll_up: Option<Number>, now: Duration) {
        self.by_timer.store(false, Ordering::Relaxed);
        {
            let mut current = self.roll_up.lock().unwrap_or_else(PoisonError::into_inner);
            *current = roll_up;
            for bounds in &self.bounds {
                bounds.from_nanos.store(0, Ordering::Relaxed);
                bounds.until_nanos.store(0, Ordering::Relaxed);
            }
        }
        self.enter(now);
    }

    /// Whether a timer calls [`Ticker::enter`] at every boundary.
    pub(crate) fn publish_by_timer(&self, on: bool) {
        self.by_timer.store(on, Ordering::Relaxed);
    }

    /// Time until the open interval ends; none while the client does not record.
    pub(crate) fn until_boundary(&self, now: Duration) -> Option<Duration> {
        let (epoch, _) = self.open()?;
        let until = self.bounds[(epoch & 1) as usize].until_nanos.load(Ordering::Relaxed);
        Some(Duration::from_nanos(until.saturating_sub(nanos(now))))
    }
}

/// Saturates far after the year 2500.
#[inline]
fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos()))
}
