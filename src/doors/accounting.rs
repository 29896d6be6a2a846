//! Counts of requests and of their parts by route: received, recorded, refused, forwarded, dropped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The route that a request is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Route {
    Info,
    Traces,
    Stats,
    DataStreams,
    Telemetry,
    Dogstatsd,
    Api,
    /// Requests passed to a real Agent (`doors_upstream`).
    Upstream,
    /// Requests that no door takes.
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
    /// An unknown content encoding, or more than one.
    Encoding,
    /// The body cannot be decoded as what the route takes.
    Decode,
    TooLarge,
    Timeout,
    /// The bodies being processed take too much memory together.
    Overload,
    Method,
    /// A browser sent it from a page of another site.
    Origin,
    /// The route is switched off.
    Off,
    /// A repetition of a request that was already answered.
    Duplicate,
    /// An invalid sketch.
    Sketch,
    /// An invalid value, name or type.
    Value,
    /// An invalid time, or one too far ahead of the clock.
    Time,
    /// No such route.
    NotFound,
    /// Excluded by the metric filter.
    Filtered,
    /// A limit on contexts, names, tags or items of an interval.
    Limit,
    /// The real Agent of `doors_upstream` cannot be reached.
    Upstream,
    /// A bug of ours; the log has its message.
    Internal,
}

impl Reason {
    pub const ALL: [Reason; 17] = [
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
        Reason::Upstream,
        Reason::Internal,
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
            Reason::Upstream => "upstream",
            Reason::Internal => "internal",
        }
    }
}

/// The counts of one route.
#[derive(Debug, Default)]
pub(crate) struct RouteCounts {
    /// Requests answered with success.
    pub recorded: AtomicU64,
    /// Requests refused, by [`Reason`].
    pub refused: [AtomicU64; Reason::ALL.len()],
    /// Parts recorded in a bucket.
    pub parts_recorded: AtomicU64,
    /// Parts refused, by [`Reason`].
    pub parts_refused: [AtomicU64; Reason::ALL.len()],
    /// Of the parts recorded, those that were not in the bucket of their second.
    pub late: AtomicU64,
}

impl RouteCounts {
    /// Requests that were answered: recorded and refused.
    pub fn requests(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed) + sum(&self.refused)
    }
}

fn sum(counts: &[AtomicU64]) -> u64 {
    counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
}

/// Why a request was not forwarded to the vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ForwardDrop {
    /// The queue was full; the oldest request was dropped.
    QueueFull,
    /// It waited longer than the age limit.
    TooOld,
    /// The endpoint rejected it (4xx).
    Rejected,
    /// Still waiting when the program ended.
    Shutdown,
    /// The output sends nothing to the vendor (`none`, `dry-run`).
    Output,
}

impl ForwardDrop {
    pub const ALL: [ForwardDrop; 5] = [
        ForwardDrop::QueueFull,
        ForwardDrop::TooOld,
        ForwardDrop::Rejected,
        ForwardDrop::Shutdown,
        ForwardDrop::Output,
    ];

    /// The word of labels and pages.
    pub fn word(self) -> &'static str {
        match self {
            ForwardDrop::QueueFull => "queue_full",
            ForwardDrop::TooOld => "too_old",
            ForwardDrop::Rejected => "rejected",
            ForwardDrop::Shutdown => "shutdown",
            ForwardDrop::Output => "output",
        }
    }
}

/// What one route forwards to one endpoint.
#[derive(Debug)]
pub(crate) struct ForwardCounts {
    pub route: Route,
    /// `host[:port]`, without secrets.
    pub endpoint: String,
    /// Requests that the endpoint accepted.
    pub forwarded: AtomicU64,
    /// Requests dropped, by [`ForwardDrop`].
    pub dropped: [AtomicU64; ForwardDrop::ALL.len()],
}

impl ForwardCounts {
    pub fn forwarded(&self) {
        self.forwarded.fetch_add(1, Ordering::Relaxed);
    }

    pub fn dropped(&self, reason: ForwardDrop) {
        self.dropped[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Traces received from clients in one language. The traces themselves are not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TraceCounts {
    pub requests: u64,
    /// The sum of `X-Datadog-Trace-Count`.
    pub traces: u64,
    /// Bytes of the decoded bodies.
    pub bytes: u64,
    /// Requests since the last one of a client that computes stats. A tracer sends its first traces
    /// before it knows that we take stats, so only the latest requests say what a language does.
    pub without_stats: u64,
}

/// Languages counted separately; bounded because a client may name any.
const LANGUAGES_MAX: usize = 32;
/// The language of clients that name none, and of those past the limit.
const OTHER_LANGUAGE: &str = "other";

/// Everything the doors count; shared by the threads that serve and the pages that show.
#[derive(Debug, Default)]
pub(crate) struct DoorsAccounting {
    routes: [RouteCounts; Route::ALL.len()],
    /// One bit per route that is on.
    open: AtomicU64,
    /// Connections refused because there were too many.
    pub connections_refused: AtomicU64,
    forwards: Mutex<Vec<Arc<ForwardCounts>>>,
    traces: Mutex<BTreeMap<String, TraceCounts>>,
    /// Telemetry messages; a batch holds several.
    pub telemetry_messages: AtomicU64,
    /// Of those, messages of a type that is not known.
    pub telemetry_messages_unknown: AtomicU64,
}

impl DoorsAccounting {
    pub fn of(&self, route: Route) -> &RouteCounts {
        &self.routes[route as usize]
    }

    /// Counts a telemetry message, sent alone or in a batch.
    pub fn telemetry_message(&self, is_unknown: bool) {
        self.telemetry_messages.fetch_add(1, Ordering::Relaxed);
        self.telemetry_messages_unknown.fetch_add(u64::from(is_unknown), Ordering::Relaxed);
    }

    /// Counts a request answered with success.
    pub fn recorded(&self, route: Route) {
        self.of(route).recorded.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refused request.
    pub fn refused(&self, route: Route, reason: Reason) {
        self.of(route).refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a recorded part; `late` when it is not in the bucket of its second.
    pub fn part_recorded(&self, route: Route, late: bool) {
        let counts = self.of(route);
        counts.late.fetch_add(u64::from(late), Ordering::Relaxed);
        counts.parts_recorded.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refused part.
    pub fn part_refused(&self, route: Route, reason: Reason) {
        self.of(route).parts_refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the routes that are on. They are on every page, even with counts of 0.
    pub fn set_open(&self, routes: &[Route]) {
        let bits = routes.iter().fold(0, |bits, route| bits | 1 << *route as u32);
        self.open.store(bits, Ordering::Relaxed);
    }

    /// The routes that are on, and those that received requests although they are off.
    pub fn shown(&self) -> impl Iterator<Item = (Route, &RouteCounts)> {
        let open = self.open.load(Ordering::Relaxed);
        let all = Route::ALL.iter().map(|route| (*route, self.of(*route)));
        all.filter(move |(route, counts)| open & 1 << *route as u32 != 0 || counts.requests() > 0)
    }

    /// True when at least one route is on.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) != 0
    }

    /// Registers what a route forwards to an endpoint; from now on the pages show it.
    pub fn forward_to(&self, route: Route, endpoint: &str) -> Arc<ForwardCounts> {
        let counts = Arc::new(ForwardCounts {
            route,
            endpoint: endpoint.to_owned(),
            forwarded: AtomicU64::default(),
            dropped: Default::default(),
        });
        self.forwards.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counts));
        counts
    }

    /// Every registered pair of route and endpoint.
    pub fn forwards(&self) -> Vec<Arc<ForwardCounts>> {
        self.forwards.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a request with traces, from a client in `language` (empty when it does not say).
    pub fn traces(&self, language: &str, traces: u64, bytes: u64, computes_stats: bool) {
        let mut known = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        let language =
            if language.is_empty() || language.len() > 64 { OTHER_LANGUAGE } else { language };
        let fits = known.len() < LANGUAGES_MAX || known.contains_key(language);
        let language = if fits { language } else { OTHER_LANGUAGE };
        let counts = known.entry(language.to_owned()).or_default();
        counts.requests += 1;
        counts.traces = counts.traces.saturating_add(traces);
        counts.bytes += bytes;
        counts.without_stats = if computes_stats { 0 } else { counts.without_stats + 1 };
    }

    /// The counts of traces, by language.
    pub fn traces_by_language(&self) -> BTreeMap<String, TraceCounts> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
