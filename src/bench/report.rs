//! The report as data: one stable JSON schema for scripts and records.
//!
//! Fields are only ever added under the same [`SCHEMA`]; a field that changes its meaning or goes
//! away changes the number. A figure that could not be known is null, never 0.

use serde::Serialize;

use super::corpus::Traffic;
use super::flush_check::FlushCheck;
use super::server_counts::ServerCounts;

/// Name and version of the schema.
pub const SCHEMA: &str = "whippet-bench/1";

/// The result of one invocation.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name and version of this schema.
    pub schema: &'static str,
    /// Version of this program.
    pub whippet: &'static str,
    /// Where it ran.
    pub machine: Machine,
    /// What was sent.
    pub load: Load,
    /// Every measured run in order: of each server in turn, or of each step of the search.
    pub runs: Vec<Run>,
    /// The comparison asked for with `--vs`.
    pub versus: Option<Versus>,
    /// The search asked for with `--find-max-rate`.
    #[serde(rename = "ladder")]
    pub rate_search: Option<RateSearch>,
}

/// The machine.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub processor: Option<String>,
    /// Processors this program may use.
    pub cpus: usize,
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// Largest receive buffer that `SO_RCVBUF` grants, in bytes.
    pub rmem_max: Option<u64>,
    /// Processors of the server; empty when not pinned.
    pub server_cpus: Vec<usize>,
    /// Processors of the generator; empty when not pinned.
    pub generator_cpus: Vec<usize>,
}

/// The load.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// Where to.
    pub target: String,
    /// Name of the profile it started from.
    pub profile: String,
    /// Seed of the bytes.
    pub seed: u64,
    /// Kinds and weights.
    pub kinds: String,
    /// Distinct contexts.
    pub contexts: usize,
    /// Datagrams in the repeated block.
    pub block_datagrams: usize,
    /// Mean bytes of a line, its newline included.
    pub bytes_per_line: f64,
    /// Mean lines of a datagram.
    pub lines_per_datagram: f64,
    /// Sender threads.
    pub senders: usize,
    /// Target rate in lines per second; null is unlimited.
    pub lines_per_second: Option<f64>,
}

/// One run against one server.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Its command line; null when it was running already.
    pub server: Option<String>,
    /// Which pair or repetition, from 1.
    pub round: usize,
    /// Milliseconds from starting the command to its bound socket, half a millisecond of shell
    /// included; null when it was running already.
    pub start_ms: Option<f64>,
    /// Seconds measured, the warm-up excluded.
    pub seconds: f64,
    /// Datagrams that were due while measuring.
    pub offered_datagrams: u64,
    /// Sent while measuring.
    pub measured: Traffic,
    /// Sent in all, the warm-up included: what the counts below add up to.
    pub sent: Traffic,
    /// Datagrams the kernel dropped before the server could receive them, in all.
    pub kernel_dropped: Option<u64>,
    /// The same while measuring.
    pub kernel_dropped_measured: Option<u64>,
    /// Lines by outcome, as the server reports them.
    #[serde(rename = "books")]
    pub server_counts: Option<ServerCounts>,
    /// CPU of the server while measuring.
    pub cpu: Option<Cpu>,
    /// Memory of the server at the end.
    pub memory: Option<MemoryUse>,
    /// The other side.
    pub generator: Generator,
    /// Flushed against sent.
    pub check: Option<FlushCheck>,
    /// Why the figures may be misleading.
    pub warnings: Vec<String>,
}

/// CPU of the server, all threads.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cpu {
    /// Seconds of CPU while measuring.
    pub seconds: f64,
    /// Nanoseconds per line that reached the server.
    pub ns_per_line: f64,
    /// Nanoseconds per datagram that reached the server.
    pub ns_per_datagram: f64,
    /// Seconds its threads were ready to run and waited for a processor that others had.
    pub waited_seconds: f64,
    /// Percent of one core, second by second; null when shorter than a second.
    pub percent: Option<Spread>,
}

/// Least, median and greatest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Least.
    pub min: f64,
    /// Median.
    pub median: f64,
    /// Greatest.
    pub max: f64,
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MemoryUse {
    /// Resident at the end of the load.
    pub rss_bytes: u64,
    /// The most that was ever resident.
    pub peak_bytes: u64,
}

/// The senders.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Generator {
    /// Seconds of CPU of all senders while measuring.
    pub cpu_seconds: f64,
    /// Percent of one core per sender.
    pub cpu_percent: f64,
    /// True when waiting was done by spinning, which counts as CPU.
    pub spinning: bool,
    /// Sends refused by the kernel and tried again.
    pub refusals: u64,
    /// Microseconds of one send call.
    pub call: Latency,
    /// Microseconds from when a datagram was due to when it was sent; null when unlimited.
    pub late: Option<Latency>,
}

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half were faster.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

/// Two servers side by side.
#[derive(Clone, Debug, Serialize)]
pub struct Versus {
    /// The second server.
    pub vs: String,
    /// CPU per line pair by pair.
    pub pairs: Vec<Pair>,
    /// Spread of the ratios.
    pub ratio: Spread,
    /// Median nanoseconds per line of the first server.
    pub server_ns_per_line: f64,
    /// Median nanoseconds per line of the second.
    pub vs_ns_per_line: f64,
}

/// Two runs next to each other in time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Nanoseconds per line of the first server.
    pub server_ns_per_line: f64,
    /// Nanoseconds per line of the second.
    pub vs_ns_per_line: f64,
    /// First by second: below 1 the first is cheaper.
    pub ratio: f64,
}

/// A search for the highest rate.
#[derive(Clone, Debug, Serialize)]
pub struct RateSearch {
    /// Highest rate in lines per second without loss; null when no step was free of it.
    pub lines_per_second: Option<f64>,
    /// What limited the rate.
    pub limited_by: Limit,
    /// Each step in the order tried.
    pub steps: Vec<SearchStep>,
}

/// One step of the search.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SearchStep {
    /// Rate offered in lines per second.
    pub lines_per_second: f64,
    /// What was wrong with it.
    pub limit: Limit,
}

/// Why a rate was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Nothing: the whole load was received.
    None,
    /// Lines were lost on the way.
    Loss,
    /// The socket blocked the sender.
    BackPressure,
    /// The generator could not send faster.
    Generator,
}

/// Least, median and greatest of some numbers; `None` without any.
pub fn spread(numbers: &[f64]) -> Option<Spread> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        *sorted.get(middle)?
    } else {
        (*sorted.get(middle.checked_sub(1)?)? + *sorted.get(middle)?) / 2.0
    };
    Some(Spread { min: *sorted.first()?, median, max: *sorted.last()? })
}

#[cfg(test)]
#[path = "report_tests.rs"]
pub(super) mod tests;
