//! What is known about an API key.

use std::fmt;

/// Whether the intake accepts a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// It is accepted.
    Valid,
    /// It was refused with 403.
    Invalid,
    /// Not checked yet, or no clear answer, with the reason; used as if it were valid.
    Unknown(String),
}

/// The reason of a key that was not checked yet.
const NOT_CHECKED: &str = "not checked yet";

impl KeyStatus {
    /// The key was not checked yet.
    #[must_use]
    pub fn not_checked() -> Self {
        KeyStatus::Unknown(NOT_CHECKED.to_owned())
    }

    /// True for [`KeyStatus::not_checked`].
    #[must_use]
    pub fn is_unchecked(&self) -> bool {
        matches!(self, KeyStatus::Unknown(reason) if reason == NOT_CHECKED)
    }
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyStatus::Valid => f.write_str("valid"),
            KeyStatus::Invalid => f.write_str("invalid"),
            KeyStatus::Unknown(reason) => write!(f, "unknown ({reason})"),
        }
    }
}
