//! One request, whole and decoded.

use std::time::Duration;

use axum::http::HeaderMap;

/// One request, as a door sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// Without query and without a trailing `/`.
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    /// Without its content encoding.
    pub body: &'a [u8],
    /// When it was whole, since the epoch.
    pub now: Duration,
    /// The container that sent it, by the word of the kernel or else its own; empty when it is not
    /// known or no one asks for origins.
    pub container: &'a [u8],
}

impl<'a> Request<'a> {
    /// The first header of that name; none when it is no text.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
