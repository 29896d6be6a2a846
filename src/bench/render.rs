//! The report as text: figures aligned, warnings last.

use std::fmt::Write as _;

use super::report::{Latency, Limit, RateSearch, Report, Run, Versus};

/// Adds a line; writing to a string cannot fail.
macro_rules! line {
    ($out:expr, $($text:tt)*) => {{
        let _infallible = writeln!($out, $($text)*);
    }};
}

/// The whole report. Nothing in it is coloured: it is copied into tickets.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    head(&mut out, report);
    // A single run is printed in full; several are one line each.
    if report.runs.len() == 1 {
        report.runs.iter().for_each(|run| whole(&mut out, run));
    } else {
        let vs = report.versus.as_ref().map(|versus| versus.vs.as_str());
        let server = report.runs.first().and_then(|run| run.server.as_deref());
        line!(out, "A         {}", server.unwrap_or("the running server"));
        vs.iter().for_each(|vs| line!(out, "B         {vs}"));
        for (index, run) in report.runs.iter().enumerate() {
            // With two servers the runs alternate.
            short(&mut out, run, if vs.is_some() && index % 2 == 1 { 'B' } else { 'A' });
        }
        warnings(&mut out, report);
    }
    if let Some(versus) = &report.versus {
        pairs(&mut out, versus);
    }
    if let Some(found) = &report.rate_search {
        max_rate(&mut out, found);
    }
    out
}

fn head(out: &mut String, report: &Report) {
    let (machine, load) = (&report.machine, &report.load);
    let rate = match (load.lines_per_second, &report.rate_search) {
        (_, Some(_)) => "at rising rates".to_owned(),
        (Some(rate), None) => format!("{} lines/s", grouped(rate)),
        (None, None) => "unlimited rate".to_owned(),
    };
    line!(
        out,
        "load      {} to {}, {rate}, {} sender(s), seed {}",
        load.profile,
        load.target,
        load.senders,
        load.seed
    );
    line!(
        out,
        "          {} contexts, kinds {}, {:.1} B per line, {:.1} lines per datagram",
        grouped(load.contexts as f64),
        load.kinds,
        load.bytes_per_line,
        load.lines_per_datagram
    );
    let pinned = if machine.server_cpus.is_empty() && machine.generator_cpus.is_empty() {
        "not pinned".to_owned()
    } else {
        format!("server on {:?}, generator on {:?}", machine.server_cpus, machine.generator_cpus)
    };
    let processor = machine.processor.as_deref().unwrap_or("unknown processor");
    let kernel = machine.kernel.as_deref().unwrap_or("unknown kernel");
    line!(out, "machine   {processor}, {} cpus, {kernel}; {pinned}", machine.cpus);
}

fn whole(out: &mut String, run: &Run) {
    let per_second = |amount: u64| grouped(amount as f64 / run.seconds.max(f64::MIN_POSITIVE));
    let whole = |amount: u64| grouped(amount as f64);
    line!(out, "");
    line!(out, "measured  {:.2} s", run.seconds);
    if let Some(start) = run.start_ms {
        line!(out, "start     {start:.1} ms until the socket was bound");
    }
    line!(out, "offered   {} datagrams", whole(run.offered_datagrams));
    line!(
        out,
        "sent      {} datagrams, {} lines, {} values, {} lines/s, {}/s",
        whole(run.measured.datagrams),
        whole(run.measured.lines),
        whole(run.measured.values),
        per_second(run.measured.lines),
        bytes(run.measured.bytes as f64 / run.seconds.max(f64::MIN_POSITIVE))
    );
    if let Some(cpu) = &run.cpu {
        let percent = 100.0 * cpu.seconds / run.seconds.max(f64::MIN_POSITIVE);
        line!(
            out,
            "cpu       {:.1} ns per line, {:.2} µs per datagram; {:.2} s, {percent:.0} % of a core",
            cpu.ns_per_line,
            cpu.ns_per_datagram / 1e3,
            cpu.seconds
        );
        if let Some(spread) = cpu.percent {
            line!(
                out,
                "          per second {:.0} %, {:.0} %, {:.0} % (min, median, max)",
                spread.min,
                spread.median,
                spread.max
            );
        }
    }
    if let Some(memory) = run.memory {
        line!(
            out,
            "memory    {} resident, {} peak",
            bytes(memory.rss_bytes as f64),
            bytes(memory.peak_bytes as f64)
        );
    }
    latency(out, "send call", run.generator.call);
    if let Some(late) = run.generator.late {
        latency(out, "lateness", late);
    }
    let spinning = if run.generator.spinning { ", busy-waiting between sends" } else { "" };
    line!(out, "generator {:.0} % of a core per sender{spinning}", run.generator.cpu_percent);
    accounting(out, run);
    run.warnings.iter().for_each(|warning| line!(out, "WARNING   {warning}"));
}

/// Lines from the sender to the flush, warm-up included.
fn accounting(out: &mut String, run: &Run) {
    let whole = |amount: u64| grouped(amount as f64);
    let unknown = || "unknown".to_owned();
    line!(out, "");
    line!(out, "totals, warm-up included");
    line!(
        out,
        "  sent           {:>15} lines in {} datagrams",
        whole(run.sent.lines),
        whole(run.sent.datagrams)
    );
    line!(out, "  kernel dropped {:>15} datagrams", run.kernel_dropped.map_or_else(unknown, whole));
    let rows: [(&str, Option<u64>); 4] = [
        ("received", run.server_counts.map(|counts| counts.received)),
        ("recorded", run.server_counts.map(|counts| counts.recorded)),
        ("refused", run.server_counts.map(|counts| counts.refused)),
        ("dropped", run.server_counts.map(|counts| counts.dropped)),
    ];
    for (outcome, lines) in rows {
        line!(out, "  {outcome:<14} {:>15} lines", lines.map_or_else(unknown, whole));
    }
    match &run.check {
        None => line!(out, "  flushed                not checked"),
        Some(check) => line!(
            out,
            "  flushed        {:>15} counted of {} sent; {} of {} series found, {} exact",
            grouped(check.flushed),
            grouped(check.sent),
            whole(check.series_found),
            whole(check.series_sent),
            whole(check.series_exact)
        ),
    }
}

fn short(out: &mut String, run: &Run, server: char) {
    let rate = grouped(run.measured.lines as f64 / run.seconds.max(f64::MIN_POSITIVE));
    let cpu = run.cpu.map_or("cpu unknown".into(), |cpu| format!("{:.1} ns/line", cpu.ns_per_line));
    let dropped = match run.kernel_dropped_measured {
        None => "drops unknown".to_owned(),
        Some(dropped) => {
            let share = 100.0 * dropped as f64 / run.measured.datagrams.max(1) as f64;
            format!("{share:.2} % dropped")
        }
    };
    let sums = match &run.check {
        None => "",
        Some(check) if check.total_exact() => ", sums exact",
        Some(_) => ", sums differ",
    };
    line!(out, "{server} {:<7} {rate:>13} lines/s  {cpu:>18}  {dropped:>15}{sums}", run.round);
}

/// Each warning once, with the number of runs it stands for.
fn warnings(out: &mut String, report: &Report) {
    let mut distinct: Vec<(&str, usize)> = Vec::new();
    for warning in report.runs.iter().flat_map(|run| &run.warnings) {
        // Runs differ in their figures: the words before the first figure are the reason.
        let reason = warning.split(|c: char| c.is_ascii_digit()).next().unwrap_or(warning);
        match distinct.iter_mut().find(|(text, _)| text.starts_with(reason)) {
            Some((_, runs)) => *runs += 1,
            None => distinct.push((warning, 1)),
        }
    }
    for (warning, runs) in distinct {
        line!(out, "WARNING   in {runs} of {} runs, first: {warning}", report.runs.len());
    }
}

fn pairs(out: &mut String, versus: &Versus) {
    line!(out, "");
    for (index, pair) in versus.pairs.iter().enumerate() {
        line!(
            out,
            "pair {:<3} {:>9.1} ns/line vs {:>9.1}: {:.3}",
            index + 1,
            pair.server_ns_per_line,
            pair.vs_ns_per_line,
            pair.ratio
        );
    }
    line!(
        out,
        "median   {:>9.1} ns/line vs {:>9.1}: {:.3} ({:.3} to {:.3}), A / B",
        versus.server_ns_per_line,
        versus.vs_ns_per_line,
        versus.ratio.median,
        versus.ratio.min,
        versus.ratio.max
    );
}

fn max_rate(out: &mut String, found: &RateSearch) {
    let why = match found.limited_by {
        Limit::None => "no limit was found",
        Limit::Loss => "above it lines were lost",
        Limit::BackPressure => "above it the socket blocked the generator",
        Limit::Generator => "above it the generator was the limit, so the server may handle more",
    };
    line!(out, "");
    match found.lines_per_second {
        Some(rate) => line!(out, "highest rate without loss: {} lines/s; {why}", grouped(rate)),
        None => line!(out, "no rate was without loss; {why}"),
    }
}

fn latency(out: &mut String, name: &str, latency: Latency) {
    line!(
        out,
        "{name:<9} p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs, max {:.1} µs",
        latency.p50,
        latency.p99,
        latency.p999,
        latency.max
    );
}

/// A whole number with a comma every three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    if number < -0.5 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(amount: f64) -> String {
    match amount {
        1_073_741_824.0.. => format!("{:.2} GiB", amount / 1_073_741_824.0),
        1_048_576.0.. => format!("{:.1} MiB", amount / 1_048_576.0),
        _ => format!("{:.1} KiB", amount / 1_024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{report, run};
    use super::*;

    #[track_caller]
    fn says(report: &Report, parts: &[&str]) {
        let text = text(report);
        for part in parts {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }

    #[test]
    fn one_run_is_printed_in_full() {
        says(
            &report(),
            &[
                "load      packed to udp://127.0.0.1:8125, at rising rates, 1 sender(s), seed 1",
                "measured  4.00 s",
                "start     12.5 ms until the socket was bound",
                "offered   800 datagrams",
                "sent      800 datagrams, 3,200 lines, 3,200 values, 800 lines/s, 53.1 KiB/s",
                "cpu       68.5 ns per line, 0.27 µs per datagram; 2.00 s, 50 % of a core",
                "per second 40 %, 50 %, 60 %",
                "memory    4.0 MiB resident, 5.0 MiB peak",
                "send call p50 1.5 µs",
                "sent                     4,000 lines in 1,000 datagrams",
                "received                 4,000 lines",
                "recorded                 3,990 lines",
                "refused                     10 lines",
                "12 counted of 12 sent; 2 of 2 series found, 2 exact",
                "WARNING   short",
                "median        68.5 ns/line vs      57.1: 1.200 (1.100 to 1.300), A / B",
                "highest rate without loss: 100,000 lines/s; above it the socket blocked the generator",
            ],
        );
    }

    #[test]
    fn a_rate_is_printed_as_it_was_given() {
        let mut report = Report { rate_search: None, ..report() };
        says(&report, &["8125, 800 lines/s, 1"]);
        report.load.lines_per_second = None;
        says(&report, &["8125, unlimited rate, 1"]);
    }

    #[test]
    fn what_is_unknown_is_said_to_be() {
        let blind = Run {
            server_counts: None,
            cpu: None,
            check: None,
            kernel_dropped: None,
            kernel_dropped_measured: None,
            ..run()
        };
        says(
            &Report { runs: vec![blind.clone()], ..report() },
            &["kernel dropped         unknown", "received               unknown", "not checked"],
        );
        says(
            &Report { runs: vec![blind.clone(), blind], ..report() },
            &["cpu unknown", "drops unknown"],
        );
    }

    #[test]
    fn many_runs_share_a_warning() {
        let warn = |text: &str| Run { warnings: vec![text.to_owned()], ..run() };
        let runs = vec![
            warn("the kernel dropped 5 datagrams"),
            warn("the kernel dropped 6 datagrams"),
            run(),
        ];
        says(
            &Report { runs, ..report() },
            &[
                "in 2 of 3 runs, first: the kernel dropped 5 datagrams",
                "in 1 of 3 runs, first: short",
                "sums exact",
                "A         whippet run",
                "B         other",
                "B 1 ",
            ],
        );
    }

    #[test]
    fn numbers_are_grouped() {
        let grouped: Vec<String> =
            [0.0, 999.0, 1_000.0, 1_234_567.4, -5_000.0].map(grouped).to_vec();
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567", "-5,000"]);
        assert_eq!(bytes(2.5 * 1_073_741_824.0), "2.50 GiB");
    }
}
