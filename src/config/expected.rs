//! What a value of each type looks like, for messages and the reference page.

use std::time::Duration;

use super::key::Kind;
use super::types::{Aggregate, Transport};
use super::units::show_duration;

/// What a value of this kind looks like, for messages and the reference.
pub(super) fn expected(kind: Kind) -> String {
    match kind {
        Kind::Bool => "true or false".into(),
        Kind::Integer { min, max: i64::MAX } => format!("a whole number, {min} or more"),
        Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Float { min, max } if max == f64::MAX => format!("a number, {min} or more"),
        Kind::Float { min, max } => format!("a number from {min} to {max}"),
        Kind::Text => "a string".into(),
        Kind::Secret => "a key without whitespace".into(),
        Kind::Password => "a password".into(),
        Kind::Url => "an absolute URL such as https://host:port".into(),
        Kind::Upstream => "http://host:port or unix:///path".into(),
        Kind::Proxy => "a URL such as http://user:password@host:port".into(),
        Kind::Path => "a path".into(),
        Kind::Hostname => {
            "letters, digits, hyphens and dots, at most 255 characters, not localhost".into()
        }
        Kind::Site => "a domain without scheme, such as datadoghq.eu".into(),
        Kind::Choice(words) => words.join(", "),
        Kind::Duration { unit, min, max, whole_seconds } => {
            let whole = if whole_seconds { "whole " } else { "" };
            let bare = match unit.as_millis() {
                1 => "milliseconds",
                1_000 => "seconds",
                60_000 => "minutes",
                _ => "days",
            };
            let least = match min.is_zero() {
                true => String::new(),
                false => format!(", {} or more", show_duration(min)),
            };
            let most = match max < Duration::from_secs(365 * 86_400) {
                true => format!(", at most {}", show_duration(max)),
                false => String::new(),
            };
            format!("{whole}{bare}, or a duration such as 1m30s{least}{most}")
        }
        Kind::Bytes { .. } => "a number of bytes, or a size such as 10Mb".into(),
        Kind::Mode => "octal permissions such as 0722".into(),
        Kind::Port => "a port from 1 to 65535, 0 for off, or __random__ for any free one".into(),
        Kind::Words | Kind::Arguments => "a list of strings".into(),
        Kind::Outputs => "a list of console, jsonl[:path], datadog, dry-run[:bytes], none".into(),
        Kind::Percentiles => "a list of numbers from 0 to 1".into(),
        Kind::Aggregates => format!("a list of {}", Aggregate::WORDS.join(", ")),
        Kind::Transports => format!("a list of {}", Transport::WORDS.join(", ")),
        Kind::Pairs => "a map from string to string".into(),
        Kind::Endpoints => "a map from URL to a list of API keys".into(),
        Kind::Profiles => "a list of mapper profiles".into(),
        Kind::TagFilters => "a list of tag filters".into(),
    }
}
