//! What a call site holds of a metric.

use std::sync::Arc;

use super::cells::{NumberCell, ValuesCell};

/// Adds to a count. Clones are the same metric; a handle stays valid whatever becomes of its client.
#[derive(Clone, Debug)]
pub struct Count(pub(super) Arc<NumberCell>);

impl Count {
    /// Adds `value`. What is not finite is refused and counted.
    #[inline]
    pub fn submit(&self, value: f64) {
        self.0.add(value);
    }

    /// The sum that waits for the next point, none without one.
    #[must_use]
    pub fn get(&self) -> Option<f64> {
        self.0.get()
    }
}

/// Adds to a rate: a sum that is divided by the seconds it took. See [`Count`].
#[derive(Clone, Debug)]
pub struct Rate(pub(super) Arc<NumberCell>);

impl Rate {
    /// Adds `value`. What is not finite is refused and counted.
    #[inline]
    pub fn submit(&self, value: f64) {
        self.0.add(value);
    }

    /// The sum that waits for the next point, none without one.
    #[must_use]
    pub fn get(&self) -> Option<f64> {
        self.0.get()
    }
}

/// Sets a gauge; the last value stands. See [`Count`].
#[derive(Clone, Debug)]
pub struct Gauge(pub(super) Arc<NumberCell>);

impl Gauge {
    /// Sets the value. What is not finite is refused and counted.
    #[inline]
    pub fn submit(&self, value: f64) {
        self.0.set(value);
    }

    /// The value that waits for the next point, none without one.
    #[must_use]
    pub fn get(&self) -> Option<f64> {
        self.0.get()
    }
}

/// Adds to a distribution, whose values are all sent. See [`Count`].
#[derive(Clone, Debug)]
pub struct Distribution(pub(super) Arc<ValuesCell>);

impl Distribution {
    /// Adds `value`. What is not finite is refused and counted; past 16,384 values between two
    /// flushes the oldest go, which is counted and logged once.
    pub fn submit(&self, value: f64) {
        self.0.add(value);
    }

    /// The value that came last, none without one.
    #[must_use]
    pub fn get(&self) -> Option<f64> {
        self.0.newest()
    }
}
