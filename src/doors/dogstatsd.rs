//! `POST /dogstatsd/v2/proxy`, `/v1/proxy`: DogStatsD lines in a body of any size.
//!
//! The lines go the way of all lines: through a lane, with its namespace, mapper, filters and
//! accounting. The door only puts bodies into an inbox that the lane empties between two reads of its
//! sockets.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use memchr::{memchr, memrchr};

use super::{Answer, Door, Reason, Refusal, Request, Sink};

/// Bytes of the bodies that may wait for the lane; a single body may be larger.
const INBOX_BYTES_MAX: usize = 16 << 20;

/// Bodies that wait for a lane.
#[derive(Default)]
pub(crate) struct LineInbox {
    waiting: Mutex<Waiting>,
    /// Tells the lane that something waits.
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Waiting {
    bodies: VecDeque<Piece>,
    bytes: usize,
}

/// Whole lines of one body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub lines: Bytes,
    /// The container that sent them; empty when it is not known.
    pub container: Bytes,
}

impl LineInbox {
    /// Sets what is called when lines arrive. Only the first call has an effect.
    pub fn on_arrival(&self, wake: impl Fn() + Send + Sync + 'static) {
        // A second lane would take bodies from the first; there is only one.
        let _ = self.wake.set(Box::new(wake));
    }

    /// Takes a body; false when too much waits already.
    pub fn put(&self, body: &[u8], container: &[u8]) -> bool {
        if body.is_empty() {
            return true;
        }
        let mut waiting = self.lock();
        if waiting.bytes > 0 && waiting.bytes + body.len() > INBOX_BYTES_MAX {
            return false;
        }
        waiting.bytes += body.len();
        let (lines, container) = (Bytes::copy_from_slice(body), Bytes::copy_from_slice(container));
        waiting.bodies.push_back(Piece { lines, container });
        drop(waiting);
        if let Some(wake) = self.wake.get() {
            wake();
        }
        true
    }

    /// The next whole lines, at most `bytes_max` of them unless one line is longer. What is given is
    /// taken: should the reader panic, it does not come again.
    pub fn take(&self, bytes_max: usize) -> Option<Piece> {
        let mut waiting = self.lock();
        let first = waiting.bodies.front_mut()?;
        let length = whole_lines(&first.lines, bytes_max.max(1));
        let piece =
            Piece { lines: first.lines.split_to(length), container: first.container.clone() };
        if first.lines.is_empty() {
            waiting.bodies.pop_front();
        }
        waiting.bytes -= length;
        Some(piece)
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lock().bodies.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LineInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineInbox").field("bytes", &self.lock().bytes).finish_non_exhaustive()
    }
}

/// How many of the first bytes end with a line and are not more than `bytes_max`; a line that is longer
/// goes whole.
fn whole_lines(body: &[u8], bytes_max: usize) -> usize {
    if body.len() <= bytes_max {
        return body.len();
    }
    match memrchr(b'\n', &body[..bytes_max]) {
        Some(newline) => newline + 1,
        None => memchr(b'\n', body).map_or(body.len(), |newline| newline + 1),
    }
}

/// Puts bodies into the inbox of a lane.
#[derive(Debug)]
pub(crate) struct Dogstatsd {
    inbox: Arc<LineInbox>,
}

impl Dogstatsd {
    pub fn new(inbox: Arc<LineInbox>) -> Self {
        Dogstatsd { inbox }
    }
}

impl Door for Dogstatsd {
    fn take(&self, request: &Request<'_>, _: &mut dyn Sink) -> Result<Answer, Refusal> {
        if self.inbox.put(request.body, request.container) {
            return Ok(Answer { status: 200, content_type: "text/plain", body: "".into() });
        }
        let message = "too many lines wait to be read; send them again in a moment".to_owned();
        Err(Refusal { reason: Reason::Overload, status: 429, message })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::doors::collected::{Collected, take};

    fn texts(inbox: &LineInbox, bytes_max: usize) -> Vec<String> {
        let next = || inbox.take(bytes_max);
        let text = |piece: Piece| String::from_utf8(piece.lines.to_vec()).unwrap();
        std::iter::from_fn(next).map(text).collect()
    }

    #[test]
    fn pieces_end_with_lines_and_a_long_line_stays_whole() {
        let rows: [(&str, usize, &[&str]); 8] = [
            ("a\nb\n", 100, &["a\nb\n"]),
            ("a\nb\n", 2, &["a\n", "b\n"]),
            ("a\nb\n", 3, &["a\n", "b\n"]),
            ("a\nbcdef\ng", 3, &["a\n", "bcdef\n", "g"]),
            ("abcdef", 3, &["abcdef"]),
            ("abc", 3, &["abc"]),
            ("\n\n\n", 1, &["\n", "\n", "\n"]),
            ("", 3, &[]),
        ];
        for (body, bytes_max, expect) in rows {
            let inbox = LineInbox::default();
            assert!(inbox.put(body.as_bytes(), b""));
            assert_eq!(texts(&inbox, bytes_max), expect, "{body:?} {bytes_max}");
            assert!(inbox.is_empty());
        }
    }

    #[test]
    fn the_door_answers_at_once_and_wakes_the_lane() {
        let (inbox, woken) = (Arc::new(LineInbox::default()), Arc::new(AtomicUsize::new(0)));
        let door = Dogstatsd::new(Arc::clone(&inbox));
        let mut sink = Collected::default();
        let mut post = |body: &[u8], container: &[u8]| {
            let headers = &axum::http::HeaderMap::new();
            let request = Request { path: "/", headers, body, now: Duration::ZERO, container };
            door.take(&request, &mut sink)
        };
        // Before a lane listens nothing is lost either.
        assert_eq!(post(b"a:1|c", b"").unwrap().status, 200);
        let count = Arc::clone(&woken);
        inbox.on_arrival(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let answer = post(b"b:1|c", b"abc").unwrap();
        assert_eq!((answer.status, &*answer.body), (200, ""));
        assert_eq!(post(b"", b"abc").unwrap().status, 200);
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        let containers: Vec<Bytes> =
            std::iter::from_fn(|| inbox.take(100)).map(|piece| piece.container).collect();
        assert_eq!(containers, [&b""[..], b"abc"]);
        assert!(sink.lines.is_empty());
    }

    #[test]
    fn what_waits_is_bounded_and_one_body_of_any_size_fits() {
        let inbox = Arc::new(LineInbox::default());
        let door = Dogstatsd::new(Arc::clone(&inbox));
        let mut sink = Collected::default();
        let mut post = |body: &[u8]| {
            take(&door, "/", &[], body, Duration::ZERO, &mut sink).map(|of| of.status)
        };
        let half = vec![b'\n'; INBOX_BYTES_MAX / 2];
        assert_eq!(post(&half), Ok(200));
        assert_eq!(post(&half), Ok(200));
        let refusal = post(b"\n").unwrap_err();
        assert_eq!((refusal.status, refusal.reason), (429, Reason::Overload));
        assert!(inbox.take(1).is_some());
        assert_eq!(post(b"\n"), Ok(200));
        while inbox.take(usize::MAX).is_some() {}
        assert_eq!(post(&vec![b'\n'; INBOX_BYTES_MAX + 1]), Ok(200));
        assert!(post(b"\n").is_err());
    }
}
