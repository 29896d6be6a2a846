//! In: the global cells of a flush. Out: parts, as records appended to the log, each until it is acknowledged.
//! Promise: every cell is acknowledged, waiting, on disk, or dropped for a reason that is counted, at every
//! moment; a part keeps its identity through every retry and restart; memory and disk are bounded.
//! Refusal: it names no broker and no library; what a part holds is not its business.

mod accounting;
mod log;
mod outgoing;
mod part_spool;
mod parts;
mod queue;
#[cfg(test)]
mod tests;

pub use accounting::{DropReason, SenderCounts};
pub use log::{AppendError, Log, Outcome, Report};
pub use outgoing::OutgoingPart;
pub use part_spool::SpoolSettings;
pub use parts::{EncodedFlush, Parts, Topic, Topics};
pub use queue::{Sender, SenderSettings, SenderStatus};
