//! What `explain` shows is what a server posts.

use serde_json::Value;

use super::command::{run, url_of};
use super::explain::posted;
use crate::support::program::Setup;

/// Takes the second out of a posted series or sketch: only the server's own clock knows it.
fn timeless(mut json: Value) -> Value {
    if let Some(points) = json.get_mut("points").and_then(Value::as_array_mut) {
        points.iter_mut().for_each(|point| point[0] = Value::Null);
    }
    if let Some(timestamp) = json.get_mut("timestamp") {
        *timestamp = Value::Null;
    }
    json
}

fn sorted(json: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut texts: Vec<String> = json.into_iter().map(|json| timeless(json).to_string()).collect();
    texts.sort();
    texts
}

#[test]
fn what_explain_promises_is_what_a_server_posts() {
    let lines = [
        "count:1:2|c|@0.5|#b,a,a",
        "gauge:-5|g|#host:web",
        "timer:1:2:30|ms",
        "people:alice|s",
        "size:1:10:100|d|@0.25|#env:prod",
        "_sc|db.up|1|m:slow",
        "_e{5,4}:title|a\\nb|t:error|#x",
    ];
    let settings = ["statsd_metric_namespace=ns", "tags=team:x"];
    let setup = Setup::bare().set("interval", 3600).set("output", "jsonl");
    let split = |setting: &&'static str| setting.split_once('=').expect("key and value");
    let pairs = settings.iter().map(split);
    let setup = pairs.fold(setup, |setup, (key, value)| setup.set(key, value));
    let server = setup.set("hostname", "h").start();
    let sent = run(&[&["send", "--to", &url_of(&server), "raw"], &lines[..]].concat());
    assert_eq!(sent.code, 0, "{}", sent.stderr);
    let ended = server.terminate();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);

    let mut args =
        [&["explain", "--set", "hostname=h", "--set", "interval=3600"], &lines[..]].concat();
    settings.iter().for_each(|setting| args.extend(["--set", setting]));
    let explained = run(&args);
    let promised = sorted(posted(&explained.stdout));
    assert_eq!(promised.len(), 11, "{}", explained.stdout);
    assert_eq!(sorted(posted(&ended.stdout)), promised, "{}", ended.stderr);
}
