use std::time::Duration;

use super::*;
use crate::doors::collected::{Collected, take};

const NOW: u64 = 1_795_715_300;

/// Gives a body to a path; what was recorded, and the answer or the refusal.
fn post(path: &str, headers: &[(&'static str, &'static str)], body: &str) -> (Vec<String>, String) {
    let mut sink = Collected::default();
    let now = Duration::from_millis(NOW * 1000 + 700);
    let answer = match take(&Api, path, headers, body.as_bytes(), now, &mut sink) {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(),
    };
    assert_eq!(answer.content_type, "application/json");
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(&answer.body);
    assert!(parsed.is_ok(), "{}", answer.body);
    (sink.lines, format!("{} {}", answer.status, answer.body))
}

const OK: &str = r#"202 {"status":"ok"}"#;

#[track_caller]
fn records(path: &str, body: &str, expect: &[&str]) {
    let ok = if path == "/api/v2/series" { r#"202 {"errors":[]}"# } else { OK };
    assert_eq!(
        post(path, &[], body),
        (expect.iter().map(ToString::to_string).collect(), ok.to_owned()),
        "{body}"
    );
}

#[track_caller]
fn refuses(path: &str, body: &str, counted: &[&str], message: &str) {
    let expect = format!("400 {}", serde_json::json!({ "errors": [message] }));
    let counted: Vec<String> = counted.iter().map(|of| format!("refused {of}")).collect();
    assert_eq!(post(path, &[], body), (counted, expect), "{body}");
}

/// A v1 series with these fields besides a name and one point; the part it becomes.
#[track_caller]
fn series(fields: &str, expect: &str) {
    let body = format!(r#"{{"series":[{{"metric":"m","points":[[100,2.5]]{fields}}}]}}"#);
    records("/api/v1/series", &body, &[expect]);
}

#[test]
fn the_type_of_a_series_decides_how_it_adds_up() {
    series("", "m gauge 2.5 @100 ");
    series(r#","type":null"#, "m gauge 2.5 @100 ");
    series(r#","type":"gauge""#, "m gauge 2.5 @100 ");
    series(r#","type":"gauge","interval":20"#, "m gauge 2.5 @100 ");
    series(r#","type":"count""#, "m count 2.5 @100 ");
    series(r#","type":"count","interval":20"#, "m count 2.5 @100 ");
    series(r#","type":"rate""#, "m count 25 @100 ");
    series(r#","type":"rate","interval":null"#, "m count 25 @100 ");
    series(r#","type":"rate","interval":0"#, "m count 25 @100 ");
    series(r#","type":"rate","interval":20"#, "m count 50 @100 ");
    series(r#","type":"rate","interval":1"#, "m count 2.5 @100 ");
    series(r#","type":"rate","interval":0.5"#, "m count 1.25 @100 ");
}

#[test]
fn no_host_is_ours_and_a_device_is_a_tag() {
    for none in ["", r#","host":null"#, r#","host":"""#] {
        series(none, "m gauge 2.5 @100 ");
    }
    series(r#","host":"db-1""#, "m gauge 2.5 @100  host=db-1");
    for none in [r#","device":null"#, r#","device":"""#, r#","tags":null"#, r#","tags":[]"#] {
        series(none, "m gauge 2.5 @100 ");
    }
    series(r#","device":"sda""#, "m gauge 2.5 @100 device:sda");
    series(
        r#","tags":["a:b","c,d",null,""],"device":"sda""#,
        "m gauge 2.5 @100 a:b,c,d,device:sda",
    );
    series(r#","tags":["\u00e9"],"unknown":{"x":[1]}"#, r"m gauge 2.5 @100 \xc3\xa9");
}

#[test]
fn times_may_be_fractions_and_every_point_counts() {
    let points = |points: &str| format!(r#"{{"series":[{{"metric":"m","points":{points}}}]}}"#);
    records(
        "/api/v1/series",
        &points("[[100.9,1],[101,-2],[-0.5,3]]"),
        &["m gauge 1 @100 ", "m gauge -2 @101 ", "m gauge 3 @-1 "],
    );
    records("/api/v1/series", &points("[]"), &[]);
    records("/api/v1/series", r#"{"series":[]}"#, &[]);
    records(
        "/api/v1/series",
        r#" {"other":1,"series":[{"points":[[1,2]],"metric":"m"}]} "#,
        &["m gauge 2 @1 "],
    );
}

/// What is bad in a series, and what the API says when no other is good.
const BAD_SERIES: [(&str, &str, &str); 19] = [
    (r#"{"points":[[1,2]]}"#, "value", ".metric: expected a name"),
    (r#"{"metric":"","points":[[1,2]]}"#, "value", ".metric: expected a name"),
    (r#"{"metric":null,"points":[[1,2]]}"#, "value", ".metric: expected a name"),
    (
        r#"{"metric":"m","points":[[1,2]],"type":"histogram"}"#,
        "value",
        ".type: expected gauge, rate or count",
    ),
    (
        r#"{"metric":"m","points":[[1,2]],"type":"Gauge"}"#,
        "value",
        ".type: expected gauge, rate or count",
    ),
    (r#"{"metric":"m"}"#, "value", ".points: expected a list"),
    (r#"{"metric":"m","points":7}"#, "value", ".points: expected a list"),
    (
        r#"{"metric":"m","points":[[1,"2"]]}"#,
        "value",
        ".points: expected pairs of a time and a number",
    ),
    (
        r#"{"metric":"m","points":[[1,null]]}"#,
        "value",
        ".points: expected pairs of a time and a number",
    ),
    (
        r#"{"metric":"m","points":[[1,2],[1]]}"#,
        "value",
        ".points: expected pairs of a time and a number",
    ),
    (
        r#"{"metric":"m","points":[[1,2,3]]}"#,
        "value",
        ".points: expected pairs of a time and a number",
    ),
    (r#"{"metric":"m","points":[1,2]}"#, "value", ".points: expected pairs of a time and a number"),
    (
        r#"{"metric":"m","points":[[1,1e999]]}"#,
        "value",
        ".points: expected pairs of a time and a number",
    ),
    (
        r#"{"metric":"m","points":[[1,1e308]],"type":"rate"}"#,
        "value",
        ".points: expected finite numbers",
    ),
    (r#"{"metric":"m","points":[[1e300,1]]}"#, "time", ".points: expected Unix seconds"),
    (
        r#"{"metric":"m","points":[[1,2]],"type":"rate","interval":-1}"#,
        "value",
        ".interval: expected seconds",
    ),
    (r#"{"metric":"m","points":[[1,2]],"tags":"a:b"}"#, "value", ".tags: expected a list of texts"),
    (r#"{"metric":"m","points":[[1,2]],"tags":[1]}"#, "value", ".tags: expected a list of texts"),
    (r#"["m",[[1,2]]]"#, "value", ": expected an object with metric, points and type"),
];

#[test]
fn a_bad_series_refuses_itself_alone_and_the_request_when_none_is_good() {
    for (bad, reason, message) in BAD_SERIES {
        let body = format!(r#"{{"series":[{bad}]}}"#);
        refuses("/api/v1/series", &body, &[reason], &format!("series[0]{message}"));
        let good = r#"{"metric":"good","points":[[1,2]]}"#;
        for body in
            [format!(r#"{{"series":[{bad},{good}]}}"#), format!(r#"{{"series":[{good},{bad}]}}"#)]
        {
            let (mut lines, answer) = post("/api/v1/series", &[], &body);
            lines.sort();
            assert_eq!(
                lines,
                ["good gauge 2 @1 ".to_owned(), format!("refused {reason}")],
                "{body}"
            );
            assert_eq!(answer, OK, "{body}");
        }
    }
    let both = r#"{"series":[{"metric":""},{"metric":"m","points":[[1,2]],"type":"x"}]}"#;
    refuses("/api/v1/series", both, &["value", "value"], "series[0].points: expected a list");
}

#[test]
fn a_body_that_is_none_is_refused_with_a_place_and_without_its_content() {
    for path in ["/api/v1/series", "/api/v2/series", "/api/v1/distribution_points"] {
        refuses(path, "", &[], "expected one JSON object");
        refuses(path, "[]", &[], "expected one JSON object");
        refuses(path, r#"{"series":[]} x"#, &[], "no valid JSON, line 1 column 15");
        refuses(
            path,
            r#"{"series":[{"metric":"secret"#,
            &[],
            "the JSON ends too early, line 1 column 28",
        );
        refuses(path, "{}", &[], "series: expected a list");
        refuses(path, r#"{"series":null}"#, &[], "series: expected a list");
        refuses(path, r#"{"series":{}}"#, &[], "series: expected a list");
        refuses(path, r#"{"series":[NaN]}"#, &[], "no valid JSON, line 1 column 12");
        let deep = format!(r#"{{"series":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
        refuses(path, &deep, &[], "lists and objects may be nested 32 deep, not deeper");
    }
}

#[test]
fn the_second_version_has_numbers_for_types_and_resources() {
    let one = |fields: &str, expect: &str| {
        let point = r#""points":[{"timestamp":100.5,"value":2.5}]"#;
        let body = format!(r#"{{"series":[{{"metric":"m",{point}{fields}}}]}}"#);
        records("/api/v2/series", &body, &[expect]);
    };
    one("", "m gauge 2.5 @100 ");
    one(r#","type":0"#, "m gauge 2.5 @100 ");
    one(r#","type":3"#, "m gauge 2.5 @100 ");
    one(r#","type":null,"resources":null,"tags":null,"unit":"s""#, "m gauge 2.5 @100 ");
    one(r#","type":1"#, "m count 2.5 @100 ");
    one(r#","type":2"#, "m count 25 @100 ");
    one(r#","type":2,"interval":60"#, "m count 150 @100 ");
    one(
        r#","resources":[{"type":"host","name":"db"},{"name":"sda","type":"device"},{"type":"x","name":"y"}],"tags":["a"]"#,
        "m gauge 2.5 @100 a,device:sda host=db",
    );
    let bad = |series: &str, reason: &str, message: &str| {
        let body = format!(r#"{{"series":[{series}]}}"#);
        refuses("/api/v2/series", &body, &[reason], &format!("series[0]{message}"));
    };
    let pairs = ".points: expected pairs of a time and a number";
    bad(r#"{"metric":"m","type":4,"points":[]}"#, "value", ".type: expected 0 to 3");
    bad(r#"{"metric":"m","points":[[1,2]]}"#, "value", pairs);
    bad(r#"{"metric":"m","points":[{"timestamp":1}]}"#, "value", pairs);
    bad(r#"{"metric":"m","points":[{"timestamp":1,"value":"1"}]}"#, "value", pairs);
    bad(r#"{"metric":"","points":[]}"#, "value", ".metric: expected a name");
    let resources = ".resources: expected a list of objects with type and name";
    bad(r#"{"metric":"m","points":[],"resources":[1]}"#, "value", resources);
    bad(r#"{"metric":"m","points":[],"resources":{}}"#, "value", resources);
}

#[test]
fn protobuf_is_refused_by_its_content_type() {
    for mime in ["application/x-protobuf", "Application/Protobuf; x=y"] {
        let (lines, answer) = post("/api/v2/series", &[("content-type", mime)], r#"{"series":[]}"#);
        let expect = r#"415 {"errors":["Content-Type: expected application/json"]}"#;
        assert_eq!((lines, answer.as_str()), (Vec::new(), expect));
    }
    for mime in ["application/json", "text/plain", ""] {
        let (_, answer) = post("/api/v2/series", &[("content-type", mime)], r#"{"series":[]}"#);
        assert_eq!(answer, r#"202 {"errors":[]}"#);
    }
}

#[test]
fn every_value_of_a_distribution_counts() {
    let path = "/api/v1/distribution_points";
    let one = |fields: &str, expect: &[&str]| {
        records(path, &format!(r#"{{"series":[{{"metric":"m"{fields}}}]}}"#), expect);
    };
    one(
        r#","points":[[100.9,[1,2.5,-3]],[101,[]],[102,[4]]]"#,
        &["m samples [1.0, 2.5, -3.0] @100 ", "m samples [4.0] @102 "],
    );
    one(
        r#","points":[[1,[5]]],"type":"distribution","host":null,"device":null,"tags":["a:b"],"interval":10"#,
        &["m samples [5.0] @1 a:b"],
    );
    one(
        r#","points":[[1,[5]]],"host":"h","device":"sda""#,
        &["m samples [5.0] @1 device:sda host=h"],
    );
    let bad = |series: &str, reason: &str, message: &str| {
        let body = format!(r#"{{"series":[{series}]}}"#);
        refuses(path, &body, &[reason], &format!("series[0]{message}"));
    };
    let pairs = ".points: expected pairs of a time and a list of numbers";
    for points in [
        "[[1,5]]",
        r#"[[1,["5"]]]"#,
        "[[1,[null]]]",
        "[[1,[1e999]]]",
        "[[1]]",
        "[5]",
        "[[1,[2]],[3]]",
    ] {
        bad(&format!(r#"{{"metric":"m","points":{points}}}"#), "value", pairs);
    }
    bad(r#"{"metric":"m"}"#, "value", ".points: expected a list");
    bad(r#"{"metric":"","points":[]}"#, "value", ".metric: expected a name");
    bad(r#"{"metric":"m","points":[],"type":"gauge"}"#, "value", ".type: expected distribution");
    bad(r#"{"metric":"m","points":[[1e300,[1]]]}"#, "time", ".points: expected Unix seconds");
}

#[test]
fn one_event_with_all_its_fields_or_only_a_title() {
    let path = "/api/v1/events";
    let event = |title: &str,
                 text: &str,
                 time: u64,
                 words: &str,
                 host: &str,
                 more: [&str; 2],
                 tags: &[&str]| {
        let bytes = |text: &str| Box::<[u8]>::from(text.as_bytes());
        let (priority, alert_type) = words.split_once(' ').unwrap();
        let tags: Vec<Box<[u8]>> = tags.iter().map(|tag| bytes(tag)).collect();
        format!(
            "event EventRecord {{ title: {:?}, text: {:?}, timestamp: {time}, priority: {priority}, \
             alert_type: {alert_type}, host: {:?}, aggregation_key: {:?}, source_type: {:?}, tags: {tags:?} }}",
            bytes(title),
            bytes(text),
            bytes(host),
            bytes(more[0]),
            bytes(more[1]),
        )
    };
    let plain = |time| event("t", "", time, "Normal Info", "", ["", ""], &[]);
    records(path, r#"{"title":"t"}"#, &[&plain(NOW)]);
    records(
        path,
        r#"{"title":"t","text":null,"date_happened":null,"tags":null,"host":null}"#,
        &[&plain(NOW)],
    );
    records(
        path,
        r#"{"title":"t","date_happened":0,"priority":"odd","alert_type":"user_update"}"#,
        &[&plain(NOW)],
    );
    records(path, r#"{"title":"t","date_happened":100.9,"related_event_id":7}"#, &[&plain(100)]);
    records(
        path,
        r#"{"title":"t","text":"a\nb","date_happened":100,"priority":"low","alert_type":"error","host":"h",
            "aggregation_key":"k","source_type_name":"s","tags":["z","a","z"],"device_name":"sda"}"#,
        &[&event("t", "a\nb", 100, "Low Error", "h", ["k", "s"], &["a", "device:sda", "z"])],
    );
    for word in ["Info", "Warning", "Error", "Success"] {
        let body = format!(r#"{{"title":"t","alert_type":"{}"}}"#, word.to_lowercase());
        let words = format!("Normal {word}");
        records(path, &body, &[&event("t", "", NOW, &words, "", ["", ""], &[])]);
    }
    refuses(path, r#"{"text":"x"}"#, &["value"], "title: expected a text");
    refuses(path, r#"{"title":"t","tags":"a"}"#, &["value"], "tags: expected a list of texts");
    refuses(
        path,
        r#"{"title":"t","date_happened":1e300}"#,
        &["time"],
        "date_happened: expected Unix seconds",
    );
    refuses(
        path,
        r#"{"title":"t","date_happened":"now"}"#,
        &[],
        "a field has another type than expected, line 1 column 34",
    );
    refuses(path, "[]", &[], "expected one JSON object");
}

#[test]
fn checks_come_alone_or_in_a_list() {
    let path = "/api/v1/check_run";
    let check = |status: &str, time: u64, host: &str, message: &str, tags: &[&str]| {
        let bytes = |text: &str| Box::<[u8]>::from(text.as_bytes());
        let tags: Vec<Box<[u8]>> = tags.iter().map(|tag| bytes(tag)).collect();
        format!(
            "check CheckRecord {{ name: {:?}, status: {status}, timestamp: {time}, host: {:?}, \
             message: {:?}, tags: {tags:?} }}",
            bytes("c"),
            bytes(host),
            bytes(message),
        )
    };
    records(path, r#"{"check":"c","status":0}"#, &[&check("Ok", NOW, "", "", &[])]);
    records(
        path,
        r#"{"check":"c","status":2,"host_name":"h","timestamp":100.5,"message":"m","tags":["b","a"]}"#,
        &[&check("Critical", 100, "h", "m", &["a", "b"])],
    );
    let nulls = r#"[{"check":"c","status":1,"host_name":null,"timestamp":null,"message":null,"tags":null}]"#;
    records(path, nulls, &[&check("Warning", NOW, "", "", &[])]);
    records(
        path,
        r#" [{"check":"c","status":3},{"check":"c"},{"check":"c","status":0}]"#,
        &[&check("Unknown", NOW, "", "", &[]), "refused value", &check("Ok", NOW, "", "", &[])],
    );
    records(path, "[]", &[]);
    for status in ["4", "-1", "0.5", r#""0""#, "null"] {
        let body = format!(r#"[{{"check":"c","status":{status}}}]"#);
        let (lines, answer) = post(path, &[], &body);
        assert_eq!(lines, ["refused value"], "{body}");
        assert!(answer.starts_with(r#"400 {"errors":["checks[0]"#), "{answer}");
    }
    refuses(path, r#"{"status":0}"#, &["value"], "check: expected a name");
    refuses(path, r#"{"check":"c"}"#, &["value"], "status: expected 0 to 3");
    refuses(path, r#"[1]"#, &["value"], "checks[0]: expected an object with check and status");
    refuses(path, r#"7"#, &[], "expected an object or a list of objects");
    refuses(path, "", &[], "the JSON ends too early, line 1 column 0");
}

#[test]
fn a_key_is_valid_and_any_other_path_is_not_found() {
    assert_eq!(post("/api/v1/validate", &[], "").1, r#"200 {"valid":true}"#);
    for path in
        ["/api", "/api/", "/api/v2/logs", "/api/v1/seriesx", "/api/v1/query", "/api/v1/metadata"]
    {
        assert_eq!(post(path, &[], "").1, r#"404 {"errors":["Not found"]}"#, "{path}");
    }
}
