//! The library and the program from outside, as one test program, so that linking is paid once.
//! What needs the `whippet` program runs with its features only; the embeddable client runs
//! without any.

/// The program and its parts at work: real sockets, real files, a fake intake.
#[cfg(all(feature = "cli", feature = "zstd"))]
mod support;

#[cfg(all(feature = "cli", feature = "zstd"))]
mod admin {
    mod commands;
    mod http;
    mod live;
    mod moments;
    mod now;
    mod page;
    mod self_metrics;
    mod senders;
    pub mod server;
    mod slow_clients;
}
/// The program on its command line: what a person types, what comes back, what arrives.
#[cfg(all(feature = "cli", feature = "zstd"))]
mod cli {
    mod closed_reader;
    mod command;
    mod explain;
    mod generate;
    mod global;
    mod help;
    mod log_files;
    mod promise;
    mod send;
    mod service_manager;
    mod systemd_units;
    mod terminal;
}
/// The library's data streams: through brokers, and to the program's door.
#[cfg(feature = "datastreams")]
mod datastreams {
    #[cfg(all(feature = "cli", feature = "zstd"))]
    mod door;
    #[cfg(feature = "datastreams_rdkafka")]
    mod kafka;
}
/// What is shipped beside the program, held against the program.
#[cfg(all(feature = "cli", feature = "zstd"))]
mod dist {
    mod metrics;
}
/// Datadog clients that speak HTTP to an Agent: the program takes what they send.
#[cfg(all(feature = "cli", feature = "zstd"))]
mod doors {
    mod api;
    mod buckets;
    pub mod client;
    mod data_streams;
    mod dogstatsd;
    mod forward;
    mod http;
    mod info;
    pub mod post;
    mod stats;
    mod telemetry;
    mod traces;
    mod upstream;
}
/// The program, driven from outside.
#[cfg(all(feature = "cli", feature = "zstd"))]
mod e2e {
    mod accounting;
    mod beside;
    mod delivery;
    mod dry_run;
    mod identity;
    mod kinds;
    mod outputs;
    mod restarts;
    mod settings;
    mod shutdown;
    mod start;
    mod time;
}
/// What the program does when everything around it fails. The long ones run only when asked (`make
/// faults`, `make soak`); their figures stand in `docs/reliability.md`.
#[cfg(all(feature = "cli", feature = "zstd"))]
mod faults {
    mod clock;
    mod file_size;
    mod flood;
    mod outage;
    mod peers;
    mod security;
    mod setup;
    mod soak;
    mod story;
    mod wall;
}
/// The forwarder against a fake intake over real sockets.
#[cfg(all(feature = "cli", feature = "zstd"))]
mod forward {
    mod answers;
    mod connections;
    mod forwarder;
    mod keys;
    mod owned;
    mod queue;
    mod shutdown;
    mod spool;
}
/// The global tier on the mock brokers of the client library.
#[cfg(all(feature = "cli", feature = "global"))]
mod global {
    mod brokers;
    pub mod cluster;
    mod owner;
    mod pages;
    mod refusals;
    mod sender;
    mod tier;
    mod traffic;
}
#[cfg(all(feature = "cli", feature = "zstd"))]
mod hub;
/// The receive room against real sockets: loopback, port 0, temporary folders.
#[cfg(feature = "server")]
mod net {
    mod addresses;
    mod datagrams;
    mod inherited;
    mod lane;
    mod poll_loop;
    mod socket_files;
    mod streams;
}
/// Tags of senders and raw copies: a faked process file system and control groups, a kubelet of
/// our own behind TLS.
#[cfg(all(feature = "cli", feature = "zstd"))]
mod origin {
    mod copies;
    mod kubelet;
    mod pods;
    mod program;
    mod senders;
    mod sources;
    mod workloads;
}
/// Captures: taken, sent again, run through the engine; and the archive for support.
#[cfg(all(feature = "cli", feature = "zstd"))]
mod replay {
    mod agent_file;
    mod captured;
    mod damaged;
    mod differences;
    mod flare;
    mod offline;
    mod sent;
}
#[cfg(all(feature = "cli", feature = "zstd"))]
mod rewriting;
/// What programs report on themselves: the library's client, and whippet with it.
#[cfg(feature = "telemetry_client")]
mod telemetry {
    #[cfg(all(feature = "cli", feature = "zstd"))]
    mod door;
    #[cfg(all(feature = "cli", feature = "zstd"))]
    mod program;
    mod schema;
}
/// The embeddable client: the table of call sequences, scripts, HTTP, threads.
mod threadstats {
    #[path = "../../examples/threadstats_script/arguments.rs"]
    mod arguments;
    #[path = "../../examples/threadstats_script/runner.rs"]
    mod runner;

    mod bound;
    mod http;
    mod life;
    mod model;
    mod script;
    pub mod server;
    mod tree;
}
/// What measures the program beside others.
#[cfg(all(feature = "cli", feature = "zstd"))]
mod tools {
    mod peers;
}
/// The live page in a real browser: run by `make test-web`, which installs one.
#[cfg(all(feature = "cli", feature = "zstd"))]
mod web {
    mod browser;
    mod page;
    mod screenshots;
    mod terminal;
}
