//! The state of one connection: its peer, what it waits for, and until when.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// Longest request line with headers.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;

/// One connection. Every request carries it among its extensions.
#[derive(Debug)]
pub struct Session {
    /// Process at the other end of a Unix socket.
    peer: Option<i32>,
    request: Duration,
    idle: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the head or the idle time ends; none while a request is answered.
    deadline: Option<Instant>,
    /// When the request in work must be whole.
    whole_by: Instant,
    /// The bytes of the head in work: hyper keeps a length out of its headers where chunks are announced
    /// too, which no sender may do.
    head: Vec<u8>,
    /// The client sends, or may send, more than was read.
    unread: bool,
}

/// What the connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first byte of a request, or the client to take the answer before.
    Idle,
    /// The end of a head.
    Head,
    /// The answer of a route.
    Answer,
}

/// How a connection ended that was not closed by its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    Idle,
    Head,
}

impl Session {
    pub(super) fn new(peer: Option<i32>, request: Duration, idle: Duration) -> Arc<Self> {
        let now = Instant::now();
        let state = State {
            phase: Phase::Idle,
            deadline: Some(now + idle),
            whole_by: now + request,
            head: Vec::new(),
            unread: false,
        };
        Arc::new(Session { peer, request, idle, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process that connected to the Unix socket; none over TCP.
    #[must_use]
    pub fn peer(&self) -> Option<i32> {
        self.peer
    }

    /// When the request that is being answered must have come whole.
    #[must_use]
    pub fn whole_by(&self) -> Instant {
        self.state().whole_by
    }

    /// Bytes came in.
    pub(super) fn bytes_read(&self, bytes: &[u8]) {
        let mut state = self.state();
        match state.phase {
            Phase::Idle => {
                state.phase = Phase::Head;
                state.whole_by = Instant::now() + self.request;
                state.deadline = Some(state.whole_by);
            }
            Phase::Head => {}
            Phase::Answer => return,
        }
        let room = HEAD_BYTES_MAX.saturating_sub(state.head.len());
        state.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// A head is complete. True when it announces its body's length and chunks as well.
    pub(super) fn head_read(&self, chunked: bool, has_body: bool) -> bool {
        let mut state = self.state();
        // Its bytes may have come with those of the request before.
        if state.phase == Phase::Idle {
            state.whole_by = Instant::now() + self.request;
        }
        state.phase = Phase::Answer;
        state.deadline = None;
        state.unread = has_body;
        let head = std::mem::take(&mut state.head);
        chunked && names_a_length(&head)
    }

    /// An answer is on its way.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        state.phase = Phase::Idle;
        state.deadline = Some(Instant::now() + self.idle);
    }

    /// The body in work ended.
    fn body_read(&self) {
        self.state().unread = false;
    }

    pub(super) fn has_unread(&self) -> bool {
        self.state().unread
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.state().deadline
    }

    pub(super) fn late(&self) -> Late {
        if self.state().phase == Phase::Idle { Late::Idle } else { Late::Head }
    }
}

/// True when a field of the head is `Content-Length`.
fn names_a_length(head: &[u8]) -> bool {
    let end = memchr::memmem::find(head, b"\r\n\r\n").unwrap_or(head.len());
    head[..end].split(|byte| *byte == b'\n').any(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"content-length")
    })
}

/// Why a body did not come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It took longer than a request may.
    TooSlow,
    /// It broke off, or its chunks are malformed.
    Broken,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyError::TooSlow => "the request did not come in time",
            BodyError::Broken => "the body broke off or its chunks are malformed",
        })
    }
}

impl std::error::Error for BodyError {}

/// The body of a request, which has to come before the request's time is over.
pub struct RequestBody {
    body: Body,
    session: Arc<Session>,
    time: Pin<Box<Sleep>>,
}

impl RequestBody {
    /// The body of a request of this connection.
    #[must_use]
    pub fn new(body: Body, session: Arc<Session>) -> Self {
        let time = Box::pin(sleep_until(session.whole_by()));
        RequestBody { body, session, time }
    }

    /// Its length, when the client said so.
    #[must_use]
    pub fn declared(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next piece, or none at the end; trailers are ignored.
    ///
    /// # Errors
    /// See [`BodyError`]; after one there is nothing more to read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut *self).poll_frame(context));
            match frame.await {
                None => return Ok(None),
                Some(Err(error)) => return Err(error),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                return self.time.as_mut().poll(context).map(|()| Some(Err(BodyError::TooSlow)));
            }
        };
        if self.body.is_end_stream() || frame.is_none() {
            self.session.body_read();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|_| BodyError::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("declared", &self.declared()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_found_among_the_fields_of_the_head_only() {
        for (head, expect) in [
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH:1\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nX: Content-Length: 1\r\n\r\n", false),
            ("POST /content-length: HTTP/1.1\r\nX-Content-Length: 1\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\nContent-Length: 1\r\n", false),
            ("", false),
        ] {
            assert_eq!(names_a_length(head.as_bytes()), expect, "{head}");
        }
    }
}
