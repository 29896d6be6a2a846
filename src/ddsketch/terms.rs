//! What must be known of a sketch beside its bytes, and what is wrong with one.

/// What a sketch should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidSketch(pub(super) &'static str);

impl std::fmt::Display for InvalidSketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a sketch: expected {}", self.0)
    }
}

impl std::error::Error for InvalidSketch {}

/// Which way the writer of a sketch rounds to the number of a bin: the bytes do not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Rounding {
    #[default]
    Down,
    /// JavaScript.
    Up,
}

/// What the values of a sketch are turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// As they are: seconds, bytes.
    One,
    /// Nanoseconds into seconds.
    Nanoseconds,
}

impl Unit {
    pub const ALL: [Unit; 2] = [Unit::One, Unit::Nanoseconds];

    /// What a value is multiplied by.
    pub fn factor(self) -> f64 {
        match self {
            Unit::One => 1.0,
            Unit::Nanoseconds => 1e-9,
        }
    }
}
