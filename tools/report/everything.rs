//! What every feature that is meant for production costs a known metric, against none of them.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use super::Row;
use super::loads::{Measure, pairs_by};
use super::tools::{Error, Tools, median};

pub const ALL: &[(&str, Measure)] = &[("S13", everything)];

const PROFILES: usize = 100;

/// Two servers on Unix sockets in turns: one with default settings that throws away what it encodes,
/// one with everything on that posts to two endpoints.
fn everything(tools: &Tools) -> Result<Vec<Row>, Error> {
    let folder = std::env::temp_dir().join(format!("whippet-report-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let (off, on) = (folder.join("off.yaml"), folder.join("everything.yaml"));
    fs::write(&off, format!("{COMMON}output: none\nsender_accounts: false\n"))?;
    fs::write(&on, everything_on(intake()?)?)?;
    let rows = ["uds", "packed", "single"]
        .into_iter()
        .map(|profile| row(tools, profile, &folder, &on, &off))
        .collect();
    fs::remove_dir_all(&folder)?;
    rows
}

const COMMON: &str = "hostname: bench\nadmin_address: \"\"\ndogstatsd_port: 0\n";

fn everything_on(intake: u16) -> Result<String, Error> {
    let mut text = format!(
        "{COMMON}api_key: 00000000000000000000000000000001\n\
         dd_url: http://127.0.0.1:{intake}\n\
         additional_endpoints:\n  http://127.0.0.1:{intake}: [00000000000000000000000000000002]\n\
         dogstatsd_origin_detection: true\n\
         dogstatsd_origin_detection_client: true\n\
         sender_accounts: true\n\
         dogstatsd_tags: [env:bench, team:speed]\n\
         statsd_metric_namespace: bench\n\
         dogstatsd_mapper_profiles:\n"
    );
    // Names begin with a letter and have a dot behind the seventh byte: some of them match, with every
    // letter, and the others are looked for in vain.
    for number in 0..PROFILES {
        let letter = char::from(b'a' + (number % 26) as u8);
        let prefix = if number < 26 { letter.to_string() } else { format!("{letter}.{number}.") };
        writeln!(
            text,
            "  - name: p{number}\n    prefix: \"{prefix}\"\n    mappings:\n      - match: \"{prefix}*.*\"\n        \
             name: \"mapped.{letter}\"\n        tags: {{first: \"$1\", second: \"$2\"}}"
        )?;
    }
    text += "metric_tag_filterlist:\n";
    for letter in 'a'..='z' {
        writeln!(
            text,
            "  - metric_name: bench.mapped.{letter}\n    action: exclude\n    tags: [second, absent]"
        )?;
    }
    Ok(text)
}

fn row(
    tools: &Tools,
    profile: &str,
    folder: &Path,
    on: &PathBuf,
    off: &PathBuf,
) -> Result<Row, Error> {
    let target = format!("unixgram://{}", folder.join("bench.sock").display());
    let (rounds, seconds) = (tools.rounds.to_string(), tools.seconds.to_string());
    let load = ["--profile", profile, "--duration", &seconds, "--rounds", &rounds, "--warmup", "1"];
    let server = |config: &PathBuf| {
        let (program, config) = (tools.whippet.display(), config.display());
        format!("env DD_DOGSTATSD_SOCKET={{path}} {program} run --config {config}")
    };
    let (all, none) = (server(on), server(off));
    let more = ["--target", &target, "--server", &all, "--vs", &none];
    let report = tools.bench(&[&load[..], &more].concat())?;
    let (with, without) = pairs_by(&report, "/off.yaml");
    if with.is_empty() || with.len() != without.len() {
        return Err("no complete pair of runs".into());
    }
    let ratios: Vec<f64> =
        with.iter().zip(&without).map(|(with, without)| with / without).collect();
    let (low, high) = ratios
        .iter()
        .fold((f64::MAX, 0.0_f64), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
    let ratio = median(&ratios);
    Ok(Row {
        id: "S13",
        load: format!(
            "{profile} over unixgram, saturated: everything on; beside it everything off"
        ),
        floor: format!("{:.1} ns", median(&without)),
        whippet: format!("{:.1} ns", median(&with)),
        ratio: format!("{ratio:.2} ({low:.2} to {high:.2}, {} pairs)", ratios.len()),
        goal: "≤ 1.1",
        reached: ratio <= 1.1,
        command: "target/dist/examples/report --only S13".into(),
    })
}

/// An intake that accepts everything, for as long as this program runs; its port.
fn intake() -> Result<u16, Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // A client that goes away ends its thread.
            thread::spawn(move || answer(connection));
        }
    });
    Ok(port)
}

fn answer(connection: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let (mut connection, mut line) = (connection, String::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        connection.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}")?;
    }
}
