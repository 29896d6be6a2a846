//! A real Agent behind us: requests that no door takes are passed on unchanged, and so are its answers.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Frame, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::http::requests::{BodyError, RequestBody};

/// Longest `/info` page that is merged with ours, in bytes.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// The `Host` header for requests that come without one.
const HOST: HeaderValue = HeaderValue::from_static("localhost");

/// The real Agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    address: Address,
    patience: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    /// `host:port`; without a port 80.
    Tcp(String),
    Unix(PathBuf),
}

/// Why there is no answer from the real Agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamError {
    /// It cannot be reached, or closed the connection early.
    Down,
    /// It took longer than its patience.
    Late,
    /// The client did not send the whole request.
    Client(BodyError),
}

impl Upstream {
    /// The Agent at `http://host:port` or `unix:///path`, both already checked. An exchange with it
    /// may take `patience`, from the connection to the end of the answer.
    pub fn new(url: &str, patience: Duration) -> Self {
        Upstream { address: Address::of(url), patience }
    }

    /// The longest time of an exchange.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Passes a request on and returns the answer; both are streamed.
    ///
    /// # Errors
    /// When the Agent is down or late, or the client did not send its whole body.
    pub async fn pass(
        &self,
        head: &Parts,
        body: RequestBody,
    ) -> Result<Response<Body>, UpstreamError> {
        let deadline = Instant::now() + self.patience;
        let failed = Arc::new(Mutex::new(None));
        let body = Sent { body, failed: Arc::clone(&failed) };
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = in_origin_form(&head.uri);
        *request.headers_mut() = passed(&head.headers);
        request.headers_mut().append(header::VIA, super::via());
        let host = head.headers.get(header::HOST).cloned().unwrap_or(HOST);
        request.headers_mut().insert(header::HOST, host);
        let answer = timeout_at(deadline, self.exchange(request)).await;
        let client = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let answer = match (answer, client) {
            (Ok(Ok(answer)), _) => answer,
            (_, Some(error)) => return Err(UpstreamError::Client(error)),
            (Ok(Err(_)), None) => return Err(UpstreamError::Down),
            (Err(_), None) => return Err(UpstreamError::Late),
        };
        let (head, body) = answer.into_parts();
        let mut answer =
            Response::new(Body::new(Answered { body, time: Box::pin(sleep_until(deadline)) }));
        *answer.status_mut() = head.status;
        *answer.headers_mut() = passed(&head.headers);
        Ok(answer)
    }

    /// The body of its `/info`; `None` when there is none in time.
    pub async fn info(&self) -> Option<Bytes> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = Uri::from_static("/info");
        request.headers_mut().insert(header::HOST, HOST);
        request.headers_mut().insert(header::VIA, super::via());
        let page = async {
            let answer = self.exchange(request).await.ok().filter(|page| page.status() == 200)?;
            let body = Limited::new(answer.into_body(), PAGE_BYTES_MAX).collect().await.ok()?;
            Some(body.to_bytes())
        };
        timeout_at(Instant::now() + self.patience, page).await.ok().flatten()
    }

    async fn exchange<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<hyper::body::Incoming>, Box<dyn std::error::Error + Send + Sync>>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = TokioIo::new(self.address.connect().await?);
        let (mut sender, connection) = http1::handshake(stream).await?;
        // Ends with the exchange: nothing else holds the sender.
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    }
}

impl Address {
    fn of(url: &str) -> Self {
        if let Some(path) = url.strip_prefix("unix://") {
            return Address::Unix(path.into());
        }
        let place = url.split_once("://").map_or(url, |(_, place)| place);
        let has_port = place.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        Address::Tcp(if has_port { place.to_owned() } else { format!("{place}:80") })
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Address::Tcp(place) => Box::new(TcpStream::connect(place).await?),
            Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

/// Headers as they are passed on: without hop-by-hop headers and the client's key.
fn passed(headers: &HeaderMap) -> HeaderMap {
    let mut passed = super::end_to_end(headers);
    passed.remove("dd-api-key");
    passed
}

/// Path and query only: a client that uses us as a proxy sends a whole URL, which servers may reject.
fn in_origin_form(uri: &Uri) -> Uri {
    let place = uri.path_and_query().cloned();
    place.map(Uri::from).unwrap_or_else(|| Uri::from_static("/"))
}

/// A stream socket of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The client's body on its way to the Agent. `failed` keeps the error that ended it early.
struct Sent {
    body: RequestBody,
    failed: Arc<Mutex<Option<BodyError>>>,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Err(error))) = &frame {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(*error);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The Agent's body on its way back; fails when its time is over.
struct Answered {
    body: hyper::body::Incoming,
    time: Pin<Box<Sleep>>,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => {
                let late = self.time.as_mut().poll(context);
                late.map(|()| Some(Err("the real Agent did not answer in time".into())))
            }
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_even_if_none_is_written() {
        for (url, expect) in [
            ("http://agent:8126", "agent:8126"),
            ("http://agent", "agent:80"),
            ("http://[::1]", "[::1]:80"),
            ("http://[::1]:8126", "[::1]:8126"),
        ] {
            assert_eq!(Address::of(url), Address::Tcp(expect.to_owned()), "{url}");
        }
        assert_eq!(Address::of("unix:///run/a.sock"), Address::Unix("/run/a.sock".into()));
    }

    #[test]
    fn a_whole_url_becomes_path_and_query() {
        for (asked, expect) in
            [("http://x:1/a/../b?c=d", "/a/../b?c=d"), ("/a//b?", "/a//b?"), ("http://x:1", "/")]
        {
            assert_eq!(in_origin_form(&asked.parse().unwrap()).to_string(), expect);
        }
    }
}
