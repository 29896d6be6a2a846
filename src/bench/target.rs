//! Where a load goes: the address a user writes, and a connected socket to send through.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::corpus::{Corpus, Framing};
use super::sys;

/// A statsd server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `udp://host:port`
    Udp(String),
    /// `tcp://host:port`, lines separated by newlines.
    Tcp(String),
    /// `unixgram:///path` or `unix:///path`
    UnixDatagram(PathBuf),
    /// `unixstream:///path`, each payload behind its length as a little-endian `u32`.
    UnixStream(PathBuf),
}

/// How long one send may block before the sender looks whether it should stop.
const SEND_TIMEOUT: Duration = Duration::from_millis(500);

impl Target {
    /// How datagrams must stand in the block for this target.
    pub fn framing(&self) -> Framing {
        match self {
            Target::UnixStream(_) => Framing::LengthPrefixed,
            _ => Framing::Bare,
        }
    }

    /// The UDP port, which is where the kernel may drop.
    pub fn udp_port(&self) -> Option<u16> {
        match self {
            Target::Udp(address) => address.rsplit_once(':')?.1.parse().ok(),
            _ => None,
        }
    }

    /// Fills `{host}`, `{port}`, `{path}` and `{target}` of a server's command line.
    pub fn fill_placeholders(&self, command: &str) -> String {
        let filled = command.replace("{target}", &self.to_string());
        match self {
            Target::Udp(address) | Target::Tcp(address) => {
                let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
                filled.replace("{host}", host).replace("{port}", port)
            }
            Target::UnixDatagram(path) | Target::UnixStream(path) => {
                filled.replace("{path}", &path.to_string_lossy())
            }
        }
    }

    /// Replaces port 0 by a free one, so that a started server can be given its port.
    ///
    /// # Errors
    /// When no port can be bound there.
    pub fn with_free_port(self) -> io::Result<Self> {
        let free = |address: &str| address.strip_suffix(":0").map(str::to_owned);
        match self {
            Target::Udp(address) if address.ends_with(":0") => {
                let port = UdpSocket::bind(&address)?.local_addr()?.port();
                Ok(Target::Udp(format!("{}:{port}", free(&address).unwrap_or_default())))
            }
            Target::Tcp(address) if address.ends_with(":0") => {
                let port = std::net::TcpListener::bind(&address)?.local_addr()?.port();
                Ok(Target::Tcp(format!("{}:{port}", free(&address).unwrap_or_default())))
            }
            settled => Ok(settled),
        }
    }

    /// The socket addresses of a network target; none for a Unix socket.
    ///
    /// # Errors
    /// When the name does not resolve.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Target::Udp(address) | Target::Tcp(address) => Ok(address.to_socket_addrs()?.collect()),
            Target::UnixDatagram(_) | Target::UnixStream(_) => Ok(Vec::new()),
        }
    }

    /// Opens a sender's own socket. Every name but a loopback one is refused unless `remote`: the
    /// address is resolved here once and the socket goes to exactly what was checked.
    ///
    /// # Errors
    /// When the name does not resolve, is not local, or nothing listens (Unix sockets and TCP).
    pub fn connect(&self, remote: bool) -> io::Result<Connection> {
        let addresses = self.addresses()?;
        if !remote
            && let Some(far) = addresses.iter().find(|a| !a.ip().to_canonical().is_loopback())
        {
            let why = format!("{far} is not on this machine; use --allow-remote to send there");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        match self {
            Target::Udp(_) => {
                let first = addresses.first().ok_or(io::ErrorKind::AddrNotAvailable)?;
                let any = if first.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any)?;
                socket.connect(first)?;
                socket.set_write_timeout(Some(SEND_TIMEOUT))?;
                Ok(Connection::Udp(socket))
            }
            Target::Tcp(_) => {
                let socket = TcpStream::connect(&addresses[..])?;
                socket.set_nodelay(true)?;
                socket.set_write_timeout(Some(SEND_TIMEOUT))?;
                Ok(Connection::Tcp(socket))
            }
            Target::UnixDatagram(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(SEND_TIMEOUT))?;
                Ok(Connection::UnixDatagram(socket))
            }
            Target::UnixStream(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_write_timeout(Some(SEND_TIMEOUT))?;
                Ok(Connection::UnixStream(socket))
            }
        }
    }
}

/// A connected, blocking socket.
#[derive(Debug)]
pub enum Connection {
    /// Datagrams over UDP.
    Udp(UdpSocket),
    /// Bytes over TCP.
    Tcp(TcpStream),
    /// Datagrams over a Unix socket; a full queue blocks.
    UnixDatagram(UnixDatagram),
    /// Bytes over a Unix socket.
    UnixStream(UnixStream),
}

impl Connection {
    /// Sends up to `count` datagrams of the block from `index` on and returns how many went. On a
    /// stream they go as one piece; `stop` is checked whenever the peer blocks, and stopping
    /// inside a piece breaks the connection for good.
    ///
    /// # Errors
    /// `WouldBlock` when nothing went within half a second; anything else the kernel says.
    pub fn send(
        &mut self,
        corpus: &Corpus,
        index: usize,
        count: usize,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<usize> {
        match self {
            Connection::Udp(socket) => send_batch(socket.as_fd(), corpus, index, count),
            Connection::UnixDatagram(socket) => send_batch(socket.as_fd(), corpus, index, count),
            Connection::Tcp(socket) => write_piece(socket, corpus.bytes_of(index, count), stop),
            Connection::UnixStream(socket) => {
                write_piece(socket, corpus.bytes_of(index, count), stop)
            }
        }
        .map(|sent| sent.unwrap_or(count))
    }

    /// True when a failed send ends it: the peer would lose its place among the bytes.
    pub fn is_stream(&self) -> bool {
        matches!(self, Connection::Tcp(_) | Connection::UnixStream(_))
    }
}

fn send_batch(
    socket: std::os::fd::BorrowedFd<'_>,
    corpus: &Corpus,
    index: usize,
    count: usize,
) -> io::Result<Option<usize>> {
    let mut batch: [&[u8]; sys::BATCH_MAX] = [&[]; sys::BATCH_MAX];
    let count = count.min(sys::BATCH_MAX);
    for (offset, slot) in batch[..count].iter_mut().enumerate() {
        *slot = corpus.datagram(index + offset);
    }
    sys::send_many(socket, &batch[..count]).map(Some)
}

/// Writes all of `piece`; `None` says that everything went.
fn write_piece(
    socket: &mut impl io::Write,
    piece: &[u8],
    stop: &dyn Fn() -> bool,
) -> io::Result<Option<usize>> {
    let mut written = 0;
    while written < piece.len() {
        match socket.write(&piece[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => written += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && written > 0 => {
                if stop() {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "stopped inside a frame"));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            format!("`{text}` is not a target; use udp://127.0.0.1:8125, unixgram:///path, unixstream:///path or tcp://127.0.0.1:8125")
        })?;
        match scheme {
            "udp" | "tcp" => {
                let port = rest.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
                let address = match port {
                    Some(Ok(_)) => rest.to_owned(),
                    None if scheme == "udp" => format!("{rest}:8125"),
                    _ => {
                        return Err(format!("`{rest}` has no port; use {scheme}://127.0.0.1:8125"));
                    }
                };
                Ok(if scheme == "udp" { Target::Udp(address) } else { Target::Tcp(address) })
            }
            "unix" | "unixgram" | "unixstream" if !rest.starts_with('/') => {
                Err(format!("`{rest}` is not an absolute path; use {scheme}:///run/statsd.sock"))
            }
            "unix" | "unixgram" => Ok(Target::UnixDatagram(rest.into())),
            "unixstream" => Ok(Target::UnixStream(rest.into())),
            _ => {
                Err(format!("`{scheme}` is not a transport; use udp, tcp, unixgram or unixstream"))
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Udp(address) => write!(f, "udp://{address}"),
            Target::Tcp(address) => write!(f, "tcp://{address}"),
            Target::UnixDatagram(path) => write!(f, "unixgram://{}", path.display()),
            Target::UnixStream(path) => write!(f, "unixstream://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, expect: &str) {
        let got = text.parse::<Target>().map_or_else(|why| why, |target| target.to_string());
        assert!(got.contains(expect), "{text}: {got}");
    }

    #[test]
    fn addresses_are_read_as_clients_write_them() {
        reads("udp://127.0.0.1:8125", "udp://127.0.0.1:8125");
        reads("udp://[::1]:8125", "udp://[::1]:8125");
        reads("udp://localhost", "udp://localhost:8125");
        reads("unix:///run/dsd.socket", "unixgram:///run/dsd.socket");
        reads("unixgram:///run/dsd.socket", "unixgram:///run/dsd.socket");
        reads("unixstream:///run/dsd.socket", "unixstream:///run/dsd.socket");
        reads("tcp://127.0.0.1:9125", "tcp://127.0.0.1:9125");
        reads("tcp://127.0.0.1", "has no port");
        reads("udp://127.0.0.1:99999", "has no port");
        reads("unix://relative", "not an absolute path");
        reads("http://x:1", "`http` is not a transport");
        reads("127.0.0.1:8125", "is not a target");
    }

    #[test]
    fn other_machines_need_allow_remote() {
        for far in ["udp://192.0.2.1:8125", "udp://0.0.0.0:8125", "udp://[2001:db8::1]:1"] {
            let target: Target = far.parse().unwrap();
            let refused = target.connect(false).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{far}");
        }
        let near: Target = "udp://127.0.0.1:9".parse().unwrap();
        assert!(near.connect(false).is_ok());
    }

    #[test]
    fn placeholders_are_replaced_by_the_address() {
        let udp: Target = "udp://127.0.0.1:8126".parse().unwrap();
        assert_eq!(
            udp.fill_placeholders("s --port {port} --host {host}"),
            "s --port 8126 --host 127.0.0.1"
        );
        let unix: Target = "unix:///tmp/s".parse().unwrap();
        assert_eq!(unix.fill_placeholders("s {path} {target}"), "s /tmp/s unixgram:///tmp/s");
    }

    #[test]
    fn port_0_becomes_a_free_port() {
        for text in ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"] {
            let settled = text.parse::<Target>().unwrap().with_free_port().unwrap().to_string();
            assert!(settled.starts_with(&text[..16]) && !settled.ends_with(":0"), "{settled}");
        }
    }
}
