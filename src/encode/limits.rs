//! How large a payload may get.

use super::Route;

/// How large a payload may get, named and preset as in the Agent's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadLimits {
    /// Compressed bytes of a series payload: `serializer_max_series_payload_size`, 512000, which the
    /// v2 intake enforces.
    pub series_compressed_bytes: usize,
    /// `serializer_max_series_uncompressed_payload_size`, 5242880, enforced too.
    pub series_uncompressed_bytes: usize,
    /// Points in a series payload: `serializer_max_series_points_per_payload`, 10000.
    pub series_points: usize,
    /// Compressed bytes of sketches, events and checks: `serializer_max_payload_size`, 2621440.
    pub compressed_bytes: usize,
    /// `serializer_max_uncompressed_payload_size`, 4194304.
    pub uncompressed_bytes: usize,
}

impl Default for PayloadLimits {
    fn default() -> Self {
        PayloadLimits {
            series_compressed_bytes: 512_000,
            series_uncompressed_bytes: 5_242_880,
            series_points: 10_000,
            compressed_bytes: 2_621_440,
            uncompressed_bytes: 4_194_304,
        }
    }
}

/// The limits of one payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) compressed_bytes: usize,
    pub(super) uncompressed_bytes: usize,
    /// At least 1.
    pub(super) points: usize,
}

impl PayloadLimits {
    pub(super) fn of(&self, route: Route) -> Bounds {
        match route {
            Route::SeriesV2 | Route::SeriesV1 => Bounds {
                compressed_bytes: self.series_compressed_bytes,
                uncompressed_bytes: self.series_uncompressed_bytes,
                points: self.series_points.max(1),
            },
            Route::Sketches | Route::Events | Route::ServiceChecks => Bounds {
                compressed_bytes: self.compressed_bytes,
                uncompressed_bytes: self.uncompressed_bytes,
                points: usize::MAX,
            },
        }
    }
}
