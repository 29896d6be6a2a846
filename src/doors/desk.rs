//! From an HTTP request to its door, and back to an answer: every check before the door, in the order in
//! which clients see them, and the one place where requests are counted.

use std::collections::BTreeMap;
use std::fmt;
use std::panic;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, header};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;

use super::budget::{Budget, Share};
use super::encoding::{self, Encoding};
use super::info::{self, Info, InfoSettings};
use super::refused::{Refused, answered, cross_site, cut_off, refusal};
use super::routes::{self, Place};
use super::sender::{Peers, Sender};
use super::upstream::{Upstream, UpstreamError};
use super::{Answer, Door, DoorsAccounting, Forward, Reason, Recorder, Refusal, Request, Route};
use crate::clock::Clock;
use crate::context::OriginRules;
use crate::http::requests::{HeadRefusal, Refusals, RequestBody, Session};
use crate::tagger::Cardinality;

/// Memory for all bodies that are processed at the same time, in bytes.
const IN_WORK_BYTES_MAX: usize = 128 << 20;

const AGENT_VERSION: HeaderName = HeaderName::from_static("datadog-agent-version");
const AGENT_STATE: HeaderName = HeaderName::from_static("datadog-agent-state");
const CONTAINER_TAGS_HASH: HeaderName = HeaderName::from_static("datadog-container-tags-hash");

/// Settings of the desk.
pub(crate) struct DeskSettings {
    /// The doors that are on.
    pub doors: BTreeMap<Route, Arc<dyn Door>>,
    /// Takes the requests that no door takes.
    pub upstream: Option<Upstream>,
    /// Passes traces to it too.
    pub traces_upstream: bool,
    /// Forwards what the routes of mode `forward` and `both` have taken.
    pub forward: Option<Arc<Forward>>,
    /// Longest body of a request as sent.
    pub request_bytes_max: u64,
    /// The configuration that `/info` shows; the desk adds the routes that are on.
    pub info: InfoSettings,
    /// How origins become tags; none without a tagger.
    pub origin: Option<OriginRules>,
    /// Where processes are looked up that connect to the Unix socket.
    pub proc_root: Option<PathBuf>,
    pub recorder: Recorder,
    pub clock: Clock,
}

/// Answers every request.
pub(crate) struct Desk {
    doors: BTreeMap<Route, Arc<dyn Door>>,
    upstream: Option<Upstream>,
    traces_upstream: bool,
    forward: Option<Arc<Forward>>,
    request_bytes_max: u64,
    info: ArcSwap<Info>,
    origin: ArcSwap<Option<OriginRules>>,
    peers: Option<Peers>,
    budget: Arc<Budget>,
    recorder: Recorder,
    clock: Clock,
}

/// How a request ends.
type Outcome = Result<Response<Body>, Refused>;

impl Desk {
    pub fn new(settings: DeskSettings) -> Arc<Self> {
        let DeskSettings { doors, upstream, traces_upstream, forward, .. } = settings;
        let info =
            Info::new(&InfoSettings { on: doors.keys().copied().collect(), ..settings.info });
        let mut open: Vec<Route> = doors.keys().copied().collect();
        open.push(Route::Info);
        if upstream.is_some() {
            open.push(Route::Upstream);
        }
        settings.recorder.accounting().set_open(&open);
        Arc::new(Desk {
            doors,
            upstream,
            traces_upstream,
            forward,
            request_bytes_max: settings.request_bytes_max,
            info: ArcSwap::from_pointee(info),
            origin: ArcSwap::from_pointee(settings.origin),
            peers: settings.proc_root.as_deref().map(Peers::new),
            budget: Budget::new(IN_WORK_BYTES_MAX),
            recorder: settings.recorder,
            clock: settings.clock,
        })
    }

    /// Applies what a reload may change.
    pub fn reload(&self, info: InfoSettings, origin: Option<OriginRules>) {
        let on = self.doors.keys().copied().collect();
        self.info.store(Arc::new(Info::new(&InfoSettings { on, ..info })));
        self.origin.store(Arc::new(origin));
    }

    /// A router whose only handler is the desk: routes and the order of checks are decided in one place.
    pub fn router(self: &Arc<Self>) -> Router {
        let desk = Arc::clone(self);
        Router::new().fallback(move |request: axum::extract::Request| {
            let desk = Arc::clone(&desk);
            async move { desk.answer(request).await }
        })
    }

    /// The doors that are on, for the calls that come from the schedule and not from requests.
    pub fn doors(&self) -> Vec<(Route, Arc<dyn Door>)> {
        self.doors.iter().map(|(route, door)| (*route, Arc::clone(door))).collect()
    }

    fn accounting(&self) -> &DoorsAccounting {
        self.recorder.accounting()
    }

    async fn answer(self: Arc<Self>, request: axum::extract::Request) -> Response<Body> {
        let (head, body) = request.into_parts();
        // Every connection puts its session there.
        let Some(session) = head.extensions.get::<Arc<Session>>().cloned() else {
            return answered(&Answer::json(500, "{\"errors\":[\"no session\"]}"));
        };
        let path = routes::trimmed(head.uri.path()).to_owned();
        let place = routes::find(&path);
        let upstream = self.upstream_of(place.as_ref());
        let route = match (&upstream, place) {
            (Some(_), _) => Route::Upstream,
            (None, Some(place)) => place.route,
            (None, None) => Route::Other,
        };
        let is_agents = route != Route::Api;
        let exchange = panic::AssertUnwindSafe(async {
            let mut body = RequestBody::new(body, Arc::clone(&session));
            let outcome = match upstream {
                Some(upstream) => match cross_site(&head.headers) {
                    Some(refused) => Err(refused),
                    None => return self.pass(upstream, &head, body).await,
                },
                None => self.serve(place, &path, &head, &mut body, &session).await,
            };
            match outcome {
                Err(refused) => Err(self.rid_of(body, &head, refused).await),
                answer => answer,
            }
        });
        let outcome = match exchange.catch_unwind().await {
            Ok(outcome) => outcome,
            Err(panicked) => {
                self.accounting().refused(route, Reason::Internal);
                // The server answers it, and closes the connection.
                panic::resume_unwind(panicked)
            }
        };
        let mut response = match outcome {
            Ok(response) => {
                self.accounting().recorded(route);
                response
            }
            Err(refused) => {
                self.accounting().refused(route, refused.refusal.reason);
                refused.into_response()
            }
        };
        if is_agents {
            let headers = response.headers_mut();
            let version = HeaderValue::from_static(env!("CARGO_PKG_VERSION"));
            headers.entry(AGENT_VERSION).or_insert(version);
            // Hexadecimal digits are a header's value.
            if let Ok(state) = HeaderValue::from_str(&self.info.load().state) {
                headers.insert(AGENT_STATE, state);
            }
        }
        response
    }

    /// The real Agent, for what no door takes. What is switched off here stays off.
    fn upstream_of(&self, place: Option<&Place>) -> Option<&Upstream> {
        let passes = match place {
            None => true,
            Some(place) => place.route == Route::Traces && self.traces_upstream,
        };
        self.upstream.as_ref().filter(|_| passes)
    }

    async fn serve(
        self: &Arc<Self>,
        place: Option<Place>,
        path: &str,
        head: &Parts,
        body: &mut RequestBody,
        session: &Session,
    ) -> Outcome {
        let Some(place) = place else {
            return Err(refusal(Reason::NotFound, 404, "Not found"));
        };
        let is_info = place.route == Route::Info;
        if !is_info && !self.doors.contains_key(&place.route) {
            return Err(refusal(Reason::Off, 404, "Not found"));
        }
        if place.methods.is_empty() {
            return Err(refusal(Reason::NotFound, 404, "Not found"));
        }
        if !place.takes(&head.method) {
            let allow = place.methods.join(", ");
            let refused = refusal(Reason::Method, 405, format!("use one of {allow}"));
            return Err(Refused { allow: Some(allow), ..refused });
        }
        if let Some(refused) = cross_site(&head.headers) {
            return Err(refused);
        }
        if is_info {
            return Ok(self.info(head, session).await);
        }
        let encoding = Encoding::of(&head.headers)?;
        let (sent, share) = self.read(body).await?;
        self.at_the_door(place.route, path, head, (encoding, sent, share), session).await
    }

    /// The whole body as sent, and the memory it takes.
    async fn read(&self, body: &mut RequestBody) -> Result<(Bytes, Share), Refused> {
        let bytes_max = self.request_bytes_max;
        let too_large = || {
            let message = format!("the body is longer than {bytes_max} bytes");
            Refused { close: true, ..refusal(Reason::TooLarge, 413, message) }
        };
        if body.declared().is_some_and(|length| length > bytes_max) {
            return Err(too_large());
        }
        let mut share = self.budget.share();
        let mut whole = BytesMut::new();
        while let Some(piece) = body.next().await.map_err(cut_off)? {
            if (whole.len() + piece.len()) as u64 > bytes_max {
                return Err(too_large());
            }
            if !share.grow(piece.len()) {
                return Err(encoding::overload().into());
            }
            whole.extend_from_slice(&piece);
        }
        Ok((whole.freeze(), share))
    }

    /// Decodes and records on a thread that may take its time.
    async fn at_the_door(
        self: &Arc<Self>,
        route: Route,
        path: &str,
        head: &Parts,
        body: (Encoding, Bytes, Share),
        session: &Session,
    ) -> Outcome {
        let (desk, path, headers) = (Arc::clone(self), path.to_owned(), head.headers.clone());
        let peer = session.peer();
        let work = move || {
            let (encoding, sent, mut share) = body;
            let decoded = encoding.decode(&sent, &mut share)?;
            let now = desk.clock.unix();
            let sender = desk.sender(&headers, peer);
            let claims = sender.claims();
            let mut sink = desk.recorder.sink(route, now, &claims);
            let container = sender.container();
            let request =
                Request { path: &path, headers: &headers, body: &decoded, container, now };
            // Routes without a door were answered before.
            let door = desk.doors.get(&route).ok_or_else(|| Refusal::decode("no such door"))?;
            let answer = door.take(&request, &mut sink)?;
            if let Some(forward) = &desk.forward {
                forward.pass(route, &headers, sender.connected_container(), sent);
            }
            Ok::<_, Refusal>(answer)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(taken) => Ok(answered(&taken?)),
            Err(failed) => panic::resume_unwind(failed.into_panic()),
        }
    }

    /// Who sent a request. Without a tagger it is not looked up.
    fn sender(&self, headers: &axum::http::HeaderMap, peer: Option<i32>) -> Sender {
        if self.origin.load().is_none() {
            return Sender::default();
        }
        let sender = Sender::of(headers);
        match (&self.peers, peer) {
            (Some(peers), Some(peer)) => {
                sender.connected_from(peers.container(peer, self.clock.monotonic()))
            }
            _ => sender,
        }
    }

    async fn info(&self, head: &Parts, session: &Session) -> Response<Body> {
        if let Some(upstream) = &self.upstream {
            let on: Vec<Route> = self.doors.keys().copied().collect();
            let passed: &[Route] = if self.traces_upstream { &[Route::Traces] } else { &[] };
            let page = upstream.info().await;
            if let Some(merged) = page.and_then(|page| Info::merged(&page, &on, passed)) {
                self.info.store(Arc::new(merged));
            }
        }
        let info = self.info.load_full();
        let mut response = answered(&Answer::json(200, info.body.clone()));
        if let Some(origin) = &**self.origin.load() {
            let sender = self.sender(&head.headers, session.peer());
            let tags = origin.tags(&sender.claims(), Cardinality::High);
            if !tags.is_empty()
                && let Ok(hash) = HeaderValue::from_str(&info::container_tags_hash(&tags))
            {
                response.headers_mut().insert(CONTAINER_TAGS_HASH, hash);
            }
        }
        response
    }

    async fn pass(&self, upstream: &Upstream, head: &Parts, body: RequestBody) -> Outcome {
        match upstream.pass(head, body).await {
            Ok(answer) => Ok(answer),
            Err(UpstreamError::Client(error)) => Err(cut_off(error)),
            Err(UpstreamError::Down) => {
                let message = "the Agent of doors_upstream cannot be reached or broke off";
                Err(Refused { close: true, ..refusal(Reason::Upstream, 502, message) })
            }
            Err(UpstreamError::Late) => {
                let patience = upstream.patience();
                let message = format!("the Agent of doors_upstream did not answer in {patience:?}");
                Err(Refused { close: true, ..refusal(Reason::Timeout, 502, message) })
            }
        }
    }

    /// Reads the rest of a refused request's body, so that the connection can stay open. Closes it
    /// instead when that would be too much, or when the client waits for `100 Continue`.
    async fn rid_of(&self, mut body: RequestBody, head: &Parts, refused: Refused) -> Refused {
        if refused.close || body.is_end_stream() {
            return refused;
        }
        let close = Refused { close: true, ..refused };
        if head.headers.contains_key(header::EXPECT)
            || body.declared().is_some_and(|length| length > self.request_bytes_max)
        {
            return close;
        }
        let mut left = self.request_bytes_max;
        loop {
            match body.next().await {
                Ok(None) => return Refused { close: false, ..close },
                Ok(Some(piece)) if piece.len() as u64 <= left => left -= piece.len() as u64,
                Ok(Some(_)) | Err(_) => return close,
            }
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("on", &self.doors.keys()).finish_non_exhaustive()
    }
}

/// What never becomes a request counts for no route in particular.
impl Refusals for DoorsAccounting {
    fn head(&self, head: HeadRefusal) {
        let reason = match head {
            HeadRefusal::Malformed => Reason::Decode,
            HeadRefusal::TooLarge => Reason::TooLarge,
            HeadRefusal::TooSlow => Reason::Timeout,
        };
        self.refused(Route::Other, reason);
    }

    fn connection(&self) {
        self.connections_refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
