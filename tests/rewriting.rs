//! Rewriting through the real program: what a datagram becomes under mapper profiles and filters, and
//! that SIGHUP makes new rules hold for metrics already known.

use std::collections::BTreeSet;

use crate::support::program::{Program, Setup, until, whippet};

/// Posts JSON lines to its standard output, once a second, under those rules.
fn setup(rules: &str) -> Setup {
    let setup = Setup::bare();
    let admin = setup.path("admin.sock");
    setup
        .set("dogstatsd_port", 0)
        .set("interval", 1)
        .set("output", "jsonl")
        .set("admin_address", admin.display())
        .yaml(rules)
}

/// What was posted so far, in whole lines.
fn written(program: &Program) -> String {
    let text = program.printed();
    text[..text.rfind('\n').map_or(0, |end| end + 1)].to_owned()
}

/// Every series and sketch posted after the first `mark` bytes, each once, as
/// `name type #tags @host`.
fn posted_since(program: &Program, mark: usize) -> BTreeSet<String> {
    let written = written(program);
    let values = written[mark..].lines().map(|line| serde_json::from_str(line).unwrap());
    let metrics = values.filter(|value: &serde_json::Value| value["metric"].is_string());
    metrics
        .map(|value| {
            let text = |key: &str| value[key].as_str().unwrap_or("sketch").to_owned();
            let tags = value["tags"].as_array().unwrap().iter();
            let tags: Vec<&str> = tags.map(|tag| tag.as_str().unwrap()).collect();
            let (name, kind, host) = (text("metric"), text("type"), text("host"));
            format!("{name} {kind} #{} @{host}", tags.join(","))
        })
        .collect()
}

fn posts_since(program: &Program, mark: usize, start: &str) -> bool {
    posted_since(program, mark).iter().any(|line| line.starts_with(start))
}

const RULES: &str = r#"
statsd_metric_namespace: ns
dogstatsd_tags: [team:web]
dogstatsd_mapper_profiles:
  - name: airflow
    prefix: "airflow."
    mappings:
      - match: "airflow.job.duration.*.*"
        name: "airflow.job.duration"
        tags: {job_type: "$1", job_name: "$2"}
  - name: test
    prefix: "test."
    mappings:
      - match: "^bad*"
        name: never
      - match: 'test\.job\.(.*)'
        match_type: regex
        name: test.job
        tags: {host: "$1"}
    histogram_aggregates: [max]
    histogram_percentiles: []
    counters_as_counts: true
metric_filterlist: [ns.gone, ns.req.avg, ns.req.count, ns.req.median]
metric_tag_filterlist:
  - {metric_name: ns.x, tags: [id]}
"#;

#[test]
fn a_datagram_is_rewritten_as_configured_and_its_lines_balance() {
    let program = setup(RULES).start();
    let lines = [
        "airflow.job.duration.etl.daily:3|d|#env:p",
        "test.job.a/1:1|c",
        "test.time:1|h",
        "req:1|h",
        "gone:1|c",
        "gone:1|c",
        "x:1|c|#id:1,env:p",
        "x:1|c|#id:2,env:p",
        "_e{4,1}:gone|x",
    ];
    program.unix_datagram(lines.join("\n"));
    let expect = [
        "airflow.job.duration sketch #env:p,job_type:etl,job_name:daily,team:web @web-1",
        "ns.req.95percentile gauge #team:web @web-1",
        "ns.req.max gauge #team:web @web-1",
        "ns.test.job count #team:web @a/1",
        "ns.test.time.max gauge #team:web @web-1",
        "ns.x rate #env:p,team:web @web-1",
    ];
    // The event is written last.
    until("posts the interval", || written(&program).contains("\"event\"").then_some(()));
    let expect: BTreeSet<String> = expect.map(str::to_owned).into();
    assert_eq!(posted_since(&program, 0), expect);
    let log = program.end();
    let balance = "9 received = 7 recorded + 0 refused + 2 dropped (filtered 2)";
    assert!(log.contains(balance), "{log}");
    assert!(log.contains("dogstatsd_mapper_profiles[1].mappings[0].match"), "{log}");
    assert!(log.contains("degraded"), "{log}");
}

#[test]
fn a_reload_takes_effect_on_known_metrics() {
    let setup = setup("");
    let program = setup.start();
    let known = "job.etl.rows:1|c\nkept:1|g\nh:1|h";
    program.unix_datagram(known);
    until("posts the plain names", || posts_since(&program, 0, "h.avg gauge").then_some(()));
    assert!(
        posts_since(&program, 0, "job.etl.rows rate") && posts_since(&program, 0, "kept gauge")
    );

    setup.rewrite(
        "dogstatsd_mapper_profiles: [{name: j, prefix: job., counters_as_counts: true, \
         mappings: [{match: job.*.rows, name: job.rows, tags: {job: $1}}]}]\n\
         metric_filterlist: [kept, h.avg]\n",
    );
    program.signal("HUP");
    until("maps the known name", || {
        program.unix_datagram(known);
        posts_since(&program, 0, "job.rows count #job:etl").then_some(())
    });
    // From here on every bucket was opened under the new rules.
    let mark = written(&program).len();
    until("drops one aggregate", || {
        program.unix_datagram(known);
        posts_since(&program, mark, "h.max gauge").then_some(())
    });
    assert!(!posts_since(&program, mark, "h.avg") && !posts_since(&program, mark, "kept"));

    setup.rewrite("metric_filterlist: []\n");
    program.signal("HUP");
    until("knows the first rules again", || {
        program.unix_datagram(known);
        let both =
            posts_since(&program, mark, "kept gauge") && posts_since(&program, mark, "h.avg gauge");
        both.then_some(())
    });
    let log = program.end();
    assert!(log.contains("dropped (filtered"), "{log}");
}

/// Rules, datagram, what is posted (values in a bucket of one second), lines filtered.
type Row = (&'static str, &'static str, &'static [&'static str], u32);

const AIRFLOW: &str = r#"{"name":"airflow","prefix":"airflow.","mappings":[{"match":"airflow.job.duration.*.*","name":"airflow.job.duration","tags":{"job_type":"$1","job_name":"$2"}}]}"#;

/// The documented examples of mapper, namespace, metric filter and tag filter, one by one.
const EXAMPLES: &[Row] = &[
    // -- Mapper; {airflow} is the profile above.
    (
        "dogstatsd_mapper_profiles: [{airflow}]",
        "airflow.job.duration.etl.daily:1|c|#own",
        &["airflow.job.duration rate 1 #job_name:daily,job_type:etl,own"],
        0,
    ),
    (
        "dogstatsd_mapper_profiles: [{airflow}]",
        "airflow.job.duration.etl:1|c",
        &["airflow.job.duration.etl rate 1 #"],
        0,
    ),
    (
        "dogstatsd_mapper_profiles: [{name: t, prefix: test., mappings: [{match: test.*_start, name: test.start, tags: {job: $1}}]}]",
        "test.my_job_start:1|c",
        &["test.start rate 1 #job:my_job"],
        0,
    ),
    (
        "dogstatsd_mapper_profiles: [{name: t, prefix: test., mappings: [{match: test.job.*.*, name: test.hello.$2.$1}]}]",
        "test.job.a.b:1|c",
        &["test.hello.b.a rate 1 #"],
        0,
    ),
    (
        "dogstatsd_mapper_profiles: [{name: f, prefix: foo., mappings: [{match: foo.only, name: hit}]}, {name: b, prefix: foo.bar., mappings: [{match: foo.bar.duration.*, name: never}]}]",
        "foo.bar.duration.x:1|c",
        &["foo.bar.duration.x rate 1 #"],
        0,
    ),
    (
        r"dogstatsd_mapper_profiles: [{name: t, prefix: '*', mappings: [{match: 'test\.job\.(.*)', match_type: regex, name: test.job, tags: {cap: $1}}]}]",
        "test.job.my.funky$name/1:1|c",
        &["test.job rate 1 #cap:my.funky$name/1"],
        0,
    ),
    // Anchors bind one branch each; `$1_x` is the group "1_x", which does not exist.
    (
        "dogstatsd_mapper_profiles: [{name: t, prefix: '*', mappings: [{match: 'a|b', match_type: regex, name: either}]}]",
        "and.more:1|c\nmore.b:1|c\nb.a.:1|c",
        &["b.a. rate 1 #", "either rate 2 #"],
        0,
    ),
    (
        "dogstatsd_mapper_profiles: [{name: t, prefix: a., mappings: [{match: a.*, name: 'x.$1_y.${1}_y.$$.$9z'}]}]",
        "a.b:1|c",
        &["x..b_y.$. rate 1 #"],
        0,
    ),
    // The raw name is mapped, then the namespace is put before it; events and checks stay.
    (
        "statsd_metric_namespace: ns\ndogstatsd_mapper_profiles: [{airflow}, {name: j, prefix: job., mappings: [{match: job.*, name: done, tags: {job: $1}}]}]",
        "job.etl:1|c\nairflow.job.duration.a.b:1|c\nns.x:1|c\nkafkaesque.x:1|c\n_sc|job.etl|0",
        &[
            "airflow.job.duration rate 1 #job_name:b,job_type:a",
            "kafkaesque.x rate 1 #",
            "ns.done rate 1 #job:etl",
            "ns.ns.x rate 1 #",
        ],
        0,
    ),
    // -- Metric filter list
    ("metric_filterlist: [a.b]", "a.b:1|c\na.bc:1|c", &["a.bc rate 1 #"], 1),
    (
        "metric_filterlist: [a.]\nmetric_filterlist_match_prefix: true",
        "a.b:1|c\na.:1|g\na.c.d:1|d\nab:1|c",
        &["ab rate 1 #"],
        3,
    ),
    (
        "statsd_metric_blocklist: [a.]\nstatsd_metric_blocklist_match_prefix: true",
        "a.b:1|c\nab:1|c",
        &["ab rate 1 #"],
        1,
    ),
    ("statsd_metric_blocklist: [x]\nmetric_filterlist: [y]", "x:1|c\ny:1|c", &["x rate 1 #"], 1),
    (
        "statsd_metric_namespace: ns\nmetric_filterlist: [ns.x, y]",
        "x:1|c\ny:1|c",
        &["ns.y rate 1 #"],
        1,
    ),
    (
        "metric_filterlist: [req.avg]",
        "req:1|h",
        &[
            "req.95percentile gauge 1 #",
            "req.count rate 1 #",
            "req.max gauge 1 #",
            "req.median gauge 1 #",
        ],
        0,
    ),
    // Not a suffix that is configured: a name like any other. And no suffix of a distribution.
    (
        "histogram_aggregates: [max]\nhistogram_percentiles: []\nmetric_filterlist: [req.min, d.max]",
        "req:1|h\nd:1|d\nreq.min:1|g",
        &["d sketch #", "req.max gauge 1 #"],
        1,
    ),
    // -- Tag filter list
    (
        "metric_tag_filterlist: [{metric_name: x, action: exclude, tags: [id]}]",
        "x:1|c|#id:1,env:p\nx:1|c|#id:2,env:p\ny:1|c|#id:1",
        &["x rate 2 #env:p", "y rate 1 #id:1"],
        0,
    ),
    (
        "metric_tag_filterlist: [{metric_name: x, action: include, tags: [env]}]",
        "x:1|g|#id:1,env:p\nx:2|g|#id:2,env:p",
        &["x gauge 2 #env:p"],
        0,
    ),
    (
        "metric_tag_filterlist: [{metric_name: x, tags: [a]}, {metric_name: x, tags: [b]}, {metric_name: y, action: include, tags: [a, b]}, {metric_name: y, tags: [a]}]",
        "x:m|s|#a:1,b:1,c:1\ny:1|c|#a:1,b:1,c:1",
        &["x gauge 1 #c:1", "y rate 1 #b:1,c:1"],
        0,
    ),
];

#[test]
fn documented_examples_come_out_as_documented() {
    // One program per row, a few at a time: each row has a configuration of its own.
    for rows in EXAMPLES.chunks(8) {
        let running: Vec<_> = rows
            .iter()
            .map(|row| {
                let program = setup(&row.0.replace("{airflow}", AIRFLOW)).start();
                program.unix_datagram(row.1);
                (row, program)
            })
            .collect();
        for ((rules, datagram, expect, filtered), program) in running {
            let ended = program.terminate();
            assert_eq!(ended.code(), Some(0), "{rules}: {}", ended.stderr);
            let got = values(&ended.stdout);
            let expect: BTreeSet<String> = expect.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(got, expect, "{rules}\n{datagram}");
            let counted = format!("filtered {filtered}");
            assert_eq!(ended.stderr.contains(&counted), *filtered > 0, "{rules}: {}", ended.stderr);
        }
    }
}

/// Every series as `name type value #tags`, tags sorted; sketches without a value; no zero-fills.
fn values(written: &str) -> BTreeSet<String> {
    let lines = written.lines().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|row: &serde_json::Value| row["metric"].is_string())
        .filter(|row| row["points"][0][1] != 0.0)
        .map(|row| {
            let mut tags: Vec<&str> =
                row["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
            tags.sort_unstable();
            let name = row["metric"].as_str().unwrap();
            match row["type"].as_str() {
                Some(kind) => {
                    format!(
                        "{name} {kind} {} #{}",
                        row["points"][0][1].as_f64().unwrap(),
                        tags.join(",")
                    )
                }
                None => format!("{name} sketch #{}", tags.join(",")),
            }
        })
        .collect()
}

/// What cannot be used, its place and the words of the message.
const BROKEN: &[(&str, &str)] = &[
    (
        "dogstatsd_mapper_profiles: [{name: a, prefix: a., mappings: [{match: '^test.*', name: x}]}]",
        "dogstatsd_mapper_profiles[0].mappings[0].match: \"^test.*\" has '^' in a wildcard; use letters",
    ),
    (
        "dogstatsd_mapper_profiles: [{name: a, prefix: a., mappings: [{match: 'test.[]x', name: x}]}]",
        "dogstatsd_mapper_profiles[0].mappings[0].match: \"test.[]x\" has '[' in a wildcard",
    ),
    (
        "dogstatsd_mapper_profiles: [{name: a, prefix: a., mappings: [{match: 'a.**', name: x}]}]",
        "dogstatsd_mapper_profiles[0].mappings[0].match: \"a.**\" has ** in a wildcard",
    ),
    (
        "dogstatsd_mapper_profiles: [{name: a, prefix: a., mappings: [{match: '(', match_type: regex, name: x}]}]",
        "dogstatsd_mapper_profiles[0].mappings[0].match: \"(\" is not a valid regular expression",
    ),
    (
        "dogstatsd_mapper_profiles: [{name: a, prefix: a., mappings: [{match: a, match_type: glob, name: x}]}]",
        "dogstatsd_mapper_profiles[0].mappings[0].match_type: \"glob\" is unknown; use wildcard, regex",
    ),
    (
        "dogstatsd_mapper_profiles: [{prefix: a., mappings: []}]",
        "dogstatsd_mapper_profiles[0]: has no name; add one",
    ),
    (
        "dogstatsd_mapper_profiles: [{name: a, mappings: []}]",
        "dogstatsd_mapper_profiles[0]: has no prefix; add one",
    ),
    (
        "dogstatsd_mapper_profiles: {airflow: {}}",
        "dogstatsd_mapper_profiles: is a map; expected a list of mapper profiles",
    ),
    (
        "metric_filterlist: [{a: b}]",
        "metric_filterlist[0]: is a map; did you mean the string \"a:b\"?",
    ),
    ("metric_filterlist: {a: b}", "metric_filterlist: is a map; expected a list of strings"),
    (
        "metric_tag_filterlist: [{tags: [a]}]",
        "metric_tag_filterlist[0]: has no metric_name; add one",
    ),
    (
        "metric_tag_filterlist: [{metric_name: x, action: drop, tags: [a]}]",
        "metric_tag_filterlist[0].action: \"drop\" is unknown; use include, exclude",
    ),
    (
        "metric_tag_filterlist: [{metric_name: x, action: include, tags: a}]",
        "metric_tag_filterlist[0].tags: \"a\": expected a list, as [a, b]",
    ),
    (
        "dogstatsd_tag_cardinality: lots",
        "dogstatsd_tag_cardinality: \"lots\" is unknown; use none, low, orchestrator, high (default low)",
    ),
    (
        "histogram_percentiles: ['7']",
        "histogram_percentiles[0]: \"7\" is not a percentile; use a number from 0 to 1",
    ),
];

#[test]
fn what_cannot_be_used_degrades_a_server_that_says_so_and_is_refused_by_the_check() {
    let started = |(rules, said)| {
        let program = setup(rules).start();
        program.unix_datagram("x:1|g|#a:1");
        (rules, said, program)
    };
    let all: Vec<(&str, &str, Program)> = BROKEN.iter().copied().map(started).collect();
    for (rules, said, program) in all {
        until("posts what it can", || posts_since(&program, 0, "x gauge #a:1").then_some(()));
        let status = program.says(&["status"]);
        assert!(status.contains("Degraded") && status.contains(said), "{rules}: {status}");
        let place = "whippet.yaml:1:";
        let check = ["check-config", "--set", "output=none", "-c"];
        let check = whippet().args(check).arg(program.path("whippet.yaml")).output().unwrap();
        let text = String::from_utf8(check.stdout).unwrap();
        assert_eq!(check.status.code(), Some(78), "{rules}: {text}");
        let error = text.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(error.contains(said) && error.contains(place), "{rules}: {error}");
        let log = program.end();
        assert!(log.contains(said) && log.contains("degraded"), "{rules}: {log}");
    }
}
