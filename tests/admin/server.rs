//! A server with its admin pages on a free port, flushing every second into nothing.

use crate::support::program::{Program, Setup};

/// Starts it with those keys on top.
#[track_caller]
pub fn server(set: &[(&str, &str)]) -> Program {
    let setup = Setup::bare()
        .unset("self_telemetry")
        .set("bind_host", "127.0.0.1")
        .set("interval", 1)
        .set("hostname", "test-host")
        .set("admin_address", "127.0.0.1:0")
        .set("forwarder_apikey_validation_interval", 0)
        .set("output", "none")
        .waits_for("admin ");
    set.iter().fold(setup, |setup, (key, value)| setup.set(key, value)).start()
}
