//! In: errors that the program has handled, from any thread. Out: a counter by fingerprint and, where wanted,
//! a rare event with the messages, handed to a [`Sink`] every ten seconds. Promise: recording never fails,
//! never waits for delivery and never allocates for an error seen before; messages never become part of an
//! identity or a tag; memory is bounded for any number of different errors. Refusal: it finds no error by
//! itself: Rust has no hook for a handled `Err`, so the program names the places.
//!
//! # A tour
//!
//! ```
//! use whippet::ThreadStats;
//! use whippet::errors::{self, Modules, ResultExt, Settings};
//! use whippet::threadstats::{MemoryReporter, StartOptions};
//!
//! # let memory = MemoryReporter::default();
//! # let stats = ThreadStats::builder().env(|_| None).reporter(memory.clone()).build();
//! # stats.start(&StartOptions::manual())?;
//! let settings = Settings { modules: Modules::User, ..Settings::default() };
//! let guard = errors::start(settings, stats.clone())?;
//!
//! let port: u16 = "eighty".parse().tracked().unwrap_or(80); // counted, then handled
//! if let Err(error) = std::fs::read("/no/such/file") {
//!     errors::record(&error);
//! }
//!
//! drop(guard); // the last counts go to the sink
//! # assert_eq!(port, 80);
//! # stats.flush(Some(f64::INFINITY))?;
//! # assert_eq!(memory.take().metrics.iter().filter(|m| m.metric == "handled_errors").count(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each series carries the tags `error_type`, `module`, `fingerprint` and `kind` (`handled` or `panic`).
//! A *fingerprint* is a hash of the type of the error, of the types of its sources and of the place that
//! recorded it: stable across runs and machines, and free of the message.
//!
//! Errors behind a pointer (`Box<dyn Error>`, `anyhow::Error`) go through [`record_dyn`]. In a span of
//! `tracing`, each recorded error is also an event of that span, at most 100 different ones a span.
//! [`install_panic_hook`] counts panics, the nearest thing to an error that nobody handled.

mod fingerprint;
mod global;
mod panics;
mod sample;
mod settings;
mod sink;
mod site;
mod spans;
mod table;
#[cfg(test)]
mod tests;
mod tracker;
mod types;

pub use global::{ErrorsGuard, ResultExt, record, record_dyn, start};
pub use panics::install_panic_hook;
pub use settings::{Modules, Settings, SettingsError};
pub use sink::{LineSink, Sink};
pub use tracker::{Losses, Tracker};
