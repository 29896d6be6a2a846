//! A fake Datadog intake: a real HTTP/1.1 server on a free port of 127.0.0.1.
//!
//! Each request gets the next scripted [`Answer`], else the standing one (202). What is answered
//! with success is decoded and stored as the real intake does: series overwrite themselves at
//! equal (name, tags, host, second), sketches, events and checks are appended.
//!
//! ```ignore
//! let intake = Intake::start();
//! intake.script([Answer::status(503), Answer::hang()]);
//! // … point `DD_DD_URL` at intake.url() …
//! intake.wait_until(|state| state.sum_of_counter("page.views", &["env:prod"]) == 3.0);
//! ```

use super::decode::{self, Series, Sketch};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long [`Intake::wait_until`] waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a request is answered with.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    delay: Duration,
    manner: Manner,
    stores: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Whole,
    Hang,
    CutBefore,
    CutWithin,
    CloseAfter,
}

impl Answer {
    /// A whole answer; success stores the payload.
    pub fn status(status: u16) -> Self {
        Answer {
            status,
            headers: Vec::new(),
            body: format!("{{\"status\":{status}}}"),
            delay: Duration::ZERO,
            manner: Manner::Whole,
            stores: (200..300).contains(&status),
        }
    }

    /// Never answers, until the intake is dropped.
    pub fn hang() -> Self {
        Answer { manner: Manner::Hang, stores: false, ..Answer::status(202) }
    }

    /// Reads the request, then closes without a byte.
    pub fn cut() -> Self {
        Answer { manner: Manner::CutBefore, stores: false, ..Answer::status(202) }
    }

    /// Sends half of the answer, then closes.
    pub fn cut_within() -> Self {
        Answer { manner: Manner::CutWithin, stores: false, ..Answer::status(202) }
    }

    /// Answers whole, promises to keep the connection, and closes it all the same.
    pub fn close_after() -> Self {
        Answer { manner: Manner::CloseAfter, ..Answer::status(202) }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Answers later.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Stores the payload although the sender will not learn of it.
    pub fn but_stored(mut self) -> Self {
        self.stores = true;
        self
    }
}

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

/// The identity under which the intake keeps points: name, tags, host.
type SeriesKey = (String, Vec<String>, String);

/// Everything the intake knows.
#[derive(Debug, Default)]
pub struct State {
    /// Every request but key checks, in order of arrival.
    pub requests: Vec<Request>,
    /// Every key check.
    pub validations: Vec<Request>,
    /// Connections accepted so far.
    pub connections: usize,
    /// Sketches in order of arrival.
    pub sketches: Vec<Sketch>,
    /// Events in order of arrival.
    pub events: Vec<Value>,
    /// Service checks in order of arrival.
    pub checks: Vec<Value>,
    /// What could not be decoded, with the reason.
    pub undecodable: Vec<String>,
    /// Points written over another with the same key and second.
    pub overwritten: usize,
    series: BTreeMap<SeriesKey, Series>,
}

impl State {
    /// The stored series with that name and at least those tags, points in order of time.
    pub fn series(&self, name: &str, tags: &[&str]) -> Vec<&Series> {
        let wanted = |series: &&Series| {
            series.metric == name && tags.iter().all(|tag| series.tags.iter().any(|t| t == tag))
        };
        self.series.values().filter(wanted).collect()
    }

    /// Every stored series, by name, tags and host.
    pub fn all_series(&self) -> impl Iterator<Item = &Series> {
        self.series.values()
    }

    /// All points of those series as (second, value).
    pub fn points(&self, name: &str, tags: &[&str]) -> Vec<(i64, f64)> {
        self.series(name, tags).iter().flat_map(|series| series.points.iter().copied()).collect()
    }

    /// The total of a counter: rates times their interval, counts as they are.
    pub fn sum_of_counter(&self, name: &str, tags: &[&str]) -> f64 {
        let total = |series: &&Series| {
            let sum: f64 = series.points.iter().map(|point| point.1).sum();
            if series.kind == decode::Kind::Rate { sum * series.interval as f64 } else { sum }
        };
        self.series(name, tags).iter().map(total).sum()
    }

    /// The value with the latest second among those series.
    pub fn last_value(&self, name: &str, tags: &[&str]) -> Option<f64> {
        self.points(name, tags).into_iter().max_by_key(|point| point.0).map(|point| point.1)
    }

    /// Values in all sketches of that name and at least those tags.
    pub fn count_of_sketches(&self, name: &str, tags: &[&str]) -> i64 {
        let wanted = |sketch: &&Sketch| {
            sketch.metric == name && tags.iter().all(|tag| sketch.tags.iter().any(|t| t == tag))
        };
        let sketches = self.sketches.iter().filter(wanted);
        sketches.flat_map(|sketch| &sketch.dogsketches).map(|dogsketch| dogsketch.cnt).sum()
    }

    /// Requests with that path.
    pub fn requests_to(&self, path: &str) -> Vec<&Request> {
        self.requests.iter().filter(|request| request.path() == path).collect()
    }

    fn store(&mut self, request: &Request) -> Result<(), String> {
        match request.path() {
            "/api/v2/series" => self.store_series(decode::series_v2(&request.plain)?),
            "/api/v1/series" => self.store_series(decode::series_v1(&request.plain)?),
            "/api/beta/sketches" => self.sketches.extend(decode::sketches(&request.plain)?),
            "/intake/" => self.events.extend(decode::events(&request.plain)?),
            "/api/v1/check_run" => self.checks.extend(decode::checks(&request.plain)?),
            other => return Err(format!("no such route: {other}")),
        }
        Ok(())
    }

    fn store_series(&mut self, list: Vec<Series>) {
        for series in list {
            let key = (series.metric.clone(), series.tags.clone(), series.host.clone());
            let mut points: BTreeMap<i64, f64> = BTreeMap::new();
            if let Some(known) = self.series.get(&key) {
                points.extend(known.points.iter().copied());
            }
            for (second, value) in &series.points {
                self.overwritten += usize::from(points.insert(*second, *value).is_some());
            }
            let points = points.into_iter().collect();
            self.series.insert(key, Series { points, ..series });
        }
    }
}

/// The server. Dropping it closes every connection.
pub struct Intake {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    state: State,
    script: VecDeque<Answer>,
    standing: Option<Answer>,
    standing_by_path: BTreeMap<String, Answer>,
    validation: Option<Answer>,
    streams: Vec<TcpStream>,
    stopped: bool,
}

impl Intake {
    /// Listens on a free port.
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    /// Listens on that address, for an intake that comes back after an outage.
    pub fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).expect("a free port on loopback");
        let address = listener.local_addr().expect("the address bound");
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        thread::Builder::new()
            .name("fake-intake".to_owned())
            .spawn(move || accept(&listener, &serving))
            .expect("a thread");
        Intake { address, shared }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The base URL, for `DD_DD_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next requests get these answers, one each.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.lock().script.extend(answers);
    }

    /// Every request without a scripted answer gets this one.
    pub fn respond(&self, answer: Answer) {
        self.lock().standing = Some(answer);
    }

    /// As [`Intake::respond`], for one path.
    pub fn respond_on(&self, path: &str, answer: Answer) {
        self.lock().standing_by_path.insert(path.to_owned(), answer);
    }

    /// Key checks get this answer.
    pub fn validate_with(&self, answer: Answer) {
        self.lock().validation = Some(answer);
    }

    /// Looks at what is known now.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock().state)
    }

    /// Waits until the condition holds; after five seconds it panics and says what is known.
    #[track_caller]
    pub fn wait_until(&self, condition: impl Fn(&State) -> bool) {
        let until = Instant::now() + PATIENCE;
        let mut inner = self.lock();
        while !condition(&inner.state) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not within {PATIENCE:?}; {}", summary(&inner.state));
            inner = self
                .shared
                .changed
                .wait_timeout(inner, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        let mut inner = self.lock();
        inner.stopped = true;
        for stream in &inner.streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(inner);
        self.shared.changed.notify_all();
        // Wakes the accept loop so that it sees the end and closes the port.
        let _ = TcpStream::connect(self.address);
    }
}

fn summary(state: &State) -> String {
    let requests: Vec<String> = state
        .requests
        .iter()
        .map(|request| format!("{} {} -> {}", request.method, request.target, request.status))
        .collect();
    format!(
        "{} connections, requests {requests:?}, {} key checks, series {:?}, {} sketches, \
         {} events, {} checks, undecodable {:?}",
        state.connections,
        state.validations.len(),
        state.series.values().map(|one| (&one.metric, &one.points)).collect::<Vec<_>>(),
        state.sketches.len(),
        state.events.len(),
        state.checks.len(),
        state.undecodable,
    )
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let mut inner = shared.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.stopped {
            return;
        }
        let connection = inner.state.connections;
        inner.state.connections += 1;
        inner.streams.extend(stream.try_clone());
        drop(inner);
        shared.changed.notify_all();
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // A client that goes away ends the connection; that is not the test's concern.
            let _ = serve(stream, connection, &shared);
        });
    }
}

/// Answers requests until the client or an answer ends the connection.
fn serve(mut stream: TcpStream, connection: usize, shared: &Shared) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    let mut unread = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut unread, connection)? {
        let answer = answer_for(request, shared);
        if !answer.delay.is_zero() {
            pause(shared, answer.delay);
        }
        let bytes = response(&answer);
        match answer.manner {
            Manner::Whole => stream.write_all(&bytes)?,
            Manner::Hang => pause(shared, Duration::from_secs(3600)),
            Manner::CutBefore => break,
            Manner::CutWithin => {
                stream.write_all(&bytes[..bytes.len() - answer.body.len() / 2])?;
                break;
            }
            Manner::CloseAfter => {
                stream.write_all(&bytes)?;
                break;
            }
        }
    }
    stream.shutdown(Shutdown::Both)
}

/// Waits, but not past the end of the intake.
fn pause(shared: &Shared, time: Duration) {
    let inner = shared.inner.lock().unwrap_or_else(PoisonError::into_inner);
    let running = |inner: &mut Inner| !inner.stopped;
    drop(
        shared
            .changed
            .wait_timeout_while(inner, time, running)
            .unwrap_or_else(PoisonError::into_inner),
    );
}

/// Picks the answer, records the request, stores its payload.
fn answer_for(mut request: Request, shared: &Shared) -> Answer {
    let plain = decode::decompress(request.header("content-encoding"), &request.body);
    let mut inner = shared.inner.lock().unwrap_or_else(PoisonError::into_inner);
    let is_validation = request.path() == "/api/v1/validate";
    let answer = if is_validation {
        inner.validation.clone()
    } else {
        let scripted = inner.script.pop_front();
        scripted
            .or_else(|| inner.standing_by_path.get(request.path()).cloned())
            .or_else(|| inner.standing.clone())
    };
    let answer = answer.unwrap_or_else(|| Answer::status(if is_validation { 200 } else { 202 }));
    request.status = answer.status;
    let stored = plain.and_then(|plain| {
        request.plain = plain;
        if answer.stores && !is_validation { inner.state.store(&request) } else { Ok(()) }
    });
    inner.state.undecodable.extend(stored.err());
    if is_validation {
        inner.state.validations.push(request);
    } else {
        inner.state.requests.push(request);
    }
    drop(inner);
    shared.changed.notify_all();
    answer
}

fn response(answer: &Answer) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("Content-Type: application/json\r\n");
    head.push_str(&format!("Content-Length: {}\r\n\r\n{}", answer.body.len(), answer.body));
    head.into_bytes()
}

/// Reads one request; none at an orderly end. `unread` carries bytes from request to request.
fn read_request(
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
