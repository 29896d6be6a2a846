use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use super::super::corpus::Corpus;
use super::super::shape::{Profile, Shape};
use super::super::target::Target;
use super::*;

fn corpus(target: &Target) -> Corpus {
    let shape = Shape { contexts: 50, payload_bytes: 500, ..Profile::Packed.shape() };
    Corpus::write(&shape, 1, 400, target.framing()).unwrap()
}

fn settings(target: &Target) -> RunSettings {
    RunSettings {
        target: target.clone(),
        corpus: corpus(target),
        duration: Duration::from_secs(60),
        warmup: Duration::ZERO,
        datagrams_max: None,
        senders: 1,
        batch: 7,
        server_cpus: Vec::new(),
        generator_cpus: Vec::new(),
        spin: false,
        check: false,
        linger: Duration::ZERO,
        sent: None,
        remote: false,
        interrupted: Arc::default(),
    }
}

fn phase<'a>(settings: &'a RunSettings, starts: &'a [usize]) -> PhaseLoad<'a> {
    let (duration, datagrams_max) = (settings.duration, settings.datagrams_max);
    PhaseLoad { settings, starts, datagrams_per_second: None, duration, datagrams_max }
}

fn udp() -> (UdpSocket, Target) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = format!("udp://{}", socket.local_addr().unwrap()).parse().unwrap();
    (socket, target)
}

/// Every byte of the spans in their order, as one stream.
fn bytes_of(corpus: &Corpus, span: Span) -> Vec<u8> {
    (0..span.count)
        .flat_map(|step| corpus.datagram((span.start + step as usize) % corpus.len()).to_vec())
        .collect()
}

#[test]
fn a_total_is_sent_exactly_and_shared_by_the_senders() {
    let (socket, target) = udp();
    let settings = settings(&target);
    let load = PhaseLoad { datagrams_max: Some(11), ..phase(&settings, &[0, 5, 50]) };
    let sent = send(&load, &Progress::default()).unwrap();
    let counts: Vec<u64> = sent.spans.iter().map(|span| span.count).collect();
    assert_eq!(counts, [4, 4, 3]);
    assert_eq!(sent.offered, 11);
    socket.set_nonblocking(true).unwrap();
    let mut received: Vec<Vec<u8>> = Vec::new();
    let mut buffer = [0; 2_000];
    while let Ok(bytes) = socket.recv(&mut buffer) {
        received.push(buffer[..bytes].to_vec());
    }
    let mut expected: Vec<Vec<u8>> = Vec::new();
    for span in &sent.spans {
        for step in 0..span.count {
            expected.push(
                settings
                    .corpus
                    .datagram((span.start + step as usize) % settings.corpus.len())
                    .to_vec(),
            );
        }
    }
    received.sort();
    expected.sort();
    assert_eq!(received, expected);
}

#[test]
fn the_block_is_repeated() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target: Target = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
    let settings = settings(&target);
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
        all
    });
    let start = settings.corpus.len() - 2;
    let most = settings.corpus.len() as u64 * 2 + 5;
    let starts = [start];
    let load = PhaseLoad { datagrams_max: Some(most), ..phase(&settings, &starts) };
    let sent = send(&load, &Progress::default()).unwrap();
    assert_eq!(sent.spans, [Span { start, count: most }]);
    assert!(
        reader.join().unwrap() == bytes_of(&settings.corpus, sent.spans[0]),
        "not the same bytes"
    );
}

#[test]
fn frames_arrive_whole_over_a_unix_stream_that_is_read_slowly() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let target: Target = format!("unixstream://{}", path.display()).parse().unwrap();
    let settings = settings(&target);
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut all, mut piece) = (Vec::new(), [0; 100]);
        loop {
            match stream.read(&mut piece).unwrap() {
                0 => return all,
                bytes => all.extend_from_slice(&piece[..bytes]),
            }
        }
    });
    let load = PhaseLoad { datagrams_max: Some(3_000), ..phase(&settings, &[0]) };
    let sent = send(&load, &Progress::default()).unwrap();
    assert!(
        reader.join().unwrap() == bytes_of(&settings.corpus, sent.spans[0]),
        "not the same bytes"
    );
}

#[test]
fn a_rate_is_kept_and_lateness_recorded_for_every_datagram() {
    let (_socket, target) = udp();
    let settings = settings(&target);
    let load = PhaseLoad {
        datagrams_per_second: Some(1_000.0),
        duration: Duration::from_millis(200),
        ..phase(&settings, &[0, 1])
    };
    let sent = send(&load, &Progress::default()).unwrap();
    // 100 for each of two senders; on a busy machine the last ones may not make it in time.
    assert_eq!(sent.offered, 200);
    let count: u64 = sent.spans.iter().map(|span| span.count).sum();
    assert!((1..=200).contains(&count), "{count}");
    assert_eq!(sent.late.len(), count);
    assert!(sent.elapsed >= Duration::from_millis(190), "{:?}", sent.elapsed);
}

#[test]
fn what_was_due_but_not_sent_is_still_offered() {
    // Nothing reads, so a Unix datagram queue fills after a few and blocks the sender.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let _unread = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let target: Target = format!("unixgram://{}", path.display()).parse().unwrap();
    let settings = settings(&target);
    let load = PhaseLoad {
        datagrams_per_second: Some(10_000.0),
        duration: Duration::from_millis(100),
        ..phase(&settings, &[0])
    };
    let sent = send(&load, &Progress::default()).unwrap();
    assert_eq!(sent.offered, 1_000);
    assert!((1..900).contains(&sent.spans[0].count), "{:?}", sent.spans);
}

#[test]
fn a_stop_ends_every_sender() {
    let (_socket, target) = udp();
    let settings = settings(&target);
    let progress = Progress::default();
    let sent = std::thread::scope(|scope| {
        let load = phase(&settings, &[0, 3]);
        let progress = &progress;
        let senders = scope.spawn(move || send(&load, progress));
        while progress.datagrams.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        progress.stop.store(true, Ordering::Relaxed);
        senders.join().unwrap().unwrap()
    });
    assert!(sent.elapsed < Duration::from_secs(30));
    let count: u64 = sent.spans.iter().map(|span| span.count).sum();
    assert_eq!(count, progress.datagrams.load(Ordering::Relaxed));
}

#[test]
fn a_missing_listener_is_an_error_for_unix_sockets_and_streams() {
    for target in ["unixgram:///nonexistent/s", "unixstream:///nonexistent/s"] {
        let target: Target = target.parse().unwrap();
        let settings = settings(&target);
        assert!(send(&phase(&settings, &[0]), &Progress::default()).is_err());
    }
}
