//! `whippet capture`: what the running server receives, into a capture file.
//!
//! The server streams what its lanes receive and writes nothing itself: the file belongs to whoever
//! runs this command.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::admin_client::{self, AdminClient};
use super::config_args::ConfigArgs;
use crate::capture::{self, CaptureReader, Entry, Event, Record, Summary};
use crate::clock::Clock;
use crate::config::{self, Mode};
use crate::text;

/// Compression of files: the fastest, since a capture competes with a server.
#[cfg(feature = "zstd")]
const ZSTD_LEVEL: i32 = 1;

/// How long a signal waits for a moment of silence.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(super) struct CaptureArgs {
    /// How long: 90s, 10m, 1h; at most a day.
    #[arg(long = "for", short = 'd', visible_alias = "duration", value_name = "TIME", default_value = "60s", value_parser = time)]
    time: Duration,
    /// End earlier when the capture, not compressed, has this size: 100MiB, 1GiB.
    #[arg(long, value_name = "BYTES", default_value = "1GiB", value_parser = size)]
    max_bytes: u64,
    /// Write to this file, which must not exist; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write datadog-capture-TIME into this folder [default: dogstatsd_capture_path, else the current one].
    #[arg(short, long, value_name = "FOLDER", conflicts_with = "output")]
    path: Option<PathBuf>,
    /// Do not compress the file.
    #[arg(long, conflicts_with = "compressed")]
    plain: bool,
    /// Compress the file with zstd, or not (--compressed=false).
    #[arg(short = 'z', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    compressed: Option<bool>,
}

/// A time such as `90s`, in seconds without a unit.
fn time(text: &str) -> Result<Duration, String> {
    config::parse_duration(text, Duration::from_secs(1))
        .filter(|time| !time.is_zero())
        .ok_or_else(|| format!("{text:?} is not a time; use 90s, 10m or 1h"))
}

/// A size such as `100MiB`, in bytes without a unit.
fn size(text: &str) -> Result<u64, String> {
    config::parse_bytes(text)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("{text:?} is not a size; use 500KiB, 100MiB or 1GiB"))
}

/// Captures until its time or size is reached, or a signal comes.
pub(super) fn run(args: &CaptureArgs, settings: &ConfigArgs) -> anyhow::Result<()> {
    let compressed = !args.plain && args.compressed.unwrap_or(cfg!(feature = "zstd"));
    if compressed && cfg!(not(feature = "zstd")) {
        bail!("this whippet was built without zstd; use --plain");
    }
    let stop = stop_signals()?;
    let target = format!("/capture?seconds={}&bytes={}", args.time.as_secs_f64(), args.max_bytes);
    // The server first: without one there is no file.
    let stream = AdminClient::of(settings)?.open(&target)?;
    let mut reader = CaptureReader::new(stream)?;
    let path = path(args, settings)?;
    let shown = path.as_ref().map_or("standard output".into(), |path| path.display().to_string());
    let mut file =
        CaptureFile::create(path.as_deref(), compressed).with_context(|| shown.clone())?;
    let (time, most) = (config::show_duration(args.time), text::bytes(args.max_bytes as usize));
    say(&format!("capturing for {time}, at most {most}, to {shown}; ^C ends it"));
    let ended = copy(&mut reader, &mut file, &stop);
    // Also what a broken connection left is a whole file.
    let summary = match &ended {
        Ok(Some(summary)) => *summary,
        _ => file.written,
    };
    file.finish(summary).with_context(|| shown.clone())?;
    report(&summary, ended.as_ref().is_ok_and(Option::is_none));
    if let Err(error) = ended {
        return Err(error.context("the capture ended early; the file holds what came until then"));
    }
    match path {
        Some(path) => admin_client::print(&format!("{}\n", path.display())),
        None => Ok(()),
    }
}

/// Set by SIGINT and SIGTERM; the second one ends the process.
fn stop_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Where to write; none for standard output.
fn path(args: &CaptureArgs, settings: &ConfigArgs) -> anyhow::Result<Option<PathBuf>> {
    if let Some(output) = &args.output {
        return Ok((output != Path::new("-")).then(|| output.clone()));
    }
    let folder = match &args.path {
        Some(folder) => Some(folder.clone()),
        None => config::load(settings.sources(Mode::Run))?.config.dogstatsd_capture_path,
    };
    let name = format!("datadog-capture-{}", Clock::wall().unix().as_secs());
    Ok(Some(folder.unwrap_or_default().join(name)))
}

/// Copies records until the stream ends or a signal comes: then there is no summary.
fn copy(
    reader: &mut CaptureReader<'_>,
    file: &mut CaptureFile,
    stop: &AtomicBool,
) -> anyhow::Result<Option<Summary>> {
    let mut stopped = None;
    loop {
        if stop.load(Ordering::Acquire) {
            // What was received before the signal is on its way: up to a moment of silence.
            let since = *stopped.get_or_insert_with(Instant::now);
            if since.elapsed() > LAST_PATIENCE {
                return Ok(None);
            }
        }
        match reader.next() {
            Ok(Event::Record(entry)) => file.add(&entry).context("writing the file")?,
            Ok(Event::Heartbeat) if stopped.is_some() => return Ok(None),
            Ok(Event::Heartbeat) => {}
            Ok(Event::End(summary)) => return Ok(Some(summary.unwrap_or(file.written))),
            // Where in the stream it broke off helps no one.
            Err(_) => bail!("the server went away"),
        }
    }
}

fn report(summary: &Summary, stopped: bool) {
    let Summary { records, payload_bytes, missed_records, missed_bytes } = *summary;
    let (shown, size) = (text::grouped(records), text::bytes(payload_bytes as usize));
    say(&format!("captured {shown} datagrams and frames, {size}"));
    if stopped {
        say("stopped by a signal; datagrams that found no room were not counted");
    } else if missed_records > 0 {
        let (missed, size) = (text::grouped(missed_records), text::bytes(missed_bytes as usize));
        say(&format!(
            "missed {missed} more, {size}: they came faster than this command could take them (the server \
             itself recorded them)"
        ));
    }
}

/// On standard error: standard output may be the file.
fn say(text: &str) {
    // Not `eprintln!`, which panics when no one reads standard error.
    let _ = writeln!(io::stderr(), "{}", text::printable_lines(text));
}

/// The file in the making.
struct CaptureFile {
    out: Packed,
    piece: Vec<u8>,
    written: Summary,
}

enum Packed {
    Plain(BufWriter<Box<dyn Write>>),
    #[cfg(feature = "zstd")]
    Zstd(Box<zstd::stream::write::Encoder<'static, Box<dyn Write>>>),
}

impl CaptureFile {
    fn create(path: Option<&Path>, compressed: bool) -> anyhow::Result<Self> {
        let to: Box<dyn Write> = match path {
            Some(path) => Box::new(created(path)?),
            None => Box::new(io::stdout()),
        };
        let out = match compressed {
            #[cfg(feature = "zstd")]
            true => Packed::Zstd(Box::new(zstd::stream::write::Encoder::new(to, ZSTD_LEVEL)?)),
            _ => Packed::Plain(BufWriter::with_capacity(64 << 10, to)),
        };
        let mut file = CaptureFile { out, piece: Vec::new(), written: Summary::default() };
        capture::put_header(&mut file.piece);
        file.write()?;
        Ok(file)
    }

    fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let Entry { at, payload, listener, sender, process, cut_bytes } = entry;
        let (at, process, cut_bytes) = (*at, *process, *cut_bytes);
        let record = Record { at, payload, listener, sender, process, cut_bytes };
        capture::put_record(&mut self.piece, &record);
        self.written.records += 1;
        self.written.payload_bytes += payload.len() as u64;
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        match &mut self.out {
            Packed::Plain(out) => out.write_all(&self.piece)?,
            #[cfg(feature = "zstd")]
            Packed::Zstd(out) => out.write_all(&self.piece)?,
        }
        self.piece.clear();
        Ok(())
    }

    fn finish(mut self, summary: Summary) -> io::Result<()> {
        capture::put_end(&mut self.piece, summary);
        self.write()?;
        match self.out {
            Packed::Plain(mut out) => out.flush(),
            #[cfg(feature = "zstd")]
            Packed::Zstd(out) => out.finish()?.flush(),
        }
    }
}

/// A new file for its owner alone: metric names and tags may be confidential.
fn created(path: &Path) -> anyhow::Result<File> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("the file exists; name another one")
        }
        opened => Ok(opened?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        assert_eq!(time("90"), Ok(Duration::from_secs(90)));
        assert_eq!(time("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("0"), Err("\"0\" is not a time; use 90s, 10m or 1h".to_owned()));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert!(size("x").is_err() && size("0").is_err());
    }
}
