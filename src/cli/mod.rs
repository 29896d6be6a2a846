//! (cli)
pub mod bench;
