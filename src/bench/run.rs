//! One run: start the server, warm it up, measure, let it drain, stop it, compare.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::corpus::{Corpus, Span, Tally};
use super::flush_check::{self, FlushCheck};
use super::phase::{self, server_cpu};
use super::procfs;
use super::report::{Cpu, Generator, Latency, MemoryUse, Run, spread};
use super::run_settings::RunSettings;
use super::sender::{PhaseLoad, Sent};
use super::sent_sums;
use super::server::{self, Server};
use super::validity;

/// How long to wait for a server to finish what it received.
const IDLE_WITHIN: Duration = Duration::from_secs(5);

/// A pause in which a settled server uses next to no CPU.
const IDLE_PAUSE: Duration = Duration::from_millis(20);

/// Measures one server (`None`: one that is already running) at `lines_per_second` (`None`: unlimited).
///
/// # Errors
/// When the server does not start or the load cannot be sent.
pub fn measure(
    settings: &RunSettings,
    command: Option<&str>,
    lines_per_second: Option<f64>,
    round: usize,
) -> anyhow::Result<Run> {
    let scratch =
        if command.is_some() && settings.check { Some(ScratchDir::create()?) } else { None };
    let flushed_to = scratch.as_ref().map(ScratchDir::rows);
    let mut process = match command {
        Some(command) => Some(Server::start(
            command,
            &settings.target,
            &settings.server_cpus,
            flushed_to.as_deref(),
        )?),
        None if !settings.remote && server::nothing_listens(&settings.target) => {
            anyhow::bail!(
                "nothing listens at {}; start the server first, or use --server",
                settings.target
            )
        }
        None => None,
    };
    let pid = process.as_ref().map(Server::pid);
    let start_ms = process.as_ref().map(|process| process.start_time().as_secs_f64() * 1e3);
    let before = Snapshot::take(settings, pid);
    let first_starts = starts(&settings.corpus, settings.senders);
    let later_starts;
    let mut spans = Vec::new();
    let rate = lines_per_second.map(|lines| lines / settings.corpus.lines_per_datagram());
    let mut load = PhaseLoad {
        settings,
        starts: &first_starts,
        datagrams_per_second: rate,
        duration: settings.warmup,
        datagrams_max: None,
    };
    if !settings.warmup.is_zero() {
        let warm = phase::measure(&load, pid, "warming up")?;
        later_starts = next_starts(&warm.sent.spans, settings.corpus.len());
        load.starts = &later_starts;
        spans.extend(warm.sent.spans);
        wait_until_idle(settings, pid);
    }
    let middle = Snapshot::take(settings, pid);
    let name = command.unwrap_or("measuring");
    (load.duration, load.datagrams_max) = (settings.duration, settings.datagrams_max);
    let phase = phase::measure(&load, pid, name)?;
    wait_until_idle(settings, pid);
    let after = Snapshot::take(settings, pid);
    let memory = pid.and_then(|pid| procfs::memory(pid).ok());
    if process.as_mut().is_some_and(Server::ended) {
        let said = process.take().map(|p| p.stop().last_lines.join("\n    ")).unwrap_or_default();
        anyhow::bail!("`{name}` exited during the measurement; its last output:\n    {said}");
    }
    linger(settings);
    let stopped = process.map(Server::stop);
    let measured = settings.corpus.tally(&phase.sent.spans);
    spans.extend(phase.sent.spans.iter().copied());
    let sent = settings.corpus.tally(&spans);
    if let Some(path) = &settings.sent {
        sent_sums::write(path, settings.corpus.counters(), &sent.counters)?;
    }
    let check = match flushed_to {
        Some(path) => compare(&path, &settings.corpus, &sent)?,
        None => None,
    };
    let mut run = Run {
        server: command.map(str::to_owned),
        round,
        start_ms,
        seconds: phase.sent.elapsed.as_secs_f64(),
        offered_datagrams: phase.sent.offered,
        measured: measured.traffic,
        sent: sent.traffic,
        kernel_dropped: difference(after.drops, before.drops),
        kernel_dropped_measured: difference(after.drops, middle.drops),
        server_counts: stopped.as_ref().and_then(|stopped| stopped.counts),
        cpu: None,
        memory: memory.map(|m| MemoryUse { rss_bytes: m.rss, peak_bytes: m.peak }),
        generator: generator(settings, &phase.sent, lines_per_second.is_some()),
        check,
        warnings: Vec::new(),
    };
    run.cpu = cpu(&run, &middle, &after, &phase.percents);
    run.warnings = validity::warnings(&run);
    match stopped.map(|stopped| stopped.status) {
        Some(None) => run.warnings.push("the server did not stop on SIGTERM and was killed".into()),
        Some(Some(status)) if !status.success() => {
            run.warnings.push(format!("the server exited with {status}"));
        }
        _ => {}
    }
    Ok(run)
}

/// Evenly spaced places in the block, so that senders do not move in step.
fn starts(corpus: &Corpus, senders: usize) -> Vec<usize> {
    (0..senders).map(|sender| sender * corpus.len() / senders.max(1)).collect()
}

/// The datagram after the last one of each span.
fn next_starts(spans: &[Span], block: usize) -> Vec<usize> {
    let next = |span: &Span| ((span.start as u64 + span.count) % block as u64) as usize;
    spans.iter().map(next).collect()
}

/// Counters of the server between two phases.
struct Snapshot {
    cpu: Option<Duration>,
    waited: Option<Duration>,
    drops: Option<u64>,
}

impl Snapshot {
    fn take(settings: &RunSettings, pid: Option<u32>) -> Self {
        let sockets = settings.local_udp_port().map(procfs::udp_sockets);
        let drops = sockets
            .filter(|sockets| !sockets.is_empty())
            .map(|sockets| sockets.iter().map(|socket| socket.drops).sum());
        // A Unix socket or a stream blocks instead of dropping.
        let drops = if settings.target.udp_port().is_none() { Some(0) } else { drops };
        let waited = pid.and_then(|pid| procfs::run_queue_wait(pid).ok());
        Snapshot { cpu: server_cpu(pid), waited, drops }
    }
}

fn difference(after: Option<u64>, before: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
}

/// Waits until the receive queue is empty and the server rests, so that the CPU of a phase is the
/// CPU of everything that arrived in it.
fn wait_until_idle(settings: &RunSettings, pid: Option<u32>) {
    let began = Instant::now();
    let mut last = server_cpu(pid);
    while began.elapsed() < IDLE_WITHIN {
        std::thread::sleep(IDLE_PAUSE);
        let now = server_cpu(pid);
        let used = now.zip(last).map_or(Duration::ZERO, |(now, last)| now.saturating_sub(last));
        let queued = settings.local_udp_port().map_or(0, |port| {
            procfs::udp_sockets(port).iter().map(|socket| socket.queued).sum::<u64>()
        });
        if queued == 0 && used < IDLE_PAUSE / 20 {
            return;
        }
        last = now;
    }
}

/// Lets the clock of the server run on; an interruption ends it.
fn linger(settings: &RunSettings) {
    let began = Instant::now();
    while began.elapsed() < settings.linger && !settings.interrupted.load(Ordering::Relaxed) {
        std::thread::sleep(IDLE_PAUSE);
    }
}

fn cpu(run: &Run, middle: &Snapshot, after: &Snapshot, percents: &[f64]) -> Option<Cpu> {
    let seconds = after.cpu?.saturating_sub(middle.cpu?).as_secs_f64();
    let waited =
        after.waited.zip(middle.waited).map(|(after, middle)| after.saturating_sub(middle));
    let dropped = run.kernel_dropped_measured.unwrap_or(0);
    let reached = run.measured.datagrams.saturating_sub(dropped) as f64;
    // Which datagrams were dropped is not known, so their lines count by the mean.
    let lines = run.measured.lines as f64 * reached / run.measured.datagrams.max(1) as f64;
    (reached > 0.0).then(|| Cpu {
        seconds,
        ns_per_line: seconds * 1e9 / lines,
        ns_per_datagram: seconds * 1e9 / reached,
        waited_seconds: waited.unwrap_or_default().as_secs_f64(),
        percent: spread(percents),
    })
}

fn generator(settings: &RunSettings, sent: &Sent, paced: bool) -> Generator {
    let wall = sent.elapsed.as_secs_f64() * settings.senders as f64;
    Generator {
        cpu_seconds: sent.cpu.as_secs_f64(),
        cpu_percent: 100.0 * sent.cpu.as_secs_f64() / wall.max(f64::MIN_POSITIVE),
        spinning: paced && settings.spin,
        refusals: sent.refusals,
        call: latency(&sent.call),
        late: paced.then(|| latency(&sent.late)),
    }
}

fn latency(nanoseconds: &hdrhistogram::Histogram<u64>) -> Latency {
    let at = |quantile| nanoseconds.value_at_quantile(quantile) as f64 / 1e3;
    Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: nanoseconds.max() as f64 / 1e3 }
}

/// `None` when the server wrote nothing there: it is not one of ours.
fn compare(
    path: &std::path::Path,
    corpus: &Corpus,
    sent: &Tally,
) -> anyhow::Result<Option<FlushCheck>> {
    let Ok(file) = File::open(path) else { return Ok(None) };
    let rows = BufReader::with_capacity(1 << 16, file);
    let check = flush_check::check(rows, corpus.counters(), &sent.counters);
    check
        .map(Some)
        .with_context(|| format!("cannot read what the server flushed ({})", path.display()))
}

/// A directory of ours that goes away with us.
struct ScratchDir(PathBuf);

impl ScratchDir {
    fn create() -> anyhow::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("whippet-bench-{}-{number}", std::process::id()));
        // `create_dir` fails on anything that exists, a planted link included.
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(ScratchDir(path))
    }

    fn rows(&self) -> PathBuf {
        self.0.join("flushed.jsonl")
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's cleaning of its temporary directory.
        let _left = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::corpus::Framing;
    use super::super::shape::Profile;
    use super::*;

    fn corpus() -> Corpus {
        Corpus::write(&Profile::Single.shape(), 1, 1_000, Framing::Bare).unwrap()
    }

    #[test]
    fn senders_begin_apart_and_go_on_where_they_stopped() {
        let corpus = corpus();
        let starts = starts(&corpus, 4);
        assert_eq!(starts, [0, 250, 500, 750]);
        let spans = starts.iter().map(|&start| Span { start, count: 2_300 }).collect::<Vec<_>>();
        assert_eq!(next_starts(&spans, corpus.len()), [300, 550, 800, 50]);
    }

    #[test]
    fn cpu_is_shared_among_what_reached_the_server() {
        let mut run = super::super::report::tests::run();
        run.kernel_dropped_measured = Some(400);
        let time = |seconds| Some(Duration::from_secs(seconds));
        let shot =
            |seconds| Snapshot { cpu: time(seconds), waited: time(9 * seconds), drops: None };
        let cpu = cpu(&run, &shot(1), &shot(3), &[10.0, 20.0, 60.0]).unwrap();
        assert_eq!((cpu.seconds, cpu.waited_seconds), (2.0, 18.0));
        assert_eq!(cpu.ns_per_datagram, 2e9 / 400.0);
        assert_eq!(cpu.ns_per_line, 2e9 / 1_600.0);
        assert_eq!(cpu.percent.unwrap().median, 20.0);
    }

    #[test]
    fn a_server_that_wrote_no_rows_is_not_checked() {
        let nowhere = std::path::Path::new("/nonexistent/flushed.jsonl");
        assert_eq!(compare(nowhere, &corpus(), &Tally::default()).unwrap(), None);
    }

    #[test]
    fn a_scratch_directory_goes_away() {
        let scratch = ScratchDir::create().unwrap();
        let path = scratch.rows();
        fs::write(&path, "x").unwrap();
        drop(scratch);
        assert!(!path.exists() && !path.parent().unwrap().exists());
    }
}
