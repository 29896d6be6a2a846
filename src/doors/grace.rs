//! How long buckets of doors stay open.

use super::Route;

/// A class of routes whose buckets are posted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grace {
    /// Clients that send every 10 s: what they send is up to 30 s old.
    Short,
    /// Telemetry, which is sent every 60 s.
    Long,
}

impl Grace {
    pub const ALL: [Grace; 2] = [Grace::Short, Grace::Long];

    pub fn of(route: Route) -> Self {
        if route == Route::Telemetry { Grace::Long } else { Grace::Short }
    }

    /// Seconds between the end of a bucket and its posting.
    pub fn seconds(self) -> u64 {
        match self {
            Grace::Short => 30,
            Grace::Long => 90,
        }
    }
}
