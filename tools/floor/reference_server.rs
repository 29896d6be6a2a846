//! A slow, obvious server that flushes JSON lines: the load generator must find its sums exact,
//! and must notice when it loses a single line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use whippet::bench::{self, Run};

use crate::bench_tests::drive;

/// Socket of the child process, and how many counter lines it loses.
const SOCKET: &str = "WHIPPET_REFERENCE_SOCKET";
const LOSES: &str = "WHIPPET_REFERENCE_LOSES";

#[test]
#[ignore = "is the child of the tests beside it"]
fn serves() {
    let path = std::env::var(SOCKET).expect("is started by the tests beside it");
    let mut lose: u32 = std::env::var(LOSES).unwrap().parse().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&stop)).unwrap();
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut buffer = [0; 65_536];
    let (mut sums, mut lines) = (BTreeMap::<(String, String), f64>::new(), 0);
    loop {
        let Ok(bytes) = socket.recv(&mut buffer) else {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            continue;
        };
        for line in std::str::from_utf8(&buffer[..bytes]).unwrap().lines() {
            lines += 1;
            let Some((key, amount)) = counter(line) else { continue };
            if lose > 0 && amount > 0.0 {
                lose -= 1;
            } else {
                *sums.entry(key).or_default() += amount;
            }
        }
    }
    let output = std::env::var("WHIPPET_OUTPUT").unwrap();
    let output = output.strip_prefix("jsonl:").expect("WHIPPET_OUTPUT names a file");
    std::fs::write(output, rows(&sums)).unwrap();
    // Standard output belongs to the test harness, which may be in the middle of a line.
    eprintln!("lines    {lines} received = {lines} recorded + 0 refused + 0 dropped");
}

/// Name and tags, and what the line adds; `None` when it is not a counter.
fn counter(line: &str) -> Option<((String, String), f64)> {
    let mut fields = line.split('|');
    let (name, values) = fields.next()?.split_once(':')?;
    let kind = fields.next()?;
    let (mut rate, mut tags) = (1.0, "");
    for field in fields {
        match field.split_at(1) {
            ("@", text) => rate = text.parse().ok()?,
            ("#", text) => tags = text,
            _ => {}
        }
    }
    let sum: f64 = values.split(':').filter_map(|value| value.parse::<f64>().ok()).sum();
    (kind == "c").then(|| ((name.to_owned(), tags.to_owned()), sum / rate))
}

/// Each sum in two buckets, as rates over ten seconds.
fn rows(sums: &BTreeMap<(String, String), f64>) -> String {
    let mut text = String::new();
    for ((name, tags), sum) in sums {
        let tags: Vec<&str> = tags.split(',').collect();
        let (tags, tenth) = (serde_json::to_string(&tags).unwrap(), sum / 10.0);
        for (second, part) in [(10, tenth / 3.0), (20, tenth - tenth / 3.0)] {
            writeln!(
                text,
                r#"{{"kind":"series","metric":"{name}","type":"rate","interval":10,"points":[[{second},{part}]],"tags":{tags},"host":"h"}}"#
            )
            .unwrap();
        }
    }
    text
}

fn run_losing(lines: u32) -> Run {
    let directory = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let program = program.display();
    let server = format!(
        "env {SOCKET}={{path}} {LOSES}={lines} '{program}' --ignored --exact reference_server::serves --nocapture"
    );
    let target = format!("unixgram://{}", directory.path().join("s").display());
    let flags = ["--profile", "realistic", "--total", "6k", "--senders", "2", "--server", &server];
    drive(&target, &flags).runs.remove(0)
}

#[test]
fn sums_that_were_flushed_whole_are_found_exact_series_by_series() {
    let run = run_losing(0);
    let check = run.check.as_ref().expect("the server wrote what it flushed");
    assert!(check.total_exact(), "{check:?}");
    assert!(check.series_sent > 1_000 && check.sent > 100_000.0, "{check:?}");
    assert_eq!((check.series_found, check.series_exact), (check.series_sent, check.series_sent));
    assert_eq!((check.overwritten, check.unreadable), (0, 0));
    assert!(!bench::sums_differ(&run));
    assert_eq!(run.server_counts.unwrap().received, run.sent.lines);
}

#[test]
fn a_single_lost_line_is_detected() {
    let run = run_losing(1);
    let check = run.check.as_ref().expect("the server wrote what it flushed");
    assert!(check.flushed < check.sent && check.series_exact + 1 == check.series_sent, "{check:?}");
    assert!(bench::sums_differ(&run));
    assert!(run.warnings[0].contains("nothing was dropped"), "{:?}", run.warnings);
}
