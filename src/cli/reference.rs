//! `whippet config`: the settings, from the table of keys.

use crate::config::{generate, keys};

/// The listing of all settings, the sample file, or the documentation of the settings whose name
/// contains `word`.
pub(super) fn text(word: Option<&str>, sample: bool) -> String {
    match word {
        _ if sample => generate::sample(),
        None => generate::listing(),
        Some(word) => matching(&word.to_lowercase()),
    }
}

fn matching(word: &str) -> String {
    let page = generate::reference();
    let mut found = String::new();
    // ### `key`          one entry, up to the next heading of any level
    for entry in page.split("\n### `").skip(1) {
        let entry = entry.split("\n## ").next().unwrap_or(entry);
        let Some((name, text)) = entry.split_once('`') else { continue };
        if name.contains(word) || setting_inside(text, word) {
            found.push_str(&format!("{name}\n{}\n\n", indented(text)));
        }
    }
    if found.is_empty() {
        return format!("no setting has {word:?} in its name; `whippet config` lists all\n");
    }
    found.pop();
    found
}

/// Whether the text names a setting inside the key, such as `gauge_ttl` of a mapper profile: a name in
/// backquotes that contains the word and is no key itself.
fn setting_inside(text: &str, word: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    text.split('`').skip(1).step_by(2).any(|name| {
        is_name(name) && name.contains(word) && name.contains('_') && keys::find(name).is_none()
    })
}

fn indented(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_finds_keys_by_name_with_all_that_is_known() {
        let found = text(Some("Dogstatsd_Port"), false);
        assert!(found.starts_with("dogstatsd_port\n    UDP port."), "{found}");
        assert!(found.contains("Environment: `DD_DOGSTATSD_PORT`"), "{found}");
        assert_eq!(found.matches("Default:").count(), 1, "{found}");
        assert!(text(Some("nothing-like-it"), false).starts_with("no setting has"));
    }

    #[test]
    fn a_word_finds_the_settings_of_profiles() {
        for word in ["gauge", "gauge_ttl", "counters_as"] {
            let found = text(Some(word), false);
            assert!(found.starts_with("dogstatsd_mapper_profiles\n"), "{word}: {found}");
        }
    }

    #[test]
    fn the_last_key_of_a_section_does_not_drag_the_next_heading_along() {
        assert!(!text(Some("_"), false).contains("## "));
    }
}
