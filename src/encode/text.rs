//! Bytes as strings of protobuf and JSON.

use crate::context::{utf8, utf8_bytes};
use crate::protobuf;

/// A protobuf string field.
#[inline]
pub(super) fn put_field(into: &mut Vec<u8>, key: u8, bytes: &[u8], replaced: &mut u64) {
    protobuf::put_bytes(into, key, &utf8_bytes(bytes, replaced));
}

/// A JSON string, quoted and escaped.
pub(super) fn put_json(into: &mut Vec<u8>, bytes: &[u8], replaced: &mut u64) {
    put_json_str(into, &utf8(bytes, replaced));
}

/// A JSON string of what is text already.
pub(super) fn put_json_str(into: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(into, text).expect("a string has a JSON form and a Vec takes all of it");
}

/// A JSON array of strings.
pub(super) fn put_json_array<'a>(
    into: &mut Vec<u8>,
    items: impl Iterator<Item = &'a [u8]>,
    replaced: &mut u64,
) {
    into.push(b'[');
    for (place, item) in items.enumerate() {
        if place > 0 {
            into.push(b',');
        }
        put_json(into, item, replaced);
    }
    into.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_after_the_repair() {
        let mut out = Vec::new();
        let mut replaced = 0;
        put_json_array(&mut out, [&b"a\"\\\n\x01"[..], b"", b"\xFF"].into_iter(), &mut replaced);
        assert_eq!(out, "[\"a\\\"\\\\\\n\\u0001\",\"\",\"\u{FFFD}\"]".as_bytes());
        assert_eq!(replaced, 1);
    }
}
