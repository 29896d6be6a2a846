//! The server seen through its hub: started in process, fed over a real socket, delivering to a
//! fake intake.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::support::intake::{Answer, Intake};
use crate::support::log;
use whippet::clock::Clock;
use whippet::config::{self, Loaded, Mode, Outputs, Sources};
use whippet::encode::{ContentEncoding, Payload, Route};
use whippet::forward::{Endpoint, Forwarder, ForwarderConfig};
use whippet::server::{Server, ServerSettings};
use whippet::telemetry::{Event, EventKind, Hub, HubConfig, RetryCause, Subscription};

/// The start of a bucket.
const START: u64 = 1_700_000_000;
/// How long a fact is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

// ------------------------------------------------------------------------------------- helpers

/// Facts as short sentences, in the order in which they were emitted.
#[derive(Clone, Default)]
struct Heard(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Heard {
    fn everything_of(hub: &Hub) -> (Self, Subscription) {
        let heard = Heard::default();
        let hearing = heard.clone();
        let subscription = hub.subscribe_all(Some("test"), move |event| hearing.hear(event));
        (heard, subscription)
    }

    fn hear(&self, event: &Event<'_>) {
        self.0.0.lock().unwrap().push(sentence(event));
        self.0.1.notify_all();
    }

    fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }

    /// Facts with such a beginning.
    fn of(&self, beginnings: &[&str]) -> Vec<String> {
        let emitted = self.all().into_iter();
        emitted.filter(|fact| beginnings.iter().any(|word| fact.starts_with(word))).collect()
    }

    /// Waits for a fact with that beginning and returns the rest of it.
    #[track_caller]
    fn wait_for(&self, beginning: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut emitted = self.0.0.lock().unwrap();
        loop {
            if let Some(rest) = emitted.iter().find_map(|fact| fact.strip_prefix(beginning)) {
                return rest.to_owned();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {beginning:?} within {PATIENCE:?}: {emitted:#?}");
            emitted = self.0.1.wait_timeout(emitted, left).unwrap().0;
        }
    }

    #[track_caller]
    fn comes_before(&self, earlier: &str, later: &str) {
        let all = self.all();
        let place = |beginning| all.iter().position(|fact: &String| fact.starts_with(beginning));
        let (first, second) = (place(earlier), place(later));
        assert!(first.is_some() && first < second, "{earlier:?} before {later:?}: {all:#?}");
    }
}

/// What a test may rely on: no times, sizes or ports.
fn sentence(event: &Event<'_>) -> String {
    let text = String::from_utf8_lossy;
    match event {
        Event::PacketReceived { transport, bytes, .. } => {
            format!("packet {transport:?} {}", text(bytes))
        }
        Event::ParseFailed { reason, line, .. } => format!("refused {reason} {}", text(line)),
        Event::FlushStarted { bucket_start, contexts } => {
            format!("flush {bucket_start} of {contexts} contexts")
        }
        Event::FlushCompleted { series, sketches, points, .. } => {
            format!("flushed {series} series, {points} points, {sketches} sketches")
        }
        Event::PayloadBuilt { route, items, raw_bytes, compressed_bytes } => {
            assert!(*raw_bytes > 0 && *compressed_bytes > 0);
            format!("built {route} of {items}")
        }
        Event::PayloadSent { bytes, status, attempt, .. } => {
            assert!(*bytes > 0);
            format!("sent, status {status}, attempt {attempt}")
        }
        Event::PayloadRetried { cause, delay, .. } => {
            format!("retried {cause:?}, known when: {}", delay.is_some())
        }
        Event::PayloadDropped { reason, items, .. } => format!("dropped {items} {reason}"),
        Event::ListenerStateChanged { listener, state } => format!("{state} {listener}"),
        other => format!("{other:?}"),
    }
}

/// One lane on a free UDP port of 127.0.0.1, delivering to `intake`; nothing from the environment.
fn loaded(intake: &str, more: &[(&str, &str)]) -> Loaded {
    let all = [
        ("api_key", "4f1c2a9b7d3e5f60718293a4b5c6d7e8"),
        ("dd_url", intake),
        ("dogstatsd_port", "__random__"),
        ("bind_host", "127.0.0.1"),
        ("dogstatsd_socket", ""),
        ("admin_address", ""),
        ("self_telemetry", "off"),
        ("lanes", "1"),
        ("forwarder_backoff_base", "0.001"),
    ];
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let flags = all.iter().chain(more).map(pair).collect();
    let env: Vec<(String, String)> = Vec::new();
    config::load(Sources { file: None, env, flags, mode: Mode::Run }).expect("valid settings")
}

/// A server whose time stands still until the test moves it, and a socket connected to it.
struct Run {
    server: Server,
    heard: Heard,
    clock: Clock,
    socket: UdpSocket,
    _listening: Subscription,
}

fn start(intake: &Intake, hub: Hub) -> Run {
    let clock = Clock::manual(Duration::from_secs(START));
    let (heard, listening) = Heard::everything_of(&hub);
    let loaded = loaded(&intake.url(), &[]);
    let outputs = Outputs::choose(&loaded).expect("there is a key");
    let plan = ServerSettings {
        loaded,
        outputs,
        hostname: None,
        hostname_origin: "none",
        clock: clock.clone(),
        hub,
        log: Default::default(),
    };
    let server = Server::start(plan).expect("a free port");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(heard.wait_for("open udp ")).expect("the address of the event");
    Run { server, heard, clock, socket, _listening: listening }
}

impl Run {
    #[track_caller]
    fn send(&self, datagram: &str) {
        self.socket.send(datagram.as_bytes()).expect("loopback");
        self.heard.wait_for(&format!("packet Udp {datagram}"));
    }
}

// --------------------------------------------------------------------------------------- tests

#[test]
fn a_run_with_a_retry_and_a_shutdown_emits_events_in_order() {
    let intake = Intake::start();
    intake.script([Answer::status(503)]);
    let run = start(&intake, Hub::default());
    run.send("queue:7|g");
    run.clock.advance(Duration::from_secs(10));
    run.send("bad"); // wakes the lane, which finds that the interval is over
    run.heard.wait_for("retried");
    run.clock.advance(Duration::from_secs(1));
    run.heard.wait_for("sent");
    run.send("queue:8|g");
    assert!(run.server.stop());

    let heard = &run.heard;
    assert_eq!(
        heard.of(&["packet", "refused"]),
        [
            "packet Udp queue:7|g",
            "packet Udp bad",
            "refused missing_type bad",
            "packet Udp queue:8|g"
        ]
    );
    assert_eq!(
        heard.of(&["flush", "built"]),
        [
            "flush 1700000000 of 1 contexts",
            "built series_v2 of 1",
            "flushed 1 series, 1 points, 0 sketches",
            "flush 1700000010 of 1 contexts",
            "built series_v2 of 1",
            "flushed 1 series, 1 points, 0 sketches",
        ]
    );
    assert_eq!(
        heard.of(&["retried", "sent", "dropped"]),
        [
            &format!("retried {:?}, known when: true", RetryCause::Status(503)),
            "sent, status 202, attempt 2",
            "sent, status 202, attempt 1",
        ]
    );
    let all = heard.all();
    assert!(all[0].starts_with("open udp 127.0.0.1:"), "{all:#?}");
    assert_eq!(all.last().unwrap(), "ShutdownCompleted { lost: 0 }");
    heard.comes_before("built", "retried");
    heard.comes_before("ShutdownStarted { deadline: 8s, pending: 0 }", "closed udp 127.0.0.1:");
    heard.comes_before("ShutdownStarted", "flush 1700000010");
}

#[test]
fn what_the_intake_refuses_is_an_event_of_drops() {
    let intake = Intake::start();
    intake.script([Answer::status(400)]);
    let run = start(&intake, Hub::default());
    run.send("queue:7|g");
    assert!(run.server.stop(), "the shutdown itself lost nothing");
    assert_eq!(run.heard.of(&["dropped", "retried", "sent"]), ["dropped 1 bad_request"]);
    assert_eq!(run.heard.of(&["ShutdownCompleted"]), ["ShutdownCompleted { lost: 0 }"]);
}

#[test]
fn what_a_shutdown_loses_is_an_event_of_drops_and_of_the_end() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let run = start(&intake, Hub::default());
    run.send("queue:7|g\nlength:3|g");
    assert!(!run.server.stop());
    run.heard.comes_before("dropped 2 shutdown", "ShutdownCompleted { lost: 2 }");
}

#[test]
fn a_lane_that_fails_emits_an_event_and_continues() {
    let intake = Intake::start();
    let hub = Hub::new(HubConfig { propagate_panics: true, ..HubConfig::default() });
    let run = start(&intake, hub.clone());
    let bad = hub.subscribe(EventKind::PacketReceived, None, |event| {
        if matches!(event, Event::PacketReceived { bytes: b"boom:1|g", .. }) {
            panic!("the panic of this test");
        }
    });
    run.send("boom:1|g");
    let rest = run.heard.wait_for("ComponentFailed ");
    assert_eq!(rest, r#"{ component: "lane-0", error: "the panic of this test", restarts: 1 }"#);
    run.send("queue:7|g");
    assert!(run.server.stop());
    drop(bad);
    intake.read(|state| assert_eq!(state.last_value("queue", &[]), Some(7.0)));
}

#[test]
fn a_reload_names_the_keys_that_changed() {
    let intake = Intake::start();
    let run = start(&intake, Hub::default());
    let url = intake.url();
    run.server.reload(&loaded(&url, &[]));
    run.server
        .reload(&loaded(&url, &[("tags", "team:web"), ("api_key", "new-key-0123456789abcdef")]));
    assert_eq!(
        run.heard.of(&["ConfigReloaded"]),
        [r#"ConfigReloaded { keys: [] }"#, r#"ConfigReloaded { keys: ["api_key", "tags"] }"#]
    );
    run.server.stop();
}

#[test]
fn there_are_no_subscriptions_unless_the_debug_level_is_on_and_then_none_to_packets() {
    let intake = Intake::start();
    let wanted = |hub: &Hub| {
        EventKind::ALL.iter().copied().filter(|kind| hub.wants(*kind)).collect::<Vec<_>>()
    };
    let quiet = Hub::default();
    // The level is asked for where the server starts, so what this thread logs decides.
    let no_log = tracing::subscriber::NoSubscriber::new();
    let Run { server, _listening, .. } =
        tracing::subscriber::with_default(no_log, || start(&intake, quiet.clone()));
    drop(_listening);
    assert_eq!(wanted(&quiet), []);
    server.stop();

    log::start();
    let loud = Hub::default();
    let Run { server, _listening, socket, heard, .. } = start(&intake, loud.clone());
    socket.send(b"queue:7|g").expect("loopback");
    heard.wait_for("packet");
    drop(_listening);
    let kinds = wanted(&loud);
    assert!(kinds.contains(&EventKind::PayloadSent), "{kinds:?}");
    assert!(kinds.contains(&EventKind::FlushCompleted), "{kinds:?}");
    assert!(!kinds.contains(&EventKind::PacketReceived), "{kinds:?}");
    assert!(!kinds.contains(&EventKind::ParseFailed), "{kinds:?}");
    server.stop();
    assert_eq!(wanted(&loud), [], "the observer leaves with the server");
    let text = log::text();
    // Other tests log here too; the address is this one's.
    let beginning = format!("DEBUG forward: {}: ", intake.address());
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(&beginning)).collect();
    assert!(lines.len() == 1 && lines[0].contains("status 202"), "{lines:?} in {text}");
}

/// Facts are emitted outside the lock of the accounting, also where the queue is too small for a payload.
#[test]
fn a_listener_may_read_the_accounting_of_its_event() {
    let hub = Hub::default();
    let forwarder: Arc<OnceLock<Forwarder>> = Arc::default();
    let seen: Arc<Mutex<VecDeque<(String, u64)>>> = Arc::default();
    let (asked, noted) = (Arc::clone(&forwarder), Arc::clone(&seen));
    let _listening = hub.subscribe(EventKind::PayloadDropped, None, move |event| {
        let dropped =
            asked.get().expect("started").accounting().total(|route| route.dropped_total());
        noted.lock().unwrap().push_back((sentence(event), dropped.payloads));
    });
    let intake = Intake::start();
    intake.respond(Answer::hang());
    let mut settings = ForwarderConfig::new(Arc::new(|_| Ok(None)));
    settings.validation_interval = None;
    settings.hub = hub;
    let endpoint = Endpoint::at(&intake.url(), "0123456789abcdef").expect("a URL");
    let started = Forwarder::start(vec![endpoint], settings, Clock::wall()).expect("a thread");
    let forwarder = forwarder.get_or_init(|| started);
    let built_at = Clock::wall().unix().as_secs();
    let payload = Payload {
        route: Route::SeriesV2,
        body: b"x".as_slice().into(),
        encoding: ContentEncoding::Identity,
        items: 1,
        points: 3,
        uncompressed_bytes: 1,
        built_at,
    };
    forwarder.submit(&payload, Instant::now());
    forwarder.shutdown(Instant::now());
    assert_eq!(*seen.lock().unwrap(), [("dropped 3 shutdown".to_owned(), 1)]);
}
