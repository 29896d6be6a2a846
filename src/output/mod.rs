//! In: each flush. Out: something a person or a script reads. Promise: one table or one set of lines
//! per flush, written out at once; bytes from the wire never reach a terminal raw. Refusal: an output
//! that cannot write says so once and never stops the flush.

mod console;
#[cfg(feature = "server")]
mod datadog;
#[cfg(feature = "server")]
mod dry_run;
mod jsonl;

pub use console::{Console, Table};
#[cfg(feature = "server")]
#[cfg(feature = "server")]
pub use datadog::Discarded;
#[cfg(feature = "global")]
pub(crate) use datadog::report_left_out;
#[cfg(feature = "server")]
pub(crate) use datadog::{DatadogOutput, DatadogSettings, Delivery, EnabledPayloads};
#[cfg(feature = "server")]
pub use dry_run::DryRun;
#[cfg(feature = "server")]
pub(crate) use dry_run::NO_KEY;
pub use jsonl::JsonLines;

use crate::flush::FlushView;

/// Where a flush goes.
pub trait Output: Send {
    /// Writes one flush. Called from the flusher thread, in order of time.
    fn flush(&mut self, flush: &FlushView<'_>);
}
