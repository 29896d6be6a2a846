//! The target: an address from the command line or the environment, and the socket to it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

/// The default port.
const PORT: u16 = 8125;
/// How long to wait for an ICMP "port unreachable" after a UDP datagram; on one machine it is immediate.
const REFUSAL_WAIT: Duration = Duration::from_millis(100);
const REFUSAL_WAIT_LOOPBACK: Duration = Duration::from_millis(20);
/// Timeout for a receiver that does not read, and for connecting.
const PATIENCE: Duration = Duration::from_secs(2);
/// The socket exists, but is of the other type.
const WRONG_TYPE: i32 = libc::EPROTOTYPE;

/// An address that `--to` or the environment names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `udp://host:port`
    Udp(String),
    /// `tcp://host:port`
    Tcp(String),
    /// `unix:///path`: a datagram socket, else a stream.
    Unix(PathBuf),
    /// `unixgram:///path`
    UnixDatagram(PathBuf),
    /// `unixstream:///path`
    UnixStream(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!(
                "{text:?} is not a valid target; use udp://host:port, tcp://host:port, unix:///path, \
                 unixgram:///path or unixstream:///path"
            ));
        };
        let rest = rest.trim_end_matches('/');
        if rest.is_empty() {
            return Err(format!("{text:?} has no address after {scheme}://"));
        }
        match scheme {
            "udp" => Ok(Target::Udp(with_port(rest)?)),
            "tcp" => Ok(Target::Tcp(with_port(rest)?)),
            "unix" => Ok(Target::Unix(rest.into())),
            "unixgram" => Ok(Target::UnixDatagram(rest.into())),
            "unixstream" => Ok(Target::UnixStream(rest.into())),
            _ => Err(format!("{scheme}:// is unknown; use udp, tcp, unix, unixgram or unixstream")),
        }
    }
}

/// Adds the default port to `host`, `host:port`, `::1` or `[::1]:port` if it has none.
fn with_port(text: &str) -> Result<String, String> {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(format!("[{text}]:{PORT}"));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => match port.parse::<u16>() {
            Ok(1..) if !host.is_empty() => Ok(text.to_owned()),
            _ => Err(format!("{text:?} is not a valid host:port; use a port from 1 to 65535")),
        },
        _ => Ok(format!("{text}:{PORT}")),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Udp(address) => write!(to, "udp {address}"),
            Target::Tcp(address) => write!(to, "tcp {address}"),
            Target::Unix(path) | Target::UnixDatagram(path) => {
                write!(to, "unix {}", path.display())
            }
            Target::UnixStream(path) => write!(to, "unix stream {}", path.display()),
        }
    }
}

impl Target {
    /// The variables that clients read: `DD_DOGSTATSD_URL`, else `DD_AGENT_HOST` and `DD_DOGSTATSD_PORT`, else
    /// 127.0.0.1:8125.
    pub fn from_environment(env: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let set = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        if let Some(url) = set("DD_DOGSTATSD_URL") {
            return url.trim().parse().map_err(|error| anyhow!("DD_DOGSTATSD_URL: {error}"));
        }
        let host = set("DD_AGENT_HOST").unwrap_or_else(|| Ipv4Addr::LOCALHOST.to_string());
        let port = match set("DD_DOGSTATSD_PORT") {
            Some(text) => text.trim().parse().map_err(|_| {
                anyhow!(
                    "DD_DOGSTATSD_PORT: {text:?} is not a valid port; use a number from 1 to 65535"
                )
            })?,
            None => PORT,
        };
        let host = host.trim();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Ok(Target::Udp(format!("{host}:{port}")))
    }

    /// Maximum bytes of lines sent together: the default of client libraries, so that UDP is not
    /// fragmented and no server truncates.
    pub fn block_bytes(&self) -> usize {
        match self {
            Target::Udp(_) => 1_432,
            _ => 8_192,
        }
    }

    /// Opens a socket to it.
    pub fn open(&self) -> anyhow::Result<Sink> {
        let sink = match self {
            Target::Udp(address) => Ok(Sink::Udp(Udp::open(resolve(address)?))),
            Target::Tcp(address) => tcp(&resolve(address)?).map(Sink::Tcp),
            Target::UnixDatagram(path) => datagram(path).map(Sink::UnixDatagram),
            Target::UnixStream(path) => stream(path).map(Sink::UnixStream),
            Target::Unix(path) => match datagram(path) {
                Err(error) if error.raw_os_error() == Some(WRONG_TYPE) => {
                    stream(path).map(Sink::UnixStream)
                }
                opened => opened.map(Sink::UnixDatagram),
            },
        };
        sink.map_err(|error| self.explain(&error))
    }

    /// An error with its fix.
    pub fn explain(&self, error: &io::Error) -> anyhow::Error {
        let place = match self {
            Target::Udp(address) | Target::Tcp(address) => address.clone(),
            Target::Unix(path) | Target::UnixDatagram(path) | Target::UnixStream(path) => {
                path.display().to_string()
            }
        };
        let start = match self {
            Target::Udp(address) => match port(address) {
                "8125" => "whippet".to_owned(),
                port => format!("whippet --set dogstatsd_port={port}"),
            },
            Target::Tcp(address) => format!("whippet --set dogstatsd_tcp_port={}", port(address)),
            Target::Unix(_) | Target::UnixDatagram(_) => {
                format!("whippet --set dogstatsd_socket={place}")
            }
            Target::UnixStream(_) => format!("whippet --set dogstatsd_stream_socket={place}"),
        };
        match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
                anyhow!("nothing is listening on {place}; start a server with `{start}`")
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                anyhow!(
                    "{place}: the socket buffer was full for {} s; the receiver is not reading",
                    PATIENCE.as_secs()
                )
            }
            ErrorKind::PermissionDenied => {
                anyhow!(
                    "{place}: permission denied; the server's dogstatsd_socket_mode decides who may write"
                )
            }
            _ if error.raw_os_error() == Some(WRONG_TYPE) => {
                anyhow!("{place} is a Unix socket of the other type; use unix://{place}")
            }
            _ => anyhow!("{self}: {error}"),
        }
    }
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or_default()
}

fn resolve(address: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> =
        address.to_socket_addrs().with_context(|| address.to_owned())?.collect();
    if found.is_empty() { Err(anyhow!("{address}: has no address")) } else { Ok(found) }
}

fn tcp(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect_timeout(address, PATIENCE) {
            Ok(stream) => {
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn datagram(path: &PathBuf) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn stream(path: &PathBuf) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// An open socket.
#[derive(Debug)]
pub(crate) enum Sink {
    Udp(Udp),
    Tcp(TcpStream),
    UnixDatagram(UnixDatagram),
    UnixStream(UnixStream),
}

impl Sink {
    /// Sends a block of lines, each with its newline.
    pub fn send(&mut self, block: &[u8]) -> io::Result<()> {
        match self {
            Sink::Udp(udp) => udp.send(block),
            Sink::Tcp(stream) => stream.write_all(block),
            Sink::UnixDatagram(socket) => uninterrupted(|| socket.send(block)).map(drop),
            Sink::UnixStream(stream) => {
                // A block is at most one line longer than `block_bytes`: far from 4 GiB.
                let length = u32::try_from(block.len()).map_err(io::Error::other)?;
                stream.write_all(&[&length.to_le_bytes()[..], block].concat())
            }
        }
    }

    /// Closes the socket; the last chance to learn that nothing was listening.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Sink::Udp(udp) => udp.finish(),
            Sink::Tcp(mut stream) => {
                stream.shutdown(std::net::Shutdown::Write)?;
                // Wait briefly until the peer has read everything: closing earlier could discard what
                // it has not read.
                stream.set_read_timeout(Some(REFUSAL_WAIT))?;
                let _ = stream.read(&mut [0]);
                Ok(())
            }
            Sink::UnixDatagram(_) | Sink::UnixStream(_) => Ok(()),
        }
    }
}

/// UDP reports a missing receiver only after a send, so the first datagram is also the probe: if it
/// is refused, it goes to the next address of the name.
#[derive(Debug)]
pub(crate) struct Udp {
    addresses: std::vec::IntoIter<SocketAddr>,
    socket: Option<(UdpSocket, SocketAddr)>,
    sent: u64,
}

impl Udp {
    fn open(addresses: Vec<SocketAddr>) -> Self {
        Udp { addresses: addresses.into_iter(), socket: None, sent: 0 }
    }

    fn send(&mut self, block: &[u8]) -> io::Result<()> {
        if let Some((socket, _)) = &self.socket {
            uninterrupted(|| socket.send(block))?;
            self.sent += 1;
            return Ok(());
        }
        let mut last = io::Error::from(ErrorKind::NotFound);
        for address in self.addresses.by_ref() {
            match first(address, block) {
                Ok(socket) => {
                    (self.socket, self.sent) = (Some((socket, address)), 1);
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn finish(self) -> io::Result<()> {
        match &self.socket {
            Some((socket, address)) if self.sent > 1 => check_not_refused(socket, *address),
            _ => Ok(()),
        }
    }
}

fn first(address: SocketAddr, block: &[u8]) -> io::Result<UdpSocket> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    uninterrupted(|| socket.send(block))?;
    check_not_refused(&socket, address)?;
    Ok(socket)
}

/// Waits for a refusal from a machine where nothing is listening. Servers never answer, so silence is
/// success.
fn check_not_refused(socket: &UdpSocket, address: SocketAddr) -> io::Result<()> {
    let wait = if address.ip().is_loopback() { REFUSAL_WAIT_LOOPBACK } else { REFUSAL_WAIT };
    socket.set_read_timeout(Some(wait))?;
    match uninterrupted(|| socket.recv(&mut [0; 1])) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(error),
        _ => Ok(()),
    }
}

/// Retries a call that a signal interrupted.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, expect: &str) {
        let got = text.parse::<Target>().map_or_else(|error| error, |target| target.to_string());
        assert_eq!(got, expect);
    }

    #[test]
    fn every_form_of_an_address_is_understood() {
        reads("udp://127.0.0.1:9125", "udp 127.0.0.1:9125");
        reads("udp://localhost", "udp localhost:8125");
        reads("udp://[::1]", "udp [::1]:8125");
        reads("udp://::1", "udp [::1]:8125");
        reads("udp://[::1]:9125/", "udp [::1]:9125");
        reads("tcp://host:1", "tcp host:1");
        reads("unix:///run/dsd.socket", "unix /run/dsd.socket");
        reads("unixgram:///run/dsd.socket", "unix /run/dsd.socket");
        reads("unixstream:///run/dsd.socket", "unix stream /run/dsd.socket");
        reads("udp://host:0", "\"host:0\" is not a valid host:port; use a port from 1 to 65535");
        reads("udp://host:x", "\"host:x\" is not a valid host:port; use a port from 1 to 65535");
        reads("unix://", "\"unix://\" has no address after unix://");
        reads("http://x", "http:// is unknown; use udp, tcp, unix, unixgram or unixstream");
    }

    #[track_caller]
    fn environment(env: &[(&str, &str)], expect: &str) {
        let find = |name: &str| {
            env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let got = Target::from_environment(find)
            .map_or_else(|error| error.to_string(), |target| target.to_string());
        assert_eq!(got, expect);
    }

    #[test]
    fn the_environment_is_read_as_clients_read_it() {
        environment(&[], "udp 127.0.0.1:8125");
        environment(&[("DD_AGENT_HOST", "agent")], "udp agent:8125");
        environment(&[("DD_AGENT_HOST", "::1"), ("DD_DOGSTATSD_PORT", "9")], "udp [::1]:9");
        let url = ("DD_DOGSTATSD_URL", "unix:///s");
        environment(&[("DD_AGENT_HOST", "agent"), url], "unix /s");
        environment(
            &[("DD_DOGSTATSD_PORT", "x")],
            "DD_DOGSTATSD_PORT: \"x\" is not a valid port; use a number from 1 to 65535",
        );
    }
}
