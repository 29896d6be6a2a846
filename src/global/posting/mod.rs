//! In: orders of an owner, whole values of one partition at one second. Out: series in payloads of one
//! partition each, to the intake or the other outputs; the fate of each posting, once. Promise: a series is
//! computed as a local one is; nothing leaves after the lease of its partition has run out; a posting of an
//! interval is never overtaken by its correction; while the intake is away, postings wait and the log
//! keeps the data. Refusal: it adds no host and no tag, and keeps nothing on disk.
//!
//! The age of a payload counts from the end of its interval: what an owner reads again after an outage of
//! more than an hour is given up and counted, because the intake does not take it.

mod counts;
mod destination;
mod inbox;
mod order;
mod rows;
mod styles;
#[cfg(test)]
mod tests;

pub use counts::PostingCounts;
pub use destination::{Destination, Tables};
pub use order::{Order, Posted, Values};

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::encode::{Compression, Payload, PayloadLimits, SeriesEncoder, SeriesFormat};
use crate::flush::{HistogramSettings, Row};
use crate::forward::{Forwarder, Lease, PostingFate, Ticket};
use crate::output::{Discarded, JsonLines, report_left_out};

use inbox::{Inbox, Next};
use rows::Rows;

/// How often a thread without postings looks whether rows are to be printed.
const TURN: Duration = Duration::from_millis(250);

/// How long a full endpoint may hold up another that has run dry, before it loses its oldest payloads.
const PATIENCE: Duration = Duration::from_secs(5);

/// How postings are encoded.
#[derive(Clone, Debug)]
pub struct PostingSettings {
    /// What is posted of histograms whose sender leaves it to the owner.
    pub histograms: HistogramSettings,
    /// Format of the bodies.
    pub format: SeriesFormat,
    /// Compression of the bodies.
    pub compression: Compression,
    /// How large a payload may get.
    pub limits: PayloadLimits,
    /// False: series are not posted at all (`enable_payloads.series`).
    pub enabled: bool,
    /// Log what is posted, readable, at debug level (`log_payloads`).
    pub logged: bool,
}

/// Posts for an owner, with a thread of its own: encoding a posting and waiting for the intake hold up
/// nobody.
pub struct Poster {
    inbox: Arc<Inbox>,
    forwarder: Option<Arc<Forwarder>>,
    discarded: Option<Arc<Mutex<Discarded>>>,
    tell: Tell,
    histograms: Arc<Mutex<Option<HistogramSettings>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Takes the fate of a posting; called from any thread, perhaps under a lock of the forwarder.
type Tell = Arc<dyn Fn(u64, PostingFate) + Send + Sync>;

/// The thread.
struct Worker {
    inbox: Arc<Inbox>,
    rows: Rows,
    encoder: SeriesEncoder,
    destinations: Vec<Destination>,
    tell: Tell,
    histograms: Arc<Mutex<Option<HistogramSettings>>>,
    enabled: bool,
    logged: bool,
}

impl Poster {
    /// Starts the thread. `tell` gets the fate of every posting once; it may put it into a channel, and
    /// no more.
    ///
    /// # Errors
    /// When a compressor cannot be made, or no thread.
    pub fn start(
        settings: PostingSettings,
        destinations: Vec<Destination>,
        tell: impl Fn(u64, PostingFate) + Send + Sync + 'static,
    ) -> io::Result<Poster> {
        let mut poster = Poster {
            inbox: Arc::default(),
            forwarder: None,
            discarded: None,
            tell: Arc::new(tell),
            histograms: Arc::default(),
            thread: Mutex::default(),
        };
        for destination in &destinations {
            match destination {
                Destination::Forward(forwarder) => poster.forwarder = Some(Arc::clone(forwarder)),
                Destination::Discard(discarded) | Destination::Show(_, discarded) => {
                    poster.discarded = Some(Arc::clone(discarded));
                }
                Destination::Console(_) | Destination::Lines(_) | Destination::LinesTo(_) => {}
            }
        }
        let PostingSettings { histograms, format, compression, limits, enabled, logged } = settings;
        let worker = Worker {
            inbox: Arc::clone(&poster.inbox),
            rows: Rows::new(histograms),
            encoder: SeriesEncoder::new(format, compression, &limits)?,
            destinations,
            tell: Arc::clone(&poster.tell),
            histograms: Arc::clone(&poster.histograms),
            enabled,
            logged,
        };
        let thread = thread::Builder::new().name("global-post".to_owned());
        *poster.lock_thread() = Some(thread.spawn(move || worker.run())?);
        Ok(poster)
    }

    /// Posts these values, and tells their fate once.
    pub fn post(&self, order: Order) {
        if let Some(late) = self.inbox.put(order) {
            (self.tell)(late.id, PostingFate::Withdrawn);
        }
    }

    /// Drops what waits under leases that were withdrawn.
    pub fn drop_withdrawn(&self) {
        for order in self.inbox.take_withdrawn() {
            (self.tell)(order.id, PostingFate::Withdrawn);
        }
        if let Some(forwarder) = &self.forwarder {
            forwarder.drop_withdrawn();
        }
    }

    /// Other settings for histograms from the next posting on.
    pub fn reload(&self, histograms: HistogramSettings) {
        *self.histograms.lock().unwrap_or_else(PoisonError::into_inner) = Some(histograms);
    }

    /// Exchanges the key of the first endpoint.
    pub fn set_api_key(&self, key: &str) {
        if let Some(forwarder) = &self.forwarder {
            forwarder.set_api_key(0, key);
        }
    }

    /// Stops: what waits under a lease that holds gets one more attempt until the deadline, and nothing
    /// else. Postings without an answer are withdrawn. Returns what became of all of them.
    pub fn stop(&self, deadline: Instant) -> PostingCounts {
        for order in self.inbox.close() {
            (self.tell)(order.id, PostingFate::Withdrawn);
        }
        if let Some(forwarder) = &self.forwarder {
            forwarder.shutdown(deadline);
        }
        let thread = self.lock_thread().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(target: "global", "the thread that posts global series failed");
        }
        self.counts()
    }

    /// What became of postings and payloads so far.
    #[must_use]
    pub fn counts(&self) -> PostingCounts {
        let (postings, rows, queued) = self.inbox.counts();
        PostingCounts {
            postings,
            rows,
            queued,
            accounting: self.forwarder.as_ref().map(|forwarder| forwarder.accounting()),
            discarded: self
                .discarded
                .as_ref()
                .map(|discarded| *discarded.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn lock_thread(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Poster {
    /// One that is dropped without a stop gives up at once, so no thread is left over.
    fn drop(&mut self) {
        self.stop(Instant::now());
    }
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}

impl Worker {
    fn run(mut self) {
        loop {
            match self.inbox.next(TURN) {
                Next::Order(order) => self.post(order),
                Next::Nothing => {}
                Next::Closed => break,
            }
            self.destinations.iter_mut().for_each(|one| one.look_at_time(false));
        }
        self.destinations.iter_mut().for_each(|one| one.look_at_time(true));
    }

    fn post(&mut self, order: Order) {
        let (id, lease) = (order.id, Arc::clone(&order.lease));
        if lease.is_withdrawn() {
            return (self.tell)(id, PostingFate::Withdrawn);
        }
        let new = self.histograms.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(histograms) = new {
            self.rows = Rows::new(histograms);
        }
        let payloads = self.encode(&order);
        // The owner may go on with its state while the payloads wait.
        drop(order);
        let ticket = self.ticket(id, lease);
        for payload in payloads {
            for destination in &mut self.destinations {
                destination.payload(&payload, &ticket, PATIENCE);
            }
        }
    }

    fn ticket(&self, id: u64, lease: Arc<Lease>) -> Ticket {
        let tell = Arc::clone(&self.tell);
        Ticket::new(lease, move |fate| tell(id, fate))
    }

    /// The payloads of a posting; what takes rows is given them meanwhile.
    fn encode(&mut self, order: &Order) -> Vec<Payload> {
        let interval = u64::from(order.interval);
        if self.logged && tracing::enabled!(target: "encode", tracing::Level::DEBUG) {
            log_readable(&mut self.rows, order);
        }
        let Worker { rows, encoder, destinations, enabled, .. } = self;
        let wants_payloads = *enabled && destinations.iter().any(Destination::takes_payloads);
        let mut payloads = Vec::new();
        encoder.begin(order.start.saturating_add(interval));
        rows.visit(order, &mut |row: &Row<'_>| {
            destinations.iter_mut().for_each(|destination| destination.row(row));
            if wants_payloads {
                row.series.iter().for_each(|one| encoder.push(one, &mut |p| payloads.push(p)));
            }
        });
        report_left_out(encoder.finish(&mut |payload| payloads.push(payload)));
        destinations.iter_mut().for_each(|one| one.posted(order.start, interval));
        payloads
    }
}

/// Everything a posting holds, as JSON lines at debug level.
fn log_readable(rows: &mut Rows, order: &Order) {
    let mut text = Vec::new();
    let mut lines = JsonLines::new(&mut text);
    rows.visit(order, &mut |row| lines.row(row));
    lines.finish();
    for line in String::from_utf8_lossy(&text).lines() {
        tracing::debug!(target: "encode", "{line}");
    }
}
