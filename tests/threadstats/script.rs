//! The rows of the model's table, and what scripts refuse.

use serde_json::{Value, json};

use super::runner;

/// `table.json` lists calls and what they report, measured with datadogpy 0.56.0:
/// `name=value type @start/interval`, then tags, host and device where they are not null.
#[test]
fn every_row_of_the_table_reports_what_the_model_reports() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("table.json")).unwrap();
    assert_eq!(rows.len(), 52);
    for row in &rows {
        let id = row["case"]["id"].as_str().unwrap();
        let outcome = runner::run(&json!({"cases": [row["case"]]}).to_string()).unwrap();
        let printed: Vec<String> =
            outcome.flushes[id].as_array().unwrap().iter().map(compact).collect();
        let expect: Vec<&str> =
            row["expect"].as_array().unwrap().iter().map(|flush| flush.as_str().unwrap()).collect();
        assert_eq!(printed, expect, "{id}: {}", row["what"]);
    }
}

/// One flush in the table's notation. Numbers print as JSON: `1` is not `1.0`.
fn compact(flush: &Value) -> String {
    let list = |name: &str| flush[name].as_array().unwrap().clone();
    let series = list("metrics").into_iter().chain(list("distributions")).map(|series| {
        assert_eq!(series.as_object().unwrap().len(), 7, "{series}");
        let point = &series["points"][0];
        let mut text = format!(
            "{}={} {} @{}/{}",
            series["metric"].as_str().unwrap(),
            spaced(&point[1]),
            series["type"].as_str().unwrap(),
            point[0],
            series["interval"],
        );
        for field in ["tags", "host", "device"] {
            if !series[field].is_null() {
                text += &format!(" {field}={}", spaced(&series[field]));
            }
        }
        text
    });
    let events = list("events").into_iter().map(|event| format!("event {}", spaced(&event)));
    let text = series.chain(events).collect::<Vec<_>>().join("; ");
    let text = if text.is_empty() { "(nothing)".to_owned() } else { text };
    if flush["return"] == json!(false) { text + " → returns False" } else { text }
}

/// JSON with a space after commas and colons outside of strings, and sorted keys.
fn spaced(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("{key:?}: {}", spaced(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Runs one case and gives its flushes.
#[track_caller]
fn flushes(case: Value) -> Vec<Value> {
    let id = case["id"].as_str().unwrap().to_owned();
    let outcome = runner::run(&json!({"cases": [case]}).to_string()).unwrap();
    outcome.flushes[&id].as_array().unwrap().clone()
}

#[test]
fn flushes_carry_the_lists_reported_since_start() {
    let all = flushes(json!({"id": "c", "start": {}, "steps": [
        {"op": "gauge", "args": ["g", 1, 5]},
        {"op": "distribution", "args": ["d", 1, 5]},
        {"op": "event", "args": ["t", "m"]},
        {"op": "flush", "timestamp": "inf"},
        {"op": "flush"},
        {"op": "event", "args": ["t", "m"]},
        {"op": "fail_next", "which": ["events"]},
        {"op": "flush", "timestamp": 1},
        {"op": "start"},
        {"op": "flush", "timestamp": 1},
    ]}));
    let counts: Vec<&Value> = all.iter().map(|flush| &flush["flush_count"]).collect();
    assert_eq!(counts, [&json!(3), &json!(3), &json!(4), &json!(0)]);
    assert!(all.iter().all(|flush| flush["return"].is_null()));
    assert_eq!(all[2]["events"], json!([]), "the reporter failed on them");
}

#[test]
fn a_failing_kind_fails_once_and_a_metric_failure_counts_one_list() {
    let all = flushes(json!({"id": "c", "start": {}, "steps": [
        {"op": "gauge", "args": ["g", 1, 5]},
        {"op": "distribution", "args": ["d", 1, 5]},
        {"op": "fail_next", "which": ["metrics"]},
        {"op": "flush", "timestamp": "inf"},
        {"op": "gauge", "args": ["g", 2, 5]},
        {"op": "flush", "timestamp": "inf"},
    ]}));
    assert_eq!(all[0]["flush_count"], json!(1));
    assert_eq!(all[1]["metrics"].as_array().unwrap().len(), 1);
    assert_eq!(all[1]["flush_count"], json!(2));
}

#[test]
fn missing_timestamps_read_the_clock_and_scopes_are_timed() {
    let all = flushes(json!({"id": "c", "start": {"roll_up_interval": 3600}, "steps": [
        {"op": "gauge", "args": ["g", 1]},
        {"op": "gauge", "kwargs": {"metric_name": "g", "value": 2, "timestamp": 0}},
        {"op": "timer", "args": ["t"], "kwargs": {"tags": ["x"]}},
        {"op": "timed", "args": ["t", 1, ["x"]]},
        {"op": "flush", "timestamp": "inf"},
    ]}));
    let metrics = all[0]["metrics"].as_array().unwrap();
    assert_eq!(metrics[0]["points"][0][1], json!(2));
    assert!(metrics[0]["points"][0][0].as_f64().unwrap() > 1.7e9);
    assert_eq!(metrics.len(), 9, "one gauge and the eight series of a histogram");
    assert_eq!(metrics[3]["metric"], json!("t.count"));
    assert_eq!(metrics[3]["points"][0][1], json!(2.0 / 3600.0));
}

/// A malformed step is refused with its case and number.
#[track_caller]
fn refuses(step: Value, expect: &str) {
    let script = json!({"cases": [{"id": "A7", "start": {}, "steps": [{"op": "flush"}, step]}]});
    let error = runner::run(&script.to_string()).unwrap_err();
    assert!(error.starts_with("case A7: step 2"), "{error}");
    assert!(error.contains(expect), "{error}");
}

#[test]
fn malformed_steps_are_refused_by_name() {
    refuses(json!({"op": "guage", "args": ["g", 1]}), "(guage): unknown operation");
    refuses(json!({"args": ["g", 1]}), "op: missing");
    refuses(json!(7), "is not an object");
    refuses(json!({"op": "gauge", "args": ["g"]}), "value: missing");
    refuses(json!({"op": "gauge", "args": ["g", "x"]}), "value: \"x\" is not a number");
    refuses(json!({"op": "gauge", "args": ["g", 1, 2, null, 1, null, 7]}), "at most 6");
    refuses(json!({"op": "gauge", "args": ["g", 1], "kwargs": {"value": 2}}), "given twice");
    refuses(json!({"op": "gauge", "args": ["g", 1], "kwargs": {"tag": []}}), "tag: unknown");
    refuses(
        json!({"op": "gauge", "args": ["g", 1], "kwargs": {"tags": "a"}}),
        "not a list of texts",
    );
    refuses(json!({"op": "gauge", "args": ["g", 1], "times": 2}), "times: unknown key");
    refuses(json!({"op": "gauge", "args": ["g", 1], "repeat": -1}), "repeat");
    refuses(json!({"op": "gauge", "args": {"a": 1}}), "not a list");
    refuses(json!({"op": "set", "args": ["s", [1]]}), "value: [1]");
    refuses(json!({"op": "event", "args": ["t"]}), "message: missing");
    refuses(json!({"op": "flush", "timestamp": "soon"}), "timestamp");
    refuses(json!({"op": "fail_next", "which": ["gauges"]}), "which: known are");
    refuses(json!({"op": "start", "kwargs": {"roll_up_interval": 0}}), "roll_up_interval: 0");
    refuses(json!({"op": "start", "kwargs": {"interval": 1}}), "interval: unknown");
}

#[test]
fn malformed_cases_are_refused_by_name() {
    let refuses = |script: &str, expect: &str| {
        let error = runner::run(script).unwrap_err();
        assert!(error.contains(expect), "{script}: {error}");
    };
    refuses("{", "not JSON");
    refuses("[]", "cases: missing");
    refuses(r#"{"cases": [{"steps": []}]}"#, "case 1 of 1: id");
    refuses(r#"{"cases": [{"id": "a"}]}"#, "case a: steps");
    refuses(r#"{"cases": [{"id": "a", "steps": []}, {"id": "a", "steps": []}]}"#, "used before");
    refuses(r#"{"cases": [{"id": "a", "start": 1, "steps": []}]}"#, "case a: start");
    refuses(r#"{"cases": [{"id": "a", "start": {"roll_up_interval": -1}, "steps": []}]}"#, "-1");
    refuses(r#"{"cases": [{"id": "a", "init": {"name": ""}, "steps": []}]}"#, "case a: init: name");
    refuses(r#"{"cases": [{"id": "a", "env": {"A": 1}, "steps": []}]}"#, "env: A");
}

#[test]
fn what_the_client_refuses_is_noted_and_harms_nothing() {
    let script = json!({"cases": [{"id": "a", "steps": [
        {"op": "gauge", "args": ["", 1, 5]},
        {"op": "gauge", "args": ["x", 1, 5]},
        {"op": "set", "args": ["x", "text", 5]},
        {"op": "stop"},
        {"op": "flush", "timestamp": "inf"},
    ]}]});
    let outcome = runner::run(&script.to_string()).unwrap();
    assert_eq!(compact(&outcome.flushes["a"][0]), "x=1 gauge @0/10");
    assert_eq!(outcome.notes, ["case a: 1 lost: empty_name", "case a: 1 lost: not_a_number"]);
}
