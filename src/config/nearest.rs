//! Suggests the key that a mistyped name probably meant.

use super::keys;

/// The key that an unknown name probably meant: the same name with `_` for `.` or the reverse, without
/// the prefix of its variable, or a near one.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    let flat = |name: &str| name.to_lowercase().replace('.', "_");
    let written = flat(name);
    let bare = written.strip_prefix("dd_").or_else(|| written.strip_prefix("whippet_"));
    let same = |name: &str| keys::all().map(|key| key.name).find(|key| flat(key) == name);
    same(&written)
        .or_else(|| same(bare?))
        .or_else(|| nearest(name, keys::all().map(|key| key.name)))
}

/// The nearest of `names` to `written`: at most one edit for names of four to eight characters,
/// two for longer ones. Shorter names are too close to everything.
pub(super) fn nearest<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .filter_map(|name| {
            let length = written.chars().count().min(name.chars().count());
            let edits_max = match length {
                0..4 => return None,
                4..9 => 1,
                _ => 2,
            };
            let edits = distance(written, name);
            (edits <= edits_max).then_some((edits, name))
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Edits between two words: characters added, removed, replaced, or swapped with a neighbour
/// (optimal string alignment distance).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(120).collect();
    let right: Vec<char> = right.chars().take(120).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let mut edits = (above[j] + usize::from(l != r)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                edits = edits.min(before[j - 1] + 1);
            }
            row.push(edits);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["dogstatsd_port", "dogstatsd_tags", "tags", "env", "site"];

    #[track_caller]
    fn meant(written: &str, expect: Option<&str>) {
        assert_eq!(nearest(written, NAMES.iter().copied()), expect);
    }

    #[test]
    fn typing_mistakes_are_found_and_other_names_are_not() {
        meant("dogstatsd_prot", Some("dogstatsd_port"));
        meant("dogstatd_port", Some("dogstatsd_port"));
        meant("dogstatsd_taags", Some("dogstatsd_tags"));
        meant("dogstatsd_posts", Some("dogstatsd_port"));
        meant("tasg", Some("tags"));
        meant("sites", Some("site"));
        meant("tagging", None);
        meant("envs", None);
        meant("logs_enabled", None);
        meant("", None);
    }
}
