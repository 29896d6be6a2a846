//! JSON of clients: bounded depth, and lists that are read one element at a time.
//!
//! Nothing here makes a tree of values: an element is a slice of the body until a typed reader takes it,
//! so memory never grows past a small multiple of the body, whatever it says of its own size.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Refusal;

/// Lists and objects inside each other; deeper is refused.
pub(crate) const NESTING_MAX: usize = 32;

/// The whole body as one object. Refused (400): no UTF-8, nested too deep, not JSON, no object, or
/// bytes after its end.
pub(crate) fn body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    let text = readable(body)?;
    if !text.trim_start().starts_with('{') {
        return Err(Refusal::decode("expected one JSON object"));
    }
    serde_json::from_str(text).map_err(|error| Refusal::decode(description(&error)))
}

/// The whole body as one value of any kind. Refused (400) as in [`body`].
pub(crate) fn any_body(body: &[u8]) -> Result<&RawValue, Refusal> {
    let text = readable(body)?;
    serde_json::from_str(text).map_err(|error| Refusal::decode(description(&error)))
}

/// The body as text that is not nested too deep for a parser.
fn readable(body: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Refusal::decode(format!("no UTF-8 at byte {}", error.valid_up_to())))?;
    if nests_deeper(body, NESTING_MAX) {
        let message = format!("lists and objects may be nested {NESTING_MAX} deep, not deeper");
        return Err(Refusal::decode(message));
    }
    Ok(text)
}

/// What is wrong and where; the texts of serde_json may quote the body.
fn description(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Eof => "the JSON ends too early",
        Category::Data => "a field has another type than expected",
        Category::Syntax | Category::Io => "no valid JSON",
    };
    format!("{what}, line {} column {}", error.line(), error.column())
}

/// One object inside a body; none when it is something else or a field has the wrong type.
pub(crate) fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    // A list would be taken for the fields in their order.
    raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

/// One value inside a body that is no object.
pub(crate) fn value<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// Calls `take` for every element of a list. A list that is missing is empty; false when it is
/// something else.
pub(crate) fn each<'a>(list: Option<&'a RawValue>, mut take: impl FnMut(&'a RawValue)) -> bool {
    struct Each<'f, F>(&'f mut F);
    impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Each<'_, F> {
        type Value = ();
        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
            while let Some(element) = list.next_element()? {
                (self.0)(element);
            }
            Ok(())
        }
    }
    let Some(list) = list else { return true };
    let mut reader = serde_json::Deserializer::from_str(list.get());
    reader.deserialize_seq(Each(&mut take)).is_ok()
}

/// Whether lists and objects stand more than `limit` deep inside each other. Of bytes that are no JSON
/// it says something, quickly and without recursion.
fn nests_deeper(body: &[u8], limit: usize) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// A text, borrowed from the body where it has no escapes. Missing, null and `""` are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsText;
        impl<'de> Visitor<'de> for AsText {
            type Value = Text<'de>;
            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a text or null")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(AsText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Sample<'a> {
        #[serde(borrow)]
        name: Text<'a>,
        #[serde(borrow)]
        list: Option<&'a RawValue>,
    }

    fn refused(input: &[u8]) -> String {
        let refusal = body::<Sample<'_>>(input).expect_err("refused");
        assert_eq!(refusal.status, 400);
        refusal.message
    }

    #[test]
    fn missing_null_and_empty_are_alike() {
        for input in [r#"{"name":null}"#, r#"{"name":""}"#, "{}", r#" {"list":null} "#] {
            let read: Sample<'_> = body(input.as_bytes()).expect("readable");
            assert!(read.name.is_empty() && read.list.is_none(), "{input}");
        }
        let read: Sample<'_> = body(br#"{"name":"a\u0062","other":[{}]}"#).expect("readable");
        assert_eq!(&*read.name, "ab");
    }

    #[test]
    fn lists_are_taken_one_by_one() {
        let read: Sample<'_> = body(br#"{"list":[1, "x",[2],null]}"#).expect("readable");
        let mut seen = Vec::new();
        assert!(each(read.list, |element| seen.push(element.get())));
        assert_eq!(seen, ["1", "\"x\"", "[2]", "null"]);
        let read: Sample<'_> = body(br#"{"list":{"a":1}}"#).expect("readable");
        assert!(!each(read.list, |_| unreachable!("no list")));
        assert!(each(None, |_| unreachable!("no list")));
    }

    #[test]
    fn an_object_is_no_list() {
        let raw: Sample<'_> = body(br#"{"list":["x"]}"#).expect("readable");
        assert!(object::<Sample<'_>>(raw.list.expect("a list")).is_none());
    }

    #[test]
    fn what_cannot_be_read_names_the_place_and_not_the_content() {
        assert_eq!(refused(b"[]"), "expected one JSON object");
        assert_eq!(refused(b""), "expected one JSON object");
        assert_eq!(refused(b"{\"name\":\"\xff\"}"), "no UTF-8 at byte 9");
        assert_eq!(refused(br#"{"name":"secret"#), "the JSON ends too early, line 1 column 15");
        assert_eq!(refused(br#"{"name":"a"} {}"#), "no valid JSON, line 1 column 14");
        assert_eq!(
            refused(br#"{"name":17}"#),
            "a field has another type than expected, line 1 column 10"
        );
    }

    #[test]
    fn nesting_is_bounded_and_texts_do_not_nest() {
        let nested = |depth: usize| {
            format!("{{\"list\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
        };
        assert!(body::<Sample<'_>>(nested(32).as_bytes()).is_ok());
        assert!(refused(nested(33).as_bytes()).contains("32 deep"));
        let text = format!(r#"{{"name":"\"{}\\","list":[]}}"#, "[".repeat(100));
        assert!(body::<Sample<'_>>(text.as_bytes()).is_ok());
    }
}
