//! What is wrong with a configuration, where, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use super::node::At;

/// Where a value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ValueOrigin {
    /// Nobody set it.
    #[default]
    Default,
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// The value's place in it.
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

/// Who asks: a server that has to come up, or somebody who wants to know everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `whippet run`.
    Run,
    /// `whippet check-config`.
    Check,
}

/// What kind of mistake it is. Decides what it means for [`Mode::Run`]; for [`Mode::Check`] all
/// but [`Class::Note`] are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A value that cannot be used, a file that cannot be read: nothing starts.
    Value,
    /// One entry of a list is skipped; the rest is used, in a degraded state.
    Entry,
    /// A name that is probably a mistyped one of ours.
    Name,
    /// A bad value under a stronger good one.
    Shadowed,
    /// Worth saying, never an error.
    Note,
}

/// One mistake. Prints as `place: key: what is wrong; the way out`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of mistake.
    pub class: Class,
    /// Where.
    pub origin: ValueOrigin,
    /// The key as it was written; empty for a whole file.
    pub key: String,
    /// The value (never a secret one), what was expected, and the way out.
    pub message: String,
}

impl Problem {
    /// True when nothing may start with this problem.
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

/// All the problems that keep whippet from starting, one per line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Problems(pub Vec<Problem>);

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
