//! The receive room against real sockets: loopback, port 0, temporary folders.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use whippet::net::{
    Addresses, Arrival, BindError, Bound, Credentials, Incident, InternetSettings, Lane, LaneEnd,
    LaneHandle, ListenerAddress, ListenerCounts, ListenerId, NetSettings, ProblemKind, Receiver,
    Sender, Transport, bind,
};

const PATIENCE: Duration = Duration::from_secs(5);
const FAR: Duration = Duration::from_secs(600);

/// What a receiver saw.
#[derive(Default)]
struct Seen {
    units: Vec<(Vec<u8>, Arrival)>,
    addresses: Vec<Option<SocketAddr>>,
    processes: Vec<Option<Credentials>>,
    batches: (usize, usize),
    ticks: Vec<Vec<ListenerCounts>>,
    wakes: usize,
    incidents: Vec<String>,
}

impl Seen {
    fn texts(&self) -> Vec<String> {
        self.units.iter().map(|(bytes, _)| String::from_utf8(bytes.clone()).unwrap()).collect()
    }
}

/// Records everything; panics over the unit `boom`.
struct Recorder {
    seen: Arc<Mutex<Seen>>,
    tick_every: Duration,
    next_tick: Instant,
}

impl Recorder {
    fn new(tick_every: Duration) -> Self {
        Recorder { seen: Arc::default(), tick_every, next_tick: Instant::now() + tick_every }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Receiver for Recorder {
    fn begin_batch(&mut self) {
        self.seen().batches.0 += 1;
    }

    fn datagram(&mut self, bytes: &[u8], from: &Sender<'_>, arrival: Arrival) {
        assert_ne!(bytes, b"boom", "the unit that panics");
        let mut seen = self.seen();
        seen.units.push((bytes.to_vec(), arrival));
        seen.addresses.push(from.address());
        seen.processes.push(from.credentials());
    }

    fn end_batch(&mut self) {
        self.seen().batches.1 += 1;
    }

    fn deadline(&self) -> Duration {
        self.next_tick.saturating_duration_since(Instant::now())
    }

    fn tick(&mut self, counts: &[ListenerCounts]) {
        self.next_tick = Instant::now() + self.tick_every;
        self.seen().ticks.push(counts.to_vec());
    }

    fn woken(&mut self) {
        self.seen().wakes += 1;
    }

    fn incident(&mut self, _: ListenerId, incident: &Incident<'_>) {
        self.seen().incidents.push(format!("{incident:?}"));
    }
}

/// A lane running in its own thread.
struct Running {
    handle: LaneHandle,
    seen: Arc<Mutex<Seen>>,
    thread: JoinHandle<(Lane, LaneEnd)>,
}

impl Running {
    fn start(lane: Lane) -> Self {
        Running::ticking(lane, FAR)
    }

    fn ticking(mut lane: Lane, tick_every: Duration) -> Self {
        let mut recorder = Recorder::new(tick_every);
        let (handle, seen) = (lane.handle(), Arc::clone(&recorder.seen));
        let thread = std::thread::spawn(move || {
            let end = lane.run(&mut recorder);
            (lane, end)
        });
        Running { handle, seen, thread }
    }

    #[track_caller]
    fn until(&self, what: impl Fn(&Seen) -> bool) {
        let started = Instant::now();
        while !what(&self.seen.lock().unwrap()) {
            assert!(started.elapsed() < PATIENCE, "it did not happen");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[track_caller]
    fn stop(self) -> (Seen, Vec<ListenerCounts>) {
        self.handle.stop(Duration::from_millis(250));
        let (lane, end) = self.thread.join().unwrap();
        assert!(matches!(end, LaneEnd::Stopped { drained: true }), "{end:?}");
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        (seen, lane.counts().to_vec())
    }
}

/// Reads what is queued already and returns.
#[track_caller]
fn drained(lane: &mut Lane) -> Seen {
    let mut recorder = Recorder::new(FAR);
    lane.handle().stop(PATIENCE);
    let end = lane.run(&mut recorder);
    assert!(matches!(end, LaneEnd::Stopped { drained: true }), "{end:?}");
    std::mem::take(&mut *recorder.seen())
}

fn udp(port: u16) -> Option<InternetSettings> {
    Some(InternetSettings { addresses: Addresses::Host("127.0.0.1".into()), port })
}

fn on_udp() -> NetSettings {
    NetSettings { udp: udp(0), ..NetSettings::default() }
}

fn only_lane(bound: Bound) -> Lane {
    let mut lanes = bound.into_lanes().unwrap();
    assert_eq!(lanes.len(), 1);
    lanes.remove(0)
}

/// A lane on 127.0.0.1 and a socket connected to it.
fn udp_lane(settings: NetSettings) -> (Lane, UdpSocket) {
    let bound = bind(settings).unwrap();
    let client = client_of(&bound);
    (only_lane(bound), client)
}

fn client_of(bound: &Bound) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(address_of(bound, 0)).unwrap();
    client
}

#[track_caller]
fn address_of(bound: &Bound, listener: usize) -> SocketAddr {
    match &bound.listeners[listener].address {
        ListenerAddress::Internet(address) => *address,
        ListenerAddress::Path(path) => panic!("{} is a path", path.display()),
    }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dsd.socket");
    (folder, path)
}

fn on_datagrams(path: &Path) -> NetSettings {
    NetSettings { unix_datagram: Some(path.to_owned()), ..NetSettings::default() }
}

fn on_stream(path: &Path) -> NetSettings {
    NetSettings { unix_stream: Some(path.to_owned()), ..NetSettings::default() }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [&u32::try_from(payload.len()).unwrap().to_le_bytes()[..], payload].concat()
}

#[track_caller]
fn refused(settings: NetSettings) -> BindError {
    bind(settings).map(|bound| bound.listeners).expect_err("it must be refused")
}

// Datagrams.

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
    // Nobody gets 2 GiB: the kernel's own limit is half of that.
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

// Streams.

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
fn a_flooding_connection_starves_nobody() {
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

// Binding.

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

#[test]
fn a_live_socket_is_not_stolen() {
    let (_folder, path) = folder();
    let owner = UnixDatagram::bind(&path).unwrap();
    // Also when the rest would work, and when the owner's socket is of the other kind.
    for settings in [on_datagrams(&path), on_stream(&path)] {
        let error = refused(NetSettings { udp: udp(0), ..settings });
        assert_eq!(error.problems[0].kind, ProblemKind::LiveOwner);
        assert!(error.to_string().contains("a live process serves this socket"), "{error}");
    }
    UnixDatagram::unbound().unwrap().send_to(b"still here", &path).unwrap();
    assert_eq!(owner.recv(&mut [0; 16]).unwrap(), 10);
    let (_folder, path) = folder();
    let _owner = UnixListener::bind(&path).unwrap();
    assert_eq!(refused(on_stream(&path)).problems[0].kind, ProblemKind::LiveOwner);
}

#[test]
fn a_stale_socket_is_replaced_and_removed_at_the_end() {
    let (_folder, path) = folder();
    drop(UnixDatagram::bind(&path).unwrap());
    assert!(path.exists(), "a socket nobody serves");
    let mut lane = only_lane(bind(on_datagrams(&path)).unwrap());
    UnixDatagram::unbound().unwrap().send_to(b"a:1|c", &path).unwrap();
    assert_eq!(drained(&mut lane).texts(), ["a:1|c"]);
    assert!(!path.exists());
}

#[test]
fn a_socket_file_that_is_no_longer_ours_stays() {
    let (_folder, path) = folder();
    let lane = only_lane(bind(on_datagrams(&path)).unwrap());
    std::fs::rename(&path, path.with_extension("aside")).unwrap();
    let _successor = UnixDatagram::bind(&path).unwrap();
    drop(lane);
    assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket());
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let (_folder, path) = folder();
    std::fs::write(&path, "precious").unwrap();
    assert_eq!(refused(on_datagrams(&path)).problems[0].kind, ProblemKind::NotASocket);
    let bound = bind(NetSettings { udp: udp(0), ..on_datagrams(&path) }).unwrap();
    assert_eq!((bound.listeners.len(), bound.remarks[0].kind), (1, ProblemKind::NotASocket));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_missing_folder_turns_the_listener_off_while_another_works() {
    let (folder, _) = folder();
    let path = folder.path().join("datadog/dsd.socket");
    let bound = bind(NetSettings { udp: udp(0), ..on_datagrams(&path) }).unwrap();
    let remark = &bound.remarks[0];
    assert_eq!(
        (remark.kind, remark.transport),
        (ProblemKind::FolderMissing, Transport::UnixDatagram)
    );
    let missing = folder.path().join("datadog");
    assert_eq!(remark.detail, format!("{} does not exist", missing.display()));
    assert_eq!(refused(on_datagrams(&path)).problems[0].kind, ProblemKind::FolderMissing);
}

#[test]
fn nothing_to_listen_on_is_an_error_that_names_the_keys() {
    let error = refused(NetSettings::default());
    assert!(error.problems.is_empty());
    assert!(error.to_string().contains("dogstatsd_port"), "{error}");
}

/// A folder nobody can make sockets in, not even root.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_no_socket_is_named() {
    let error = refused(on_datagrams(Path::new("/sys/dsd.socket")));
    assert_eq!(error.problems[0].kind, ProblemKind::PermissionDenied);
    assert!(error.to_string().contains("make /sys writable for this user or set"), "{error}");
}

#[test]
fn a_path_that_does_not_fit_is_explained() {
    let (folder, _) = folder();
    let path = folder.path().join("x".repeat(120));
    let error = refused(on_datagrams(&path));
    assert_eq!(error.problems[0].kind, ProblemKind::PathTooLong);
    assert!(error.to_string().contains("shorter path"), "{error}");
}

#[test]
fn a_host_that_does_not_exist_is_named() {
    let host =
        InternetSettings { addresses: Addresses::Host("no.such.host.invalid".into()), port: 0 };
    let error = refused(NetSettings { udp: Some(host), ..NetSettings::default() });
    assert_eq!(error.problems[0].kind, ProblemKind::UnknownHost);
    assert!(error.to_string().contains("bind_host"), "{error}");
}

#[test]
fn the_socket_has_exactly_the_mode_asked_for() {
    for mode in [0o722, 0o700, 0o666, 0o777] {
        let (_folder, path) = folder();
        let settings = NetSettings { socket_mode: mode, ..on_datagrams(&path) };
        let _bound = bind(settings).unwrap();
        let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{found:o}");
    }
}

#[test]
fn an_inherited_socket_replaces_the_listener_of_its_kind() {
    let (_folder, path) = folder();
    let passed = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = passed.local_addr().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let inherited = vec![passed.into(), file.into()];
    // The port asked for is the passed one: binding it would fail.
    let settings = NetSettings { udp: udp(address.port()), inherited, ..on_datagrams(&path) };
    let bound = bind(settings).unwrap();
    assert_eq!(address_of(&bound, 0), address);
    let inherited: Vec<bool> = bound.listeners.iter().map(|found| found.inherited).collect();
    assert_eq!(inherited, [true, false]);
    assert_eq!(bound.remarks[0].kind, ProblemKind::NotOurs);
    let client = client_of(&bound);
    client.send(b"a:1|c").unwrap();
    assert_eq!(drained(&mut only_lane(bound)).texts(), ["a:1|c"]);
}

/// Runs this program again as a service manager would: the socket is descriptor 3.
#[track_caller]
fn under_a_manager(pid: &str, passed: UdpSocket) -> String {
    let script = format!("exec 3<&0; LISTEN_PID={pid} LISTEN_FDS=1 exec \"$0\" \"$@\"");
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c".as_ref(), script.as_ref(), program.as_os_str()])
        .args(["--exact", "net::the_managed_program", "--ignored", "--nocapture"])
        .stdin(std::process::Stdio::from(std::os::fd::OwnedFd::from(passed)))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "started by the test below"]
fn the_managed_program() {
    let inherited = whippet::net::inherited_sockets();
    assert!(whippet::net::inherited_sockets().is_empty(), "a second call has nothing to give");
    if inherited.is_empty() {
        println!("nothing inherited");
        return;
    }
    let bound = bind(NetSettings { inherited, ..NetSettings::default() }).unwrap();
    println!("inherited {}", address_of(&bound, 0));
    println!("read {:?}", drained(&mut only_lane(bound)).texts());
}

#[test]
fn a_manager_hands_over_sockets_with_what_is_queued_in_them() {
    let socket = || {
        let passed = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = passed.local_addr().unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"a:1|c", address).unwrap();
        (passed, address)
    };
    let (passed, address) = socket();
    let output = under_a_manager("$$", passed);
    assert!(output.contains(&format!("inherited {address}\n")), "{output}");
    assert!(output.contains("read [\"a:1|c\"]"), "{output}");
    // Meant for another process.
    let output = under_a_manager("1", socket().0);
    assert!(output.contains("nothing inherited"), "{output}");
}

// The loop.

#[test]
fn ticks_and_wakes_come_without_traffic() {
    let (lane, _client) = udp_lane(on_udp());
    let running = Running::ticking(lane, Duration::from_millis(2));
    running.until(|seen| seen.ticks.len() >= 5);
    running.handle.wake();
    running.until(|seen| seen.wakes >= 1);
    let (seen, _) = running.stop();
    assert_eq!(seen.units.len(), 0);
}

#[test]
fn a_deadline_that_does_not_move_does_not_make_the_lane_spin() {
    let (lane, _client) = udp_lane(on_udp());
    let started = Instant::now();
    let running = Running::ticking(lane, Duration::ZERO);
    running.until(|seen| seen.ticks.len() >= 20);
    let ticks = u32::try_from(running.stop().0.ticks.len()).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(1) * (ticks - 1), "{ticks} ticks");
}

#[test]
fn ticks_come_under_a_flood() {
    let (lane, client) = udp_lane(on_udp());
    let running = Running::ticking(lane, Duration::from_millis(2));
    let started = Instant::now();
    while running.seen.lock().unwrap().ticks.len() < 5 {
        assert!(started.elapsed() < PATIENCE);
        // A full buffer drops on loopback without an error.
        client.send(b"a:1|c").unwrap();
    }
    running.stop();
}

#[test]
fn a_pause_holds_udp_back_but_neither_unix_datagrams_nor_stop() {
    const PAUSE: Duration = Duration::from_secs(2);
    let (_folder, path) = folder();
    let settings = NetSettings { pause: PAUSE, udp: udp(0), ..on_datagrams(&path) };
    let bound = bind(settings).unwrap();
    if bound.listeners[0].receive_buffer_bytes < 1 << 20 {
        // Without the right to a large buffer there is no pause to test.
        return;
    }
    let client = client_of(&bound);
    let running = Running::start(only_lane(bound));
    let unix = UnixDatagram::unbound().unwrap();
    // Until one datagram shows that a pause came before it.
    let mut sent = 0;
    loop {
        let at = Instant::now();
        client.send(b"udp").unwrap();
        sent += 1;
        running.until(|seen| seen.units.len() == sent);
        if at.elapsed() > PAUSE / 4 {
            break;
        }
        assert!(sent < 5000, "no pause was ever made");
    }
    // The lane pauses again, having gathered one datagram in a whole pause.
    let at = Instant::now();
    unix.send_to(b"unix", &path).unwrap();
    running.until(|seen| seen.units.len() == sent + 1);
    client.send(b"last").unwrap();
    let (seen, _) = running.stop();
    assert!(at.elapsed() < PAUSE / 2, "{:?}", at.elapsed());
    assert_eq!(seen.texts()[sent..], ["unix", "last"]);
}

#[test]
fn a_lane_whose_receiver_panicked_goes_on_with_the_next_unit() {
    let (_folder, path) = folder();
    let bound = bind(NetSettings { udp: udp(0), ..on_stream(&path) }).unwrap();
    let client = client_of(&bound);
    let mut lane = only_lane(bound);
    let mut stream = UnixStream::connect(&path).unwrap();
    let mut recorder = Recorder::new(FAR);
    for text in ["one", "two", "boom", "three", "four"] {
        client.send(text.as_bytes()).unwrap();
    }
    lane.handle().stop(PATIENCE);
    let panicked = |lane: &mut Lane, recorder: &mut Recorder| {
        catch_unwind(AssertUnwindSafe(|| lane.run(recorder))).is_err()
    };
    assert!(panicked(&mut lane, &mut recorder));
    assert!(!panicked(&mut lane, &mut recorder));
    assert_eq!(recorder.seen().texts(), ["one", "two", "three", "four"]);
    assert_eq!(lane.counts()[0].datagrams, 5);
    // A connection has lost its place among the frames: it is closed and counted.
    stream.write_all(&[frame(b"boom"), frame(b"lost")].concat()).unwrap();
    assert!(panicked(&mut lane, &mut recorder));
    assert!(!panicked(&mut lane, &mut recorder));
    let counts = &lane.counts()[1];
    assert_eq!((counts.frames_cut, counts.connections_open), (1, 0));
    client.send(b"five").unwrap();
    drop(drained(&mut lane));
    assert_eq!(lane.counts()[0].datagrams, 6);
}

#[test]
fn stop_drains_what_is_queued_on_every_kind_of_socket() {
    let (_folder, path) = folder();
    let mut settings = NetSettings { udp: udp(0), tcp: udp(0), ..on_datagrams(&path) };
    let stream_path = path.with_extension("stream");
    settings.unix_stream = Some(stream_path.clone());
    let bound = bind(settings).unwrap();
    let client = client_of(&bound);
    let tcp_address = address_of(&bound, 3);
    let mut lane = only_lane(bound);
    client.send(b"udp").unwrap();
    UnixDatagram::unbound().unwrap().send_to(b"uds", &path).unwrap();
    UnixStream::connect(&stream_path).unwrap().write_all(&frame(b"stream")).unwrap();
    TcpStream::connect(tcp_address).unwrap().write_all(b"tcp\n").unwrap();
    let seen = drained(&mut lane);
    let mut texts = seen.texts();
    texts.sort();
    assert_eq!(texts, ["stream", "tcp\n", "udp", "uds"]);
    assert!(!path.exists() && !stream_path.exists());
}
