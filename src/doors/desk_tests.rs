use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use ahash::RandomState;

use super::*;
use crate::aggregate::TimedSettings;
use crate::context::PartRules;
use crate::doors::{RecorderParts, Sink, Traces};
use crate::http::requests::{RequestLimits, RequestServer, StreamListener};
use crate::tagger::{Identity, Tagger, Tags, WorkloadBuilder};
use crate::watch::Watch;

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers with what it knows of the sender; fails when asked to.
struct Told;

impl Door for Told {
    fn take(&self, request: &Request<'_>, _: &mut dyn Sink) -> Result<Answer, Refusal> {
        assert_ne!(request.body, b"panic", "a bug of ours");
        let container = String::from_utf8_lossy(request.container).into_owned();
        Ok(Answer { status: 200, content_type: "text/plain", body: container.into() })
    }
}

/// Knows one container.
#[derive(Debug)]
struct OneContainer;

impl Tagger for OneContainer {
    fn tags(&self, identity: Identity<'_>, cardinality: Cardinality) -> Option<Tags> {
        let mut tags = WorkloadBuilder::default();
        tags.add(Cardinality::Low, "kube_namespace", "shop").add(Cardinality::Low, "x", "y");
        let known = identity == Identity::Container(b"abc");
        known.then(|| Arc::new(tags.build()).up_to(cardinality))
    }

    fn generation(&self) -> u64 {
        0
    }
}

struct Fixture {
    address: SocketAddr,
    accounting: Arc<DoorsAccounting>,
    _server: RequestServer,
}

const LIMITS: RequestLimits =
    RequestLimits { connections_max: 2, request: PATIENCE, idle: PATIENCE, threads_max: 2 };

fn open(limits: RequestLimits, origin: Option<OriginRules>) -> Fixture {
    open_before(limits, origin, None)
}

/// The same before a real Agent.
fn open_before(
    limits: RequestLimits,
    origin: Option<OriginRules>,
    upstream: Option<Upstream>,
) -> Fixture {
    let accounting = Arc::<DoorsAccounting>::default();
    let clock = Clock::manual(Duration::from_secs(1_700_000_000));
    let parts = RecorderParts {
        settings: TimedSettings::default(),
        rules: Arc::<PartRules>::default(),
        state: RandomState::new(),
        accounting: Arc::clone(&accounting),
        watch: Arc::<Watch>::default(),
    };
    let mut doors: BTreeMap<Route, Arc<dyn Door>> = BTreeMap::new();
    doors.insert(Route::Stats, Arc::new(Told));
    doors.insert(Route::Traces, Arc::new(Traces::new(Arc::clone(&accounting))));
    let desk = Desk::new(DeskSettings {
        doors,
        upstream,
        traces_upstream: false,
        forward: None,
        request_bytes_max: 100,
        info: InfoSettings {
            on: Vec::new(),
            default_env: String::new(),
            receiver_port: 0,
            request_bytes_max: 100,
            statsd_port: None,
        },
        origin,
        proc_root: None,
        recorder: Recorder::new(parts, clock.unix()),
        clock,
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let counted = Arc::clone(&accounting);
    let sockets = vec![StreamListener::Tcp(listener)];
    let _server = RequestServer::start("desk", sockets, limits, desk.router(), counted).unwrap();
    Fixture { address, accounting, _server }
}

impl Fixture {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// One request on a connection of its own; the whole answer, once the server has closed.
    fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        self.exchange(&format!(
            "POST {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ))
    }

    /// Waits for the count of what never became a request: it comes with the end of the connection.
    fn wait_for_other(&self, requests: u64) {
        let until = std::time::Instant::now() + PATIENCE;
        while self.accounting.of(Route::Other).requests() < requests {
            assert!(std::time::Instant::now() < until, "no {requests} requests");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn refused(&self, route: Route, reason: Reason) -> u64 {
        self.accounting.of(route).refused[reason as usize].load(Ordering::Relaxed)
    }
}

#[test]
fn a_panic_is_answered_costs_its_connection_and_nothing_else() {
    let fixture = open(LIMITS, None);
    // No `Connection: close` of the client: the server closes by itself.
    let request = "POST /v0.6/stats HTTP/1.1\r\nContent-Length: 5\r\n\r\npanic";
    for _ in 0..3 {
        let answer = fixture.exchange(request);
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(answer.contains(r#"{"errors":["this request failed"#), "{answer}");
    }
    assert!(fixture.post("/v0.6/stats", "", "fine").starts_with("HTTP/1.1 200 "));
    assert_eq!(fixture.refused(Route::Stats, Reason::Internal), 3);
    assert_eq!(fixture.accounting.of(Route::Stats).requests(), 4);
}

#[test]
fn every_request_is_recorded_or_refused_for_one_reason() {
    let fixture = open(LIMITS, None);
    let cross = "Sec-Fetch-Site: cross-site\r\n";
    fixture.post("/v0.4/traces", "", "[]");
    fixture.post("/v0.4/traces", cross, "[]");
    fixture.post("/v0.4/traces", "Content-Encoding: br\r\n", "[]");
    fixture.post("/v0.4/traces", "Content-Encoding: gzip\r\n", "[]");
    fixture.post("/v0.4/traces", "", "{}");
    fixture.post("/v0.4/traces", "", &"[".repeat(101));
    fixture.exchange("GET /v0.4/traces HTTP/1.1\r\nConnection: close\r\n\r\n");
    let traces = |reason| fixture.refused(Route::Traces, reason);
    assert_eq!(traces(Reason::Origin), 1);
    assert_eq!(traces(Reason::Encoding), 1);
    assert_eq!(traces(Reason::Decode), 2);
    assert_eq!(traces(Reason::TooLarge), 1);
    assert_eq!(traces(Reason::Method), 1);
    assert_eq!(fixture.accounting.of(Route::Traces).recorded.load(Ordering::Relaxed), 1);
    assert_eq!(fixture.accounting.of(Route::Traces).requests(), 7);
    fixture.post("/telemetry/proxy/api/v2/apmtelemetry", "", "{}");
    fixture.post("/v0.7/config", "", "{}");
    fixture.exchange("no http\r\n\r\n");
    fixture.exchange(&format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(20_000)));
    fixture.wait_for_other(3);
    assert_eq!(fixture.refused(Route::Telemetry, Reason::Off), 1);
    assert_eq!(fixture.refused(Route::Other, Reason::NotFound), 1);
    assert_eq!(fixture.refused(Route::Other, Reason::Decode), 1);
    assert_eq!(fixture.refused(Route::Other, Reason::TooLarge), 1);
    assert_eq!(fixture.accounting.of(Route::Other).requests(), 3);
}

#[test]
fn traces_are_counted_by_language() {
    let fixture = open(LIMITS, None);
    let php = "Datadog-Meta-Lang: php\r\nX-Datadog-Trace-Count: 3\r\n";
    fixture.post("/v0.4/traces", php, "[[], [], []]");
    let computed = format!("{php}Datadog-Client-Computed-Stats: yes\r\n");
    fixture.post("/v0.4/traces", &computed, "[]");
    fixture.post("/v0.4/traces", php, "no list");
    let counts = fixture.accounting.traces_by_language()["php"];
    assert_eq!((counts.requests, counts.traces, counts.bytes), (2, 6, 14));
}

#[test]
fn a_language_is_without_stats_only_while_its_latest_requests_are() {
    let fixture = open(LIMITS, None);
    let post = |lang: &str, computed: &str| {
        let headers = format!("Datadog-Meta-Lang: {lang}\r\n{computed}");
        fixture.post("/v0.4/traces", &headers, "[]");
        let counts = fixture.accounting.traces_by_language()[lang];
        (counts.requests, counts.without_stats)
    };
    let yes = "Datadog-Client-Computed-Stats: yes\r\n";
    // The first traces leave before the tracer has read what we take.
    assert_eq!(post("python", ""), (1, 1));
    assert_eq!(post("python", yes), (2, 0));
    assert_eq!(post("php", ""), (1, 1));
    assert_eq!(post("php", ""), (2, 2));
    assert_eq!(post("python", yes), (3, 0), "languages are apart");
    // One that stops computing them is seen at once.
    assert_eq!(post("python", ""), (4, 1));
}

/// Accepts, reads and answers with these bytes, then keeps the connection open.
fn agent_that_says(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
            open.push(stream);
        }
    });
    url
}

#[test]
fn an_agent_that_is_late_is_a_bad_gateway() {
    let patience = Duration::from_millis(200);
    let upstream = Upstream::new(&agent_that_says(b""), patience);
    let fixture = open_before(LIMITS, None, Some(upstream));
    let started = std::time::Instant::now();
    let answer = fixture.post("/profiling/v1/input", "", "x");
    assert!(started.elapsed() >= patience, "it had its time");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    let body = r#"{"errors":["the Agent of doors_upstream did not answer in 200ms"]}"#;
    assert!(answer.ends_with(body), "{answer}");
    assert_eq!(fixture.refused(Route::Upstream, Reason::Timeout), 1);
    // `/info` waits no longer, and is then our own page.
    let info = fixture.exchange("GET /info HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(info.contains(r#""endpoints":["/v0.3/traces","#), "{info}");
}

#[test]
fn an_answer_that_stops_halfway_is_cut_off_in_time() {
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    let upstream = Upstream::new(&agent_that_says(half), Duration::from_millis(200));
    let fixture = open_before(LIMITS, None, Some(upstream));
    let mut stream = fixture.connect();
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // Its end is an end of file or a reset, but not an answer of full length.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nhalf"), "{answer}");
}

#[test]
fn connections_end_when_they_are_idle_late_or_too_many() {
    let short = Duration::from_millis(300);
    let fixture = open(RequestLimits { idle: short, request: short, ..LIMITS }, None);
    let silent = fixture.exchange("");
    assert_eq!(silent, "", "idle connections close without a word");
    let late = fixture.exchange("POST /v0.4");
    assert!(late.starts_with("HTTP/1.1 408 "), "{late}");
    let late = fixture.exchange("POST /v0.4/traces HTTP/1.1\r\nContent-Length: 2\r\n\r\n[");
    assert!(late.starts_with("HTTP/1.1 408 ") && late.contains("connection: close"), "{late}");
    fixture.wait_for_other(1);
    assert_eq!(fixture.refused(Route::Other, Reason::Timeout), 1);
    assert_eq!(fixture.refused(Route::Traces, Reason::Timeout), 1);
    let fixture = open(LIMITS, None);
    let _inside = [fixture.connect(), fixture.connect()];
    let refused = fixture.exchange("");
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert_eq!(fixture.accounting.connections_refused.load(Ordering::Relaxed), 1);
}

#[test]
fn a_container_is_known_by_its_headers_and_hashed_only_with_a_tagger() {
    let info = |fixture: &Fixture, container: &str| {
        let header = format!("Datadog-Container-ID: {container}\r\n");
        fixture.exchange(&format!("GET /info HTTP/1.1\r\nConnection: close\r\n{header}\r\n"))
    };
    let fixture = open(LIMITS, None);
    assert!(!info(&fixture, "abc").contains("datadog-container-tags-hash"));
    assert!(fixture.post("/v0.6/stats", "Datadog-Container-ID: abc\r\n", "").ends_with("\r\n\r\n"));
    let origin = OriginRules {
        tagger: Arc::new(OneContainer),
        cardinality: Cardinality::Low,
        optout: true,
        entity_id_precedence: false,
        unified: false,
    };
    let fixture = open(LIMITS, Some(origin));
    let digest = ring::digest::digest(&ring::digest::SHA256, b"kube_namespace:shop");
    let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let answer = info(&fixture, "abc");
    assert!(answer.contains(&format!("datadog-container-tags-hash: {hash}\r\n")), "{answer}");
    assert!(!info(&fixture, "unknown").contains("datadog-container-tags-hash"));
    assert!(fixture.post("/v0.6/stats", "Datadog-Container-ID: abc\r\n", "").ends_with("abc"));
    assert!(fixture.post("/v0.6/stats", "Datadog-Entity-ID: ci-def\r\n", "").ends_with("def"));
}
