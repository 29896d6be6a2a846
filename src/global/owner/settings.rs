//! What an owner decides by.

use std::time::Duration;

use crate::part::PartLimits;

/// Collected for that long before late parts are repaired.
pub(super) const REPAIR_COLLECT: Duration = Duration::from_secs(5);

/// How much later than a correction's first part it is posted, so that several make one.
pub(super) const CORRECTION_COALESCE: Duration = Duration::from_secs(1);

/// A barrier that is not back by then is repeated.
pub(super) const BARRIER_REPEAT: Duration = Duration::from_secs(2);

/// A commit at least that often, also of the same offset: it renews the lease.
pub(super) const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// A counter is posted as 0 that long after its last value.
pub(super) const ZERO_FOR: u64 = 300;

/// Parts whose interval ends further ahead of the clock than that are refused.
pub(super) const FUTURE_MAX: Duration = Duration::from_secs(600);

/// A repair pass begins that long before the end of the oldest interval: no part of it that was not
/// refused was appended earlier, and clocks may differ by a minute.
pub(super) const REPAIR_LEAD: Duration = Duration::from_secs(600 + 60);

/// How far ahead of this clock the interval named by another owner's barrier may be.
pub(super) const FLOOR_AHEAD_MAX: Duration = Duration::from_secs(60);

/// Series of one repair pass, unless one interval has more.
pub(super) const REPAIR_SERIES_MAX: usize = 200_000;

/// What one is taken for, so that a pass fits into a quarter of the memory.
pub(super) const REPAIR_SERIES_BYTES: usize = 256;

/// Reads from the oldest record after one pass that missed something, and gives up after three.
pub(super) const REPAIR_ATTEMPTS_MAX: u32 = 3;

/// Reading goes on below this share of the memory limit, in percent.
pub(super) const RESUME_PERCENT: usize = 80;

/// Senders whose parts are counted apart.
pub(super) const SENDERS_MAX: usize = 1_024;

/// The settings of an owner.
#[derive(Clone, Debug)]
pub struct OwnerSettings {
    /// Seconds of an interval; parts with another are refused.
    pub interval: u32,
    /// Partitions of the topic; parts that name another number are refused.
    pub partitions: u32,
    /// How long after the end of an interval, and after its first part, it is posted first.
    pub grace: Duration,
    /// How long after its end an interval takes in later parts without a repair.
    pub late: Duration,
    /// Parts whose interval ended longer ago are counted and not posted.
    pub late_max: Duration,
    /// How long the group waits for a stalled member; values leave for half of it after a commit.
    pub session: Duration,
    /// Bytes of unsettled state beyond which reading pauses.
    pub memory_max: usize,
    /// Records of a newer format are skipped and counted; otherwise their partition is held.
    pub skip_unknown: bool,
    /// Sets of more members are estimated.
    pub set_members_max: usize,
    /// Bounds of a record.
    pub limits: PartLimits,
}

impl OwnerSettings {
    /// The end of the interval that starts at `start`, since the Unix epoch.
    pub(super) fn end(&self, start: u64) -> Duration {
        Duration::from_secs(start.saturating_add(u64::from(self.interval)))
    }
}
