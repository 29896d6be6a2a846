//! The load generator against the floor, over every transport.
//!
//! The server is this very test program, started again to run one ignored test.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use whippet::bench::{self, BenchArgs, Limit, Report, Run, Target};

/// Flags of the floor for the child process.
const FLAGS: &str = "WHIPPET_FLOOR_FLAGS";

#[derive(Parser)]
struct Bench {
    #[command(flatten)]
    args: BenchArgs,
}

/// A command line that serves with `flags` until SIGTERM.
fn floor(flags: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let program = program.display();
    format!(
        "env {FLAGS}='floor --target {{target}} {flags}' '{program}' --ignored --exact bench_tests::serves --nocapture"
    )
}

#[test]
#[ignore = "is the child of the tests beside it"]
fn serves() {
    let flags = std::env::var(FLAGS).expect("is started by the tests beside it");
    crate::serve::serve(&crate::Args::parse_from(flags.split_ascii_whitespace())).unwrap();
}

pub fn drive(target: &str, flags: &[&str]) -> Report {
    let all = ["bench", "--no-pin", "--warmup", "0", "--target", target];
    bench::measure(Bench::parse_from(all.iter().chain(flags)).args, Arc::default()).unwrap()
}

/// Sends about `lines` lines of `profile` and returns the run.
#[track_caller]
fn run(target: &str, profile: &str, lines: &str, flags: &str) -> Run {
    let server = floor(flags);
    let flags = ["--profile", profile, "--total", lines, "--server", &server];
    let mut report = drive(target, &flags);
    assert_eq!(report.runs.len(), 1);
    let run = report.runs.remove(0);
    assert!(run.measured.datagrams >= 3_000, "{:?}", run.measured);
    assert!(run.start_ms.is_some_and(|ms| ms > 0.0 && ms < 10_000.0), "{:?}", run.start_ms);
    let cpu = run.cpu.expect("the server's CPU is known");
    assert!(cpu.seconds > 0.0 && cpu.ns_per_line > 0.0, "{cpu:?}");
    assert!(run.memory.is_some_and(|m| m.rss_bytes > 0 && m.peak_bytes >= m.rss_bytes / 2));
    run
}

fn all_received(run: &Run) {
    let counts = run.server_counts.expect("the floor prints its line counts");
    assert_eq!(counts.received, run.sent.lines, "{run:#?}");
    assert_eq!((counts.recorded, counts.refused), (counts.received, 0));
    assert_eq!(run.kernel_dropped, Some(0));
}

fn in_directory(test: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    test(&directory.path().join("s"));
}

#[test]
fn every_line_arrives_over_a_unix_datagram_socket() {
    in_directory(|path| {
        all_received(&run(&format!("unixgram://{}", path.display()), "packed", "70k", ""));
    });
}

#[test]
fn every_line_arrives_over_a_unix_stream() {
    in_directory(|path| {
        all_received(&run(&format!("unixstream://{}", path.display()), "packed", "70k", ""));
    });
}

#[test]
fn every_line_arrives_over_tcp() {
    all_received(&run("tcp://127.0.0.1:0", "packed", "70k", ""));
}

#[test]
fn every_line_of_the_realistic_load_is_understood() {
    in_directory(|path| {
        all_received(&run(&format!("unixgram://{}", path.display()), "realistic", "14k", ""));
    });
}

#[test]
fn over_udp_what_was_sent_was_received_or_dropped_by_the_kernel() {
    for flags in ["", "--pause-ms 1", "--wake poll"] {
        // One line in each datagram, and a buffer that overflows.
        let run =
            run("udp://127.0.0.1:0", "single", "20k", &format!("{flags} --receive-buffer 4096"));
        let received = run.server_counts.expect("the floor prints its line counts").received;
        let dropped = run.kernel_dropped.expect("the socket is on this machine");
        assert_eq!(received + dropped, run.sent.lines, "{flags}: {run:#?}");
    }
}

#[test]
fn two_servers_are_measured_in_turn_and_compared_pair_by_pair() {
    in_directory(|path| {
        let (work, discard) = (floor("--mode work"), floor("--mode discard"));
        let flags = ["--total", "100k", "--rounds", "2", "--server", &work, "--vs", &discard];
        let report = drive(&format!("unixgram://{}", path.display()), &flags);
        let servers: Vec<_> =
            report.runs.iter().map(|run| (run.round, run.server_counts.is_some())).collect();
        assert_eq!(
            servers,
            [(1, true), (1, false), (2, true), (2, false)],
            "discard counts no lines"
        );
        let versus = report.versus.unwrap();
        assert_eq!(versus.pairs.len(), 2);
        for (pair, runs) in versus.pairs.iter().zip(report.runs.chunks(2)) {
            let ratio = runs[0].cpu.unwrap().seconds / runs[1].cpu.unwrap().seconds;
            assert!((pair.ratio - ratio).abs() < 1e-9, "{pair:?} is not {ratio}");
        }
    });
}

#[test]
fn the_rate_search_ends_at_a_rate_without_loss() {
    in_directory(|path| {
        let server = floor("--mode work");
        let flags = ["--find-max-rate", "--rate", "1G", "--duration", "0.05", "--server", &server];
        assert!(
            Bench::try_parse_from(["bench"].iter().chain(&flags)).is_err(),
            "1G is not a number"
        );
        let flags =
            ["--find-max-rate", "--rate", "500M", "--duration", "0.05", "--server", &server];
        let report = drive(&format!("unixgram://{}", path.display()), &flags);
        let found = report.rate_search.unwrap();
        assert_eq!(found.steps[0].lines_per_second, 5e8);
        assert_ne!(found.steps[0].limit, Limit::None, "nothing sends 500 million lines a second");
        let held = found.steps.iter().filter(|step| step.limit == Limit::None);
        let highest = held.map(|step| step.lines_per_second).fold(0.0, f64::max);
        assert_eq!(found.lines_per_second.unwrap_or(0.0), highest);
        assert_eq!(report.runs.len(), found.steps.len());
    });
}

#[test]
fn an_interrupted_run_stops_its_server() {
    let target = "udp://127.0.0.1:0".parse::<Target>().unwrap().with_free_port().unwrap();
    let (address, server) = (target.to_string(), floor("--mode discard"));
    let flags = ["bench", "--no-pin", "--target", &address, "--server", &server];
    let interrupted = Arc::new(AtomicBool::new(true));
    let error = bench::measure(Bench::parse_from(flags).args, interrupted).unwrap_err();
    assert_eq!(error.to_string(), "interrupted");
    assert!(!bench::is_bound(&target), "the server is still there");
}
