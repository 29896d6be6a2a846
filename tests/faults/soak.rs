//! A bounded run with everything at once: mixed load over three transports, an intake that fails
//! in every way, reloads, SIGTERM in the middle of an outage, a restart. Memory must stand still,
//! counts must balance, totals must be conserved.
//!
//! `SOAK_MINUTES` (30), `WHIPPET` (the build to run), `SOAK_REPORT` (a file for the report).

use super::setup::{Spooled, to_intake};
use crate::support::intake::{Answer, Intake};
use crate::support::program::{Ended, Program, eventually, frame};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Numbers that look random and are the same in every run (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What was sent, per transport and in all.
#[derive(Default)]
struct Sent {
    counters: [AtomicU64; 3],
    values: AtomicU64,
    bad: AtomicU64,
    lines: AtomicU64,
}

const TRANSPORTS: [&str; 3] = ["udp", "unix", "stream"];

/// A datagram of mixed lines; the first is the counter that is added up.
fn datagram(transport: usize, number: u64, sent: &Sent, chance: &mut Chance) -> String {
    let name = TRANSPORTS[transport];
    let host = chance.below(50);
    // A pod lives for some minutes, then another takes its place.
    let pod = number / 20_000 * 30 + chance.below(30);
    let mut text = format!("soak.{name}:1|c|#host_number:{host},pod:{pod}\n");
    let _ = match chance.below(8) {
        0 => write!(text, "soak.gauge:{number}|g|#host_number:{host}"),
        1 => write!(text, "soak.set:{}|s|#pod:{pod}", chance.below(5000)),
        2 => write!(text, "soak.histogram:{}|h|#host_number:{host}", chance.below(1000)),
        3 => write!(text, "soak.timing:{}|ms|@0.5|#pod:{pod}", chance.below(1000)),
        4 => write!(text, "soak.bad:{number}|nonsense"),
        5 if number % 500 == 5 => write!(text, "_e{{5,4}}:title|text|#pod:{pod}"),
        5 if number.is_multiple_of(20) => {
            write!(text, "_sc|soak.check|{}|#pod:{pod}", chance.below(4))
        }
        _ => write!(text, "soak.distribution:{}:{}|d|#pod:{pod}", number % 97, host),
    };
    sent.counters[transport].fetch_add(1, Ordering::Relaxed);
    sent.lines.fetch_add(2, Ordering::Relaxed);
    sent.bad.fetch_add(u64::from(text.contains("nonsense")), Ordering::Relaxed);
    sent.values.fetch_add(2 * u64::from(text.contains("|d|")), Ordering::Relaxed);
    text
}

/// Sends over one transport, at a thousand datagrams a second, until stopped.
fn load(process: &Program, transport: usize, sent: &Sent, stop: &AtomicBool) {
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15 + transport as u64);
    let (udp, unix) = (UdpSocket::bind("127.0.0.1:0").expect("loopback"), process.unix());
    udp.connect(process.udp_address()).expect("an address");
    let mut stream = process.stream();
    let (started, mut number) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        while number < started.elapsed().as_millis() as u64 {
            let text = datagram(transport, number, sent, &mut chance);
            match transport {
                0 => assert_eq!(udp.send(text.as_bytes()).expect("sent"), text.len()),
                1 => assert_eq!(unix.send(text.as_bytes()).expect("sent"), text.len()),
                _ => {
                    if number % 10_000 == 9_999 {
                        stream = process.stream();
                    }
                    stream.write_all(&frame(&text)).expect("sent");
                }
            }
            number += 1;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Turns the intake bad and good again, a few seconds each, until stopped.
fn trouble(intake: &Intake, stop: &AtomicBool, troubles_made: &mut Vec<&'static str>) {
    let mut chance = Chance(0xD1B5_4A32_D192_ED03);
    let pause = |seconds: u64| {
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
    };
    while !stop.load(Ordering::Relaxed) {
        let (name, answer) = match chance.below(9) {
            0 => ("503", Answer::status(503)),
            1 => ("500", Answer::status(500)),
            2 => ("408", Answer::status(408)),
            3 => ("429", Answer::status(429).header("Retry-After", "2")),
            4 => ("403", Answer::status(403)),
            5 => ("413", Answer::status(413)),
            6 => ("cut", Answer::cut()),
            7 => ("cut within", Answer::cut_within()),
            _ => ("slow", Answer::status(202).after(Duration::from_millis(300))),
        };
        troubles_made.push(name);
        intake.respond(answer);
        // A 413 for everything takes payloads apart down to single items, which it then loses.
        pause(if name == "413" { 0 } else { 5 + chance.below(15) });
        if name == "413" {
            intake.respond(Answer::status(202));
            intake.script([Answer::status(413)]);
        }
        intake.respond(Answer::status(202));
        pause(10 + chance.below(20));
    }
}

fn median(samples: &[u64]) -> u64 {
    let mut samples = samples.to_vec();
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

fn counted(intake: &Intake, transport: usize) -> u64 {
    let name = format!("soak.{}", TRANSPORTS[transport]);
    // Rates are sums over ten; together they are whole again.
    intake.read(|state| state.sum_of_counter(&name, &[])).round() as u64
}

#[test]
#[ignore = "half an hour: make soak"]
fn soak() {
    let minutes = std::env::var("SOAK_MINUTES").ok().and_then(|text| text.parse::<f64>().ok());
    let time = Duration::from_secs_f64(minutes.unwrap_or(30.0) * 60.0);
    let intake = Intake::start();
    let mut setup = to_intake(&intake)
        .spooling(20_000)
        .set("interval", "10s")
        .set("dogstatsd_context_expiry_seconds", 20)
        .set("forwarder_backoff_base", 0.5)
        .set("forwarder_backoff_max", 8);
    let mut process = setup.start();
    let (sent, stop, mut troubles_made, mut reloads) =
        (Sent::default(), AtomicBool::new(false), Vec::new(), 0);
    let mut samples = Vec::new();
    let started = Instant::now();
    thread::scope(|scope| {
        let (intake, sent, stop, troubles_made) = (&intake, &sent, &stop, &mut troubles_made);
        let loads: Vec<_> = {
            let process = &process;
            let spawn = |transport| scope.spawn(move || load(process, transport, sent, stop));
            (0..3).map(spawn).collect()
        };
        let troubles = scope.spawn(move || trouble(intake, stop, troubles_made));
        while started.elapsed() < time && !loads.iter().any(|load| load.is_finished()) {
            samples.push(rss_of(process.pid()));
            if samples.len() % 60 == 30 {
                setup.change("dogstatsd_tags", format!("[generation:{reloads}]"));
                setup.write();
                process.signal("HUP");
                reloads += 1;
            }
            thread::sleep(Duration::from_secs(1));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(troubles.join().is_ok());
    });
    let load_time = started.elapsed();
    let cpu = process.cpu();
    // The end comes in the middle of an outage, and the next run delivers.
    intake.respond(Answer::status(503));
    process.unix_datagram("soak.unix:1|c");
    sent.counters[1].fetch_add(1, Ordering::Relaxed);
    sent.lines.fetch_add(1, Ordering::Relaxed);
    let rss_max = samples.iter().copied().max().unwrap_or_default();
    process.rss();
    let first = process.terminate();
    let on_disk = setup.records();
    intake.respond(Answer::status(202));
    let process = setup.start();
    eventually(Duration::from_secs(60), "an empty spool", || setup.records() == 0);
    let second = process.terminate();
    let sixth = samples.len() / 6;
    let early = median(&samples[sixth..2 * sixth]);
    let late = median(&samples[5 * sixth..]);
    let report = report(&Run {
        load_time,
        cpu,
        early,
        late,
        rss_max,
        on_disk,
        reloads,
        troubles_made,
        sent,
        first,
        second,
        intake,
    });
    println!("{report}");
    if let Some(path) = std::env::var_os("SOAK_REPORT") {
        std::fs::write(path, &report).expect("a writable file");
    }
    assert!(report.contains("Verdict: held"), "{report}");
}

fn rss_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

struct Run {
    load_time: Duration,
    cpu: Duration,
    early: u64,
    late: u64,
    rss_max: u64,
    on_disk: usize,
    reloads: u64,
    troubles_made: Vec<&'static str>,
    sent: Sent,
    first: Ended,
    second: Ended,
    intake: Intake,
}

fn report(run: &Run) -> String {
    let mut text = String::new();
    let mut failures: Vec<String> = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            failures.push(what.to_owned());
        }
    };
    let drift = (run.late as f64 / run.early as f64 - 1.0) * 100.0;
    check(drift.abs() <= 5.0, "memory stands still");
    let (lines, payloads, points) = (run.first.lines(), run.first.payloads(), run.first.points());
    for counts in [payloads, points, run.second.payloads(), run.second.points()] {
        let sum = counts.delivered + counts.waiting + counts.dropped;
        check(counts.built == sum, "an equation of payloads holds");
    }
    let (all, bad) = (run.sent.lines.load(Ordering::Relaxed), run.sent.bad.load(Ordering::Relaxed));
    let sum = lines.recorded + lines.refused + lines.dropped;
    check(lines.received == sum, "the equation of lines holds");
    check(lines.received == all, "every line is received");
    check(
        (lines.recorded, lines.refused, lines.dropped) == (all - bad, bad, 0),
        "bad lines are refused, no other",
    );
    check(payloads.dropped + run.second.payloads().dropped == 0, "no payload is dropped");
    let _ = writeln!(
        text,
        "{:.0} s of load, {} faults of the intake, {} reloads, {:.1} s of processor time.\n",
        run.load_time.as_secs_f64(),
        run.troubles_made.len(),
        run.reloads,
        run.cpu.as_secs_f64()
    );
    let _ = writeln!(text, "| what | sent | at the intake | lost |\n|---|---|---|---|");
    for (transport, name) in TRANSPORTS.iter().enumerate() {
        let sent = run.sent.counters[transport].load(Ordering::Relaxed);
        let counted = counted(&run.intake, transport);
        check(sent == counted, "totals are conserved");
        let lost = sent as i64 - counted as i64;
        let _ = writeln!(text, "| counter over {name} | {sent} | {counted} | {lost} |");
    }
    let values = run.sent.values.load(Ordering::Relaxed);
    let counted = run.intake.read(|state| state.count_of_sketches("soak.distribution", &[])) as u64;
    check(values == counted, "distributions are conserved");
    let lost = values as i64 - counted as i64;
    let _ = writeln!(text, "| values of distributions | {values} | {counted} | {lost} |");
    let _ = writeln!(
        text,
        "\nResident memory: median {} KiB from 1/6 to 1/3 of the time, {} KiB in the last sixth \
         ({drift:+.1} %), at most {} KiB.",
        run.early, run.late, run.rss_max
    );
    let last = |ended: &Ended, beginning: &str| {
        let line = ended.stderr.lines().rev().find(|line| line.starts_with(beginning));
        line.unwrap_or_default().to_owned()
    };
    let _ = writeln!(
        text,
        "\nAt SIGTERM, the intake answering 503 ({} payloads on disk):\n\n```\n{}\n{}\n```\n\nThe run \
         after it:\n\n```\n{}\n```\n\nFaults: {}.\n",
        run.on_disk,
        last(&run.first, "lines "),
        last(&run.first, "payloads "),
        last(&run.second, "payloads "),
        run.troubles_made.join(", ")
    );
    if failures.is_empty() {
        let _ = writeln!(text, "Verdict: held.");
    } else {
        let _ = writeln!(text, "Verdict: did not hold: {}.", failures.join("; "));
    }
    text
}
