//! The event bus: what happens in a running program, for subscribers.
//!
//! In: events of any room. Out: a bus of events ([`Hub`]). Promise: memory and time are bounded for
//! any subscriber, and no hot path waits. Refusal: it knows no other room and decides nothing.

mod hub;

pub use hub::{
    Event, EventKind, HookError, Hub, HubConfig, ListenerReport, Outcome, Question, Results,
    RetryCause, Ring, Subscription, Transport,
};
