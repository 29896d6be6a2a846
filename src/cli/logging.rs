//! Logs to standard error and to a file: plain sentences, or JSON.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Config, LogLevel};

/// An info message is printed alone; other levels are printed before the message. In a file, every
/// line starts with time and level.
struct Plain {
    dated: bool,
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
        if self.dated {
            SystemTime.format_time(&mut writer)?;
            writer.write_char(' ')?;
        }
        if self.dated || level != Level::INFO {
            write!(writer, "{level:5} ")?;
        }
        if level > Level::INFO {
            write!(writer, "{}: ", event.metadata().target())?;
        }
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
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
    #[expect(dead_code, reason = "for the reload of `log_level`")]
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

/// Starts logging as configured.
pub(super) fn start(config: &Config) -> anyhow::Result<LogControl> {
    let level = filter(config.log_level);
    let (filter, in_force) = reload::Layer::new(level);
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    if config.log_to_console {
        layers.push(layer(config.log_format_json, false, io::stderr));
    }
    if let Some(path) = config.log_file.as_ref().filter(|_| !config.disable_file_logging) {
        let file = Rolling::open(path, config.log_file_max_size, config.log_file_max_rolls);
        let file = file.map_err(|error| {
            anyhow::anyhow!(
                "log_file: {}: {error}; name a file in a writable folder",
                path.display()
            )
        })?;
        layers.push(layer(config.log_format_json, true, Mutex::new(file)));
    }
    let subscriber = Registry::default().with(layers.with_filter(filter));
    // Fails only if one is already set, as in a test that calls the program twice.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(LogControl { in_force, wanted: Mutex::new((level, false)) })
}

fn layer<W>(json: bool, dated: bool, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    // A log that cannot be written (a full disk, a file-size limit) must not harm the thread that
    // logs: the default reports it with `eprintln!`, which panics if standard error fails, too.
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .log_internal_errors(false);
    if json { layer.json().boxed() } else { layer.event_format(Plain { dated }).boxed() }
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
