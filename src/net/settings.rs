//! What to listen on, as plain values: the composer fills them from its configuration.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use super::Transport;

/// Everything [`bind`](super::bind) and the lanes need to know.
#[derive(Debug)]
pub struct NetSettings {
    /// The UDP listener; `None` turns it off.
    pub udp: Option<InternetSettings>,
    /// Path of the Unix datagram socket; `None` turns it off.
    pub unix_datagram: Option<PathBuf>,
    /// Path of the Unix stream socket (4-byte length frames); `None` turns it off.
    pub unix_stream: Option<PathBuf>,
    /// The TCP listener (newline framing); `None` turns it off.
    pub tcp: Option<InternetSettings>,
    /// Permission bits of the datagram socket's file, default `0o722` as the Agent's: every
    /// user may send.
    pub socket_mode: u32,
    /// Permission bits of the stream socket's file, the same by default.
    pub stream_socket_mode: u32,
    /// Bytes of receive buffer to ask for, default 4 MiB; 0 leaves the system's default.
    pub receive_buffer_bytes: usize,
    /// Longest datagram, frame or TCP line in bytes, default 8192; a longer datagram is cut, a longer
    /// frame closes its connection, a longer line is skipped.
    pub datagram_bytes_max: usize,
    /// Number of lanes, at least 1.
    pub lanes: usize,
    /// With several lanes: one UDP socket per lane and address in a `SO_REUSEPORT` group. Otherwise
    /// the first lane owns UDP.
    pub reuse_port: bool,
    /// Most stream connections open at once over all lanes, default 1024; one more is closed.
    pub connections_max: usize,
    /// Ask the kernel for the sender's process on Unix sockets (`SO_PASSCRED`, Linux only).
    pub credentials: bool,
    /// Listeners that no one asked for: one of these that cannot be bound is off while another
    /// works. Any other that cannot be bound is fatal.
    pub optional: Vec<Transport>,
    /// Sockets handed over by a service manager. Each one replaces the listener of its kind.
    pub inherited: Vec<OwnedFd>,
    /// HTTP is served beside, by another room: no listener is needed here.
    pub http_beside: bool,
    /// Longest pause between two reads of coalesced sockets, default 1 ms, counted in whole
    /// milliseconds; 0 turns pausing off.
    pub pause: Duration,
}

impl Default for NetSettings {
    fn default() -> Self {
        NetSettings {
            udp: None,
            unix_datagram: None,
            unix_stream: None,
            tcp: None,
            socket_mode: 0o722,
            stream_socket_mode: 0o722,
            receive_buffer_bytes: 4 << 20,
            datagram_bytes_max: 8192,
            lanes: 1,
            reuse_port: true,
            connections_max: 1024,
            credentials: false,
            optional: Vec::new(),
            inherited: Vec::new(),
            http_beside: false,
            pause: Duration::from_millis(1),
        }
    }
}

/// Where a UDP or TCP listener stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternetSettings {
    /// Which addresses to bind.
    pub addresses: Addresses,
    /// The port; 0 asks the kernel for a free one, the same for every address.
    pub port: u16,
}

/// Which addresses a listener binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// `127.0.0.1`, and `::1` where IPv6 exists.
    /// Differs: the Agent binds the one address `localhost` resolves to; a client that resolves it
    /// to the other one is not heard there.
    Loopback,
    /// One host name or literal address; a name is resolved and its first address is bound.
    /// `localhost` means [`Addresses::Loopback`].
    Host(String),
    /// Every interface, IPv4 and IPv6.
    Everywhere,
}
