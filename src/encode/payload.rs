//! A finished request body, shared by every endpoint that has to deliver it.

use bytes::Bytes;

/// Where a payload is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// `/api/v2/series`, protobuf.
    SeriesV2,
    /// `/api/v1/series`, JSON.
    SeriesV1,
    /// `/api/beta/sketches`, protobuf.
    Sketches,
    /// `/intake/`, JSON.
    Events,
    /// `/api/v1/check_run`, JSON.
    ServiceChecks,
}

impl Route {
    /// Every route, in the order reports list them.
    pub const ALL: [Route; 5] =
        [Route::SeriesV2, Route::SeriesV1, Route::Sketches, Route::Events, Route::ServiceChecks];

    /// The path below the endpoint's base URL.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Route::SeriesV2 => "/api/v2/series",
            Route::SeriesV1 => "/api/v1/series",
            Route::Sketches => "/api/beta/sketches",
            Route::Events => "/intake/",
            Route::ServiceChecks => "/api/v1/check_run",
        }
    }

    /// The `Content-Type` of its bodies.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        if self.is_protobuf() { "application/x-protobuf" } else { "application/json" }
    }

    /// True where the body is protobuf rather than JSON.
    #[must_use]
    pub fn is_protobuf(self) -> bool {
        matches!(self, Route::SeriesV2 | Route::Sketches)
    }

    /// The word logs, counters and reports use.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Route::SeriesV2 => "series_v2",
            Route::SeriesV1 => "series_v1",
            Route::Sketches => "sketches",
            Route::Events => "events",
            Route::ServiceChecks => "service_checks",
        }
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentEncoding {
    /// As it is; no header.
    Identity,
    /// A zlib stream (RFC 1950), which the intake calls `deflate`.
    Deflate,
    /// gzip (RFC 1952).
    Gzip,
    /// zstd.
    Zstd,
}

impl ContentEncoding {
    /// The `Content-Encoding` header, none for identity.
    #[must_use]
    pub fn header(self) -> Option<&'static str> {
        match self {
            ContentEncoding::Identity => None,
            ContentEncoding::Deflate => Some("deflate"),
            ContentEncoding::Gzip => Some("gzip"),
            ContentEncoding::Zstd => Some("zstd"),
        }
    }
}

/// One request body, ready to post. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Where it goes.
    pub route: Route,
    /// The compressed body.
    pub body: Bytes,
    /// How it is compressed.
    pub encoding: ContentEncoding,
    /// Series, sketches, events or checks in it.
    pub items: usize,
    /// Points in it: for series their points, for everything else the items.
    pub points: usize,
    /// Bytes before compression.
    pub uncompressed_bytes: usize,
    /// Unix seconds when it was built; its age counts from here, never from a client's timestamp.
    pub built_at: u64,
}
