//! What a checkpoint may be given beside its place.

use std::time::Duration;

/// The optional part of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// Further edge tags, `key:value`. They are part of the hash, so their values must be few.
    pub tags: &'a [&'a str],
    /// Bytes of the message: body, key and headers.
    pub payload_size: u64,
    /// Leaves out the tag `manual_checkpoint:true`, which says that a person wrote this call: for integrations
    /// with a client.
    pub automatic: bool,
    /// When the message left the checkpoint before, since the epoch, instead of what its context says.
    pub edge_start: Option<Duration>,
    /// When the message passed its first checkpoint, instead of what its context says.
    pub pathway_start: Option<Duration>,
}
