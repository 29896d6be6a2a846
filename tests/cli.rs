//! The real program on its command line: what a person types, what comes back, what arrives.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program with nothing of ours in its environment.
fn whippet(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whippet"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

struct Ran {
    stdout: String,
    stderr: String,
    code: i32,
}

fn ran(output: Output) -> Ran {
    Ran {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

fn run(args: &[&str]) -> Ran {
    ran(whippet(args).output().unwrap())
}

fn run_with_stdin(args: &[&str], stdin: &[u8]) -> Ran {
    let mut command = whippet(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    ran(child.wait_with_output().unwrap())
}

/// A UDP socket of the test and the URL of it.
fn udp() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = format!("udp://{}", socket.local_addr().unwrap());
    (socket, url)
}

/// A signal to the test's own process is no failure.
fn received(mut recv: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match recv() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Runs `send` to a socket of the test; what arrives must be `wire`, what is printed the same.
#[track_caller]
fn sends(args: &[&str], wire: &str) {
    let (socket, url) = udp();
    let got = run(&[&["send", "--to", &url], args].concat());
    assert_eq!((got.stderr.as_str(), got.code), ("", 0), "{args:?}");
    let mut bytes = [0; 9_000];
    let length = received(|| socket.recv(&mut bytes)).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes[..length]), wire, "{args:?}");
    let (count, to) = (wire.lines().count(), url.replace("://", " "));
    let word = if count == 1 { "line" } else { "lines" };
    let report = format!("{wire}sent {count} {word}, {} bytes, to {to}\n", wire.len());
    assert_eq!(got.stdout, report, "{args:?}");
}

/// Runs `send`; nothing may arrive, and the message must hold `expect`.
#[track_caller]
fn refuses(args: &[&str], code: i32, expect: &str) {
    let (socket, url) = udp();
    let got = run(&[&["send", "--to", &url], args].concat());
    assert!(got.stderr.contains(expect), "{args:?}: {}", got.stderr);
    assert_eq!((got.stdout.as_str(), got.code), ("", code), "{args:?}");
    socket.set_nonblocking(true).unwrap();
    let heard = received(|| socket.recv(&mut [0; 100])).map_err(|error| error.kind());
    assert_eq!(heard, Err(io::ErrorKind::WouldBlock), "{args:?}: something was sent");
}

#[test]
fn send_writes_every_kind_of_metric() {
    sends(&["metric", "x", "1"], "x:1|c\n");
    sends(&["metric", "x", "-5", "2.5", "--type", "g"], "x:-5:2.5|g\n");
    sends(&["metric", "x", "1", "2", "-t", "ms", "--rate", "0.5"], "x:1:2|ms|@0.5\n");
    sends(&["metric", "x", "1", "--type", "h", "--tag", "a:1", "--tag", "b"], "x:1|h|#a:1,b\n");
    sends(&["metric", "x", "1", "--type", "distribution"], "x:1|d\n");
    sends(&["metric", "x", "alice", "b:c", "--type", "s"], "x:alice|s\nx:b:c|s\n");
    sends(&["metric", "x", "1", "--timestamp", "1656581400"], "x:1|c|T1656581400\n");
}

#[test]
fn send_writes_events_with_lengths_in_bytes_and_newlines_escaped() {
    sends(&["event", "title", "text"], "_e{5,4}:title|text\n");
    sends(&["event", "é", "a\nb"], "_e{2,4}:é|a\\nb\n");
    sends(&["event", "t", ""], "_e{1,0}:t|\n");
    let all = "event t x --timestamp 5 --host h --key k --priority low --source s --alert-type error --tag a --tag b";
    let args: Vec<&str> = all.split(' ').collect();
    sends(&args, "_e{1,1}:t|x|d:5|h:h|k:k|p:low|s:s|t:error|#a,b\n");
}

#[test]
fn send_writes_checks() {
    sends(&["check", "db.up", "0"], "_sc|db.up|0\n");
    sends(&["check", "db.up", "Critical", "--message", "a\nb"], "_sc|db.up|2|m:a\\nb\n");
    let all = "check x 3 --timestamp 5 --host h --tag a --message m";
    let args: Vec<&str> = all.split(' ').collect();
    sends(&args, "_sc|x|3|d:5|h:h|#a|m:m\n");
}

#[test]
fn send_takes_lines_as_they_are() {
    sends(&["raw", "a:1|c", "b:2|g|#x"], "a:1|c\nb:2|g|#x\n");
    sends(&["raw", "a:1|c\n\nb:2|g\n"], "a:1|c\nb:2|g\n");
    sends(&["raw", "--force", "junk"], "junk\n");
}

#[test]
fn send_refuses_what_would_be_read_differently() {
    refuses(&["metric", "a|b", "1"], 1, "name \"a|b\" contains '|'");
    refuses(&["metric", "a:b", "1"], 1, "name \"a:b\" contains ':'");
    refuses(&["metric", "x", "1", "--tag", "a\nb"], 1, "tag \"a\\nb\" contains '\\n'");
    refuses(&["check", "x", "0", "--message", "a|b"], 1, "m \"a|b\" contains '|'");
    refuses(&["metric", "x", "1", "--type", "d", "--timestamp", "5"], 1, "counters and gauges");
    let long = "n".repeat(9_000);
    refuses(&["metric", &long, "1"], 1, "servers read at most 8192");
}

#[test]
fn send_shows_the_place_of_what_no_server_reads() {
    refuses(
        &["metric", "x", "one"],
        1,
        "the value must be a number\n    x:one|c\n      ^\nuse --force",
    );
    refuses(&["metric", "x", "1", "--rate", "half"], 1, "sample rate must be a number");
    refuses(&["raw", "x:1|q"], 1, "x:1|q\n        ^");
    refuses(&["event", "", "text"], 1, "the event title must not be empty");
}

#[test]
fn words_that_are_no_command_line_exit_with_2() {
    refuses(&["check", "x", "4"], 2, "use 0 (ok), 1 (warning), 2 (critical) or 3 (unknown)");
    refuses(&["metric", "x", "1", "--type", "m"], 2, "use c, g, h, ms, s or d");
    refuses(&["metric", "x"], 2, "<VALUE>");
    refuses(&["event", "t", "x", "--priority", "high"], 2, "normal, low");
    let got = run(&["send", "--to", "http://x", "metric", "x", "1"]);
    assert!(got.stderr.contains("use udp, tcp, unix, unixgram or unixstream"), "{}", got.stderr);
    assert_eq!(got.code, 2);
}

#[test]
fn a_bad_line_does_not_hold_up_its_neighbours() {
    let (socket, url) = udp();
    let got = run_with_stdin(&["send", "--to", &url, "raw", "-"], b"a:1|c\njunk\r\n\nb:2|c");
    let mut bytes = [0; 100];
    let length = received(|| socket.recv(&mut bytes)).unwrap();
    assert_eq!(&bytes[..length], b"a:1|c\nb:2|c\n");
    assert!(got.stderr.starts_with("whippet: not sent: a metric reads"), "{}", got.stderr);
    assert!(
        got.stdout.ends_with(&format!("sent 2 lines, 12 bytes, to {}\n", url.replace("://", " ")))
    );
    assert_eq!(got.code, 1);
}

#[test]
fn many_lines_are_packed_into_datagrams_that_need_no_fragments() {
    let (socket, url) = udp();
    let lines: String =
        (0..500).map(|number| format!("metric.{number}:1|c|#tag:value\n")).collect();
    let got = run_with_stdin(&["send", "--to", &url, "raw", "-"], lines.as_bytes());
    assert_eq!(got.code, 0, "{}", got.stderr);
    let (mut all, mut bytes, mut datagrams) = (String::new(), [0; 9_000], 0);
    while all.len() < lines.len() {
        let length = received(|| socket.recv(&mut bytes)).unwrap();
        assert!(length <= 1_432, "{length}");
        all.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        datagrams += 1;
    }
    assert_eq!(all, lines);
    assert_eq!(datagrams, lines.len().div_ceil(1_432));
}

#[test]
fn send_speaks_over_every_transport() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let send = |scheme: &str, place: &str| {
        run(&["send", "--to", &format!("{scheme}://{place}"), "raw", "x:1|c"])
    };

    let datagrams = UnixDatagram::bind(path("d")).unwrap();
    datagrams.set_read_timeout(Some(PATIENCE)).unwrap();
    for scheme in ["unix", "unixgram"] {
        assert_eq!(send(scheme, path("d").to_str().unwrap()).code, 0);
        let mut bytes = [0; 100];
        let length = received(|| datagrams.recv(&mut bytes)).unwrap();
        assert_eq!(&bytes[..length], b"x:1|c\n");
    }

    let streams = UnixListener::bind(path("s")).unwrap();
    for scheme in ["unix", "unixstream"] {
        assert_eq!(send(scheme, path("s").to_str().unwrap()).code, 0);
        let mut bytes = Vec::new();
        streams.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"\x06\0\0\0x:1|c\n");
    }
    let other = send("unixgram", path("s").to_str().unwrap());
    assert!(other.stderr.contains("of the other type; use unix://"), "{}", other.stderr);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(send("tcp", &listener.local_addr().unwrap().to_string()).code, 0);
    let mut bytes = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"x:1|c\n");
}

#[test]
fn send_reads_the_environment_of_clients() {
    let (socket, url) = udp();
    let port = socket.local_addr().unwrap().port().to_string();
    let cases: [&[(&str, &str)]; 3] = [
        &[("DD_DOGSTATSD_URL", &url), ("DD_AGENT_HOST", "nowhere.invalid")],
        &[("DD_DOGSTATSD_PORT", &port)],
        &[("DD_AGENT_HOST", "localhost"), ("DD_DOGSTATSD_PORT", &port)],
    ];
    for env in cases {
        let got =
            ran(whippet(&["send", "metric", "x", "1"]).envs(env.iter().copied()).output().unwrap());
        assert_eq!((got.stderr.as_str(), got.code), ("", 0), "{env:?}");
        let mut bytes = [0; 100];
        assert_eq!(received(|| socket.recv(&mut bytes)).unwrap(), 6, "{env:?}");
    }
}

/// The whole network 127/8 is local on Linux: a port held on one address of it is free on another,
/// and nobody can take it meanwhile for all of them.
#[cfg(target_os = "linux")]
#[test]
fn send_says_when_nobody_listens() {
    let (socket, _) = udp();
    let port = socket.local_addr().unwrap().port();
    let got = run(&["send", "--to", &format!("udp://127.77.0.1:{port}"), "metric", "x", "1"]);
    let expect = format!(
        "whippet: nothing is listening on 127.77.0.1:{port}; start a server with `whippet --set dogstatsd_port={port}`\n"
    );
    assert_eq!((got.stdout.as_str(), got.stderr.as_str(), got.code), ("", expect.as_str(), 1));
    let got = run(&["send", "--to", "unix:///nonexistent/s", "metric", "x", "1"]);
    assert!(got.stderr.contains("nothing is listening on /nonexistent/s"), "{}", got.stderr);
    assert_eq!(got.code, 1);
}

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
            "on the way:",
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
        &["ignored T5: dogstatsd_no_aggregation_pipeline is false", "nothing changes"],
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
            "ignored p:urgent: not understood",
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
fn posted(stdout: &str) -> Vec<Value> {
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
    assert_eq!(bad.code, 1);
}

#[test]
fn help_teaches_with_examples() {
    for words in [
        "",
        "run",
        "send",
        "send metric",
        "send event",
        "send check",
        "send raw",
        "explain",
        "check-config",
        "config",
        "completions",
    ] {
        let args: Vec<&str> = words.split_whitespace().chain(["--help"]).collect();
        let got = run(&args);
        assert!(got.stdout.contains("Examples:\n  "), "{words}: {}", got.stdout);
        assert_eq!(got.code, 0, "{words}");
    }
}

#[test]
fn what_the_help_shows_works() {
    let mut tried = 0;
    for words in ["send metric", "send event", "send check", "send raw", "explain"] {
        let args: Vec<&str> = words.split(' ').chain(["--help"]).collect();
        let help = run(&args).stdout;
        let examples = help.split("Examples:\n").nth(1).unwrap();
        let whole = |line: &&str| line.starts_with("  whippet ") && !line.contains(['<', '>']);
        for example in examples.lines().filter(whole) {
            let (socket, url) = udp();
            let program = env!("CARGO_BIN_EXE_whippet");
            let script = example.trim().replacen("whippet", &format!("'{program}'"), 1);
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).env("DD_DOGSTATSD_URL", &url);
            let got = ran(shell.output().unwrap());
            assert_eq!((got.stderr.as_str(), got.code), ("", 0), "{example}");
            if words != "explain" {
                let length = received(|| socket.recv(&mut [0; 9_000])).unwrap();
                assert!(length > 0, "{example}");
            }
            tried += 1;
        }
    }
    assert_eq!(tried, 12);
}

#[test]
fn settings_are_listed_and_found() {
    assert!(run(&["config"]).stdout.contains("\n  dogstatsd_port [8125]\n"));
    let found = run(&["config", "dogstatsd_port"]).stdout;
    assert!(found.starts_with("dogstatsd_port\n    UDP port."), "{found}");
    let sample = run(&["config", "--sample"]).stdout;
    assert!(sample.contains("\n#dogstatsd_port: 8125\n"), "{sample}");
    assert!(run(&["completions", "bash"]).stdout.contains("check-config"));
}

/// A running server of the test, killed when it is dropped.
struct Server {
    child: Child,
    port: u16,
    said: Box<dyn BufRead + Send>,
}

impl Server {
    /// Starts `run` on a port of the system's choice, and waits until it says which.
    fn start(settings: &[&str], env: &[(&str, &str)]) -> Self {
        let mut args = vec!["run"];
        for setting in
            ["dogstatsd_port=__random__", "dogstatsd_socket=", "admin_address=", "hostname=h"]
                .iter()
                .chain(settings)
        {
            args.extend(["--set", setting]);
        }
        let mut command = whippet(&args);
        command.envs(env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = Box::new(BufReader::new(child.stderr.take().unwrap()));
        let (mut line, mut heard) = (String::new(), String::new());
        let port = loop {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended: {heard}");
            heard.push_str(&line);
            let address = line.split_once("127.0.0.1:").filter(|_| line.contains("udp "));
            if let Some((_, rest)) = address {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                break digits.parse().unwrap();
            }
        };
        Server { child, port, said }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Stops it; exit code, standard output, and the rest of standard error.
    fn stop(mut self) -> (i32, String, String) {
        self.signal("-TERM");
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.said.read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code().unwrap(), stdout, stderr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is gone already when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
    let server = Server::start(
        &[&settings[..], &["interval=3600"]].concat(),
        &[("WHIPPET_OUTPUT", "jsonl")],
    );
    let to = format!("udp://127.0.0.1:{}", server.port);
    let sent = run(&[&["send", "--to", &to, "raw"], &lines[..]].concat());
    assert_eq!(sent.code, 0, "{}", sent.stderr);
    let (code, stdout, stderr) = server.stop();
    assert_eq!(code, 0, "{stderr}");

    let mut args =
        [&["explain", "--set", "hostname=h", "--set", "interval=3600"], &lines[..]].concat();
    settings.iter().for_each(|setting| args.extend(["--set", setting]));
    let explained = run(&args);
    let promised = sorted(posted(&explained.stdout));
    assert_eq!(promised.len(), 11, "{}", explained.stdout);
    assert_eq!(sorted(posted(&stdout)), promised, "{stderr}");
}

/// What the service manager of the test was told, message by message.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, folder }
    }

    fn path(&self) -> String {
        self.folder.path().join("notify").display().to_string()
    }

    fn next(&self) -> String {
        let mut bytes = [0; 500];
        let length =
            received(|| self.socket.recv(&mut bytes)).expect("the manager is told in time");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn next_besides_watchdog(&self) -> String {
        loop {
            let told = self.next();
            if told != "WATCHDOG=1\n" {
                return told;
            }
        }
    }
}

#[test]
fn the_service_manager_is_told_of_start_reload_and_end() {
    let manager = Manager::new();
    let server = Server::start(&[], &[("NOTIFY_SOCKET", &manager.path())]);
    assert_eq!(manager.next(), "READY=1\n");
    server.signal("-HUP");
    let told = manager.next();
    let micros =
        told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(|text| text.trim().parse::<u64>());
    assert!(matches!(micros, Some(Ok(1..))), "{told:?}");
    assert_eq!(manager.next(), "READY=1\n");
    let (code, _, stderr) = server.stop();
    assert_eq!(manager.next(), "STOPPING=1\n");
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn the_watchdog_hears_from_a_server_that_lives() {
    let manager = Manager::new();
    let env = [("NOTIFY_SOCKET", &*manager.path()), ("WATCHDOG_USEC", "200000")];
    let server = Server::start(&["interval=3600"], &env);
    assert_eq!(manager.next(), "READY=1\n");
    let started = Instant::now();
    // The third is the first that stands on answers of every thread to two questions.
    for number in 0..4 {
        assert_eq!(manager.next(), "WATCHDOG=1\n", "{number}");
    }
    assert!(started.elapsed() >= Duration::from_millis(250), "{:?}", started.elapsed());
    let (code, ..) = server.stop();
    assert_eq!(manager.next_besides_watchdog(), "STOPPING=1\n");
    assert_eq!(code, 0);
}

/// The flusher writes into a pipe that nobody reads: the server is stuck, though its process lives.
#[test]
fn the_watchdog_hears_nothing_from_a_server_that_is_stuck() {
    let manager = Manager::new();
    let env = [
        ("NOTIFY_SOCKET", &*manager.path()),
        ("WATCHDOG_USEC", "400000"),
        ("WHIPPET_OUTPUT", "jsonl"),
    ];
    let mut server = Server::start(&["interval=1"], &env);
    let to = format!("udp://127.0.0.1:{}", server.port);
    let lines: String = (0..4_000).map(|number| format!("metric.{number}:1|c\n")).collect();
    assert_eq!(run_with_stdin(&["send", "--to", &to, "raw", "-"], lines.as_bytes()).code, 0);

    let (said, heard) = mpsc::channel();
    let mut stderr = std::mem::replace(&mut server.said, Box::new(io::empty()));
    thread::spawn(move || {
        let mut line = String::new();
        while stderr.read_line(&mut line).is_ok_and(|length| length > 0) {
            let stuck = line.contains("a thread does not answer");
            line.clear();
            if stuck && said.send(()).is_err() {
                break;
            }
        }
    });
    heard.recv_timeout(PATIENCE).expect("it says that a thread does not answer");
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 100]).is_ok() {}
    for _ in 0..2 {
        heard.recv_timeout(PATIENCE).expect("it says so again");
    }
    let told = received(|| manager.socket.recv(&mut [0; 100])).map_err(|error| error.kind());
    assert_eq!(told, Err(io::ErrorKind::WouldBlock), "the manager was told that all is well");
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_log_file_holds_json_is_rolled_and_never_shows_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("whippet.log");
    let file = format!("log_file={}", log.display());
    let settings = [
        &*file,
        "log_format_json=true",
        "log_level=trace",
        "log_file_max_size=100",
        "log_file_max_rolls=50",
    ];
    // Nobody listens there: delivery fails, which is when keys have been known to slip out.
    let env = [
        ("DD_API_KEY", KEY),
        ("DD_DD_URL", "http://127.0.0.1:1"),
        ("DD_FORWARDER_STOP_TIMEOUT", "1"),
    ];
    let server = Server::start(&settings, &env);
    let to = format!("udp://127.0.0.1:{}", server.port);
    assert_eq!(run(&["send", "--to", &to, "metric", "x", "1"]).code, 0);
    let (code, stdout, stderr) = server.stop();
    assert_eq!(code, 0, "{stderr}");

    let mut all = String::new();
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        all.push_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 2, "{files} files");
    assert!(log.exists());
    for line in all.lines() {
        let json: Value = serde_json::from_str(line).expect(line);
        assert!(json["timestamp"].is_string() && json["fields"]["message"].is_string(), "{line}");
    }
    assert!(all.contains("cdef"), "the key's last characters are named:\n{all}");
    for text in [&all, &stdout, &stderr] {
        assert!(!text.contains(KEY), "{text}");
    }
}

#[test]
fn a_plain_log_file_has_time_and_level_and_the_console_can_be_silent() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("whippet.log");
    let server = Server::start(&[&format!("log_file={}", log.display())], &[]);
    assert_eq!(server.stop().0, 0);
    let text = std::fs::read_to_string(&log).unwrap();
    let first = text.lines().next().unwrap();
    let (time, rest) = first.split_once(' ').unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{first}");
    assert!(rest.starts_with(" INFO whippet ") || rest.starts_with("INFO  whippet "), "{first}");
}

#[test]
fn what_the_files_in_dist_set_is_known() {
    let mut known = 0;
    for file in ["whippet.service", "Dockerfile"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(file);
        let text = std::fs::read_to_string(path).unwrap();
        let words = text.split([' ', '\n']).map(|word| word.trim_start_matches("Environment="));
        for (name, value) in
            words.filter(|word| word.starts_with("DD_")).filter_map(|w| w.split_once('='))
        {
            let got = ran(whippet(&["check-config"]).env(name, value).output().unwrap());
            assert!(
                got.stdout.contains(&format!("  <- {name}\n")),
                "{file}: {name}: {}",
                got.stdout
            );
            assert_eq!(got.code, 0, "{}", got.stdout);
            known += 1;
        }
    }
    assert_eq!(known, 2);
}
