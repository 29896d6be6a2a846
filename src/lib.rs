//! whippet: a DogStatsD server that costs next to nothing. Its parts are this library, and with them
//! comes [`ThreadStats`], a client that aggregates inside a process and needs no server.
//!
//! A datagram walks through rooms. Each room is one verb: it takes one noun and hands on another.
//!
//! ```text
//! net        receive   bytes    -> datagrams
//! protocol   read      datagram -> messages
//! context    resolve   raw key  -> context
//! aggregate  record    message  -> cells
//! part       merge     cells of many processes
//! flush      close     buckets  -> series
//! encode     write     series   -> payloads
//! forward    deliver   payload  -> intake
//! ```
//!
//! A room knows the nouns of earlier rooms and the base modules ([`clock`], [`config`],
//! [`tagger`], [`telemetry`]), never a later room. [`server`] and [`threadstats`] alone put rooms together.
//!
//! Metrics of this process, without a server; in a test a reporter in memory takes the place of the HTTP
//! API:
//!
//! ```
//! use whippet::ThreadStats;
//! use whippet::threadstats::{MemoryReporter, StartOptions};
//!
//! let memory = MemoryReporter::default();
//! let stats = ThreadStats::builder().env(|_| None).reporter(memory.clone()).build();
//! stats.start(&StartOptions::manual())?;
//! stats.increment("orders", 1, &["kind:book"]);
//! stats.flush(Some(f64::INFINITY))?; // everything, the open interval too
//! assert_eq!(memory.take().metrics[0].metric, "orders");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "server")]
#[doc(hidden)]
pub mod capture;
pub mod clock;
pub mod config;
#[cfg(any(feature = "server", feature = "datastreams"))]
mod ddsketch;
#[cfg(feature = "server")]
mod http;
pub mod memory;
mod protobuf;
mod spool;
#[cfg(any(feature = "server", feature = "datastreams"))]
mod streams;
#[cfg(any(feature = "server", feature = "datastreams"))]
mod tag_list;
pub mod tagger;
pub mod telemetry;
pub(crate) mod text;

pub mod aggregate;
pub mod context;
pub mod encode;
pub mod flush;
pub mod forward;
#[cfg(feature = "global")]
pub mod global;
#[cfg(feature = "server")]
pub mod net;
pub mod output;
pub mod part;
pub mod protocol;
pub mod sketch;

#[cfg(feature = "server")]
pub(crate) mod admin;
#[cfg(feature = "datastreams")]
pub mod datastreams;
#[cfg(feature = "server")]
pub(crate) mod doors;
#[cfg(feature = "errors")]
pub mod errors;
#[cfg(feature = "server")]
pub(crate) mod explain;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "telemetry_client")]
pub mod telemetry_client;
pub mod threadstats;
#[cfg(feature = "server")]
pub(crate) mod watch;
#[cfg(all(feature = "server", fuzzing))]
#[doc(hidden)]
pub use doors::fuzz as doors_fuzz;
#[cfg(all(feature = "server", feature = "bench"))]
#[doc(hidden)]
pub use doors::measure as doors_measure;
pub use threadstats::ThreadStats;

// The program and its load generator: public for `main.rs` and `tools/`, not for libraries.
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub use cli::main;
