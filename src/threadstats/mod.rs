//! In: calls from the program's own threads. Out: the series of each interval and the events, handed
//! to a [`Reporter`]. Promise: recording never fails, never waits for delivery and never panics on any
//! argument; whatever does not arrive is counted. Refusal: no sampling, no lateness limit, no
//! delivery beyond one attempt per flush (a reporter may do more).
//!
//! # A tour
//!
//! A client is described, built and started. Values fall into intervals of `roll_up_interval`
//! seconds; a flush reports the intervals that have ended. With the default options a background
//! thread does that every ten seconds and posts to the HTTP API with the key from `DD_API_KEY`:
//!
//! ```no_run
//! use whippet::ThreadStats;
//! use whippet::threadstats::StartOptions;
//!
//! let stats = ThreadStats::builder().namespace("shop").constant_tags(["team:web"]).build();
//! stats.start(&StartOptions::default())?;
//! stats.increment("orders", 1, ());
//! stats.gauge("queue.length", 17, &["queue:mail"]);
//! stats.histogram("basket.size", 4.5, ());
//! # Ok::<(), whippet::threadstats::StartError>(())
//! ```
//!
//! The third argument is nothing, a slice of tags, or [`Opts`] with a time and a host. In tests a
//! [`MemoryReporter`] takes the place of the API and explicit timestamps that of the clock:
//!
//! ```
//! use whippet::ThreadStats;
//! use whippet::threadstats::{MemoryReporter, Number, Opts, PointValue, StartOptions};
//!
//! let memory = MemoryReporter::default();
//! let stats = ThreadStats::builder().env(|_| None).reporter(memory.clone()).build();
//! stats.start(&StartOptions::manual())?;
//! stats.increment("orders", 2, Opts::tags(&["kind:book"]).at(100));
//! stats.increment("orders", 1, Opts::tags(&["kind:book"]).at(109));
//! stats.flush(Some(110.0))?;
//!
//! let series = &memory.take().metrics[0];
//! assert_eq!(series.timestamp, Number::Int(100));
//! assert_eq!(series.value, PointValue::Number(Number::Float(0.3))); // 3 in 10 s, per second
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Scopes are timed by a guard or around a closure, in seconds:
//!
//! ```
//! # use whippet::threadstats::{MemoryReporter, StartOptions, ThreadStats};
//! # let memory = MemoryReporter::default();
//! # let stats = ThreadStats::builder().env(|_| None).reporter(memory.clone()).build();
//! # stats.start(&StartOptions::manual())?;
//! {
//!     let _timer = stats.timer("request", &["route:/x"]);
//!     // the work
//! }
//! let answer = stats.timed("think", (), || 42);
//! # assert_eq!(answer, 42);
//! # stats.flush(Some(f64::INFINITY))?;
//! # assert_eq!(memory.take().metrics.len(), 16);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Call sites that record often bind a handle once ([`ThreadStats::counter`]), and programs that end
//! soon hold a [`FlushGuard`]. What was lost, and why, is in [`ThreadStats::losses`]:
//!
//! ```
//! # use whippet::threadstats::{Loss, StartOptions, ThreadStats};
//! # let stats = ThreadStats::builder().env(|_| None).flush_on_drop(false).build();
//! stats.gauge("too.early", 1, ());
//! assert_eq!(stats.losses().of(Loss::NotStarted), 1);
//! stats.start(&StartOptions::manual())?;
//! stats.gauge("no.number", f64::NAN, ());
//! assert_eq!(stats.losses().of(Loss::NonFinite), 1);
//! # Ok::<(), whippet::threadstats::StartError>(())
//! ```
//!
//! # The model
//!
//! A series is identified by name, host and the *multiset* of its tags, not by its kind: the first
//! call of an interval decides the kind and later calls of other kinds feed it. Integers stay integers
//! until something divides them. Histograms store 1000 samples, and percentiles take the sample at
//! `round_half_to_even(p·n − 1)`. Series are reported in the order in which intervals, and keys inside
//! them, were first touched, across all threads.
//!
//! # What it shares with the server, and what not
//!
//! Delivery over HTTP is the server's: connections, timeouts, proxies, TLS and the kinds of failure
//! ([`HttpSettings`](crate::forward::HttpSettings)), the writer of the v1 JSON with its size limits and
//! compression ([`encode`](crate::encode)), keys that no error shows, the clock and the event hub.
//!
//! Separate, because the model of datadogpy asks for something else than the server:
//!
//! - *Aggregation.* Here the kind is not part of a series' identity, integers stay integers, set members
//!   are equal across types, and percentiles come from 1000 samples; the server's contexts, cells and
//!   sketches follow the Agent. A counter is an atomic addition here and has no line to read first.
//! - *Retries.* One attempt per flush, then a pause after three timeouts: what was drained is gone, and a
//!   caller learns it from the losses. The forwarder's queue, breakers and spool keep payloads for hours.
//! - *Answers.* Statuses with JSON `errors` mean something else here than in the forwarder's table of
//!   retry, split and keep.
//! - *Events.* One request each to `/api/v1/events`; the server groups them for `/intake/`.
//!
//! [`LineReporter`] is the way into the server's engine instead.
//!
//! # Differences from datadogpy
//!
//! Values and times that are not finite, and empty metric names, are refused and counted. `stop` before
//! `start` does nothing. A second `start` ends the first background thread. `set` with a text on a key
//! that began the interval as another kind is refused, where Python would report the text. What is held
//! between flushes is bounded ([`ClientLimits`]). The last clone flushes when it is dropped, in place of a hook
//! at process exit. There is no cooperative flusher: any task may call [`ThreadStats::flush`].

mod backoff;
mod body;
mod bound;
mod builder;
mod cell;
mod client;
mod flush;
mod guard;
mod http;
mod inner;
mod key;
mod lines;
mod losses;
mod member;
mod number;
mod options;
mod outbox;
mod periodic;
mod reporter;
mod series;
mod shard;
mod ticker;
mod timer;

pub use bound::{Counter, Distribution, Gauge, Histogram};
pub use builder::Builder;
pub use client::ThreadStats;
pub use guard::FlushGuard;
pub use http::{HttpOptions, HttpReporter};
pub use lines::LineReporter;
pub use losses::{Loss, Losses};
pub use member::Member;
pub use number::Number;
pub use options::{ClientLimits, EventOpts, Opts, StartError, StartOptions};
pub use outbox::FlushOutcome;
pub use reporter::{Delivery, MemoryReporter, ReportError, Reported, Reporter};
pub use series::{Event, PointValue, Series, SeriesType};
pub use timer::Timer;
