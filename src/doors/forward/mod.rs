//! Forwards to the vendor: requests of clients byte for byte, as an Agent would, and payloads that a door
//! has made.
//!
//! In: a request that a door has taken, with its body as sent. Out: the same request to every endpoint
//! of its route, with that endpoint's key. Promise: nothing here waits for a network; everything is
//! forwarded, waiting or dropped(reason), per route and endpoint; at most 16 MiB wait per endpoint, for
//! at most ten minutes, never on disk. Refusal: it reads no body and keeps no key of a client.

mod endpoint;
mod headers;
mod queue;
mod target;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use thiserror::Error;

pub(crate) use self::endpoint::DeliverySettings;
use self::endpoint::Endpoint;
use self::headers::Container;
pub(crate) use self::headers::{end_to_end, via};
use self::queue::Outgoing;
pub(crate) use self::target::TargetSettings;
use super::{DoorsAccounting, ForwardCounts, ForwardDrop, Route};
use crate::clock::Clock;
use crate::config::Secret;
use crate::forward::{EndpointError, HttpSettingsError};
use crate::protocol::{ExternalData, LocalData};
use crate::tagger::{Cardinality, Identity, Tagger};

/// What we say about ourselves, as an Agent does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agent {
    /// Empty when there is none.
    pub hostname: String,
    /// The environment of payloads that name none.
    pub env: String,
}

/// What to forward, and where.
#[derive(Clone)]
pub(crate) struct ForwardSettings {
    /// The routes whose mode is `forward` or `both`, with the key of the configuration that says so.
    pub routes: Vec<(Route, &'static str)>,
    pub targets: TargetSettings,
    pub agent: Agent,
    /// None when nothing may leave the machine: every request is then counted as dropped (`output`).
    pub delivery: Option<DeliverySettings>,
    /// Looks up the tags of the sending container, up to this cardinality.
    pub tagger: Option<(Arc<dyn Tagger>, Cardinality)>,
}

/// Why forwarding cannot start.
#[derive(Debug, Error)]
pub(crate) enum ForwardError {
    #[error(
        "api_key is empty, and {key} asks to forward; set DD_API_KEY (or api_key), or set {key} to \
         local or off"
    )]
    NoKey {
        /// The key that asks.
        key: &'static str,
    },
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Targets(Vec<EndpointError>),
    #[error(transparent)]
    Http(#[from] HttpSettingsError),
    #[error("cannot start a delivery thread: {0}")]
    Thread(#[from] io::Error),
}

/// Forwards requests. Each endpoint has its own thread and queue.
pub(crate) struct Forward {
    /// None when nothing may leave the machine.
    endpoints: Vec<Arc<Endpoint>>,
    delivers: bool,
    routes: Vec<Route>,
    agent: Agent,
    tagger: Option<(Arc<dyn Tagger>, Cardinality)>,
    /// By route and endpoint; shared with the pages.
    counts: BTreeMap<(Route, String), Arc<ForwardCounts>>,
}

impl Forward {
    /// Starts a thread per endpoint; none when no route is forwarded or nothing may leave the machine.
    ///
    /// # Errors
    /// Without an API key, and when a URL, proxy or certificate cannot be read.
    pub fn start(
        settings: ForwardSettings,
        accounting: &DoorsAccounting,
        clock: &Clock,
    ) -> Result<Self, ForwardError> {
        let ForwardSettings { routes, targets, agent, delivery, tagger } = settings;
        if let Some((_, key)) = routes.first()
            && Secret::new(&targets.api_key).is_empty()
        {
            return Err(ForwardError::NoKey { key });
        }
        let routes: Vec<Route> = routes.into_iter().map(|(route, _)| route).collect();
        let targets = target::targets(&targets, &routes).map_err(ForwardError::Targets)?;
        let mut endpoints = Vec::new();
        // Several keys of one endpoint are added up.
        let mut counts: BTreeMap<(Route, String), Arc<ForwardCounts>> = BTreeMap::new();
        for target in targets {
            let taken = routes.iter().filter(|route| target.takes(**route));
            let counted = taken.map(|route| {
                let of = counts.entry((*route, target.name().to_owned()));
                let new = || accounting.forward_to(*route, target.name());
                Arc::clone(of.or_insert_with(new))
            });
            let counted: Vec<_> = counted.collect();
            if let Some(delivery) = &delivery {
                let endpoint = Endpoint::new(target, delivery.clone(), counted, clock.clone())?;
                endpoints.push(Arc::new(endpoint));
            }
        }
        let delivers = delivery.is_some();
        let forward = Forward { endpoints, delivers, routes, agent, tagger, counts };
        for (number, endpoint) in forward.endpoints.iter().enumerate() {
            let endpoint = Arc::clone(endpoint);
            let named = thread::Builder::new().name(format!("doors-fwd-{number}"));
            // Not joined: its end is waited for, and one that hangs must not hold up the stop.
            if let Err(error) = named.spawn(move || endpoint.run()) {
                forward.shutdown(Instant::now());
                return Err(error.into());
            }
        }
        Ok(forward)
    }

    /// What we say about ourselves.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// True for a route that is forwarded.
    pub fn takes(&self, route: Route) -> bool {
        self.routes.contains(&route)
    }

    /// Forwards a client's request once a door has taken it: `body` as it was sent, in whatever
    /// encoding `headers` name. `sender` is the container according to the kernel, empty for none.
    /// Does nothing for a route that is not forwarded.
    pub fn pass(&self, route: Route, headers: &HeaderMap, sender: &[u8], body: Bytes) {
        let path = match route {
            Route::DataStreams => "/api/v0.1/pipeline_stats",
            Route::Telemetry => "/api/v2/apmtelemetry",
            _ => return,
        };
        let container = self.container(headers, sender);
        let headers = headers::passed(route, headers, &self.agent, &container);
        self.push(Outgoing { route, path, headers, body });
    }

    /// Sends a payload of ours, such as merged stats, with these headers and the endpoint's key. Does
    /// nothing for a route that is not forwarded.
    pub fn send(
        &self,
        route: Route,
        path: &'static str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            {
                map.insert(name, value);
            }
        }
        self.push(Outgoing { route, path, headers: map, body });
    }

    fn push(&self, request: Outgoing) {
        if !self.takes(request.route) {
            return;
        }
        if !self.delivers {
            let counts = self.counts.values().filter(|counts| counts.route == request.route);
            counts.for_each(|counts| counts.dropped(ForwardDrop::Output));
            return;
        }
        let request = Arc::new(request);
        let takers = self.endpoints.iter().filter(|to| to.target.takes(request.route));
        takers.for_each(|endpoint| endpoint.push(&request));
    }

    /// The container that sent a request: according to the kernel, else to the headers.
    fn container(&self, headers: &HeaderMap, sender: &[u8]) -> Container {
        let header = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
        let sender = Some(sender).filter(|id| !id.is_empty());
        let named = header("datadog-container-id").filter(|id| !id.is_empty());
        let local = header("datadog-entity-id").map(LocalData::read).unwrap_or_default();
        let external = header("datadog-external-env").map(ExternalData::read).unwrap_or_default();
        let id = sender.or(named).or(local.container_id);
        let place = external
            .pod_uid
            .zip(external.container_name)
            .map(|(pod_uid, name)| Identity::PodContainer { pod_uid, name, init: external.init });
        let order = [id.map(Identity::Container), local.inode.map(Identity::Inode), place];
        let tags = self.tagger.as_ref().and_then(|(tagger, cardinality)| {
            let tags = order.into_iter().flatten().find_map(|of| tagger.tags(of, *cardinality))?;
            Some(tags.iter().collect::<Vec<&[u8]>>().join(&b','))
        });
        let id = id.map(|id| String::from_utf8_lossy(id).into_owned());
        Container { id, tags }
    }

    /// Replaces the key of the main endpoints; waiting requests are sent with the new one.
    pub fn set_api_key(&self, key: &str) {
        let main = self.endpoints.iter().filter(|endpoint| endpoint.target.is_main);
        main.for_each(|endpoint| endpoint.set_key(Secret::new(key)));
    }

    /// One more attempt for everything that waits; what is left at the deadline is dropped. Returns
    /// at most a quarter of a second after it. True when nothing was dropped by it.
    pub fn shutdown(&self, deadline: Instant) -> bool {
        let started = Instant::now();
        self.endpoints.iter().for_each(|endpoint| endpoint.stop(deadline));
        let halfway = started + deadline.saturating_duration_since(started) / 2;
        for endpoint in &self.endpoints {
            if !endpoint.wait_stopped(halfway) {
                endpoint.interrupt_older(started);
            }
        }
        for endpoint in &self.endpoints {
            if !endpoint.wait_stopped(deadline) {
                endpoint.abandon();
            }
        }
        let lost = |counts: &Arc<ForwardCounts>| {
            counts.dropped[ForwardDrop::Shutdown as usize].load(Ordering::Relaxed)
        };
        self.counts.values().map(lost).sum::<u64>() == 0
    }
}

#[cfg(test)]
mod tests;
