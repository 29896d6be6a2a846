//! Streams: frames, lines, connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use whippet::net::{NetSettings, bind};

use super::lane::{
    PATIENCE, Running, address_of, drained, folder, frame, on_stream, only_lane, udp,
};

#[test]
fn frames_written_byte_by_byte_arrive_whole() {
    let (_folder, path) = folder();
    let running = Running::start(only_lane(bind(on_stream(&path)).unwrap()));
    let mut client = UnixStream::connect(&path).unwrap();
    let big = vec![b'x'; 8192];
    for byte in [frame(b"a:1|c\n"), frame(b""), frame(b"b:2|g")].concat() {
        client.write_all(&[byte]).unwrap();
    }
    client.write_all(&frame(&big)).unwrap();
    running.until(|seen| seen.units.len() == 3);
    drop(client);
    let (seen, counts) = running.stop();
    assert_eq!(seen.texts()[..2], ["a:1|c\n", "b:2|g"]);
    assert_eq!(seen.units[2].0, big);
    assert_eq!((counts[0].frames, counts[0].frames_cut, counts[0].frames_oversize), (3, 0, 0));
}

#[test]
fn an_oversize_frame_closes_its_connection_and_no_other() {
    let (_folder, path) = folder();
    let running = Running::start(only_lane(bind(on_stream(&path)).unwrap()));
    let mut good = UnixStream::connect(&path).unwrap();
    let mut bad = UnixStream::connect(&path).unwrap();
    bad.write_all(&[frame(b"before"), b"a:1|c\nb:1|c\n".to_vec()].concat()).unwrap();
    bad.set_read_timeout(Some(PATIENCE)).unwrap();
    // Closed with unread bytes: the end of the stream or a reset, not a timeout.
    match bad.read(&mut [0]) {
        Ok(read) => assert_eq!(read, 0),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    good.write_all(&frame(b"after")).unwrap();
    running.until(|seen| seen.units.len() == 2);
    let (seen, counts) = running.stop();
    assert_eq!(seen.texts(), ["before", "after"]);
    assert_eq!((counts[0].frames_oversize, counts[0].connections_open), (1, 1));
    assert!(seen.incidents[0].contains("2083600993"), "{:?}", seen.incidents);
}

#[track_caller]
fn ends_with(bytes: &[u8], frames: u64, cut: u64) {
    let (_folder, path) = folder();
    let mut lane = only_lane(bind(on_stream(&path)).unwrap());
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(bytes).unwrap();
    drop(client);
    drained(&mut lane);
    let counts = &lane.counts()[0];
    assert_eq!((counts.frames, counts.frames_cut), (frames, cut), "{bytes:?}");
    assert_eq!((counts.connections_accepted, counts.connections_open), (1, 0));
}

#[test]
fn a_connection_may_end_between_frames_only() {
    ends_with(b"", 0, 0);
    ends_with(&frame(b"a:1|c"), 1, 0);
    ends_with(&frame(b"a:1|c")[..8], 0, 1);
    ends_with(&frame(b"a:1|c")[..4], 0, 1);
    ends_with(&frame(b"a:1|c")[..1], 0, 1);
    ends_with(&[frame(b"a:1|c"), vec![9, 0]].concat(), 1, 1);
    ends_with(&[frame(b""), frame(b"")].concat(), 0, 0);
}

#[test]
fn a_connection_over_the_limit_is_closed_until_another_ends() {
    let (_folder, path) = folder();
    let lane = only_lane(bind(NetSettings { connections_max: 2, ..on_stream(&path) }).unwrap());
    let running = Running::start(lane);
    let mut kept: Vec<_> = (0..2).map(|_| UnixStream::connect(&path).unwrap()).collect();
    for client in &mut kept {
        client.write_all(&frame(b"in")).unwrap();
    }
    running.until(|seen| seen.units.len() == 2);
    let mut over = UnixStream::connect(&path).unwrap();
    over.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(over.read(&mut [0]).unwrap(), 0);
    kept[0].write_all(&frame(b"last")).unwrap();
    kept.remove(0);
    // The place is free once the lane read the end; until then one more attempt is refused.
    let started = Instant::now();
    while running.seen.lock().unwrap().units.len() < 4 {
        assert!(started.elapsed() < PATIENCE);
        let mut client = UnixStream::connect(&path).unwrap();
        // Refused: the write fails or the unit never arrives.
        let _ = client.write_all(&frame(b"again"));
        let _ = client.set_read_timeout(Some(Duration::from_millis(20)));
        let _ = client.read(&mut [0]);
    }
    let (seen, counts) = running.stop();
    assert_eq!(seen.texts()[..4], ["in", "in", "last", "again"]);
    assert!(counts[0].connections_refused >= 1);
    assert!(seen.incidents.iter().any(|it| it.contains("ConnectionRefused")));
}

#[test]
fn a_flooding_connection_starves_no_other() {
    let (_folder, path) = folder();
    let running = Running::start(only_lane(bind(on_stream(&path)).unwrap()));
    let mut flood = UnixStream::connect(&path).unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let flooder = std::thread::spawn(move || {
        let block = frame(b"flood").repeat(1000);
        while !flag.load(std::sync::atomic::Ordering::Acquire) {
            flood.write_all(&block).unwrap();
        }
    });
    running.until(|seen| seen.units.len() > 10_000);
    let mut quiet = UnixStream::connect(&path).unwrap();
    quiet.write_all(&frame(b"quiet")).unwrap();
    running.until(|seen| seen.units.iter().rev().take(50_000).any(|(bytes, _)| bytes == b"quiet"));
    stop.store(true, std::sync::atomic::Ordering::Release);
    flooder.join().unwrap();
    running.stop();
}

#[test]
fn tcp_takes_lines_and_a_last_one_without_newline() {
    let settings = NetSettings { tcp: udp(0), datagram_bytes_max: 10, ..NetSettings::default() };
    let bound = bind(settings).unwrap();
    let address = address_of(&bound, 0);
    let running = Running::start(only_lane(bound));
    let mut client = TcpStream::connect(address).unwrap();
    let from = client.local_addr().unwrap();
    client.write_all(b"a:1|c\nb:2|c\nmuch:too:long|c\nc:3|").unwrap();
    running.until(|seen| seen.incidents.len() == 1);
    client.write_all(b"c\nd:4|c").unwrap();
    drop(client);
    running.until(|seen| seen.texts().concat() == "a:1|c\nb:2|c\nc:3|c\nd:4|c\n");
    let (seen, counts) = running.stop();
    assert!(seen.addresses.iter().all(|found| *found == Some(from)));
    assert_eq!((counts[0].frames_oversize, counts[0].frames_cut), (1, 0));
}
