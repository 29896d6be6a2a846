//! Data streams of unmodified clients through the real program: what arrives at the intake, to the second.

use super::post::{self, Socket};
use crate::support::intake::Intake;
use crate::support::program::{Setup, eventually};
use std::time::Duration;

/// A bucket is closed within 20 s.
const CLOSED: Duration = Duration::from_secs(40);

const PATH: &str = "/v0.1/pipeline_stats";
/// Seconds between the end of a bucket and its posting.
const GRACE: i64 = 30;
/// Of every bucket in the recorded bodies, in nanoseconds.
const RECORDED: i64 = 1_795_715_260_000_000_000;

/// A recorded body of the bucket at `start`, without its gzip.
fn at(name: &str, start: i64) -> Vec<u8> {
    let (_, mut body) = post::recorded(name);
    let (from, to) = (RECORDED.to_be_bytes(), (start * 1_000_000_000).to_be_bytes());
    let places: Vec<usize> =
        body.windows(8).enumerate().filter(|(_, bytes)| *bytes == from).map(|(at, _)| at).collect();
    assert_eq!(places.len(), 1, "{name}");
    body[places[0]..][..8].copy_from_slice(&to);
    body
}

fn headers(language: &str) -> Vec<(String, String)> {
    [("Content-Type", "application/msgpack"), ("Datadog-Meta-Lang", language)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// Sends what a client of that language sent and reads what arrives: the latency of the consumed message
/// and the sizes of both as bins.
#[track_caller]
fn arrives(language: &str, names: &[&str], latency: i32, sizes: Option<(i32, i32)>) {
    let intake = Intake::start();
    let setup = post::open(Setup::posting_to(&intake));
    let program = setup.start();
    let socket = Socket::of(&setup);
    socket.wait();
    let start = post::closing_soon(GRACE);
    for name in names {
        let sent = socket.send("POST", PATH, &headers(language), &at(name, start));
        assert_eq!(sent, (200, "{}".into()), "{name}");
    }
    eventually(CLOSED, "all series and sketches", || {
        intake.read(|state| {
            let sketches = 2 + 2 * usize::from(sizes.is_some());
            !state.series("data_streams.kafka.lag_seconds", &[]).is_empty()
                && state.sketches.iter().map(|sketch| sketch.dogsketches.len()).sum::<usize>()
                    == sketches
        })
    });
    let edge = |direction: &str, pathway: &str| {
        format!(
            "direction:{direction} env:prod manual_checkpoint:true {pathway}service:shop topic:orders type:kafka web-1"
        )
    };
    let one = |bin: i32| format!("[({start}, 1, [({bin}, 1)])]");
    let mut expected = vec![
        format!(
            "data_streams.kafka.commit_offset gauge [({start}, 40)] consumer_group:g1 env:prod partition:1 topic:orders web-1"
        ),
        format!(
            "data_streams.kafka.lag_messages gauge [({start}, 3)] consumer_group:g1 env:prod partition:1 topic:orders web-1"
        ),
        format!(
            "data_streams.kafka.lag_seconds gauge [({start}, 0)] consumer_group:g1 env:prod partition:1 topic:orders web-1"
        ),
        format!(
            "data_streams.kafka.produce_offset gauge [({start}, 42)] env:prod partition:1 topic:orders web-1"
        ),
        format!("data_streams.latency {} {}", one(latency), edge("in", "pathway_type:edge ")),
        format!("data_streams.latency {} {}", one(latency), edge("in", "pathway_type:full ")),
        format!("data_streams.throughput rate/10 [({start}, 0.1)] {}", edge("in", "")),
        format!("data_streams.throughput rate/10 [({start}, 0.1)] {}", edge("out", "")),
    ];
    if let Some((of_consumed, of_produced)) = sizes {
        expected.push(format!("data_streams.payload_size {} {}", one(of_consumed), edge("in", "")));
        expected.push(format!(
            "data_streams.payload_size {} {}",
            one(of_produced),
            edge("out", "")
        ));
    }
    expected.sort();
    assert_eq!(intake.read(|state| post::arrived(state, |_| true)), expected);
    program.terminate();
}

#[test]
fn ddtrace_3_arrives_at_its_second() {
    // It sends offsets apart and no sizes.
    arrives("python", &["py3/data-streams", "py3/data-streams-offsets"], 1146, None);
}

#[test]
fn ddtrace_4_arrives_at_its_second() {
    arrives("python", &["py4/data-streams"], 1147, Some((0, 1589)));
}

#[test]
fn dd_trace_js_arrives_at_its_second() {
    arrives("javascript", &["js/data-streams"], 1148, Some((0, 1597)));
}

#[test]
fn parts_add_up_and_the_lag_is_given_at_the_end() {
    let intake = Intake::start();
    let setup =
        post::open(Setup::posting_to(&intake)).env("DD_ENV", "staging").env("DD_TAGS", "team:a");
    let program = setup.start();
    let socket = Socket::of(&setup);
    socket.wait();
    let start = post::now() / 10 * 10;
    for _ in 0..3 {
        for name in ["py3/data-streams", "py3/data-streams-offsets"] {
            let sent = socket.send("PUT", PATH, &headers("python"), &at(name, start));
            assert_eq!(sent, (200, "{}".into()), "{name}");
        }
    }
    let before = post::now();
    program.terminate();
    let after = post::now();
    intake.read(|state| {
        // The second of a part: what is posted of this bucket after a restart does not overwrite it.
        let stamps: Vec<i64> = (before..=after).map(|now| start + 1 + now % 9).collect();
        let consumed = ["direction:in", "env:prod", "team:a"];
        let points = state.points("data_streams.throughput", &consumed);
        assert!(
            matches!(points[..], [(second, 0.3)] if stamps.contains(&second)),
            "{points:?} {stamps:?}"
        );
        assert_eq!(state.count_of_sketches("data_streams.latency", &consumed), 6);
        // One per bucket, should the clock have passed an end meanwhile.
        let lags = state.points("data_streams.kafka.lag_messages", &["team:a"]);
        assert_eq!(lags[0].0, points[0].0);
        assert!(lags.iter().all(|lag| lag.1 == 3.0), "{lags:?}");
        assert!(state.all_series().all(|series| !series.tags.contains(&"env:staging".to_owned())));
    });
}

#[test]
fn bodies_that_cannot_be_read_leave_nothing() {
    let intake = Intake::start();
    let setup = post::open(Setup::posting_to(&intake));
    let program = setup.start();
    let socket = Socket::of(&setup);
    socket.wait();
    let whole = at("py4/data-streams", post::now());
    let longer = [&whole[..], &[0xc0]].concat();
    for body in [&whole[..whole.len() - 1], &longer, b"\x90", b"{}", b"", b"\xdf\xff\xff\xff\xff"] {
        let (status, answer) = socket.send("POST", PATH, &headers("python"), body);
        assert_eq!(status, 400, "{body:02x?}");
        assert!(answer.starts_with(r#"{"errors":[""#), "{answer}");
    }
    program.terminate();
    intake.read(|state| assert_eq!(post::arrived(state, |_| true), [""; 0]));
}
