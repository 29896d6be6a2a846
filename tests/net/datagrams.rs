//! Datagrams: batches, truncation, kernel drops, credentials.

use std::io::Write;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use whippet::net::{Lane, ListenerCounts, NetSettings, ProblemKind, bind};

use super::lane::{Running, drained, folder, frame, on_datagrams, on_udp, only_lane, udp_lane};

#[test]
fn every_batch_size_arrives_whole_and_in_order() {
    for sent in [0_usize, 1, 63, 64, 65, 128, 1500] {
        let (mut lane, client) = udp_lane(on_udp());
        let wanted: Vec<String> = (0..sent).map(|i| format!("m{i}:1|c")).collect();
        for text in &wanted {
            client.send(text.as_bytes()).unwrap();
        }
        let seen = drained(&mut lane);
        assert_eq!(seen.texts(), wanted);
        assert_eq!(seen.batches.0, seen.batches.1);
        assert!(seen.batches.0 >= sent.div_ceil(64), "{sent} in {} batches", seen.batches.0);
        let from = client.local_addr().unwrap();
        assert!(seen.addresses.iter().all(|found| *found == Some(from)));
        let bytes: usize = wanted.iter().map(String::len).sum();
        let counts = &lane.counts()[0];
        assert_eq!((counts.datagrams, counts.bytes), (sent as u64, bytes as u64));
    }
}

#[test]
fn an_empty_datagram_is_a_datagram() {
    let (mut lane, client) = udp_lane(on_udp());
    client.send(b"").unwrap();
    client.send(b"a:1|c").unwrap();
    assert_eq!(drained(&mut lane).texts(), ["", "a:1|c"]);
    assert_eq!(lane.counts()[0].datagrams, 2);
}

#[track_caller]
fn keeps(lane: &mut Lane, sent: &[u8], kept: &[u8], cut_bytes: usize) {
    let before = lane.counts()[0].clone();
    let seen = drained(lane);
    let (bytes, arrival) = seen.units.last().unwrap();
    assert_eq!((bytes.as_slice(), arrival.cut_bytes), (kept, cut_bytes));
    assert_eq!(kept.len() + cut_bytes, sent.len());
    let counts = &lane.counts()[0];
    assert_eq!(counts.bytes_truncated - before.bytes_truncated, cut_bytes as u64);
    let truncated = counts.datagrams_truncated - before.datagrams_truncated;
    assert_eq!(truncated, u64::from(cut_bytes > 0));
}

#[test]
fn a_datagram_over_the_limit_is_kept_up_to_its_last_newline() {
    let (_folder, path) = folder();
    let (unix, udp) = (UnixDatagram::unbound().unwrap(), on_udp());
    let (mut lane, client) = udp_lane(NetSettings { datagram_bytes_max: 16, ..udp });
    let settings = NetSettings { datagram_bytes_max: 16, ..on_datagrams(&path) };
    let mut unix_lane = only_lane(bind(settings).unwrap());
    unix.connect(&path).unwrap();
    let rows: [(&[u8], usize); 6] = [
        (b"a:1|c\nb:2|c\nc:34", 16),
        (b"a:1|c\nb:2|c\nc:345", 12),
        (b"a:1|c\nb:2|c\nc:3456789|c|#long:tag\n", 12),
        (b"a:1|c|#no:newline:in:it", 0),
        (b"a:1|c|#ends:16\n\nx", 16),
        (b"1234567890123456", 16),
    ];
    for (sent, kept) in rows {
        client.send(sent).unwrap();
        keeps(&mut lane, sent, &sent[..kept], sent.len() - kept);
        unix.send(sent).unwrap();
        keeps(&mut unix_lane, sent, &sent[..kept], sent.len() - kept);
    }
}

#[test]
fn kernel_drops_are_exact() {
    let (mut lane, client) = udp_lane(NetSettings { receive_buffer_bytes: 4096, ..on_udp() });
    for _ in 0..5000 {
        client.send(&[b'x'; 100]).unwrap();
    }
    let received = drained(&mut lane).units.len() as u64;
    let counts = &lane.counts()[0];
    assert!(counts.kernel_drops > 0 && received > 0);
    assert_eq!(received + counts.kernel_drops, 5000);
    assert_eq!(counts.datagrams, received);
}

#[test]
fn kernel_drops_reach_the_tick_and_are_not_counted_twice() {
    let (lane, client) = udp_lane(NetSettings { receive_buffer_bytes: 4096, ..on_udp() });
    for _ in 0..1000 {
        client.send(&[b'x'; 100]).unwrap();
    }
    let running = Running::ticking(lane, Duration::from_millis(5));
    let balanced = |tick: &Vec<ListenerCounts>| {
        tick[0].kernel_drops > 0 && tick[0].datagrams + tick[0].kernel_drops == 1000
    };
    running.until(|seen| seen.ticks.len() > 3 && seen.ticks.iter().skip(1).all(balanced));
    let (_, counts) = running.stop();
    assert_eq!(counts[0].datagrams + counts[0].kernel_drops, 1000);
}

#[test]
fn the_granted_receive_buffer_is_read_back() {
    let bound = bind(NetSettings { receive_buffer_bytes: 100_000, ..on_udp() }).unwrap();
    assert_eq!(bound.listeners[0].receive_buffer_bytes, 100_000);
    assert!(bound.remarks.is_empty(), "{:?}", bound.remarks);
    // No socket gets 2 GiB: the kernel's own limit is half of that.
    let asked = (1 << 31) - 1;
    let bound = bind(NetSettings { receive_buffer_bytes: asked, ..on_udp() }).unwrap();
    let granted = bound.listeners[0].receive_buffer_bytes;
    assert!(granted < asked);
    let remark = &bound.remarks[0];
    assert_eq!(remark.kind, ProblemKind::BufferClamped);
    let text = remark.to_string();
    assert!(
        text.contains(&format!("got {granted}")) && text.contains("net.core.rmem_max"),
        "{text}"
    );
}

#[test]
fn credentials_name_the_process_only_when_asked_for() {
    for credentials in [true, false] {
        let (_folder, path) = folder();
        let mut settings = NetSettings { credentials, ..on_datagrams(&path) };
        let stream_path = path.with_extension("stream");
        settings.unix_stream = Some(stream_path.clone());
        let mut lane = only_lane(bind(settings).unwrap());
        let client = UnixDatagram::unbound().unwrap();
        client.send_to(b"a:1|c", &path).unwrap();
        let mut stream = UnixStream::connect(&stream_path).unwrap();
        stream.write_all(&frame(b"b:1|c")).unwrap();
        let seen = drained(&mut lane);
        assert_eq!(seen.texts(), ["a:1|c", "b:1|c"]);
        let pid = i32::try_from(std::process::id()).unwrap();
        let pids: Vec<_> = seen.processes.iter().map(|found| found.map(|it| it.pid)).collect();
        assert_eq!(pids, [credentials.then_some(pid); 2]);
        assert!(lane.counts().iter().all(|counts| counts.credentials_missing == 0));
    }
}
