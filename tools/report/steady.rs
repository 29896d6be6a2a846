//! Rows of a running server: memory, flushes, idling, start.

use std::fs::File;
use std::io::Read as _;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::Row;
use super::loads::Measure;
use super::tools::{Error, SERVER_ENVIRONMENT, Tools, median, number_after};

pub const ALL: &[(&str, Measure)] = &[("S8", memory), ("S9", flushes), ("S11", idle)];

const MIB: f64 = 1_048_576.0;
/// The rate of the rows about many contexts.
const RATE: &str = "150k";

fn memory(tools: &Tools) -> Result<Vec<Row>, Error> {
    [
        ("c=1,g=1,ms=1", 100_000, "≤ 38 MiB", 38.0),
        ("c=1,g=1,ms=1", 1_000_000, "≤ 215 MiB", 215.0),
        ("c=1,g=1", 1_000_000, "≤ 190 MiB", 190.0),
    ]
    .map(|(kinds, contexts, goal, limit)| {
        let (count, server) = (contexts.to_string(), tools.server("udp"));
        let args = ["--target", "udp://127.0.0.1:28125", "--profile", "cardinality"];
        let load = ["--kinds", kinds, "--contexts", &count, "--block-lines", &count];
        let time = ["--rate", RATE, "--duration", "60", "--warmup", "2"];
        let report = tools.bench(&[&args[..], &load, &time, &["--server", &server]].concat())?;
        let bytes = report["runs"][0]["memory"]["rss_bytes"].as_f64().ok_or("no memory")?;
        Ok(Row::alone(
            "S8",
            format!("memory, {contexts} contexts ({kinds}), {RATE} lines/s, after 60 s"),
            format!("{:.0} MiB", bytes / MIB),
            goal,
            bytes / MIB <= limit,
            format!("whippet bench {} {} --server …", load.join(" "), time.join(" ")),
        ))
    })
    .into_iter()
    .collect()
}

/// A server of this session, on the first processor; killed when dropped.
struct Server {
    child: Child,
    log: std::path::PathBuf,
}

impl Server {
    fn start(tools: &Tools, port: u16, settings: &[(&str, &str)]) -> Result<Self, Error> {
        let log = std::env::temp_dir().join(format!("whippet-report-{port}.log"));
        let child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(&tools.whippet)
            .arg("run")
            .envs(SERVER_ENVIRONMENT)
            .envs(settings.iter().copied())
            .env("DD_DOGSTATSD_PORT", port.to_string())
            .env("DD_DOGSTATSD_SOCKET", "")
            .env("DD_LOG_LEVEL", "debug")
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        Ok(Server { child, log })
    }

    /// Ends it as an operator would; what it said.
    fn stop(mut self) -> Result<String, Error> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        self.child.wait()?;
        let mut text = String::new();
        File::open(&self.log)?.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Nanoseconds of CPU that the threads of this name have used, or all of them.
fn cpu_nanos(process: &Child, thread: Option<&str>) -> Result<f64, Error> {
    let mut sum = 0.0;
    for task in std::fs::read_dir(format!("/proc/{}/task", process.id()))?.flatten() {
        let name = std::fs::read_to_string(task.path().join("comm"))?;
        if thread.is_none_or(|thread| thread == name.trim()) {
            let spent = std::fs::read_to_string(task.path().join("schedstat"))?;
            let nanos = spent.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok());
            sum += nanos.ok_or("schedstat without a number")?;
        }
    }
    Ok(sum)
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone after `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

fn load(tools: &Tools, port: u16, kinds: &str, seconds: u64) -> Result<Child, Error> {
    let target = format!("udp://127.0.0.1:{port}");
    let seconds = seconds.to_string();
    let args = ["bench", "--target", &target, "--profile", "cardinality", "--kinds", kinds];
    let time = ["--rate", RATE, "--warmup", "1", "--duration", &seconds, "--no-check"];
    let mut command = Command::new("taskset");
    command.args(["-c", "1"]).arg(&tools.whippet).args(args).args(time);
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// Flushes of a million contexts under load, and how long a close keeps a lane from its sockets.
fn flushes(tools: &Tools) -> Result<Vec<Row>, Error> {
    const CONTEXTS: f64 = 1e6;
    const FLUSHES: u64 = 4;
    let mut rows = Vec::new();
    for (kinds, goal, limit) in
        [("c=1,g=1", "≤ 0.35 µs", 0.35), ("c=1,g=1,ms=1", "≤ 0.65 µs", 0.65)]
    {
        let server = Server::start(tools, 28_126, &[])?;
        sleep(Duration::from_millis(500));
        let mut generator = load(tools, 28_126, kinds, 35 + 10 * FLUSHES)?;
        // Contexts are all known after 7 s; the bucket in which they were and its flush end within 23.
        sleep(Duration::from_secs(25));
        let before = cpu_nanos(&server.child, Some("flusher"))?;
        sleep(Duration::from_secs(10 * FLUSHES));
        let spent =
            (cpu_nanos(&server.child, Some("flusher"))? - before) / FLUSHES as f64 / CONTEXTS / 1e3;
        generator.wait()?;
        let text = server.stop()?;
        // The shutdown summary names drops only where there were some.
        let dropped = number_after(&text, "kernel   dropped").unwrap_or(0.0);
        rows.push(Row::alone(
            "S9",
            format!("flush of a million contexts ({kinds}), CPU of the flusher a context"),
            format!("{spent:.2} µs"),
            goal,
            spent <= limit,
            "cargo run --profile dist --example report -- --only S9",
        ));
        rows.push(Row::alone(
            "S9",
            format!("the same, datagrams lost at {RATE} lines/s"),
            format!("{dropped}"),
            "0",
            dropped == 0.0,
            "the same",
        ));
    }
    rows.push(closes(tools)?);
    Ok(rows)
}

fn closes(tools: &Tools) -> Result<Row, Error> {
    const CLOSES: u64 = 30;
    let server = Server::start(tools, 28_127, &[("WHIPPET_INTERVAL", "2")])?;
    sleep(Duration::from_millis(500));
    let mut generator = load(tools, 28_127, "c=1,g=1,ms=1", 2 * CLOSES)?;
    generator.wait()?;
    let text = server.stop()?;
    let said = text.find("lanes    closed").map_or("", |at| &text[at..]);
    let (closed, away) = (number_after(said, "closed"), number_after(said, "at most"));
    let (Some(closed), Some(away)) = (closed, away) else {
        return Err("the server did not say how long its lanes were away".into());
    };
    Ok(Row::alone(
        "S9",
        format!("longest time a lane was away for a close, of {closed} (buckets of 2 s)"),
        format!("{away:.3} ms"),
        "≤ 1 ms",
        away <= 1.0 && closed >= CLOSES as f64,
        "cargo run --profile dist --example report -- --only S9",
    ))
}

fn idle(tools: &Tools) -> Result<Vec<Row>, Error> {
    const SECONDS: u64 = 120;
    let mut child = Command::new(&tools.whippet)
        .arg("run")
        .env("DD_DOGSTATSD_PORT", "28128")
        .env("DD_DOGSTATSD_SOCKET", "")
        .env("WHIPPET_ADMIN_ADDRESS", "")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    sleep(Duration::from_secs(1));
    let before = cpu_nanos(&child, None)?;
    sleep(Duration::from_secs(SECONDS));
    let percent = (cpu_nanos(&child, None)? - before) / (SECONDS as f64 * 1e9) * 100.0;
    child.kill()?;
    child.wait()?;
    let starts: Vec<f64> =
        (0..tools.rounds).map(|_| start_millis(tools)).collect::<Result<_, _>>()?;
    let size = std::fs::metadata(&tools.whippet)?.len() as f64 / 1e6;
    Ok(vec![
        Row::alone(
            "S11",
            "idle for 120 s with default outputs",
            format!("{percent:.4} % of a core"),
            "≤ 0.05 %",
            percent <= 0.05,
            "cargo run --profile dist --example report -- --only S11",
        ),
        Row::alone(
            "S11",
            "from start to the first bound socket",
            format!("{:.1} ms", median(&starts)),
            "≤ 20 ms",
            median(&starts) <= 20.0,
            "the same",
        ),
        Row::alone(
            "S11",
            "the stripped program",
            format!("{size:.1} MB"),
            "≤ 14 MB",
            size <= 14.0,
            "ls -l target/dist/whippet",
        ),
    ])
}

/// From the start of the process until its port is taken.
fn start_millis(tools: &Tools) -> Result<f64, Error> {
    const PORT: u16 = 28_129;
    let started = std::time::Instant::now();
    let mut child = Command::new(&tools.whippet)
        .arg("run")
        .envs(SERVER_ENVIRONMENT)
        .env("DD_DOGSTATSD_PORT", PORT.to_string())
        .env("DD_DOGSTATSD_SOCKET", "")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    while UdpSocket::bind(("127.0.0.1", PORT)).is_ok() {
        if started.elapsed() > Duration::from_secs(10) {
            break;
        }
        sleep(Duration::from_micros(200));
    }
    let millis = started.elapsed().as_secs_f64() * 1e3;
    child.kill()?;
    child.wait()?;
    Ok(millis)
}
