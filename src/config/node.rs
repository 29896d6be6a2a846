//! The tree that every source of values is brought into before any key is looked at.
//!
//! Scalars stay the text that was written: `08125`, `1e10` or a key of digits only are told apart
//! by the type of the key they stand under, not by a guess of the file format.

use std::fmt;

/// A place in a file, both numbers from 1. Zeros mean that the place is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// One value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) tree: Tree,
    pub(super) at: At,
}

/// The shapes a value can have.
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
    /// A scalar from a place without lines: environment, flag, default.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Node { tree: Tree::Text(text.into()), at: At::default() }
    }

    /// A JSON document as a tree. Its depth is bounded by the reader (128).
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

/// serde_json's message without its own position, and never with the text it read.
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
    /// One line, as JSON would write it, without quotes around plain words.
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
