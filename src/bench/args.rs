//! The flags of `whippet bench`, and the small readers behind them.

use std::path::PathBuf;

use super::contexts::ShapeError;
use super::corpus::{Corpus, Framing};
use super::shape::{Mix, Profile, Shape};
use super::sys;
use super::target::Target;

const EXAMPLES: &str = "\
EXAMPLES
  Load a running server as fast as this machine can send:
      whippet bench --target udp://127.0.0.1:8125

  Start a server on its own processor, measure its CPU per line and check the sums it flushed:
      whippet bench --server 'whippet run' --profile packed --rate 500k

  Compare two servers in five pairs of alternating runs; the ratio is first to second:
      whippet bench --server 'whippet run' --vs './other -p {port}' --rounds 5

  Find the highest rate without loss over a Unix socket:
      whippet bench --find-max-rate --target unixgram:///tmp/s --server './server --socket {path}'

  A million contexts, or a load of your own:
      whippet bench --profile cardinality --target unixgram:///run/dsd.socket
      whippet bench --contexts 5000 --tags 2-8 --kinds c=5,d=1 --sampled 10 --payload 8192

In a server command, {host}, {port}, {path} and {target} are replaced by those of the target. The
command runs under `exec`, so it must be a single program; set variables with
`env NAME=value program`. Flushed sums are checked for servers that write them to the file named in
WHIPPET_OUTPUT, as whippet does.

EXIT CODES
  0  measured       1  could not measure       2  measured, but flushed sums differ with nothing dropped";

/// Send a known load to a statsd server and measure it.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// The load.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Where to send: udp://host:port, unixgram:///path, unixstream:///path, tcp://host:port
    #[arg(long, value_name = "URL", default_value = "udp://127.0.0.1:8125")]
    pub target: Target,
    /// Allow targets on other machines (the load floods them)
    #[arg(long)]
    pub allow_remote: bool,
    /// Lines per second of all senders together, open loop, such as 50k or 2M [default: unlimited]
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with = "datagram_rate")]
    pub rate: Option<f64>,
    /// Datagrams per second of all senders together
    #[arg(long, value_name = "N", value_parser = positive)]
    pub datagram_rate: Option<f64>,
    /// Seconds to measure [default: 10; 3 per step of --find-max-rate]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub duration: Option<f64>,
    /// Seconds of warm-up under the same load, so that the server knows its contexts
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = not_negative)]
    pub warmup: f64,
    /// Stop after about N lines (whole datagrams; warm-up not counted)
    #[arg(long, value_name = "N", value_parser = positive)]
    pub total: Option<f64>,
    /// Sender threads, each with its own socket
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub senders: u16,
    /// Maximum datagrams per system call
    #[arg(long, value_name = "N", default_value_t = sys::BATCH_MAX as u16, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub batch: u16,
    /// Start this server, measure its CPU, memory and kernel drops, then stop it
    #[arg(long, value_name = "CMD")]
    pub server: Option<String>,
    /// Alternate with a second server and print the ratio of CPU per line, pair by pair
    #[arg(long, value_name = "CMD", requires = "server", conflicts_with = "find_max_rate")]
    pub vs: Option<String>,
    /// Number of pairs with --vs, of runs without it [default: 5 pairs, 1 run]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with = "find_max_rate")]
    pub rounds: Option<u16>,
    /// Find the highest rate without loss, starting from --rate or 50k
    #[arg(long, alias = "ladder", conflicts_with = "datagram_rate")]
    pub find_max_rate: bool,
    /// Processors to pin the server to [default: the first one allowed]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub server_cpus: Vec<usize>,
    /// Processors to pin the generator to [default: all but the server's]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub generator_cpus: Vec<usize>,
    /// Do not pin to processors
    #[arg(long, conflicts_with_all = ["server_cpus", "generator_cpus"])]
    pub no_pin: bool,
    /// Do not check flushed sums (saves the server the cost of writing them)
    #[arg(long)]
    pub no_check: bool,
    /// Seconds the server goes on without load before it is stopped, for one that flushes by the clock only
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = not_negative)]
    pub linger: f64,
    /// Write the sum of every counter series sent by the last run to FILE, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub sent: Option<PathBuf>,
    /// Print the report as JSON (schema whippet-bench/1)
    #[arg(long)]
    pub json: bool,
}

/// The flags that decide the bytes of a load.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArgs {
    /// Ready-made load; each flag below overrides one property of it
    #[arg(long, value_enum, default_value = "packed", help_heading = "Load")]
    pub profile: Profile,
    /// Random seed: the same seed sends the same bytes
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Load")]
    pub seed: u64,
    /// Distinct contexts (pairs of name and tag set)
    #[arg(long, value_name = "N", value_parser = count, help_heading = "Load")]
    pub contexts: Option<usize>,
    /// Distinct metric names (each has one kind)
    #[arg(long, value_name = "N", value_parser = count, help_heading = "Load")]
    pub names: Option<usize>,
    /// Bytes per name
    #[arg(long, value_name = "N|LOW-HIGH", value_parser = range, help_heading = "Load")]
    pub name_bytes: Option<(usize, usize)>,
    /// Tags per line
    #[arg(long, value_name = "N|LOW-HIGH", value_parser = range, help_heading = "Load")]
    pub tags: Option<(usize, usize)>,
    /// Bytes per tag, key included
    #[arg(long, value_name = "N|LOW-HIGH", value_parser = range, help_heading = "Load")]
    pub tag_bytes: Option<(usize, usize)>,
    /// Metric kinds and their weights
    #[arg(long, value_name = "c=1,g=1,ms=1", help_heading = "Load")]
    pub kinds: Option<Mix>,
    /// Percentage of lines with several values
    #[arg(long, value_name = "PERCENT", value_parser = percent, help_heading = "Load")]
    pub packed: Option<u8>,
    /// Values per line with several values
    #[arg(long, value_name = "LOW-HIGH", value_parser = packed_values, help_heading = "Load")]
    pub packed_values: Option<(usize, usize)>,
    /// Percentage of lines with a sample rate
    #[arg(long, value_name = "PERCENT", value_parser = percent, help_heading = "Load")]
    pub sampled: Option<u8>,
    /// Percentage of lines with a distinct c: field
    #[arg(long, value_name = "PERCENT", value_parser = percent, help_heading = "Load")]
    pub origin: Option<u8>,
    /// Maximum bytes per datagram (UDP carries 65507)
    #[arg(long, value_name = "BYTES", value_parser = payload, help_heading = "Load")]
    pub payload: Option<usize>,
    /// Maximum lines per datagram
    #[arg(long, value_name = "N", value_parser = count, help_heading = "Load")]
    pub lines_per_datagram: Option<usize>,
    /// Lines generated before the run and sent repeatedly; at least one per context
    #[arg(long, value_name = "N", default_value = "30000", value_parser = count, help_heading = "Load")]
    pub block_lines: usize,
}

impl LoadArgs {
    /// The profile with the flags applied.
    pub fn shape(&self) -> Shape {
        let base = self.profile.shape();
        Shape {
            payload_bytes: self.payload.unwrap_or(base.payload_bytes),
            lines_per_datagram: self.lines_per_datagram.or(base.lines_per_datagram),
            contexts: self.contexts.unwrap_or(base.contexts),
            names: self.names.unwrap_or(base.names),
            name_bytes: self.name_bytes.unwrap_or(base.name_bytes),
            tags: self.tags.unwrap_or(base.tags),
            tag_bytes: self.tag_bytes.unwrap_or(base.tag_bytes),
            kinds: self.kinds.clone().unwrap_or(base.kinds),
            packed_percent: self.packed.unwrap_or(base.packed_percent),
            packed_values: self.packed_values.unwrap_or(base.packed_values),
            sampled_percent: self.sampled.unwrap_or(base.sampled_percent),
            origin_percent: self.origin.unwrap_or(base.origin_percent),
        }
    }

    /// Writes the block.
    ///
    /// # Errors
    /// When the shape cannot be generated.
    pub fn corpus(&self, framing: Framing) -> Result<Corpus, ShapeError> {
        Corpus::write(&self.shape(), self.seed, self.block_lines, framing)
    }
}

/// A number with an optional `k` or `M`, above 0.
fn positive(text: &str) -> Result<f64, String> {
    match not_negative(text) {
        Ok(0.0) => Err("must be above 0".to_owned()),
        other => other,
    }
}

/// A number with an optional `k` or `M`, at most 1e12.
fn not_negative(text: &str) -> Result<f64, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(rest) => (rest, 1e3),
        None => text.strip_suffix(['m', 'M']).map_or((text, 1.0), |rest| (rest, 1e6)),
    };
    let number =
        digits.replace('_', "").parse::<f64>().map_err(|_| "is not a number".to_owned())?;
    let number = number * factor;
    if (0.0..=1e12).contains(&number) { Ok(number) } else { Err("must be from 0 to 1e12".into()) }
}

/// A whole number from 1 to 100 million, `k` and `M` understood.
fn count(text: &str) -> Result<usize, String> {
    let number = positive(text)?;
    if number.fract() == 0.0 && number <= 1e8 {
        Ok(number as usize)
    } else {
        Err("must be a whole number up to 100M".to_owned())
    }
}

/// `3` or `2-50`.
fn range(text: &str) -> Result<(usize, usize), String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| match text.parse::<usize>() {
        Ok(number) if number <= 10_000 => Ok(number),
        _ => Err(format!("`{text}` is not a number up to 10000")),
    };
    match (number(low)?, number(high)?) {
        (low, high) if low <= high => Ok((low, high)),
        _ => Err("the first number must not exceed the second".to_owned()),
    }
}

/// At least one value on a packed line, or it has none at all.
fn packed_values(text: &str) -> Result<(usize, usize), String> {
    match range(text)? {
        (0, _) => Err("a line has at least 1 value".to_owned()),
        range => Ok(range),
    }
}

fn percent(text: &str) -> Result<u8, String> {
    text.parse().ok().filter(|percent| *percent <= 100).ok_or("must be from 0 to 100".to_owned())
}

fn payload(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|bytes| (64..=65_536).contains(bytes))
        .ok_or("must be from 64 to 65536".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn parse(flags: &str) -> Result<BenchArgs, String> {
        let command = BenchArgs::augment_args(clap::Command::new("bench"));
        let matches = command
            .try_get_matches_from(std::iter::once("bench").chain(flags.split_ascii_whitespace()))
            .map_err(|error| error.to_string())?;
        BenchArgs::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refuses(flags: &str, why: &str) {
        let error = parse(flags).unwrap_err();
        assert!(error.contains(why), "{flags}: {error}");
    }

    #[test]
    fn every_part_of_a_profile_can_be_changed() {
        let flags = "--profile realistic --contexts 2k --names 7 --name-bytes 5 --tags 1-2 --tag-bytes 9-9 \
            --kinds c --packed 1 --packed-values 3-4 --sampled 2 --origin 3 --payload 1000 --lines-per-datagram 6";
        let shape = parse(flags).unwrap().load.shape();
        let expect = Shape {
            payload_bytes: 1000,
            lines_per_datagram: Some(6),
            contexts: 2000,
            names: 7,
            name_bytes: (5, 5),
            tags: (1, 2),
            tag_bytes: (9, 9),
            kinds: "c".parse().unwrap(),
            packed_percent: 1,
            packed_values: (3, 4),
            sampled_percent: 2,
            origin_percent: 3,
        };
        assert_eq!(shape, expect);
    }

    #[test]
    fn without_flags_the_packed_profile_goes_to_the_usual_port() {
        let args = parse("").unwrap();
        assert_eq!(args.load.shape(), Profile::Packed.shape());
        assert_eq!(args.target.to_string(), "udp://127.0.0.1:8125");
        assert_eq!((args.rate, args.senders, args.batch), (None, 1, 64));
    }

    #[test]
    fn numbers_may_be_short() {
        assert_eq!(parse("--rate 50k").unwrap().rate, Some(50_000.0));
        assert_eq!(parse("--rate 1.5M").unwrap().rate, Some(1_500_000.0));
        assert_eq!(parse("--total 1_000").unwrap().total, Some(1_000.0));
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        refuses("--rate 0", "must be above 0");
        refuses("--rate=-1", "must be from 0 to 1e12");
        refuses("--rate nan", "must be from 0 to 1e12");
        refuses("--rate 5 --datagram-rate 5", "cannot be used with");
        refuses("--contexts 1.5", "whole number");
        refuses("--tags 5-2", "must not exceed");
        refuses("--packed 101", "from 0 to 100");
        refuses("--packed-values 0-3", "at least 1 value");
        refuses("--payload 10", "from 64");
        refuses("--senders 0", "1..=256");
        refuses("--vs x", "--server");
        refuses("--target nowhere", "is not a target");
        refuses("--find-max-rate --vs x --server y", "cannot be used with");
    }

    #[test]
    fn help_teaches_with_examples() {
        let mut command = BenchArgs::augment_args(clap::Command::new("bench"));
        let help = command.render_long_help().to_string();
        assert!(help.contains("EXAMPLES") && help.contains("--vs './other -p {port}'"), "{help}");
    }
}
