//! Every kind, over every transport, as the intake reads it.

use crate::support::decode::{Kind, Series};
use crate::support::intake::{Intake, State};
use crate::support::program::{Program, Setup};

/// All kinds in one datagram, so that they share a bucket.
const ALL_KINDS: &str = "\
    c:1:2:3|c|@0.5|#a:b\n\
    g:20|g\ng:22.5|g\n\
    s:u1|s\ns:u2|s\ns:u1|s\n\
    h:1|h\nh:2|h\nh:2|h\nh:10|h|@0.5\n\
    t:3|ms\n\
    d:1|d|#a:b\nd:2|d|#a:b\nd:2|d|#a:b\nd:10|d|#a:b\n\
    _e{6,8}:deploy|v2\\ndone|d:1463677200|h:h1|k:key|p:low|s:src|t:error|#x,y\n\
    _e{5,4}:plain|text\n\
    _sc|agent.up|2|d:21|h:h2|#t1,t2:x|m:this is bad\n\
    _sc|app.ok|0\n";

/// `name kind value interval #tags @host`, without the time.
fn line(series: &Series) -> String {
    let kind = match series.kind {
        Kind::Count => "count",
        Kind::Rate => "rate",
        Kind::Gauge => "gauge",
    };
    let values: Vec<String> = series.points.iter().map(|point| point.1.to_string()).collect();
    let Series { metric, tags, host, interval, .. } = series;
    format!("{metric} {kind} {} /{interval} #{} @{host}", values.join(" "), tags.join(","))
}

pub fn lines(state: &State) -> Vec<String> {
    state.all_series().map(line).collect()
}

/// What the series of [`ALL_KINDS`] are.
const SERIES: [&str; 13] = [
    "c rate 1.2 /10 #a:b @web-1",
    "g gauge 22.5 /10 # @web-1",
    "h.95percentile gauge 10 /10 # @web-1",
    "h.avg gauge 5 /10 # @web-1",
    "h.count rate 0.5 /10 # @web-1",
    "h.max gauge 10 /10 # @web-1",
    "h.median gauge 2 /10 # @web-1",
    "s gauge 2 /10 # @web-1",
    "t.95percentile gauge 3 /10 # @web-1",
    "t.avg gauge 3 /10 # @web-1",
    "t.count rate 0.1 /10 # @web-1",
    "t.max gauge 3 /10 # @web-1",
    "t.median gauge 3 /10 # @web-1",
];

#[track_caller]
fn arrives(setup: impl Fn(&Intake) -> Setup, send: impl Fn(&Program)) -> Intake {
    let intake = Intake::start();
    let program = setup(&intake).start();
    send(&program);
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.lines().recorded, 19, "{}", ended.stderr);
    assert_eq!(ended.payloads().delivered, ended.payloads().built, "{}", ended.stderr);
    intake.read(all_kinds_are_there);
    intake
}

#[track_caller]
fn all_kinds_are_there(state: &State) {
    assert_eq!(state.undecodable, [""; 0]);
    assert_eq!(lines(state), SERIES);
    let [sketch] = &state.sketches[..] else { panic!("{:?}", state.sketches) };
    assert_eq!((&*sketch.metric, &*sketch.host), ("d", "web-1"));
    assert_eq!(sketch.tags, ["a:b"]);
    let [dogsketch] = &sketch.dogsketches[..] else { panic!("{sketch:?}") };
    let summary = [dogsketch.min, dogsketch.max, dogsketch.avg, dogsketch.sum];
    assert_eq!((dogsketch.cnt, summary), (4, [1.0, 10.0, 3.75, 15.0]));
    assert_eq!(dogsketch.k, [1338, 1383, 1487]);
    assert_eq!(dogsketch.n, [1, 2, 1]);
    events_are_there(state);
    checks_are_there(state);
}

#[track_caller]
fn events_are_there(state: &State) {
    let by_title = |title: &str| {
        let found = state.events.iter().find(|event| event["msg_title"] == title);
        found.unwrap_or_else(|| panic!("no {title}: {:?}", state.events))
    };
    let event = by_title("deploy");
    for (field, expect) in [
        ("msg_text", "v2\ndone"),
        ("host", "h1"),
        ("aggregation_key", "key"),
        ("priority", "low"),
        ("source_type_name", "src"),
        ("alert_type", "error"),
    ] {
        assert_eq!(event[field], expect, "{event}");
    }
    assert_eq!(event["timestamp"], 1_463_677_200);
    assert_eq!(event["tags"], serde_json::json!(["x", "y"]));
    let event = by_title("plain");
    for (field, expect) in
        [("msg_text", "text"), ("host", "web-1"), ("priority", "normal"), ("alert_type", "info")]
    {
        assert_eq!(event[field], expect, "{event}");
    }
    assert_eq!(state.events.len(), 2);
}

#[track_caller]
fn checks_are_there(state: &State) {
    let [bad, good] = &state.checks[..] else { panic!("{:?}", state.checks) };
    let expect = serde_json::json!({
        "check": "agent.up", "status": 2, "timestamp": 21, "host_name": "h2",
        "tags": ["t1", "t2:x"], "message": "this is bad",
    });
    assert_eq!(*bad, expect);
    assert_eq!((&good["check"], &good["status"]), (&"app.ok".into(), &0.into()));
    assert_eq!((&good["host_name"], &good["message"]), (&"web-1".into(), &"".into()));
}

#[test]
fn over_udp() {
    let intake = arrives(Setup::posting_to, |program| program.udp(ALL_KINDS));
    intake.read(|state| {
        let encodings = [
            ("/api/v2/series", "application/x-protobuf", "zstd"),
            ("/api/beta/sketches", "application/x-protobuf", "zstd"),
            ("/intake/", "application/json", "deflate"),
            ("/api/v1/check_run", "application/json", "deflate"),
        ];
        for (path, content_type, encoding) in encodings {
            let [request] = &state.requests_to(path)[..] else { panic!("not one of {path}") };
            assert_eq!(request.header("content-type"), content_type, "{path}");
            assert_eq!(request.header("content-encoding"), encoding, "{path}");
            assert_eq!(request.header("dd-api-key"), crate::support::program::KEY);
        }
        assert_eq!(state.requests.len(), 4);
    });
}

#[test]
fn over_a_unix_datagram_socket() {
    arrives(Setup::posting_to, |program| program.unix_datagram(ALL_KINDS));
}

#[test]
fn over_a_unix_stream() {
    arrives(Setup::posting_to, |program| program.unix_stream(ALL_KINDS));
}

#[test]
fn as_series_of_version_1() {
    let setup = |intake: &Intake| Setup::posting_to(intake).set("use_v2_api.series", false);
    let intake = arrives(setup, |program| program.udp(ALL_KINDS));
    intake.read(|state| {
        let [request] = &state.requests_to("/api/v1/series")[..] else { panic!("not one") };
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("content-encoding"), "deflate");
        assert!(state.requests_to("/api/v2/series").is_empty());
    });
}

#[test]
fn with_every_compression() {
    for (kind, protobuf, json) in
        [("zlib", "deflate", "deflate"), ("gzip", "gzip", "gzip"), ("none", "", "")]
    {
        let setup =
            |intake: &Intake| Setup::posting_to(intake).set("serializer_compressor_kind", kind);
        let intake = arrives(setup, |program| program.udp(ALL_KINDS));
        intake.read(|state| {
            let encoding =
                |path: &str| state.requests_to(path)[0].header("content-encoding").to_owned();
            assert_eq!(encoding("/api/v2/series"), protobuf);
            assert_eq!(encoding("/api/beta/sketches"), protobuf);
            assert_eq!(encoding("/intake/"), json);
            assert_eq!(encoding("/api/v1/check_run"), json);
        });
    }
}

#[test]
fn one_frame_in_pieces_and_two_frames_at_once() {
    use std::io::Write;
    let intake = Intake::start();
    let setup = Setup::posting_to(&intake);
    let path = setup.path("s.sock");
    let program = setup.start();
    let mut stream = std::os::unix::net::UnixStream::connect(path).expect("a listener");
    let frame = |payload: &str| {
        [&u32::try_from(payload.len()).unwrap().to_le_bytes(), payload.as_bytes()].concat()
    };
    for byte in frame("a:1|c\n") {
        stream.write_all(&[byte]).expect("sent");
    }
    stream.write_all(&[frame("b:1|c"), frame(""), frame("b:2|c\nb:3|c\n")].concat()).expect("sent");
    let ended = program.terminate();
    ended.balances();
    intake.read(|state| {
        assert_eq!(state.sum_of_counter("a", &[]), 1.0);
        assert_eq!(state.sum_of_counter("b", &[]), 6.0);
    });
}

#[test]
fn over_the_other_loopback_and_from_any_local_address() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).start();
    let port = program.udp_address().port();
    let socket = std::net::UdpSocket::bind("[::1]:0").expect("IPv6 loopback");
    socket.send_to(b"six:1|c", ("::1", port)).expect("sent");
    program.terminate().balances();
    intake.read(|state| assert_eq!(lines(state), ["six rate 0.1 /10 # @web-1"]));
    let program = Setup::posting_to(&intake).set("dogstatsd_non_local_traffic", true).start();
    let port = program.udp_address().port();
    let socket = std::net::UdpSocket::bind("127.0.0.2:0").expect("loopback");
    socket.send_to(b"any:1|c", ("127.0.0.2", port)).expect("sent");
    let ended = program.terminate();
    ended.balances();
    intake.read(|state| assert_eq!(state.sum_of_counter("any", &[]), 1.0));
    assert!(ended.stderr.contains("open to other machines"), "{}", ended.stderr);
}
