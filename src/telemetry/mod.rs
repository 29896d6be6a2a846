//! (telemetry)

mod hub;

pub use hub::{
    Event, EventKind, HookError, Hub, HubConfig, ListenerReport, Outcome, Question, Results,
    RetryCause, Ring, Subscription, Transport,
};
