//! What a request costs from its door into a bucket: for `benches/doors.rs`.

use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use axum::http::HeaderMap;

use super::{Door as _, Naming, Recorder, RecorderParts, Request, Route, Stats};
use crate::aggregate::TimedSettings;
use crate::context::{Claims, PartRules};

/// `/v0.6/stats` with buckets behind it.
pub struct StatsDoor {
    door: Stats,
    recorder: Recorder,
    headers: HeaderMap,
    now: Duration,
}

impl StatsDoor {
    /// A door for requests that come at `now`, since the epoch.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        let parts = RecorderParts {
            settings: TimedSettings::default(),
            rules: Arc::new(PartRules::default()),
            state: RandomState::new(),
            accounting: Arc::default(),
            watch: Arc::default(),
        };
        let headers = HeaderMap::new();
        let recorder = Recorder::new(parts, now);
        StatsDoor { door: Stats::new(Naming::default()), recorder, headers, now }
    }

    /// Takes a body and returns how many parts were recorded of all until now.
    ///
    /// # Panics
    /// When the body is refused.
    pub fn take(&self, body: &[u8]) -> u64 {
        let claims = Claims::default();
        let mut sink = self.recorder.sink(Route::Stats, self.now, &claims);
        let (headers, now) = (&self.headers, self.now);
        let request = Request { path: "/v0.6/stats", headers, body, now, container: b"" };
        self.door.take(&request, &mut sink).expect("a body that is read");
        let counts = self.recorder.accounting().of(Route::Stats);
        counts.parts_recorded.load(std::sync::atomic::Ordering::Relaxed)
    }
}
