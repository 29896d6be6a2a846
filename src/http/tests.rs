use std::io::{self, Read, Write};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::connection::{HEAD_BYTES_MAX, is_local_name};
use super::*;

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than any test runs: no limit of time is why something ends.
const NEVER: Duration = Duration::from_secs(3_600);

/// Limits of number, none of time.
fn patient() -> Limits {
    Limits { waiting_max: 8, pages_max: 2, head: NEVER, answer: NEVER, chunk: NEVER }
}

/// A server with every kind of route. `/held` is made when the test sends a word for it.
struct Fixture {
    server: HttpServer,
    address: Address,
    refusals: Arc<Refusals>,
    let_go: Sender<()>,
    /// How streams ended.
    ends: Receiver<io::Result<()>>,
}

fn fixture(address: &str, limits: Limits) -> Fixture {
    let (let_go, held) = channel();
    let (ended, ends) = channel();
    let held = Mutex::new(held);
    let router = Router::new()
        .route("/direct", direct(|request| Response::text(200, format!("{:?}", request.query))))
        .route("/echo", page(|request| Response::text(200, format!("{:?}", request.query))))
        .route("/stream", page(|_| lines(|out| out.write_all(b"streamed"))))
        .route("/broken", page(|_| lines(|_| Err(io::ErrorKind::Other.into()))))
        .route("/large", page(|_| Response::text(200, "x".repeat(64 << 20))))
        .route("/panic", page(|_| panic!("a page of a test")))
        .route(
            "/held",
            page(move |_| {
                // The sender is gone when the test is over.
                let _ = held.lock().unwrap().recv();
                Response::text(200, "held")
            }),
        )
        .route(
            "/endless",
            page(move |_| {
                let ended = ended.clone();
                lines(move |out| {
                    let end = loop {
                        if let Err(error) = out.write_all(&[b'x'; 64 << 10]) {
                            break Err(error);
                        }
                    };
                    // The test may be over.
                    let _ = ended.send(end);
                    Ok(())
                })
            }),
        )
        .fallback(async || Response::text(404, "nothing here"))
        .method_not_allowed_fallback(read_only);
    let refusals = Arc::<Refusals>::default();
    let mut server = HttpServer::start(limits, Arc::clone(&refusals)).unwrap();
    let address = server.listen(&Address::parse(address).unwrap(), router).unwrap();
    Fixture { server, address, refusals, let_go, ends }
}

fn lines(write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Response {
    Response::stream("text/plain", Box::new(write))
}

impl Fixture {
    fn connect(&self) -> Connection {
        let connection = self.address.connect(PATIENCE).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection
    }

    /// Sends a request and leaves it open.
    fn begin(&self, request: &str) -> Connection {
        let mut connection = self.connect();
        connection.write_all(request.as_bytes()).unwrap();
        connection
    }

    fn exchange(&self, request: &str) -> String {
        rest(&mut self.begin(request))
    }

    /// Evicted, busy, late.
    fn refused(&self) -> [u64; 3] {
        let Refusals { evicted, busy, late } = &*self.refusals;
        [evicted, busy, late].map(|counter| counter.load(Ordering::Relaxed))
    }

    fn get(&self, path: &str) -> String {
        self.exchange(&format!("GET {path} HTTP/1.0\r\n\r\n"))
    }
}

/// All that still comes.
fn rest(connection: &mut Connection) -> String {
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !met() {
        assert!(Instant::now() < deadline, "never: {what}");
    }
}

#[track_caller]
fn answers(request: &str, status: &str, body: &str) {
    let fixture = fixture("127.0.0.1:0", patient());
    let answer = fixture.exchange(request);
    let (head, got) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    assert_eq!(got, body, "{request:?}");
}

#[test]
fn it_reads_what_browsers_and_probes_send() {
    let decoded = r#"[("a", "1"), ("b", " x y"), ("c", "")]"#;
    answers("GET /echo?a=1&b=%20x+y&c HTTP/1.1\r\n\r\n", "200", decoded);
    answers("GET /direct?a=1&b=%20x+y&c HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "200", decoded);
    answers("HEAD /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", "200", "");
    answers("HEAD /stream HTTP/1.1\r\nHost: localhost\r\n\r\n", "200", "");
    answers("GET /other HTTP/1.1\r\n\r\n", "404", "nothing here");
}

#[test]
fn every_answer_ends_its_connection_and_is_for_no_cache() {
    let fixture = fixture("127.0.0.1:0", patient());
    for (path, length) in
        [("/echo", "content-length: 2"), ("/stream", "transfer-encoding: chunked")]
    {
        let answer = fixture.exchange(&format!("GET {path} HTTP/1.1\r\n\r\n"));
        let (head, _) = answer.split_once("\r\n\r\n").unwrap();
        for line in ["cache-control: no-store", "connection: close", length] {
            assert!(head.lines().any(|found| found.eq_ignore_ascii_case(line)), "{line}: {head}");
        }
    }
    // Old clients get streams without the lengths of chunks.
    let answer = fixture.get("/stream");
    assert!(answer.ends_with("\r\n\r\nstreamed"), "{answer}");
}

#[test]
fn it_refuses_what_is_not_meant_for_it() {
    let reads = "this server only reads: use GET\n";
    let foreign = "use localhost or an IP address as host name\n";
    answers("POST /echo HTTP/1.1\r\n\r\n", "405", reads);
    answers("GET /echo HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403", foreign);
    answers("GET /echo HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", "403", foreign);
    answers("GET http://evil.example/echo HTTP/1.1\r\n\r\n", "403", foreign);
    answers("nonsense\u{1}\r\n\r\n", "400", "");
    answers(&format!("GET /echo HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65)), "431", "");
    answers(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(HEAD_BYTES_MAX)), "431", "");
    answers("POST /other HTTP/1.1\r\n\r\n", "404", "nothing here");
}

#[test]
fn a_refusal_reaches_a_client_that_sends_more_than_is_read() {
    // On a Unix socket, closing with unread bytes would show as a reset.
    let folder = tempfile::tempdir().unwrap();
    let fixture = fixture(folder.path().join("socket").to_str().unwrap(), patient());
    let body = "x".repeat(20_000);
    let post = format!("POST /echo HTTP/1.1\r\nContent-Length: 20000\r\n\r\n{body}");
    assert!(fixture.exchange(&post).starts_with("HTTP/1.1 405"));
    let long = format!("GET /echo HTTP/1.1\r\nLong: {body}\r\n\r\n");
    assert!(fixture.exchange(&long).starts_with("HTTP/1.1 431"));
}

#[test]
fn local_names_are_distinguished_from_others() {
    for host in ["", "localhost", "LOCALHOST:80", "127.0.0.1", "10.0.0.7:1", "[::1]", "[::1]:80"] {
        assert!(is_local_name(host), "{host}");
    }
    for host in ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "[evil]"] {
        assert!(!is_local_name(host), "{host}");
    }
}

#[test]
fn a_slow_head_is_refused() {
    let limits = Limits { head: Duration::from_millis(50), ..patient() };
    let fixture = fixture("127.0.0.1:0", limits);
    for begun in ["", "GET /echo HTT", "GET /echo HTTP/1.1\r\nHost: loc"] {
        let answer = fixture.exchange(begun);
        assert!(answer.starts_with("HTTP/1.1 408"), "{begun:?}: {answer}");
        assert!(answer.ends_with("\r\n\r\nthe request took too long\n"), "{answer}");
    }
    assert_eq!(fixture.refused(), [0, 0, 3]);
    // A page may take longer than a head.
    let mut held = fixture.begin("GET /held HTTP/1.1\r\n\r\n");
    assert!(fixture.exchange("GET /echo").starts_with("HTTP/1.1 408"));
    fixture.let_go.send(()).unwrap();
    assert!(rest(&mut held).ends_with("held"));
}

#[test]
fn however_many_slow_clients_hold_connections_a_request_is_answered() {
    // No time limit helps here: the slow ones would be waited for during an hour.
    let fixture = fixture("127.0.0.1:0", patient());
    let open = |_| fixture.begin("GET /direct HTTP/1.1\r\nX: ");
    let mut slow: Vec<Connection> = (0..400).map(open).collect();
    for path in ["/direct", "/echo"] {
        assert!(fixture.get(path).starts_with("HTTP/1.0 200"), "{path}");
    }
    // All but the newest were sent away, the two requests counted in.
    for connection in &mut slow[..392] {
        assert!(rest(connection).starts_with("HTTP/1.1 503"));
    }
    let [evicted, busy, late] = fixture.refused();
    assert!(evicted >= 392 && busy + late == 0, "{:?}", fixture.refused());
    let newest = slow.last_mut().unwrap();
    newest.write_all(b"y\r\n\r\n").unwrap();
    assert!(rest(newest).starts_with("HTTP/1.1 200"));
}

#[test]
fn pages_past_the_bound_are_refused_and_direct_answers_are_not() {
    let fixture = fixture("127.0.0.1:0", patient());
    let hold = |_| fixture.begin("GET /held HTTP/1.1\r\n\r\n");
    let mut held: Vec<Connection> = (0..2).map(hold).collect();
    let refused = |fixture: &Fixture| fixture.get("/echo").starts_with("HTTP/1.0 503");
    eventually("both pages are in work", || refused(&fixture));
    // A crowd of slow ones does not take the places of pages.
    let slow: Vec<Connection> = (0..100).map(|_| fixture.begin("GET ")).collect();
    for _ in 0..20 {
        assert!(fixture.get("/direct").starts_with("HTTP/1.0 200"));
        assert!(refused(&fixture));
    }
    drop(slow);
    for connection in &mut held {
        fixture.let_go.send(()).unwrap();
        assert!(rest(connection).ends_with("held"));
    }
    eventually("their places are free", || fixture.get("/echo").starts_with("HTTP/1.0 200"));
}

#[test]
fn an_answer_counts_as_a_page_in_work_until_it_is_taken() {
    let fixture = fixture("127.0.0.1:0", patient());
    let mut untaken = [0, 1].map(|_| fixture.begin("GET /large HTTP/1.1\r\n\r\n"));
    for connection in &mut untaken {
        // Its page is made.
        connection.read_exact(&mut [0]).unwrap();
    }
    assert!(fixture.get("/echo").starts_with("HTTP/1.0 503"));
    assert_eq!(fixture.refused(), [0, 1, 0]);
    rest(&mut untaken[0]);
    eventually("a place is free", || fixture.get("/echo").starts_with("HTTP/1.0 200"));
}

#[test]
fn a_client_that_takes_nothing_loses_its_page() {
    let slow = Duration::from_millis(50);
    let fixture = fixture("127.0.0.1:0", Limits { answer: slow, chunk: slow, ..patient() });
    // Larger than what the two sockets hold, so that the answer cannot be sent.
    let stalled = [
        fixture.begin("GET /large HTTP/1.1\r\n\r\n"),
        fixture.begin("GET /endless HTTP/1.1\r\n\r\n"),
    ];
    assert!(fixture.ends.recv_timeout(PATIENCE).unwrap().is_err());
    eventually("both places are free", || {
        let mut held: Vec<Connection> =
            (0..2).map(|_| fixture.begin("GET /echo HTTP/1.0\r\n\r\n")).collect();
        held.iter_mut().all(|connection| rest(connection).starts_with("HTTP/1.0 200"))
    });
    drop(stalled);
}

#[test]
fn a_stream_waits_for_its_client_and_ends_with_it() {
    let fixture = fixture("127.0.0.1:0", patient());
    let mut client = fixture.begin("GET /endless HTTP/1.1\r\n\r\n");
    let mut begun = [0; 100_000];
    client.read_exact(&mut begun).unwrap();
    assert!(fixture.ends.try_recv().is_err(), "it ended while its client reads");
    drop(client);
    assert!(fixture.ends.recv_timeout(PATIENCE).unwrap().is_err());
}

#[test]
fn a_page_that_fails_is_never_taken_for_a_whole_one() {
    let fixture = fixture("127.0.0.1:0", patient());
    for _ in 0..5 {
        let panicked = fixture.get("/panic");
        assert!(panicked.starts_with("HTTP/1.0 500"), "{panicked}");
    }
    let mut broken = fixture.begin("GET /broken HTTP/1.1\r\n\r\n");
    let mut answer = Vec::new();
    // It may be reset, too.
    let _ = broken.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    assert!(!answer.ends_with("0\r\n\r\n"), "a complete body: {answer}");
    assert!(fixture.get("/echo").starts_with("HTTP/1.0 200"));
}

#[test]
fn a_direct_answer_cannot_be_a_stream() {
    let router = Router::new().route("/", direct(|_| lines(|_| Ok(()))));
    let mut server = HttpServer::start(patient(), Arc::default()).unwrap();
    let address = server.listen(&Address::parse("127.0.0.1:0").unwrap(), router).unwrap();
    let mut connection = address.connect(PATIENCE).unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(rest(&mut connection).starts_with("HTTP/1.1 500"));
}

#[test]
fn a_stop_waits_for_no_client_and_no_page() {
    let fixture = fixture("127.0.0.1:0", patient());
    let mut open = vec![
        fixture.begin("GET "),
        fixture.begin("GET /held HTTP/1.1\r\n\r\n"),
        fixture.begin("GET /endless HTTP/1.1\r\n\r\n"),
    ];
    eventually("both pages are in work", || fixture.get("/echo").starts_with("HTTP/1.0 503"));
    // In work may still mean waiting for a thread; its first bytes say that the page runs.
    open[2].read_exact(&mut [0; 1 << 10]).unwrap();
    let started = Instant::now();
    drop(fixture.server);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    for connection in &mut open {
        // Closed or reset, but not left open.
        let _ = io::copy(connection, &mut io::sink());
    }
    assert!(fixture.ends.recv_timeout(PATIENCE).unwrap().is_err());
    assert!(fixture.address.connect(PATIENCE).is_err(), "still listening");
}

#[test]
fn several_addresses_share_one_thread() {
    let mut fixture = fixture("127.0.0.1:0", patient());
    let router = Router::new().route("/", direct(|_| Response::text(200, "second")));
    let second = fixture.server.listen(&Address::parse("127.0.0.1:0").unwrap(), router).unwrap();
    assert_ne!(fixture.address, second);
    let mut connection = second.connect(PATIENCE).unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(rest(&mut connection).ends_with("second"));
    assert!(fixture.get("/direct").starts_with("HTTP/1.0 200"));
    let taken = fixture.server.listen(&second, Router::new());
    assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn a_live_unix_socket_is_not_taken_and_a_stale_one_is() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let text = path.to_str().unwrap();
    drop(UnixListener::bind(&path).unwrap());
    let first = fixture(text, patient());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    assert!(first.get("/echo").starts_with("HTTP/1.0 200"));
    // Any client that may open the file is allowed, under any host name.
    let named = first.exchange("GET /echo HTTP/1.1\r\nHost: whippet\r\n\r\n");
    assert!(named.starts_with("HTTP/1.1 200"), "{named}");
    let mut second = HttpServer::start(patient(), Arc::default()).unwrap();
    let taken = second.listen(&first.address, Router::new());
    assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(first);
    assert!(!path.exists());
    std::fs::write(&path, "a file").unwrap();
    let taken = second.listen(&Address::parse(text).unwrap(), Router::new());
    assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn what_is_encoded_is_decoded() {
    let fixture = fixture("127.0.0.1:0", patient());
    let text = "a b+c%&=/ä~";
    let answer = fixture.get(&format!("/echo?q={}", encoded(text)));
    assert!(answer.ends_with(&format!("{:?}", [("q", text)])), "{answer}");
}

#[test]
fn addresses_are_read() {
    let tcp = Address::Tcp("127.0.0.1:1".parse().unwrap());
    assert_eq!(Address::parse("127.0.0.1:1").unwrap(), tcp);
    for text in ["/run/a.sock", "unix:///run/a.sock"] {
        assert_eq!(Address::parse(text).unwrap(), Address::Unix("/run/a.sock".into()));
    }
    let wrong = Address::parse("nonsense").unwrap_err().to_string();
    assert_eq!(wrong, "not host:port and not a path");
}
