//! Bytes as text: the wire does not promise UTF-8, protobuf strings and JSON demand it.

use std::borrow::Cow;

/// `bytes` as UTF-8, each run of invalid bytes replaced by one U+FFFD and counted in `replaced`.
#[inline]
pub(crate) fn utf8<'a>(bytes: &'a [u8], replaced: &mut u64) -> Cow<'a, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(repair(bytes, replaced)),
    }
}

#[cold]
fn repair(bytes: &[u8], replaced: &mut u64) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    let mut in_run = false;
    for chunk in bytes.utf8_chunks() {
        // std ends a chunk at every broken sequence; neighbours without text between are one run.
        in_run &= chunk.valid().is_empty();
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            if !in_run {
                text.push(char::REPLACEMENT_CHARACTER);
                *replaced += 1;
            }
            in_run = true;
        }
    }
    text
}

/// What [`utf8_bytes`] returns, of bytes that may be owned; true when something was replaced.
pub(super) fn repair_in_place(bytes: &mut Cow<'_, [u8]>) -> bool {
    let mut replaced = 0;
    if let Cow::Owned(text) = utf8_bytes(bytes, &mut replaced)
        && replaced > 0
    {
        *bytes = Cow::Owned(text);
    }
    replaced > 0
}

/// What [`utf8`] returns, as bytes. Most text is ASCII and short: telling that takes half as long as
/// validating it.
#[inline]
pub(crate) fn utf8_bytes<'a>(bytes: &'a [u8], replaced: &mut u64) -> Cow<'a, [u8]> {
    if bytes.is_ascii() {
        return Cow::Borrowed(bytes);
    }
    match utf8(bytes, replaced) {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(bytes: &[u8], expect: &str, expect_replaced: u64) {
        let mut replaced = 0;
        assert_eq!(utf8(bytes, &mut replaced), expect);
        assert_eq!(replaced, expect_replaced);
        assert_eq!(*utf8_bytes(bytes, &mut replaced), *expect.as_bytes());
        assert_eq!(replaced, 2 * expect_replaced);
    }

    #[test]
    fn a_run_of_invalid_bytes_becomes_one_replacement_character() {
        reads(b"", "", 0);
        reads("grün".as_bytes(), "grün", 0);
        reads(b"\xFF\xFE", "\u{FFFD}", 1);
        reads(b"a\xFF\xFEb\xC3c", "a\u{FFFD}b\u{FFFD}c", 2);
        reads(b"\xE2\x82", "\u{FFFD}", 1);
        reads(b"\xE2\x82\xFF\xE2\x82\xACx\xFF", "\u{FFFD}€x\u{FFFD}", 2);
    }
}
