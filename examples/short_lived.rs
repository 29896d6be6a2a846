//! A program or function that ends soon and loses nothing: hold a flush guard.
//!
//! ```text
//! DD_API_KEY=… cargo run --example short_lived
//! cargo run --example short_lived -- --print
//! ```
//!
//! With `--print` the reports go to stdout as JSON instead of the API. Guards nest: only when the
//! outermost is dropped everything is flushed, the interval that is still open too, and the drop waits
//! for the delivery. So it also works for a handler that a serverless runtime freezes after its return.

use std::process::ExitCode;

use whippet::ThreadStats;
use whippet::threadstats::{Delivery, Event, ReportError, Reporter, Series, StartOptions};

fn main() -> ExitCode {
    let builder = ThreadStats::builder().namespace("example");
    let stats = match std::env::args().nth(1).as_deref() {
        Some("--print") => builder.reporter(Print).build(),
        _ => builder.build(),
    };
    // No background thread: the guard flushes.
    if let Err(error) = stats.start(&StartOptions::manual()) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    {
        let _guard = stats.flush_guard();
        let handled = (1..=3).map(|request| handle(&stats, request)).sum::<u32>();
        stats.gauge("handled", handled, ());
    } // flushed here
    let lost = stats.losses().total();
    if lost > 0 {
        eprintln!("{lost} lost: {:?}", stats.losses());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A handler that is also used by itself elsewhere, hence with a guard of its own.
fn handle(stats: &ThreadStats, request: u32) -> u32 {
    let _guard = stats.flush_guard();
    let _timer = stats.timer("duration", ());
    stats.increment("requests", 1, &["source:queue"]);
    stats.distribution("size", 100 * request, ());
    1
}

/// Prints one JSON value per series.
struct Print;

impl Reporter for Print {
    fn flush_metrics(&mut self, metrics: &[Series]) -> Result<Delivery, ReportError> {
        metrics.iter().try_for_each(print)?;
        Ok(Delivery::COMPLETE)
    }

    fn flush_distributions(&mut self, distributions: &[Series]) -> Result<Delivery, ReportError> {
        self.flush_metrics(distributions)
    }

    fn flush_events(&mut self, events: &[Event]) -> Result<Delivery, ReportError> {
        events.iter().try_for_each(print)?;
        Ok(Delivery::COMPLETE)
    }
}

fn print(record: &impl serde::Serialize) -> Result<(), ReportError> {
    let json = serde_json::to_string(record).map_err(std::io::Error::other)?;
    println!("{json}");
    Ok(())
}
