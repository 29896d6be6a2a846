//! Measures a scope.

use std::time::Duration;

use super::client::ThreadStats;
use super::options::Opts;

/// Records the seconds from its making to its drop, also when a panic drops it. Made by
/// [`ThreadStats::timer`].
#[derive(Debug)]
pub struct Timer<'a> {
    stats: &'a ThreadStats,
    name: &'a str,
    opts: Opts<'a>,
    began: Duration,
}

impl ThreadStats {
    /// Measures until the guard is dropped, also by a panic, and records a
    /// [`timing`](ThreadStats::timing) in **seconds**.
    #[must_use]
    pub fn timer<'a>(&'a self, name: &'a str, opts: impl Into<Opts<'a>>) -> Timer<'a> {
        Timer::new(self, name, opts.into())
    }

    /// Calls `work` under a [`timer`](ThreadStats::timer) and hands on its result.
    ///
    /// ```
    /// # use whippet::ThreadStats;
    /// # let stats = ThreadStats::builder().env(|_| None).flush_on_drop(false).build();
    /// assert_eq!(stats.timed("parse", (), || 6 * 7), 42);
    /// ```
    pub fn timed<'a, T>(
        &'a self,
        name: &'a str,
        opts: impl Into<Opts<'a>>,
        work: impl FnOnce() -> T,
    ) -> T {
        let _timer = self.timer(name, opts);
        work()
    }
}

impl<'a> Timer<'a> {
    pub(crate) fn new(stats: &'a ThreadStats, name: &'a str, opts: Opts<'a>) -> Self {
        Timer { stats, name, opts, began: stats.0.inner.clock.monotonic() }
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let elapsed = self.stats.0.inner.clock.monotonic().saturating_sub(self.began);
        self.stats.timing(self.name, elapsed.as_secs_f64(), self.opts);
    }
}
