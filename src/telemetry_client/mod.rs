//! In: what a program says of itself (settings, parts, libraries, numbers, errors). Out: instrumentation
//! telemetry v2, in the order and at the pace that the vendor's intake expects, to an agent or the intake
//! itself. Promise: no call waits for the network, memory is bounded, what fails is kept in order and
//! tried again, and what cannot be kept is counted. Refusal: no texts of other people's code, no values in
//! log lines, no settings whose name says that they are secret.
//!
//! # A tour
//!
//! A client is described, told what there is to tell, and started. With the default options a thread
//! sends what is new every 60 s to the agent at `http://localhost:8126`; where no agent takes it and an API
//! key is given, to the intake.
//!
//! ```no_run
//! use whippet::telemetry_client::{Client, Integration, Origin, Setting};
//!
//! let client = Client::builder("shop")
//!     .service_version("1.2")
//!     .environment(|name| std::env::var(name).ok())
//!     .build()?;
//! client.configuration([Setting::new("cart_size", 20, Origin::Code)]);
//! client.integration(Integration::new("redis", "1.0"));
//! client.product_started("checkout");
//! client.start()?;
//!
//! let orders = client.count("general", "orders", &["kind:book"]);
//! orders.submit(1.0);
//! // … the program …
//! client.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In tests a [`MemoryWriter`] takes the place of the network, and flushes are called:
//!
//! ```
//! use whippet::telemetry_client::{Client, MemoryWriter};
//!
//! let memory = MemoryWriter::default();
//! let client = Client::builder("shop").writer(memory.clone()).build()?;
//! client.product_started("checkout");
//! client.count("general", "orders", &[]).submit(2.0);
//! client.start_manually();
//! client.flush();
//!
//! let bodies = memory.take();
//! assert_eq!(bodies[0]["request_type"], "app-started");
//! assert_eq!(bodies[0]["payload"]["products"]["checkout"]["enabled"], true);
//! assert_eq!(bodies[1]["request_type"], "generate-metrics");
//! assert_eq!(bodies[1]["payload"]["series"][0]["points"][0][1], 2.0);
//!
//! client.stop();
//! let last = &memory.take()[0]["payload"];
//! assert_eq!(last.as_array().unwrap().last().unwrap()["request_type"], "app-closing");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A library cannot know when its program starts a client, if ever. It uses the [`global`] one: calls
//! are recorded until there is a client, and handles of metrics are valid at any time.
//!
//! ```
//! use whippet::telemetry_client::{Client, Global, Integration, MemoryWriter};
//!
//! let global = Global::default(); // a program's is telemetry_client::global()
//! let queries = global.count("general", "queries", &[]);
//! queries.submit(1.0);
//! global.integration(Integration::new("postgres", "0.19"));
//!
//! let memory = MemoryWriter::default();
//! let client = Client::builder("shop").writer(memory.clone()).build()?;
//! client.start_manually();
//! global.exchange(client.clone());
//! queries.submit(1.0);
//! client.flush();
//! let batch = &memory.take()[1]["payload"];
//! assert_eq!(batch[0]["payload"]["integrations"][0]["name"], "postgres");
//! assert_eq!(batch[1]["payload"]["series"][0]["points"][0][1], 2.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Errors are reported as constant texts ([`LogRecord`]), and records of `log` and `tracing` as the place
//! they come from ([`ErrorRecords`]). What could not be taken or sent is in [`Client::losses`].
//!
//! # What is sent when
//!
//! | flush | requests |
//! |---|---|
//! | the first, at the start | `app-started` with settings and products; then everything else in one batch |
//! | each | what changed: integrations, products, settings, dependencies (2,000 per flush), logs, metrics, distributions; with a heartbeat when 60 s have passed since the last one, every 24 h with everything that is known instead |
//! | the last | the same, and `app-closing`, in one batch |
//!
//! More than one message make a `message-batch`, a single one travels alone. A request that no endpoint
//! takes waits with all behind it, at most 32, and goes first at the next flush; one that is too large
//! (413) is dropped. Bodies of more than 2 MiB halve the time between flushes, down to 15 s.

mod body;
mod builder;
mod cells;
mod client;
mod configuration;
mod error_records;
mod global;
mod handles;
mod http_writer;
mod interval;
mod inventory;
mod logs;
mod mapper;
mod metrics;
mod payload;
mod periodic;
mod range;
mod recorder;
mod redact;
mod ring_queue;
#[cfg(test)]
mod tests;
mod writer;

pub use body::{Application, Body, Host};
pub use builder::{BuildError, Builder};
pub use client::{Client, ClientLosses, FlushReport};
pub use error_records::{ErrorLogger, ErrorRecords};
pub use global::{Global, global};
pub use handles::{Count, Distribution, Gauge, Rate};
pub use http_writer::{DEFAULT_AGENT_URL, DEFAULT_SITE, HttpWriter, WriterError};
pub use interval::AdaptiveInterval;
pub use logs::LogRecord;
pub use payload::{
    Dependency, DistributionSeries, InstallSignature, Integration, LogLevel, LogLine, MetricKind,
    MetricSeries, Origin, Payload, ProductError, ProductState, Setting, SettingValue,
};
pub use range::Range;
pub use recorder::Recorder;
pub use ring_queue::{BufferPool, RingQueue};
pub use writer::{MemoryWriter, SendAttempt, SendOutcome, SendResult, Writer};
