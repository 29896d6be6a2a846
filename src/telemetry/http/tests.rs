use super::*;

fn server(address: &str) -> HttpServer {
    let handler: Handler = Arc::new(|request| match request.path.as_str() {
        "/echo" => Response::text(200, format!("{:?}", request.query)),
        "/stream" => Response::stream("text/plain", Box::new(|out| out.write_all(b"streamed"))),
        _ => Response::text(404, "nothing here"),
    });
    HttpServer::start("http-test", &Address::parse(address).unwrap(), handler).unwrap()
}

fn exchange(server: &HttpServer, request: &str) -> String {
    let mut connection = server.address().connect(Duration::from_secs(5)).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[track_caller]
fn answers(request: &str, status: &str, body: &str) {
    let server = server("127.0.0.1:0");
    let answer = exchange(&server, request);
    let (head, got) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    assert_eq!(got, body, "{request:?}");
}

#[test]
fn it_reads_what_browsers_and_probes_send() {
    answers(
        "GET /echo?a=1&b=%20x+y&c HTTP/1.1\r\n\r\n",
        "200",
        r#"[("a", "1"), ("b", " x y"), ("c", "")]"#,
    );
    answers("GET /echo HTTP/1.0\r\nHost: 127.0.0.1:1\r\n\r\n", "200", "[]");
    answers("HEAD /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", "200", "");
    answers("GET /stream HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "200", "streamed");
    answers("GET /other HTTP/1.1\r\n\r\n", "404", "nothing here");
}

#[test]
fn it_refuses_what_is_not_meant_for_it() {
    answers("POST /echo HTTP/1.1\r\n\r\n", "405", "this server only reads: use GET\n");
    answers("nonsense\u{1}\r\n\r\n", "400", "this is no HTTP request\n");
    answers(
        "GET /echo HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "403",
        "use localhost or an IP address as host name\n",
    );
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(HEAD_BYTES_MAX));
    answers(&long, "431", "the request is too long\n");
}

#[test]
fn a_silent_client_is_let_go() {
    answers("GET /echo HTT", "408", "the request took too long\n");
}

#[test]
fn connections_past_the_bound_are_told_so() {
    let server = server("127.0.0.1:0");
    let connect = || server.address().connect(Duration::from_secs(5)).unwrap();
    let held: Vec<Connection> = (0..CONNECTIONS_MAX).map(|_| connect()).collect();
    let mut extra = connect();
    let mut answer = String::new();
    extra.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    extra.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    drop(held);
    // Their threads notice and make room.
    let deadline = Instant::now() + Duration::from_secs(5);
    // One that is turned away is closed with its request unread, which may reset it: asked again.
    let answered = || {
        let mut connection = connect();
        connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut answer = String::new();
        let asked = connection.write_all(b"GET /echo HTTP/1.1\r\n\r\n");
        let read = asked.and_then(|()| connection.read_to_string(&mut answer));
        read.is_ok() && answer.starts_with("HTTP/1.1 200")
    };
    while !answered() {
        assert!(Instant::now() < deadline, "no room after all clients left");
    }
}

#[test]
fn a_live_unix_socket_is_not_taken_and_a_stale_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let text = path.to_str().unwrap();
    drop(UnixListener::bind(&path).unwrap());
    let first = server(text);
    assert!(exchange(&first, "GET /echo HTTP/1.1\r\n\r\n").contains("200"));
    let handler: Handler = Arc::new(|_| Response::text(200, ""));
    let second = HttpServer::start("second", &Address::parse(text).unwrap(), handler);
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(first);
    assert!(!path.exists());
}

#[test]
fn what_is_encoded_is_decoded() {
    let text = "a b+c%&=/ä~";
    assert_eq!(decoded(&encoded(text)), text);
    assert_eq!(decoded("%zz%4"), "%zz%4");
}
