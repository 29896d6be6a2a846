//! Where a server listens.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `host:port`, a path, or `unix://` and a path.
    ///
    /// # Errors
    /// When it is neither, or the host has no address.
    pub fn parse(text: &str) -> io::Result<Self> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if path.contains('/') {
            return Ok(Address::Unix(PathBuf::from(path)));
        }
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "not host:port and not a path");
        text.to_socket_addrs().map_err(|_| none())?.next().map(Address::Tcp).ok_or_else(none)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}
