//! What a running program tells of itself, and how.
//!
//! In: numbers and facts of any room. Out: a bus of facts ([`Hub`]), a read-only HTTP server, the
//! Prometheus text format, and a small summary of who is to blame for a flood. Promise: memory and
//! time are bounded whoever asks, and nobody on a hot path waits. Refusal: it knows no other room
//! and decides nothing.

#[cfg(feature = "server")]
pub mod http;
mod hub;

pub use hub::{
    Event, EventKind, HookError, Hub, HubConfig, ListenerReport, Outcome, Question, Results,
    RetryCause, Ring, Subscription, Transport,
};
