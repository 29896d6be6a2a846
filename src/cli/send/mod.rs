//! `whippet send`: any metric, event or check from the shell.
//!
//! Input: arguments, or lines. Output: lines of the protocol on a socket and on standard output. A line
//! that no server would accept is refused, with the position of the error. Like clients, it does not
//! retry and reads no configuration file.

mod args;
mod line;
pub(super) mod target;

use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

use anyhow::bail;

pub(super) use self::args::Send;
use self::args::{Check, Event, Metric, What};
use self::line::{Builder, escaped};
use self::target::{Sink, Target};
use super::exit::FAILED;
use crate::protocol::{self, Options};
use crate::text::printable;

/// Maximum datagram that servers read by default (`dogstatsd_buffer_size`).
const LINE_BYTES_MAX: usize = 8_192;

/// Sends the lines that the arguments describe, and prints them.
pub(super) fn send(args: &Send) -> anyhow::Result<ExitCode> {
    let target = match &args.to {
        Some(target) => target.clone(),
        None => Target::from_environment(|name| std::env::var(name).ok())?,
    };
    let mut outgoing = Outgoing::new(target, args.force);
    match &args.what {
        What::Metric(metric) => {
            for line in metric_lines(metric, args.force)? {
                outgoing.line(&line)?;
            }
        }
        What::Event(event) => outgoing.line(&event_line(event, args.force)?)?,
        What::Check(check) => outgoing.line(&check_line(check, args.force)?)?,
        What::Raw { lines } => {
            for text in lines {
                if text == "-" {
                    from_stdin(&mut outgoing)?;
                } else {
                    raw(text.as_bytes(), &mut outgoing)?;
                }
            }
        }
    }
    outgoing.finish()
}

fn raw(text: &[u8], outgoing: &mut Outgoing) -> anyhow::Result<()> {
    protocol::lines(text).try_for_each(|line| outgoing.line(line.bytes))
}

/// One line at a time, so that input of any size works; the length of a line is limited.
fn from_stdin(outgoing: &mut Outgoing) -> anyhow::Result<()> {
    let mut stdin = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = 8 * LINE_BYTES_MAX as u64;
        if stdin.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.len() as u64 == limit && !line.ends_with(b"\n") {
            bail!("standard input: a line of more than {limit} bytes");
        }
        raw(&line, outgoing)?;
    }
}

/// name:1:2:3|c|@0.5|#env:prod|T1656581400
fn metric_lines(metric: &Metric, force: bool) -> anyhow::Result<Vec<Vec<u8>>> {
    if metric.timestamp.is_some() && !matches!(metric.kind.as_str(), "c" | "g") && !force {
        bail!("--timestamp works with counters and gauges only (--type c or g)");
    }
    // A set treats colons as part of its member, so its members cannot share a line.
    let groups: Vec<&[String]> =
        if metric.kind == "s" { metric.values.chunks(1).collect() } else { vec![&metric.values] };
    let line = |values: &[String]| {
        let head = format!("{}:{}|{}", metric.name, values.join(":"), metric.kind);
        let mut builder = Builder::new(head, force);
        builder.allows("name", &metric.name, ":|\n")?;
        values.iter().try_for_each(|value| builder.allows("value", value, "|\n"))?;
        builder.field("@", metric.rate.as_deref())?;
        builder.tags(&metric.tags)?;
        builder.field("T", metric.timestamp.map(|seconds| seconds.to_string()).as_deref())?;
        Ok(builder.finish())
    };
    groups.into_iter().map(line).collect()
}

/// _e{5,4}:title|text|d:…|h:…|k:…|p:…|s:…|t:…|#tags
fn event_line(event: &Event, force: bool) -> anyhow::Result<Vec<u8>> {
    let (title, text) = (escaped(&event.title), escaped(&event.text));
    let head = format!("_e{{{},{}}}:{title}|{text}", title.len(), text.len());
    let mut builder = Builder::new(head, force);
    builder.field("d:", event.timestamp.map(|seconds| seconds.to_string()).as_deref())?;
    builder.field("h:", event.host.as_deref())?;
    builder.field("k:", event.key.as_deref())?;
    builder.field("p:", event.priority.as_deref())?;
    builder.field("s:", event.source.as_deref())?;
    builder.field("t:", event.alert_type.as_deref())?;
    builder.tags(&event.tags)?;
    Ok(builder.finish())
}

/// _sc|name|0|d:…|h:…|#tags|m:message
fn check_line(check: &Check, force: bool) -> anyhow::Result<Vec<u8>> {
    let mut builder = Builder::new(format!("_sc|{}|{}", check.name, check.status), force);
    builder.allows("name", &check.name, "|\n")?;
    builder.field("d:", check.timestamp.map(|seconds| seconds.to_string()).as_deref())?;
    builder.field("h:", check.host.as_deref())?;
    builder.tags(&check.tags)?;
    // Clients also write `m:` inside a message as `m\:`. No server reverses that, and it is not
    // needed: a field ends only at the next `|`.
    builder.field("m:", check.message.as_deref().map(escaped).as_deref())?;
    Ok(builder.finish())
}

/// Lines to send: checked, gathered into blocks, sent, printed.
struct Outgoing {
    target: Target,
    sink: Option<Sink>,
    force: bool,
    block: Vec<u8>,
    held: Vec<String>,
    lines: u64,
    bytes: u64,
    refused: u64,
}

impl Outgoing {
    fn new(target: Target, force: bool) -> Self {
        Outgoing {
            target,
            sink: None,
            force,
            block: Vec::new(),
            held: Vec::new(),
            lines: 0,
            bytes: 0,
            refused: 0,
        }
    }

    /// Takes one line. One that no server would accept is reported and skipped.
    fn line(&mut self, line: &[u8]) -> anyhow::Result<()> {
        if let Some(reason) = fault(line).filter(|_| !self.force) {
            self.refused += 1;
            let _ = writeln!(io::stderr(), "whippet: not sent: {reason}");
            return Ok(());
        }
        if self.block.len() + line.len() + 1 > self.target.block_bytes() {
            self.dispatch()?;
        }
        self.block.extend_from_slice(line);
        self.block.push(b'\n');
        self.held.push(printable(line, usize::MAX));
        Ok(())
    }

    /// Sends the gathered lines and prints them.
    fn dispatch(&mut self) -> anyhow::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let mut sink = match self.sink.take() {
            Some(sink) => sink,
            None => self.target.open()?,
        };
        sink.send(&self.block).map_err(|error| self.target.explain(&error))?;
        self.sink = Some(sink);
        let shown: String = self.held.iter().map(|line| format!("{line}\n")).collect();
        show(&shown)?;
        self.lines += self.held.len() as u64;
        self.bytes += self.block.len() as u64;
        self.held.clear();
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<ExitCode> {
        self.dispatch()?;
        if let Some(sink) = self.sink.take() {
            sink.finish().map_err(|error| self.target.explain(&error))?;
        }
        if self.lines > 0 {
            let word = if self.lines == 1 { "line" } else { "lines" };
            show(&format!(
                "sent {} {word}, {} bytes, to {}\n",
                self.lines, self.bytes, self.target
            ))?;
        }
        if self.lines == 0 && self.refused == 0 {
            bail!("nothing to send");
        }
        Ok(if self.refused > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
    }
}

/// Prints what was sent. The lines go on without a reader: the task is to send them.
fn show(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Why no server would accept the line, with the position.
fn fault(line: &[u8]) -> Option<String> {
    if line.len() > LINE_BYTES_MAX {
        return Some(format!(
            "the line is {} bytes long; servers read at most {LINE_BYTES_MAX} by default; use --force to send it anyway",
            line.len()
        ));
    }
    let error = protocol::read(line, Options { timestamps: true, origin: true }).err()?;
    Some(format!("{}\nuse --force to send it anyway", error.render(line)))
}
