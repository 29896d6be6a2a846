//! `whippet replay`: a capture file sent to a server, or run through the engine of this program.

mod changes;
mod diff;
mod engine;
mod file;
mod live;
mod offline;
mod posted;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;

use self::live::Speed;
use super::config_args::ConfigArgs;
use super::send::target::Target;

/// What CI reads as "could not compare".
const OFFLINE_FAILED: u8 = 2;

#[derive(Args)]
pub(super) struct ReplayArgs {
    /// The capture file: of whippet or of an Agent, plain or zstd.
    #[arg(value_name = "FILE", required_unless_present = "file_flag")]
    file: Option<PathBuf>,
    /// The same, as the Agent's command names it.
    #[arg(short = 'f', long = "file", value_name = "FILE", hide = true, conflicts_with = "file")]
    file_flag: Option<PathBuf>,
    /// Read only the first COUNT records.
    #[arg(long, value_name = "COUNT")]
    records: Option<NonZeroU64>,
    /// Where to send: udp://host:port, unix:///path, unixstream:///path, tcp://host:port, host:port or
    /// /path. Default: what clients use, DD_DOGSTATSD_URL, DD_AGENT_HOST and DD_DOGSTATSD_PORT, else
    /// udp://127.0.0.1:8125.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "offline")]
    to: Option<Address>,
    /// Times as fast as it was captured: 1, 0.5, 10; `max` waits for nothing.
    #[arg(long, value_name = "TIMES", default_value = "1", conflicts_with = "offline")]
    speed: Speed,
    /// Send the file so often; 0 for ever.
    #[arg(
        long = "loop",
        short = 'l',
        visible_alias = "loops",
        value_name = "COUNT",
        default_value_t = 1,
        conflicts_with = "offline"
    )]
    loops: u64,
    /// Say each datagram that is sent.
    #[arg(short, long, conflicts_with = "offline")]
    verbose: bool,
    /// Accepted for the Agent's command; the file is always read as a stream.
    #[arg(short, long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    mmap: Option<bool>,
    /// Send nothing: print what a server with this configuration (-c) would have posted.
    #[arg(long)]
    offline: bool,
    /// Print the difference to what a server with this other configuration would have posted.
    #[arg(long, value_name = "FILE", requires = "offline")]
    vs: Option<PathBuf>,
    /// json: one object per line; text: for people [default: json; with --vs text].
    #[arg(long, value_name = "FORMAT", requires = "offline")]
    format: Option<Format>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Text,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Format::Json),
            "text" => Ok(Format::Text),
            _ => Err("use json or text"),
        }
    }
}

/// A target that may also be `host:port` or the path of a socket.
#[derive(Clone, Debug)]
struct Address(Target);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = match text {
            _ if text.contains("://") => text.to_owned(),
            _ if text.starts_with('/') => format!("unix://{text}"),
            _ => format!("udp://{text}"),
        };
        url.parse().map(Address)
    }
}

/// Replays the file. Offline, whatever goes wrong is exit code 2, because 1 means "different".
pub(super) fn run(args: &ReplayArgs, settings: &ConfigArgs) -> anyhow::Result<ExitCode> {
    // clap has seen to it that there is one.
    let path = args.file.as_ref().or(args.file_flag.as_ref()).cloned().unwrap_or_default();
    let records = args.records.map_or(u64::MAX, NonZeroU64::get);
    if !args.offline {
        let target = match &args.to {
            Some(Address(target)) => target.clone(),
            None => Target::from_environment(|name| std::env::var(name).ok())?,
        };
        let (speed, loops, verbose) = (args.speed, args.loops, args.verbose);
        let live = live::Live { path, records, target, speed, loops, verbose };
        return live.run();
    }
    let done = match &args.vs {
        None => offline::print(&path, records, settings, args.format.unwrap_or(Format::Json)),
        Some(other) => {
            let other = ConfigArgs { config: Some(other.clone()), set: settings.set.clone() };
            let format = args.format.unwrap_or(Format::Text);
            offline::compare(&path, records, (settings, &other), format)
        }
    };
    done.or_else(|error| {
        let gone = |error: &anyhow::Error| {
            let io = error.downcast_ref::<std::io::Error>();
            io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
        };
        if gone(&error) {
            return Err(error);
        }
        live::say(&format!("whippet: {error:#}"));
        Ok(ExitCode::from(OFFLINE_FAILED))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_scheme() {
        let shown = |text: &str| {
            text.parse::<Address>().map_or_else(|error| error, |found| found.0.to_string())
        };
        assert_eq!(shown("127.0.0.1:9125"), "udp 127.0.0.1:9125");
        assert_eq!(shown("/run/dsd.socket"), "unix /run/dsd.socket");
        assert_eq!(shown("unixstream:///s"), "unix stream /s");
        assert_eq!(
            shown("http://x"),
            "http:// is unknown; use udp, tcp, unix, unixgram or unixstream"
        );
    }
}
