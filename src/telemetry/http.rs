//! A small read-only HTTP/1.1 server: one request per connection, everything bounded.
//!
//! In: a listener on TCP or a Unix socket and a function from [`Request`] to [`Response`]. Out:
//! answers. Promise: at most [`CONNECTIONS_MAX`] threads, [`HEAD_BYTES_MAX`] of request and fixed
//! times for reading and writing, whoever connects. Refusal: it takes no body, keeps no connection
//! and answers nothing but GET and HEAD. A server on loopback refuses names in `Host` other than
//! `localhost`, so that no web page can make a browser read it under a name of the page's choosing.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs,
};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Connections served at once; one more is answered 503.
pub const CONNECTIONS_MAX: usize = 16;
/// Longest request line with headers.
pub const HEAD_BYTES_MAX: usize = 8 << 10;
/// Headers of one request.
const HEADERS_MAX: usize = 64;
/// For the whole head to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// For one write to be taken.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole answer to be taken, streams that end by themselves excepted.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// For each read after a refusal, and how many there are.
const LINGER: Duration = Duration::from_millis(100);
const LINGER_READS: usize = 8;
/// Pause after an accept that failed: the usual cause is a lack of descriptors, which passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path, decoded.
    pub path: String,
    /// Names and values after `?`, decoded, in order.
    pub query: Vec<(String, String)>,
}

impl Request {
    /// The first value of that name.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Writes a body of unknown length; an error ends the connection.
pub type Stream = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// What is answered.
pub struct Response {
    status: u16,
    content_type: &'static str,
    body: Body,
}

enum Body {
    Whole(Vec<u8>),
    Stream(Stream),
}

impl Response {
    /// A text.
    #[must_use]
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::whole(status, "text/plain; charset=utf-8", text.into().into_bytes())
    }

    /// JSON, already written.
    #[must_use]
    pub fn json(status: u16, text: impl Into<String>) -> Self {
        Self::whole(status, "application/json", text.into().into_bytes())
    }

    /// Bytes of some type.
    #[must_use]
    pub fn whole(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Response { status, content_type, body: Body::Whole(body) }
    }

    /// A body that is written while it is made.
    #[must_use]
    pub fn stream(content_type: &'static str, stream: Stream) -> Self {
        Response { status: 200, content_type, body: Body::Stream(stream) }
    }
}

/// Answers requests; called from one thread per connection.
pub type Handler = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `host:port`, a path, or `unix://` and a path.
    ///
    /// # Errors
    /// When it is neither, or the host has no address.
    pub fn parse(text: &str) -> io::Result<Self> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if path.contains('/') {
            return Ok(Address::Unix(PathBuf::from(path)));
        }
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "not host:port and not a path");
        text.to_socket_addrs().map_err(|_| none())?.next().map(Address::Tcp).ok_or_else(none)
    }

    /// Connects a client.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect(&self, timeout: Duration) -> io::Result<Connection> {
        match self {
            Address::Tcp(address) => {
                TcpStream::connect_timeout(&reachable(*address), timeout).map(Connection::Tcp)
            }
            Address::Unix(path) => UnixStream::connect(path).map(Connection::Unix),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}

/// An address that can be connected to: a server on all interfaces is reached over loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// One connection of either kind.
#[derive(Debug)]
pub enum Connection {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Connection {
    /// Longest wait of one read.
    ///
    /// # Errors
    /// For a time of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Connection::Tcp(stream) => stream.set_read_timeout(timeout),
            Connection::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }

    /// Ends the other side's reading; the answer is complete.
    fn shut_down_writing(&self) -> io::Result<()> {
        match self {
            Connection::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Connection::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Longest wait of one write.
    ///
    /// # Errors
    /// For a time of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Connection::Tcp(stream) => stream.set_write_timeout(timeout),
            Connection::Unix(stream) => stream.set_write_timeout(timeout),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Connection::Tcp(stream) => stream.read(buffer),
            Connection::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Tcp(stream) => stream.write(bytes),
            Connection::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => TcpListener::bind(address).map(Listener::Tcp),
            Address::Unix(path) => {
                clear_stale(path)?;
                let listener = UnixListener::bind(path)?;
                // The owner and its group: what is told here names metrics and senders.
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
                Ok(Listener::Unix(listener))
            }
        }
    }

    fn accept(&self) -> io::Result<Connection> {
        match self {
            Listener::Tcp(listener) => listener.accept().map(|(stream, _)| Connection::Tcp(stream)),
            Listener::Unix(listener) => {
                listener.accept().map(|(stream, _)| Connection::Unix(stream))
            }
        }
    }
}

/// Removes a socket nobody serves.
fn clear_stale(path: &Path) -> io::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let in_use = |text: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, text.to_owned()));
    if !found.file_type().is_socket() {
        return in_use("something that is not a socket stands there");
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => in_use("a live process serves this socket"),
    }
}

/// A server at work; dropping it stops it.
pub struct HttpServer {
    address: Address,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Binds and starts the accepting thread.
    ///
    /// # Errors
    /// When the address is in use or cannot be had.
    pub fn start(name: &str, address: &Address, handler: Handler) -> io::Result<Self> {
        let listener = Listener::bind(address)?;
        let address = match &listener {
            Listener::Tcp(bound) => Address::Tcp(bound.local_addr()?),
            Listener::Unix(_) => address.clone(),
        };
        let stopped = Arc::new(AtomicBool::new(false));
        let accepting = Accepting {
            listener,
            handler,
            open: Arc::new(AtomicUsize::new(0)),
            stopped: Arc::clone(&stopped),
            local: matches!(&address, Address::Tcp(address) if address.ip().is_loopback()),
        };
        let builder = thread::Builder::new().name(name.to_owned());
        let thread = Some(builder.spawn(move || accepting.run())?);
        Ok(HttpServer { address, stopped, thread })
    }

    /// Where it listens; with port 0 asked for, the port the system chose.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for HttpServer {
    /// Stops accepting. An answer on its way is not waited for.
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // A connection ends the accept that the thread waits in.
        let woken = self.address.connect(Duration::from_secs(1)).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            // It cannot panic: it only accepts and starts threads.
            let _ = thread.join();
        }
        if let Address::Unix(path) = &self.address {
            // A leftover is found stale by the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer").field("address", &self.address).finish_non_exhaustive()
    }
}

struct Accepting {
    listener: Listener,
    handler: Handler,
    open: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    local: bool,
}

impl Accepting {
    fn run(&self) {
        loop {
            let accepted = self.listener.accept();
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            match accepted {
                Ok(connection) => self.start(connection),
                Err(_) => thread::sleep(ACCEPT_PAUSE),
            }
        }
    }

    fn start(&self, mut connection: Connection) {
        let open = Open::new(&self.open);
        if open.count > CONNECTIONS_MAX {
            // Nobody is waited for: what does not fit the send buffer is lost.
            let _ = connection.set_write_timeout(Some(Duration::from_millis(1)));
            let _ = answer(&mut connection, Response::text(503, "too many connections\n"), false);
            return;
        }
        let (handler, local) = (Arc::clone(&self.handler), self.local);
        let serve = move || {
            let _open = open;
            // A client that went away has nobody to be told.
            let _ = serve(&mut connection, &handler, local);
        };
        // Without a thread the connection is closed, which tells the client.
        let _ = thread::Builder::new().name("admin-answer".to_owned()).spawn(serve);
    }
}

/// One place among the connections served.
struct Open {
    all: Arc<AtomicUsize>,
    count: usize,
}

impl Open {
    fn new(all: &Arc<AtomicUsize>) -> Self {
        let count = all.fetch_add(1, Ordering::AcqRel) + 1;
        Open { all: Arc::clone(all), count }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::AcqRel);
    }
}

fn serve(connection: &mut Connection, handler: &Handler, local: bool) -> io::Result<()> {
    connection.set_write_timeout(Some(WRITE_TIMEOUT))?;
    match read_request(connection, local)? {
        Ok((request, head)) => answer(connection, handler(&request), head),
        Err(refusal) => {
            answer(connection, refusal, false)?;
            linger(connection)
        }
    }
}

/// Reads on for a moment: closing with unread bytes would take the answer away from the client.
fn linger(connection: &mut Connection) -> io::Result<()> {
    connection.shut_down_writing()?;
    connection.set_read_timeout(Some(LINGER))?;
    let mut rest = [0; HEAD_BYTES_MAX];
    for _ in 0..LINGER_READS {
        if connection.read(&mut rest)? == 0 {
            break;
        }
    }
    Ok(())
}

/// The request and whether only the head of its answer is wanted, or a refusal.
type Asked = Result<(Request, bool), Response>;

fn read_request(connection: &mut Connection, local: bool) -> io::Result<Asked> {
    let deadline = Instant::now() + READ_TIMEOUT;
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Err(Response::text(408, "the request took too long\n")));
        }
        connection.set_read_timeout(Some(left))?;
        let count = match connection.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            // The deadline above tells.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        head.extend_from_slice(&chunk[..count]);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(&head) {
            Ok(httparse::Status::Complete(_)) => return Ok(understand(&parsed, local)),
            Ok(httparse::Status::Partial) if head.len() >= HEAD_BYTES_MAX => {
                return Ok(Err(Response::text(431, "the request is too long\n")));
            }
            Ok(httparse::Status::Partial) => {}
            Err(_) => return Ok(Err(Response::text(400, "this is no HTTP request\n"))),
        }
    }
}

fn understand(parsed: &httparse::Request<'_, '_>, local: bool) -> Asked {
    let head = match parsed.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(Response::text(405, "this server only reads: use GET\n")),
    };
    let host = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
    if local && host.is_some_and(|host| !is_local_name(host.value)) {
        return Err(Response::text(403, "use localhost or an IP address as host name\n"));
    }
    let target = parsed.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (decoded(name), decoded(value))
    };
    let query = query.split('&').filter(|text| !text.is_empty()).map(pair).collect();
    Ok((Request { path: decoded(path), query }, head))
}

/// True for `localhost` and IP addresses, with or without a port, and for no name at all.
fn is_local_name(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    bare.is_empty() || bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// Percent signs and plus signs of a URL undone; what is no UTF-8 is replaced.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (byte, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Every byte but letters, digits and `-._~` as a percent sign and two digits.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            shown.push(char::from(byte));
        } else {
            shown.push_str(&format!("%{byte:02X}"));
        }
    }
    shown
}

fn answer(connection: &mut Connection, response: Response, head_only: bool) -> io::Result<()> {
    let reason = match response.status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    };
    let mut head = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nConnection: close\r\nCache-Control: no-store\r\n",
        response.status, response.content_type
    );
    if let Body::Whole(body) = &response.body {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    connection.write_all(head.as_bytes())?;
    match response.body {
        _ if head_only => Ok(()),
        Body::Whole(body) => {
            let deadline = Instant::now() + ANSWER_TIMEOUT;
            for chunk in body.chunks(64 << 10) {
                if Instant::now() >= deadline {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                connection.write_all(chunk)?;
            }
            Ok(())
        }
        Body::Stream(stream) => stream(connection),
    }
}

#[cfg(test)]
mod tests;
