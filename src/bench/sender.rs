//! The senders: threads that push the block through their own sockets on one shared schedule.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::corpus::Span;
use super::pace::{Pace, Step};
use super::run_settings::RunSettings;
use super::sys;
use super::target::Connection;
use crate::clock::Clock;

/// The load of one phase of a run.
#[derive(Clone, Copy, Debug)]
pub struct PhaseLoad<'a> {
    /// Target, corpus and how to send.
    pub settings: &'a RunSettings,
    /// Datagram of the block with which each sender starts; one sender per entry.
    pub starts: &'a [usize],
    /// Datagrams per second of all senders together; `None` is unlimited.
    pub datagrams_per_second: Option<f64>,
    /// When to stop at the latest.
    pub duration: Duration,
    /// Stop after so many datagrams in all.
    pub datagrams_max: Option<u64>,
}

/// What the senders of one phase did.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What each sender sent.
    pub spans: Vec<Span>,
    /// Datagrams that were due; equal to those sent when the rate is unlimited.
    pub offered: u64,
    /// From the first datagram to the last.
    pub elapsed: Duration,
    /// CPU time of the sender threads.
    pub cpu: Duration,
    /// Sends the kernel refused and that were tried again (nothing listened, no buffer).
    pub refusals: u64,
    /// Nanoseconds of one send call.
    pub call: Histogram<u64>,
    /// Nanoseconds from when a datagram was due to when its call returned; empty when unlimited.
    pub late: Histogram<u64>,
}

/// Live progress, readable while the senders run.
#[derive(Debug, Default)]
pub struct Progress {
    /// Datagrams sent so far.
    pub datagrams: AtomicU64,
    /// Set to make every sender stop soon.
    pub stop: AtomicBool,
}

/// Refusals in a row, each after a pause of 100 µs, before a sender gives up: about a second.
const REFUSALS_IN_A_ROW_MAX: u32 = 10_000;

/// Spinning begins so long before a datagram is due; sleeping wakes up about 60 µs late.
const SPIN: Duration = Duration::from_micros(200);

/// No single sleep is longer, so that a stop is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// A histogram of nanoseconds up to a minute with two significant digits.
pub fn nanoseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 2)
        .expect("1 to 6e10 with 2 digits are bounds the crate accepts")
}

/// Sends one phase and returns when every sender is done.
///
/// # Errors
/// When a sender cannot connect, or is refused for about a second.
pub fn send(load: &PhaseLoad<'_>, progress: &Progress) -> io::Result<Sent> {
    let senders = load.starts.len().max(1) as u64;
    let connections = load
        .starts
        .iter()
        .map(|_| load.settings.target.connect(load.settings.remote))
        .collect::<io::Result<Vec<_>>>()?;
    let began = Instant::now();
    let results: Vec<io::Result<Sent>> = std::thread::scope(|scope| {
        let threads: Vec<_> = connections
            .into_iter()
            .zip(load.starts)
            .enumerate()
            .map(|(index, (connection, &start))| {
                // The remainder of the total goes to the first senders.
                let most = load
                    .datagrams_max
                    .map(|all| all / senders + u64::from((index as u64) < all % senders));
                let sender = Sender { load, progress, connection, start, most, senders };
                std::thread::Builder::new()
                    .name(format!("bench-sender-{index}"))
                    .spawn_scoped(scope, move || sender.run())
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread?.join().unwrap_or_else(|_| Err(io::Error::other("a sender panicked")))
            })
            .collect()
    });
    let mut all: Option<Sent> = None;
    for result in results {
        let one = result?;
        match &mut all {
            None => all = Some(one),
            Some(all) => all.merge(one)?,
        }
    }
    let mut all = all.ok_or_else(|| io::Error::other("no sender"))?;
    all.elapsed = began.elapsed();
    Ok(all)
}

impl Sent {
    fn merge(&mut self, other: Sent) -> io::Result<()> {
        self.spans.extend(other.spans);
        self.offered += other.offered;
        self.cpu += other.cpu;
        self.refusals += other.refusals;
        self.call.add(&other.call).map_err(io::Error::other)?;
        self.late.add(&other.late).map_err(io::Error::other)
    }
}

struct Sender<'a> {
    load: &'a PhaseLoad<'a>,
    progress: &'a Progress,
    connection: Connection,
    start: usize,
    most: Option<u64>,
    senders: u64,
}

impl Sender<'_> {
    fn run(mut self) -> io::Result<Sent> {
        if !self.load.settings.generator_cpus.is_empty() {
            sys::pin(&self.load.settings.generator_cpus)?;
        }
        let mut sent = Sent {
            spans: Vec::new(),
            offered: 0,
            elapsed: Duration::ZERO,
            cpu: Duration::ZERO,
            refusals: 0,
            call: nanoseconds(),
            late: nanoseconds(),
        };
        let cpu = sys::thread_cpu().unwrap_or_default();
        let rate = self.load.datagrams_per_second.map(|all| all / self.senders as f64);
        let pace = Pace::start(Clock::wall(), rate);
        let count = self.push(&pace, &mut sent)?;
        // Due at the end of the schedule, not at the last turn: a sender that was blocked owes
        // everything it did not send.
        let end = if self.progress.stop.load(Ordering::Relaxed) {
            pace.elapsed()
        } else {
            self.load.duration
        };
        let due = pace.due_by(end.saturating_sub(Duration::from_nanos(1)));
        sent.offered = due.unwrap_or(count).min(self.most.unwrap_or(u64::MAX)).max(count);
        sent.cpu = sys::thread_cpu().unwrap_or_default().saturating_sub(cpu);
        sent.spans.push(Span { start: self.start, count });
        Ok(sent)
    }

    fn push(&mut self, pace: &Pace, sent: &mut Sent) -> io::Result<u64> {
        let corpus = &self.load.settings.corpus;
        let block = corpus.len();
        let most = self.most.unwrap_or(u64::MAX);
        let stop = || self.progress.stop.load(Ordering::Relaxed);
        let (mut count, mut index, mut refused) = (0, self.start, 0);
        while count < most && pace.elapsed() < self.load.duration && !stop() {
            let due = match pace.next(count, self.load.settings.batch as u64) {
                Step::Wait(wait) => {
                    self.wait(wait);
                    continue;
                }
                Step::Send(due) => due.min(most - count) as usize,
            };
            let due = due.min(block - index);
            let called = pace.elapsed();
            match self.connection.send(corpus, index, due, &stop) {
                Ok(went) => {
                    refused = 0;
                    self.record(pace, called, count, went, sent);
                    count += went as u64;
                    index = (index + went) % block;
                    self.progress.datagrams.fetch_add(went as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if self.connection.is_stream() || refused >= REFUSALS_IN_A_ROW_MAX => {
                    return Err(error);
                }
                // Nothing listened to an earlier UDP datagram, or the kernel is short of buffers.
                Err(_) => {
                    refused += 1;
                    sent.refusals += 1;
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
        }
        Ok(count)
    }

    fn wait(&self, wait: Duration) {
        if !self.load.settings.spin {
            std::thread::sleep(wait.min(SLEEP_MAX));
        } else if wait > SPIN {
            std::thread::sleep((wait - SPIN).min(SLEEP_MAX));
        } else {
            std::hint::spin_loop();
        }
    }

    fn record(&self, pace: &Pace, called: Duration, first: u64, went: usize, sent: &mut Sent) {
        let returned = pace.elapsed();
        sent.call.saturating_record(nanos(returned.saturating_sub(called)));
        if self.load.datagrams_per_second.is_some() {
            for index in first..first + went as u64 {
                sent.late.saturating_record(nanos(returned.saturating_sub(pace.due_at(index))));
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
