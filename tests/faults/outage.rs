//! The intake is away: what was sent arrives when it is back, or is counted as lost.

use super::setup::{Spooled, figure, to_intake, to_url};
use crate::support::decode;
use crate::support::front::TlsFront;
use crate::support::intake::{Answer, Intake, State};
use crate::support::program::{Program, eventually, until};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Sends `c:1|c` many times a second until the condition holds; returns how many.
fn load_until(process: &Program, rate: u64, mut done: impl FnMut() -> bool) -> u64 {
    let socket = process.unix();
    let (started, mut sent) = (Instant::now(), 0);
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(90), "it never came:\n{}", process.log());
        let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
        while sent < due {
            socket.send(b"c:1|c").expect("sent");
            sent += 1;
        }
        thread::sleep(Duration::from_millis(5));
    }
    sent
}

fn sum(intake: &Intake) -> f64 {
    intake.read(|state| state.sum_of_counter("c", &[]))
}

/// Unix seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before 292 billion")
}

/// The second of the newest point of the counter.
fn newest_point(intake: &Intake) -> i64 {
    let times = intake.read(|state| state.points("c", &[]));
    times.into_iter().map(|(time, _)| time).max().expect("a point")
}

/// Points in the series that the intake took.
fn points_taken(state: &State) -> u64 {
    let taken = state.requests.iter().filter(|request| (200..300).contains(&request.status));
    let lists = taken.map(|request| match request.path() {
        "/api/v2/series" => decode::series_v2(&request.plain).expect("series"),
        other => panic!("nothing else was sent, but {other}"),
    });
    lists.flatten().map(|series| series.points.len() as u64).sum()
}

#[test]
fn with_the_spool_on_an_outage_loses_nothing() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let setup = to_intake(&intake).spooling(200);
    let process = setup.start();
    let sent = load_until(&process, 2000, || setup.records() >= 3);
    assert_eq!(sum(&intake), 0.0);
    intake.respond(Answer::status(202));
    eventually(Duration::from_secs(20), "every line", || sum(&intake) == sent as f64);
    let (lines, payloads) = process.terminate().balances();
    assert_eq!((lines.received, lines.recorded), (sent, sent));
    assert_eq!((payloads.dropped, setup.records()), (0, 0));
}

#[test]
fn past_the_bounds_the_loss_is_what_was_counted() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let setup = to_intake(&intake).set("forwarder_retry_queue_payloads_max_size", 1000);
    let process = setup.start();
    let dropped = |log: &str| log.contains("dropp");
    let sent = load_until(&process, 2000, || dropped(&process.log()));
    intake.respond(Answer::status(202));
    eventually(Duration::from_secs(20), "what was kept", || sum(&intake) > 0.0);
    let ended = process.terminate();
    let (lines, payloads) = ended.balances();
    assert_eq!(lines.recorded, sent);
    assert!(payloads.dropped > 0, "{}", ended.stderr);
    assert_eq!(intake.read(points_taken), ended.points().delivered, "{}", ended.stderr);
    assert_eq!(ended.points().built, ended.points().delivered + ended.points().dropped);
    assert!(ended.stderr.contains("queue_full"), "{}", ended.stderr);
    let lost = sent as f64 - sum(&intake);
    assert!(lost > 0.0, "{lost}");
}

#[test]
fn a_restart_in_the_middle_of_an_outage_loses_nothing() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let setup = to_intake(&intake).spooling(1 << 20);
    let process = setup.start();
    let closed = || intake.read(|state| state.requests.len()) >= 3;
    let mut sent = load_until(&process, 500, closed);
    let ended = process.terminate();
    let (_, payloads) = ended.balances();
    assert_eq!((payloads.delivered, payloads.dropped), (0, 0), "{}", ended.stderr);
    assert!(payloads.waiting > 0, "{}", ended.stderr);
    let process = setup.start();
    sent += load_until(&process, 500, || setup.records() > payloads.waiting as usize - 1);
    intake.respond(Answer::status(202));
    eventually(Duration::from_secs(20), "every line", || sum(&intake) == sent as f64);
    let (_, payloads) = process.terminate().balances();
    assert_eq!((payloads.dropped, payloads.waiting, setup.records()), (0, 0, 0));
}

#[test]
fn what_arrived_although_the_answer_was_lost_does_not_double_after_a_restart() {
    let intake = Intake::start();
    intake.respond(Answer::cut().but_stored());
    let setup = to_intake(&intake).spooling(1 << 20);
    let process = setup.start();
    let sent = load_until(&process, 500, || intake.read(|state| state.overwritten) > 0);
    process.terminate().balances();
    assert!(setup.records() > 0);
    intake.respond(Answer::status(202));
    let process = setup.start();
    eventually(Duration::from_secs(20), "an empty spool", || setup.records() == 0);
    process.terminate().balances();
    assert_eq!(sum(&intake), sent as f64);
}

#[test]
fn a_restart_in_the_middle_of_a_bucket_keeps_both_halves() {
    let intake = Intake::start();
    let setup = to_intake(&intake).set("interval", "10s");
    for (n, lines) in [5, 7, 11].into_iter().enumerate() {
        let process = setup.start();
        let socket = process.unix();
        for _ in 0..lines {
            socket.send(b"c:1|c").expect("sent");
        }
        let (counts, _) = process.terminate().balances();
        assert_eq!(counts.recorded, lines, "run {n}");
        // The partial bucket carries the second of the shutdown, or the one after the bucket's
        // start: the next run must end in a later one.
        eventually(Duration::from_secs(20), "a later second", || now() > newest_point(&intake));
    }
    assert!((sum(&intake) - 23.0).abs() < 1e-9, "{}", sum(&intake));
}

#[test]
fn with_an_untrusted_certificate_payloads_wait_until_its_authority_is_configured() {
    let intake = Intake::start();
    let front = TlsFront::start(&intake.address(), &[&rustls::version::TLS13]);
    let mut setup = to_url(&front.url()).spooling(1 << 20);
    let process = setup.start();
    process.unix_datagram("c:5|c");
    process.logs_until(|log| log.contains("certificate"));
    let ended = process.terminate();
    ended.balances();
    assert!(setup.records() > 0, "{}", ended.stderr);
    assert_eq!(sum(&intake), 0.0);
    std::fs::write(setup.path("ca.pem"), &front.certificate_pem).expect("a writable folder");
    setup.change("ca_file", setup.path("ca.pem").display().to_string());
    let process = setup.start();
    eventually(Duration::from_secs(20), "what waited", || sum(&intake) == 5.0);
    let (_, payloads) = process.terminate().balances();
    assert_eq!((payloads.dropped, setup.records()), (0, 0));
}

#[test]
#[ignore = "80 seconds: make faults"]
fn an_outage_of_a_minute_under_load_loses_nothing() {
    // Nothing listens until the minute is over.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = address.expect("a free port").to_string();
    let setup = to_url(&format!("http://{address}"))
        .spooling(1000)
        .set("forwarder_backoff_base", 2)
        .set("forwarder_backoff_max", 8);
    let process = setup.start();
    let started = Instant::now();
    let sent = load_until(&process, 5000, || started.elapsed() > Duration::from_secs(60));
    let waiting = setup.records();
    let intake = Intake::start_at(&address);
    eventually(Duration::from_secs(40), "every line", || sum(&intake) == sent as f64);
    let (lines, payloads) = process.terminate().balances();
    assert_eq!((lines.recorded, payloads.dropped, setup.records()), (sent, 0, 0));
    assert!(waiting > 10, "{waiting}");
    figure(
        "intake refuses for 60 s, spool on",
        format!(
            "{sent} lines | {} counted at the intake | 0 lost; {waiting} payloads waited on disk",
            sum(&intake)
        ),
    );
}

#[test]
#[ignore = "80 seconds: make faults"]
fn an_outage_of_a_minute_past_the_bounds_loses_what_was_counted() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = address.expect("a free port").to_string();
    let setup = to_url(&format!("http://{address}"))
        .set("forwarder_retry_queue_payloads_max_size", 2000)
        .set("forwarder_backoff_base", 2)
        .set("forwarder_backoff_max", 8);
    let process = setup.start();
    let started = Instant::now();
    let mut intake = None;
    // The load goes on until something arrives: the zeros after it would push it out.
    let sent = load_until(&process, 5000, || {
        if started.elapsed() > Duration::from_secs(60) {
            let intake: &mut Intake = intake.get_or_insert_with(|| Intake::start_at(&address));
            return sum(intake) > 0.0;
        }
        false
    });
    let intake = intake.expect("started after a minute");
    let ended = process.terminate();
    let (lines, payloads) = ended.balances();
    assert_eq!(lines.recorded, sent);
    assert!(payloads.dropped > 0, "{}", ended.stderr);
    let points = ended.points();
    assert_eq!(intake.read(points_taken), points.delivered);
    figure(
        "intake refuses for 60 s, 2000 bytes of memory, no spool",
        format!(
            "{sent} lines = {} points | {} points at the intake | {} points dropped (queue_full)",
            points.built, points.delivered, points.dropped
        ),
    );
}

/// A cleaner that does not know whom it hurts.
#[test]
fn a_spool_removed_during_an_outage_is_made_again() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let setup = to_intake(&intake).spooling(1);
    let program = setup.start();
    program.udp("lost:1|c");
    until("a record", || (setup.records() > 0).then_some(()));
    std::fs::remove_dir_all(setup.path("spool")).unwrap();
    program.udp("kept:1|c");
    program.logs("files were removed by another program");
    until("a record", || (setup.path("spool").exists() && setup.records() > 0).then_some(()));
    intake.respond(Answer::status(202));
    intake.wait_until(|state| state.sum_of_counter("kept", &[]) == 1.0);
    let ended = program.terminate();
    let (_, payloads) = ended.balances();
    assert!(payloads.dropped > 0 && ended.stderr.contains("spool_removed"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("set aside"), "{}", ended.stderr);
}
