//! The embeddable client from outside: the table of call sequences, scripts, HTTP, threads.

#[path = "../examples/threadstats_script/arguments.rs"]
mod arguments;
#[path = "../examples/threadstats_script/runner.rs"]
mod runner;

#[path = "threadstats/allocations.rs"]
mod allocations;
#[path = "threadstats/bound.rs"]
mod bound;
#[path = "threadstats/http.rs"]
mod http;
#[path = "threadstats/life.rs"]
mod life;
#[path = "threadstats/model.rs"]
mod model;
#[path = "threadstats/script.rs"]
mod script;
#[path = "threadstats/server.rs"]
mod server;
#[path = "threadstats/tree.rs"]
mod tree;
