//! One connection from its first byte to its close.

use std::any::Any;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout_at};
use tower_service::Service as _;

use super::refusals::{HeadRefusal, Refusals};
use super::session::{HEAD_BYTES_MAX, Late, Session};

/// Headers of one request.
const FIELDS_MAX: usize = 100;

/// A stream socket of either kind.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Answers requests until the client closes or is late.
pub(super) async fn serve(
    socket: Box<dyn Socket>,
    session: Arc<Session>,
    router: Router,
    refusals: Arc<dyn Refusals>,
    linger_for: Duration,
) {
    let mut io = TokioIo::new(Watched { socket, session: Arc::clone(&session) });
    let until_late = within(&session, exchanges(&mut io, &session, router, &*refusals)).await;
    match until_late {
        Ok(Ok(())) => {}
        Ok(Err(error)) if error.is_parse() => {
            let too_large = error.is_parse_too_large();
            refusals.head(if too_large { HeadRefusal::TooLarge } else { HeadRefusal::Malformed });
        }
        // The client is gone, or broke off in the middle of a head.
        Ok(Err(_)) => {}
        Err(Late::Idle) => return,
        Err(Late::Head) => {
            refusals.head(HeadRefusal::TooSlow);
            // A few bytes into an empty send buffer: what does not fit at once is not waited for.
            let _ = io.inner_mut().write_all(too_slow().as_bytes()).now_or_never();
        }
    }
    linger(io.inner_mut(), Instant::now() + linger_for).await;
}

/// Runs the exchanges until they end or the session is late.
async fn within<T>(session: &Session, exchanges: impl Future<Output = T>) -> Result<T, Late> {
    let mut exchanges = pin!(exchanges);
    let mut sleep = pin!(sleep_until(Instant::now()));
    poll_fn(|context| {
        if let Poll::Ready(end) = exchanges.as_mut().poll(context) {
            return Poll::Ready(Ok(end));
        }
        // What moves the deadline runs inside of the exchanges, so it is seen here at once.
        let Some(deadline) = session.deadline() else { return Poll::Pending };
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(context).map(|()| Err(session.late()))
    })
    .await
}

async fn exchanges(
    io: &mut TokioIo<Watched>,
    session: &Arc<Session>,
    router: Router,
    refusals: &dyn Refusals,
) -> hyper::Result<()> {
    let answer = service_fn(|request: Request<Incoming>| {
        let session = Arc::clone(session);
        let mut router = router.clone();
        async move {
            let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
            let two_lengths = session.head_read(chunked, !request.body().is_end_stream());
            let bad_framing = if two_lengths {
                Some("Content-Length and chunks at once; send one of them")
            } else if chunked && !is_only_chunked(request.headers()) {
                Some("Transfer-Encoding: expected chunked alone; compress with Content-Encoding")
            } else {
                None
            };
            let answer = if let Some(message) = bad_framing {
                refusals.head(HeadRefusal::Malformed);
                refused(StatusCode::BAD_REQUEST, message)
            } else {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(Arc::clone(&session));
                router.call(request).await?
            };
            session.answered();
            Ok::<_, Infallible>(answer)
        }
    });
    http1::Builder::new()
        .max_headers(FIELDS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        // A client may close its side before it has its answer.
        .half_close(true)
        // The deadline of the session stands for it.
        .header_read_timeout(None)
        .serve_connection(io, answer)
        .await
}

/// True when the body comes in chunks and nothing else was done to it: what is compressed on the way would
/// be read, and passed on, as if it were not.
fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = values.next().map(|value| value.as_bytes().trim_ascii());
    first.is_some_and(|first| first.eq_ignore_ascii_case(b"chunked")) && values.next().is_none()
}

/// Reads on for a moment: closing with unread bytes would take the answer away from the client.
async fn linger(socket: &mut Watched, until: Instant) {
    if !socket.session.has_unread() {
        return;
    }
    let _ = socket.shutdown().await;
    let mut rest = vec![0; 16 << 10];
    while let Ok(Ok(1..)) = timeout_at(until, socket.read(&mut rest)).await {}
}

/// A short JSON answer after which the connection closes.
pub(super) fn refused(status: StatusCode, message: &str) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json"), (header::CONNECTION, "close")];
    (status, json, errors(message)).into_response()
}

/// The answer to a request whose route panicked; the log has the message already.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    refused(StatusCode::INTERNAL_SERVER_ERROR, "this request failed; the log of whippet says why")
}

pub(super) fn too_many() -> String {
    closing(
        "503 Service Unavailable",
        "too many connections; close some, or raise apm_config.max_connections",
    )
}

fn too_slow() -> String {
    closing("408 Request Timeout", "the request did not come in time")
}

/// An answer written past hyper.
fn closing(status: &str, message: &str) -> String {
    let body = errors(message);
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

fn errors(message: &str) -> String {
    serde_json::json!({ "errors": [message] }).to_string()
}

/// A socket that tells the session what comes in.
struct Watched {
    socket: Box<dyn Socket>,
    session: Arc<Session>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        let new = &buffer.filled()[before..];
        if !new.is_empty() {
            self.session.bytes_read(new);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
