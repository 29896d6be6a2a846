//! Records on disk that outlive the process: one file each, checksummed, whole or not there at all.
//!
//! In: bytes, with a few numbers that describe them. Out: the same after a restart, or why not.
//! Promise: a process killed at any byte leaves a record whole or absent; a damaged file is noticed and
//! set aside; two processes never share a directory; other users cannot read it. Refusal: which
//! records go when there is no room, and what is in them, is decided by those who write them.

mod directory;
mod frame;

pub(crate) use directory::SpoolDirectory;
pub use frame::RecordError;
pub(crate) use frame::{FIELD_BYTES, Frame, HEADER_BYTES, Opened, number_at};
