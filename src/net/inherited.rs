//! Sockets a service manager opened for us (`LISTEN_FDS`).

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Socket, Type};

use super::{Problem, ProblemKind, Transport, sys};

/// Whether the descriptors were taken already; a second owner would close them twice.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the sockets passed by systemd or a compatible manager, for
/// [`NetSettings::inherited`](super::NetSettings::inherited).
///
/// Empty when none were passed, when `LISTEN_PID` names another process, and on every call but the
/// first.
#[must_use]
pub fn inherited_sockets() -> Vec<OwnedFd> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").map_or(0, |count| count.min(FDS_MAX) as usize);
    if count == 0 || TAKEN.swap(true, Ordering::AcqRel) {
        return Vec::new();
    }
    sys::take_passed_descriptors(count)
}

/// More than any unit file passes; bounds the work an odd environment can cause.
const FDS_MAX: u32 = 256;

/// Finds out which listener a passed descriptor is.
pub(super) fn classify(descriptor: OwnedFd) -> Result<(Transport, Socket), Problem> {
    let socket = Socket::from(descriptor);
    let (domain, kind) = (socket_domain(&socket), socket.r#type().ok());
    let transport = match (domain, kind) {
        (Some(Domain::IPV4 | Domain::IPV6), Some(Type::DGRAM)) => Transport::Udp,
        (Some(Domain::IPV4 | Domain::IPV6), Some(Type::STREAM)) => Transport::Tcp,
        (Some(Domain::UNIX), Some(Type::DGRAM)) => Transport::UnixDatagram,
        (Some(Domain::UNIX), Some(Type::STREAM)) => Transport::UnixStream,
        _ => return Err(foreign(Transport::Udp, "it is not a UDP, TCP or Unix socket")),
    };
    if transport.is_stream() && !is_listening(&socket) {
        return Err(foreign(transport, "it is a stream socket that does not listen"));
    }
    Ok((transport, socket))
}

fn socket_domain(socket: &Socket) -> Option<Domain> {
    let address = socket.local_addr().ok()?;
    Some(address.domain())
}

/// Only Linux reports it; elsewhere the manager is trusted.
fn is_listening(socket: &Socket) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return socket.is_listener().unwrap_or(false);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    return socket.local_addr().is_ok();
}

fn foreign(transport: Transport, detail: &str) -> Problem {
    let remedy = "pass sockets made by ListenDatagram= or ListenStream=";
    Problem::new(ProblemKind::NotOurs, transport, "inherited socket", detail, remedy)
}
