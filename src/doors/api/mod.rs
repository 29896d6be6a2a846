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

const POST: &[&str] = &["POST"];
const GET: &[&str] = &["GET", "HEAD"];

/// What takes a path below `/api/`, and the methods it takes it with: none for any, since an unknown
/// path is unknown with every method.
pub(super) fn route(path: &str) -> (&'static dyn Door, &'static [&'static str]) {
    match path {
        "/api/v1/series" => (&Series, POST),
        "/api/v1/distribution_points" => (&DistributionPoints, POST),
        "/api/v1/events" => (&Events, POST),
        "/api/v1/check_run" => (&CheckRun, POST),
        "/api/v2/series" => (&SeriesV2, POST),
        "/api/v1/validate" => (&Validate, GET),
        _ => (&Unknown, &[]),
    }
}

/// Every path below `/api/`, each with its own door.
#[derive(Debug)]
pub(crate) struct Api;

impl Door for Api {
    fn take(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<Answer, Refusal> {
        route(request.path).0.take(request, sink)
    }
}

/// Success, as v1 routes say it.
fn accepted() -> Answer {
    Answer::json(202, r#"{"status":"ok"}"#)
}

/// `GET /api/v1/validate`: any key is good, since none is needed.
struct Validate;

impl Door for Validate {
    fn take(&self, _: &Request<'_>, _: &mut dyn Sink) -> Result<Answer, Refusal> {
        Ok(Answer::json(200, r#"{"valid":true}"#))
    }
}

/// Every other path of the API.
struct Unknown;

impl Door for Unknown {
    fn take(&self, _: &Request<'_>, _: &mut dyn Sink) -> Result<Answer, Refusal> {
        let message = "Not found".to_owned();
        Err(Refusal { reason: Reason::NotFound, status: 404, message })
    }
}

#[cfg(test)]
mod tests;
