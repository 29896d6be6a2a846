//! One row of the table of keys: name, environment variables, type, default and documentation.

use std::time::Duration;

/// One row of the table of keys.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted name, as in a flat YAML file. A final `.*` stands for a whole section.
    pub name: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// The default, as written in the environment; empty means unset.
    pub default: &'static str,
    /// Effect, unit, what 0 means, when to change it.
    pub doc: &'static str,
    /// Whether whippet acts on it.
    pub status: Status,
    prefix: &'static str,
    also: &'static [&'static str],
    /// Environment names that are weaker than the file (`HTTPS_PROXY`).
    pub weak: &'static [&'static str],
    /// An empty value turns it off instead of meaning the default.
    pub clearable: bool,
    /// An invalid value does not prevent the start: the server runs without it, in a degraded
    /// state. For rules that shape posted data, never for its destination.
    pub expendable: bool,
    /// A reload (SIGHUP) takes over a new value; otherwise it needs a restart.
    pub reloads: bool,
    /// How it compares with the Agent.
    pub parity: Parity,
}

/// How a key of the Agent behaves in whippet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// As in the Agent.
    Same,
    /// As in the Agent, with an improvement that needs no change of configuration.
    Better(&'static str),
    /// Different, for the reason given: check before migrating.
    Different(&'static str),
}

/// What whippet does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// whippet acts on it.
    Honoured,
    /// Accepted without effect, for the reason given.
    Ignored(&'static str),
}

/// The type of a key's value, and its range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// true, false, 1, 0, t, f.
    Bool,
    /// A whole number.
    Integer {
        /// Smallest allowed.
        min: i64,
        /// Largest allowed.
        max: i64,
    },
    /// A finite number.
    Float {
        /// Smallest allowed.
        min: f64,
        /// Largest allowed.
        max: f64,
    },
    /// Any string.
    Text,
    /// A key or token: trimmed, and never printed in full.
    Secret,
    /// A password: trimmed, and never printed, not even in part.
    Password,
    /// An absolute http or https URL.
    Url,
    /// A real Agent: `http://host:port` or `unix:///path`.
    Upstream,
    /// A proxy: `http://user:password@host:port`; the scheme may be missing.
    Proxy,
    /// A file or directory.
    Path,
    /// A host name as the Agent accepts it.
    Hostname,
    /// A domain such as `datadoghq.eu`, without scheme.
    Site,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `1h30m`, `100ms`, or a bare number in `unit`.
    Duration {
        /// The unit of a bare number.
        unit: Duration,
        /// Shortest allowed.
        min: Duration,
        /// Longest allowed.
        max: Duration,
        /// Only whole seconds are allowed.
        whole_seconds: bool,
    },
    /// A number of bytes, or `10Mb`, `512Kb`, `1Gb` (powers of 1024).
    Bytes {
        /// Largest allowed.
        max: u64,
    },
    /// Permission bits in octal.
    Mode,
    /// 1 to 65535, 0 for off, or `__random__` for any free port.
    Port,
    /// A list of strings without commas, such as tags and names.
    Words,
    /// A list of strings that may contain commas.
    Arguments,
    /// A list of outputs.
    Outputs,
    /// A list of histogram percentiles between 0 and 1.
    Percentiles,
    /// A list of histogram aggregates.
    Aggregates,
    /// A list of transports.
    Transports,
    /// A map from string to string.
    Pairs,
    /// A map from URL to a list of API keys.
    Endpoints,
    /// A list of mapper profiles.
    Profiles,
    /// A list of tag filters.
    TagFilters,
}

impl Key {
    /// True when the value must not be printed.
    #[must_use]
    pub fn secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::Password | Kind::Endpoints)
    }

    /// Environment names, the strongest first.
    #[must_use]
    pub fn env(&self) -> Vec<String> {
        let main = format!("{}{}", self.prefix, self.env_name());
        std::iter::once(main).chain(self.also.iter().map(|name| (*name).to_owned())).collect()
    }

    /// Its name in the environment, without `DD_` or `WHIPPET_`.
    #[must_use]
    pub fn env_name(&self) -> String {
        // The Agent shortens the section of its trace receiver, once: `apm_config.apm_dd_url` is
        // `APM_DD_URL`.
        let name = match self.name.strip_prefix("apm_config.") {
            Some(member) => format!("apm_{}", member.strip_prefix("apm_").unwrap_or(member)),
            None => self.name.to_owned(),
        };
        name.to_uppercase().replace('.', "_")
    }

    /// True for a key of whippet that the Agent does not have.
    #[must_use]
    pub fn ours(&self) -> bool {
        self.prefix == OURS
    }

    /// The section name of a row that covers every key below a section.
    #[must_use]
    pub fn section(&self) -> Option<&'static str> {
        self.name.strip_suffix(".*")
    }

    pub(super) const fn also(self, also: &'static [&'static str]) -> Self {
        Key { also, ..self }
    }

    pub(super) const fn clearable(self) -> Self {
        Key { clearable: true, ..self }
    }

    pub(super) const fn expendable(self) -> Self {
        Key { expendable: true, ..self }
    }

    pub(super) const fn better(self, how: &'static str) -> Self {
        Key { parity: Parity::Better(how), ..self }
    }

    pub(super) const fn different(self, how: &'static str) -> Self {
        Key { parity: Parity::Different(how), ..self }
    }

    pub(super) const fn reloads(self) -> Self {
        Key { reloads: true, ..self }
    }

    pub(super) const fn weak(self, weak: &'static [&'static str]) -> Self {
        Key { weak, ..self }
    }
}

const AGENT: &str = "DD_";
const OURS: &str = "WHIPPET_";

/// A key that the Agent also has.
pub(super) const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default,
        doc,
        status: Status::Honoured,
        prefix: AGENT,
        also: &[],
        weak: &[],
        clearable: false,
        expendable: false,
        reloads: false,
        parity: Parity::Same,
    }
}

/// A key that only whippet has.
pub(super) const fn ours(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { prefix: OURS, ..key(name, kind, default, doc) }
}

/// A key of the Agent that is accepted without effect.
pub(super) const fn ignored(name: &'static str, reason: &'static str) -> Key {
    Key { status: Status::Ignored(reason), ..key(name, Kind::Text, "", reason) }
}

/// Whole numbers from `min` to `max`.
pub(super) const fn int(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

/// Numbers from `min` to `max`.
pub(super) const fn float(min: f64, max: f64) -> Kind {
    Kind::Float { min, max }
}

/// A year: longer than any useful interval or timeout.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A duration; a bare number is in `unit`.
const fn time(unit: Duration) -> Kind {
    Kind::Duration { unit, min: Duration::ZERO, max: YEAR, whole_seconds: false }
}

/// A duration; a bare number is in seconds.
pub(super) const SECONDS: Kind = time(Duration::from_secs(1));
/// A duration; a bare number is in minutes.
pub(super) const MINUTES: Kind = time(Duration::from_secs(60));
/// A duration of at most `max`; a bare number is in milliseconds.
pub(super) const fn millis(max: Duration) -> Kind {
    Kind::Duration {
        unit: Duration::from_millis(1),
        min: Duration::ZERO,
        max,
        whole_seconds: false,
    }
}

/// A duration above zero; a bare number is in seconds.
pub(super) const SECONDS_NOT_ZERO: Kind = Kind::Duration {
    unit: Duration::from_secs(1),
    min: Duration::from_millis(1),
    max: YEAR,
    whole_seconds: false,
};

/// Whole seconds from 1 to an hour.
pub(super) const WHOLE_SECONDS: Kind = Kind::Duration {
    unit: Duration::from_secs(1),
    min: Duration::from_secs(1),
    max: Duration::from_secs(3600),
    whole_seconds: true,
};
