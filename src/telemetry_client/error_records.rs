//! Error records of `log` and `tracing` as log lines of telemetry.
//!
//! What a program logs quotes what it works on: names of metrics, tags, addresses. None of it may leave,
//! and of a formatted text nobody can tell which part is which. So only what the compiler knew is
//! reported: of a `log` record its message if it has no arguments, of all others where it was logged,
//! which with the version says what it was.

use std::fmt;
use std::sync::Arc;

use super::client::Client;
use super::global::Global;
use super::logs::LogRecord;
use super::payload::LogLevel;
use super::redact;

type Sink = Arc<dyn Fn(LogRecord) + Send + Sync>;

/// Takes records of level `ERROR` that come from the `own` crates. Cheap to clone.
///
/// As a logger of the `log` crate it hands every record on to the one it wraps:
///
/// ```
/// use whippet::telemetry_client::{Client, ErrorRecords, MemoryWriter};
///
/// # struct Stderr;
/// # impl log::Log for Stderr {
/// #     fn enabled(&self, _: &log::Metadata<'_>) -> bool { true }
/// #     fn log(&self, _: &log::Record<'_>) {}
/// #     fn flush(&self) {}
/// # }
/// let memory = MemoryWriter::default();
/// let client = Client::builder("shop").writer(memory.clone()).build()?;
/// let records = ErrorRecords::to_client(&client, &["shop"]);
/// log::set_boxed_logger(Box::new(records.before(Stderr)))?;
/// log::set_max_level(log::LevelFilter::Info);
///
/// log::error!(target: "shop::cart", "the cart cannot be read");
/// let line = String::from("page.views:7|c");
/// log::error!(target: "shop::cart", "{line} is lost");
///
/// client.start_manually();
/// client.flush();
/// let logs = memory.take()[1]["payload"]["logs"].clone();
/// assert!(logs[0]["message"].as_str().unwrap().starts_with("shop::cart at "));
/// assert_eq!(logs[1]["message"], "the cart cannot be read");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ErrorRecords {
    sink: Sink,
    own: Vec<String>,
}

impl ErrorRecords {
    /// Reports to one client.
    #[must_use]
    pub fn to_client(client: &Client, own: &[&str]) -> Self {
        let client = client.clone();
        ErrorRecords::new(Arc::new(move |record| client.log(&record)), own)
    }

    /// Reports to the client of the program, also before there is one.
    #[must_use]
    pub fn to_global(global: &'static Global, own: &[&str]) -> Self {
        let sink = move |record| {
            global.log(record);
        };
        ErrorRecords::new(Arc::new(sink), own)
    }

    fn new(sink: Sink, own: &[&str]) -> Self {
        ErrorRecords { sink, own: own.iter().map(|name| (*name).to_owned()).collect() }
    }

    /// A logger that reports errors and hands every record on to `next`.
    #[must_use]
    pub fn before<L: log::Log>(self, next: L) -> ErrorLogger<L> {
        ErrorLogger { records: self, next }
    }

    /// Takes an event of `tracing`, whatever its level. For a layer of a subscriber that whippet has no
    /// implementation for.
    pub fn on_event(&self, event: &tracing::Event<'_>) {
        let metadata = event.metadata();
        if *metadata.level() != tracing::Level::ERROR {
            return;
        }
        let module = metadata.module_path().unwrap_or_default();
        self.report(metadata.target(), module, metadata.file(), metadata.line(), None);
    }

    fn on_record(&self, record: &log::Record<'_>) {
        if record.level() == log::Level::Error {
            let module = record.module_path_static().unwrap_or(record.target());
            let message = record.args().as_str();
            self.report(record.target(), module, record.file(), record.line(), message);
        }
    }

    fn report(
        &self,
        target: &str,
        module: &str,
        file: Option<&str>,
        line: Option<u32>,
        message: Option<&'static str>,
    ) {
        let own = |path: &str| {
            let root = path.split("::").next().unwrap_or_default();
            self.own.iter().any(|own| own == root)
        };
        // Our own lines about telemetry that fails would be told with what fails.
        if !(own(module) || own(target)) || target == "telemetry_client" {
            return;
        }
        let message = match message {
            Some(message) => message.into(),
            None => {
                let place = redact::place(file.unwrap_or_default());
                format!("{target} at {place}:{}", line.unwrap_or_default()).into()
            }
        };
        (self.sink)(LogRecord::new(LogLevel::Error, message));
    }
}

impl fmt::Debug for ErrorRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorRecords").field("own", &self.own).finish_non_exhaustive()
    }
}

/// Made by [`ErrorRecords::before`].
#[derive(Debug)]
pub struct ErrorLogger<L> {
    records: ErrorRecords,
    next: L,
}

impl<L: log::Log> log::Log for ErrorLogger<L> {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Error || self.next.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        self.records.on_record(record);
        if self.next.enabled(record.metadata()) {
            self.next.log(record);
        }
    }

    fn flush(&self) {
        self.next.flush();
    }
}

/// Part of a subscriber of `tracing-subscriber`.
#[cfg(feature = "telemetry_client_layer")]
impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for ErrorRecords {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        ErrorRecords::on_event(self, event);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn records() -> (ErrorRecords, Arc<Mutex<Vec<String>>>) {
        let messages = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&messages);
        let sink = move |record: LogRecord| kept.lock().unwrap().push(record.message.into_owned());
        (ErrorRecords::new(Arc::new(sink), &["whippet"]), messages)
    }

    #[test]
    fn of_a_log_record_only_what_the_compiler_knew_is_told() {
        let (records, messages) = records();
        let name = String::from("page.views");
        let log = |level, module, args: fmt::Arguments<'_>| {
            let record = log::Record::builder()
                .level(level)
                .target("forward")
                .module_path_static(Some(module))
                .file(Some("/home/me/whippet/src/forward/worker.rs"))
                .line(Some(9))
                .args(args)
                .build();
            records.on_record(&record);
        };
        log(log::Level::Error, "whippet::forward", format_args!("the spool is full"));
        log(log::Level::Error, "whippet::forward", format_args!("{name} is lost"));
        log(log::Level::Warn, "whippet::forward", format_args!("a warning"));
        log(log::Level::Error, "ureq::agent", format_args!("not ours"));
        assert_eq!(
            *messages.lock().unwrap(),
            ["the spool is full", "forward at src/forward/worker.rs:9"]
        );
    }

    /// A subscriber that hands every event to the records, as a layer does.
    struct Forwarding(ErrorRecords);

    impl tracing::Subscriber for Forwarding {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            self.0.on_event(event);
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn of_a_tracing_event_the_place_is_told_and_no_value() {
        let (records, messages) = records();
        tracing::subscriber::with_default(Forwarding(records), || {
            let (name, tag) = ("page.views", "user:7");
            tracing::error!(target: "net", name, "{tag}: refused");
            tracing::warn!(target: "net", "a warning");
            tracing::error!(target: "telemetry_client", "about telemetry itself");
        });
        let messages = messages.lock().unwrap();
        let [message] = &messages[..] else { panic!("{messages:?}") };
        assert!(message.starts_with("net at src/telemetry_client/error_records.rs:"), "{message}");
    }
}
