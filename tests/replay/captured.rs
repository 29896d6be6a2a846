//! What a running server receives, into a file and from there to another server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use super::agent_file::read;
use crate::support::intake::Intake;
use crate::support::program::{PATIENCE, Program, Setup, whippet};

fn setup(intake: &Intake) -> Setup {
    Setup::posting_to(intake)
        .set("admin_address", "127.0.0.1:0")
        .set("interval", 1)
        .set("bind_host", "127.0.0.1")
        .set("dogstatsd_origin_detection", "true")
        .waits_for("admin ")
}

/// `whippet capture` at work.
struct Capturing {
    child: Child,
    errors: BufReader<ChildStderr>,
}

/// Starts it and waits until it captures.
#[track_caller]
fn capture(program: &Program, arguments: &[&str]) -> Capturing {
    let address = format!("admin_address={}", program.admin());
    let mut command = whippet();
    command.args(["capture", "--set", &address]).args(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    assert!(line.starts_with("capturing for "), "{line}");
    Capturing { child, errors }
}

impl Capturing {
    /// As ^C does; what it said, and what it printed.
    #[track_caller]
    fn interrupt(self) -> (String, String) {
        let kill = format!("kill -INT {}", self.child.id());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
        self.end()
    }

    #[track_caller]
    fn end(mut self) -> (String, String) {
        let (mut said, mut printed) = (String::new(), String::new());
        self.errors.read_to_string(&mut said).unwrap();
        self.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{said}");
        (said, printed)
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_capture_of_every_transport_makes_another_server_post_the_same() {
    let (first, second) = (Intake::start(), Intake::start());
    let program = setup(&first).start();
    let path = program.path("capture.dog");
    let capturing = capture(&program, &["--plain", "-o", &text(&path)]);
    program.udp("udp.hits:1|c|#a:b\nbad line");
    program.unix_datagram("unix.load:2.5|g");
    program.unix_stream("stream.hits:3|c");
    program.wait_lines(4);
    let (said, printed) = capturing.interrupt();
    assert_eq!(printed, format!("{}\n", text(&path)));
    assert!(said.contains("captured 3 datagrams and frames, 56 bytes"), "{said}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    // An Agent finds what it looks for.
    let records = read(&fs::read(&path).unwrap());
    let payload =
        |record: &super::agent_file::Read| String::from_utf8_lossy(&record.payload).into_owned();
    let mut payloads: Vec<String> = records.iter().map(payload).collect();
    payloads.sort();
    assert_eq!(payloads, ["stream.hits:3|c", "udp.hits:1|c|#a:b\nbad line", "unix.load:2.5|g"]);
    let us = u64::from(std::process::id());
    for record in &records {
        assert_eq!(record.payload_size, record.payload.len() as u64);
        assert_eq!(record.ancillary_size, record.ancillary.len() as u64);
        let from_unix = !record.payload.starts_with(b"udp");
        assert_eq!(record.pid, if from_unix { us } else { 0 });
        assert_eq!(record.ancillary.len(), if from_unix { 32 } else { 0 });
        assert!(record.timestamp > 1_700_000_000_000_000_000, "{record:?}");
    }

    let replayed = setup(&second).start();
    let to = [
        replayed.udp_address().to_string(),
        text(&replayed.path("d.sock")),
        format!("unixstream://{}", text(&replayed.path("s.sock"))),
    ];
    for target in &to {
        let output = whippet()
            .args(["replay", &text(&path), "--speed", "max", "--to", target])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    replayed.wait_lines(3 * 4);
    replayed.terminate().balances();
    program.terminate().balances();
    let posted = |intake: &Intake| {
        intake.read(|state| {
            ["udp.hits", "stream.hits"].map(|name| {
                let series = state.all_series().filter(|series| series.metric == name);
                series.flat_map(|series| &series.points).map(|point| point.1).sum::<f64>()
            })
        })
    };
    assert_eq!(posted(&first), [1.0, 3.0]);
    assert_eq!(posted(&second), [3.0, 9.0]);
    assert!(second.read(|state| state.all_series().any(|one| one.metric == "unix.load")));
}

#[test]
fn a_capture_ends_by_itself_and_goes_where_the_agents_key_says() {
    let intake = Intake::start();
    let program = setup(&intake).start();
    let folder = program.path("captures");
    fs::create_dir(&folder).unwrap();
    let key = format!("dogstatsd_capture_path={}", text(&folder));
    let address = format!("admin_address={}", program.admin());
    let mut command = whippet();
    command.args(["dogstatsd-capture", "-d", "200ms", "-z", "--set", &address, "--set", &key]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let path = String::from_utf8(output.stdout).unwrap();
    assert!(path.starts_with(&format!("{}/datadog-capture-", text(&folder))), "{path}");
    let file = fs::read(path.trim()).unwrap();
    assert_eq!(file[..4], [0x28, 0xb5, 0x2f, 0xfd]);
    assert_eq!(read(&zstd::decode_all(&file[..]).unwrap()), []);
}

#[test]
fn a_capture_ends_at_its_size_and_one_runs_at_a_time() {
    let intake = Intake::start();
    let program = setup(&intake).start();
    let path = program.path("capture.dog");
    let capturing = capture(&program, &["--plain", "--max-bytes", "1000", "-o", &text(&path)]);
    let output = program.run(&["capture", "-o", &text(&program.path("other"))]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("a capture is running already; wait until it ends"), "{said}");
    assert!(!program.path("other").exists());
    for _ in 0..40 {
        program.unix_datagram("a:1|c");
    }
    let (said, _) = capturing.end();
    let file = fs::read(&path).unwrap();
    let records = read(&file);
    assert!(records.len() >= 5 && file.len() < 1_100, "{} {}", records.len(), file.len());
    assert!(said.contains(&format!("captured {} datagrams", records.len())), "{said}");
    let output = program.run(&["capture", "--for", "1s", "-o", &text(&path)]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("the file exists"), "{said}");
}

#[test]
fn a_reader_that_does_not_read_costs_records_that_are_counted_and_no_line() {
    const COUNT: u64 = 9_000;
    let intake = Intake::start();
    let program = setup(&intake).set("dogstatsd_disable_verbose_logs", "true").start();
    let mut stream = TcpStream::connect(program.admin()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /capture?seconds=2 HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut head = [0; 8];
    // The beginning of the answer: the capture runs.
    stream.read_exact(&mut head).unwrap();
    let socket = program.unix();
    // No line of the protocol, so that it is cheap to read, and 72 MB of it.
    let datagram = vec![b'x'; 8_000];
    for _ in 0..COUNT {
        socket.send(&datagram).unwrap();
    }
    program.wait_lines(COUNT);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let header = [0xd4, 0x74, 0xd0, 0x60];
    let begin = rest.windows(4).position(|bytes| bytes == header).expect("a capture");
    let records = read(&rest[begin..]).into_iter().filter(|record| !record.payload.is_empty());
    let kept = records.count() as u64;
    assert!(kept > 100 && kept < COUNT, "{kept}");
    // The closing message: field 100 with records 1, payload bytes 2, missed 3 and their bytes 4.
    let folder = tempfile::tempdir().unwrap();
    let path = super::agent_file::written(folder.path(), "f", &rest[begin..]);
    let output = whippet()
        .args(["replay", &text(&path), "--speed", "max", "--to", &text(&program.path("d.sock"))])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let missed: u64 = said
        .lines()
        .find_map(|line| line.strip_prefix("the capture itself missed "))
        .and_then(|rest| rest.split(' ').next())
        .map(|number| number.replace(',', "").parse().unwrap())
        .unwrap_or_default();
    assert_eq!(kept + missed, COUNT, "{said}");
    program.terminate().balances();
}

#[test]
fn without_a_server_there_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let output = whippet()
        .args(["capture", "-o", &text(&path), "--set", "admin_address=127.0.0.1:1"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("no whippet answers at 127.0.0.1:1"), "{said}");
    assert!(!path.exists());
}

#[test]
fn a_server_that_ends_leaves_a_whole_file_and_a_message() {
    let intake = Intake::start();
    let program = setup(&intake).start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let mut capturing = capture(&program, &["--plain", "-o", &text(&path)]);
    // Each waits for the end of an interval, by when the first is in the file's hands for long.
    for number in 1..=3 {
        program.udp("a:1|c");
        program.wait_lines(number);
    }
    program.terminate().balances();
    let mut said = String::new();
    capturing.errors.read_to_string(&mut said).unwrap();
    assert_eq!(capturing.child.wait().unwrap().code(), Some(1), "{said}");
    assert!(
        said.contains("the capture ended early") && said.contains("the server went away"),
        "{said}"
    );
    assert!(!read(&fs::read(&path).unwrap()).is_empty());
}
