//! Logs to standard error and to a file: plain sentences, or JSON.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Config, LogLevel};
use crate::telemetry::LogRing;
use crate::telemetry_client::{self, ErrorRecords};
use crate::text::{printable_json, printable_lines};

/// What a line of a plain log begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    /// Nothing: the journal adds the time.
    None,
    /// `12:00:10` local time, as the console output of a flush: somebody is watching.
    Clock,
    /// `2026-01-02T12:00:10.123456Z`.
    Date,
}

impl Stamp {
    /// For standard error; `journal` is `JOURNAL_STREAM`, by which systemd says which stream goes to
    /// the journal (`device:inode`).
    fn of_stderr(journal: Option<&str>) -> Self {
        let stderr = io::stderr();
        let found = rustix::fs::fstat(&stderr).ok();
        let found = found.map(|found| format!("{}:{}", found.st_dev, found.st_ino));
        if journal.is_some() && found.as_deref() == journal {
            Stamp::None
        } else if stderr.is_terminal() {
            Stamp::Clock
        } else {
            Stamp::Date
        }
    }

    fn text(self) -> String {
        match self {
            Stamp::None => String::new(),
            Stamp::Clock => chrono::Local::now().format("%H:%M:%S  ").to_string(),
            Stamp::Date => format!("{} ", timestamp()),
        }
    }
}

fn timestamp() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// The field that a plain log prints instead of the message and all other fields: the same for
/// people, in several lines if need be. A JSON log leaves it out.
const FOR_PEOPLE: &str = "plain";

/// An info message is printed alone; other levels are printed before the message. In a file, every
/// line has its level.
struct Plain {
    stamp: Stamp,
    all_levels: bool,
}

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        writer.write_str(&self.stamp.text())?;
        if self.all_levels || level != Level::INFO {
            write!(writer, "{level:5} ")?;
        }
        if level > Level::INFO {
            write!(writer, "{}: ", event.metadata().target())?;
        }
        let Fields { for_people, .. } = Fields::of(event);
        match for_people {
            // A message may quote bytes of a client.
            Some(text) => writer.write_str(&printable_lines(&text))?,
            None => {
                let mut text = String::new();
                context.field_format().format_fields(Writer::new(&mut text), event)?;
                writer.write_str(&printable_lines(&text))?;
            }
        }
        writeln!(writer)
    }
}

/// One JSON object per line: `timestamp`, `level`, `target`, and `fields` with the `message`.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let line = serde_json::json!({
            "timestamp": timestamp(),
            "level": event.metadata().level().as_str(),
            "target": event.metadata().target(),
            "fields": Fields::of(event).values,
        });
        writeln!(writer, "{}", printable_json(&line.to_string()))
    }
}

/// The fields of an event, strings as they are.
#[derive(Default)]
struct Fields {
    values: Map<String, Value>,
    for_people: Option<String>,
}

impl Fields {
    fn of(event: &Event<'_>) -> Self {
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields
    }

    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        match (field.name(), value.into()) {
            (FOR_PEOPLE, Value::String(text)) => self.for_people = Some(text),
            (name, value) => drop(self.values.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }
}

/// The level of the running log. It can be changed at any time.
#[derive(Debug)]
pub(super) struct LogControl {
    in_force: reload::Handle<LevelFilter, Registry>,
    /// The configured level, and whether SIGUSR1 has switched it.
    wanted: Mutex<(LevelFilter, bool)>,
}

impl LogControl {
    /// Sets the configured level; a switch by [`LogControl::toggle_debug`] ends.
    pub fn set(&self, level: LogLevel) {
        self.change(|_| (filter(level), false));
    }

    /// Switches to debug and back; if the configured level is debug or trace, to info and back.
    /// Returns the new level.
    pub fn toggle_debug(&self) -> LevelFilter {
        self.change(|(level, switched)| (level, !switched))
    }

    fn change(
        &self,
        change: impl FnOnce((LevelFilter, bool)) -> (LevelFilter, bool),
    ) -> LevelFilter {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        *wanted = change(*wanted);
        let level = match *wanted {
            (level, false) => level,
            (level, true) if level >= LevelFilter::DEBUG => LevelFilter::INFO,
            (_, true) => LevelFilter::DEBUG,
        };
        // Fails only without the subscriber of this handle, as in a test that has its own.
        let _ = self.in_force.reload(level);
        level
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Critical => LevelFilter::ERROR,
        LogLevel::Off => LevelFilter::OFF,
    }
}

/// Starts logging as configured, and into the ring, in sentences.
pub(super) fn start(config: &Config, ring: &Arc<LogRing>) -> anyhow::Result<LogControl> {
    let level = filter(config.log_level);
    let (filter, in_force) = reload::Layer::new(level);
    let ring = Arc::clone(ring);
    let plain = Plain { stamp: Stamp::Date, all_levels: true };
    let mut layers = vec![layer(false, plain, move || RingWriter(Arc::clone(&ring)))];
    if config.log_to_console {
        let stamp = Stamp::of_stderr(std::env::var("JOURNAL_STREAM").ok().as_deref());
        let plain = Plain { stamp, all_levels: false };
        layers.push(layer(config.log_format_json, plain, io::stderr));
    }
    if let Some(path) = config.log_file.as_ref().filter(|_| !config.disable_file_logging) {
        let file = Rolling::open(path, config.log_file_max_size, config.log_file_max_rolls);
        let file = file.map_err(|error| {
            anyhow::anyhow!(
                "log_file: {}: {error}; name a file in a writable folder",
                path.display()
            )
        })?;
        let plain = Plain { stamp: Stamp::Date, all_levels: true };
        layers.push(layer(config.log_format_json, plain, Mutex::new(file)));
    }
    if config.instrumentation_telemetry {
        // Where an error comes from, not what it says.
        layers.push(ErrorRecords::to_global(telemetry_client::global(), &["whippet"]).boxed());
    }
    let subscriber = Registry::default().with(layers.with_filter(filter));
    // Fails only if one is already set, as in a test that calls the program twice.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(LogControl { in_force, wanted: Mutex::new((level, false)) })
}

fn layer<W>(json: bool, plain: Plain, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    // A log that cannot be written (a full disk, a file-size limit) must not harm the thread that
    // logs: the default reports it with `eprintln!`, which panics if standard error fails, too.
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .log_internal_errors(false);
    if json { layer.event_format(JsonLines).boxed() } else { layer.event_format(plain).boxed() }
}

/// Writes into the ring.
struct RingWriter(Arc<LogRing>);

impl Write for RingWriter {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        (&*self.0).write(entry)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log file that is rotated to `name.1`, `name.2` and so on before it exceeds its size.
#[derive(Debug)]
struct Rolling {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    rolls_max: u32,
}

impl Rolling {
    /// Opens the file for appending. A `bytes_max` of 0 never rotates.
    fn open(path: &Path, bytes_max: u64, rolls_max: u32) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Rolling { path: path.to_owned(), file, bytes, bytes_max, rolls_max })
    }

    fn rolled(&self, number: u32) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }

    /// Renames every file to the next number; the last one is overwritten. Missing files are skipped.
    fn roll(&mut self) -> io::Result<()> {
        for number in (1..self.rolls_max).rev() {
            let moved = fs::rename(self.rolled(number), self.rolled(number + 1));
            moved.or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
        }
        if self.rolls_max == 0 {
            fs::remove_file(&self.path)?;
        } else {
            fs::rename(&self.path, self.rolled(1))?;
        }
        self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

impl Write for Rolling {
    /// One call is one log line. If rotation fails (the directory became read-only), the file keeps
    /// growing: a log that is too long is better than none. Rotation is retried after `bytes_max`
    /// more bytes.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let full = self.bytes.saturating_add(line.len() as u64) > self.bytes_max;
        if self.bytes_max > 0 && self.bytes > 0 && full && self.roll().is_err() {
            self.bytes = 0;
        }
        let written = match self.file.write(line) {
            // A limit on file sizes below `log_file_max_size`: a new file has room again.
            Err(error)
                if error.kind() == io::ErrorKind::FileTooLarge
                    && self.bytes > 0
                    && self.roll().is_ok() =>
            {
                self.file.write(line)?
            }
            written => written?,
        };
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a layer writes while `log` runs.
    fn written(json: bool, stamp: Stamp, log: impl FnOnce()) -> String {
        let text = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&text);
        let plain = Plain { stamp, all_levels: false };
        let make = move || Shared(Arc::clone(&writer));
        let subscriber = Registry::default().with(layer(json, plain, make));
        tracing::subscriber::with_default(subscriber, log);
        let bytes = text.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn refuse() {
        tracing::warn!(
            target: "protocol", reason = "bad_rate", line = "a:1|c|@\\x", count = 2,
            plain = "refused:\n    a:1|c|@\\x\n           ^", "refused line"
        );
    }

    #[test]
    fn people_read_several_lines_and_programs_fields() {
        let plain = written(false, Stamp::None, refuse);
        assert_eq!(plain, "WARN  refused:\n    a:1|c|@\\x\n           ^\n");
        let json = written(true, Stamp::None, refuse);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(json["timestamp"].as_str().unwrap()).is_ok());
        assert_eq!((&json["level"], &json["target"]), (&"WARN".into(), &"protocol".into()));
        let fields = serde_json::json!({
            "message": "refused line", "reason": "bad_rate", "line": "a:1|c|@\\x", "count": 2,
        });
        assert_eq!(json["fields"], fields);
    }

    #[test]
    fn a_line_begins_with_the_time_that_its_reader_needs() {
        let line = |stamp| written(false, stamp, || tracing::info!("said"));
        assert_eq!(line(Stamp::None), "said\n");
        let clock = line(Stamp::Clock);
        let (time, said) = clock.split_at(8);
        assert!(chrono::NaiveTime::parse_from_str(time, "%H:%M:%S").is_ok(), "{clock}");
        assert_eq!(said, "  said\n");
        let dated = line(Stamp::Date);
        let (date, said) = dated.split_once(' ').unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(date).is_ok() && date.ends_with('Z'));
        assert_eq!(said, "said\n");
    }

    #[test]
    fn only_the_stream_of_the_journal_is_left_undated() {
        let stderr = rustix::fs::fstat(io::stderr()).unwrap();
        let ours = format!("{}:{}", stderr.st_dev, stderr.st_ino);
        assert_eq!(Stamp::of_stderr(Some(&ours)), Stamp::None);
        // A service that redirects its standard error inherits the variable all the same.
        assert_ne!(Stamp::of_stderr(Some("8:1")), Stamp::None);
        assert_ne!(Stamp::of_stderr(None), Stamp::None);
    }

    /// Writes lines of 10 bytes, `first` to `last`, into a log of at most `bytes_max`; the contents
    /// of the log and of its rolls, newest first, as the numbers of their lines.
    fn log(bytes_max: u64, rolls_max: u32, lines: u32) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut rolling = Rolling::open(&path, bytes_max, rolls_max).unwrap();
        for number in 1..=lines {
            writeln!(Line(&mut rolling), "{number:09}").unwrap();
        }
        let count = fs::read_dir(folder.path()).unwrap().count();
        let content = |number: usize| {
            let name = if number == 0 { "log".to_owned() } else { format!("log.{number}") };
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            let numbers = text.lines().map(|line| line.trim_start_matches('0'));
            numbers.collect::<Vec<_>>().join(" ")
        };
        (0..count).map(content).collect()
    }

    /// Gathers a line, as the subscriber does, so that it is one write.
    struct Line<'a>(&'a mut Rolling);

    impl Write for Line<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }
        fn write_fmt(&mut self, line: fmt::Arguments<'_>) -> io::Result<()> {
            self.0.write_all(line.to_string().as_bytes())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_never_outgrows_its_size_and_old_rolls_go() {
        assert_eq!(log(30, 2, 3), ["1 2 3"]);
        assert_eq!(log(30, 2, 4), ["4", "1 2 3"]);
        assert_eq!(log(30, 2, 11), ["10 11", "7 8 9", "4 5 6"]);
        assert_eq!(log(35, 1, 7), ["7", "4 5 6"]);
        assert_eq!(log(30, 0, 5), ["4 5"]);
        assert_eq!(log(0, 2, 5), ["1 2 3 4 5"]);
        // A line longer than the size has a file of its own.
        assert_eq!(log(5, 2, 3), ["3", "2", "1"]);
    }

    #[test]
    fn what_was_there_counts_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "old").unwrap();
        let mut rolling = Rolling::open(&path, 5, 1).unwrap();
        rolling.write_all(b"n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "oldn");
        rolling.write_all(b"ew").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "ew");
        assert_eq!(fs::read_to_string(folder.path().join("log.1")).unwrap(), "oldn");
    }

    #[test]
    fn a_log_that_cannot_be_put_aside_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut rolling = Rolling::open(&path, 2, 1).unwrap();
        // A folder in the way of the roll.
        fs::create_dir_all(folder.path().join("log.1/in the way")).unwrap();
        rolling.write_all(b"ab").unwrap();
        rolling.write_all(b"cd").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "abcd");
    }
}
