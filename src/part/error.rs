//! Why bytes are no part, and the bounds that a part keeps.

use std::fmt;

use crate::aggregate::EXACT_SAMPLES_MAX;

/// Why a record is refused. The reason is one word that never changes; what follows is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartError {
    /// It is no part at all.
    Magic,
    /// It was cut off or changed on its way.
    Crc,
    /// It is sound and of a version that is not known here: this one.
    Format(u8),
    /// What it says of itself cannot be.
    Head(&'static str),
    /// Its cells cannot be read.
    Body(&'static str),
    /// It passes a bound.
    Bound(&'static str),
}

impl PartError {
    /// The word of counters.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            PartError::Magic => "magic",
            PartError::Crc => "crc",
            PartError::Format(_) => "format",
            PartError::Head(_) => "head",
            PartError::Body(_) => "body",
            PartError::Bound(_) => "bound",
        }
    }
}

impl fmt::Display for PartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartError::Magic => f.write_str("magic: does not begin as a part does, with WG"),
            PartError::Crc => f.write_str("crc: the checksum is not that of the bytes"),
            PartError::Format(format) => write!(
                f,
                "format: version {format}, this program reads {}; upgrade it",
                super::wire::FORMAT
            ),
            PartError::Head(why) => write!(f, "head: {why}"),
            PartError::Body(why) => write!(f, "body: {why}"),
            PartError::Bound(why) => write!(f, "bound: {why}"),
        }
    }
}

impl std::error::Error for PartError {}

/// How much of a part is read. A record may hold anything; memory is set aside for nothing beyond these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLimits {
    /// Bytes of a record.
    pub record_bytes_max: usize,
    /// Bytes of its cells, inflated.
    pub raw_bytes_max: usize,
    /// Cells of a part.
    pub cells_max: usize,
    /// Bytes of a key.
    pub key_bytes_max: usize,
    /// Samples of a histogram that are not counted in bins.
    pub values_max: usize,
    /// Hashes of a set.
    pub set_members_max: usize,
}

impl PartLimits {
    /// The limits of a reader whose sets are exact up to so many members.
    #[must_use]
    pub const fn new(set_members_max: usize) -> PartLimits {
        PartLimits {
            record_bytes_max: 4 << 20,
            raw_bytes_max: 8 << 20,
            cells_max: 200_000,
            key_bytes_max: KEY_BYTES_MAX,
            values_max: EXACT_SAMPLES_MAX,
            set_members_max,
        }
    }
}

/// Bytes of a key that a part may hold.
pub(super) const KEY_BYTES_MAX: usize = 16 << 10;
/// Styles that a part may name, and what one may hold.
pub(super) const STYLES_MAX: usize = 1_000;
pub(super) const STYLE_AGGREGATES_MAX: usize = 16;
pub(super) const STYLE_PERCENTILES_MAX: usize = 100;
pub(super) const STYLE_TEXT_BYTES_MAX: usize = 64;
/// Bytes of a host's name.
pub(super) const HOST_BYTES_MAX: usize = 1_024;
/// The largest key of a bin, of either sign.
pub(super) const BIN_KEY_MAX: i64 = i16::MAX as i64;
