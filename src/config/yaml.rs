//! Parses YAML into a [`Node`]. The only file that uses the YAML library.
//!
//! Input: the text of a file. Output: its tree, with line and column of every key and value. Size,
//! depth and aliases are limited. Duplicate keys and multiple documents are errors, and messages never
//! quote the file, which may contain a key.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Spanned};

use super::node::{At, Entry, Node, Tree};
use super::yaml_words::{self, Broken};

/// The Agent's commented sample is about 250 KiB; this leaves room for many profiles.
pub(super) const FILE_BYTES_MAX: usize = 4 << 20;
const DEPTH_MAX: usize = 64;
const NODES_MAX: usize = 200_000;
const ALIASES_MAX: usize = 1_000;

/// Reads one document. An empty file is an empty map.
pub(super) fn parse(text: &str) -> Result<Node, Broken> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > FILE_BYTES_MAX {
        let message = format!("is {} bytes long; the limit is {FILE_BYTES_MAX}", text.len());
        return Err(Broken { at: At::default(), message });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_aliases: ALIASES_MAX,
            max_documents: 1,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: NODES_MAX,
            max_replay_stack_depth: 16,
        },
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let raw: Raw = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().map(at).unwrap_or_default();
        let message = error.to_string();
        if message.contains("duplicate") {
            return Broken { at, message: yaml_words::duplicate(text, at) };
        }
        let open = yaml_words::unclosed(text);
        open.unwrap_or_else(|| Broken { at, message: reason(&message) })
    })?;
    Ok(raw.into_node(text))
}

/// The library's reason, simplified and without its position, which is reported separately.
fn reason(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    for (part, words) in [
        ("Documents {", "it contains several documents; keep one"),
        ("budget breached", "it is too large or too deeply nested"),
        ("null into string", "a key has no name"),
        ("expected string scalar", "a key is not a string"),
    ] {
        if line.contains(part) {
            return words.to_owned();
        }
    }
    line.split(" at line ").next().unwrap_or(line).trim_start_matches("error: ").to_owned()
}

fn at(location: Location) -> At {
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    At { line: small(location.line()), column: small(location.column()) }
}

struct Raw(Spanned<Shape>);

enum Shape {
    Null,
    /// A string to the library: quotes and escapes are resolved.
    Text(String),
    /// A number or boolean to the library: the written form is sliced from the source.
    Typed(String),
    List(Vec<Raw>),
    Map(Vec<(Spanned<String>, Raw)>),
}

impl Raw {
    fn into_node(self, source: &str) -> Node {
        let Spanned { value, referenced, defined } = self.0;
        let tree = match value {
            Shape::Null => Tree::Null,
            Shape::Text(text) => Tree::Text(text),
            Shape::Typed(text) => Tree::Text(written(source, defined).map_or(text, str::to_owned)),
            Shape::List(items) => {
                Tree::List(items.into_iter().map(|item| item.into_node(source)).collect())
            }
            Shape::Map(items) => {
                Tree::Map(items.into_iter().map(|(key, value)| entry(key, value, source)).collect())
            }
        };
        Node { tree, at: at(referenced) }
    }
}

fn entry(key: Spanned<String>, value: Raw, source: &str) -> Entry {
    Entry { key: key.value, key_at: at(key.referenced), value: value.into_node(source) }
}

/// A number as written in the file: an API key of digits must not be parsed as a float.
fn written(source: &str, location: Location) -> Option<&str> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    let text = source.get(start..end)?.trim();
    (!text.is_empty() && !text.contains(['\n', ' ', '&', '!', '*'])).then_some(text)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::<Shape>::deserialize(deserializer).map(Raw)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a scalar, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::Text(value.to_owned()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Shape, E> {
        Ok(Shape::Text(String::from_utf8_lossy(value).into_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Shape::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut map = Vec::new();
        while let Some(item) = items.next_entry()? {
            map.push(item);
        }
        Ok(Shape::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, expect: &str) {
        assert_eq!(parse(text).unwrap().to_string(), expect);
    }

    #[track_caller]
    fn refuses(text: &str, line: u32, column: u32, about: &str) {
        let broken = parse(text).unwrap_err();
        assert_eq!(broken.at, At { line, column }, "{}", broken.message);
        assert!(broken.message.contains(about), "{}", broken.message);
    }

    #[test]
    fn scalars_stay_as_they_are_written() {
        reads("a: 0722", "{a: 0722}");
        reads("a: 12345678e90123456789012345678901", "{a: 12345678e90123456789012345678901}");
        reads("a: 00000000000000000000000000000000", "{a: 00000000000000000000000000000000}");
        reads("a: 1.0\nb: yes\nc: True", "{a: 1.0, b: yes, c: True}");
        reads("a: [0.95, '0.99', 1_000]", "{a: [0.95, 0.99, 1_000]}");
        reads("a: .inf", "{a: .inf}");
        reads("ä: 'ö'\nb: 0x10 # ü", "{ä: ö, b: 0x10}");
    }

    #[test]
    fn shapes_nest_and_nothing_is_null() {
        reads("", "null");
        reads("# only a comment\n", "null");
        reads("---\na:\n  - b: {c: 1}\n  -\n", "{a: [{b: {c: 1}}, null]}");
        reads("a: &x 5\nb: *x\n", "{a: 5, b: 5}");
        reads("\u{feff}a: 1", "{a: 1}");
    }

    #[test]
    fn keys_and_values_know_their_place() {
        let root = parse("a: 1\nproxy:\n  https: x\n").unwrap();
        let Tree::Map(entries) = root.tree else { panic!("no map") };
        assert_eq!(entries[0].value.at, At { line: 1, column: 4 });
        assert_eq!(entries[1].key_at, At { line: 2, column: 1 });
        let Tree::Map(inner) = &entries[1].value.tree else { panic!("no map") };
        assert_eq!(inner[0].key_at, At { line: 3, column: 3 });
        assert_eq!(inner[0].value.at, At { line: 3, column: 10 });
    }

    #[test]
    fn broken_files_are_refused_with_a_place() {
        refuses("a: 1\na: 2\n", 2, 1, "the key a is there twice, first in line 1; remove one");
        refuses("a:\n  b: 1\n  c: 1\n  b: 2\n", 4, 3, "the key b is there twice, first in line 2");
        refuses("a: [1\nb: 2\n", 1, 4, "the [ is not closed; add ]");
        refuses("# [\na: x [y\nb: {c: [1, ']'], d: 2\n", 3, 4, "the { is not closed; add }");
        refuses("a: 1\nb: \"x\nc: 2\n", 2, 4, "the \" is not closed; add another");
        refuses("a: 'it''s\n", 1, 4, "the ' is not closed; add another");
        refuses("a: 1\n---\nb: 2\n", 2, 1, "several documents");
        refuses("a: 1\n~: 2\n", 2, 1, "a key has no name");
        refuses("? [a]\n: 2\n", 1, 3, "a key is not a string");
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let of = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb += &format!("a{level}: &a{level} [{of}]\n");
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&("[".repeat(1_000) + &"]".repeat(1_000))).is_err());
        assert!(parse(&"x".repeat(FILE_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn messages_do_not_quote_the_file() {
        let broken = parse("api_key: \"abcdefabcdefabcdef\nx: [").unwrap_err();
        assert!(!broken.message.contains("abcdef"), "{}", broken.message);
    }
}
