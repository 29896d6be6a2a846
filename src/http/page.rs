//! What a page gets and gives, and where it is made: on the server's own thread or on one that may
//! wait.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use tokio::sync::oneshot;

use super::admission::Place;
use super::stream::{self, Stream};

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names and values after `?`, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Media types that the client can show, as in its `Accept` headers; empty when it does not say.
    pub accept: String,
}

impl Request {
    fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let accept = headers.get_all(header::ACCEPT).iter();
        let accept: Vec<&str> = accept.filter_map(|value| value.to_str().ok()).collect();
        Request { query: query.into_owned().collect(), accept: accept.join(",") }
    }

    /// The first value of that name.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The answer of a page.
pub struct Response {
    status: u16,
    content_type: &'static str,
    headers: &'static [Header],
    body: PageBody,
}

/// Name (in lower case) and value of a header.
pub type Header = (&'static str, &'static str);

enum PageBody {
    Whole(Vec<u8>),
    Stream(Stream),
}

impl Response {
    /// A text.
    #[must_use]
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::whole(status, "text/plain; charset=utf-8", text.into().into_bytes())
    }

    /// JSON, already written.
    #[must_use]
    pub fn json(status: u16, text: impl Into<String>) -> Self {
        Self::whole(status, "application/json", text.into().into_bytes())
    }

    /// Bytes of some type.
    #[must_use]
    pub fn whole(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Response { status, content_type, headers: &[], body: PageBody::Whole(body) }
    }

    /// A body that is sent while it is written, for a [`page`] only.
    #[must_use]
    pub fn stream(content_type: &'static str, stream: Stream) -> Self {
        Response { status: 200, content_type, headers: &[], body: PageBody::Stream(stream) }
    }

    /// The same with these headers. The name of each is in lower case, or the request fails.
    #[must_use]
    pub fn with_headers(self, headers: &'static [Header]) -> Self {
        Response { headers, ..self }
    }
}

impl IntoResponse for Response {
    fn into_response(self) -> axum::response::Response {
        match self.body {
            PageBody::Whole(body) => {
                respond(self.status, self.content_type, self.headers, Body::from(body))
            }
            // Nothing may block the server's thread, so nothing is written there.
            PageBody::Stream(_) => failed(),
        }
    }
}

fn respond(
    status: u16,
    content_type: &'static str,
    headers: &'static [Header],
    body: Body,
) -> axum::response::Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
    let mut response = (status, content_type, body).into_response();
    let named = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    response.headers_mut().extend(named);
    response
}

fn failed() -> axum::response::Response {
    Response::text(500, "this page failed; the log says why\n").into_response()
}

/// Makes a page; it may be called by several threads at once.
type Maker = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

/// Answers GET and HEAD on the server's own thread, past all queues: for what never blocks.
pub fn direct(make: impl Fn(&Request) -> Response + Send + Sync + 'static) -> MethodRouter {
    let make: Maker = Arc::new(make);
    get(async move |uri: Uri, headers: HeaderMap| make(&Request::of(&uri, &headers)))
}

/// Answers GET and HEAD on a thread where the page may wait, or with 503 when too many pages are
/// in work ([`super::Limits::pages_max`]).
pub fn page(make: impl Fn(&Request) -> Response + Send + Sync + 'static) -> MethodRouter {
    let make: Maker = Arc::new(make);
    get(move |Extension(place): Extension<Arc<Place>>, uri: Uri, headers: HeaderMap| {
        made_on_a_thread(Arc::clone(&make), place, Request::of(&uri, &headers))
    })
}

async fn made_on_a_thread(
    make: Maker,
    place: Arc<Place>,
    request: Request,
) -> axum::response::Response {
    let Some(permit) = place.start_page() else {
        return Response::text(503, "too many pages are in work; try again\n").into_response();
    };
    let (made, making) = oneshot::channel();
    let (out, chunks) = stream::channel();
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let Response { status, content_type, headers, body } = make(&request);
        // A client that went away is why an answer cannot be handed over.
        match body {
            PageBody::Whole(body) => {
                let _ = made.send((status, content_type, headers, Some(body)));
            }
            PageBody::Stream(write) => {
                if made.send((status, content_type, headers, None)).is_ok() {
                    let _ = out.fill(write);
                }
            }
        }
    });
    match making.await {
        Ok((status, content_type, headers, Some(body))) => {
            place.page_ready();
            respond(status, content_type, headers, Body::from(body))
        }
        Ok((status, content_type, headers, None)) => {
            respond(status, content_type, headers, stream::body(chunks, place))
        }
        // The page panicked.
        Err(_) => {
            place.page_ready();
            failed()
        }
    }
}

/// For [`super::Router::method_not_allowed_fallback`] of a server that only reads.
pub async fn read_only() -> Response {
    Response::text(405, "this server only reads: use GET\n")
}
