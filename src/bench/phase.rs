//! One phase of a run: the senders on their schedule, the progress bar, the server's CPU per second.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::sender::{self, PhaseLoad, Progress, Sent};
use super::sys;

/// A sender that is this late past its end is stopped: the server has stopped reading.
const OVERTIME: Duration = Duration::from_secs(10);

/// What one phase measured.
pub struct Phase {
    /// What the senders did.
    pub sent: Sent,
    /// CPU of the server, second by second, in percent of one core.
    pub percents: Vec<f64>,
}

/// Sends `load` and follows the process `pid`; `name` labels the progress bar.
///
/// # Errors
/// When the load cannot be sent, or the run was interrupted.
pub fn measure(load: &PhaseLoad<'_>, pid: Option<u32>, name: &str) -> anyhow::Result<Phase> {
    let settings = load.settings;
    let progress = Progress::default();
    let mut percents = Vec::new();
    let sent = std::thread::scope(|scope| {
        let senders = scope.spawn(|| sender::send(load, &progress));
        percents = watch(load, &progress, pid, name, || senders.is_finished());
        senders.join().unwrap_or_else(|_| Err(std::io::Error::other("the senders panicked")))
    });
    anyhow::ensure!(!settings.interrupted.load(Ordering::Relaxed), "interrupted");
    let sent = sent.with_context(|| format!("cannot send to {}", settings.target))?;
    Ok(Phase { sent, percents })
}

/// Follows a phase from outside: the progress bar, the server's CPU once a second, the overtime.
fn watch(
    load: &PhaseLoad<'_>,
    progress: &Progress,
    pid: Option<u32>,
    name: &str,
    finished: impl Fn() -> bool,
) -> Vec<f64> {
    let bar = bar(load.duration, name);
    let began = Instant::now();
    let mut percents = Vec::new();
    let mut last = (Instant::now(), server_cpu(pid));
    while !finished() {
        std::thread::sleep(Duration::from_millis(20));
        bar.set_position(began.elapsed().as_millis() as u64);
        let given_up = load.settings.interrupted.load(Ordering::Relaxed);
        if given_up || began.elapsed() > load.duration + OVERTIME {
            progress.stop.store(true, Ordering::Relaxed);
        }
        let passed = last.0.elapsed();
        if passed >= Duration::from_secs(1) {
            let now = (Instant::now(), server_cpu(pid));
            if let (Some(now), Some(then)) = (now.1, last.1) {
                percents
                    .push(100.0 * now.saturating_sub(then).as_secs_f64() / passed.as_secs_f64());
            }
            let sent = progress.datagrams.load(Ordering::Relaxed) as f64;
            let lines =
                sent * load.settings.corpus.lines_per_datagram() / began.elapsed().as_secs_f64();
            let cpu =
                percents.last().map_or(String::new(), |p| format!(", server {p:.0} % of a core"));
            bar.set_message(format!("{lines:.0} lines/s{cpu}"));
            last = now;
        }
    }
    bar.finish_and_clear();
    percents
}

/// Drawn on standard error, and only when that is a terminal.
fn bar(duration: Duration, name: &str) -> ProgressBar {
    let bar = ProgressBar::new(duration.as_millis() as u64).with_prefix(name.to_owned());
    match ProgressStyle::with_template("{prefix} {wide_bar} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// CPU time of the server so far; `None` without a process of ours.
pub fn server_cpu(pid: Option<u32>) -> Option<Duration> {
    sys::process_cpu(pid?).ok()
}
