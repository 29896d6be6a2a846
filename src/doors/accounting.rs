//! What came in and what became of it, by route.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where a request is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Route {
    Info,
    Traces,
    Stats,
    DataStreams,
    Telemetry,
    Dogstatsd,
    Api,
    /// Passed to a real Agent.
    Upstream,
    /// No door takes it.
    Other,
}

impl Route {
    pub const ALL: [Route; 9] = [
        Route::Info,
        Route::Traces,
        Route::Stats,
        Route::DataStreams,
        Route::Telemetry,
        Route::Dogstatsd,
        Route::Api,
        Route::Upstream,
        Route::Other,
    ];

    /// The word of labels and pages.
    pub fn word(self) -> &'static str {
        match self {
            Route::Info => "info",
            Route::Traces => "traces",
            Route::Stats => "stats",
            Route::DataStreams => "data_streams",
            Route::Telemetry => "telemetry",
            Route::Dogstatsd => "dogstatsd",
            Route::Api => "api",
            Route::Upstream => "upstream",
            Route::Other => "other",
        }
    }
}

/// Why a request or a part of one was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// A content encoding that is unknown, or two of them.
    Encoding,
    /// Not readable as what the route takes.
    Decode,
    TooLarge,
    Timeout,
    /// Too much in work.
    Overload,
    Method,
    /// A browser sent it for another site.
    Origin,
    /// The route is switched off.
    Off,
    /// Answered before.
    Duplicate,
    /// A sketch that cannot be.
    Sketch,
    /// A value, name or type that cannot be.
    Value,
    /// Too far ahead of the clock, or a time that cannot be.
    Time,
    /// No such route.
    NotFound,
    /// Left out by the metric filter.
    Filtered,
    /// A limit on contexts, names, tags or items of an interval.
    Limit,
}

impl Reason {
    pub const ALL: [Reason; 15] = [
        Reason::Encoding,
        Reason::Decode,
        Reason::TooLarge,
        Reason::Timeout,
        Reason::Overload,
        Reason::Method,
        Reason::Origin,
        Reason::Off,
        Reason::Duplicate,
        Reason::Sketch,
        Reason::Value,
        Reason::Time,
        Reason::NotFound,
        Reason::Filtered,
        Reason::Limit,
    ];

    /// The word of labels and pages.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Encoding => "encoding",
            Reason::Decode => "decode",
            Reason::TooLarge => "too_large",
            Reason::Timeout => "timeout",
            Reason::Overload => "overload",
            Reason::Method => "method",
            Reason::Origin => "origin",
            Reason::Off => "off",
            Reason::Duplicate => "duplicate",
            Reason::Sketch => "sketch",
            Reason::Value => "value",
            Reason::Time => "time",
            Reason::NotFound => "not_found",
            Reason::Filtered => "filtered",
            Reason::Limit => "limit",
        }
    }
}

/// Recorded and refused of one route.
#[derive(Debug, Default)]
pub(crate) struct RouteCounts {
    /// Requests answered with success.
    pub recorded: AtomicU64,
    /// Requests refused, by [`Reason`].
    pub refused: [AtomicU64; Reason::ALL.len()],
    /// Parts in a bucket.
    pub parts_recorded: AtomicU64,
    /// Parts refused, by [`Reason`].
    pub parts_refused: [AtomicU64; Reason::ALL.len()],
    /// Of the parts recorded, those that were not in the bucket of their second.
    pub late: AtomicU64,
}

/// Everything the doors count; shared by the threads that serve and the pages that show.
#[derive(Debug, Default)]
pub(crate) struct DoorsAccounting {
    routes: [RouteCounts; Route::ALL.len()],
    /// Connections refused because there were too many.
    pub connections_refused: AtomicU64,
}

impl DoorsAccounting {
    pub fn of(&self, route: Route) -> &RouteCounts {
        &self.routes[route as usize]
    }

    /// A request answered with success.
    pub fn recorded(&self, route: Route) {
        self.of(route).recorded.fetch_add(1, Ordering::Relaxed);
    }

    /// A request that was refused.
    pub fn refused(&self, route: Route, reason: Reason) {
        self.of(route).refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}
