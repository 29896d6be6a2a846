//! One difference between two configurations, for people and for programs.

use serde_json::{Value, json};

use super::posted::{series_text, time_text, value_text};
use crate::encode::Route;

/// Tag sets that are listed; more are a number.
const LISTED_MAX: usize = 3;

/// What makes a series one series at the intake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub name: String,
    pub tags: Vec<String>,
    pub host: String,
    /// Series, sketch, event or check.
    pub what: &'static str,
}

/// A difference, and the kind of the series (`rate 10s`).
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub kind: String,
    pub change: Change,
}

/// What happened to a series.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Appears(Identity),
    Vanishes(Identity),
    /// The same values under another name, perhaps with other tags.
    Renamed {
        from: Identity,
        to: Identity,
    },
    /// The same values with other tags.
    Tags {
        from: Identity,
        to: Identity,
    },
    /// The same values on another host.
    Host {
        from: Identity,
        to: Identity,
    },
    /// Several series lost tags and are one now.
    Merged {
        from: Vec<Identity>,
        to: Identity,
    },
    /// One series got tags and is several now.
    Split {
        from: Identity,
        to: Vec<Identity>,
    },
    /// It was of another kind.
    Kind {
        series: Identity,
        before: String,
    },
    /// Some points differ.
    Value {
        series: Identity,
        route: Route,
        /// Of both sides together.
        points: usize,
        differing: usize,
        /// The second of the first one that differs, and what stands there.
        first: i64,
        before: Option<Value>,
        after: Option<Value>,
    },
}

impl Change {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Change::Appears(_) => "appears",
            Change::Vanishes(_) => "vanishes",
            Change::Renamed { .. } => "renamed",
            Change::Tags { .. } => "tags",
            Change::Host { .. } => "host",
            Change::Merged { .. } => "merged",
            Change::Split { .. } => "split",
            Change::Kind { .. } => "kind",
            Change::Value { .. } => "value",
        }
    }

    fn series(&self) -> &Identity {
        match self {
            Change::Appears(series)
            | Change::Vanishes(series)
            | Change::Renamed { from: series, .. }
            | Change::Tags { from: series, .. }
            | Change::Host { from: series, .. }
            | Change::Merged { to: series, .. }
            | Change::Split { from: series, .. }
            | Change::Kind { series, .. }
            | Change::Value { series, .. } => series,
        }
    }
}

impl Difference {
    /// The name it is listed under.
    pub fn name(&self) -> &str {
        &self.change.series().name
    }

    /// One line for people.
    pub fn text(&self) -> String {
        let series = shown(self.change.series());
        let what = match &self.change {
            Change::Appears(_) | Change::Vanishes(_) => series,
            Change::Renamed { from, to } => format!("{series} -> {}{}", to.name, tags(from, to)),
            Change::Tags { from, to } => format!("{series}{}", tags(from, to)),
            Change::Host { to, .. } if to.host.is_empty() => format!("{series} -> no host"),
            Change::Host { to, .. } => format!("{series} -> {}", to.host),
            Change::Merged { from, to } => {
                let into = series_text("", &to.tags, &to.host);
                let into = if to.tags.is_empty() { format!(" no tags{into}") } else { into };
                format!("{} series of {} into{into}: {}", from.len(), to.name, list(from))
            }
            Change::Split { to, .. } => {
                format!("{series} into {} series: {}", to.len(), list(to))
            }
            Change::Kind { before, .. } => format!("{series}: was {before}"),
            Change::Value { route, points, differing, first, before, after, .. } => {
                let value = |value: &Option<Value>| {
                    let text = value.as_ref().map(|value| value_text(*route, value));
                    text.unwrap_or_else(|| "nothing".to_owned())
                };
                let (before, after, time) = (value(before), value(after), time_text(*first));
                format!(
                    "{series}: {differing} of {points} points, first at {time}: {before} -> {after}"
                )
            }
        };
        format!("{:8}  {}  {what}", self.change.word(), self.kind)
    }

    /// The same as an object.
    pub fn json(&self) -> Value {
        let mut object = json!({ "change": self.change.word(), "kind": self.kind });
        let mut set = |name: &str, value: Value| object[name] = value;
        match &self.change {
            Change::Appears(series) | Change::Vanishes(series) => set("series", identity(series)),
            Change::Renamed { from, to }
            | Change::Tags { from, to }
            | Change::Host { from, to } => {
                set("from", identity(from));
                set("to", identity(to));
            }
            Change::Merged { from, to } => {
                set("from", from.iter().map(identity).collect());
                set("to", identity(to));
            }
            Change::Split { from, to } => {
                set("from", identity(from));
                set("to", to.iter().map(identity).collect());
            }
            Change::Kind { series, before } => {
                set("series", identity(series));
                set("before", before.as_str().into());
            }
            Change::Value { series, points, differing, first, before, after, .. } => {
                set("series", identity(series));
                set("points", (*points).into());
                set("differing", (*differing).into());
                set("timestamp", (*first).into());
                set("before", before.clone().unwrap_or_default());
                set("after", after.clone().unwrap_or_default());
            }
        }
        object
    }
}

fn shown(series: &Identity) -> String {
    series_text(&series.name, &series.tags, &series.host)
}

fn identity(series: &Identity) -> Value {
    json!({ "name": series.name, "tags": series.tags, "host": series.host })
}

/// `  tags -gone +new`, nothing when they are the same.
fn tags(from: &Identity, to: &Identity) -> String {
    let less = |of: &Identity, not: &Identity, sign: &str| -> String {
        let gone = of.tags.iter().filter(|tag| not.tags.binary_search(tag).is_err());
        gone.map(|tag| format!(" {sign}{tag}")).collect()
    };
    let both = less(from, to, "-") + &less(to, from, "+");
    if both.is_empty() { both } else { format!("  tags{both}") }
}

fn list(series: &[Identity]) -> String {
    let sets = series.iter().take(LISTED_MAX).map(|one| format!("{{{}}}", one.tags.join(",")));
    let mut text = sets.collect::<Vec<_>>().join(", ");
    if series.len() > LISTED_MAX {
        text += &format!(" and {} more", series.len() - LISTED_MAX);
    }
    text
}
