//! What a reload changes: the keys whose values differ, and which of them can change while running.

use super::keys;
use super::load::Loaded;
use super::problem::{Class, Problem, ValueOrigin};
use super::settings;
use super::value::show;

/// Characters shown of a value.
const SHOWN: usize = 120;

/// A key with another value than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: &'static str,
    /// The value that was in force, as text without secrets.
    pub before: String,
    /// The value in the sources now, as text without secrets.
    pub after: String,
    /// It is in force now; otherwise it needs a restart.
    pub in_force: bool,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Two secrets that end alike, or two lists of rules.
        if self.before == self.after {
            return write!(f, "{} {} (changed)", self.key, self.after);
        }
        write!(f, "{} {} → {}", self.key, self.before, self.after)
    }
}

impl Loaded {
    /// What keeps `new` from replacing this configuration although a start would accept it: the file
    /// has lost all its settings, or a list of rules cannot be used at all. At a start there is nothing
    /// better to run with.
    #[must_use]
    pub fn refusals(&self, new: &Loaded) -> Vec<Problem> {
        let mut refusals: Vec<Problem> = new
            .warnings
            .iter()
            // An entry has an index or a name after the key.
            .filter(|problem| problem.class == Class::Entry && keys::find(&problem.key).is_some())
            .filter(|problem| !self.warnings.iter().any(|known| known.message == problem.message))
            .cloned()
            .collect();
        if let (Some(origin), None) = (self.file_origin(), new.file_origin()) {
            let ValueOrigin::File { path, .. } = origin else { return refusals };
            refusals.push(Problem {
                class: Class::Value,
                origin: ValueOrigin::File { path: path.clone(), at: super::node::At::default() },
                key: String::new(),
                message: "sets nothing any more; write it again, or restart without its settings"
                    .to_owned(),
            });
        }
        refusals
    }

    fn file_origin(&self) -> Option<&ValueOrigin> {
        self.origins.values().find(|origin| matches!(origin, ValueOrigin::File { .. }))
    }

    /// Takes over from `new` what can change while running. Keys that need a restart keep their
    /// values, and are named again by the next reload.
    pub fn reload(&mut self, new: &Loaded) -> Vec<Change> {
        let mut changes = Vec::new();
        for key in keys::all() {
            let (Some(before), Some(after)) = (self.values.get(key.name), new.values.get(key.name))
            else {
                continue;
            };
            if before == after {
                continue;
            }
            changes.push(Change {
                key: key.name,
                before: short(&show(before)),
                after: short(&show(after)),
                in_force: key.reloads,
            });
            if key.reloads {
                self.values.insert(key.name, after.clone());
                self.origins.insert(key.name, new.origin(key.name));
            }
        }
        self.warnings.clone_from(&new.warnings);
        // The values were built into a configuration before; this cannot fail.
        if let Ok(config) = settings::build(&|name| self.values.get(name)) {
            self.config = config;
        }
        changes
    }
}

fn short(text: &str) -> String {
    crate::text::printable(text.as_bytes(), SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mode, Port, Sources, load};

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn loaded(yaml: &str, flags: &[(&str, &str)]) -> Loaded {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("w.yaml");
        std::fs::write(&file, yaml).unwrap();
        let flags = flags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        load(Sources { file: Some(file), env: [], flags, mode: Mode::Run }).unwrap()
    }

    fn shown(changes: &[Change]) -> Vec<String> {
        let mark = |change: &Change| if change.in_force { "in force" } else { "restart" };
        changes.iter().map(|change| format!("{change}: {}", mark(change))).collect()
    }

    #[test]
    fn a_reload_takes_over_what_can_change_and_names_the_rest_each_time() {
        let mut running = loaded("tags: [a:1]\ndogstatsd_port: 8125\n", &[("api_key", KEY)]);
        let new =
            loaded("tags: [a:2]\ndogstatsd_port: 9126\nlog_level: debug\n", &[("api_key", KEY)]);
        assert_eq!(
            shown(&running.reload(&new)),
            [
                "tags [a:1] → [a:2]: in force",
                "dogstatsd_port 8125 → 9126: restart",
                "log_level info → debug: in force",
            ]
        );
        assert_eq!(running.config.tags, ["a:2"]);
        assert_eq!(running.config.dogstatsd_port, Port::Fixed(8125));
        assert_eq!(shown(&running.reload(&new)), ["dogstatsd_port 8125 → 9126: restart"]);
    }

    #[test]
    fn secrets_are_not_shown_and_a_change_without_a_visible_difference_is_named() {
        let mut running = loaded("", &[("api_key", KEY)]);
        let other = format!("ffff{}", &KEY[4..]);
        let changes = shown(&running.reload(&loaded("", &[("api_key", &other)])));
        assert_eq!(changes, ["api_key *****bcdef (changed): in force"]);
        let changes = shown(&running.reload(&loaded("", &[("api_key", "9999999999999999aaaaa")])));
        assert_eq!(changes, ["api_key *****bcdef → *****aaaaa: in force"]);
    }

    #[test]
    fn a_file_that_lost_everything_and_unusable_rules_are_refused() {
        let key = &[("api_key", KEY)];
        let good = loaded("tags: [a:1]\nhistogram_percentiles: [0.5]\n", key);
        for empty in ["", "# nothing\n", "logs_enabled: true\n"] {
            let refusals = good.refusals(&loaded(empty, key));
            assert!(
                refusals.len() == 1 && refusals[0].message.starts_with("sets nothing"),
                "{empty}"
            );
        }
        let unusable = loaded("tags: [a:1]\nhistogram_percentiles: {a: 1}\n", key);
        assert_eq!(good.refusals(&unusable).len(), 1);
        assert_eq!(unusable.refusals(&unusable), [], "it was started with them");
        let entry = loaded("tags: [a:1]\nhistogram_percentiles: [0.5, 7]\n", key);
        assert_eq!(good.refusals(&entry), [], "one entry is skipped, as at a start");
        assert_eq!(loaded("", key).refusals(&loaded("", key)), [], "it never had a setting");
    }
}
