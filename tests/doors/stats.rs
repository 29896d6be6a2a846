//! Trace stats through the real program: hits, errors and times of unmodified tracers, and their sums on
//! the way to the vendor.

use super::post::{self, Socket};
use crate::support::intake::{Intake, State};
use crate::support::program::{Program, Setup};

const STATS: &str = "/v0.6/stats";
const OK: &str = "{}";
const METRIC: &str = "trace.web.request";

fn started(setup: &Setup) -> (Program, Socket) {
    let program = setup.start();
    let socket = Socket::of(setup);
    socket.wait();
    (program, socket)
}

/// A body that a client sent, as if its bucket had begun at `start` (Unix seconds).
fn recorded(name: &str, start: i64) -> (Vec<(String, String)>, Vec<u8>) {
    let (headers, mut body) = post::as_sent(name);
    // A text of five bytes, then a number of 64 bits.
    let key = b"\xa5Start\xcf";
    let places: Vec<usize> = (0..body.len()).filter(|at| body[*at..].starts_with(key)).collect();
    for place in places {
        let number = &mut body[place + key.len()..][..8];
        number.copy_from_slice(&(start as u64 * 1_000_000_000).to_be_bytes());
    }
    (headers, body)
}

/// Everything that a counter with these tags summed up.
fn sum(state: &State, name: &str, tags: &[&str]) -> f64 {
    state.sum_of_counter(name, tags)
}

fn close_to(value: f64, expect: f64) {
    assert!((value - expect).abs() < 1e-9, "{value}, not {expect}");
}

/// Each client with its own method, headers and sketches.
#[test]
fn what_tracers_count_arrives_as_requests_errors_and_times() {
    let intake = Intake::start();
    let setup = post::open(Setup::posting_to(&intake));
    let (program, socket) = started(&setup);
    let start = (post::now() - 20) / 10 * 10;
    for (method, name) in
        [("PUT", "py3/stats"), ("POST", "py4/stats"), ("PUT", "js/stats"), ("PUT", "js/stats-idle")]
    {
        let (headers, body) = recorded(name, start);
        assert_eq!(socket.send(method, STATS, &headers, &body), (200, OK.to_owned()), "{name}");
    }
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    intake.read(|state| {
        assert_eq!(sum(state, "trace.web.request.hits", &[]), 9.0);
        let ok = ["http.status_code:200", "http.status_class:2xx", "resource_name:get_/a"];
        assert_eq!(sum(state, "trace.web.request.hits", &ok), 6.0);
        let failed = [
            "http.status_code:500",
            "http.status_class:5xx",
            "service:shop",
            "env:prod",
            "version:1.2",
        ];
        assert_eq!(sum(state, "trace.web.request.errors", &failed), 3.0);
        assert_eq!(sum(state, "trace.web.request.errors", &[]), 3.0);
        assert_eq!(sum(state, "trace.web.request.hits", &["span.kind:server"]), 6.0);
        let (py3, py4, js) =
            (0.040359579 + 0.0201637, 0.047795525 + 0.038024437, 0.043575683 + 0.020150879);
        close_to(sum(state, "trace.web.request.duration", &[]), py3 + py4 + js);
        assert_eq!(sum(state, "trace.postgres.query.hits", &[]), 3.0);
        // The statement was not obfuscated by the client.
        for series in
            state.all_series().filter(|series| series.metric.starts_with("trace.postgres"))
        {
            assert!(!series.tags.iter().any(|tag| tag.starts_with("resource_name")), "{series:?}");
        }
        // Of every status and kind a distribution, whose sum is what the client measured.
        let times: Vec<_> =
            state.sketches.iter().filter(|sketch| sketch.metric == METRIC).collect();
        let points = || times.iter().flat_map(|sketch| &sketch.dogsketches);
        assert_eq!(points().map(|point| point.cnt).sum::<i64>(), 9);
        close_to(points().map(|point| point.sum).sum(), py3 + py4 + js);
        for point in points() {
            assert!(
                point.min > 0.015
                    && point.max < 0.05
                    && point.min <= point.avg
                    && point.avg <= point.max,
                "{point:?}"
            );
            for key in &point.k {
                let value = 1.015625_f64.powi(key - 1338);
                assert!(value > point.min * 0.97 && value < point.max * 1.03, "{value}: {point:?}");
            }
            // Inside its bucket, with the stamp of a part.
            assert!((start + 1..start + 10).contains(&point.ts), "{} of {start}", point.ts);
        }
        assert_eq!((state.overwritten, state.undecodable.len()), (0, 0), "{:?}", state.undecodable);
    });
}

#[test]
fn two_processes_and_one_request_sent_twice_add_up_to_what_happened() {
    let intake = Intake::start();
    let setup = post::open(Setup::posting_to(&intake)).set("admin_address", "127.0.0.1:0");
    let (program, socket) = started(&setup);
    let (mut headers, body) = recorded("py4/stats", post::now() / 10 * 10);
    headers.push(("Idempotency-Key".to_owned(), "first".to_owned()));
    let send =
        |headers: &[(String, String)], body: &[u8]| socket.send("POST", STATS, headers, body);
    for _ in 0..3 {
        assert_eq!(send(&headers, &body), (200, OK.to_owned()));
    }
    headers.last_mut().expect("one").1 = "second".to_owned();
    assert_eq!(send(&headers, &body), (200, OK.to_owned()));
    // A cut body counts for nothing, and says where it ends.
    let (status, answer) = send(&[], &body[..body.len() - 1]);
    assert_eq!(status, 400);
    assert!(
        answer.starts_with(r#"{"errors":["stats payload: "#) && !answer.contains("SELECT"),
        "{answer}"
    );
    let (_, metrics) = program.get("/metrics");
    for line in [
        r#"whippet_doors_requests_total{route="stats"} 5"#,
        r#"whippet_doors_recorded_total{route="stats"} 2"#,
        r#"whippet_doors_refused_total{route="stats",reason="duplicate"} 2"#,
        r#"whippet_doors_refused_total{route="stats",reason="decode"} 1"#,
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line} in\n{metrics}");
    }
    assert_eq!(program.terminate().code(), Some(0));
    intake.read(|state| {
        assert_eq!(sum(state, "trace.web.request.hits", &[]), 6.0);
        assert_eq!(sum(state, "trace.web.request.errors", &[]), 2.0);
    });
}

#[test]
fn a_bad_group_is_refused_alone_and_counted() {
    let intake = Intake::start();
    let setup = Setup::posting_to(&intake).set("doors_prefix", "own.");
    let setup = post::open(setup).set("admin_address", "127.0.0.1:0");
    let (program, socket) = started(&setup);
    let (headers, mut body) = recorded("py3/stats", post::now() / 10 * 10);
    // The first group counts -2 hits, the mapping of the second becomes one that cannot be.
    let hits = body.windows(5).position(|bytes| bytes == b"\xa4Hits").expect("hits");
    body[hits + 5] = 0xfe;
    let gamma = b"\x0a\x12\x09\x00\x00\x00\x00\x00\x40\xf0\x3f";
    let second = body.windows(gamma.len()).enumerate().filter(|(_, bytes)| bytes == gamma).nth(2);
    let place = second.expect("four sketches before it").0;
    body[place + 9..place + 11].copy_from_slice(&[0x00, 0x40]);
    assert_eq!(socket.send("PUT", STATS, &headers, &body), (200, OK.to_owned()));
    let (_, metrics) = program.get("/metrics");
    for line in [
        r#"whippet_doors_parts_refused_total{route="stats",reason="value"} 1"#,
        r#"whippet_doors_parts_refused_total{route="stats",reason="sketch"} 1"#,
        r#"whippet_doors_recorded_total{route="stats"} 1"#,
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line} in\n{metrics}");
    }
    assert_eq!(program.terminate().code(), Some(0));
    intake.read(|state| {
        assert_eq!(sum(state, "own.trace.web.request.hits", &[]), 0.0);
        assert_eq!(sum(state, "own.trace.postgres.query.hits", &[]), 1.0);
    });
}
