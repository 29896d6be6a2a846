//! Too much: contexts without end, bad lines without end. Memory and log stay bounded, everything
//! is counted, and the flood leaves nothing behind.

use super::setup::{figure, to_intake};
use crate::support::intake::{Intake, State};
use crate::support::program::{Program, Setup, eventually};
use std::fmt::Write;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::{Duration, Instant};

/// Everything that was counted under that name, by whatever context, and under the name that all
/// names fold into.
fn sum(state: &State, name: &str) -> f64 {
    state.sum_of_counter(name, &[])
}

/// Sends counters `name:1|c|#key:FROM..TO`, twenty a datagram.
fn send_contexts(socket: &UnixDatagram, name: &str, numbers: std::ops::Range<u64>) {
    let mut datagram = String::new();
    for number in numbers.clone() {
        write!(datagram, "{name}:1|c|#request_id:{number:08x}").expect("a string");
        if number % 20 == 19 || number + 1 == numbers.end {
            socket.send(datagram.as_bytes()).expect("sent");
            datagram.clear();
        } else {
            datagram.push('\n');
        }
    }
}

/// What a flood of contexts did.
struct Flooded {
    rss_before: u64,
    rss_max: u64,
    rss_after: u64,
    seconds: f64,
    log: String,
}

/// Floods a server of `cap` contexts with `contexts` of them, sends one well-behaved line each
/// tenth of a second, and checks that nothing is lost, then that new contexts are taken again.
fn flood(setup: &Setup, intake: &Intake, contexts: u64) -> Flooded {
    let mut process = setup.start();
    process.unix_datagram("polite:1|c");
    eventually(Duration::from_secs(20), "the first line", || {
        intake.read(|state| sum(state, "polite")) == 1.0
    });
    let rss_before = process.rss();
    let (socket, started) = (process.unix(), Instant::now());
    let mut polite = 1.0;
    for (step, from) in (0..contexts).step_by(2000).enumerate() {
        send_contexts(&socket, "bomb", from..(from + 2000).min(contexts));
        socket.send(b"polite:1|c").expect("sent");
        polite += 1.0;
        process.rss();
        // A million in ten seconds, when the machine lets us.
        let due = Duration::from_millis(20) * (step as u32 + 1);
        thread::sleep(due.saturating_sub(started.elapsed()));
    }
    let seconds = started.elapsed().as_secs_f64();
    answers(&process, polite, intake);
    eventually(Duration::from_secs(120), "every line of the flood", || {
        process.rss();
        intake.read(|state| sum(state, "bomb")) == contexts as f64
    });
    let folded = intake.read(|state| state.sum_of_counter("bomb", &["whippet.overflow:true"]));
    assert!(folded > 0.0, "nothing was folded");
    recovers(&process, intake);
    let (rss_after, rss_max) = (process.rss(), process.rss_max());
    let ended = process.terminate();
    let (lines, payloads) = ended.balances();
    assert_eq!((lines.refused, lines.dropped, payloads.dropped), (0, 0, 0), "{}", ended.stderr);
    Flooded { rss_before, rss_max, rss_after, seconds, log: ended.stderr }
}

/// A context from before the flood was never folded.
fn answers(process: &Program, polite: f64, intake: &Intake) {
    process.unix_datagram("polite:1|c");
    eventually(Duration::from_secs(120), "the polite lines", || {
        intake.read(|state| sum(state, "polite")) == polite + 1.0
    });
}

/// New contexts are their own again when the flood has expired.
fn recovers(process: &Program, intake: &Intake) {
    let mut number = 0;
    eventually(Duration::from_secs(120), "a context of its own after the flood", || {
        number += 1;
        process.unix_datagram(format!("after:1|c|#number:{number}"));
        thread::sleep(Duration::from_millis(500));
        let is_own = |tag: &String| tag.starts_with("number:");
        intake
            .read(|state| state.series("after", &[]).iter().any(|one| one.tags.iter().any(is_own)))
    });
}

#[test]
fn past_the_cap_a_flood_of_contexts_folds_and_leaves_nothing_behind() {
    let intake = Intake::start();
    let setup = to_intake(&intake)
        .set("contexts_max", 2000)
        .set("dogstatsd_context_expiry_seconds", 2)
        .set("dogstatsd_expiry_seconds", 2);
    let flooded = flood(&setup, &intake, 30_000);
    // 30,000 contexts of their own would need several times this.
    let grown = flooded.rss_max.saturating_sub(flooded.rss_before);
    assert!(grown < 24 << 20, "grown by {} KiB\n{}", grown >> 10, flooded.log);
}

#[test]
#[ignore = "a minute: make faults"]
fn a_million_contexts_in_ten_seconds_stay_within_a_hundred_thousand() {
    let intake = Intake::start();
    let setup = to_intake(&intake)
        .set("contexts_max", 100_000)
        .set("interval", "5s")
        .set("dogstatsd_context_expiry_seconds", 10)
        .set("dogstatsd_expiry_seconds", 10)
        .set("forwarder_timeout", 20);
    let flooded = flood(&setup, &intake, 1_000_000);
    assert!(flooded.rss_max < 300 << 20, "{} MiB", flooded.rss_max >> 20);
    figure(
        "1,000,000 contexts under contexts_max 100,000",
        format!(
            "sent in {:.1} s | all counted, most under whippet.overflow:true | 0 lost; RSS {} MiB before, {} MiB at most, {} MiB after",
            flooded.seconds,
            flooded.rss_before >> 20,
            flooded.rss_max >> 20,
            flooded.rss_after >> 20
        ),
    );
}

#[test]
fn a_flood_of_bad_lines_is_no_flood_of_logs() {
    let intake = Intake::start();
    let setup = to_intake(&intake).set("dogstatsd_buffer_size", 512);
    let process = setup.start();
    let socket = process.unix();
    let bad = ["x", "x:1", "x:|c", ":1|c", "x:y|g", "_e{1,1}:a", "_sc|x|9", "x:1|c|@z", "x:1|q"];
    let (mut sent, started) = (0, Instant::now());
    while started.elapsed() < Duration::from_secs(3) {
        for number in 0..200_u64 {
            let line = bad[number as usize % bad.len()];
            socket.send(format!("{line}\nname.{sent}.{number}\nc:1|c").as_bytes()).expect("sent");
        }
        sent += 200;
        let mut stream = process.stream();
        std::io::Write::write_all(&mut stream, &u32::MAX.to_le_bytes()).expect("sent");
    }
    eventually(Duration::from_secs(20), "the good lines", || {
        intake.read(|state| sum(state, "c")) == sent as f64
    });
    let seconds = started.elapsed().as_secs();
    let ended = process.terminate();
    let (lines, _) = ended.balances();
    assert_eq!(lines.received, sent * 3, "{}", ended.stderr);
    assert!(lines.refused >= sent, "{}", ended.stderr);
    // Per second, lane and reason at most one example of three lines and one number.
    let lanes = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let most = 40 + (seconds + 2) * lanes * 20 * 4;
    let log_lines = ended.stderr.lines().count() as u64;
    assert!(log_lines < most, "{log_lines} lines of log for {sent} bad ones, at most {most}");
    assert!(ended.stderr.contains("more lines in"), "{}", ended.stderr);
}

#[test]
fn what_a_flood_left_is_forgotten_although_nothing_else_comes() {
    let intake = Intake::start();
    let setup = to_intake(&intake)
        .set("log_level", "debug")
        .set("dogstatsd_context_expiry_seconds", 2)
        .set("dogstatsd_expiry_seconds", 2);
    let process = setup.start();
    send_contexts(&process.unix(), "bomb", 0..20_000);
    let contexts = |log: &str| {
        let last = log.lines().rev().find(|line| line.contains(" contexts, kernel drops"))?;
        last.split(" contexts,").next()?.rsplit(' ').next()?.parse::<u64>().ok()
    };
    process.logs_until(|log| contexts(log).is_some_and(|count| count > 1000));
    process.logs_until(|log| contexts(log).is_some_and(|count| count < 100));
    process.terminate().balances();
}
