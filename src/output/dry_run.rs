//! Payloads shown instead of posted: one JSON object per request, nothing on any network.

use std::io::Write;

use serde_json::{Map, Value, json};

use crate::encode::{Payload, readable};
use crate::forward::{self, Endpoint, KEY_HEADER, USER_AGENT};

/// Stands in for the API key where there is none.
pub(crate) const NO_KEY: &str = "(no API key)";

/// Writes what every endpoint would get.
pub struct DryRun<W> {
    endpoints: Vec<Endpoint>,
    allow_arbitrary_tags: bool,
    /// With the exact bytes of each body, in base64.
    bytes: bool,
    out: W,
    broken: bool,
}

impl<W: Write> DryRun<W> {
    /// Shows requests to these endpoints on `out`, with the exact bytes of each body if `bytes`.
    pub fn new(endpoints: Vec<Endpoint>, allow_arbitrary_tags: bool, bytes: bool, out: W) -> Self {
        DryRun { endpoints, allow_arbitrary_tags, bytes, out, broken: false }
    }

    /// One payload, once for each endpoint.
    pub fn show(&mut self, payload: &Payload) {
        let body =
            readable(payload).unwrap_or_else(|error| json!({ "unreadable": error.to_string() }));
        let mut text = String::new();
        for endpoint in &self.endpoints {
            text.push_str(&self.request(endpoint, payload, &body).to_string());
            text.push('\n');
        }
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        if let Err(error) = written
            && !std::mem::replace(&mut self.broken, true)
        {
            tracing::warn!(target: "output", "dry-run: {error}; payloads are lost from here on");
        }
    }

    fn request(&self, endpoint: &Endpoint, payload: &Payload, body: &Value) -> Value {
        let key = &endpoint.api_key;
        let shown = if key.expose() == NO_KEY { NO_KEY.to_owned() } else { key.to_string() };
        let mut headers = Map::new();
        let mut header = |name: &str, value: String| headers.insert(name.to_owned(), value.into());
        header(KEY_HEADER, shown);
        header("User-Agent", USER_AGENT.to_owned());
        header("Content-Length", payload.body.len().to_string());
        for (name, value) in forward::headers(payload, self.allow_arbitrary_tags) {
            header(name, value.to_owned());
        }
        let mut request = json!({
            "method": "POST",
            "url": endpoint.shown_url(payload.route),
            "headers": headers,
            "route": payload.route.label(),
            "items": payload.items,
            "points": payload.points,
            "body": body,
        });
        if self.bytes {
            request["body_base64"] = base64(&payload.body).into();
        }
        request
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let part = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let word = part(0) << 16 | part(1) << 8 | part(2);
        for place in 0..4 {
            let digit = (word >> (18 - 6 * place) & 0x3f) as usize;
            text.push(if place <= chunk.len() { char::from(DIGITS[digit]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::encode::{ContentEncoding, Route};

    #[test]
    fn bytes_are_written_four_digits_to_three() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn every_endpoint_has_its_own_line_and_no_line_the_key() {
        let key = "0123456789abcdef0123456789abcdef";
        let endpoints = vec![
            Endpoint::at("http://a:1/", key).unwrap(),
            Endpoint::at("http://user:secret@b", NO_KEY).unwrap(),
        ];
        let payload = Payload {
            route: Route::ServiceChecks,
            body: Bytes::from_static(b"[{}]"),
            encoding: ContentEncoding::Identity,
            items: 1,
            points: 1,
            uncompressed_bytes: 4,
            built_at: 0,
        };
        let mut out = Vec::new();
        DryRun::new(endpoints, true, true, &mut out).show(&payload);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains(key) && !text.contains("secret"), "{text}");
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["url"], "http://a:1/api/v1/check_run");
        assert_eq!(lines[0]["headers"]["DD-API-KEY"], "*****bcdef");
        assert_eq!(lines[0]["headers"]["Allow-Arbitrary-Tag-Value"], "true");
        assert_eq!(lines[0]["headers"]["Content-Length"], "4");
        assert_eq!(
            (&lines[0]["body"], &lines[0]["body_base64"]),
            (&json!([{}]), &"W3t9XQ==".into())
        );
        assert_eq!(lines[1]["headers"]["DD-API-KEY"], NO_KEY);
    }
}
