//! The load generator behind `whippet bench`: it sends a known load to any statsd server and reports
//! what the server did with it.
//!
//! - The same seed sends the same bytes, and the totals of what was sent are exact.
//! - The schedule is open-loop: a slow server does not slow it down.
//! - Other machines are targets only with `--allow-remote`.
//! - A result that cannot be trusted carries a warning that says why.
//!
//! Steps of a run: `args` → `shape` → `contexts` → `corpus` (all before the first datagram) →
//! `server` started → `sender` follows its `pace` → `run` and `phase` measure → `flush_check`
//! compares → `validity` → `render`.

mod args;
mod contexts;
mod corpus;
mod flush_check;
mod pace;
mod phase;
mod procfs;
mod random;
mod rate_search;
mod render;
mod report;
mod run;
mod run_settings;
mod sender;
mod sent_sums;
mod server;
mod server_counts;
mod shape;
mod sys;
mod target;
mod validity;

use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

pub use args::{BenchArgs, LoadArgs};
pub use corpus::{Corpus, Framing, Span};
pub use report::{Limit, Report, Run, spread};
pub use server::is_bound;
pub use sys::{process_cpu, thread_cpu};
pub use target::Target;
pub use validity::sums_differ;

use report::{Load, Machine, Pair, Versus};
use run_settings::RunSettings;

/// Rate of the first step of `--find-max-rate` in lines per second.
const SEARCH_START: f64 = 50_000.0;

/// Seconds measured.
const DURATION: f64 = 10.0;

/// Seconds measured on each step of `--find-max-rate`.
const SEARCH_DURATION: f64 = 3.0;

/// Pairs measured with `--vs`: the median of an odd number is a run that happened.
const PAIRS: u16 = 5;

/// Runs `whippet bench` and prints its report. Returns the exit code: 0 when everything was
/// measured, 2 when a run flushed other sums than were sent although nothing was dropped.
///
/// # Errors
/// When the load cannot be generated or sent, or a server does not start.
pub fn run(args: BenchArgs) -> anyhow::Result<i32> {
    let json = args.json;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The first one stops the servers and cleans up, a second one exits now.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))?;
        flag::register(signal, Arc::clone(&interrupted))?;
    }
    let report = measure(args, interrupted)?;
    let differs = report.runs.iter().any(validity::sums_differ);
    let text = if json {
        let mut text = serde_json::to_string_pretty(&report).context("cannot write the report")?;
        text.push('\n');
        text
    } else {
        render::text(&report)
    };
    std::io::stdout().lock().write_all(text.as_bytes()).context("cannot print the report")?;
    Ok(if differs { 2 } else { 0 })
}

/// Does what the flags say, without printing, until done or `interrupted` is set.
///
/// # Errors
/// When the load cannot be generated or sent, a server does not start, or it was interrupted.
pub fn measure(args: BenchArgs, interrupted: Arc<AtomicBool>) -> anyhow::Result<Report> {
    let target = args.target.clone().with_free_port().context("no free port")?;
    let corpus = args.load.corpus(target.framing()).context("cannot generate this load")?;
    let per_datagram = corpus.lines_per_datagram();
    let rate = args.rate.or(args.datagram_rate.map(|datagrams| datagrams * per_datagram));
    let duration = if args.find_max_rate { SEARCH_DURATION } else { DURATION };
    let (server_cpus, generator_cpus) = processors(&args);
    let settings = RunSettings {
        duration: Duration::try_from_secs_f64(args.duration.unwrap_or(duration))
            .context("--duration is too long")?,
        warmup: Duration::try_from_secs_f64(args.warmup).context("--warmup is too long")?,
        datagrams_max: args.total.map(|lines| (lines / per_datagram).ceil() as u64),
        senders: usize::from(args.senders),
        batch: usize::from(args.batch),
        spin: generator_cpus.len() >= usize::from(args.senders),
        server_cpus,
        generator_cpus,
        check: !args.no_check,
        linger: Duration::try_from_secs_f64(args.linger).context("--linger is too long")?,
        sent: args.sent.clone(),
        remote: args.allow_remote,
        target,
        corpus,
        interrupted,
    };
    let machine = machine(&settings);
    if !settings.generator_cpus.is_empty() {
        // Whatever this thread starts from here on stays off the server's processors too.
        sys::pin(&settings.generator_cpus).context("cannot pin the generator; see --no-pin")?;
    }
    let mut report = Report {
        schema: report::SCHEMA,
        whippet: env!("CARGO_PKG_VERSION"),
        machine,
        load: load(&args, &settings, rate),
        runs: Vec::new(),
        versus: None,
        rate_search: None,
    };
    let server = args.server.as_deref();
    match (&args.vs, args.find_max_rate) {
        (_, true) => {
            let start = rate.unwrap_or(SEARCH_START);
            let (found, runs) = rate_search::search(start, |rate, round| {
                run::measure(&settings, server, Some(rate), round)
            })?;
            (report.rate_search, report.runs) = (Some(found), runs);
        }
        (Some(vs), false) => {
            for round in 1..=usize::from(args.rounds.unwrap_or(PAIRS)) {
                report.runs.push(run::measure(&settings, server, rate, round)?);
                report.runs.push(run::measure(&settings, Some(vs), rate, round)?);
            }
            report.versus = versus(vs, &report.runs);
        }
        (None, false) => {
            for round in 1..=usize::from(args.rounds.unwrap_or(1)) {
                report.runs.push(run::measure(&settings, server, rate, round)?);
            }
        }
    }
    Ok(report)
}

/// Runs alternate: first server, second server, first, second.
fn versus(vs: &str, runs: &[Run]) -> Option<Versus> {
    let pairs: Vec<Pair> = runs
        .chunks_exact(2)
        .filter_map(|pair| {
            let (server, vs) = (pair[0].cpu?.ns_per_line, pair[1].cpu?.ns_per_line);
            Some(Pair { server_ns_per_line: server, vs_ns_per_line: vs, ratio: server / vs })
        })
        .collect();
    let of = |field: fn(&Pair) -> f64| spread(&pairs.iter().map(field).collect::<Vec<_>>());
    Some(Versus {
        vs: vs.to_owned(),
        ratio: of(|pair| pair.ratio)?,
        server_ns_per_line: of(|pair| pair.server_ns_per_line)?.median,
        vs_ns_per_line: of(|pair| pair.vs_ns_per_line)?.median,
        pairs,
    })
}

/// The processors of server and generator: apart where there are two, not pinned where there is
/// one, or where nothing is started that could be pinned.
fn processors(args: &BenchArgs) -> (Vec<usize>, Vec<usize>) {
    let allowed = sys::allowed_cpus();
    if args.no_pin || allowed.len() < 2 {
        return (args.server_cpus.clone(), args.generator_cpus.clone());
    }
    let server = match (&args.server_cpus[..], &args.server) {
        ([], None) => Vec::new(),
        ([], Some(_)) => {
            let free = allowed.iter().find(|cpu| !args.generator_cpus.contains(cpu));
            free.copied().into_iter().collect()
        }
        (given, _) => given.to_vec(),
    };
    let generator = match &args.generator_cpus[..] {
        [] => allowed.into_iter().filter(|cpu| !server.contains(cpu)).collect(),
        given => given.to_vec(),
    };
    (server, generator)
}

fn machine(settings: &RunSettings) -> Machine {
    let read = |path| fs::read_to_string(path).ok().map(|text: String| text.trim().to_owned());
    let processor = read("/proc/cpuinfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    Machine {
        processor,
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        kernel: read("/proc/sys/kernel/osrelease"),
        rmem_max: read("/proc/sys/net/core/rmem_max").and_then(|text| text.parse().ok()),
        server_cpus: settings.server_cpus.clone(),
        generator_cpus: settings.generator_cpus.clone(),
    }
}

fn load(args: &BenchArgs, settings: &RunSettings, rate: Option<f64>) -> Load {
    let corpus = &settings.corpus;
    let block = corpus.tally(&[Span { start: 0, count: corpus.len() as u64 }]).traffic;
    let prefixes = block.datagrams * settings.target.framing().prefix_bytes() as u64;
    Load {
        target: settings.target.to_string(),
        profile: args
            .load
            .profile
            .to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned()),
        seed: args.load.seed,
        kinds: args.load.shape().kinds.to_string(),
        contexts: corpus.contexts(),
        block_datagrams: corpus.len(),
        bytes_per_line: (block.bytes - prefixes) as f64 / block.lines.max(1) as f64,
        lines_per_datagram: corpus.lines_per_datagram(),
        senders: settings.senders,
        lines_per_second: rate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_pair_by_pair_and_a_run_without_cpu_takes_its_pair_out() {
        let with = |ns: Option<f64>| {
            let mut run = report::tests::run();
            run.cpu = run.cpu.zip(ns).map(|(cpu, ns)| report::Cpu { ns_per_line: ns, ..cpu });
            run
        };
        let ns = [
            Some(10.0),
            Some(20.0),
            Some(30.0),
            Some(20.0),
            None,
            Some(1.0),
            Some(20.0),
            Some(20.0),
        ];
        let runs: Vec<Run> = ns.into_iter().map(with).collect();
        let versus = versus("other", &runs).unwrap();
        let ratios: Vec<f64> = versus.pairs.iter().map(|pair| pair.ratio).collect();
        assert_eq!(ratios, [0.5, 1.5, 1.0]);
        assert_eq!(versus.ratio, report::Spread { min: 0.5, median: 1.0, max: 1.5 });
        assert_eq!((versus.server_ns_per_line, versus.vs_ns_per_line), (20.0, 20.0));
        assert!(super::versus("other", &runs[..1]).is_none());
    }
}
