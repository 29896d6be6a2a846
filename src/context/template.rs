//! Names and tag values of the mapper: text with captures of the match in it.

use regex::bytes::{Captures, Regex};

/// A text in which `$1`, `${1}` and `${name}` stand for captures and `$$` for a dollar sign.
///
/// The rules are those of Go's `Regexp.Expand`: a name is the longest run of letters, digits and
/// `_`, so `$1_x` asks for the group "1_x"; a group that does not exist or did not match is
/// nothing; a `$` that starts no such thing stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Group(usize),
}

impl Template {
    /// Reads a template for the matches of `regex`.
    pub fn new(text: &str, regex: &Regex) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                plain.push('$');
                rest = after;
            } else if let Some((name, after)) = reference(rest) {
                if let Some(group) = group(name, regex) {
                    push_text(&mut pieces, &mut plain);
                    pieces.push(Piece::Group(group));
                }
                rest = after;
            } else {
                plain.push('$');
            }
        }
        plain.push_str(rest);
        push_text(&mut pieces, &mut plain);
        Template(pieces)
    }

    /// The text for one match, after `start`.
    pub fn expand(&self, start: &[u8], captures: &Captures<'_>) -> Vec<u8> {
        let mut text = start.to_vec();
        for piece in &self.0 {
            text.extend_from_slice(match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Group(group) => captures.get(*group).map_or(&[], |found| found.as_bytes()),
            });
        }
        text
    }
}

fn push_text(pieces: &mut Vec<Piece>, plain: &mut String) {
    if !plain.is_empty() {
        pieces.push(Piece::Text(std::mem::take(plain).into()));
    }
}

/// `name` or `{name}` at the start of `text`, and what follows.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (text, braced) = text.strip_prefix('{').map_or((text, false), |text| (text, true));
    let in_name = |c: char| c.is_alphabetic() || c.is_numeric() || c == '_';
    let end = text.find(|c| !in_name(c)).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    let after = if braced { after.strip_prefix('}')? } else { after };
    (!name.is_empty()).then_some((name, after))
}

/// The group of that number or name. A number with a leading zero is a name.
fn group(name: &str, regex: &Regex) -> Option<usize> {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    if digits && (name == "0" || !name.starts_with('0')) {
        return name.parse().ok().filter(|number| *number < regex.captures_len());
    }
    regex.capture_names().position(|known| known == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expands(pattern: &str, name: &str, template: &str, expect: &str) {
        let regex = Regex::new(pattern).unwrap();
        let captures = regex.captures(name.as_bytes()).unwrap();
        let text = Template::new(template, &regex).expand(b"", &captures);
        assert_eq!(String::from_utf8(text).unwrap(), expect, "{template}");
    }

    #[test]
    fn captures_expand_by_the_rules_of_go() {
        let expands =
            |template, expect| expands(r"^(a+)\.(?P<word>b+)(c)?$", "aa.b", template, expect);
        expands("plain", "plain");
        expands("", "");
        expands("$1", "aa");
        expands("${1}", "aa");
        expands("$2.$1", "b.aa");
        expands("x$1y", "x");
        expands("x${1}y", "xaay");
        expands("$1_x", "");
        expands("${1}_x", "aa_x");
        expands("$0", "aa.b");
        expands("$word", "b");
        expands("${word}s", "bs");
        expands("$words", "");
        expands("$3", "");
        expands("$9", "");
        expands("$99999999999999999999999", "");
        expands("$01", "");
        expands("$$", "$");
        expands("$$1", "$1");
        expands("$$$1", "$aa");
        expands("$", "$");
        expands("a$", "a$");
        expands("$.x", "$.x");
        expands("${1", "${1");
        expands("${}", "${}");
        expands("${1.x}", "${1.x}");
        expands("$1é", "");
        expands("${1}é", "aaé");
    }
}
