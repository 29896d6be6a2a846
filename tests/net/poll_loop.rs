//! The poll loop: ticks, pauses, panics, the end.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use whippet::net::{Lane, NetSettings, bind};

use super::lane::{
    FAR, PATIENCE, Recorder, Running, address_of, client_of, drained, folder, frame, on_datagrams,
    on_stream, on_udp, only_lane, udp, udp_lane,
};

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
