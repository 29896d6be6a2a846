//! What went wrong while binding, as values: place, fact, way out.

use std::fmt;
use std::io;

use super::Transport;

/// The sort of a [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Another socket has the port. Always fatal.
    PortInUse,
    /// A live process serves the socket path. Always fatal.
    LiveOwner,
    /// The system forbids it.
    PermissionDenied,
    /// The address does not exist on this machine (often `::1` without IPv6).
    AddressUnavailable,
    /// A host name that does not resolve.
    UnknownHost,
    /// The folder of a socket path does not exist.
    FolderMissing,
    /// Something else than a socket stands at the path.
    NotASocket,
    /// The path does not fit a socket address.
    PathTooLong,
    /// The kernel granted less receive buffer than asked for; the listener runs.
    BufferClamped,
    /// Credentials are not to be had; the listener runs without them.
    CredentialsUnavailable,
    /// An inherited descriptor that cannot be used.
    NotOurs,
    /// Any other failure of the system.
    System,
}

impl ProblemKind {
    /// Whether it is fatal even for an optional listener while others work: half deaf is worse than a
    /// clear error.
    #[must_use]
    pub const fn is_fatal(self) -> bool {
        matches!(self, ProblemKind::PortInUse | ProblemKind::LiveOwner)
    }

    /// True when the listener runs nevertheless.
    #[must_use]
    pub const fn is_only_a_remark(self) -> bool {
        matches!(self, ProblemKind::BufferClamped | ProblemKind::CredentialsUnavailable)
    }
}

/// One thing that went wrong, in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its sort.
    pub kind: ProblemKind,
    /// The kind of listener.
    pub transport: Transport,
    /// The address or path, as `127.0.0.1:8125`.
    pub place: String,
    /// What is the case, as `/var/run/datadog does not exist`.
    pub detail: String,
    /// The way out, as `create it or set dogstatsd_socket`.
    pub remedy: String,
}

impl Problem {
    pub(super) fn new(
        kind: ProblemKind,
        transport: Transport,
        place: impl fmt::Display,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (place, detail, remedy) = (place.to_string(), detail.into(), remedy.into());
        Problem { kind, transport, place, detail, remedy }
    }

    pub(super) fn system(
        transport: Transport,
        place: impl fmt::Display,
        doing: &str,
        error: &io::Error,
    ) -> Self {
        let detail = format!("{doing} failed: {error}");
        Problem::new(ProblemKind::System, transport, place, detail, "see the system's log")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { transport, place, detail, remedy, .. } = self;
        write!(f, "{transport} {place}: {detail}; {remedy}")
    }
}

/// Nothing was bound, or what was bound was closed again; every problem found is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindError {
    /// All of them, fatal ones first.
    pub problems: Vec<Problem>,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.problems.is_empty() {
            return f
                .write_str("no listener is configured; set dogstatsd_port or dogstatsd_socket");
        }
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BindError {}
