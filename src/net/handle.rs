//! Commands to a running lane: flags, an inbox for connections, and a waker in each of its polls.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mio::{Poll, Token, Waker};

use super::connections::Connection;

/// No socket has this token.
const WAKER: Token = Token(usize::MAX);

/// Drain and return.
pub(super) const STOP: u8 = 1;
/// Call [`Receiver::woken`](super::Receiver::woken).
pub(super) const WAKE: u8 = 2;
/// Connections were handed over.
pub(super) const INBOX: u8 = 4;
/// Call [`Receiver::mail`](super::Receiver::mail).
pub(super) const MAIL: u8 = 8;

/// Sends commands to a running lane from another thread.
#[derive(Clone, Debug)]
pub struct LaneHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    flags: AtomicU8,
    drain_nanos: AtomicU64,
    inbox: Mutex<Vec<Connection>>,
    wakers: [Waker; 2],
}

impl LaneHandle {
    /// Makes the lane read what is queued, for at most `drain`, and return. Takes effect at once,
    /// also during a pause, and for good: a lane run again after this stops again.
    pub fn stop(&self, drain: Duration) {
        let nanos = u64::try_from(drain.as_nanos()).unwrap_or(u64::MAX);
        self.0.drain_nanos.store(nanos, Ordering::Release);
        self.raise(STOP);
    }

    /// Makes the lane call [`Receiver::woken`](super::Receiver::woken) soon.
    pub fn wake(&self) {
        self.raise(WAKE);
    }

    /// Makes the lane call [`Receiver::mail`](super::Receiver::mail) soon.
    pub fn mail(&self) {
        self.raise(MAIL);
    }

    /// Gives the lane a connection another lane accepted.
    pub(super) fn hand_over(&self, connection: Connection) {
        self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        self.raise(INBOX);
    }

    fn raise(&self, flag: u8) {
        self.0.flags.fetch_or(flag, Ordering::AcqRel);
        for waker in &self.0.wakers {
            // Only a closed poll cannot be woken, and then the lane is not running.
            let _ = waker.wake();
        }
    }

    /// The flags raised since the last call; [`STOP`] stays.
    pub(super) fn take_flags(&self) -> u8 {
        if self.0.flags.load(Ordering::Acquire) == 0 {
            return 0;
        }
        self.0.flags.fetch_and(STOP, Ordering::AcqRel)
    }

    /// Connections handed over since the last call.
    pub(super) fn take_inbox(&self) -> Vec<Connection> {
        std::mem::take(&mut *self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// True when both belong to the same lane.
    pub(super) fn is(&self, other: &LaneHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The time [`LaneHandle::stop`] gave for draining.
    pub(super) fn drain(&self) -> Duration {
        Duration::from_nanos(self.0.drain_nanos.load(Ordering::Acquire))
    }
}

/// A lane's two polls and the handle that wakes both.
pub(super) struct Polls {
    /// Holds all sockets.
    pub(super) main: Poll,
    /// Holds the urgent ones.
    pub(super) pause: Poll,
    /// Wakes both.
    pub(super) handle: LaneHandle,
}

impl Polls {
    /// Fresh polls.
    pub(super) fn new() -> io::Result<Self> {
        let (main, pause) = (Poll::new()?, Poll::new()?);
        let wakers = [Waker::new(main.registry(), WAKER)?, Waker::new(pause.registry(), WAKER)?];
        let handle = LaneHandle(Arc::new(Shared {
            flags: AtomicU8::new(0),
            drain_nanos: AtomicU64::new(0),
            inbox: Mutex::default(),
            wakers,
        }));
        Ok(Polls { main, pause, handle })
    }
}
