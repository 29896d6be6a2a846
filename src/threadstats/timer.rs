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
