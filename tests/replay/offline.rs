//! A capture through the engine: what would be posted, to the byte.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use super::agent_file::{file, written};
use crate::support::intake::Intake;
use crate::support::program::{Setup, whippet};

/// The beginning of an interval of ten seconds.
const START: u64 = 1_700_000_000;

fn nanos(seconds: u64) -> u64 {
    (START + seconds) * 1_000_000_000
}

fn offline(path: &Path, arguments: &[&str]) -> Output {
    whippet().arg("replay").arg(path).arg("--offline").args(arguments).output().unwrap()
}

#[track_caller]
fn posted(path: &Path, arguments: &[&str]) -> String {
    let output = offline(path, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Metric, time and value of every point of a series.
fn points(text: &str) -> Vec<(String, u64, f64)> {
    let all = lines(text);
    let of = |line: &Value| {
        let metric = line["metric"].as_str().unwrap_or_default().to_owned();
        let list = line["points"].as_array().cloned().unwrap_or_default();
        list.into_iter()
            .map(|point| {
                let second = point["timestamp"].as_u64().unwrap() - START;
                (metric.clone(), second, point["value"].as_f64().unwrap())
            })
            .collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
}

#[test]
fn buckets_close_by_the_clock_of_the_capture_and_counters_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let records: [(u64, &[u8], u32); 5] = [
        (nanos(1), b"hits:3|c|#env:prod", 1),
        (nanos(9), b"hits:2|c|@0.5|#env:prod\ntemp:7|g", 1),
        (nanos(10), b"temp:8|g", 1),
        // Two intervals without a datagram.
        (nanos(41), b"temp:9|g\nbad", 1),
        // A clock that stepped back reopens nothing.
        (nanos(5), b"temp:10|g", 1),
    ];
    let path = written(folder.path(), "f", &file(3, &records));
    let text = posted(&path, &["--set", "hostname=web-1"]);
    let hits = |second, value| ("hits".to_owned(), second, value);
    let temp = |second, value| ("temp".to_owned(), second, value);
    assert_eq!(
        points(&text),
        [
            hits(0, 0.7),
            temp(0, 7.0),
            hits(10, 0.0),
            temp(10, 8.0),
            hits(20, 0.0),
            hits(30, 0.0),
            hits(40, 0.0),
            temp(40, 10.0)
        ]
    );
    let first = &lines(&text)[0];
    assert_eq!(
        first,
        &json!({"route": "series_v2", "metric": "hits", "type": 2, "interval": 10,
            "tags": ["env:prod"], "points": [{"timestamp": START, "value": 0.7}],
            "resources": [{"type": "host", "name": "web-1"}]})
    );
    let said = String::from_utf8(offline(&path, &[]).stderr).unwrap();
    assert!(
        said.starts_with("5 datagrams; lines 7 received = 6 recorded + 1 refused + 0 dropped (missing_type 1); 2 contexts; "),
        "{said}"
    );
}

/// Every kind, many series, tags in several orders.
fn traffic() -> Vec<u8> {
    let mut payloads = Vec::new();
    for number in 0_u64..400 {
        let (user, shard) = (number % 37, number % 5);
        payloads.push(format!(
            "app.hits:{number}|c|#user:{user},shard:{shard}\napp.hits:1|c|#shard:{shard},user:{user}\n\
             app.load:{number}.5|g|#shard:{shard}\napp.users:u{user}|s\napp.wait:{user}|ms|#shard:{shard}\n\
             app.size:{number}|d|#shard:{shard}\n_e{{1,2}}:t|xy|#n:{user}\n_sc|app.up|0|#n:{user}\n"
        ));
    }
    let records: Vec<(u64, &[u8], u32)> = payloads
        .iter()
        .enumerate()
        .map(|(number, payload)| (nanos(number as u64 / 8), payload.as_bytes(), 1))
        .collect();
    file(3, &records)
}

#[test]
fn the_same_file_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = traffic();
    let path = written(folder.path(), "f", &bytes);
    let packed = written(folder.path(), "z", &zstd::encode_all(&bytes[..], 3).unwrap());
    for format in ["json", "text"] {
        let first = posted(&path, &["--format", format]);
        assert!(first.lines().count() > 500, "{first}");
        assert!(posted(&path, &["--format", format]) == first, "{format}");
        assert!(posted(&packed, &["--format", format]) == first, "{format}");
    }
    let said = |path: &Path| String::from_utf8(offline(path, &[]).stderr).unwrap();
    assert_eq!(said(&path), said(&path));
}

/// Sorted; a device is posted as a resource, which the fake intake reads back as a tag.
fn plain<'a>(tags: impl Iterator<Item = &'a str>) -> String {
    let mut tags: Vec<&str> = tags.filter(|tag| !tag.starts_with("device:")).collect();
    tags.sort_unstable();
    tags.join(",")
}

#[test]
fn what_is_printed_is_what_a_server_posts() {
    let folder = tempfile::tempdir().unwrap();
    let payload = b"a.b:1:2:3|c|@0.5|#x:1,x:1\ng:20|g\ng:22.5|g|#device:d\ns:u1|s\nh:1|h\nh:2|h\n\
        d:1|d\nd:2|d\n_e{6,4}:deploy|done|#x\n_sc|up|2|m:bad\n";
    let rules = "statsd_metric_namespace: n\ntags: [team:x]\nhistogram_percentiles: [0.5]\n\
        dogstatsd_mapper_profiles:\n  - {name: p, prefix: a., mappings: [{match: 'a.*', name: a, tags: {what: $1}}]}\n";
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).yaml(rules).start();
    program.udp(payload);
    program.terminate().balances();
    let live = intake.read(|state| {
        let mut names: Vec<String> = state
            .all_series()
            .map(|series| {
                let values: Vec<String> =
                    series.points.iter().map(|point| point.1.to_string()).collect();
                let tags = plain(series.tags.iter().map(String::as_str));
                format!("{} {tags} {}", series.metric, values.join(" "))
            })
            .collect();
        names.sort();
        names
    });
    let path = written(folder.path(), "f", &file(3, &[(nanos(1), payload, 1)]));
    let config = written(folder.path(), "c.yaml", rules.as_bytes());
    let text = posted(&path, &["-c", &config.display().to_string(), "--set", "hostname=web-1"]);
    let mut offline: Vec<String> = lines(&text)
        .iter()
        .filter(|line| line["route"] == "series_v2")
        .map(|line| {
            let tags = line["tags"].as_array().unwrap().iter();
            let tags = plain(tags.map(|tag| tag.as_str().unwrap()));
            let value = line["points"][0]["value"].as_f64().unwrap();
            format!("{} {tags} {value}", line["metric"].as_str().unwrap())
        })
        .collect();
    offline.sort();
    assert_eq!(offline, live);
    let routes: Vec<Value> = lines(&text).iter().map(|line| line["route"].clone()).collect();
    for route in ["sketches", "events", "service_checks"] {
        assert!(routes.contains(&route.into()), "{text}");
    }
}

#[test]
fn a_gap_of_years_is_one_step() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = file(1, &[(1, b"hits:1|c", 1), (u64::from(u32::MAX), b"temp:1|g", 1)]);
    let path = written(folder.path(), "f", &bytes);
    let text = posted(&path, &["--format", "text"]);
    // The counter goes on for dogstatsd_expiry_seconds, and then nothing is posted for years.
    let hits = text.lines().filter(|line| line.contains("  hits  ")).count();
    assert_eq!(hits, 30, "{text}");
    assert!(text.ends_with("2106-02-07T06:28:10Z  gauge  temp  1.0\n"), "{text}");
}
