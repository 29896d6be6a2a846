//! Rewriting through the real program: what a datagram becomes under mapper profiles and filters, and
//! that SIGHUP makes new rules hold for metrics already known.

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything may take that should happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// The program at work in a folder of its own; killed when dropped.
struct Program {
    folder: TempDir,
    child: Child,
    socket: UnixDatagram,
}

impl Program {
    fn start(rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("whippet.yaml"), configuration(&folder, rules)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_whippet"))
            .args(["run", "--config"])
            .arg(folder.path().join("whippet.yaml"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        let program = Program { folder, child, socket };
        program.until("listens", || program.socket.connect(program.path("d.sock")).is_ok());
        program
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn send(&self, datagram: &str) {
        self.socket.send(datagram.as_bytes()).unwrap();
    }

    fn reload(&self, rules: &str) {
        std::fs::write(self.path("whippet.yaml"), configuration(&self.folder, rules)).unwrap();
        self.signal("-HUP");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// What was written so far, in whole lines.
    fn written(&self) -> String {
        let text = std::fs::read_to_string(self.path("out.jsonl")).unwrap_or_default();
        text[..text.rfind('\n').map_or(0, |end| end + 1)].to_owned()
    }

    /// Every series and sketch posted after the first `mark` bytes, each once, as
    /// `name type #tags @host`.
    fn posted_since(&self, mark: usize) -> BTreeSet<String> {
        let written = self.written();
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

    fn posts_since(&self, mark: usize, start: &str) -> bool {
        self.posted_since(mark).iter().any(|line| line.starts_with(start))
    }

    fn until(&self, what: &str, mut reached: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !reached() {
            let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(
                Instant::now() < end,
                "{what}: never; posted {:#?}\n{log}",
                self.posted_since(0)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the program as an operator does; what it logged, and what is in that file then.
    fn end_keeping(mut self, file: &std::path::Path) -> (String, String) {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success());
        let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
        (read(&self.path("log")), read(file))
    }

    /// Ends the program as an operator does; what it logged.
    fn end(self) -> String {
        let file = self.path("log");
        self.end_keeping(&file).0
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(folder: &TempDir, rules: &str) -> String {
    let folder = folder.path().display();
    format!(
        "dogstatsd_port: 0\ndogstatsd_socket: {folder}/d.sock\nhostname: web-1\ninterval: 1\n\
         output: ['jsonl:{folder}/out.jsonl']\nadmin_address: {folder}/admin.sock\n{rules}"
    )
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
fn a_datagram_is_rewritten_as_configured_and_the_books_balance() {
    let program = Program::start(RULES);
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
    program.send(&lines.join("\n"));
    let expect = [
        "airflow.job.duration sketch #env:p,job_type:etl,job_name:daily,team:web @web-1",
        "ns.req.95percentile gauge #team:web @web-1",
        "ns.req.max gauge #team:web @web-1",
        "ns.test.job count #team:web @a/1",
        "ns.test.time.max gauge #team:web @web-1",
        "ns.x rate #env:p,team:web @web-1",
    ];
    // The event is written last.
    program.until("posts the interval", || program.written().contains("\"event\""));
    let expect: BTreeSet<String> = expect.map(str::to_owned).into();
    assert_eq!(program.posted_since(0), expect);
    let log = program.end();
    let books = "9 received = 7 recorded + 0 refused + 2 dropped (filtered 2)";
    assert!(log.contains(books), "{log}");
    assert!(log.contains("dogstatsd_mapper_profiles[1].mappings[0].match"), "{log}");
    assert!(log.contains("degraded"), "{log}");
}

#[test]
fn a_reload_takes_effect_on_known_metrics() {
    let program = Program::start("");
    let known = "job.etl.rows:1|c\nkept:1|g\nh:1|h";
    program.send(known);
    program.until("posts the plain names", || program.posts_since(0, "h.avg gauge"));
    assert!(program.posts_since(0, "job.etl.rows rate") && program.posts_since(0, "kept gauge"));

    program.reload(
        "dogstatsd_mapper_profiles: [{name: j, prefix: job., counters_as_counts: true, \
         mappings: [{match: job.*.rows, name: job.rows, tags: {job: $1}}]}]\n\
         metric_filterlist: [kept, h.avg]\n",
    );
    program.until("maps the known name", || {
        program.send(known);
        program.posts_since(0, "job.rows count #job:etl")
    });
    // From here on every bucket was opened under the new rules.
    let mark = program.written().len();
    program.until("drops one aggregate", || {
        program.send(known);
        program.posts_since(mark, "h.max gauge")
    });
    assert!(!program.posts_since(mark, "h.avg") && !program.posts_since(mark, "kept"));

    program.reload("");
    program.until("knows the first rules again", || {
        program.send(known);
        program.posts_since(mark, "kept gauge") && program.posts_since(mark, "h.avg gauge")
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
                let program = Program::start(&row.0.replace("{airflow}", AIRFLOW));
                program.send(row.1);
                (row, program)
            })
            .collect();
        for ((rules, datagram, expect, filtered), program) in running {
            let place = program.path("out.jsonl");
            let log = program.end_keeping(&place);
            let got = values(&log.1);
            let expect: BTreeSet<String> = expect.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(got, expect, "{rules}\n{datagram}");
            let told = format!("filtered {filtered}");
            assert_eq!(log.0.contains(&told), *filtered > 0, "{rules}: {}", log.0);
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

/// What cannot be used, the place and the words it is told with.
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
    let whippet = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whippet"));
        command.args(words).env_clear().output().unwrap()
    };
    let started = |(rules, told)| {
        let program = Program::start(rules);
        program.send("x:1|g|#a:1");
        (rules, told, program)
    };
    let all: Vec<(&str, &str, Program)> = BROKEN.iter().copied().map(started).collect();
    for (rules, told, program) in all {
        program.until("posts what it can", || program.posts_since(0, "x gauge #a:1"));
        let file = program.path("whippet.yaml").display().to_string();
        let status = whippet(&["status", "-c", &file]);
        let status = String::from_utf8(status.stdout).unwrap();
        assert!(status.contains("Degraded") && status.contains(told), "{rules}: {status}");
        // Line 7 of the file, after what every test of this page sets.
        let place = "whippet.yaml:7:";
        let check = whippet(&["check-config", "-c", &file]);
        let text = String::from_utf8(check.stdout).unwrap();
        assert_eq!(check.status.code(), Some(1), "{rules}: {text}");
        let error = text.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(error.contains(told) && error.contains(place), "{rules}: {error}");
        let log = program.end();
        assert!(log.contains(told) && log.contains("degraded"), "{rules}: {log}");
    }
}
