//! A lane at work, and what its receiver saw.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use whippet::net::{
    Addresses, Arrival, BindError, Bound, Credentials, Incident, InternetSettings, Lane, LaneEnd,
    LaneHandle, ListenerAddress, ListenerCounts, ListenerId, NetSettings, Receiver, Sender, bind,
};

pub const PATIENCE: Duration = Duration::from_secs(5);
pub const FAR: Duration = Duration::from_secs(600);

/// What a receiver saw.
#[derive(Default)]
pub struct Seen {
    pub units: Vec<(Vec<u8>, Arrival)>,
    pub addresses: Vec<Option<SocketAddr>>,
    pub processes: Vec<Option<Credentials>>,
    pub batches: (usize, usize),
    pub ticks: Vec<Vec<ListenerCounts>>,
    pub wakes: usize,
    pub incidents: Vec<String>,
}

impl Seen {
    pub fn texts(&self) -> Vec<String> {
        self.units.iter().map(|(bytes, _)| String::from_utf8(bytes.clone()).unwrap()).collect()
    }
}

/// Records everything; panics over the unit `boom`.
pub struct Recorder {
    pub seen: Arc<Mutex<Seen>>,
    pub tick_every: Duration,
    pub next_tick: Instant,
}

impl Recorder {
    pub fn new(tick_every: Duration) -> Self {
        Recorder { seen: Arc::default(), tick_every, next_tick: Instant::now() + tick_every }
    }

    pub fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
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

    fn woken(&mut self, _: &[ListenerCounts]) {
        self.seen().wakes += 1;
    }

    fn incident(&mut self, _: ListenerId, incident: &Incident<'_>) {
        self.seen().incidents.push(format!("{incident:?}"));
    }
}

/// A lane running in its own thread.
pub struct Running {
    pub handle: LaneHandle,
    pub seen: Arc<Mutex<Seen>>,
    pub thread: JoinHandle<(Lane, LaneEnd)>,
}

impl Running {
    pub fn start(lane: Lane) -> Self {
        Running::ticking(lane, FAR)
    }

    pub fn ticking(mut lane: Lane, tick_every: Duration) -> Self {
        let mut recorder = Recorder::new(tick_every);
        let (handle, seen) = (lane.handle(), Arc::clone(&recorder.seen));
        let thread = std::thread::spawn(move || {
            let end = lane.run(&mut recorder);
            (lane, end)
        });
        Running { handle, seen, thread }
    }

    #[track_caller]
    pub fn until(&self, what: impl Fn(&Seen) -> bool) {
        let started = Instant::now();
        while !what(&self.seen.lock().unwrap()) {
            assert!(started.elapsed() < PATIENCE, "it did not happen");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[track_caller]
    pub fn stop(self) -> (Seen, Vec<ListenerCounts>) {
        self.handle.stop(Duration::from_millis(250));
        let (lane, end) = self.thread.join().unwrap();
        assert!(matches!(end, LaneEnd::Stopped { drained: true }), "{end:?}");
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        (seen, lane.counts().to_vec())
    }
}

/// Reads what is queued already and returns.
#[track_caller]
pub fn drained(lane: &mut Lane) -> Seen {
    let mut recorder = Recorder::new(FAR);
    lane.handle().stop(PATIENCE);
    let end = lane.run(&mut recorder);
    assert!(matches!(end, LaneEnd::Stopped { drained: true }), "{end:?}");
    std::mem::take(&mut *recorder.seen())
}

pub fn udp(port: u16) -> Option<InternetSettings> {
    Some(InternetSettings { addresses: Addresses::Host("127.0.0.1".into()), port })
}

pub fn on_udp() -> NetSettings {
    NetSettings { udp: udp(0), ..NetSettings::default() }
}

pub fn only_lane(bound: Bound) -> Lane {
    let mut lanes = bound.into_lanes().unwrap();
    assert_eq!(lanes.len(), 1);
    lanes.remove(0)
}

/// A lane on 127.0.0.1 and a socket connected to it.
pub fn udp_lane(settings: NetSettings) -> (Lane, UdpSocket) {
    let bound = bind(settings).unwrap();
    let client = client_of(&bound);
    (only_lane(bound), client)
}

pub fn client_of(bound: &Bound) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(address_of(bound, 0)).unwrap();
    client
}

#[track_caller]
pub fn address_of(bound: &Bound, listener: usize) -> SocketAddr {
    match &bound.listeners[listener].address {
        ListenerAddress::Internet(address) => *address,
        ListenerAddress::Path(path) => panic!("{} is a path", path.display()),
    }
}

pub fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dsd.socket");
    (folder, path)
}

pub fn on_datagrams(path: &Path) -> NetSettings {
    NetSettings { unix_datagram: Some(path.to_owned()), ..NetSettings::default() }
}

pub fn on_stream(path: &Path) -> NetSettings {
    NetSettings { unix_stream: Some(path.to_owned()), ..NetSettings::default() }
}

pub fn frame(payload: &[u8]) -> Vec<u8> {
    [&u32::try_from(payload.len()).unwrap().to_le_bytes()[..], payload].concat()
}

#[track_caller]
pub fn refused(settings: NetSettings) -> BindError {
    bind(settings).map(|bound| bound.listeners).expect_err("it must be refused")
}
