//! What is tracked. The names of the environment are those of the Datadog tracers.

use std::time::Duration;

/// Whose handlers are tracked, by the file that records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Modules {
    /// The program's own.
    #[default]
    User,
    /// Those of packages from a registry or a git repository.
    ThirdParty,
    /// Both.
    All,
}

/// What an [`Tracker`](super::Tracker) records and how often it reports.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose handlers are tracked.
    pub modules: Modules,
    /// Only these modules and what lies below them (`shop::db`); empty for all that `modules` allows. In
    /// place of the program's own package stands `program`, unless it lies in a workspace folder of its name.
    pub include: Vec<String>,
    /// Name of the counter, without the namespace of its sink.
    pub metric: String,
    /// Send an event with the messages of the chain and a backtrace, once per fingerprint and
    /// `sample_interval`. Messages may hold data of users, so this is off by default.
    pub events: bool,
    /// How long after a sample of a fingerprint no other one is taken. At least one `flush_interval`.
    pub sample_interval: Duration,
    /// How often counts go to the sink. Zero for never: the program calls [`Tracker::flush`](super::Tracker::flush).
    pub flush_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            modules: Modules::default(),
            include: Vec::new(),
            metric: "handled_errors".to_owned(),
            events: false,
            sample_interval: Duration::from_secs(600),
            flush_interval: Duration::from_secs(10),
        }
    }
}

/// A word of the environment that is none of the known ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("DD_ERROR_TRACKING_HANDLED_ERRORS: `{0}` is none of user, third_party, all; empty is off")]
pub struct SettingsError(String);

impl Settings {
    /// As the tracers read the environment: `DD_ERROR_TRACKING_HANDLED_ERRORS` is `user`, `third_party`,
    /// `all`, or empty for off; `DD_ERROR_TRACKING_HANDLED_ERRORS_INCLUDE` is a list of modules with
    /// commas, which turns tracking on by itself (of all modules in it). None when it is off.
    ///
    /// # Errors
    /// When the first is another word.
    pub fn from_env(
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Settings>, SettingsError> {
        let word = env("DD_ERROR_TRACKING_HANDLED_ERRORS").unwrap_or_default();
        let include = env("DD_ERROR_TRACKING_HANDLED_ERRORS_INCLUDE").unwrap_or_default();
        let include: Vec<String> = include
            .split(',')
            .map(|module| module.trim().to_owned())
            .filter(|module| !module.is_empty())
            .collect();
        let modules = match word.trim().to_ascii_lowercase().as_str() {
            "user" => Modules::User,
            "third_party" => Modules::ThirdParty,
            "all" => Modules::All,
            "" if include.is_empty() => return Ok(None),
            "" => Modules::All,
            _ => return Err(SettingsError(word)),
        };
        Ok(Some(Settings { modules, include, ..Settings::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(word: &str, include: &str, expect: &str) {
        let env = |name: &str| match name {
            "DD_ERROR_TRACKING_HANDLED_ERRORS" => Some(word.to_owned()),
            "DD_ERROR_TRACKING_HANDLED_ERRORS_INCLUDE" => Some(include.to_owned()),
            _ => None,
        };
        let got = match Settings::from_env(env) {
            Ok(None) => "off".to_owned(),
            Ok(Some(settings)) => format!("{:?} {:?}", settings.modules, settings.include),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "{word} {include}");
    }

    #[test]
    fn the_environment_of_the_tracers_is_understood() {
        reads("", "", "off");
        reads("user", "", "User []");
        reads("third_party", "", "ThirdParty []");
        reads("ALL", "", "All []");
        reads("", " shop::db, ,lib ", r#"All ["shop::db", "lib"]"#);
        reads("user", "shop", r#"User ["shop"]"#);
        reads(
            "users",
            "",
            "DD_ERROR_TRACKING_HANDLED_ERRORS: `users` is none of user, third_party, all; empty is off",
        );
    }
}
