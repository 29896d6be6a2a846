//! Which listener, and which kind of socket.

use std::fmt;

/// Position of a listener in [`Bound::listeners`](super::Bound::listeners), the same in every lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// The kind of socket bytes came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP datagrams.
    Udp,
    /// Unix datagrams.
    UnixDatagram,
    /// Unix stream with 4-byte little-endian length frames.
    UnixStream,
    /// TCP with newline framing.
    Tcp,
    /// HTTP over TCP or a Unix stream: bound here, read by another room.
    Http,
}

impl Transport {
    /// `udp`, `uds`, `uds-stream`, `tcp` or `http`: the word in banners and messages.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::UnixDatagram => "uds",
            Transport::UnixStream => "uds-stream",
            Transport::Tcp => "tcp",
            Transport::Http => "http",
        }
    }

    /// Whether bytes come over accepted connections.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Transport::UnixStream | Transport::Tcp | Transport::Http)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
