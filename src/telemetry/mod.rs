//! The event bus: what happens in a running program, for subscribers.
//!
//! In: events of any room. Out: a bus of events ([`Hub`]); the last lines of the log ([`LogRing`]);
//! how long things took ([`Durations`]). Promise: memory and time are bounded for
//! any subscriber, and no hot path waits. Refusal: it knows no other room and decides nothing.

mod durations;
mod hub;
mod log_ring;

pub use durations::{DurationSummary, Durations};
pub use hub::{
    Event, EventKind, HookError, Hub, HubConfig, ListenerReport, Outcome, Question, Results,
    RetryCause, Ring, Subscription, Transport,
};
pub use log_ring::LogRing;
