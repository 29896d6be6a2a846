//! `kubernetes_pod_labels_as_tags` and its like: from labels to tags.
//!
//! ```text
//! app: kube_app            the label app becomes kube_app:VALUE
//! team: +team              the same, as a tag of high cardinality
//! "*": label_%%label%%     every label, named after itself
//! ```

use super::Cardinality;
use super::workload::WorkloadBuilder;

/// One entry of such a map.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// In small letters, perhaps with `*`.
    label: String,
    /// Perhaps with `%%label%%` or `%%annotation%%`.
    tag: String,
    level: Cardinality,
}

/// Which labels, or annotations, become tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Patterns(Vec<Entry>);

impl Patterns {
    pub fn new(pairs: &[(String, String)]) -> Self {
        let entry = |(label, tag): &(String, String)| {
            let high = tag.strip_prefix('+');
            Entry {
                label: label.to_lowercase(),
                tag: high.unwrap_or(tag).to_owned(),
                level: if high.is_some() { Cardinality::High } else { Cardinality::Low },
            }
        };
        Patterns(pairs.iter().map(entry).collect())
    }

    /// Adds the tags that one label gives.
    pub fn apply(&self, label: &str, value: &str, builder: &mut WorkloadBuilder) {
        if self.0.is_empty() {
            return;
        }
        let small = label.to_lowercase();
        for entry in self.0.iter().filter(|entry| matches(&entry.label, &small)) {
            let tag = entry.tag.replace("%%label%%", label).replace("%%annotation%%", label);
            builder.add(entry.level, &tag, value);
        }
    }
}

/// True when `text` matches the pattern; `*` stands for any run of characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').map_or(("", rest), |(middle, last)| (middle, last));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        // The leftmost place leaves most to those that follow.
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[track_caller]
    fn gives(pairs: &[(&str, &str)], label: &str, low: &str, high: &str) {
        let pairs: Vec<_> =
            pairs.iter().map(|(label, tag)| ((*label).to_owned(), (*tag).to_owned())).collect();
        let mut builder = WorkloadBuilder::default();
        Patterns::new(&pairs).apply(label, "v", &mut builder);
        let workload = Arc::new(builder.build());
        for (level, expect) in [(Cardinality::Low, low), (Cardinality::High, high)] {
            let tags = workload.up_to(level);
            let text: Vec<_> = tags.iter().map(String::from_utf8_lossy).collect();
            assert_eq!(text.join(" "), expect, "{label} {level:?}");
        }
    }

    #[test]
    fn labels_become_the_tags_of_the_map() {
        gives(&[("app", "kube_app")], "app", "kube_app:v", "kube_app:v");
        gives(&[("app", "kube_app")], "App", "kube_app:v", "kube_app:v");
        gives(&[("APP", "kube_app")], "app", "kube_app:v", "kube_app:v");
        gives(&[("app", "kube_app")], "apps", "", "");
        gives(&[("app", "+kube_app")], "app", "", "kube_app:v");
        gives(&[("app", "a"), ("app", "b")], "app", "a:v b:v", "a:v b:v");
        gives(&[("*", "l_%%label%%")], "Tier", "l_Tier:v", "l_Tier:v");
        gives(&[("*", "a_%%annotation%%")], "x/y", "a_x/y:v", "a_x/y:v");
        gives(&[], "app", "", "");
    }

    #[test]
    fn a_star_stands_for_any_run() {
        for (pattern, text, expect) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*b", "abb", true),
            ("a*b*b", "ab", false),
            ("a*a", "a", false),
            ("a*", "ba", false),
            ("*a", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), expect, "{pattern} {text}");
        }
    }
}
