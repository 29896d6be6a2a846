//! One request, whole and decoded.

use std::time::Duration;

use axum::http::HeaderMap;

use crate::ddsketch::Rounding;

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

    /// Which way the client rounds to the bins of its sketches; only its language says so.
    pub fn rounding(&self) -> Rounding {
        let names = ["datadog-meta-lang", "dd-client-library-language"];
        let javascript = |name| {
            let language = self.header(name).map(str::trim).unwrap_or_default();
            ["javascript", "nodejs"].iter().any(|word| language.eq_ignore_ascii_case(word))
        };
        if names.into_iter().any(javascript) { Rounding::Up } else { Rounding::Down }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_rounds_up_is_known_by_its_language() {
        for (name, value, expect) in [
            ("Datadog-Meta-Lang", "javascript", Rounding::Up),
            ("Datadog-Meta-Lang", "nodejs", Rounding::Up),
            ("DD-Client-Library-Language", "nodejs", Rounding::Up),
            ("Datadog-Meta-Lang", "go", Rounding::Down),
            ("User-Agent", "nodejs", Rounding::Down),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a header"));
            let (path, body, container) = ("/v0.6/stats", &b""[..], &b""[..]);
            let now = Duration::ZERO;
            let request = Request { path, headers: &headers, body, now, container };
            assert_eq!(request.rounding(), expect, "{name}: {value}");
        }
    }
}
