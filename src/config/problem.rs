//! A problem in a configuration: what is wrong, where, and how to fix it.

use std::fmt;
use std::path::PathBuf;

use super::node::At;

/// Where a value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ValueOrigin {
    /// Not set.
    #[default]
    Default,
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// The value's position.
        at: At,
    },
    /// An environment variable.
    Env(String),
    /// `--set name=value`.
    Flag(String),
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueOrigin::Default => f.write_str("default"),
            ValueOrigin::File { path, at: At { line: 0, .. } } => write!(f, "{}", path.display()),
            ValueOrigin::File { path, at } => {
                write!(f, "{}:{}:{}", path.display(), at.line, at.column)
            }
            ValueOrigin::Env(name) => f.write_str(name),
            ValueOrigin::Flag(name) => write!(f, "--set {name}"),
        }
    }
}

/// Whether a server is starting or a configuration is being checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `whippet run`.
    Run,
    /// `whippet check-config`.
    Check,
}

/// The class of a problem. It decides the effect in [`Mode::Run`]; in [`Mode::Check`] all but
/// [`Class::Note`] are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// An invalid value or an unreadable file: whippet does not start.
    Value,
    /// An invalid entry of a list: it is skipped, and whippet runs in a degraded state.
    Entry,
    /// A name that is probably a mistyped key.
    Name,
    /// An invalid value that a stronger source replaces.
    Shadowed,
    /// A note, never an error.
    Note,
}

/// One problem. Displays as `place: key: what is wrong; how to fix it`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its class.
    pub class: Class,
    /// Where.
    pub origin: ValueOrigin,
    /// The key as written; empty for a whole file.
    pub key: String,
    /// The value (never a secret), what was expected, and how to fix it.
    pub message: String,
}

impl Problem {
    /// True when the problem is fatal in this mode.
    #[must_use]
    pub fn is_error(&self, mode: Mode) -> bool {
        match self.class {
            Class::Value => true,
            Class::Entry | Class::Name | Class::Shadowed => mode == Mode::Check,
            Class::Note => false,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != ValueOrigin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// The problems that prevent the start, one per line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Problems(pub Vec<Problem>);

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
