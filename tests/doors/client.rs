//! A client of the doors that decides about every byte it sends.

use crate::support::program::{PATIENCE, Program, Setup};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

/// A program with its doors open, over TCP and a Unix socket in its folder.
pub fn open() -> Setup {
    opened(Setup::bare().set("output", "none"))
}

/// The same for another setup.
pub fn opened(setup: Setup) -> Setup {
    let socket = setup.path("apm.sock");
    setup
        .set("apm_config.receiver_port", "__random__")
        .set("apm_config.receiver_socket", socket.display())
        .waits_for("http ")
}

/// Where the doors are over TCP.
pub fn address(program: &Program) -> String {
    program.log_word("http ")
}

/// One connection.
pub struct Client {
    stream: Box<dyn Stream>,
    /// Read, but not looked at yet.
    rest: Vec<u8>,
}

pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Client {
    pub fn of(program: &Program) -> Self {
        Self::at(&address(program))
    }

    pub fn at(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the doors are open");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream: Box::new(stream), rest: Vec::new() }
    }

    pub fn unix(program: &Program) -> Self {
        let stream = UnixStream::connect(program.path("apm.sock")).expect("the doors are open");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream: Box::new(stream), rest: Vec::new() }
    }

    /// Sends bytes as they are. The server may have closed; the answer says why.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Sends a request with its length, and reads the answer.
    #[track_caller]
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let body = body.as_ref();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.send([head.as_bytes(), body].concat());
        self.answer()
    }

    #[track_caller]
    pub fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.request("POST", path, "", body)
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        self.answer()
    }

    fn more(&mut self) -> bool {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(read) => {
                self.rest.extend_from_slice(&piece[..read]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// The next answer.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        let end = loop {
            match self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => assert!(self.more(), "closed without an answer: {:?}", self.rest),
            }
        };
        let head: Vec<u8> = self.rest.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap()[9..12].parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_lowercase(), value.trim().to_owned())
        });
        let mut answer = Answer { status, headers: headers.collect(), body: String::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.rest.len() < length {
            assert!(self.more(), "the answer breaks off: {answer:?}");
        }
        let body: Vec<u8> = self.rest.drain(..length).collect();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// True once the server has closed; nothing more may come before.
    pub fn is_closed(&mut self) -> bool {
        self.rest.is_empty() && !self.more()
    }
}
