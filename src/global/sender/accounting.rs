//! What became of every cell.

use std::fmt;

use crate::text::grouped;

/// Why cells were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum DropReason {
    /// More waited in memory than may, and there is no spool.
    QueueFull,
    /// More waited than memory and spool may hold, or the spool cannot be written.
    SpoolFull,
    /// Older than the intake takes.
    TooOld,
    /// The process ended, and there is no spool.
    Shutdown,
    /// Its file was damaged, or removed by another program.
    SpoolDamaged,
}

impl DropReason {
    /// All, in the order of [`SenderCounts::dropped`].
    pub const ALL: [DropReason; 5] = [
        DropReason::QueueFull,
        DropReason::SpoolFull,
        DropReason::TooOld,
        DropReason::Shutdown,
        DropReason::SpoolDamaged,
    ];

    /// As a label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::SpoolFull => "spool_full",
            DropReason::TooOld => "too_old",
            DropReason::Shutdown => "shutdown",
            DropReason::SpoolDamaged => "spool_damaged",
        }
    }
}

/// Cells: `encoded = acked + waiting + spooled + dropped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderCounts {
    /// Not put into any part, and not counted otherwise: a line feed in a name or tag, or a key longer
    /// than a part may hold.
    pub unforwardable: u64,
    /// Put into parts, by this run and by those that left parts in the spool.
    pub encoded: u64,
    /// Of these, found in the spool at the start.
    pub restored: u64,
    /// Acknowledged by the log.
    pub acked: u64,
    /// In memory, on their way or waiting for it; with a spool on disk too.
    pub waiting: u64,
    /// On disk only.
    pub spooled: u64,
    /// By reason.
    pub dropped: [u64; DropReason::ALL.len()],
    /// Parts acknowledged.
    pub parts_acked: u64,
    /// Bytes acknowledged.
    pub bytes_acked: u64,
    /// Parts that had to be handed over again.
    pub retries: u64,
    /// Times the connection was given up for a new one.
    pub renewals: u64,
}

impl SenderCounts {
    /// Dropped for one reason.
    #[must_use]
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Dropped for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Whether every cell has its place.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.encoded == self.acked + self.waiting + self.spooled + self.dropped_total()
    }
}

impl fmt::Display for SenderCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} encoded = {} acked + {} waiting + {} spooled + {} dropped",
            grouped(self.encoded),
            grouped(self.acked),
            grouped(self.waiting),
            grouped(self.spooled),
            grouped(self.dropped_total()),
        )?;
        let reasons = DropReason::ALL.iter().filter(|reason| self.dropped_for(**reason) > 0);
        let named: Vec<String> = reasons
            .map(|reason| format!("{} {}", reason.word(), grouped(self.dropped_for(*reason))))
            .collect();
        if !named.is_empty() {
            write!(f, " ({})", named.join(", "))?;
        }
        if self.restored > 0 {
            write!(f, "; {} of them encoded by an earlier run", grouped(self.restored))?;
        }
        if self.unforwardable > 0 {
            write!(f, "; {} could not be encoded", grouped(self.unforwardable))?;
        }
        Ok(())
    }
}
