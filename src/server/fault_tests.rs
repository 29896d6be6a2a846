//! A lane that panics: the server goes on with the same sockets, and its counts still balance.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use super::{Server, ServerSettings};
use crate::clock::Clock;
use crate::config::{self, Mode, Outputs, Sources};

/// Is refused; the lane panics while it reports it.
const POISON: &[u8] = b"brings a lane down";

/// Stands where a bug would.
pub(super) fn fail_on(line: &[u8]) {
    assert_ne!(line, POISON, "the bug of this test");
}

#[test]
fn a_lane_that_panics_costs_its_open_bucket_and_the_loss_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, posted) = (folder.path().join("d.sock"), folder.path().join("posted"));
    let flags = [
        ("dogstatsd_port", "0".to_owned()),
        ("dogstatsd_socket", socket.display().to_string()),
        ("dogstatsd_stream_socket", String::new()),
        ("output", format!("jsonl:{}", posted.display())),
        ("interval", "1h".to_owned()),
        ("lanes", "2".to_owned()),
    ];
    let flags = flags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let loaded =
        config::load(Sources { file: None, env: Vec::new(), flags, mode: Mode::Run }).unwrap();
    let outputs = Outputs::choose(&loaded).unwrap();
    let settings = ServerSettings {
        loaded,
        outputs,
        hostname: None,
        hostname_origin: "none",
        clock: Clock::wall(),
        hub: Default::default(),
        log: Default::default(),
    };
    let server = Server::start(settings).unwrap();
    let totals = Arc::clone(&server.totals);

    let client = UnixDatagram::unbound().unwrap();
    client.connect(&socket).unwrap();
    let poisoned = [b"c:1|c\nbad\n", POISON].concat();
    for datagram in
        [&b"a:1|c\nb:1|g"[..], &poisoned, b"d:1|c", POISON, b"kept:7|c\nbad", b"kept:1|c"]
    {
        client.send(datagram).unwrap();
    }
    // Reads what is still in the socket first.
    server.stop();

    let lines = totals.lock().unwrap().lines;
    assert_eq!(lines.received, 2 + 3 + 1 + 1 + 2 + 1);
    // Two lines named kept; twice a bad one and the one that did it; a, b, c and d.
    assert_eq!((lines.recorded(), lines.refused_total()), (2, 4), "{lines:?}");
    assert_eq!((lines.lost, lines.dropped_total()), (4, 4), "{lines:?}");
    let posted = std::fs::read_to_string(posted).unwrap();
    assert!(posted.contains("\"kept\""), "{posted}");
    assert!(["\"a\"", "\"b\"", "\"c\"", "\"d\""].iter().all(|name| !posted.contains(name)));
}
