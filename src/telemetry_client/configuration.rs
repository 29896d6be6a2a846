//! Settings with their origins: all that were ever told, and which of them changed.

use std::collections::{BTreeMap, BTreeSet};

use super::payload::{Origin, Payload, Setting};

/// Settings kept, as in libdatadog; one more of a new name is refused.
const SETTINGS_MAX: usize = 5_000;

/// Words in names of settings whose values nobody else may see.
const SENSITIVE: [&str; 9] = [
    "api_key",
    "apikey",
    "app_key",
    "application_key",
    "passw",
    "secret",
    "token",
    "credential",
    "private_key",
];

/// True for a setting that is never reported.
pub(super) fn is_sensitive(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['.', '-', ' '], "_");
    SENSITIVE.iter().any(|word| name.contains(word))
}

type Key = (String, Origin);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    settings: BTreeMap<Key, Setting>,
    pending: BTreeSet<Key>,
    last_number: u64,
}

impl Configuration {
    /// Takes a setting over; false if there is no room for another name.
    pub fn add(&mut self, setting: Setting) -> bool {
        if is_sensitive(&setting.name) {
            return true;
        }
        let key = (setting.name.clone(), setting.origin);
        if self.says_nothing_new(&key, &setting) {
            return true;
        }
        if !self.settings.contains_key(&key) && self.settings.len() == SETTINGS_MAX {
            return false;
        }
        self.pending.insert(key.clone());
        self.settings.insert(key, setting);
        true
    }

    /// True for the value that is in force already: of all origins of its name, it was told last.
    fn says_nothing_new(&self, key: &Key, setting: &Setting) -> bool {
        let all = (key.0.clone(), Origin::Default)..=(key.0.clone(), Origin::Unknown);
        let latest = self.settings.range(all.clone()).map(|(_, one)| one.seq_id).max();
        let others_pending = self.pending.range(all).any(|pending| pending != key);
        let same =
            |known: &Setting| known.value == setting.value && known.config_id == setting.config_id;
        setting.seq_id == 0
            && !others_pending
            && self
                .settings
                .get(key)
                .is_some_and(|known| same(known) && Some(known.seq_id) == latest)
    }

    /// What changed since the last time. A setting without a number gets the next one here and keeps it.
    pub fn payload(&mut self) -> Option<Payload> {
        let mut configuration = Vec::new();
        for key in std::mem::take(&mut self.pending) {
            let Some(setting) = self.settings.get_mut(&key) else { continue };
            if setting.seq_id == 0 {
                self.last_number += 1;
                setting.seq_id = self.last_number;
            }
            // Numbers that the caller gave do not come twice either.
            self.last_number = self.last_number.max(setting.seq_id);
            configuration.push(setting.clone());
        }
        let changed = !configuration.is_empty();
        changed.then_some(Payload::AppClientConfigurationChange { configuration })
    }

    /// Everything that was reported so far.
    pub fn all(&self) -> Vec<Setting> {
        self.settings.values().filter(|setting| setting.seq_id > 0).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, value: &str, origin: Origin) -> Setting {
        Setting::new(name, value, origin)
    }

    fn told(configuration: &mut Configuration) -> Vec<(String, String, Origin, u64)> {
        match configuration.payload() {
            Some(Payload::AppClientConfigurationChange { configuration }) => configuration
                .into_iter()
                .map(|setting| {
                    let value = serde_json::to_string(&setting.value).unwrap();
                    (setting.name, value, setting.origin, setting.seq_id)
                })
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_changes_are_told_and_everything_is_remembered() {
        let mut configuration = Configuration::default();
        assert_eq!(configuration.payload(), None);
        configuration.add(setting("port", "8125", Origin::default()));
        configuration.add(setting("port", "9000", Origin::EnvVar));
        let row =
            |value: &str, origin, number| ("port".to_owned(), value.to_owned(), origin, number);
        assert_eq!(
            told(&mut configuration),
            [row("\"8125\"", Origin::Default, 1), row("\"9000\"", Origin::EnvVar, 2)]
        );
        assert_eq!(configuration.payload(), None);
        configuration.add(setting("port", "9001", Origin::EnvVar));
        assert_eq!(told(&mut configuration), [row("\"9001\"", Origin::EnvVar, 3)]);
        assert_eq!(configuration.all().len(), 2);
    }

    #[test]
    fn what_is_in_force_already_is_not_told_again_and_what_comes_back_is() {
        let mut configuration = Configuration::default();
        configuration.add(setting("port", "8125", Origin::Default));
        configuration.payload();
        configuration.add(setting("port", "8125", Origin::Default));
        assert_eq!(configuration.payload(), None);
        configuration.add(setting("port", "9000", Origin::DdConfig));
        configuration.payload();
        // The file says nothing of it any more.
        configuration.add(setting("port", "8125", Origin::Default));
        let row = ("port".to_owned(), "\"8125\"".to_owned(), Origin::Default, 3);
        assert_eq!(told(&mut configuration), [row]);
        // Of a whole configuration read again, what changed is told.
        configuration.add(setting("site", "a", Origin::Code));
        configuration.payload();
        configuration.add(setting("port", "9001", Origin::DdConfig));
        configuration.add(setting("site", "a", Origin::Code));
        let names: Vec<String> = told(&mut configuration).into_iter().map(|row| row.0).collect();
        assert_eq!(names, ["port"]);
    }

    #[test]
    fn a_number_that_the_caller_gave_stays_and_the_next_one_is_larger() {
        let mut configuration = Configuration::default();
        configuration.add(Setting { seq_id: 7, ..setting("a", "1", Origin::Code) });
        configuration.add(setting("b", "1", Origin::Code));
        let numbers: Vec<u64> = told(&mut configuration).into_iter().map(|row| row.3).collect();
        assert_eq!(numbers, [7, 8]);
    }

    #[test]
    fn sensitive_names_are_dropped() {
        let mut configuration = Configuration::default();
        for name in ["api_key", "DD_API_KEY", "proxy.password", "auth-token", "secret_backend"] {
            assert!(configuration.add(setting(name, "x", Origin::EnvVar)));
            assert_eq!(configuration.payload(), None, "{name}");
        }
        assert!(configuration.all().is_empty());
    }

    #[test]
    fn one_name_too_many_is_refused_and_a_known_one_is_not() {
        let mut configuration = Configuration::default();
        for number in 0..SETTINGS_MAX {
            assert!(configuration.add(setting(&number.to_string(), "1", Origin::Code)));
        }
        assert!(!configuration.add(setting("one more", "1", Origin::Code)));
        assert!(configuration.add(setting("0", "2", Origin::Code)));
    }
}
