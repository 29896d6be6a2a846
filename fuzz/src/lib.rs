//! What every input of a door must keep, one function `run(&[u8])` per door.
//!
//! The same files are part of the tests, which run them over the seeds.

pub mod capture_file;
pub mod configuration;
pub mod datagram;
pub mod framing;
pub mod intake;
pub mod part;
pub mod part_merge;
pub mod record;
