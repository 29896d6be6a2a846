//! The nouns between a lane and its receiver: who sent, where it arrived, what went wrong.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use super::counts::ListenerCounts;
use super::listener::{ListenerId, Transport};
use super::problem::Problem;

/// What a lane calls. All calls come from the thread that runs the lane.
pub trait Receiver {
    /// A batch was received and its datagrams follow: the moment to read the clock, once.
    fn begin_batch(&mut self);

    /// One datagram, one frame of a stream, or whole lines of a TCP connection: at most
    /// `datagram_bytes_max` bytes, valid only during the call. May be empty.
    fn datagram(&mut self, bytes: &[u8], from: &Sender<'_>, arrival: Arrival);

    /// The batch is over.
    fn end_batch(&mut self);

    /// Time until [`Receiver::tick`] is due (the end of the open bucket); zero when it is due.
    /// Asked once per turn of the loop.
    fn deadline(&self) -> Duration;

    /// The deadline passed. `counts` are this lane's, one per listener, kernel drops freshly read.
    fn tick(&mut self, counts: &[ListenerCounts]);

    /// [`LaneHandle::wake`](super::LaneHandle::wake) was called since the last turn. `counts` as in
    /// [`Receiver::tick`].
    fn woken(&mut self, counts: &[ListenerCounts]) {
        let _ = counts;
    }

    /// [`LaneHandle::mail`](super::LaneHandle::mail) was called, or the lane stops: takes what came by
    /// another way than sockets, and counts it in this lane's `counts`. True when more is left; then it
    /// is called again, after the sockets had their turn.
    fn mail(&mut self, counts: &mut [ListenerCounts]) -> bool {
        let _ = counts;
        false
    }

    /// Something was refused or failed; it is counted already; log it here.
    fn incident(&mut self, listener: ListenerId, incident: &Incident<'_>) {
        let _ = (listener, incident);
    }
}

/// Where and how whole one datagram arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The listener it came through.
    pub listener: ListenerId,
    /// That listener's kind.
    pub transport: Transport,
    /// Bytes cut off behind the ones handed over, 0 when the datagram is whole. A datagram longer
    /// than the limit is handed over up to its last newline and the rest of it is counted here
    /// (where the system does not report the true length: at least one).
    pub cut_bytes: usize,
}

/// The process behind a Unix socket, as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Process id; 0 when the sender lives in a foreign pid namespace.
    pub pid: i32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Who sent a datagram. Decoded only when a method is called.
#[derive(Clone, Copy, Debug)]
pub enum Sender<'a> {
    /// The peer of an internet socket; [`Sender::address`] decodes it. First, since the first is the
    /// cheapest to distinguish from the others.
    Internet(&'a SocketName),
    /// The kernel does not name the sender.
    Unknown,
    /// The peer process of a Unix socket; only when credentials are asked for.
    Process(Credentials),
}

impl Sender<'_> {
    /// The sender as far as the kernel names it: an address, `pid 12 uid 0`, or nothing.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.address(), self.credentials()) {
            (Some(address), _) => address.to_string(),
            (None, Some(process)) => format!("pid {} uid {}", process.pid, process.uid),
            (None, None) => String::new(),
        }
    }

    /// The address of an internet peer.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Sender::Internet(name) => name.address(),
            Sender::Unknown | Sender::Process(_) => None,
        }
    }

    /// The credentials of a Unix peer, when asked for and given.
    #[must_use]
    pub fn credentials(&self) -> Option<Credentials> {
        match self {
            Sender::Process(credentials) => Some(*credentials),
            Sender::Unknown | Sender::Internet(_) => None,
        }
    }
}

/// A socket address as the kernel writes it: `sockaddr_in` or `sockaddr_in6`, undecoded.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
pub struct SocketName(pub(super) [u8; SOCKET_NAME_BYTES]);

/// Size of `sockaddr_in6`, the larger of the two.
pub(super) const SOCKET_NAME_BYTES: usize = 28;

impl SocketName {
    /// Encodes a known address in the same form.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        let mut name = [0; SOCKET_NAME_BYTES];
        name[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                name[..2].copy_from_slice(&family(libc::AF_INET));
                name[4..8].copy_from_slice(&v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                name[..2].copy_from_slice(&family(libc::AF_INET6));
                name[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
                name[8..24].copy_from_slice(&v6.ip().octets());
                name[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            }
        }
        SocketName(name)
    }

    /// Whether it is an IPv4 or IPv6 address at all.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn is_internet(&self) -> bool {
        [family(libc::AF_INET), family(libc::AF_INET6)].contains(&[self.0[0], self.0[1]])
    }

    /// An IPv4 address as it stands in memory, as one number; none for IPv6. Equal for equal
    /// addresses: the cheapest way to see that it is the same one again.
    #[inline(always)]
    #[must_use]
    pub fn ipv4_bits(&self) -> Option<u32> {
        let name = &self.0;
        let is_ipv4 = name[..2] == family(libc::AF_INET);
        is_ipv4.then(|| u32::from_ne_bytes([name[4], name[5], name[6], name[7]]))
    }

    /// An IPv6 address as it stands in memory, as two numbers; meaningless for IPv4.
    #[inline(always)]
    #[must_use]
    pub fn ipv6_bits(&self) -> [u64; 2] {
        let eight = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| self.0[at + i]));
        [eight(8), eight(16)]
    }

    /// The IP address without its port, in two words of which the first holds the first eight
    /// bytes; IPv4 as it is written in IPv6 (`::ffff:a.b.c.d`). Zeros for no address. For counting
    /// per sender: cheaper than [`Sender::address`].
    #[inline]
    #[must_use]
    pub fn ip_words(&self) -> [u64; 2] {
        let name = &self.0;
        if name[..2] == family(libc::AF_INET) {
            let four = u32::from_be_bytes([name[4], name[5], name[6], name[7]]);
            return [0, 0xffff_0000_0000 | u64::from(four)];
        }
        let eight = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| name[at + i]));
        [eight(8), eight(16)]
    }

    fn address(&self) -> Option<SocketAddr> {
        let name = &self.0;
        let port = u16::from_be_bytes([name[2], name[3]]);
        let four = |at: usize| [name[at], name[at + 1], name[at + 2], name[at + 3]];
        if name[..2] == family(libc::AF_INET) {
            return Some(SocketAddr::new(IpAddr::from(four(4)), port));
        }
        if name[..2] != family(libc::AF_INET6) {
            return None;
        }
        let ip: [u8; 16] = std::array::from_fn(|i| name[8 + i]);
        let (flow, scope) = (u32::from_be_bytes(four(4)), u32::from_ne_bytes(four(24)));
        Some(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope)))
    }
}

/// The family field, the first two bytes on Linux (other systems go through [`SocketName::of`],
/// where only agreement with [`SocketName::address`] matters).
fn family(family: libc::c_int) -> [u8; 2] {
    u16::try_from(family).unwrap_or(0).to_ne_bytes()
}

/// A unit refused or an operation failed; the numbers are in [`ListenerCounts`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Incident<'a> {
    /// The file of a Unix socket was removed or replaced by another program; it is bound again.
    SocketBoundAgain,
    /// The same, and it cannot be bound: new clients do not find us. Reported once, not each time
    /// that binding fails again.
    SocketLost(&'a Problem),
    /// A frame announced more bytes than allowed; its connection was closed.
    FrameOversize {
        /// Bytes announced.
        length: u32,
        /// What is at hand of the payload, at most 64 bytes.
        beginning: &'a [u8],
    },
    /// A TCP line was longer than allowed and skipped up to its newline.
    LineOversize,
    /// A connection ended inside a frame, or broke inside a line; `bytes` were discarded.
    FrameCut {
        /// Bytes that had arrived of it.
        bytes: usize,
    },
    /// A connection over the limit was closed at once.
    ConnectionRefused {
        /// The limit.
        connections_max: usize,
    },
    /// A read or accept failed; the listener goes on.
    Failed(&'a io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn survives_encoding(address: &str) {
        let address: SocketAddr = address.parse().unwrap();
        assert_eq!(Sender::Internet(&SocketName::of(address)).address(), Some(address));
    }

    #[test]
    fn names_decode_to_the_address_they_encode() {
        survives_encoding("127.0.0.1:8125");
        survives_encoding("10.1.2.3:65535");
        survives_encoding("[::1]:1");
        survives_encoding("[fe80::1%7]:8125");
    }

    #[test]
    fn the_words_of_an_address_do_not_know_its_port() {
        let words = |address: &str| SocketName::of(address.parse().unwrap()).ip_words();
        assert_eq!(words("10.0.0.7:1"), [0, 0xffff_0a00_0007]);
        assert_eq!(words("10.0.0.7:2"), words("[::ffff:10.0.0.7]:3"));
        assert_eq!(words("[fe80::1%7]:1"), [0xfe80 << 48, 1]);
        let bits = |address: &str| SocketName::of(address.parse().unwrap()).ipv4_bits();
        assert_eq!(bits("10.0.0.7:1"), bits("10.0.0.7:2"));
        assert_ne!(bits("10.0.0.7:1"), bits("10.0.0.8:1"));
        assert_eq!((bits("10.0.0.7:1").is_some(), bits("[::1]:1")), (true, None));
        let bits = |address: &str| SocketName::of(address.parse().unwrap()).ipv6_bits();
        assert_eq!(bits("[fe80::1%7]:1"), bits("[fe80::1%7]:2"));
        assert_eq!(bits("[fe80::1]:1"), [(0xfe80_u64 << 48).to_be(), 1_u64.to_be()]);
    }

    #[test]
    fn an_unset_name_is_no_address() {
        assert_eq!(Sender::Internet(&SocketName::default()).address(), None);
    }
}
