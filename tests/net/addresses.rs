//! Addresses and ports, shared by lanes.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;

use whippet::net::{Addresses, InternetSettings, NetSettings, ProblemKind, bind};

use super::lane::{
    Running, address_of, client_of, drained, folder, frame, on_datagrams, on_stream, on_udp,
    only_lane, refused, udp,
};

#[test]
fn both_loopbacks_share_an_ephemeral_port() {
    let loopback = InternetSettings { addresses: Addresses::Loopback, port: 0 };
    let bound = bind(NetSettings { udp: Some(loopback), ..NetSettings::default() }).unwrap();
    let first = address_of(&bound, 0);
    assert!(first.port() > 0 && first.is_ipv4());
    // Without IPv6 the second is a remark, not an error.
    match bound.listeners.len() {
        1 => assert_eq!(bound.remarks[0].kind, ProblemKind::AddressUnavailable),
        _ => {
            assert_eq!(address_of(&bound, 1), SocketAddr::new("::1".parse().unwrap(), first.port()))
        }
    }
}

#[test]
fn everywhere_hears_both_families_on_one_socket() {
    let everywhere = InternetSettings { addresses: Addresses::Everywhere, port: 0 };
    let bound = bind(NetSettings { udp: Some(everywhere), ..NetSettings::default() }).unwrap();
    assert_eq!(bound.listeners.len(), 1);
    let port = address_of(&bound, 0).port();
    let mut lane = only_lane(bound);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"four", ("127.0.0.1", port)).unwrap();
    assert_eq!(drained(&mut lane).texts(), ["four"]);
}

#[test]
fn a_port_in_use_is_fatal_even_when_another_listener_works() {
    let (_folder, path) = folder();
    for (lanes, in_a_group) in [(1, false), (2, false), (2, true)] {
        let kind = socket2::Type::DGRAM;
        let owner = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
        owner.set_reuse_port(in_a_group).unwrap();
        owner.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let port = owner.local_addr().unwrap().as_socket().unwrap().port();
        let error = refused(NetSettings { udp: udp(port), lanes, ..on_datagrams(&path) });
        assert_eq!(error.problems[0].kind, ProblemKind::PortInUse);
        let text = error.to_string();
        assert!(text.starts_with(&format!("udp 127.0.0.1:{port}: the port is in use")), "{text}");
        assert!(text.contains("dogstatsd_port"), "{text}");
        assert!(!path.exists(), "what was bound meanwhile is gone again");
    }
}

#[test]
fn lanes_share_a_port_and_nothing_is_lost() {
    let bound = bind(NetSettings { lanes: 2, ..on_udp() }).unwrap();
    assert_eq!(bound.listeners[0].sockets, 2);
    let clients: Vec<_> = (0..64).map(|_| client_of(&bound)).collect();
    for client in &clients {
        client.send(b"a:1|c").unwrap();
    }
    let mut lanes = bound.into_lanes().unwrap();
    let shares: Vec<usize> = lanes.iter_mut().map(|lane| drained(lane).units.len()).collect();
    assert_eq!(shares.iter().sum::<usize>(), 64);
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
}

#[test]
fn connections_are_spread_over_lanes() {
    let (_folder, path) = folder();
    let lanes = bind(NetSettings { lanes: 2, ..on_stream(&path) }).unwrap().into_lanes().unwrap();
    let running: Vec<_> = lanes.into_iter().map(Running::start).collect();
    let mut clients: Vec<_> = (0..4).map(|_| UnixStream::connect(&path).unwrap()).collect();
    for client in &mut clients {
        client.write_all(&frame(b"a:1|c")).unwrap();
    }
    for lane in &running {
        lane.until(|seen| seen.units.len() == 2);
    }
    let open: Vec<u64> = running.into_iter().map(|it| it.stop().1[0].connections_open).collect();
    assert_eq!(open, [2, 2]);
}
