//! Who sent a request, according to its headers and, on the Unix socket, to the kernel.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;

use crate::context::Claims;
use crate::protocol::{LocalData, OriginFields};
use crate::tagger::{ProcessOrigin, Processes};

/// The origin of one request, as the fields of a DogStatsD line would say it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sender {
    local_data: Vec<u8>,
    external_data: Vec<u8>,
    /// The container according to the kernel; empty when there is none.
    container: Vec<u8>,
}

impl Sender {
    /// What the headers say: `Datadog-Container-ID`, `Datadog-Entity-ID` (`ci-`, `cid-` or `in-`) and
    /// `Datadog-External-Env`.
    pub fn of(headers: &HeaderMap) -> Self {
        let header =
            |name: &str| headers.get(name).map(|value| value.as_bytes()).unwrap_or_default();
        let container = header("datadog-container-id");
        let mut items: Vec<Vec<u8>> = Vec::new();
        if !container.is_empty() {
            items.push([b"ci-", container].concat());
        }
        for item in header("datadog-entity-id").split(|byte| *byte == b',') {
            match item {
                [b'c', b'i', b'd', b'-', id @ ..] | [b'c', b'i', b'-', id @ ..]
                    if container.is_empty() && !id.is_empty() =>
                {
                    items.push([b"ci-", id].concat());
                }
                [b'i', b'n', b'-', _, ..] => items.push(item.to_vec()),
                _ => {}
            }
        }
        Sender {
            local_data: items.join(&b','),
            external_data: header("datadog-external-env").to_vec(),
            container: Vec::new(),
        }
    }

    /// Adds the container of the process that connected.
    pub fn connected_from(self, container: Vec<u8>) -> Self {
        Sender { container, ..self }
    }

    pub fn claims(&self) -> Claims<'_> {
        let field = |bytes| Some(bytes).filter(|bytes: &&[u8]| !bytes.is_empty());
        let fields = OriginFields {
            local_data: field(&self.local_data),
            external_data: field(&self.external_data),
            cardinality: None,
        };
        Claims { fields, sender: &self.container }
    }

    /// The container according to the kernel; empty when there is none.
    pub fn connected_container(&self) -> &[u8] {
        &self.container
    }

    /// The container according to the kernel, else to the headers; empty when neither names one.
    pub fn container(&self) -> &[u8] {
        match &*self.container {
            [] => LocalData::read(&self.local_data).container_id.unwrap_or_default(),
            container => container,
        }
    }
}

/// The containers of processes that connect to the Unix socket.
#[derive(Debug)]
pub(super) struct Peers {
    processes: Mutex<Processes>,
}

impl Peers {
    /// `proc` is where the process file system is mounted.
    pub fn new(proc: &Path) -> Self {
        Peers { processes: Mutex::new(Processes::new(proc)) }
    }

    /// The container of a process; empty when it is in none, or cannot be found. `now` is any clock
    /// that only goes forward.
    pub fn container(&self, process: i32, now: Duration) -> Vec<u8> {
        if process <= 0 {
            // In a foreign pid namespace.
            return Vec::new();
        }
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        match processes.origin(process, now) {
            ProcessOrigin::Container(id) => id.to_vec(),
            ProcessOrigin::Machine | ProcessOrigin::Unreadable => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    #[track_caller]
    fn claims(headers: &[(&'static str, &'static str)], local: &str, external: &str) {
        let named = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let sender = Sender::of(&named.collect());
        let claims = sender.claims();
        let text =
            |field: Option<&[u8]>| String::from_utf8_lossy(field.unwrap_or(b"")).into_owned();
        assert_eq!(text(claims.fields.local_data), local);
        assert_eq!(text(claims.fields.external_data), external);
        assert_eq!(claims.fields.local_data.is_none(), local.is_empty());
    }

    #[test]
    fn headers_say_what_the_fields_of_a_line_would() {
        claims(&[], "", "");
        claims(&[("datadog-container-id", "abc")], "ci-abc", "");
        claims(&[("datadog-entity-id", "cid-abc")], "ci-abc", "");
        claims(&[("datadog-entity-id", "ci-abc")], "ci-abc", "");
        claims(&[("datadog-entity-id", "in-1")], "in-1", "");
        claims(&[("datadog-entity-id", "ci-abc,in-1")], "ci-abc,in-1", "");
        claims(&[("datadog-container-id", "abc"), ("datadog-entity-id", "cid-abc")], "ci-abc", "");
        claims(
            &[("datadog-container-id", "abc"), ("datadog-entity-id", "in-1")],
            "ci-abc,in-1",
            "",
        );
        claims(&[("datadog-entity-id", "xx-1,cid-,in-")], "", "");
        claims(&[("datadog-external-env", "it-false,cn-a,pu-b")], "", "it-false,cn-a,pu-b");
    }
}
