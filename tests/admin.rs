//! The admin surface of the real program, from outside.

#[path = "admin/program.rs"]
mod program;
#[expect(dead_code, reason = "shared with test programs that use all of it")]
mod support;

#[path = "admin/commands.rs"]
mod commands;
#[path = "admin/http.rs"]
mod http;
#[path = "admin/live.rs"]
mod live;
#[path = "admin/moments.rs"]
mod moments;
#[path = "admin/self_metrics.rs"]
mod self_metrics;
#[path = "admin/senders.rs"]
mod senders;
