//! What waits on disk.

use crate::support::decode::MetricPayload;
use crate::support::intake::{Answer, Intake};
use prost::Message;
use std::time::{Duration, Instant};
use whippet::encode::{ContentEncoding, Route};
use whippet::forward::{ForwarderConfig, RouteCounts, SpoolSettings};

use super::forwarder::{
    KEY, counter, counters, delivered, packed, series_counts, slow_to_forgive, start, submit,
    wait_accounting, waiting,
};

/// A memory bound so small that everything that fails goes to disk.
fn spooling(directory: &std::path::Path) -> ForwarderConfig {
    let mut config = slow_to_forgive();
    config.queue_bytes_max = 1;
    config.spool = Some(SpoolSettings {
        path: directory.to_owned(),
        bytes_max: 64 << 20,
        disk_ratio_max: 1.0,
    });
    config
}

#[test]
fn what_the_intake_missed_is_delivered_by_the_next_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    for n in 0..10 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    wait_accounting(&forwarder, |accounting| accounting.endpoints[0].spool_records == 10);
    let report = forwarder.shutdown(Instant::now() + Duration::from_secs(2));
    assert!(report.is_clean() && report.accounting.balances(), "{report}");
    assert_eq!(report.endpoints[0].spooled.payloads, 10, "{report}");
    drop(forwarder);

    intake.respond(Answer::status(202));
    let next = start(&[intake.url()], spooling(directory.path()));
    let accounting = wait_accounting(&next, |accounting| delivered(accounting) == 10);
    assert_eq!(accounting.endpoints[0].spool_records, 0);
    let first = intake.read(|state| {
        let last_run = &state.requests[state.requests.len() - 10];
        MetricPayload::decode(&last_run.plain[..]).unwrap().series[0].metric.clone()
    });
    assert_eq!(first, "m9", "newest first");
    let sum: f64 =
        intake.read(|state| (0..10).map(|n| state.sum_of_counter(&format!("m{n}"), &[])).sum());
    assert_eq!(sum, 100.0);
}

/// Memory holds nothing, so what is refused goes to disk at once, and could come back at once.
#[test]
fn what_is_on_disk_is_not_offered_to_an_intake_that_refuses_the_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let intake = Intake::start();
    intake.respond(Answer::status(403));
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    for n in 1..=5 {
        submit(&forwarder, &counter(&format!("m{n}")));
        wait_accounting(&forwarder, |accounting| {
            accounting.endpoints[0].spool_records == n && waiting(accounting) == n as u64
        });
    }
    assert_eq!(intake.read(|state| state.requests.len()), 5);
    intake.respond(Answer::status(202));
    submit(&forwarder, &counter("m6"));
    let accounting = wait_accounting(&forwarder, |accounting| delivered(accounting) == 6);
    assert_eq!(
        (series_counts(&accounting).requests, accounting.endpoints[0].spool_records),
        (11, 0)
    );
}

#[test]
fn a_shutdown_tries_what_is_on_disk_until_its_route_fails() {
    let directory = tempfile::tempdir().expect("a directory");
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    for n in 0..5 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    wait_accounting(&forwarder, |accounting| accounting.endpoints[0].spool_records == 5);
    intake.script([Answer::status(202), Answer::status(202), Answer::status(500)]);
    let report = forwarder.shutdown(Instant::now() + Duration::from_secs(5));
    let endpoint = &report.endpoints[0];
    assert_eq!((endpoint.delivered.payloads, endpoint.spooled.payloads), (2, 3), "{report}");
    assert_eq!(intake.read(|state| state.requests.len()), 1 + 3);
    assert!(report.is_clean() && report.accounting.balances(), "{report}");
}

#[test]
fn a_request_cut_off_by_the_shutdown_is_spooled_as_in_doubt() {
    let directory = tempfile::tempdir().expect("a directory");
    let intake = Intake::start();
    intake.respond(Answer::hang());
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    submit(&forwarder, &counter("m"));
    intake.wait_until(|state| state.requests.len() == 1);
    let report = forwarder.shutdown(Instant::now() + Duration::from_millis(300));
    let endpoint = &report.endpoints[0];
    assert_eq!((endpoint.spooled.payloads, endpoint.in_doubt.payloads), (1, 1), "{report}");
    assert!(report.accounting.balances());
}

#[test]
fn a_split_of_a_spooled_payload_stays_on_disk_until_its_parts_arrive() {
    let directory = tempfile::tempdir().expect("a directory");
    let intake = Intake::start();
    intake.script([Answer::status(503)]);
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    submit(&forwarder, &counters(&["a".to_owned(), "b".to_owned()]));
    wait_accounting(&forwarder, |accounting| accounting.endpoints[0].spool_records == 1);
    drop(forwarder);
    intake.script([Answer::status(413), Answer::status(503)]);
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    let accounting =
        wait_accounting(&forwarder, |accounting| accounting.endpoints[0].breaker_errors[0] == 1);
    assert_eq!(accounting.endpoints[0].spool_records, 2);
    assert_eq!(accounting.total(|route| route.waiting).points, 2);
    drop(forwarder);
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    let accounting = wait_accounting(&forwarder, |accounting| delivered(accounting) == 2);
    assert_eq!(accounting.endpoints[0].spool_records, 0);
}

#[test]
fn no_file_of_the_spool_holds_the_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let forwarder = start(&["http://127.0.0.1:1".to_owned()], spooling(directory.path()));
    submit(&forwarder, &packed(Route::Events, ContentEncoding::Identity, b"{}", 1));
    wait_accounting(&forwarder, |accounting| accounting.endpoints[0].spool_records == 1);
    let mut files = 0;
    for below in std::fs::read_dir(directory.path()).expect("the spool") {
        for file in std::fs::read_dir(below.expect("an entry").path()).expect("an endpoint") {
            let bytes = std::fs::read(file.expect("an entry").path()).expect("a file");
            assert!(!bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()));
            files += 1;
        }
    }
    assert_eq!(files, 2, "the record and the lock");
}

/// Run by the next test in a process of its own, which is killed while it spools: says the number
/// of every payload that is on disk.
#[test]
fn spools_until_killed() {
    let Ok(directory) = std::env::var("WHIPPET_TEST_SPOOL") else { return };
    let forwarder = start(&["http://127.0.0.1:1".to_owned()], spooling(directory.as_ref()));
    submit(&forwarder, &counter("warm-up"));
    wait_accounting(&forwarder, |accounting| accounting.endpoints[0].breaker_errors[0] == 1);
    let first: u64 = std::env::var("WHIPPET_TEST_FIRST").expect("set").parse().expect("a number");
    for n in first.. {
        submit(&forwarder, &counter(&format!("k{n}")));
        // On a line of its own: the test runner prints too.
        println!("\nspooled {n}");
    }
}

#[test]
fn a_process_killed_at_any_moment_loses_nothing_it_reported_as_spooled() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let directory = tempfile::tempdir().expect("a directory");
    let mut reported: Vec<u64> = Vec::new();
    for round in 0_u64..12 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "forward::spool::spools_until_killed", "--nocapture"])
            .env("WHIPPET_TEST_SPOOL", directory.path())
            .env("WHIPPET_TEST_FIRST", (round * 1000).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let number = |line: String| line.strip_prefix("spooled ").and_then(|n| n.parse().ok());
        let mut seen = 0;
        while seen < 3 + 2 * round {
            let line = lines.next().expect("the child runs on").expect("text");
            if let Some(n) = number(line) {
                reported.push(n);
                seen += 1;
            }
        }
        child.kill().expect("still running"); // SIGKILL, in the middle of the next write
        reported.extend(lines.map_while(Result::ok).filter_map(number));
        child.wait().expect("ended");
    }
    let intake = Intake::start();
    let mut config = spooling(directory.path());
    config.queue_bytes_max = 15 << 20;
    // The directory belongs to the endpoint's name, so the next run must use the same address.
    let spooled = directory.path().join("127.0.0.1_1-0");
    std::fs::rename(
        spooled,
        directory.path().join(format!("{}-0", intake.address().replace(':', "_"))),
    )
    .expect("renamed");
    let forwarder = start(&[intake.url()], config);
    let accounting = wait_accounting(&forwarder, |accounting| {
        delivered(accounting) > 0 && waiting(accounting) == 0
    });
    assert!(accounting.total(RouteCounts::dropped_total).payloads == 0, "{accounting}");
    assert!(reported.len() >= 12 * 3);
    intake.read(|state| {
        let missing: Vec<&u64> = reported
            .iter()
            .filter(|n| state.sum_of_counter(&format!("k{n}"), &[]) != 10.0)
            .collect();
        assert!(missing.is_empty(), "{missing:?} of {}", reported.len());
        // Nothing was settled before, so nothing may have come twice, but for the warm-ups.
        assert!(state.overwritten < 12, "{}", state.overwritten);
    });
}
