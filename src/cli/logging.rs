//! Logs on standard error: plain sentences for people, JSON for machines.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::sync::Arc;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use crate::config::{Config, LogLevel};

/// An information is the sentence alone; anything else begins with its level.
struct Plain;

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
        if level != Level::INFO {
            write!(writer, "{level:5} ")?;
        }
        if level > Level::INFO {
            write!(writer, "{}: ", event.metadata().target())?;
        }
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Sends the program's logs where the configuration says.
pub(super) fn start(config: &Config) -> anyhow::Result<()> {
    let filter = match config.log_level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Critical => LevelFilter::ERROR,
        LogLevel::Off => LevelFilter::OFF,
    };
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    if config.log_to_console {
        layers.push(layer(config.log_format_json, io::stderr));
    }
    if let Some(path) = config.log_file.as_ref().filter(|_| !config.disable_file_logging) {
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
            anyhow::anyhow!(
                "log_file: {}: {error}; name a file in a writable folder",
                path.display()
            )
        })?;
        let file = Arc::new(file);
        layers.push(layer(config.log_format_json, move || Arc::clone(&file)));
    }
    let subscriber = Registry::default().with(layers.with_filter(filter));
    // Fails only when there is one already, as in a test that calls the program twice.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

fn layer<W>(json: bool, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    if json { layer.json().boxed() } else { layer.event_format(Plain).boxed() }
}
