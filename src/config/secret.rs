//! An API key or password that cannot be printed by accident.

use std::fmt;

/// How many trailing characters of a key may be shown.
const SHOWN: usize = 5;

/// The key used by the Agent's tests: never validated, always treated as valid.
const FAKE_KEY: &str = "00000000000000000000000000000000";

/// An API key or a password. `Debug` and `Display` show the last five characters of a key, none of a
/// key shorter than ten, and nothing of a password.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret {
    text: String,
    shown: bool,
}

impl Secret {
    /// A key as configured, without surrounding whitespace.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Secret { text: text.trim().to_owned(), shown: true }
    }

    /// A password: not even its end is shown.
    #[must_use]
    pub fn password(text: &str) -> Self {
        Secret { text: text.trim().to_owned(), shown: false }
    }

    /// The key itself, for the request header and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// True when nothing was configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// True for the key of 32 zeros that tests use.
    #[must_use]
    pub fn is_fake(&self) -> bool {
        self.text == FAKE_KEY
    }

    /// `text` with every occurrence of the key redacted.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        if self.text.is_empty() {
            text.to_owned()
        } else {
            text.replace(&self.text, &self.to_string())
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.text.chars().count();
        if !self.shown || length < 2 * SHOWN {
            return f.write_str("*****");
        }
        let tail: String = self.text.chars().skip(length - SHOWN).collect();
        // The value may not be a key at all; do not print control characters to a terminal.
        let tail = if tail.chars().all(|shown| shown.is_ascii_graphic()) { &*tail } else { "" };
        write!(f, "*****{tail}")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shows(key: &str, shown: &str) {
        let secret = Secret::new(key);
        assert_eq!(secret.to_string(), shown);
        assert_eq!(format!("{secret:?}"), shown);
    }

    #[test]
    fn only_the_end_of_a_long_key_is_shown() {
        shows("0123456789abcdef0123456789abcdef", "*****bcdef");
        shows("  0123456789abcdef  \n", "*****bcdef");
        shows("short", "*****");
        shows("", "*****");
    }

    #[test]
    fn nothing_of_a_password_is_shown() {
        let password = Secret::password(" correct horse battery staple ");
        assert_eq!(password.to_string(), "*****");
        assert_eq!(password.expose(), "correct horse battery staple");
    }

    #[test]
    fn a_text_that_quotes_the_key_loses_it() {
        let secret = Secret::new("0123456789abcdef");
        assert_eq!(secret.redact("GET /?api_key=0123456789abcdef"), "GET /?api_key=*****bcdef");
        assert_eq!(Secret::new("").redact("unchanged"), "unchanged");
    }
}
