//! What is written from the table of keys: the reference page, the sample file, the listing for
//! `--help`.

use std::fmt::Write;

use super::key::{Key, Kind, Status};
use super::keys::{SECTIONS, Section};
use super::read::{Value, expected, show};

/// Writing to a `String` cannot fail.
const TO_TEXT: &str = "a String takes all text";

/// `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut page = include_str!("reference.md").to_owned();
    for section in SECTIONS {
        write!(page, "\n## {}\n", section.title).expect(TO_TEXT);
        for key in honoured(section) {
            write!(page, "\n### `{}`\n\n{}\n\n", key.name, key.doc).expect(TO_TEXT);
            writeln!(page, "- Value: {}", expected(key.kind)).expect(TO_TEXT);
            writeln!(page, "- Default: {}", default(key)).expect(TO_TEXT);
            writeln!(page, "- Environment: {}", environment(key)).expect(TO_TEXT);
        }
    }
    page.push_str("\n## Accepted without effect\n\nKeys of the Agent's DogStatsD that whippet reads over in silence.\n\n| Key | Why |\n| --- | --- |\n");
    for key in SECTIONS.iter().flat_map(|section| section.keys) {
        if let Status::Ignored(reason) = key.status {
            writeln!(page, "| `{}` | {reason} |", key.name).expect(TO_TEXT);
        }
    }
    page
}

/// `dist/whippet.yaml`: every key with its default, commented out.
#[must_use]
pub fn sample() -> String {
    let mut file = include_str!("sample.yaml").to_owned();
    for section in SECTIONS {
        write!(file, "\n## {}\n", section.title).expect(TO_TEXT);
        for key in honoured(section) {
            file.push('\n');
            for line in wrapped(key.doc, 96) {
                writeln!(file, "# {line}").expect(TO_TEXT);
            }
            let value = super::load::default_of(key);
            writeln!(file, "#{}: {}", key.name, in_yaml(key.kind, key.default, &value))
                .expect(TO_TEXT);
        }
    }
    file
}

/// One line per key for `--help`: name, default, first sentence.
#[must_use]
pub fn listing() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        writeln!(text, "{}:", section.title).expect(TO_TEXT);
        for key in honoured(section) {
            let sentence = key.doc.split_inclusive(". ").next().unwrap_or_default().trim();
            writeln!(text, "  {} [{}]\n      {sentence}", key.name, plain_default(key))
                .expect(TO_TEXT);
        }
    }
    text
}

fn honoured(section: &Section) -> impl Iterator<Item = &'static Key> {
    section.keys.iter().filter(|key| key.status == Status::Honoured)
}

fn plain_default(key: &Key) -> String {
    show(&super::load::default_of(key))
}

fn default(key: &Key) -> String {
    match plain_default(key).as_str() {
        "(unset)" => "unset".to_owned(),
        "[]" => "an empty list".to_owned(),
        text => format!("`{text}`"),
    }
}

fn environment(key: &Key) -> String {
    let mut names: Vec<String> = key.env().iter().map(|name| format!("`{name}`")).collect();
    names.extend(key.weak.iter().map(|name| format!("`{name}` (weaker than the file)")));
    names.join(", ")
}

/// The default as YAML that the reader takes back.
fn in_yaml(kind: Kind, written: &str, value: &Value) -> String {
    match (kind, value) {
        (Kind::Pairs | Kind::Endpoints, _) => "{}".to_owned(),
        (_, Value::Unset) => "\"\"".to_owned(),
        (_, Value::Text(text)) if text.is_empty() => "\"\"".to_owned(),
        (_, Value::Text(_) | Value::Path(_) | Value::Mode(_)) => format!("\"{written}\""),
        (_, Value::Outputs(_)) => "[]".to_owned(),
        (_, Value::Port(_)) => written.to_owned(),
        (_, Value::Bytes(_) | Value::Duration(_)) => written.to_owned(),
        (_, value) => show(value),
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        match lines[last].chars().count() {
            0 => lines[last].push_str(word),
            used if used + 1 + word.chars().count() > width => lines.push(word.to_owned()),
            _ => {
                lines[last].push(' ');
                lines[last].push_str(word);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mode, Origin, Sources, examine};

    /// Compares a committed file with what the table gives, or writes it with `REGENERATE=1`.
    #[track_caller]
    fn is_current(path: &str, text: &str) {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        if std::env::var_os("REGENERATE").is_some() {
            std::fs::write(&file, text).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == text,
            "{path} is not what the table of keys gives; run \
             REGENERATE=1 cargo test --lib config::generate"
        );
    }

    // The default socket differs by platform; the committed files are those of Linux.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_reference_page_is_current() {
        is_current("docs/configuration.md", &reference());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_sample_file_is_current() {
        is_current("dist/whippet.yaml", &sample());
    }

    #[test]
    fn the_sample_uncommented_is_the_default_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("whippet.yaml");
        let keys: String = sample()
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| !line.starts_with([' ', '#']) && !line.is_empty())
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(&file, &keys).unwrap();
        let look = |file| {
            let sources = Sources { file, env: [], flags: Vec::new(), mode: Mode::Check };
            examine(sources)
        };
        let (sample, default) = (look(Some(file)), look(None));
        assert_eq!(sample.problems, []);
        let sample = sample.loaded.unwrap();
        assert_eq!(sample.config, default.loaded.unwrap().config);
        let unset: Vec<_> =
            sample.origins.iter().filter(|(_, origin)| **origin == Origin::Default).collect();
        assert_eq!(unset, [], "every key is in the sample");
    }

    #[test]
    fn the_listing_names_every_key_with_its_default() {
        let text = listing();
        assert!(text.contains("\n  dogstatsd_port [8125]\n      UDP port.\n"), "{text}");
        for section in SECTIONS {
            for key in honoured(section) {
                assert!(text.contains(&format!("  {} [", key.name)), "{}", key.name);
            }
        }
    }
}
