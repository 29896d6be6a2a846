//! What never becomes a request that a route could count.

/// Why a head was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadRefusal {
    /// It is no HTTP.
    Malformed,
    /// More than 16 KiB or 100 fields.
    TooLarge,
    /// It did not come in time.
    TooSlow,
}

/// Who counts what the server refuses by itself.
pub trait Refusals: Send + Sync {
    /// A head was answered with an error.
    fn head(&self, refusal: HeadRefusal);
    /// A connection was answered 503, because there are too many.
    fn connection(&self);
}
