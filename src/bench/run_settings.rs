//! What all runs of one invocation share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::corpus::Corpus;
use super::target::Target;

/// What all runs of one invocation share.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Where to.
    pub target: Target,
    /// What.
    pub corpus: Corpus,
    /// Measured time.
    pub duration: Duration,
    /// Time before measuring.
    pub warmup: Duration,
    /// Most datagrams of the measured phase.
    pub datagrams_max: Option<u64>,
    /// Sender threads.
    pub senders: usize,
    /// Most datagrams of one system call.
    pub batch: usize,
    /// Processors of the server; empty leaves it alone.
    pub server_cpus: Vec<usize>,
    /// Processors of the generator; empty leaves it alone.
    pub generator_cpus: Vec<usize>,
    /// Each sender has a processor for itself, so it may spin.
    pub spin: bool,
    /// Compare what the server flushed.
    pub check: bool,
    /// Time without load before the server is stopped.
    pub linger: Duration,
    /// Where the sums of the sent counters go.
    pub sent: Option<PathBuf>,
    /// Targets on other machines are allowed.
    pub remote: bool,
    /// Set from outside to interrupt the run: servers are stopped and scratch files removed.
    pub interrupted: Arc<AtomicBool>,
}

impl RunSettings {
    /// The UDP port of the target when it is on this machine, where the kernel shows its sockets.
    pub fn local_udp_port(&self) -> Option<u16> {
        self.target.udp_port().filter(|_| !self.remote)
    }
}
