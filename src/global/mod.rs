//! The global tier: one owner per series, across hosts.
//!
//! In: the cells of global series that the flusher sets apart, and records of a partitioned log. Out:
//! parts of closed buckets into the log; the whole values of the partitions this process owns, to the
//! intake. Promise: one owner posts a series, always its whole value at a second, so a replay changes
//! nothing. Refusal: posting what may be a part of a value; keeping what the log keeps.

pub mod engine;
pub mod owner;
pub mod posting;
pub mod sender;
