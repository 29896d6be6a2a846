//! Numbers by which an answer finds what it answers.

/// The number of a posting, unique in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PostingId(pub u64);

/// The number of a repair pass; events of another pass are ignored.
pub type RepairId = u64;
