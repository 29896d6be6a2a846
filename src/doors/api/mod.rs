//! The routes of the metrics API that `datadog.api`, ThreadStats and others post to.
//!
//! In: JSON bodies of `/api/…`. Out: parts, events and checks in a sink. Promise: a bad series, event or
//! check refuses itself and no other; every answer is JSON, which datadogpy insists on. Refusal: it
//! knows no key and no protobuf.

mod check_run;
mod distribution_points;
mod events;
mod parts;
mod series;
mod series_v2;

use self::check_run::CheckRun;
use self::distribution_points::DistributionPoints;
use self::events::Events;
use self::series::Series;
use self::series_v2::SeriesV2;
use super::{Answer, Door, Reason, Refusal, Request, Sink};

/// All routes below `/api/`.
pub(crate) struct Api;

impl Door for Api {
    fn take(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<Answer, Refusal> {
        match request.path {
            "/api/v1/series" => Series.take(request, sink),
            "/api/v1/distribution_points" => DistributionPoints.take(request, sink),
            "/api/v1/events" => Events.take(request, sink),
            "/api/v1/check_run" => CheckRun.take(request, sink),
            "/api/v2/series" => SeriesV2.take(request, sink),
            // Any key is good, since none is needed.
            "/api/v1/validate" => Ok(Answer::json(200, r#"{"valid":true}"#)),
            _ => {
                let message = "Not found".to_owned();
                Err(Refusal { reason: Reason::NotFound, status: 404, message })
            }
        }
    }
}

/// Success, as v1 routes say it.
fn accepted() -> Answer {
    Answer::json(202, r#"{"status":"ok"}"#)
}

#[cfg(test)]
mod tests;
