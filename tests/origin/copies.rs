//! `statsd_forward_host`: every packet goes on as it came.

use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::program::{Posted, setup};

#[test]
fn every_packet_is_copied_unparsed_from_every_socket() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let setup = setup()
        .set("statsd_forward_host", "127.0.0.1")
        .set("statsd_forward_port", other.local_addr().unwrap().port());
    let stream = setup.path("s.sock");
    let program = setup.set("dogstatsd_stream_socket", stream.display()).start();
    let expect = |packet: &str| {
        let mut buffer = [0; 1024];
        let length = other.recv(&mut buffer).expect("a copy");
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), packet);
    };
    program.udp("a:1|c\nb:2|g|#x");
    expect("a:1|c\nb:2|g|#x");
    program.udp("this is not a metric");
    expect("this is not a metric");
    program.unix_datagram("c:1|c");
    expect("c:1|c");
    let mut client = UnixStream::connect(&stream).unwrap();
    client.write_all(b"\x05\0\0\0d:1|c").unwrap();
    expect("d:1|c");
    program.tags("a");
    let log = program.end();
    assert!(log.contains("copies   4 sent to 127.0.0.1:") && log.contains(", 0 failed"), "{log}");
}

#[test]
fn a_target_that_cannot_be_found_costs_no_metric() {
    let program =
        setup().set("statsd_forward_host", "name.invalid").set("statsd_forward_port", 8125).start();
    program.logs("statsd_forward_host: name.invalid:8125: ");
    program.udp("a:1|c");
    program.tags("a");
    let log = program.end();
    assert!(log.contains("copies   0 sent to name.invalid:8125, 1 failed"), "{log}");
}
