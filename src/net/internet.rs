//! UDP and TCP addresses: both loopbacks on one port, one host, or every interface.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use socket2::{Domain, Socket, Type};

use super::{Addresses, InternetSettings, Problem, ProblemKind, Transport};

/// Tries at an ephemeral port that is free on every address.
const EPHEMERAL_ATTEMPTS: usize = 32;
/// Connections the kernel may hold for us before we accept them.
const TCP_BACKLOG: i32 = 1024;

/// The sockets of one address: one, or a `SO_REUSEPORT` group.
pub(super) type Group = (SocketAddr, Vec<Socket>);

/// Binds every address of `settings`, each with `group` sockets.
///
/// Returns what was bound and what was not. A port in use closes everything again.
pub(super) fn bind_internet(
    transport: Transport,
    settings: &InternetSettings,
    group: usize,
) -> Result<(Vec<Group>, Vec<Problem>), Problem> {
    let addresses = candidates(transport, settings)?;
    let mut attempts = if settings.port == 0 { EPHEMERAL_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match bind_all(transport, &addresses, settings, group) {
            // The kernel's choice for the first address may be taken on the second.
            Err(problem) if problem.kind == ProblemKind::PortInUse && attempts > 0 => {}
            result => return result,
        }
    }
}

fn bind_all(
    transport: Transport,
    addresses: &[IpAddr],
    settings: &InternetSettings,
    group: usize,
) -> Result<(Vec<Group>, Vec<Problem>), Problem> {
    let (mut bound, mut problems) = (Vec::<Group>::new(), Vec::new());
    let mut port = settings.port;
    for &ip in addresses {
        let wanted = SocketAddr::new(ip, port);
        match bind_group(transport, wanted, group) {
            Ok(found) => {
                port = found.0.port();
                bound.push(found);
            }
            Err(error) => {
                let problem = bind_problem(transport, wanted, &error);
                if problem.kind.is_fatal() {
                    return Err(problem);
                }
                problems.push(problem);
            }
        }
        // `[::]` hears IPv4 as well; `0.0.0.0` is for machines without IPv6.
        if settings.addresses == Addresses::Everywhere && !bound.is_empty() {
            problems.clear();
            break;
        }
    }
    Ok((bound, problems))
}

fn candidates(transport: Transport, settings: &InternetSettings) -> Result<Vec<IpAddr>, Problem> {
    let loopbacks = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let host = match &settings.addresses {
        Addresses::Loopback => return Ok(loopbacks),
        Addresses::Host(host) if host.eq_ignore_ascii_case("localhost") => return Ok(loopbacks),
        Addresses::Everywhere => {
            return Ok(vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()]);
        }
        Addresses::Host(host) => host.trim_matches(['[', ']']),
    };
    let found = (host, settings.port).to_socket_addrs().map(|mut all| all.next());
    let detail = match found {
        Ok(Some(address)) => return Ok(vec![address.ip()]),
        Ok(None) => "the name has no address".to_owned(),
        Err(error) => format!("the name does not resolve: {error}"),
    };
    let remedy = "set bind_host to a name or address of this machine";
    Err(Problem::new(ProblemKind::UnknownHost, transport, host, detail, remedy))
}

fn bind_group(transport: Transport, wanted: SocketAddr, group: usize) -> io::Result<Group> {
    // Alone first: a socket without SO_REUSEPORT cannot join a group of another process, so this is the probe
    // for an address in use, and no moment passes between the probe and our own first socket.
    let first = bind_one(transport, wanted, false)?;
    let address = first.local_addr()?.as_socket().unwrap_or(wanted);
    let mut sockets = vec![first];
    if group > 1 {
        sockets[0].set_reuse_port(true)?;
        for _ in 1..group {
            sockets.push(bind_one(transport, address, true)?);
        }
    }
    Ok((address, sockets))
}

fn bind_one(transport: Transport, address: SocketAddr, in_group: bool) -> io::Result<Socket> {
    let kind = if transport.is_stream() { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    if transport.is_stream() {
        // For TCP only: there it means "old connections may linger", for UDP it means "steal".
        socket.set_reuse_address(true)?;
    }
    if in_group {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    if transport.is_stream() {
        socket.listen(TCP_BACKLOG)?;
    }
    Ok(socket)
}

fn bind_problem(transport: Transport, place: SocketAddr, error: &io::Error) -> Problem {
    let port_key = match transport {
        Transport::Http => "apm_config.receiver_port",
        _ if transport.is_stream() => "dogstatsd_tcp_port",
        _ => "dogstatsd_port",
    };
    let new =
        |kind, detail: &str, remedy: String| Problem::new(kind, transport, place, detail, remedy);
    match error.kind() {
        ErrorKind::AddrInUse => new(
            ProblemKind::PortInUse,
            "the port is in use by another socket",
            format!("stop its owner (ss -lpn 'sport = :{}') or set {port_key}", place.port()),
        ),
        ErrorKind::PermissionDenied => new(
            ProblemKind::PermissionDenied,
            "this user may not bind the port",
            format!("set {port_key} to 1024 or more, or grant CAP_NET_BIND_SERVICE"),
        ),
        ErrorKind::AddrNotAvailable | ErrorKind::Unsupported => no_such_address(transport, place),
        _ if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => no_such_address(transport, place),
        _ => Problem::system(transport, place, "binding", error),
    }
}

fn no_such_address(transport: Transport, place: SocketAddr) -> Problem {
    let (detail, remedy) = if place.is_ipv6() {
        ("this machine does not have the address", "nothing to do where IPv6 is off on purpose")
    } else {
        ("this machine does not have the address", "set bind_host to an address of this machine")
    };
    Problem::new(ProblemKind::AddressUnavailable, transport, place, detail, remedy)
}
