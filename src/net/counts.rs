//! What one lane counted on one listener: plain numbers, one writer.

use super::listener::{ListenerId, Transport};

/// Counters of one listener in one lane since the start; add lanes up for the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerCounts {
    /// Which listener.
    pub listener: ListenerId,
    /// Its kind.
    pub transport: Transport,
    /// Datagrams read (cut and empty ones too).
    pub datagrams: u64,
    /// Frames read from streams; for TCP, chunks of whole lines.
    pub frames: u64,
    /// Payload bytes handed to the receiver, frame headers not counted.
    pub bytes: u64,
    /// Datagrams longer than the limit.
    pub datagrams_truncated: u64,
    /// Bytes cut from them, back to the last newline.
    pub bytes_truncated: u64,
    /// Reads and accepts that failed.
    pub read_errors: u64,
    /// Datagrams and frames without usable credentials (none, or pid 0) although asked for.
    pub credentials_missing: u64,
    /// Connections accepted.
    pub connections_accepted: u64,
    /// Connections closed at once because of the limit.
    pub connections_refused: u64,
    /// Connections open in this lane now: the one number here that also falls.
    pub connections_open: u64,
    /// Frames or TCP lines over the length limit.
    pub frames_oversize: u64,
    /// Frames that ended early, with their connection.
    pub frames_cut: u64,
    /// Datagrams the kernel dropped because the receive buffer was full (Linux; 0 elsewhere). As
    /// fresh as the last [`Lane::refresh_kernel_drops`](super::Lane::refresh_kernel_drops).
    pub kernel_drops: u64,
    /// Times a Unix socket was bound again because another program removed or replaced its file.
    pub bound_again: u64,
    /// 1 while the file of a Unix socket is gone or belongs to another process and binding again
    /// fails; falls back to 0.
    pub socket_lost: u64,
}

impl ListenerCounts {
    /// Adds what another lane counted on the same listener.
    pub fn add(&mut self, other: &ListenerCounts) {
        self.datagrams += other.datagrams;
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.datagrams_truncated += other.datagrams_truncated;
        self.bytes_truncated += other.bytes_truncated;
        self.read_errors += other.read_errors;
        self.credentials_missing += other.credentials_missing;
        self.connections_accepted += other.connections_accepted;
        self.connections_refused += other.connections_refused;
        self.connections_open += other.connections_open;
        self.frames_oversize += other.frames_oversize;
        self.frames_cut += other.frames_cut;
        self.kernel_drops += other.kernel_drops;
        self.bound_again += other.bound_again;
        self.socket_lost += other.socket_lost;
    }

    pub(super) fn new(listener: ListenerId, transport: Transport) -> Self {
        ListenerCounts {
            listener,
            transport,
            datagrams: 0,
            frames: 0,
            bytes: 0,
            datagrams_truncated: 0,
            bytes_truncated: 0,
            read_errors: 0,
            credentials_missing: 0,
            connections_accepted: 0,
            connections_refused: 0,
            connections_open: 0,
            frames_oversize: 0,
            frames_cut: 0,
            kernel_drops: 0,
            bound_again: 0,
            socket_lost: 0,
        }
    }
}
