//! The admin server under clients that are slow, many, or not meant for it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::server::server;
use crate::support::intake::Intake;
use crate::support::program::{PATIENCE, Program, Setup, get, whippet};

/// What a probe may wait for (issue 10).
const DELAY_MAX: Duration = Duration::from_millis(200);
/// Connections of the admin server at once, and its threads for pages.
const CONNECTIONS_MAX: usize = 48;
const PAGES_MAX: usize = 16;

/// So that this process can be a thousand clients.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("as many as the system grants");
}

fn begin(program: &Program, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(program.admin()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn exchange(program: &Program, request: &str) -> String {
    let mut answer = String::new();
    begin(program, request).read_to_string(&mut answer).unwrap();
    answer
}

/// Without pages of files: code is mapped as it runs.
fn memory_kib(program: &Program) -> i64 {
    let status = std::fs::read_to_string(program.proc("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn entries(program: &Program, folder: &str) -> usize {
    std::fs::read_dir(program.proc(folder)).unwrap().count()
}

/// So many clients that send a request byte by byte, and come back when they are sent away.
fn with_slow_clients(program: &Program, count: usize, during: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let open = || begin(program, "GET /live HTTP/1.1\r\nX: ");
    let mut slow: Vec<TcpStream> = (0..count).map(|_| open()).collect();
    let attack = || {
        while !over.load(Ordering::Relaxed) {
            for stream in &mut slow {
                if stream.write_all(b"y").is_err() {
                    *stream = open();
                }
            }
            // Slow ones, not a flood of connections.
            std::thread::sleep(Duration::from_millis(500));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(attack);
        // Also when an assertion fails: the scope waits for the attack.
        let _over = SetOnDrop(&over);
        during();
    });
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_thousand_slow_clients_delay_no_probe() {
    raise_open_files();
    let program = server(&[]);
    assert_eq!(program.get("/live").0, 200);
    let (files, threads) = (entries(&program, "fd"), entries(&program, "task"));
    let memory = memory_kib(&program);
    for count in [100, 1_000] {
        with_slow_clients(&program, count, || {
            let mut delays = Vec::new();
            for _ in 0..40 {
                let started = Instant::now();
                let (status, body) = program.get("/live");
                delays.push(started.elapsed());
                // Not one is turned away: an orchestrator would count it.
                assert_eq!(status, 200, "{body}");
                let open = entries(&program, "fd").saturating_sub(files);
                assert!(open <= CONNECTIONS_MAX + 8, "{open} connections");
            }
            delays.sort();
            // The median, because this machine runs other tests at the same time.
            assert!(delays[20] < DELAY_MAX, "{count} slow clients: {delays:?}");
            assert_eq!(program.get("/status").0, 200);
        });
    }
    assert!(entries(&program, "task") <= threads + 2, "a thread per client");
    let more = memory_kib(&program) - memory;
    assert!(more < 16 << 10, "{more} KiB more");
}

#[test]
fn pages_that_take_long_are_bounded_and_delay_neither_a_probe_nor_the_end() {
    let program = server(&[]);
    let threads = entries(&program, "task");
    let long = "GET /stats?seconds=60 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let pages: Vec<TcpStream> = (0..PAGES_MAX).map(|_| begin(&program, long)).collect();
    let deadline = Instant::now() + PATIENCE;
    let (status, refusal) = loop {
        let (status, body) = program.get("/metrics");
        if status == 503 || Instant::now() > deadline {
            break (status, body);
        }
    };
    assert_eq!((status, &*refusal), (503, "too many pages are in work; try again\n"));
    for _ in 0..20 {
        assert_eq!(program.get("/live").0, 200);
    }
    let more = entries(&program, "task") - threads;
    assert!(more <= PAGES_MAX, "{more} threads more");
    let started = Instant::now();
    program.end();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    drop(pages);
}

#[test]
fn an_idle_tap_ends_with_its_client() {
    let program = server(&[]);
    let tap = "GET /tap HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // More than may be open at once, and no line ever comes.
    for _ in 0..10 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut stream = begin(&program, tap);
            let mut head = [0; 12];
            stream.read_exact(&mut head).unwrap();
            match &head {
                b"HTTP/1.1 200" => break,
                // The taps before this one notice within a second.
                b"HTTP/1.1 503" if Instant::now() < deadline => {}
                _ => panic!("{}", String::from_utf8_lossy(&head)),
            }
        }
    }
}

#[test]
fn what_is_not_meant_for_the_admin_server_is_refused() {
    let program = server(&[("health_port", "__random__")]);
    let health = program.log_word("health ");
    let refused = exchange(&program, "POST /status HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
    assert!(refused.starts_with("HTTP/1.1 405"), "{refused}");
    assert!(refused.contains("allow: GET,HEAD\r\n"), "{refused}");
    assert!(refused.ends_with("\r\n\r\nthis server only reads: use GET\n"), "{refused}");
    let refused = exchange(&program, "GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    let head = exchange(&program, "HEAD /status HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    let (status, index) = program.get("/nothing");
    assert!(status == 404 && index.contains("/metrics "), "{status} {index}");
    assert_eq!(program.get("/").0, 200);
    assert_eq!(get(&health, "/"), (404, "see /live, /ready, /startup\n".to_owned()));
    let slow = exchange(&program, "GET /live HTTP/1.1\r\nHost: loc");
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
}

/// What `whippet dump-contexts` prints about a server that answers so.
fn dump_from(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4_096];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(answer.as_bytes()).unwrap();
    };
    let server = std::thread::spawn(serve);
    let mut command = whippet();
    command.args(["dump-contexts", "--set", &format!("admin_address={address}"), "-o"]);
    let output = command.arg(folder.path().join("dump")).output().unwrap();
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!output.stderr.is_empty())));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_part_of_an_answer_is_not_taken_for_the_whole() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
    let whole: &'static str = format!("{HEAD}0\r\n\r\n").leak();
    assert_eq!(dump_from(whole), "");
    assert_ne!(dump_from(HEAD), "");
    let stranger = dump_from("220 mail.example ESMTP\r\n");
    assert!(stranger.contains("is not whippet; check admin_address"), "{stranger}");
}

/// Issue 11, point 14: with few descriptors, clients of the admin server took those that delivery
/// and probes need.
#[test]
fn with_24_descriptors_slow_clients_take_neither_a_probe_nor_delivery() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake)
        .set("bind_host", "127.0.0.1")
        .set("interval", 1)
        .set("admin_address", "127.0.0.1:0")
        .set("lanes", 1)
        .waits_for("admin ")
        .open_files(24)
        .start();
    with_slow_clients(&program, 100, || {
        for sent in 1..=3 {
            program.udp("held:1|c");
            intake.wait_until(|state| state.sum_of_counter("held", &[]) == f64::from(sent));
            let started = Instant::now();
            assert_eq!(program.get("/live").0, 200);
            assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        }
    });
    let (_, payloads) = program.terminate().balances();
    assert_eq!((payloads.waiting, payloads.dropped), (0, 0));
}
