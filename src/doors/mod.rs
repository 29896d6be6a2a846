//! HTTP doors for Datadog clients that speak to an Agent or to the metrics API.
//!
//! In: requests of tracers, data streams processors, telemetry clients and `datadog.api`. Out: [`Part`]s,
//! values of series at a second, in a [`Sink`]. Promise: what is answered with success was recorded,
//! queued or counted; a bad part never harms its neighbours; depth, memory and time are bounded for any
//! body. Refusal: no span, log text or body is kept; no key is read, stored or passed on.

mod accounting;
mod answer;
mod api;
mod budget;
#[cfg(any(test, fuzzing))]
mod collected;
mod data_streams;
mod decode_only;
mod desk;
mod dogstatsd;
mod door;
mod encoding;
mod forward;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod grace;
mod info;
mod json;
mod line_of;
#[cfg(feature = "bench")]
pub mod measure;
mod msgpack;
mod naming;
mod part;
mod recorder;
mod refused;
mod request;
mod routes;
mod schedule;
mod sender;
mod stats;
mod telemetry;
mod traces;
mod upstream;

pub(crate) use accounting::{
    DoorsAccounting, ForwardCounts, ForwardDrop, Reason, Route, RouteCounts, TraceCounts,
};
pub(crate) use answer::{Answer, Refusal};
pub(crate) use api::Api;
pub(crate) use data_streams::DataStreams;
pub(crate) use decode_only::DecodeOnly;
pub(crate) use desk::{Desk, DeskSettings};
pub(crate) use dogstatsd::{Dogstatsd, LineInbox};
pub(crate) use door::Door;
pub(crate) use forward::{
    Agent, DeliverySettings, Forward, ForwardError, ForwardSettings, TargetSettings, end_to_end,
    via,
};
pub(crate) use grace::Grace;
pub(crate) use info::InfoSettings;
pub(crate) use naming::{Naming, SharedNaming};
pub(crate) use part::{Outcome, Part, Sink, TagList, Value};
pub(crate) use recorder::{Recorder, RecorderParts};
pub(crate) use request::Request;
pub(crate) use schedule::{DueBucket, Schedule};
pub(crate) use stats::{Stats, StatsForward};
pub(crate) use telemetry::Telemetry;
pub(crate) use traces::Traces;
pub(crate) use upstream::Upstream;
