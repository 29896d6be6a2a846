//! A copy of every received packet, unparsed, over UDP to another server (`statsd_forward_host`).
//!
//! In: the bytes of a packet as the lane reads them. Out: one UDP datagram. Promise: a lane never
//! waits, what could not be sent is counted. Refusal: it neither parses, joins nor repeats packets.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::clock::Clock;

/// How long the start waits for a name to be resolved.
const FIRST_TRY: Duration = Duration::from_secs(1);
/// How long to wait before a name that did not resolve is tried again.
const RESOLVE_AGAIN: Duration = Duration::from_secs(10);
/// How long a failure stays unmentioned after it was mentioned.
const QUIET: Duration = Duration::from_secs(60);

/// Sends copies. Shared by all lanes.
#[derive(Debug)]
pub(super) struct RawForwarder {
    target: String,
    shared: Arc<Shared>,
    sent: AtomicU64,
    failed: AtomicU64,
    clock: Clock,
    /// When a failure may be mentioned again, and the failures already logged.
    said: Mutex<(Duration, u64)>,
}

#[derive(Debug, Default)]
struct Shared {
    socket: OnceLock<UdpSocket>,
    stop: Mutex<bool>,
    stopped: Condvar,
}

impl RawForwarder {
    /// Opens the socket. A name that does not resolve within a second is tried on and again in the
    /// background; until then every packet counts as failed.
    ///
    /// # Errors
    /// When the system gives no thread to resolve names with.
    pub fn start(host: &str, port: u16, clock: Clock) -> io::Result<Self> {
        let host = host.trim_matches(['[', ']']).to_owned();
        let target =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let shared = Arc::new(Shared::default());
        let (tell, first) = mpsc::channel();
        let thread = thread::Builder::new().name("forward-raw".to_owned());
        let opening = Arc::clone(&shared);
        thread.spawn(move || opening.open(&host, port, &tell))?;
        match first.recv_timeout(FIRST_TRY) {
            Ok(None) => {}
            Ok(Some(error)) => tracing::error!(
                target: "net",
                "statsd_forward_host: {target}: {error}; no copies until it can be reached"
            ),
            Err(_) => tracing::warn!(
                target: "net",
                "statsd_forward_host: {target}: the name is not resolved yet; no copies until it is"
            ),
        }
        let said = Mutex::new((Duration::ZERO, 0));
        let (sent, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(RawForwarder { target, shared, sent, failed, clock, said })
    }

    /// Where copies go.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Sends one packet as it is, or counts that it could not.
    pub fn copy(&self, packet: &[u8]) {
        let sent = match self.shared.socket.get() {
            Some(socket) => send(socket, packet),
            None => Err(ErrorKind::NotConnected.into()),
        };
        match sent {
            Ok(()) => {
                self.sent.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.failed(&error),
        }
    }

    #[cold]
    fn failed(&self, error: &io::Error) {
        let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
        // Who finds it locked leaves the saying to the other lane.
        let Ok(mut said) = self.said.try_lock() else { return };
        let now = self.clock.monotonic();
        if now < said.0 {
            return;
        }
        let new = failed - said.1;
        *said = (now + QUIET, failed);
        tracing::warn!(target: "net", "{new} copies to {} failed: {error}", self.target);
    }

    /// Packets sent and failed so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

impl Drop for RawForwarder {
    fn drop(&mut self) {
        *self.shared.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.stopped.notify_all();
    }
}

impl Shared {
    /// Opens the socket, however often that takes; sends the result of each try.
    fn open(&self, host: &str, port: u16, tell: &Sender<Option<io::Error>>) {
        loop {
            match open(host, port) {
                Ok(socket) => {
                    drop(self.socket.set(socket));
                    // The starting thread has gone on, and logged that there are no copies.
                    if tell.send(None).is_err() {
                        tracing::info!(target: "net", "statsd_forward_host: copies go to {host} port {port} now");
                    }
                    return;
                }
                Err(error) => drop(tell.send(Some(error))),
            }
            let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.stopped.wait_timeout_while(stop, RESOLVE_AGAIN, |stop| !*stop);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
        }
    }
}

fn open(host: &str, port: u16) -> io::Result<UdpSocket> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match connect(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let own: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own)?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A refusal is the answer to the packet before and keeps this one from leaving: try once more.
fn send(socket: &UdpSocket, packet: &[u8]) -> io::Result<()> {
    match socket.send(packet) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => socket.send(packet),
        sent => sent,
    }
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarder(address: SocketAddr) -> RawForwarder {
        RawForwarder::start(&address.ip().to_string(), address.port(), Clock::wall()).unwrap()
    }

    #[test]
    fn packets_arrive_as_they_are() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let forwarder = forwarder(server.local_addr().unwrap());
        let mut buffer = [0; 64];
        for packet in [&b"a:1|c\nb:x"[..], b"\xff\x00", b""] {
            forwarder.copy(packet);
            let length = server.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], packet);
        }
        assert_eq!(forwarder.counts(), (3, 0));
    }

    #[test]
    fn what_is_too_long_for_a_datagram_is_counted() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let forwarder = forwarder(server.local_addr().unwrap());
        forwarder.copy(&vec![b'x'; 70_000]);
        forwarder.copy(b"a:1|c");
        assert_eq!(forwarder.counts(), (1, 1));
    }

    #[test]
    fn a_server_that_comes_back_loses_no_packet_to_the_refusal_of_an_older_one() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        drop(server);
        let forwarder = forwarder(address);
        forwarder.copy(b"lost");
        let server = UdpSocket::bind(address).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        forwarder.copy(b"kept");
        let mut buffer = [0; 64];
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"kept");
    }

    #[test]
    fn a_name_without_address_fails_every_copy_and_nothing_else() {
        let forwarder = RawForwarder::start("name.invalid", 8125, Clock::wall()).unwrap();
        forwarder.copy(b"a:1|c");
        assert_eq!(forwarder.counts(), (0, 1));
    }
}
