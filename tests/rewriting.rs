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

    /// Ends the program as an operator does; what it logged.
    fn end(mut self) -> String {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success());
        std::fs::read_to_string(self.path("log")).unwrap()
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
         output: ['jsonl:{folder}/out.jsonl']\n{rules}"
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
