//! A small HTTP server on loopback that keeps what it was sent and gives the answers it was set to.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub line: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16, &'static str),
    /// Keeps the connection and never answers.
    Silence,
}

#[derive(Clone)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    requests: Vec<Request>,
    answers: VecDeque<Answer>,
    silent: Vec<TcpStream>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let accepting = server.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let server = accepting.clone();
                std::thread::spawn(move || server.serve(connection.unwrap()));
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers for the next requests; afterwards everything is accepted.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.lock().unwrap().answers.extend(answers);
    }

    /// Takes out the requests so far.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.lock().unwrap().requests)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer) {
            let answer = {
                let mut shared = self.shared.lock().unwrap();
                shared.requests.push(request);
                shared.answers.pop_front().unwrap_or(Answer::Status(202, r#"{"status":"ok"}"#))
            };
            match answer {
                Answer::Status(status, body) => {
                    let length = body.len();
                    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
                    if stream.write_all((head + body).as_bytes()).is_err() {
                        return;
                    }
                }
                Answer::Silence => {
                    self.shared.lock().unwrap().silent.push(stream);
                    return;
                }
            }
        }
    }
}

/// Reads one request with a `Content-Length`; none when the peer is gone.
fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(start) = head.parse(buffer).unwrap() {
            let headers: HashMap<String, String> = head
                .headers
                .iter()
                .map(|header| {
                    let value = String::from_utf8(header.value.to_vec()).unwrap();
                    (header.name.to_lowercase(), value)
                })
                .collect();
            let end = start + headers["content-length"].parse::<usize>().unwrap();
            if buffer.len() >= end {
                let line = format!("{} {}", head.method.unwrap(), head.path.unwrap());
                let body = buffer[start..end].to_vec();
                buffer.drain(..end);
                return Some(Request { line, headers, body });
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(bytes) => buffer.extend_from_slice(&chunk[..bytes]),
        }
    }
}
