//! A request as it came, read from its connection.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Instant;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As sent, compressed.
    pub body: Vec<u8>,
    /// Decompressed.
    pub plain: Vec<u8>,
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// The status it was given.
    pub status: u16,
    /// When it had been read.
    pub at: Instant,
}

impl Request {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A header, `""` when absent.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

/// Reads one request; none at an orderly end. `unread` carries bytes from request to request.
pub(super) fn read_request(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
    connection: usize,
) -> io::Result<Option<Request>> {
    let (mut request, head_len) = loop {
        if let Some(head) = parse_head(unread)? {
            break head;
        }
        if !read_more(stream, unread)? {
            return Ok(None);
        }
    };
    unread.drain(..head_len);
    request.connection = connection;
    request.body = if request.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
        read_chunks(stream, unread)?
    } else {
        let length = request.header("content-length").parse().unwrap_or(0);
        take(stream, unread, length)?
    };
    request.at = Instant::now();
    Ok(Some(request))
}

fn parse_head(bytes: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    let status = parsed.parse(bytes).map_err(io::Error::other)?;
    let httparse::Status::Complete(head_len) = status else { return Ok(None) };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = parsed.headers.iter();
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers: headers.map(|h| (h.name.to_ascii_lowercase(), text(h.value))).collect(),
        body: Vec::new(),
        plain: Vec::new(),
        connection: 0,
        status: 0,
        at: Instant::now(),
    };
    Ok(Some((request, head_len)))
}

fn read_chunks(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = loop {
            match unread.windows(2).position(|pair| pair == b"\r\n") {
                Some(at) => break at,
                None if read_more(stream, unread)? => {}
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        let line = String::from_utf8_lossy(&unread[..line_end]).into_owned();
        unread.drain(..line_end + 2);
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
        body.extend(take(stream, unread, size)?);
        take(stream, unread, 2)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn take(stream: &mut TcpStream, unread: &mut Vec<u8>, count: usize) -> io::Result<Vec<u8>> {
    while unread.len() < count {
        if !read_more(stream, unread)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(unread.drain(..count).collect())
}

fn read_more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 64 << 10];
    let count = stream.read(&mut buffer)?;
    unread.extend_from_slice(&buffer[..count]);
    Ok(count > 0)
}
