//! `whippet explain`: how a line is read and what it becomes.

use serde_json::Value;

use super::command::{run, run_with_stdin};

/// Explains one line under `settings`; every expected line must be on the page, in this order.
#[track_caller]
fn explains(line: &str, settings: &[&str], expect: &[&str]) {
    let mut args = vec!["explain", line, "--set", "hostname=h"];
    settings.iter().for_each(|setting| args.extend(["--set", setting]));
    let got = run(&args);
    assert_eq!((got.stderr.as_str(), got.code), ("", 0), "{line}");
    let mut page =
        got.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    for wanted in expect {
        assert!(
            page.any(|line| line == *wanted),
            "{line}: no {wanted:?} at its place in\n{}",
            got.stdout
        );
    }
}

#[test]
fn explain_shows_how_a_metric_is_read_and_what_it_becomes() {
    explains(
        "name:1|c|@0.5|#a",
        &[],
        &[
            "name:1|c|@0.5|#a",
            "kind counter",
            "name name",
            "value 1",
            "rate 0.5",
            "tags a",
            "changes:",
            "each value counts 2 times (sample rate)",
            "context:",
            "tags a",
            "host h (from hostname)",
        ],
    );
    explains(
        "n:1:nan|h|@7|#a,a,host:web,env:prod,device:d|zz|c:x",
        &["statsd_metric_namespace=ns", "tags=env:prod team:x"],
        &[
            "values 1 NaN",
            "tags a a host:web env:prod device:d",
            "ignored zz: no such field",
            "ignored c:x: dogstatsd_origin_detection_client is false",
            "rate 7 is out of range (above 0, at most 1): taken as 1",
            "1 of 2 values dropped: not finite",
            "the name becomes ns.n (statsd_metric_namespace)",
            "tag a is repeated: a tag counts once",
            "tag host:web leaves the tags: it sets the host (the last one wins)",
            "tag env:prod is already on everything, from the configuration",
            "tag device:d is sent to the intake as a resource",
            "tag team:x comes from the configuration",
            "name ns.n",
            "tags a device:d env:prod team:x",
            "host web (from the host: tag)",
        ],
    );
    explains(
        "n:1|h",
        &["histogram_copy_to_distribution=true", "histogram_copy_to_distribution_prefix=dist."],
        &[
            "a distribution gets the same values (histogram_copy_to_distribution)",
            "name n",
            "kind distribution",
            "name dist.n",
        ],
    );
    explains("n:x:y|s|@0.1", &[], &["member x:y", "the rate changes nothing for a set"]);
    explains(
        "n:nan|g",
        &[],
        &["1 of 1 values dropped: not finite", "dropped: non finite", "posted: nothing"],
    );
    explains(
        "n:1|h|T5",
        &[],
        &["timestamp 5 (1970-01-01 00:00:05 UTC)", "dropped: timestamp unsupported"],
    );
    explains(
        "n:1|c|T5",
        &["dogstatsd_no_aggregation_pipeline=false"],
        &["ignored T5: dogstatsd_no_aggregation_pipeline is false", "changes:", "none"],
    );
    explains(
        "n:1|c|c:ci-abc|card:high",
        &["dogstatsd_origin_detection_client=true"],
        &["local data ci-abc", "card high"],
    );
}

#[test]
fn explain_shows_events_and_checks() {
    explains(
        "_e{5,4}:title|a\\nb|p:urgent|h:web|#host:x,t",
        &["dogstatsd_tags=env:prod"],
        &[
            "kind event",
            "text a\\nb",
            "priority normal",
            "host web",
            "timestamp when it arrives",
            "ignored p:urgent: invalid",
            "each \\n of the text becomes a newline",
            "tag env:prod comes from the configuration",
            "h: wins over the host: tag",
        ],
    );
    explains(
        "_sc|db.up|2|d:21|#host:q|m:gone",
        &[],
        &["kind service check", "status 2 (critical)", "message gone", "the host is q"],
    );
}

/// The JSON of what would be posted, in order.
pub fn posted(stdout: &str) -> Vec<Value> {
    let lines = stdout.lines().filter(|line| line.trim_start().starts_with('{'));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn explain_shows_what_would_be_posted() {
    let got = run(&[
        "explain",
        "n:1:3|ms|#b,a",
        "--set",
        "hostname=h",
        "--set",
        "histogram_aggregates=max",
    ]);
    let posted = posted(&got.stdout);
    let names: Vec<&str> = posted.iter().filter_map(|json| json["metric"].as_str()).collect();
    assert_eq!(names, ["n.max", "n.95percentile"]);
    assert_eq!(posted[0]["points"][0][1], 3.0);
    assert_eq!((&posted[0]["host"], &posted[0]["unit"]), (&"h".into(), &"millisecond".into()));
    let timestamped = run(&["explain", "n:4|c|@0.5|T1656581400"]);
    let json = &self::posted(&timestamped.stdout)[0];
    assert_eq!(json["points"].to_string(), "[[1656581400,0.4]]");
}

#[test]
fn explain_refuses_with_the_place_and_goes_on() {
    let got = run_with_stdin(&["explain", "-"], b"x:1|q\nx:1|c\n");
    assert!(got.stdout.starts_with("x:1|q\nrefused: the metric type must be c, g, h, ms, s or d\n    x:1|q\n        ^\n\nx:1|c\n  kind       counter\n"), "{}", got.stdout);
    assert_eq!(got.code, 1);
    let nothing = run_with_stdin(&["explain", "-"], b"\n");
    assert_eq!((nothing.stderr.as_str(), nothing.code), ("whippet: no lines to explain\n", 1));
    let bad = run(&["explain", "x:1|c", "--set", "dogstatsd_port=x"]);
    assert!(bad.stderr.contains("dogstatsd_port"), "{}", bad.stderr);
    assert_eq!(bad.code, 78);
}

#[test]
fn explain_names_the_rule_that_changed_or_dropped_a_metric() {
    let profiles = r#"dogstatsd_mapper_profiles=[{"name":"jobs","prefix":"job.","mappings":[{"match":"job.none","name":"x"},{"match":"job.*.done","name":"job.done","tags":{"job":"$1"}}]}]"#;
    explains(
        "job.night.done:1|c",
        &[profiles],
        &[
            "the name becomes job.done (mapper profile jobs, match job.*.done)",
            "tag job:night comes from mapper profile jobs, match job.*.done",
        ],
    );
    explains(
        "a.b:1|c",
        &["metric_filterlist=x a.b"],
        &["dropped: filtered (metric_filterlist, entry a.b)"],
    );
    explains(
        "a.b:1|c",
        &["statsd_metric_blocklist=a.", "statsd_metric_blocklist_match_prefix=true"],
        &["dropped: filtered (statsd_metric_blocklist, prefix a.)"],
    );
    let tags = r#"metric_tag_filterlist=[{"metric_name":"a","action":"exclude","tags":["id"]}]"#;
    explains(
        "a:1|c|#id:1,k:v",
        &[tags],
        &["tag id:1 is removed by metric_tag_filterlist, exclude for a"],
    );
}

#[test]
fn explain_warns_of_what_an_intake_does_not_take() {
    explains(
        "page views:1|c|T1700000000",
        &[],
        &[
            "warning: the name contains a space; it is posted as it is, and the intake expects letters, digits, _ and .",
        ],
    );
    let page = run(&["explain", "x:1|c|T1700000000"]).stdout;
    assert!(
        page.contains(
            "min old; it is posted, but an intake keeps only points of about the last hour"
        ),
        "{page}"
    );
    let page = run(&["explain", "x:1|c|T99999999999"]).stdout;
    assert!(page.contains("min in the future"), "{page}");
}

/// Settings of a server that sends to the global tier.
#[cfg(feature = "global")]
const SENDS: [&str; 4] = [
    "global_mode=send",
    "global_brokers=localhost:9092",
    "global_metrics=page.*",
    "tags=env:prod pod_name:p",
];

#[cfg(feature = "global")]
#[test]
fn explain_says_who_posts_a_series_and_why() {
    explains(
        "page.views:1|c|#service:web,host:a,pod_name:x,device:d,veneurglobalonly",
        &[],
        &["tags service:web pod_name:x device:d veneurglobalonly", "host a (from the host: tag)"],
    );
    explains(
        "page.views:1|c|#service:web,host:a,pod_name:x,device:d",
        &SENDS,
        &[
            "tag host:a leaves the tags, and sets no host: the series is global",
            "tag pod_name:x is left out of a global series (global_drop_tags)",
            "tag device:d is left out: a global series has no host and no device",
            "tag env:prod comes from the configuration",
            "tags service:web env:prod",
            "host none (the series is global)",
            "scope global (global_metrics, entry page.*)",
            "owner partition 33 of 64 of whippet-global",
        ],
    );
    explains(
        "n:1|g|#whippet_scope:global",
        &SENDS,
        &[
            "tag whippet_scope:global leaves the tags: it decides whether the series is global",
            "scope global (tag whippet_scope:global)",
        ],
    );
    explains(
        "page.views:1|c|#veneurlocalonly",
        &SENDS,
        &["host h (from hostname)", "scope local (tag veneurlocalonly)"],
    );
    explains("n:1|c", &SENDS, &["scope local (no tag and no entry of global_metrics names it)"]);
    explains(
        "page.time:1|d",
        &SENDS,
        &["owner posted here, without a host: the intake adds distributions"],
    );
    let timed = "scope local: a value with a timestamp is not merged (its series is global, \
                 global_metrics, entry page.*)";
    explains("page.views:1|c|T1656581400", &SENDS, &["host h (from hostname)", timed]);
    let handed =
        run(&[&["explain", "page.views:1|c"][..], &SENDS.map(|one| ["--set", one]).concat()]
            .concat());
    assert!(
        handed.stdout.contains("\nhanded to its owner when the interval of 10 s ends, at "),
        "{}",
        handed.stdout
    );
    assert!(!handed.stdout.contains("posted"), "{}", handed.stdout);
}
