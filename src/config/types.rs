//! The types of configuration values, beyond those of the standard library.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;
use super::url::Url;

/// A UDP or TCP port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// No listener.
    Off,
    /// This port.
    Fixed(u16),
    /// Any free port; the listener logs which.
    Random,
}

/// An additional intake, with the keys to post with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdditionalEndpoint {
    /// Base URL, without a trailing slash.
    pub url: Url,
    /// At least one key, no duplicates.
    pub api_keys: Vec<Secret>,
}

/// Where aggregated data goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// A table on standard output.
    Console,
    /// JSON lines in a file, or on standard output without a path.
    JsonLines(Option<PathBuf>),
    /// The intake.
    Datadog,
    /// Aggregates and encodes everything, delivers nothing.
    None,
    /// The requests the intake would receive, on standard output, one JSON object each.
    DryRun {
        /// With the exact bytes of each body.
        bytes: bool,
    },
}

impl fmt::Display for OutputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputKind::Console => f.write_str("console"),
            OutputKind::JsonLines(None) => f.write_str("jsonl"),
            OutputKind::JsonLines(Some(path)) => write!(f, "jsonl:{}", path.display()),
            OutputKind::Datadog => f.write_str("datadog"),
            OutputKind::None => f.write_str("none"),
            OutputKind::DryRun { bytes: false } => f.write_str("dry-run"),
            OutputKind::DryRun { bytes: true } => f.write_str("dry-run:bytes"),
        }
    }
}

/// A mapper profile: names with this prefix are matched against its mappings.
#[derive(Clone, Debug, PartialEq)]
pub struct MapperProfile {
    /// Its name in messages.
    pub name: String,
    /// Prefix of metric names, or `*` for all.
    pub prefix: String,
    /// Tried in this order; the first match ends the search.
    pub mappings: Vec<Mapping>,
    /// Aggregates of histograms under this prefix, instead of `histogram_aggregates`.
    pub histogram_aggregates: Option<Vec<Aggregate>>,
    /// Percentiles of histograms under this prefix, instead of `histogram_percentiles`.
    pub histogram_percentiles: Option<Vec<f64>>,
    /// How long a gauge under this prefix is posted again without new values.
    pub gauge_ttl: Option<Duration>,
    /// Counters under this prefix are posted as counts instead of rates.
    pub counters_as_counts: bool,
}

/// One rule of a mapper profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Pattern for the whole name.
    pub pattern: String,
    /// The syntax of the pattern.
    pub match_type: MatchType,
    /// The new name; `$1` and `${1}` stand for captures.
    pub name: String,
    /// Tags to add; values may contain captures.
    pub tags: Vec<(String, String)>,
}

/// A rule that removes tags of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagFilter {
    /// Exact name.
    pub metric_name: String,
    /// What to do with the listed keys.
    pub action: TagAction,
    /// Tag keys (the part before `:`).
    pub tags: Vec<String>,
}

/// Declares an enum of words: the variants, their spelling, and the list of all spellings.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// The accepted words.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The variant of a word, ignoring case.
            #[must_use]
            pub fn of(word: &str) -> Option<Self> {
                $(if word.eq_ignore_ascii_case($word) { return Some($name::$variant); })+
                None
            }

            /// The word of the variant.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }
    };
}

words! {
    /// Compression of protobuf bodies.
    Compressor {
        /// Zstandard.
        Zstd = "zstd",
        /// zlib, `Content-Encoding: deflate`.
        Zlib = "zlib",
        /// gzip.
        Gzip = "gzip",
        /// No compression.
        None = "none",
    }
}
words! {
    /// Lowest level that is logged.
    LogLevel {
        /// Everything.
        Trace = "trace",
        /// For debugging.
        Debug = "debug",
        /// Normal operation.
        Info = "info",
        /// Needs the operator's attention.
        Warn = "warn",
        /// A failure.
        Error = "error",
        /// A failure that stops the program.
        Critical = "critical",
        /// Nothing.
        Off = "off",
    }
}
words! {
    /// The lowest TLS version to use. The TLS library supports none below 1.2.
    TlsVersion {
        /// Raised to 1.2.
        Tls10 = "tlsv1.0",
        /// Raised to 1.2.
        Tls11 = "tlsv1.1",
        /// TLS 1.2.
        Tls12 = "tlsv1.2",
        /// TLS 1.3.
        Tls13 = "tlsv1.3",
    }
}
words! {
    /// How many of a workload's tags are added to its metrics.
    Cardinality {
        /// None.
        None = "none",
        /// Tags shared by many containers.
        Low = "low",
        /// Also tags per pod or task.
        Orchestrator = "orchestrator",
        /// Also tags per container.
        High = "high",
    }
}
words! {
    /// What a door does with its data.
    DoorMode {
        /// Its route is closed.
        Off = "off",
        /// Makes metrics of it.
        Local = "local",
        /// Sends it on as the Agent would.
        Forward = "forward",
        /// Both.
        Both = "both",
    }
}
words! {
    /// What becomes of traces.
    TracesMode {
        /// Their routes are closed.
        Off = "off",
        /// They are counted and dropped.
        Count = "count",
        /// They go to a real Agent.
        Upstream = "upstream",
    }
}
words! {
    /// Part in the global tier.
    GlobalMode {
        /// None.
        Off = "off",
        /// Hands global series to the log.
        Send = "send",
        /// Merges and posts what senders hand over.
        Own = "own",
        /// Both.
        Both = "both",
    }
}
words! {
    /// How to log in to the brokers of the global tier.
    SaslMechanism {
        /// Name and password as they are.
        Plain = "PLAIN",
        /// SCRAM with SHA-256.
        ScramSha256 = "SCRAM-SHA-256",
        /// SCRAM with SHA-512.
        ScramSha512 = "SCRAM-SHA-512",
    }
}
words! {
    /// On, off, or depending on the outputs.
    Switch {
        /// On if an output delivers to an intake.
        Auto = "auto",
        /// Always.
        On = "true",
        /// Never.
        Off = "false",
    }
}
words! {
    /// What is posted for a histogram.
    Aggregate {
        /// Largest value.
        Max = "max",
        /// Smallest value.
        Min = "min",
        /// Middle value.
        Median = "median",
        /// Mean.
        Avg = "avg",
        /// Sum.
        Sum = "sum",
        /// Number of values per second.
        Count = "count",
    }
}
words! {
    /// A transport of `dogstatsd_eol_required`.
    Transport {
        /// UDP.
        Udp = "udp",
        /// Unix sockets, datagram and stream.
        Uds = "uds",
        /// Windows pipe: accepted, no effect.
        NamedPipe = "named_pipe",
    }
}
words! {
    /// The syntax of a mapping's pattern.
    MatchType {
        /// `*` matches a segment without dots.
        Wildcard = "wildcard",
        /// A regular expression.
        Regex = "regex",
    }
}
words! {
    /// What a tag filter does with the listed keys.
    TagAction {
        /// Keep only these.
        Include = "include",
        /// Drop these.
        Exclude = "exclude",
    }
}
