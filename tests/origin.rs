//! Tags of senders and raw copies, through the real program: a faked process file system and
//! control groups, a kubelet of our own behind TLS, real sockets.

#[path = "origin/kubelet.rs"]
mod kubelet;
#[path = "origin/pods.rs"]
mod pods;
#[path = "origin/program.rs"]
mod program;

#[path = "origin/copies.rs"]
mod copies;
#[path = "origin/senders.rs"]
mod senders;
#[path = "origin/sources.rs"]
mod sources;
#[path = "origin/workloads.rs"]
mod workloads;
