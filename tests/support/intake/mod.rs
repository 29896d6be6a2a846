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

mod answer;
mod request;
mod state;

pub use answer::Answer;
pub use request::Request;
pub use state::State;

use super::decode;
use answer::Ending;
use request::read_request;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long [`Intake::wait_until`] waits.
const PATIENCE: Duration = Duration::from_secs(5);

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
            assert!(!left.is_zero(), "not within {PATIENCE:?}; {}", inner.state.summary());
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
        let bytes = answer.bytes();
        match answer.ending {
            Ending::Whole => stream.write_all(&bytes)?,
            Ending::Hang => pause(shared, Duration::from_secs(3600)),
            Ending::CutBefore => break,
            Ending::CutWithin => {
                stream.write_all(&bytes[..bytes.len() - answer.body.len() / 2])?;
                break;
            }
            Ending::CloseAfter => {
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
