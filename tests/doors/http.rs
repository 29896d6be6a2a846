//! What every door shares: connections, heads, bodies, encodings, limits and the order of checks.

use super::client::{Client, address, open, opened};
use crate::support::program::{Setup, eventually};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

const TRACES: &str = "/v0.4/traces";
const RATES: &str = r#"{"rate_by_service":{}}"#;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn bare(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn one_connection_takes_requests_of_every_form() {
    let program = open().start();
    let mut client = Client::of(&program);
    for (method, path) in [
        ("POST", TRACES),
        ("PUT", TRACES),
        ("POST", "/v0.4/traces/"),
        ("POST", "/v0.4/traces?a=/../b"),
        ("POST", "http://some.host:1/v0.4/traces"),
    ] {
        let answer = client.request(method, path, "", "[]");
        assert_eq!((answer.status, answer.body.as_str()), (200, RATES), "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    for path in ["/v0.4/traces//", "/x/../v0.4/traces", "//v0.4/traces", "/v0.4/%74races"] {
        assert_eq!(client.post(path, "[]").status, 404, "{path}");
    }
    client.send("POST /v0.4/traces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("1;name=value\r\n[\r\n1\r\n]\r\n0\r\nX-Trailer: ignored\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    client.send("POST /v0.4/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    client.send("[]");
    assert_eq!(client.answer().status, 200);
    let one = "POST /v0.3/traces HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]";
    client.send([one, one, one].concat());
    for _ in 0..3 {
        assert_eq!(client.answer().body, "OK\n");
    }
    client.send("POST /v0.4/traces HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]");
    assert_eq!(client.answer().body, RATES);
    assert!(client.is_closed(), "HTTP/1.0 closes");
    let mut client = Client::of(&program);
    client.send(
        "POST /v0.4/traces HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n[]",
    );
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.post(TRACES, "[]").status, 200);
}

/// Every request has one more fault than the one after it; the first fault in order is answered.
#[test]
fn checks_come_in_their_order() {
    let program = open().set("apm_config.max_payload_size", 10).start();
    let mut client = Client::of(&program);
    let cross = "Sec-Fetch-Site: cross-site\r\n";
    let other = format!("{cross}Content-Encoding: br\r\n");
    let long = "x".repeat(11);
    assert_eq!(client.request("DELETE", "/v0.4/nothing", &other, "x").status, 404);
    let answer = client.request("DELETE", TRACES, &other, "x");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, PUT")));
    assert_eq!(client.request("POST", TRACES, &other, "x").status, 403);
    let encoded = "Content-Encoding: br\r\n";
    assert_eq!(client.request("POST", TRACES, encoded, "x").status, 415);
    assert_eq!(Client::of(&program).request("POST", TRACES, encoded, &long).status, 415);
    let gzip = "Content-Encoding: gzip\r\n";
    let answer = Client::of(&program).request("POST", TRACES, gzip, &long);
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    let answer = client.request("POST", TRACES, gzip, "no gzip");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body, r#"{"errors":["the body is not valid gzip, or is cut off"]}"#);
    let same = "Sec-Fetch-Site: same-origin\r\n";
    assert_eq!(client.request("POST", TRACES, same, "[]").status, 200, "and the connection lives");
}

#[test]
fn bodies_come_in_every_encoding_and_in_several_members() {
    let program = open().start();
    let mut client = Client::of(&program);
    let zstd = |body: &[u8]| zstd::encode_all(body, 1).unwrap();
    let (first, second) = (b"[1,".as_slice(), b"2]".as_slice());
    let whole: [(&str, Vec<u8>); 10] = [
        ("identity", b"[1,2]".to_vec()),
        ("gzip", gzip(b"[1,2]")),
        ("GZip", [gzip(first), gzip(second)].concat()),
        ("x-gzip", gzip(b"[")),
        ("deflate", zlib(b"[1,2]")),
        ("deflate", [zlib(first), zlib(second)].concat()),
        ("deflate", bare(b"[1,2]")),
        ("zstd", zstd(b"[1,2]")),
        ("zstd", [zstd(first), zstd(second)].concat()),
        ("", b"[1,2]".to_vec()),
    ];
    for (encoding, body) in &whole {
        let header = format!("Content-Encoding: {encoding}\r\n");
        let answer = client.request("POST", TRACES, &header, body);
        assert_eq!(answer.status, 200, "{encoding} {body:?}: {answer:?}");
    }
    for (encoding, body) in
        whole.iter().filter(|(encoding, _)| !["identity", ""].contains(encoding))
    {
        let header = format!("Content-Encoding: {encoding}\r\n");
        let cut = &body[..body.len() - 1];
        assert_eq!(client.request("POST", TRACES, &header, cut).status, 400, "{encoding} {cut:?}");
        let more = [body, &b"rest"[..]].concat();
        assert_eq!(
            client.request("POST", TRACES, &header, &more).status,
            400,
            "{encoding} {more:?}"
        );
    }
    for encoding in ["br", "gzip, gzip", "gzip, identity", "compress", "gzip;q=1"] {
        let header = format!("Content-Encoding: {encoding}\r\n");
        assert_eq!(client.request("POST", TRACES, &header, gzip(b"[]")).status, 415, "{encoding}");
    }
    let twice = "Content-Encoding: gzip\r\nContent-Encoding: zstd\r\n";
    assert_eq!(client.request("POST", TRACES, twice, "[]").status, 415);
}

#[test]
fn heads_and_bodies_have_limits() {
    let program = open().set("apm_config.max_payload_size", "1000").start();
    let head = |fields: &str| format!("GET /info HTTP/1.1\r\n{fields}\r\n");
    let asked = |head: String| {
        let mut client = Client::of(&program);
        client.send(head);
        client.answer().status
    };
    let field = |bytes: usize| format!("X: {}\r\n", "y".repeat(bytes));
    assert_eq!(asked(head(&field(15_000))), 200);
    assert_eq!(asked(head(&field(17_000))), 431);
    assert_eq!(asked(head(&"X: y\r\n".repeat(100))), 200);
    assert_eq!(asked(head(&"X: y\r\n".repeat(101))), 431);
    assert_eq!(asked("no http at all\r\n\r\n".to_owned()), 400);
    let both = "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(asked(format!("POST {TRACES} HTTP/1.1\r\n{both}\r\n2\r\n[]\r\n0\r\n\r\n")), 400);
    let both = "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n";
    assert_eq!(asked(format!("POST {TRACES} HTTP/1.1\r\n{both}\r\n2\r\n[]\r\n0\r\n\r\n")), 400);
    // Nothing takes off what is compressed on the way: it would be read as it is.
    for coding in ["gzip, chunked", "chunked, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
        let head = format!("POST {TRACES} HTTP/1.1\r\nTransfer-Encoding: {coding}\r\n\r\n");
        assert_eq!(asked(format!("{head}2\r\n[]\r\n0\r\n\r\n")), 400, "{coding}");
    }
    // Refused by its length alone: not a byte of it was sent.
    let announced =
        |length: u64| format!("POST {TRACES} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
    assert_eq!(asked(announced(1_001)), 413);
    assert_eq!(asked(announced(u64::MAX - 2)), 413);
    let body = "[".repeat(1_000);
    assert_eq!(Client::of(&program).post(TRACES, &body).status, 200);
    let chunked = format!(
        "POST {TRACES} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{body}[\r\n0\r\n\r\n"
    );
    assert_eq!(asked(chunked), 413);
}

#[test]
fn a_bomb_ends_at_its_limit() {
    let program = open().start();
    let mut client = Client::of(&program);
    // A member is compressed once and sent 65 times: 1 MiB above the limit.
    let mut member = GzEncoder::new(Vec::new(), Compression::fast());
    member.write_all(&vec![b'['; 1 << 20]).unwrap();
    let bomb = member.finish().unwrap().repeat(65);
    let answer = client.request("POST", TRACES, "Content-Encoding: gzip\r\n", bomb);
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(client.post(TRACES, "[]").status, 200);
}

/// Two clients hold what bodies may take together; the third is told to come again, and is taken when
/// they are through.
#[test]
fn what_is_in_work_together_is_bounded() {
    let program = open()
        .set("apm_config.max_payload_size", 80 << 20)
        .set("apm_config.receiver_timeout", 60)
        .start();
    let length = 60 << 20;
    let body = vec![b'['; length];
    let hold = || {
        let mut client = Client::of(&program);
        client.send(format!("POST {TRACES} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"));
        client.send(&body[1..]);
        client
    };
    let mut holding = [hold(), hold()];
    // The last bytes of the first two may be on their way still.
    eventually(Duration::from_secs(30), "too much is in work", || {
        let answer = Client::of(&program).post(TRACES, &body[..20 << 20]);
        assert!([200, 429].contains(&answer.status), "{answer:?}");
        answer.status == 429
    });
    for client in &mut holding {
        client.send("[");
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(Client::of(&program).post(TRACES, &body[..20 << 20]).status, 200);
}

#[test]
fn slow_clients_are_sent_away_and_hold_up_no_other() {
    let program = open().set("apm_config.receiver_timeout", "700ms").start();
    let begin = |bytes: &str| {
        let mut client = Client::of(&program);
        client.send(bytes);
        client
    };
    let announced = format!("POST {TRACES} HTTP/1.1\r\nContent-Length: 2\r\n\r\n[");
    let chunked = format!("POST {TRACES} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n");
    let started = Instant::now();
    let mut slow: Vec<Client> = Vec::new();
    for _ in 0..20 {
        slow.extend([begin("POST /v0.4/tra"), begin(&announced), begin(&chunked)]);
    }
    let mut quick = Client::of(&program);
    assert_eq!(quick.post(TRACES, "[]").status, 200);
    for client in &mut slow {
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
        assert!(client.is_closed());
    }
    assert!(started.elapsed() >= Duration::from_millis(700), "they had their time");
    assert_eq!(quick.post(TRACES, "[]").status, 200, "an idle connection is not slow");
}

#[test]
fn a_full_house_refuses_and_sends_no_one_away() {
    let program = open().set("apm_config.max_connections", 3).start();
    let mut inside: Vec<Client> = (0..3).map(|_| Client::of(&program)).collect();
    for client in &mut inside {
        assert_eq!(client.post(TRACES, "[]").status, 200);
    }
    for _ in 0..5 {
        let mut client = Client::of(&program);
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("connection")), (503, Some("close")));
        assert!(client.is_closed());
    }
    for client in &mut inside {
        assert_eq!(client.post(TRACES, "[]").status, 200);
    }
    drop(inside.pop());
    eventually(Duration::from_secs(10), "there is room again", || {
        Client::of(&program).post(TRACES, "[]").status == 200
    });
}

#[test]
fn the_unix_socket_speaks_the_same_and_its_file_comes_and_goes() {
    let setup = open();
    // A file that no process serves any more is replaced.
    drop(UnixListener::bind(setup.path("apm.sock")).unwrap());
    let program = setup.start();
    let mode = std::fs::metadata(program.path("apm.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o722);
    let mut client = Client::unix(&program);
    assert_eq!(client.post(TRACES, "[]").body, RATES);
    assert_eq!(client.get("/info").body, Client::of(&program).get("/info").body);
    let other = opened(Setup::bare().set("output", "none"))
        .set("apm_config.receiver_socket", program.path("apm.sock").display())
        .run();
    assert_eq!(other.code(), Some(1), "{}", other.stderr);
    assert!(other.stderr.contains("a live process serves this socket"), "{}", other.stderr);
    assert!(other.stderr.contains("set apm_config.receiver_socket"), "{}", other.stderr);
    drop(client);
    program.end();
    assert!(!setup.path("apm.sock").exists());
}

#[test]
fn a_port_in_use_is_fatal() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let ended = open().set("apm_config.receiver_port", port).run();
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    let message = format!("http 127.0.0.1:{port}: the port is in use by another socket");
    assert!(ended.stderr.contains(&message), "{}", ended.stderr);
    assert!(ended.stderr.contains("set apm_config.receiver_port"), "{}", ended.stderr);
}

#[test]
fn a_socket_that_was_asked_for_needs_its_folder() {
    let setup = Setup::bare().set("output", "none");
    let path = setup.path("nowhere").join("apm.sock");
    let setup = setup.set("apm_config.receiver_socket", path.display());
    for ended in [setup.run(), setup.checked()] {
        assert_ne!(ended.code(), Some(0));
        let text = format!("{}{}", ended.stdout, ended.stderr);
        assert!(
            text.contains("does not exist; create it or set apm_config.receiver_socket"),
            "{text}"
        );
    }
}

#[test]
fn doors_open_only_where_someone_opens_them() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let yaml = format!("apm_config: {{receiver_port: {port}}}\n");
    let is_open = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    let setup = || Setup::bare().set("output", "none").yaml(&yaml);
    let program = setup().start();
    program.logs("opens nothing from a file");
    assert!(!is_open());
    drop(program);
    // The environment opens; the file of the Agent beside us gives the port to `doors`.
    let program = setup().env("WHIPPET_DOORS", "true").waits_for("http ").start();
    assert!(is_open());
    assert_eq!(address(&program), format!("127.0.0.1:{port}"));
    drop(program);
    let program = setup().env("DD_APM_RECEIVER_PORT", port).waits_for("http ").start();
    assert!(is_open());
    drop(program);
    let program = setup().env("DD_APM_RECEIVER_PORT", port).set("doors", "false").start();
    program.logs("is closed because doors is false");
    assert!(!is_open());
}

/// Doors alone are enough: there need not be any DogStatsD.
#[test]
fn doors_need_no_listener_beside_them() {
    let setup = open();
    let setup = setup
        .set("dogstatsd_port", 0)
        .set("dogstatsd_socket", "")
        .set("dogstatsd_stream_socket", "");
    let program = setup.spawn();
    let mut client = Client::at(&address(&program));
    assert_eq!(client.get("/info").json()["config"].get("statsd_port"), None);
    program.end();
}

#[test]
fn no_answer_of_404_and_no_body_is_logged() {
    let program = open().set("log_level", "debug").start();
    let mut client = Client::of(&program);
    for _ in 0..10 {
        let answer = client.request("POST", "/v0.7/config", "DD-API-KEY: hunter2\r\n", "hunter2");
        assert_eq!((answer.status, answer.body.as_str()), (404, r#"{"errors":["Not found"]}"#));
    }
    assert_eq!(client.post("/v0.6/stats", "hunter2").status, 400);
    let log = program.end();
    assert!(!log.contains("v0.7") && !log.contains("hunter2"), "{log}");
}
