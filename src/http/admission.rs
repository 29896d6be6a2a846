//! Who may be served, for how long, and who makes room for whom.
//!
//! A connection *waits* until its request asks for a page that takes time: it reads its head, gets a
//! direct answer, or closes. Of those there are at most [`Limits::waiting_max`]; one more sends the
//! oldest away. A client that sends its request at once is therefore always served, however many
//! slow ones hold connections. A page takes one of [`Limits::pages_max`] permits until its answer
//! is sent, and a connection that has one is not sent away. Connections in all: the sum of the two.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

/// Bounds of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that have no page in work; one more sends the oldest away.
    pub waiting_max: usize,
    /// Pages in work, each on a thread of its own; one more is answered 503.
    pub pages_max: usize,
    /// From accepting a connection to its whole head, and to the end of a direct answer.
    pub head: Duration,
    /// For a client to take a whole page.
    pub answer: Duration,
    /// For a client to take one chunk of a stream (at most 16 KiB).
    pub chunk: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            waiting_max: 32,
            pages_max: 16,
            head: Duration::from_secs(2),
            answer: Duration::from_secs(30),
            chunk: Duration::from_secs(5),
        }
    }
}

/// Requests that got no page, counted since the start by whoever shares them with the server.
#[derive(Debug, Default)]
pub struct Refusals {
    /// Connections closed to make room for newer ones.
    pub evicted: AtomicU64,
    /// Requests answered 503 because too many pages were in work.
    pub busy: AtomicU64,
    /// Connections closed because their client took longer than it may.
    pub late: AtomicU64,
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The places of a server.
#[derive(Debug)]
pub(super) struct Admission {
    pub limits: Limits,
    pub refusals: Arc<Refusals>,
    waiting: Mutex<Waiting>,
    pages: Arc<Semaphore>,
}

/// By number, so the oldest comes first.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    by_number: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Admission {
    pub fn new(limits: Limits, refusals: Arc<Refusals>) -> Arc<Self> {
        let pages = Arc::new(Semaphore::new(limits.pages_max));
        Arc::new(Admission { limits, refusals, waiting: Mutex::default(), pages })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection, and the signal that asks it to close.
    pub fn admit(self: &Arc<Self>) -> (Arc<Place>, oneshot::Receiver<()>) {
        let (go, told_to_go) = oneshot::channel();
        let mut waiting = self.waiting();
        if waiting.by_number.len() >= self.limits.waiting_max {
            self.send_oldest_away(&mut waiting);
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.by_number.insert(number, go);
        drop(waiting);
        let state = State {
            unread: false,
            answered: false,
            deadline: Some(Instant::now() + self.limits.head),
            permit: None,
        };
        let place = Place { admission: Arc::clone(self), number, state: Mutex::new(state) };
        (Arc::new(place), told_to_go)
    }

    /// Frees a descriptor when there are none left.
    pub fn make_room(&self) {
        self.send_oldest_away(&mut self.waiting());
    }

    fn send_oldest_away(&self, waiting: &mut Waiting) {
        // One that has just ended needs no order to go.
        if let Some((_, go)) = waiting.by_number.pop_first()
            && go.send(()).is_ok()
        {
            count(&self.refusals.evicted);
        }
    }
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    number: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The client sent or announced more than a head.
    unread: bool,
    /// An answer has begun, so none can be put in its place.
    answered: bool,
    deadline: Option<Instant>,
    permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl Place {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head is complete.
    pub fn head_read(&self, has_body: bool) {
        let mut state = self.state();
        state.answered = true;
        state.unread = has_body;
    }

    pub fn is_answered(&self) -> bool {
        self.state().answered
    }

    pub fn has_unread(&self) -> bool {
        self.state().unread
    }

    /// Begins a page, which may take its time; none when too many are in work. The permit is given
    /// back when neither the connection nor the thread that makes the page holds it any more.
    pub fn start_page(&self) -> Option<Arc<OwnedSemaphorePermit>> {
        let Ok(permit) = Arc::clone(&self.admission.pages).try_acquire_owned() else {
            count(&self.admission.refusals.busy);
            return None;
        };
        let permit = Arc::new(permit);
        self.admission.waiting().by_number.remove(&self.number);
        let mut state = self.state();
        state.deadline = None;
        state.permit = Some(Arc::clone(&permit));
        Some(permit)
    }

    /// A whole page is ready: the client has so long to take it.
    pub fn page_ready(&self) {
        self.state().deadline = Some(Instant::now() + self.admission.limits.answer);
    }

    /// A chunk goes out: the client has so long to take it.
    pub fn chunk_out(&self) {
        self.state().deadline = Some(Instant::now() + self.admission.limits.chunk);
    }

    /// The client took all chunks so far; it waits for us.
    pub fn chunks_taken(&self) {
        self.state().deadline = None;
    }

    /// The client took longer than it may.
    pub fn is_late(&self) {
        count(&self.admission.refusals.late);
    }

    /// When the client must be through with what it does.
    pub fn deadline(&self) -> Option<Instant> {
        self.state().deadline
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.waiting().by_number.remove(&self.number);
    }
}
