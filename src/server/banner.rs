//! The first lines: what listens where, with which buffer, and how to try it.

use std::fmt::Write as _;

use crate::net::{Bound, ListenerAddress, ListenerDescription, Transport};
use crate::text::bytes;

/// One line per transport, then the remarks.
pub(super) fn listening(bound: &Bound) {
    for transport in
        [Transport::Udp, Transport::UnixDatagram, Transport::UnixStream, Transport::Tcp]
    {
        let of_kind: Vec<&ListenerDescription> =
            bound.listeners.iter().filter(|found| found.transport == transport).collect();
        let Some(first) = of_kind.first() else { continue };
        let mut line = format!("{:4}", transport.label());
        for listener in &of_kind {
            let _ = write!(line, " {}", listener.address);
        }
        if !transport.is_stream() && first.receive_buffer_bytes > 0 {
            let _ = write!(line, "   receive buffer {}", bytes(first.receive_buffer_bytes));
        }
        if first.sockets > 1 {
            let _ = write!(line, "   {} sockets each", first.sockets);
        }
        if first.inherited {
            line.push_str("   inherited");
        }
        tracing::info!(target: "net", "{line}");
    }
    for remark in &bound.remarks {
        match remark.kind {
            // On most machines no one has made the folder of the default socket.
            crate::net::ProblemKind::FolderMissing => {
                tracing::info!(target: "net", "{:4} off: {}", remark.transport.label(), remark.detail);
            }
            _ => tracing::warn!(target: "net", "{remark}"),
        }
    }
    for listener in &bound.listeners {
        if let ListenerAddress::Internet(address) = listener.address
            && !address.ip().is_loopback()
        {
            tracing::warn!(
                target: "net",
                "{} {address} is open to other machines; any client that reaches it can send metrics",
                listener.transport
            );
        }
    }
}

/// Where DogStatsD is received over UDP.
pub(super) fn udp_port(listeners: &[ListenerDescription]) -> Option<u16> {
    listeners.iter().find_map(|listener| match listener.address {
        ListenerAddress::Internet(address) if listener.transport == Transport::Udp => {
            Some(address.port())
        }
        _ => None,
    })
}

/// A command that sends one metric here.
pub(super) fn try_it(bound: &Bound) -> Option<String> {
    let listener = bound.listeners.iter().find_map(|listener| match listener.address {
        ListenerAddress::Internet(address) if listener.transport == Transport::Udp => Some(address),
        _ => None,
    })?;
    let host = if listener.ip().is_unspecified() {
        "127.0.0.1".to_owned()
    } else {
        listener.ip().to_string()
    };
    Some(format!("try  echo \"x:1|c\" | nc -u -w1 {host} {}", listener.port()))
}
