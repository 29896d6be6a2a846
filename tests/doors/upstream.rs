//! A real Agent behind the doors: what no door takes goes there unchanged, and its answers come back.

use super::client::{Client, open};
use crate::support::program::PATIENCE;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

const INFO: &str = r#"{"version":"7.60.0","endpoints":["/v0.4/traces","/v0.6/stats","/v0.7/config","/profiling/v1/input"],"config":{"x":1}}"#;

/// A request as it came: head and body.
type Came = (String, Vec<u8>);

/// Takes one request and answers it.
fn serve(stream: &mut (impl Read + Write)) -> Came {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let ended = |bytes: &[u8]| -> Option<usize> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let body = &bytes[end..];
        let whole = match head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
            Some(length) => body.len() >= length.trim().parse().unwrap(),
            None if head.contains("transfer-encoding: chunked") => body.ends_with(b"0\r\n\r\n"),
            None => true,
        };
        whole.then_some(end)
    };
    let end = loop {
        if let Some(end) = ended(&bytes) {
            break end;
        }
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "it breaks off: {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..read]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let answer = if head.starts_with("GET /info ") {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{INFO}", INFO.len())
    } else {
        "HTTP/1.1 418 I'm a teapot\r\nX-Theirs: yes\r\nKeep-Alive: timeout=5\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\
         Transfer-Encoding: chunked\r\n\r\n4\r\ntea!\r\n0\r\n\r\n"
            .to_owned()
    };
    stream.write_all(answer.as_bytes()).unwrap();
    (head, bytes[end..].to_vec())
}

/// An Agent on a free port; what it is asked.
fn agent() -> (String, Receiver<Came>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (came, asked) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // The test may be over.
            let _ = came.send(serve(&mut stream.unwrap()));
        }
    });
    (url, asked)
}

/// Reads a chunked answer on a connection of its own.
fn exchange(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn what_no_door_takes_passes_unchanged() {
    let (url, asked) = agent();
    let program = open().set("doors_upstream", &url).start();
    let address = super::client::address(&program);
    let answer = exchange(
        &address,
        b"PUT /profiling/../v1//input?a=b%20c&d HTTP/1.1\r\nHost: their.name:1\r\nX-One: 1\r\nX-One: 2\r\n\
          DD-API-KEY: hunter2\r\nContent-Encoding: br\r\nUser-Agent: py/3\r\nConnection: close, X-Mine\r\n\
          X-Mine: no\r\nTE: trailers\r\nVia: 1.1 before\r\nContent-Length: 5\r\n\r\n\x00\xff\r\n!",
    );
    let (head, body) = asked.recv_timeout(PATIENCE).unwrap();
    assert_eq!(body, b"\x00\xff\r\n!");
    assert!(head.starts_with("PUT /profiling/../v1//input?a=b%20c&d HTTP/1.1\r\n"), "{head}");
    let lines: Vec<String> = head.lines().skip(1).map(str::to_lowercase).collect();
    let via = format!("via: whippet {}", env!("CARGO_PKG_VERSION"));
    for line in [
        "host: their.name:1",
        "x-one: 1",
        "x-one: 2",
        "content-encoding: br",
        "user-agent: py/3",
        "content-length: 5",
        "via: 1.1 before",
        via.as_str(),
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} of {head}");
    }
    for name in ["dd-api-key", "connection", "x-mine", "te:"] {
        assert!(!lines.iter().any(|line| line.starts_with(name)), "{name} in {head}");
    }
    let lower = answer.to_lowercase();
    assert!(lower.starts_with("http/1.1 418 ") && lower.contains("x-theirs: yes\r\n"), "{answer}");
    assert!(!lower.contains("x-hop") && !lower.contains("keep-alive"), "{answer}");
    assert!(answer.contains("tea!"), "{answer}");
    // A page of another site does not reach the real Agent through us: the next it sees is ours.
    let browser = "POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nSec-Fetch-Site: cross-site\r\n\
                   Content-Length: 3\r\n\r\nevl";
    let answer = exchange(&address, browser.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    // Chunks stay chunks.
    exchange(
        &address,
        b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let (head, body) = asked.recv_timeout(PATIENCE).unwrap();
    assert!(head.to_lowercase().contains("transfer-encoding: chunked"), "{head}");
    assert!(body.windows(3).any(|three| three == b"abc"), "{body:?}");
}

#[test]
fn doors_keep_what_is_theirs_and_off_stays_off() {
    let (url, asked) = agent();
    let program = open().set("doors_upstream", &url).set("doors_stats", "off").start();
    let mut client = Client::of(&program);
    assert_eq!(client.post("/v0.4/traces", "[]").status, 200);
    assert_eq!(client.post("/v0.6/stats", "{}").status, 404);
    assert_eq!(client.get("/v0.4/traces").status, 405);
    let answer = client.get("/info");
    let page = answer.json();
    assert_eq!(
        page["endpoints"],
        json!([
            "/v0.7/config",
            "/profiling/v1/input",
            "/v0.3/traces",
            "/v0.4/traces",
            "/v0.5/traces",
            "/v0.1/pipeline_stats",
            "/telemetry/proxy/",
            "/dogstatsd/v1/proxy",
            "/dogstatsd/v2/proxy"
        ])
    );
    assert_eq!((&page["version"], &page["config"]), (&json!("7.60.0"), &json!({"x": 1})));
    let state = answer.header("datadog-agent-state").map(str::to_owned);
    assert_eq!(client.post("/v0.4/traces", "[]").header("datadog-agent-state"), state.as_deref());
    let (head, _) = asked.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("GET /info "), "nothing else was asked: {head}");
    assert!(asked.try_recv().is_err());
}

#[test]
fn traces_can_go_there_too_over_a_unix_socket() {
    let setup = open();
    let path = setup.path("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (came, asked) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = came.send(serve(&mut stream.unwrap()));
        }
    });
    let url = format!("unix://{}", path.display());
    let program = setup.set("doors_upstream", url).set("doors_traces", "upstream").start();
    let address = super::client::address(&program);
    let request = b"POST /v0.4/traces HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]";
    assert!(exchange(&address, request).starts_with("HTTP/1.1 418 "));
    let (head, body) = asked.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("POST /v0.4/traces "), "{head}");
    assert_eq!(body, b"[]");
    let page = Client::of(&program).get("/info").json();
    assert_eq!(page["endpoints"][0], "/v0.4/traces", "theirs: {page}");
}

#[test]
fn an_agent_that_is_down_is_a_bad_gateway_and_our_doors_stay_open() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let program = open().set("doors_upstream", format!("http://{gone}")).start();
    let mut client = Client::of(&program);
    let answer = client.post("/profiling/v1/input", "x");
    assert_eq!(answer.status, 502);
    assert_eq!(
        answer.body,
        r#"{"errors":["the Agent of doors_upstream cannot be reached or broke off"]}"#
    );
    let mut client = Client::of(&program);
    assert_eq!(client.post("/v0.4/traces", "[]").status, 200);
    assert_eq!(client.get("/info").json()["client_drop_p0s"], true);
}
