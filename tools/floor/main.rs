//! The floor of this machine: the least any statsd server can spend on a load.
//!
//! ```text
//! cargo run --profile dist --example floor -- --target udp://127.0.0.1:0 --mode work
//! cargo run --profile dist --example floor -- memory --profile packed
//! ```
//! `discard` receives and discards; `work` receives, finds lines, hashes name and tags, compares
//! the bytes, reads the number and adds it. It checks nothing, knows no kinds and flushes nothing:
//! what a real server spends beyond it is what its features cost. Started by `whippet bench --vs`
//! it is measured in the same session and by the same clock as the server it is compared with.
//! `memory` does the work on prepared datagrams without any socket.

mod batch;
mod find;
mod line;
mod memory;
#[path = "../../src/context/prefetch.rs"]
mod prefetch;
mod serve;
mod table;

#[cfg(test)]
mod bench_tests;
#[cfg(test)]
mod reference_server;
#[cfg(test)]
mod tests;

use std::io::Write as _;

use clap::Parser;
use whippet::bench::{LoadArgs, Target};

#[derive(Parser)]
#[command(name = "floor", about = "The least a statsd server can spend on this machine")]
struct Args {
    #[command(subcommand)]
    memory: Option<Command>,
    /// Where to receive; port 0 takes a free one and prints it
    #[arg(long, default_value = "udp://127.0.0.1:0")]
    target: Target,
    /// Discard what arrives, or do the least work
    #[arg(long, value_enum, default_value = "work")]
    mode: Mode,
    /// Wait in the receive call itself, or in a poll that is followed by a drain
    #[arg(long, value_enum, default_value = "blocking")]
    wake: Wake,
    /// Sleep this long after a drain (implies --wake poll)
    #[arg(long, default_value_t = 0)]
    pause_ms: u64,
    /// Receive buffer to ask for, in bytes
    #[arg(long, default_value_t = 4_194_304)]
    receive_buffer: usize,
    /// Stop when standard input closes, not only on SIGTERM
    #[arg(long)]
    until_stdin_closes: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    /// The same work on datagrams in memory: nanoseconds per line without a socket
    Memory {
        #[command(flatten)]
        load: LoadArgs,
        /// Seconds to measure
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
        /// Lines looked up together, their memory prefetched; 1 looks up each at once
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
        ahead: u16,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Discard,
    Work,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Wake {
    Blocking,
    Poll,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.memory {
        Some(Command::Memory { load, seconds, ahead }) => {
            let text = memory::measure(&load, seconds, usize::from(ahead))?;
            Ok(std::io::stdout().write_all(text.as_bytes())?)
        }
        None => serve::serve(&args),
    }
}
