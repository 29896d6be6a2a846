//! Refusals as HTTP responses: what only the head of the answer says, and when the connection closes.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{Answer, Reason, Refusal};
use crate::http::requests::BodyError;

/// A refusal with what only the head of its answer says.
#[derive(Debug)]
pub(super) struct Refused {
    pub refusal: Refusal,
    /// The methods that the path takes, when that was the reason.
    pub allow: Option<String>,
    /// The client may go on sending what no one reads.
    pub close: bool,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Refused { refusal, allow: None, close: false }
    }
}

/// An ordinary refusal; the connection goes on.
pub(super) fn refusal(reason: Reason, status: u16, message: impl Into<String>) -> Refused {
    Refusal { reason, status, message: message.into() }.into()
}

/// The refusal of what a page of another site makes a browser ask. No route takes that, and none of the
/// real Agent gets it from us.
pub(super) fn cross_site(headers: &HeaderMap) -> Option<Refused> {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes)?;
    let crosses = site.eq_ignore_ascii_case(b"cross-site");
    crosses.then(|| refusal(Reason::Origin, 403, "a browser sent this from another site"))
}

/// A body that did not come whole.
pub(super) fn cut_off(error: BodyError) -> Refused {
    let (reason, status) = match error {
        BodyError::TooSlow => (Reason::Timeout, 408),
        BodyError::Broken => (Reason::Decode, 400),
    };
    Refused { close: true, ..refusal(reason, status, error.to_string()) }
}

/// The response of an answer.
pub(super) fn answered(answer: &Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body.clone().into_owned()));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = HeaderValue::from_static(answer.content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

impl Refused {
    pub fn into_response(self) -> Response<Body> {
        let mut response = answered(&self.refusal.answer());
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        if self.close {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}
