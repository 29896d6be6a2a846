//! One connection from its first byte to its close.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::http::{HeaderValue, Request, Uri, header};
use axum::response::IntoResponse as _;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tower_service::Service as _;

use super::Response;
use super::admission::Place;

/// Longest request line with headers; hyper takes no smaller bound.
pub(super) const HEAD_BYTES_MAX: usize = 8 << 10;
/// Headers of one request.
const HEADERS_MAX: usize = 64;
/// For each read after a refusal, and how many there are.
const LINGER: Duration = Duration::from_millis(100);
const LINGER_READS: usize = 8;

/// A stream socket of either kind.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

type Io = TokioIo<Box<dyn Socket>>;

enum End {
    /// The client has its answer, or is gone.
    Served,
    /// It took longer than it may.
    Late,
    /// A newer connection needs the place.
    SentAway,
}

/// Answers one request.
pub(super) async fn serve(
    socket: Box<dyn Socket>,
    place: Arc<Place>,
    told_to_go: oneshot::Receiver<()>,
    router: Router,
    local: bool,
) {
    let mut io = TokioIo::new(socket);
    let end = within(&place, told_to_go, exchange(&mut io, &place, router, local)).await;
    if matches!(end, End::Late) {
        place.is_late();
    }
    let refusal = match end {
        _ if place.is_answered() => return,
        End::Served => return,
        End::Late => {
            "408 Request Timeout\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n\
             the request took too long\n"
        }
        End::SentAway => {
            "503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n\
             too many connections\n"
        }
    };
    // A few bytes into an empty send buffer: what does not fit at once is not waited for.
    let refusal = format!("HTTP/1.1 {refusal}");
    let _ = io.inner_mut().write_all(refusal.as_bytes()).now_or_never();
}

/// Runs the exchange until it ends, its deadline passes or its place is needed.
async fn within(
    place: &Place,
    told_to_go: oneshot::Receiver<()>,
    exchange: impl Future<Output = ()>,
) -> End {
    let mut exchange = pin!(exchange);
    let mut told_to_go = Some(told_to_go);
    let mut sleep = pin!(sleep_until(Instant::now()));
    poll_fn(|context| {
        if exchange.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::Served);
        }
        match told_to_go.as_mut().map(|told| told.poll_unpin(context)) {
            Some(Poll::Ready(Ok(()))) => return Poll::Ready(End::SentAway),
            // A page has begun, which nothing sends away.
            Some(Poll::Ready(Err(_))) => told_to_go = None,
            Some(Poll::Pending) | None => {}
        }
        // What moves the deadline runs inside of the exchange, so it is seen here at once.
        let Some(deadline) = place.deadline() else { return Poll::Pending };
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(context).map(|()| End::Late)
    })
    .await
}

async fn exchange(io: &mut Io, place: &Arc<Place>, router: Router, local: bool) {
    let answer = service_fn(|request: Request<Incoming>| {
        place.head_read(!request.body().is_end_stream());
        answer(request, Arc::clone(place), router.clone(), local)
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        // The deadline of the place stands for it.
        .header_read_timeout(None)
        .serve_connection(&mut *io, answer)
        .await;
    if served.is_err() || place.has_unread() {
        linger(io.inner_mut()).await;
    }
}

async fn answer(
    mut request: Request<Incoming>,
    place: Arc<Place>,
    mut router: Router,
    local: bool,
) -> Result<axum::response::Response, Infallible> {
    let mut response = if local && !is_for_us(&request) {
        Response::text(403, "use localhost or an IP address as host name\n").into_response()
    } else {
        request.extensions_mut().insert(place);
        router.call(request).await?
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Reads on for a moment: closing with unread bytes would take the answer away from the client.
async fn linger(socket: &mut Box<dyn Socket>) {
    let _ = socket.shutdown().await;
    let mut rest = [0; 4 << 10];
    for _ in 0..LINGER_READS {
        match timeout(LINGER, socket.read(&mut rest)).await {
            Ok(Ok(1..)) => {}
            _ => return,
        }
    }
}

/// True when no name but a local one is asked for, in whatever way.
fn is_for_us(request: &Request<Incoming>) -> bool {
    let hosts = request.headers().get_all(header::HOST);
    hosts.iter().all(|host| host.to_str().is_ok_and(is_local_name))
        && Uri::host(request.uri()).is_none_or(is_local_name)
}

/// True for `localhost` and IP addresses, with or without a port, and for no name at all.
pub(super) fn is_local_name(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    bare.is_empty() || bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}
