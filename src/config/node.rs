//! The tree that every source is parsed into before keys are interpreted.
//!
//! Scalars keep their written text: whether `08125`, `1e10` or an API key of digits is a number is
//! decided by the type of the key, not by the file format.

use std::fmt;

/// A position in a file, starting at 1. Zeros mean that the position is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// A value and its position.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) tree: Tree,
    pub(super) at: At,
}

/// The shape of a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: At,
    pub(super) value: Node,
}

impl Node {
    /// A scalar from a source without positions: environment, flag, default.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Node { tree: Tree::Text(text.into()), at: At::default() }
    }

    /// A JSON document as a tree. The parser limits its depth (128).
    pub(super) fn json(text: &str) -> Result<Self, String> {
        serde_json::from_str::<serde_json::Value>(text).map(from_json).map_err(|error| {
            format!("is not valid JSON ({} at column {})", json_reason(&error), error.column())
        })
    }

    /// The text of a scalar; `None` for every other shape.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.tree {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The reason without serde_json's position, and without quoting the input.
fn json_reason(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        _ => "syntax error",
    }
}

fn from_json(value: serde_json::Value) -> Node {
    use serde_json::Value as Json;
    let tree = match value {
        Json::Null => Tree::Null,
        Json::Bool(flag) => Tree::Text(flag.to_string()),
        Json::Number(number) => Tree::Text(number.to_string()),
        Json::String(text) => Tree::Text(text),
        Json::Array(items) => Tree::List(items.into_iter().map(from_json).collect()),
        Json::Object(items) => Tree::Map(
            items
                .into_iter()
                .map(|(key, value)| Entry { key, key_at: At::default(), value: from_json(value) })
                .collect(),
        ),
    };
    Node { tree, at: At::default() }
}

impl fmt::Display for Node {
    /// One line, like JSON but without quotes around strings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tree {
            Tree::Null => f.write_str("null"),
            Tree::Text(text) => write!(f, "{}", text.escape_debug()),
            Tree::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Tree::Map(items) => {
                f.write_str("{")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: {}", item.key.escape_debug(), item.value)?;
                }
                f.write_str("}")
            }
        }
    }
}
